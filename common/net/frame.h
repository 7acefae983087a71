#ifndef ZABFS_FRAME_H
#define ZABFS_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

/* Frames out of a stream of bytes, and into one.
 *
 *   offset 0  u32  size of the payload, not 0
 *          4  u32  low 32 bits of hash64(payload, size, 0)
 *          8       payload
 */
enum {
    FRAME_HEADER_SIZE = 8,
    FRAME_READ_SIZE = 64 << 10, /* one read; most frames are parsed inside it, without a copy */
};

/* Received bytes: those from `begin` to `end` have not been consumed. Zero-initialised is empty. */
struct frame_reader {
    uint8_t *data;
    size_t cap;
    size_t begin;
    size_t end;
};

void frame_reader_done(struct frame_reader *f);

/* Where the next read goes, at least one byte. A buffer that is full with part of a long frame
 * doubles, up to the frame's own size, so memory follows the bytes that came and not the size that
 * was declared; when the long frame has been consumed the buffer is small again. Call it only after
 * frame_reader_next() has returned 0. */
void frame_reader_room(struct frame_reader *f, uint8_t **ret_at, size_t *ret_size);
void frame_reader_advance(struct frame_reader *f, size_t size); /* so many bytes were read there */

/* Consumes the next frame: 1, and its payload, valid until frame_reader_room(); 0 when it has not
 * come whole; ERR_MALFORMED when its size is 0 or above size_max, or its checksum is wrong. */
int frame_reader_next(struct frame_reader *f, size_t size_max, const uint8_t **ret_payload,
                      size_t *ret_size);

void frame_put(struct buf *out, const void *payload, size_t size); /* 0 < size < 4 GiB */

#endif
