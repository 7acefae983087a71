/* Bytes from outside: what is not a message is refused, takes no memory, and leaves none. */
#include <criterion/criterion.h>

#include "prng.h"
#include "test_proto_samples.h"

static void assert_refused(const void *bytes, size_t size, const char *what)
{
    struct message m;
    struct message before;

    memset(&m, 0x5a, sizeof(m));
    memcpy(&before, &m, sizeof(m));
    cr_assert_eq(codec_decode(bytes, size, &m), ERR_MALFORMED, "%s", what);
    cr_assert_eq(memcmp(&m, &before, sizeof(m)), 0, "%s: message was touched", what);
}

/* The terminating NUL of a literal is no part of it. */
#define REFUSED(literal, what) assert_refused((literal), sizeof(literal) - 1, (what))
#define ACCEPTED(literal)      assert_accepted((literal), sizeof(literal) - 1)

static void assert_accepted(const void *bytes, size_t size)
{
    struct message m;

    cr_assert_eq(codec_decode(bytes, size, &m), 0);
    codec_message_done(&m);
}

/* Bytes of exactly their size on the heap, so that AddressSanitizer sees a read past the end. */
static void assert_prefix_refused(const struct buf *b, size_t size, unsigned sample)
{
    uint8_t *bytes = mem_dup(b->data, size);
    struct message m;

    cr_assert_eq(codec_decode(bytes, size, &m), ERR_MALFORMED, "sample %u cut at %zu of %zu",
                 sample, size, b->size);
    mem_free(bytes);
}

Test(proto_malformed, every_truncation_is_refused)
{
    for (unsigned i = 0; i < SAMPLE_COUNT; i++) {
        struct buf b = {0};
        struct message m;

        sample_message(i, &m);
        sample_encode(&b, &m);
        for (size_t size = 0; size < b.size; size++) {
            assert_prefix_refused(&b, size, i);
        }
        codec_message_done(&m);
        buf_done(&b);
    }
}

Test(proto_malformed, a_byte_after_the_message_is_refused)
{
    for (unsigned i = 0; i < SAMPLE_COUNT; i++) {
        struct buf b = {0};
        struct message m;

        sample_message(i, &m);
        sample_encode(&b, &m);
        buf_put_u8(&b, 0);
        assert_refused(b.data, b.size, "trailing byte");
        codec_message_done(&m);
        buf_done(&b);
    }
}

Test(proto_malformed, an_array_is_exactly_as_long_as_its_message)
{
    REFUSED("\x94\x00\x09\x01\x00", "ping without deadline");
    REFUSED("\x96\x00\x09\x01\x00\x00\x00", "ping with an argument");
    REFUSED("\x91\x00", "kind alone");
    REFUSED("\x90", "empty array");
    REFUSED("\x96\x01\x02\x05\xff\x2a\x00", "error reply with a body");
    REFUSED("\x95\x01\x02\x05\x00\x2a", "reply without its body");
}

Test(proto_malformed, unknown_kinds_ops_and_errors_are_refused)
{
    REFUSED("\x95\x03\x09\x01\x00\x00", "kind 3");
    REFUSED("\x95\xff\x09\x01\x00\x00", "kind -1");
    REFUSED("\x95\x00\x00\x01\x00\x00", "op 0");
    REFUSED("\x95\x00\x12\x01\x00\x00", "op 18");
    REFUSED("\x95\x00\x29\x01\x00\x00", "op 41");
    REFUSED("\x95\x00\x42\x01\x00\x00", "op 66");
    REFUSED("\x95\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x09\x01\x00\x00", "op 2^32 + 9");
    REFUSED("\x95\x01\x02\x05\x01\x2a", "err 1");
    REFUSED("\x95\x01\x02\x05\xd0\xdf\x2a", "err -33");
    REFUSED("\x95\x01\x02\x05\xd3\xff\xff\xff\xfe\xff\xff\xff\xff\x2a", "err below int");
}

Test(proto_malformed, other_types_of_msgpack_are_refused)
{
    /* PING with something else where xid belongs. */
    ACCEPTED("\x95\x00\x09\x01\x00\x00");
    REFUSED("\x95\x00\x09\xc0\x00\x00", "nil");
    REFUSED("\x95\x00\x09\xc1\x00\x00", "the type that is never used");
    REFUSED("\x95\x00\x09\xc3\x00\x00", "true");
    REFUSED("\x95\x00\x09\xff\x00\x00", "-1");
    REFUSED("\x95\x00\x09\xd0\x80\x00\x00", "-128");
    REFUSED("\x95\x00\x09\xa0\x00\x00", "str");
    REFUSED("\x95\x00\x09\x80\x00\x00", "map");
    REFUSED("\x95\x00\x09\x90\x00\x00", "array");
    REFUSED("\x95\x00\x09\xc4\x00\x00\x00", "bin");
    REFUSED("\x95\x00\x09\xd4\x00\x00\x00\x00", "ext");
    REFUSED("\x95\x00\x09\xca\x00\x00\x00\x00\x00\x00", "float");
    REFUSED("\x95\x00\x09\xcb\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "double");
    REFUSED("\x96\x00\x08\x01\x00\x00\x01", "1 for a bool");
    REFUSED("\x98\x00\x02\x05\x01\x00\x01\xa3\x61\x62\x63\x00", "str for a name");
}

Test(proto_malformed, a_count_of_ten_million_takes_no_memory)
{
    /* 10,000,000 is 0x989680: 80 MB of ids, 1.6 GB of entries. Made and freed 100,000 times, they
     * would take this test over its time. */
    static const char outer[] = "\xdd\x00\x98\x96\x80";
    static const char ids[] = "\x97\x00\x0a\x01\x00\x00\x00\xdd\x00\x98\x96\x80";
    static const char entries[] = "\x97\x01\x05\x01\x00\x00\xc3\xdd\x00\x98\x96\x80";
    static const char steps[] = "\x98\x00\x28\x01\x00\x00\x00\x00\xdd\x00\x98\x96\x80";

    for (int i = 0; i < 100000; i++) {
        REFUSED(outer, "message");
        REFUSED(ids, "ids");
        REFUSED(entries, "entries");
        REFUSED(steps, "steps");
    }
    REFUSED("\x97\x00\x0a\x01\x00\x00\x00\xdd\x00\x00\x10\x00", "4096 ids, none there");
    REFUSED("\x98\x00\x21\x01\x00\x00\x01\x00\xc6\xff\xff\xff\xff", "4 GiB value");
}

/* A request INTEREST with `count` ids, all there. */
static void put_interest(struct buf *b, uint32_t count)
{
    buf_put(b, "\x97\x00\x0a\x01\x00\x00\x00\xdd", 8);
    for (int shift = 24; shift >= 0; shift -= 8) {
        buf_put_u8(b, (uint8_t)(count >> shift));
    }
    for (uint32_t i = 0; i < count; i++) {
        buf_put_u8(b, 1);
    }
}

Test(proto_malformed, a_list_above_its_limit_is_refused_though_it_is_there)
{
    struct buf most = {0}, above = {0};
    struct message m;

    put_interest(&most, 4096);
    cr_assert_eq(codec_decode(most.data, most.size, &m), 0);
    cr_assert_eq(m.u.request.u.interest.count, 4096);
    codec_message_done(&m);
    put_interest(&above, 4097);
    assert_refused(above.data, above.size, "4097 ids");
    buf_done(&most);
    buf_done(&above);
}

/* A LOOKUP of a name of `size` bytes. */
static void put_lookup(struct buf *b, uint16_t size)
{
    buf_put(b, "\x98\x00\x02\x05\x01\x00\x01\xc5", 8);
    buf_put_u8(b, (uint8_t)(size >> 8));
    buf_put_u8(b, (uint8_t)size);
    for (int i = 0; i < size; i++) {
        buf_put_u8(b, 'n');
    }
    buf_put_u8(b, 0); /* at */
}

Test(proto_malformed, a_name_too_long_for_the_tree_passes_and_one_far_too_long_does_not)
{
    struct buf most = {0}, above = {0};
    struct message m;

    put_lookup(&most, 4096);
    cr_assert_eq(codec_decode(most.data, most.size, &m), 0);
    cr_assert_eq(m.u.request.u.lookup.name.size, 4096);
    put_lookup(&above, 4097);
    assert_refused(above.data, above.size, "name of 4097 bytes");
    buf_done(&most);
    buf_done(&above);
}

Test(proto_malformed, a_value_above_the_limit_is_refused)
{
    uint32_t size = (8 << 20) + 1;
    struct buf b = {0};

    buf_put(&b, "\x97\x00\x22\x05\x01\x00\x01\xc6\x00\x80\x00\x01", 12); /* APPEND */
    buf_reserve(&b, size);
    memset(b.data + b.size, 0, size);
    b.size += size;
    assert_refused(b.data, b.size, "value of 8 MiB and a byte");
    buf_done(&b);
}

Test(proto_malformed, enums_flags_and_masks_out_of_range_are_refused)
{
    /* CREATE: dir 1, name "a", type, mode, uid 0, gid 0, flags, life, no value. */
    ACCEPTED("\x9e\x00\x20\x01\x00\x00\x01\xc4\x01\x61\x03\x00\x00\x00\x01\x00\xc4\x00");
    REFUSED("\x9e\x00\x20\x01\x00\x00\x01\xc4\x01\x61\x00\x00\x00\x00\x01\x00\xc4\x00", "type 0");
    REFUSED("\x9e\x00\x20\x01\x00\x00\x01\xc4\x01\x61\x04\x00\x00\x00\x01\x00\xc4\x00", "type 4");
    REFUSED("\x9e\x00\x20\x01\x00\x00\x01\xc4\x01\x61\x03\xcd\x10\x00\x00\x00\x01\x00\xc4\x00",
            "mode 010000");
    REFUSED("\x9e\x00\x20\x01\x00\x00\x01\xc4\x01\x61\x03\x00\x00\x00\x02\x00\xc4\x00", "flag 2");
    REFUSED("\x9e\x00\x20\x01\x00\x00\x01\xc4\x01\x61\x03\x00\x00\x00\x01\x03\xc4\x00", "life 3");
    /* SETATTR: id 1, mask, then zeros. */
    ACCEPTED("\x9d\x00\x23\x01\x00\x00\x01\xcc\xff\x00\x00\x00\x00\x00\x00");
    REFUSED("\x9d\x00\x23\x01\x00\x00\x01\xcd\x01\x00\x00\x00\x00\x00\x00\x00", "mask 256");
    /* REMOVE: dir 1, name "a", flags, any node. */
    ACCEPTED("\x99\x00\x24\x01\x00\x00\x01\xc4\x01\x61\x03\x00");
    REFUSED("\x99\x00\x24\x01\x00\x00\x01\xc4\x01\x61\x04\x00", "flag 4");
    /* RENAME: dir 1, name "a", dir 1, name "b", flags. */
    ACCEPTED("\x9a\x00\x25\x01\x00\x00\x01\xc4\x01\x61\x01\xc4\x01\x62\x03");
    REFUSED("\x9a\x00\x25\x01\x00\x00\x01\xc4\x01\x61\x01\xc4\x01\x62\x04", "flag 4");
    /* SETXATTR: id 2, name "a", no value, flags. */
    ACCEPTED("\x99\x00\x26\x01\x00\x00\x02\xc4\x01\x61\xc4\x00\x07");
    REFUSED("\x99\x00\x26\x01\x00\x00\x02\xc4\x01\x61\xc4\x00\x08", "flag 8");
    /* LOCK: id 2, [kind, type, owner 9, 0 to 1, pid 7], wait. */
    ACCEPTED("\x98\x00\x27\x01\x00\x00\x02\x96\x02\x02\x09\x00\x01\x07\xc3");
    REFUSED("\x98\x00\x27\x01\x00\x00\x02\x96\x03\x02\x09\x00\x01\x07\xc3", "kind 3");
    REFUSED("\x98\x00\x27\x01\x00\x00\x02\x96\x02\x03\x09\x00\x01\x07\xc3", "type 3");
    REFUSED("\x98\x00\x27\x01\x00\x00\x02\x95\x02\x02\x09\x00\x01\xc3", "lock without pid");
    /* TXN: uid 0, gid 0, [[kind, path "/", version 0, no value]]. */
    ACCEPTED("\x98\x00\x28\x01\x00\x00\x00\x00\x91\x94\x09\xc4\x01\x2f\x00\xc4\x00");
    REFUSED("\x98\x00\x28\x01\x00\x00\x00\x00\x91\x94\x00\xc4\x01\x2f\x00\xc4\x00", "kind 0");
    REFUSED("\x98\x00\x28\x01\x00\x00\x00\x00\x91\x94\x0a\xc4\x01\x2f\x00\xc4\x00", "kind 10");
    /* READDIR: dir 1, after 0, 256 KiB and a byte, now. */
    ACCEPTED("\x99\x00\x05\x01\x00\x00\x01\x00\xce\x00\x04\x00\x00\x00");
    REFUSED("\x99\x00\x05\x01\x00\x00\x01\x00\xce\x00\x04\x00\x01\x00", "size_max");
    /* BACKUP: offset 0, 1 MiB and less, a byte more, nothing. */
    ACCEPTED("\x97\x00\x0c\x01\x00\x00\x00\xce\x00\x10\x00\x00");
    REFUSED("\x97\x00\x0c\x01\x00\x00\x00\xce\x00\x10\x00\x01", "size_max");
    REFUSED("\x97\x00\x0c\x01\x00\x00\x00\x00", "size_max 0");
}

Test(proto_malformed, a_session_key_has_16_bytes)
{
    /* SESSION_OPEN: key, timeout 0, empty label. */
    static const char good[] = "\x98\x00\x40\x01\x00\x00\xc4\x10"
                               "0123456789abcdef\x00\xc4\x00";
    static const char less[] = "\x98\x00\x40\x01\x00\x00\xc4\x0f"
                               "0123456789abcde\x00\xc4\x00";
    static const char more[] = "\x98\x00\x40\x01\x00\x00\xc4\x11"
                               "0123456789abcdefg\x00\xc4\x00";

    ACCEPTED(good);
    REFUSED(less, "15");
    REFUSED(more, "17");
}

/* Whatever decodes must encode, and that must decode to itself. */
static bool decode_and_compare(const uint8_t *bytes, size_t size)
{
    struct buf once = {0}, twice = {0};
    struct message m, again;

    if (codec_decode(bytes, size, &m) != 0) {
        return false;
    }
    sample_encode(&once, &m);
    cr_assert_eq(codec_decode(once.data, once.size, &again), 0);
    sample_encode(&twice, &again);
    cr_assert_eq(once.size, twice.size);
    cr_assert_arr_eq(once.data, twice.data, once.size);
    codec_message_done(&again);
    codec_message_done(&m);
    buf_done(&once);
    buf_done(&twice);
    return true;
}

Test(proto_malformed, random_bytes_do_no_harm)
{
    struct prng p = {20261};

    for (int i = 0; i < 200000; i++) {
        size_t size = prng_below(&p, 64);
        uint8_t *bytes = mem_alloc(size);

        for (size_t k = 0; k < size; k++) {
            bytes[k] = (uint8_t)prng_next(&p);
        }
        if (size > 3 && i % 2 == 0) { /* half of them begin like a message */
            bytes[0] = (uint8_t)(0x90 + prng_below(&p, 16));
            bytes[1] = (uint8_t)prng_below(&p, 3);
            bytes[2] = (uint8_t)prng_below(&p, 66);
        }
        decode_and_compare(bytes, size);
        mem_free(bytes);
    }
}

Test(proto_malformed, messages_with_flipped_bits_do_no_harm)
{
    struct prng p = {20262};
    int decoded = 0;

    for (int i = 0; i < 200000; i++) {
        struct buf b = {0};
        struct message m;
        uint8_t *bytes;

        sample_message((unsigned)prng_below(&p, SAMPLE_COUNT), &m);
        sample_encode(&b, &m);
        for (uint64_t flips = 1 + prng_below(&p, 3); flips > 0; flips--) {
            b.data[prng_below(&p, b.size)] ^= (uint8_t)(1u << prng_below(&p, 8));
        }
        bytes = mem_dup(b.data, b.size);
        decoded += decode_and_compare(bytes, b.size);
        mem_free(bytes);
        codec_message_done(&m);
        buf_done(&b);
    }
    cr_assert_gt(decoded, 1000, "the test reaches past the head of messages: %d", decoded);
}
