#ifndef ZABFS_BYTES_H
#define ZABFS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing byte buffer that owns its memory. All integers are little-endian. Zero-initialised is
 * empty and valid. */
struct buf {
    uint8_t *data;
    size_t size;
    size_t cap;
};

void buf_done(struct buf *b); /* frees; b is empty again */
void buf_reserve(struct buf *b, size_t more);
void buf_put(struct buf *b, const void *bytes, size_t size);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);

/* Fixed places in memory, for headers. */
void bytes_set_u32(uint8_t *at, uint32_t v);
void bytes_set_u64(uint8_t *at, uint64_t v);
uint32_t bytes_get_u32(const uint8_t *at);
uint64_t bytes_get_u64(const uint8_t *at);

/* Bounded reader over borrowed bytes. Each cur_* returns false, and moves nothing, when the bytes
 * left do not hold the item; outputs are untouched then. */
struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

struct cursor cur_make(const void *bytes, size_t size);
size_t cur_left(const struct cursor *c);
bool cur_bytes(struct cursor *c, size_t size, const uint8_t **ret); /* borrowed */
bool cur_u8(struct cursor *c, uint8_t *ret);
bool cur_u16(struct cursor *c, uint16_t *ret);
bool cur_u32(struct cursor *c, uint32_t *ret);
bool cur_u64(struct cursor *c, uint64_t *ret);

#endif
