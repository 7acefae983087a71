#include "name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "limits.h"

int name_check(const char *name, size_t size)
{
    if (size == 0) {
        return ERR_INVAL;
    }
    if (size > NAME_SIZE_MAX) {
        return ERR_NAMETOOLONG;
    }
    if (memchr(name, '/', size) != NULL || memchr(name, '\0', size) != NULL) {
        return ERR_INVAL;
    }
    if (name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.'))) {
        return ERR_INVAL;
    }
    return 0;
}

struct name_template name_template_parse(const char *name, size_t size)
{
    struct name_template t = {.size = size};

    if (t.size > 0 && name[t.size - 1] == '@') {
        t.ephemeral = true;
        t.size--;
    }
    if (t.size > 0 && name[t.size - 1] == '#') {
        t.sequential = true;
        t.size--;
    }
    return t;
}

int name_make_sequential(const char *prefix, size_t size, uint64_t number, char *ret,
                         size_t *ret_size)
{
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%0*" PRIu64, SEQUENCE_DIGITS_MIN, number);

    if (size + (size_t)n > NAME_SIZE_MAX) {
        return ERR_NAMETOOLONG;
    }
    memcpy(ret, prefix, size);
    memcpy(ret + size, digits, (size_t)n + 1);
    *ret_size = size + (size_t)n;
    return 0;
}
