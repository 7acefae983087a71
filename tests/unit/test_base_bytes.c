/* The growing buffer and the bounded reader. */
#include <criterion/criterion.h>

#include <string.h>

#include "blob.h"
#include "bytes.h"

Test(base_bytes, integers_are_little_endian)
{
    struct buf b = {0};

    buf_put_u8(&b, 0x01);
    buf_put_u16(&b, 0x0203);
    buf_put_u32(&b, 0x04050607);
    buf_put_u64(&b, 0x08090a0b0c0d0e0f);
    cr_assert_eq(b.size, 15);
    cr_assert_arr_eq(b.data, "\x01\x03\x02\x07\x06\x05\x04\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08", 15);
    buf_done(&b);
    cr_assert_null(b.data);
    cr_assert_eq(b.size, 0);
}

Test(base_bytes, a_cursor_reads_what_a_buffer_took)
{
    static const uint8_t bytes[] = {0xff, 0xfe, 0xff, 0xfd, 0xff, 0xff, 0x80, 0xfc, 0xff,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 'x',  'y'};
    struct cursor c = cur_make(bytes, sizeof(bytes));
    const uint8_t *at;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    cr_assert(cur_u8(&c, &u8));
    cr_assert_eq(u8, 0xff);
    cr_assert(cur_u16(&c, &u16));
    cr_assert_eq(u16, 0xfffe);
    cr_assert(cur_u32(&c, &u32));
    cr_assert_eq(u32, 0x80fffffd);
    cr_assert(cur_u64(&c, &u64));
    cr_assert_eq(u64, 0x7ffffffffffffffc);
    cr_assert(cur_bytes(&c, 2, &at));
    cr_assert_eq(at, bytes + 15);
    cr_assert_eq(cur_left(&c), 0);
}

Test(base_bytes, a_cursor_that_is_too_short_moves_nothing)
{
    static const uint8_t bytes[7] = {0};
    struct cursor c = cur_make(bytes, sizeof(bytes));
    const uint8_t *at = NULL;
    uint64_t u64 = 42;

    cr_assert_not(cur_u64(&c, &u64));
    cr_assert_eq(u64, 42);
    cr_assert_not(cur_bytes(&c, 8, &at));
    cr_assert_null(at);
    cr_assert_not(cur_bytes(&c, SIZE_MAX, &at));
    cr_assert_eq(cur_left(&c), 7);
}

Test(base_bytes, an_empty_cursor_may_come_from_no_bytes_at_all)
{
    struct cursor c = cur_make(NULL, 0);
    uint8_t u8;

    cr_assert_eq(cur_left(&c), 0);
    cr_assert_not(cur_u8(&c, &u8));
}

Test(base_bytes, a_buffer_grows_over_many_sizes)
{
    struct buf b = {0};

    for (uint32_t i = 0; i < 10000; i++) {
        buf_put_u32(&b, i);
    }
    buf_put(&b, NULL, 0);
    cr_assert_eq(b.size, 40000);
    cr_assert_eq(bytes_get_u32(b.data), 0);
    cr_assert_eq(bytes_get_u32(b.data + 39996), 9999);
    buf_done(&b);
}

Test(base_bytes, a_blob_lives_as_long_as_its_last_reference)
{
    struct blob *b = blob_new("abc", 3);

    cr_assert_eq(blob_ref(b), b);
    blob_unref(b);
    cr_assert_eq(b->size, 3);
    cr_assert_arr_eq(b->data, "abc", 3);
    blob_unref(b);
    cr_assert_null(blob_ref(NULL));
    blob_unref(NULL);
}
