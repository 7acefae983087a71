#ifndef ZABFS_NAME_H
#define ZABFS_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Names of the tree: 1 to NAME_SIZE_MAX bytes, any byte but '/' and NUL, not "." or "..".
 * Errors: ERR_INVAL, ERR_NAMETOOLONG. */
int name_check(const char *name, size_t size);

/* What a trailing '#' or '@' of a name that is being created asks for (docs: special names).
 * `size` of the result is the length of the name without those marks. */
struct name_template {
    size_t size;
    bool sequential; /* "job-#": the parent's next number is appended */
    bool ephemeral;  /* "web1@" */
};

struct name_template name_template_parse(const char *name, size_t size);

/* Digits that a sequential name gets: at least SEQUENCE_DIGITS_MIN, zero-padded, as in ZooKeeper.
 */
enum { SEQUENCE_DIGITS_MIN = 10 };

/* Writes prefix and number to `ret` (NAME_SIZE_MAX + 1 bytes, NUL-terminated) and its size.
 * Errors: ERR_NAMETOOLONG; then *ret_size is untouched. */
int name_make_sequential(const char *prefix, size_t size, uint64_t number, char *ret,
                         size_t *ret_size);

#endif
