/* A stream of bytes that a client or a member may get from outside, in reads of any size.
 *
 * Input: one byte of flags, one that chooses the sizes of the reads, then the stream. With flag 1
 * the checksums in the stream are made right first, so that changed frames are seen from inside.
 * The frames found must not depend on the sizes of the reads, and together must be the bytes
 * consumed. */
#include "fuzz.h"

#include <string.h>

#include "check.h"
#include "err.h"
#include "frame.h"
#include "hash.h"
#include "mem.h"
#include "prng.h"

enum { FUZZ_FRAME_SIZE_MAX = 4096 };

struct found {
    struct buf bytes; /* of the frames found, framed again */
    int err;
};

/* Appends up to `step` bytes (0: all that there is room for) a time. */
static void read_frames(const uint8_t *bytes, size_t size, struct prng *steps, struct found *ret)
{
    struct frame_reader f = {0};
    const uint8_t *payload;
    size_t payload_size;
    int rc = 0;

    while (rc == 0 && size > 0) {
        uint8_t *at;
        size_t room;

        frame_reader_room(&f, &at, &room);
        CHECK(room > 0);
        CHECK(f.cap <= FRAME_READ_SIZE); /* memory follows the bytes, and no frame is longer */
        if (steps != NULL) {
            size_t step = 1 + prng_below(steps, 64);

            room = room < step ? room : step;
        }
        room = room < size ? room : size;
        memcpy(at, bytes, room);
        frame_reader_advance(&f, room);
        bytes += room;
        size -= room;
        while ((rc = frame_reader_next(&f, FUZZ_FRAME_SIZE_MAX, &payload, &payload_size)) == 1) {
            CHECK(payload_size > 0);
            CHECK(payload_size <= FUZZ_FRAME_SIZE_MAX);
            frame_put(&ret->bytes, payload, payload_size);
        }
    }
    CHECK(rc == 0 || rc == ERR_MALFORMED);
    ret->err = rc;
    frame_reader_done(&f);
}

static void make_checksums_right(uint8_t *bytes, size_t size)
{
    while (size >= FRAME_HEADER_SIZE) {
        size_t frame = bytes_get_u32(bytes);

        if (frame > size - FRAME_HEADER_SIZE) {
            return;
        }
        bytes_set_u32(bytes + 4, (uint32_t)hash64(bytes + FRAME_HEADER_SIZE, frame, 0));
        bytes += FRAME_HEADER_SIZE + frame;
        size -= FRAME_HEADER_SIZE + frame;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct found at_once = {0}, stepwise = {0};
    struct prng steps;
    uint8_t *stream;

    if (size < 2) {
        return 0;
    }
    steps.state = bytes[1];
    size -= 2;
    stream = mem_dup(bytes + 2, size);
    if (bytes[0] & 1) {
        make_checksums_right(stream, size);
    }
    read_frames(stream, size, NULL, &at_once);
    read_frames(stream, size, &steps, &stepwise);
    CHECK(at_once.err == stepwise.err);
    CHECK(at_once.bytes.size == stepwise.bytes.size);
    CHECK(at_once.bytes.size <= size);
    if (at_once.bytes.size > 0) {
        CHECK(memcmp(at_once.bytes.data, stepwise.bytes.data, at_once.bytes.size) == 0);
        CHECK(memcmp(at_once.bytes.data, stream, at_once.bytes.size) == 0);
    }
    buf_done(&at_once.bytes);
    buf_done(&stepwise.bytes);
    mem_free(stream);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    static const size_t sizes[] = {1, 3, 500, FUZZ_FRAME_SIZE_MAX, FUZZ_FRAME_SIZE_MAX + 1};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    uint8_t payload[FUZZ_FRAME_SIZE_MAX + 1];

    memset(payload, 'p', sizeof(payload));
    buf_put_u8(b, (uint8_t)(i / COUNT % 2));
    buf_put_u8(b, (uint8_t)i);
    frame_put(b, payload, sizes[i % COUNT]);
    frame_put(b, "second", 6);
}
