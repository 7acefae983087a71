/* What members say to each other: round trips, and bytes that are not a message. */
#include <criterion/criterion.h>

#include "err.h"
#include "prng.h"
#include "test_wire_samples.h"

#define EQ(member)      cr_assert_eq(a->member, b->member, #member)
#define HASH_EQ(member) cr_assert(hash128_equal(a->member, b->member), #member)

static void assert_pos(const struct zab_pos *a, const struct zab_pos *b)
{
    EQ(epoch);
    EQ(index);
    HASH_EQ(chain);
}

static void assert_entry(const struct zab_entry *a, const struct zab_entry *b)
{
    EQ(epoch);
    EQ(index);
    EQ(type);
    HASH_EQ(chain);
    cr_assert_eq(a->body == NULL, b->body == NULL);
    if (a->body != NULL) {
        EQ(body->size);
        cr_assert_arr_eq(a->body->data, b->body->data, a->body->size);
    }
}

static void assert_zab(const struct zab_msg *a, const struct zab_msg *b)
{
    EQ(type);
    EQ(from);
    EQ(to);
    EQ(epoch);
    EQ(promised);
    assert_pos(&a->last, &b->last);
    EQ(commit);
    EQ(sync);
    EQ(received);
    EQ(durable);
    EQ(round);
    EQ(read);
    EQ(digest_index);
    EQ(digest);
    EQ(fresh);
    EQ(granted);
    EQ(quorum);
    EQ(faulty);
    EQ(unformed);
    EQ(lease);
    EQ(entry_count);
    for (uint32_t i = 0; i < a->entry_count; i++) {
        assert_entry(&a->entries[i], &b->entries[i]);
    }
}

static void assert_peer(const struct peer_msg *a, const struct peer_msg *b)
{
    EQ(type);
    switch (a->type) {
    case PEER_IDENT:
        EQ(u.ident.version);
        HASH_EQ(u.ident.cluster);
        HASH_EQ(u.ident.incarnation);
        EQ(u.ident.from);
        EQ(u.ident.to);
        break;
    case PEER_ZAB:
        assert_zab(&a->u.zab, &b->u.zab);
        break;
    case PEER_FORWARD:
        EQ(u.forward.session);
        EQ(u.forward.size);
        cr_assert_arr_eq(a->u.forward.bytes, b->u.forward.bytes, a->u.forward.size);
        break;
    case PEER_TOUCH:
        EQ(u.touch.count);
        cr_assert_arr_eq(a->u.touch.sessions, b->u.touch.sessions, a->u.touch.count * 8);
        break;
    case PEER_SNAP:
        EQ(u.snap.epoch);
        EQ(u.snap.sync);
        assert_pos(&a->u.snap.pos, &b->u.snap.pos);
        EQ(u.snap.total);
        EQ(u.snap.offset);
        EQ(u.snap.size);
        cr_assert_arr_eq(a->u.snap.bytes, b->u.snap.bytes, a->u.snap.size);
        break;
    case PEER_SNAP_R:
        EQ(u.snap_r.epoch);
        EQ(u.snap_r.sync);
        EQ(u.snap_r.stored);
        break;
    }
}

static void assert_refused(const struct buf *b, const char *what)
{
    struct peer_msg m, before;

    memset(&m, 0x5a, sizeof(m));
    memcpy(&before, &m, sizeof(m));
    cr_assert_eq(wire_peer_decode(b->data, b->size, &m), ERR_MALFORMED, "%s", what);
    cr_assert_eq(memcmp(&m, &before, sizeof(m)), 0, "%s: message was touched", what);
}

/* Encodes one sample, after which the caller spoils bytes. */
static void encode_sample(unsigned i, struct buf *b)
{
    struct peer_msg m;

    sample_peer(i, &m);
    wire_peer_encode(b, &m);
    peer_msg_done(&m);
}

Test(wire_peer, every_message_is_decoded_to_what_was_encoded)
{
    for (unsigned i = 0; i < SAMPLE_PEER_COUNT; i++) {
        struct buf b = {0}, again = {0};
        struct peer_msg m, decoded;

        sample_peer(i, &m);
        wire_peer_encode(&b, &m);
        cr_assert_eq(wire_peer_decode(b.data, b.size, &decoded), 0, "sample %u", i);
        assert_peer(&m, &decoded);
        wire_peer_encode(&again, &decoded);
        cr_assert_eq(b.size, again.size);
        cr_assert_arr_eq(b.data, again.data, b.size);
        peer_msg_done(&decoded);
        peer_msg_done(&m);
        buf_done(&again);
        buf_done(&b);
    }
}

Test(wire_peer, every_truncation_is_refused)
{
    for (unsigned i = 0; i < SAMPLE_PEER_COUNT; i++) {
        struct buf b = {0};

        encode_sample(i, &b);
        for (size_t size = 0; size < b.size; size++) {
            /* On the heap and of that size, so that AddressSanitizer sees a read past the end. */
            struct buf cut = {mem_dup(b.data, size), size, size};

            assert_refused(&cut, "cut");
            buf_done(&cut);
        }
        buf_done(&b);
    }
}

Test(wire_peer, a_byte_after_the_message_is_refused)
{
    for (unsigned i = 0; i < SAMPLE_PEER_COUNT; i++) {
        struct buf b = {0};

        encode_sample(i, &b);
        buf_put_u8(&b, 0);
        assert_refused(&b, "trailing byte");
        buf_done(&b);
    }
}

Test(wire_peer, unknown_types_are_refused)
{
    static const uint8_t types[] = {0, 6, 255};

    for (size_t i = 0; i < sizeof(types); i++) {
        struct buf b = {0};

        encode_sample(0, &b);
        b.data[0] = types[i];
        assert_refused(&b, "type of peer message");
        buf_done(&b);
    }
}

Test(wire_peer, unknown_types_of_broadcast_messages_are_refused)
{
    static const uint8_t types[] = {0, ZAB_MSG_TYPE_MAX + 1, 255};

    for (size_t i = 0; i < sizeof(types); i++) {
        struct buf b = {0};

        encode_sample(4, &b);
        b.data[1] = types[i];
        assert_refused(&b, "type of broadcast message");
        buf_done(&b);
    }
}

/* The start of a TOUCH or PROPOSE whose count is replaced. */
static void encode_count(unsigned sample, size_t at_end, uint32_t count, struct buf *b)
{
    encode_sample(sample, b);
    bytes_set_u32(b->data + b->size - at_end, count);
}

Test(wire_peer, a_count_that_the_bytes_left_cannot_hold_takes_no_memory)
{
    static const uint32_t counts[] = {4, 1000, 10 * 1000 * 1000, UINT32_MAX};

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct buf touch = {0}, propose = {0};

        encode_count(2, 3 * 8 + 4, counts[i], &touch);
        assert_refused(&touch, "sessions");
        encode_count(3 + ZAB_PROPOSE, 3 * 37 + 5 + 4, counts[i], &propose);
        assert_refused(&propose, "entries");
        buf_done(&touch);
        buf_done(&propose);
    }
}

Test(wire_peer, a_count_above_its_limit_is_refused_though_it_is_there)
{
    struct peer_msg m = {.type = PEER_TOUCH}, decoded;
    struct buf b = {0};

    m.u.touch.count = 4096;
    m.u.touch.sessions = mem_zalloc(4096 * sizeof(uint64_t));
    wire_peer_encode(&b, &m);
    cr_assert_eq(wire_peer_decode(b.data, b.size, &decoded), 0);
    peer_msg_done(&decoded);
    bytes_set_u32(b.data + 1, 4097);
    buf_put_u64(&b, 1);
    assert_refused(&b, "4097 sessions");
    peer_msg_done(&m);
    buf_done(&b);
}

Test(wire_peer, entries_above_the_batch_limit_are_refused)
{
    struct peer_msg m = {.type = PEER_ZAB}, decoded;
    struct buf b = {0};
    size_t count_at;

    sample_zab(ZAB_ACK, &m.u.zab);
    m.u.zab.entry_count = 1000;
    m.u.zab.entries = mem_zalloc(1000 * sizeof(struct zab_entry));
    for (uint32_t i = 0; i < 1000; i++) {
        m.u.zab.entries[i].type = ZAB_ENTRY_DATA;
    }
    wire_peer_encode(&b, &m);
    cr_assert_eq(wire_peer_decode(b.data, b.size, &decoded), 0);
    cr_assert_eq(decoded.u.zab.entry_count, 1000);
    peer_msg_done(&decoded);

    count_at = b.size - 1000 * 37 - 4;
    cr_assert_eq(bytes_get_u32(b.data + count_at), 1000);
    buf_reserve(&b, 37);
    memcpy(b.data + b.size, b.data + b.size - 37, 37);
    b.size += 37;
    bytes_set_u32(b.data + count_at, 1001);
    assert_refused(&b, "1001 entries");
    peer_msg_done(&m);
    buf_done(&b);
}

Test(wire_peer, a_body_that_is_longer_than_the_message_takes_no_memory)
{
    struct buf b = {0};

    encode_sample(3 + ZAB_PROPOSE, &b);
    bytes_set_u32(b.data + b.size - 5, UINT32_MAX); /* the last entry's size, before its one byte */
    assert_refused(&b, "body of 4 GiB");
    bytes_set_u32(b.data + b.size - 5, 2);
    assert_refused(&b, "body of one byte too many");
    buf_done(&b);
}

Test(wire_peer, unknown_types_of_entries_are_refused)
{
    static const uint8_t types[] = {0, 3, 255};

    for (size_t i = 0; i < sizeof(types); i++) {
        struct buf b = {0};

        encode_sample(3 + ZAB_PROPOSE, &b);
        b.data[b.size - 1 - 4 - 16 - 1] = types[i];
        assert_refused(&b, "type of entry");
        buf_done(&b);
    }
}

Test(wire_peer, a_piece_of_a_snapshot_lies_within_it)
{
    struct peer_msg m;
    struct buf b = {0};

    sample_peer(3, &m);
    wire_peer_encode(&b, &m);
    bytes_set_u64(b.data + 1 + 16 + 32, UINT64_MAX - 3); /* total, one less than offset + size */
    assert_refused(&b, "piece past the end");
    bytes_set_u64(b.data + 1 + 16 + 32, 0);
    assert_refused(&b, "piece behind the end");
    buf_done(&b);
}

/* Whatever decodes must encode, and to the same bytes: there is one form of each message. */
static bool decode_and_compare(const uint8_t *bytes, size_t size)
{
    struct buf b = {0};
    struct peer_msg m;

    if (wire_peer_decode(bytes, size, &m) != 0) {
        return false;
    }
    wire_peer_encode(&b, &m);
    cr_assert_eq(b.size, size);
    cr_assert_arr_eq(b.data, bytes, size);
    peer_msg_done(&m);
    buf_done(&b);
    return true;
}

Test(wire_peer, random_bytes_do_no_harm)
{
    struct prng p = {20263};

    for (int i = 0; i < 200000; i++) {
        size_t size = prng_below(&p, 256);
        uint8_t *bytes = mem_alloc(size);

        for (size_t k = 0; k < size; k++) {
            bytes[k] = (uint8_t)prng_next(&p);
        }
        if (size > 1 && i % 2 == 0) { /* half of them begin like a message */
            bytes[0] = (uint8_t)(1 + prng_below(&p, 5));
            bytes[1] = (uint8_t)(1 + prng_below(&p, ZAB_MSG_TYPE_MAX));
        }
        decode_and_compare(bytes, size);
        mem_free(bytes);
    }
}

Test(wire_peer, messages_with_flipped_bits_do_no_harm)
{
    struct prng p = {20264};
    int decoded = 0;

    for (int i = 0; i < 200000; i++) {
        struct buf b = {0};
        uint8_t *bytes;

        encode_sample((unsigned)prng_below(&p, SAMPLE_PEER_COUNT), &b);
        for (uint64_t flips = 1 + prng_below(&p, 3); flips > 0; flips--) {
            b.data[prng_below(&p, b.size)] ^= (uint8_t)(1u << prng_below(&p, 8));
        }
        bytes = mem_dup(b.data, b.size);
        decoded += decode_and_compare(bytes, b.size);
        mem_free(bytes);
        buf_done(&b);
    }
    cr_assert_gt(decoded, 1000, "the test reaches past the head of messages: %d", decoded);
}
