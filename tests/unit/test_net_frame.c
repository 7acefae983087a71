#include <criterion/criterion.h>
#include <string.h>

#include "err.h"
#include "frame.h"
#include "mem.h"

/* Feeds bytes as a socket would, at most step of them at a time; false when next found a frame bad
 * or a whole one, whose result is then in *ret. */
static int feed(struct frame_reader *f, const uint8_t *bytes, size_t size, size_t step, size_t max,
                const uint8_t **ret, size_t *ret_size)
{
    while (size > 0) {
        uint8_t *at;
        size_t room;
        int rc;

        frame_reader_room(f, &at, &room);
        cr_assert_gt(room, 0);
        room = room < step ? room : step;
        room = room < size ? room : size;
        memcpy(at, bytes, room);
        frame_reader_advance(f, room);
        bytes += room;
        size -= room;
        rc = frame_reader_next(f, max, ret, ret_size);
        if (rc != 0) {
            cr_assert_eq(size, 0);
            return rc;
        }
    }
    return 0;
}

Test(net_frame, the_header_is_size_and_checksum_little_endian)
{
    struct buf out = {0};

    frame_put(&out, "zab", 3);
    cr_assert_eq(out.size, 11);
    cr_assert_arr_eq(out.data, "\x03\x00\x00\x00", 4);
    cr_assert_arr_eq(out.data + 8, "zab", 3);
    buf_done(&out);
}

Test(net_frame, a_frame_that_comes_byte_by_byte_is_found)
{
    struct frame_reader f = {0};
    struct buf out = {0};
    const uint8_t *payload;
    size_t size;

    frame_put(&out, "hello", 5);
    cr_assert_eq(feed(&f, out.data, out.size, 1, 100, &payload, &size), 1);
    cr_assert_eq(size, 5);
    cr_assert_arr_eq(payload, "hello", 5);
    cr_assert_eq(frame_reader_next(&f, 100, &payload, &size), 0);
    buf_done(&out);
    frame_reader_done(&f);
}

Test(net_frame, a_large_frame_takes_memory_as_it_comes_and_gives_it_back)
{
    struct frame_reader f = {0};
    struct buf out = {0};
    uint8_t *large = mem_zalloc(8 << 20);
    const uint8_t *payload;
    uint8_t *at;
    size_t size;

    large[(8 << 20) - 1] = 7;
    frame_put(&out, large, 8 << 20);
    cr_assert_eq(feed(&f, out.data, 100 << 10, 50 << 10, 8 << 20, &payload, &size), 0);
    cr_assert_leq(f.cap, 128 << 10);
    cr_assert_eq(feed(&f, out.data + (100 << 10), out.size - (100 << 10), 64 << 10, 8 << 20,
                      &payload, &size),
                 1);
    cr_assert_eq(size, 8 << 20);
    cr_assert_eq(payload[size - 1], 7);
    cr_assert_eq(f.cap, (8 << 20) + 8);
    frame_reader_room(&f, &at, &size);
    cr_assert_eq(f.cap, 64 << 10);
    mem_free(large);
    buf_done(&out);
    frame_reader_done(&f);
}

Test(net_frame, a_size_above_the_bound_is_refused_at_its_first_four_bytes)
{
    struct frame_reader f = {0};
    const uint8_t *payload;
    size_t size;

    cr_assert_eq(feed(&f, (const uint8_t *)"\x00\x00\x00\x40", 4, 4, 8 << 20, &payload, &size),
                 ERR_MALFORMED);
    cr_assert_eq(f.cap, 64 << 10);
    frame_reader_done(&f);
}

Test(net_frame, an_empty_frame_is_malformed)
{
    struct frame_reader f = {0};
    const uint8_t *payload;
    size_t size;

    cr_assert_eq(feed(&f, (const uint8_t *)"\0\0\0\0\0\0\0\0", 8, 8, 100, &payload, &size),
                 ERR_MALFORMED);
    frame_reader_done(&f);
}

Test(net_frame, any_flipped_bit_of_the_payload_is_found)
{
    struct buf out = {0};

    frame_put(&out, "zab", 3);
    for (size_t bit = 32; bit < out.size * 8; bit++) {
        struct frame_reader f = {0};
        const uint8_t *payload;
        size_t size;

        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(feed(&f, out.data, out.size, 64, 100, &payload, &size), ERR_MALFORMED);
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        frame_reader_done(&f);
    }
    buf_done(&out);
}
