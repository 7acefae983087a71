/* Bytes that a command is given: as an argument, or from a file or standard input. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "err.h"
#include "limits.h"

static int take_all(int fd, const char *name, size_t max, struct buf *ret)
{
    uint8_t chunk[16 << 10];

    while (ret->size <= max) {
        ssize_t n = read(fd, chunk, sizeof(chunk));

        if (n == 0) {
            return CTL_OK;
        }
        if (n < 0 && errno != EINTR) {
            return ctl_fail_errno(name, errno);
        }
        buf_put(ret, chunk, n > 0 ? (size_t)n : 0);
    }
    return ctl_fail(name, ERR_TOOBIG);
}

int ctl_take_file(const char *name, size_t max, struct buf *ret)
{
    bool standard = name == NULL || strcmp(name, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    struct buf b = {0};

    if (fd < 0) {
        return ctl_fail_errno(name, errno);
    }
    int code = take_all(fd, standard ? "standard input" : name, max, &b);

    if (!standard) {
        close(fd);
    }
    if (code != CTL_OK) {
        buf_done(&b);
        return code;
    }
    *ret = b;
    return CTL_OK;
}

int ctl_take_value(const char *word, struct blob **ret)
{
    struct buf b = {0};

    if (word == NULL || strcmp(word, "-") != 0) {
        *ret = word != NULL && word[0] != '\0' ? blob_new(word, strlen(word)) : NULL;
        return CTL_OK;
    }
    int code = ctl_take_file(NULL, VALUE_SIZE_MAX, &b);

    if (code == CTL_OK) {
        *ret = b.size > 0 ? blob_new(b.data, b.size) : NULL;
        buf_done(&b);
    }
    return code;
}
