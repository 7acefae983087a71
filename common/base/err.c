#include "err.h"

#include <errno.h>

const char *err_text(int err)
{
    switch (err) {
    case 0:
        return "success";
#define X(name, code, err_no, text)                                                                \
    case code:                                                                                     \
        return text;
        ERR_LIST(X)
#undef X
    default:
        return "unknown error";
    }
}

int err_to_errno(int err)
{
    switch (err) {
    case 0:
        return 0;
#define X(name, code, err_no, text)                                                                \
    case code:                                                                                     \
        return err_no;
        ERR_LIST(X)
#undef X
    default:
        return EIO;
    }
}

int err_is_known(int err)
{
    switch (err) {
    case 0:
#define X(name, code, err_no, text) case code:
        ERR_LIST(X)
#undef X
        return 1;
    default:
        return 0;
    }
}
