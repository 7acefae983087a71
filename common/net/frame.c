#include "frame.h"

#include <string.h>

#include "check.h"
#include "err.h"
#include "hash.h"
#include "mem.h"

static uint32_t frame_checksum(const void *payload, size_t size)
{
    return (uint32_t)hash64(payload, size, 0);
}

void frame_reader_done(struct frame_reader *f)
{
    mem_free(f->data);
    *f = (struct frame_reader){0};
}

static void frame_reader_set_cap(struct frame_reader *f, size_t cap)
{
    f->data = mem_realloc(f->data, cap);
    f->cap = cap;
}

void frame_reader_room(struct frame_reader *f, uint8_t **ret_at, size_t *ret_size)
{
    size_t held = f->end - f->begin;

    if (f->begin > 0 && held > 0) {
        memmove(f->data, f->data + f->begin, held);
    }
    f->begin = 0;
    f->end = held;
    if (held == 0 && f->cap != FRAME_READ_SIZE) {
        mem_free(f->data); /* nothing to keep: cheaper than realloc, which would copy */
        f->data = NULL;
        frame_reader_set_cap(f, FRAME_READ_SIZE);
    } else if (held == f->cap) {
        size_t whole = FRAME_HEADER_SIZE + (size_t)bytes_get_u32(f->data);

        CHECK(whole > held); /* else frame_reader_next() had returned it */
        frame_reader_set_cap(f, whole < 2 * f->cap ? whole : 2 * f->cap);
    }
    *ret_at = f->data + f->end;
    *ret_size = f->cap - f->end;
}

void frame_reader_advance(struct frame_reader *f, size_t size)
{
    CHECK(size <= f->cap - f->end);
    f->end += size;
}

int frame_reader_next(struct frame_reader *f, size_t size_max, const uint8_t **ret_payload,
                      size_t *ret_size)
{
    size_t held = f->end - f->begin;
    const uint8_t *at;
    size_t size;

    if (held < sizeof(uint32_t)) {
        return 0;
    }
    at = f->data + f->begin;
    size = bytes_get_u32(at);
    if (size == 0 || size > size_max) { /* at once: nothing is gathered for it */
        return ERR_MALFORMED;
    }
    if (held < FRAME_HEADER_SIZE || held - FRAME_HEADER_SIZE < size) {
        return 0;
    }
    if (bytes_get_u32(at + 4) != frame_checksum(at + FRAME_HEADER_SIZE, size)) {
        return ERR_MALFORMED;
    }
    f->begin += FRAME_HEADER_SIZE + size;
    *ret_payload = at + FRAME_HEADER_SIZE;
    *ret_size = size;
    return 1;
}

void frame_put(struct buf *out, const void *payload, size_t size)
{
    CHECK(size > 0);
    CHECK(size < UINT32_MAX);
    buf_put_u32(out, (uint32_t)size);
    buf_put_u32(out, frame_checksum(payload, size));
    buf_put(out, payload, size);
}
