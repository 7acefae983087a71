#ifndef ZABFS_BYTES_H
#define ZABFS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Inline, what codecs call for each field: the sizes are constants there, and a call of memcpy for
 * a few bytes costs more than they do. */

/* --- fixed places in memory, for headers ------------------------------------------------------ */

/* Spelled out, because compilers make one store of this, and not of a loop. */
static inline void bytes_set_u32(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
    at[2] = (uint8_t)(v >> 16);
    at[3] = (uint8_t)(v >> 24);
}

static inline void bytes_set_u64(uint8_t *at, uint64_t v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
    at[2] = (uint8_t)(v >> 16);
    at[3] = (uint8_t)(v >> 24);
    at[4] = (uint8_t)(v >> 32);
    at[5] = (uint8_t)(v >> 40);
    at[6] = (uint8_t)(v >> 48);
    at[7] = (uint8_t)(v >> 56);
}

static inline uint32_t bytes_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t bytes_get_u64(const uint8_t *at)
{
    return (uint64_t)bytes_get_u32(at) | (uint64_t)bytes_get_u32(at + 4) << 32;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A growing byte buffer that owns its memory. All integers are little-endian. Zero-initialised is
 * empty and valid. */
struct buf {
    uint8_t *data;
    size_t size;
    size_t cap;
};

void buf_done(struct buf *b);              /* frees; b is empty again */
void buf_grow(struct buf *b, size_t more); /* there was no room for so much */

static inline void buf_reserve(struct buf *b, size_t more)
{
    if (b->cap - b->size < more) {
        buf_grow(b, more);
    }
}

static inline void buf_put(struct buf *b, const void *bytes, size_t size)
{
    if (size == 0) {
        return; /* there may be nothing, at NULL */
    }
    buf_reserve(b, size);
    memcpy(b->data + b->size, bytes, size);
    b->size += size;
}

static inline void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, 1);
}

static inline void buf_put_u16(struct buf *b, uint16_t v)
{
    uint8_t at[2] = {(uint8_t)v, (uint8_t)(v >> 8)};

    buf_put(b, at, sizeof(at));
}

static inline void buf_put_u32(struct buf *b, uint32_t v)
{
    uint8_t at[4];

    bytes_set_u32(at, v);
    buf_put(b, at, sizeof(at));
}

static inline void buf_put_u64(struct buf *b, uint64_t v)
{
    uint8_t at[8];

    bytes_set_u64(at, v);
    buf_put(b, at, sizeof(at));
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Bounded reader over borrowed bytes. Each cur_* returns false, and moves nothing, when the bytes
 * left do not hold the item; outputs are untouched then. */
struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

static inline struct cursor cur_make(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    return (struct cursor){at, size ? at + size : at};
}

static inline size_t cur_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* *ret is borrowed. */
static inline bool cur_bytes(struct cursor *c, size_t size, const uint8_t **ret)
{
    if (cur_left(c) < size) {
        return false;
    }
    *ret = c->at;
    if (size > 0) { /* there may be nothing, at NULL */
        c->at += size;
    }
    return true;
}

static inline bool cur_u8(struct cursor *c, uint8_t *ret)
{
    const uint8_t *at;

    if (!cur_bytes(c, 1, &at)) {
        return false;
    }
    *ret = at[0];
    return true;
}

static inline bool cur_u16(struct cursor *c, uint16_t *ret)
{
    const uint8_t *at;

    if (!cur_bytes(c, 2, &at)) {
        return false;
    }
    *ret = (uint16_t)(at[0] | at[1] << 8);
    return true;
}

static inline bool cur_u32(struct cursor *c, uint32_t *ret)
{
    const uint8_t *at;

    if (!cur_bytes(c, 4, &at)) {
        return false;
    }
    *ret = bytes_get_u32(at);
    return true;
}

static inline bool cur_u64(struct cursor *c, uint64_t *ret)
{
    const uint8_t *at;

    if (!cur_bytes(c, 8, &at)) {
        return false;
    }
    *ret = bytes_get_u64(at);
    return true;
}

#endif
