#include "bytes.h"

#include <string.h>

#include "mem.h"

void buf_done(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){0};
}

void buf_reserve(struct buf *b, size_t more)
{
    size_t cap = b->cap ? b->cap : 64;

    if (b->cap - b->size >= more) {
        return;
    }
    while (cap - b->size < more) {
        cap *= 2;
    }
    b->data = mem_realloc(b->data, cap);
    b->cap = cap;
}

void buf_put(struct buf *b, const void *bytes, size_t size)
{
    if (size == 0) {
        return;
    }
    buf_reserve(b, size);
    memcpy(b->data + b->size, bytes, size);
    b->size += size;
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, 1);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
    uint8_t at[2] = {(uint8_t)v, (uint8_t)(v >> 8)};

    buf_put(b, at, sizeof(at));
}

void buf_put_u32(struct buf *b, uint32_t v)
{
    uint8_t at[4];

    bytes_set_u32(at, v);
    buf_put(b, at, sizeof(at));
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    uint8_t at[8];

    bytes_set_u64(at, v);
    buf_put(b, at, sizeof(at));
}

/* Spelled out, because compilers make one store of this, and not of a loop: records of nodes are
 * written for every change, and that was a third of the time of one. */
void bytes_set_u32(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
    at[2] = (uint8_t)(v >> 16);
    at[3] = (uint8_t)(v >> 24);
}

void bytes_set_u64(uint8_t *at, uint64_t v)
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

uint32_t bytes_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint64_t bytes_get_u64(const uint8_t *at)
{
    return (uint64_t)bytes_get_u32(at) | (uint64_t)bytes_get_u32(at + 4) << 32;
}

struct cursor cur_make(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    return (struct cursor){at, size ? at + size : at};
}

size_t cur_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

bool cur_bytes(struct cursor *c, size_t size, const uint8_t **ret)
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

bool cur_u8(struct cursor *c, uint8_t *ret)
{
    const uint8_t *at;

    if (!cur_bytes(c, 1, &at)) {
        return false;
    }
    *ret = at[0];
    return true;
}

bool cur_u16(struct cursor *c, uint16_t *ret)
{
    const uint8_t *at;

    if (!cur_bytes(c, 2, &at)) {
        return false;
    }
    *ret = (uint16_t)(at[0] | at[1] << 8);
    return true;
}

bool cur_u32(struct cursor *c, uint32_t *ret)
{
    const uint8_t *at;

    if (!cur_bytes(c, 4, &at)) {
        return false;
    }
    *ret = bytes_get_u32(at);
    return true;
}

bool cur_u64(struct cursor *c, uint64_t *ret)
{
    const uint8_t *at;

    if (!cur_bytes(c, 8, &at)) {
        return false;
    }
    *ret = bytes_get_u64(at);
    return true;
}
