#ifndef ZABFS_BLOB_H
#define ZABFS_BLOB_H

#include <stddef.h>
#include <stdint.h>

/* Immutable bytes with a reference count, so that a value or a log entry is copied in once, when it
 * is decoded, and shared from then on. The count is not atomic: only the loop's thread takes and
 * drops references; another thread may read the bytes while the loop holds one for it. */
struct blob {
    uint32_t refs;
    uint32_t size;
    uint8_t data[];
};

/* All return a blob with one reference that the caller owns. */
struct blob *blob_new(const void *bytes, size_t size); /* copies; size < 4 GiB */
struct blob *blob_new_uninit(size_t size);             /* caller fills data before sharing it */
struct blob *blob_ref(struct blob *b);                 /* NULL stays NULL */
void blob_unref(struct blob *b);                       /* NULL is fine */

#endif
