#ifndef ZABFS_MP_H
#define ZABFS_MP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

/* The part of msgpack (https://msgpack.org) that the client protocol uses: integers, booleans, nil,
 * bin and array.
 *
 * Writing is msgpack-c's packer on a struct buf: every item in its shortest form. Reading is a pull
 * parser of our own over a cursor. msgpack-c's unpacker would build a tree of objects first, and
 * takes memory for as many elements as an array header claims before it has seen them; here no item
 * takes memory, a count is a number for the caller to judge, and bytes are borrowed. Integers are
 * accepted in any width, because other implementations' packers differ in that. */

void mp_put_uint(struct buf *b, uint64_t v);
void mp_put_int(struct buf *b, int64_t v);
void mp_put_bool(struct buf *b, bool v);
void mp_put_nil(struct buf *b);
void mp_put_bin(struct buf *b, const void *bytes, size_t size); /* size < 4 GiB */
void mp_put_array(struct buf *b, size_t count);                 /* header; `count` items follow */

/* Each returns false, and leaves its outputs untouched, when the next item is of another type, out
 * of the type's range, or cut short. The cursor is of no use after that. */
bool mp_get_uint(struct cursor *c, uint64_t *ret);
bool mp_get_int(struct cursor *c, int64_t *ret);
bool mp_get_bool(struct cursor *c, bool *ret);
bool mp_get_bin(struct cursor *c, const uint8_t **ret, size_t *ret_size); /* borrowed */
bool mp_get_array(struct cursor *c, size_t *ret_count);

/* Takes a nil if one is next; else false, and the cursor stays. */
bool mp_get_nil(struct cursor *c);

#endif
