/* The body of a log entry. */
#include <criterion/criterion.h>

#include <string.h>

#include "err.h"
#include "wire.h"

static const struct txn_stamp stamp = {.time_ns = -2, .value_size_max = 1 << 20, .session = 7};

static void put_request(struct buf *b, enum op op)
{
    struct request r = {.op = op, .xid = 3};

    if (op == OP_SET) {
        r.u.set.id = 9;
        r.u.set.value = blob_new("v", 1);
    }
    codec_encode_request(b, &r);
    codec_request_done(&r);
}

static void put_entry(struct buf *b, const struct txn_stamp *of, const void *request, size_t size)
{
    struct blob *body = wire_txn_new(of, request, size);

    buf_put(b, body->data, body->size);
    blob_unref(body);
}

Test(wire_txn, the_stamp_and_the_request_come_back)
{
    struct buf request = {0}, b = {0};
    struct txn txn;

    put_request(&request, OP_SET);
    put_entry(&b, &stamp, request.data, request.size);
    cr_assert_eq(wire_txn_decode(b.data, b.size, &txn), 0);
    cr_assert_eq(txn.index, 0);
    cr_assert_eq(txn.time_ns, -2);
    cr_assert_eq(txn.value_size_max, 1048576);
    cr_assert_eq(txn.session, 7);
    cr_assert_eq(txn.request.op, OP_SET);
    cr_assert_eq(txn.request.xid, 3);
    cr_assert_eq(txn.request.u.set.id, 9);
    cr_assert_arr_eq(txn.request.u.set.value->data, "v", 1);
    codec_request_done(&txn.request);
    buf_done(&request);
    buf_done(&b);
}

/* The log is read by later versions: these bytes never change. */
Test(wire_txn, an_entry_has_the_documented_bytes)
{
    struct buf request = {0}, b = {0};

    put_request(&request, OP_SET);
    put_entry(&b, &stamp, request.data, request.size);
    cr_assert_eq(b.size, 31);
    cr_assert_arr_eq(b.data,
                     "\xfe\xff\xff\xff\xff\xff\xff\xff\x00\x00\x10\x00\x07\x00\x00\x00\x00\x00\x00"
                     "\x00\x98\x00\x21\x03\x00\x00\x09\x00\xc4\x01v",
                     31);
    buf_done(&request);
    buf_done(&b);
}

Test(wire_txn, the_greatest_value_makes_an_entry_within_its_limit)
{
    struct request r = {.op = OP_CREATE, .xid = UINT64_MAX, .xid_floor = UINT64_MAX};
    struct buf request = {0}, b = {0};
    char name[255];

    memset(name, 'n', sizeof(name));
    r.u.create.name = (struct name){name, sizeof(name)};
    r.u.create.dir = UINT64_MAX;
    r.u.create.type = NODE_FILE;
    r.u.create.value = blob_new_uninit(VALUE_SIZE_MAX);
    memset(r.u.create.value->data, 0, VALUE_SIZE_MAX);
    codec_encode_request(&request, &r);
    cr_assert_leq(request.size, CLIENT_FRAME_SIZE_MAX);
    put_entry(&b, &stamp, request.data, request.size);
    cr_assert_leq(b.size, ENTRY_SIZE_MAX);
    codec_request_done(&r);
    buf_done(&request);
    buf_done(&b);
}

Test(wire_txn, every_truncation_is_refused_and_leaves_the_result_alone)
{
    struct buf request = {0}, b = {0};

    put_request(&request, OP_SET);
    put_entry(&b, &stamp, request.data, request.size);
    for (size_t size = 0; size < b.size; size++) {
        struct txn txn = {.index = 42};

        cr_assert_eq(wire_txn_decode(b.data, size, &txn), ERR_MALFORMED, "%zu bytes", size);
        cr_assert_eq(txn.index, 42);
    }
    buf_done(&request);
    buf_done(&b);
}

Test(wire_txn, only_writes_are_entries)
{
    static const enum op writes[] = {OP_SET,    OP_APPEND,       OP_SETATTR,
                                     OP_REMOVE, OP_SESSION_OPEN, OP_SESSION_CLOSE};
    static const enum op reads[] = {OP_HELLO,   OP_LOOKUP,   OP_GETATTR, OP_READ,
                                    OP_READDIR, OP_STATFS,   OP_STATUS,  OP_SYNC,
                                    OP_PING,    OP_INTEREST, OP_FORGET};

    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        struct buf request = {0}, b = {0};
        struct txn txn;

        put_request(&request, writes[i]);
        put_entry(&b, &stamp, request.data, request.size);
        cr_assert_eq(wire_txn_decode(b.data, b.size, &txn), 0);
        codec_request_done(&txn.request);
        buf_done(&request);
        buf_done(&b);
    }
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        struct buf request = {0}, b = {0};
        struct txn txn;

        put_request(&request, reads[i]);
        put_entry(&b, &stamp, request.data, request.size);
        cr_assert_eq(wire_txn_decode(b.data, b.size, &txn), ERR_MALFORMED);
        buf_done(&request);
        buf_done(&b);
    }
}

Test(wire_txn, a_reply_or_an_event_is_no_entry)
{
    struct reply r = {.op = OP_SET, .err = ERR_NOENT};
    struct event e = {.kind = CHANGE_SET, .attr = {.type = NODE_FILE}};
    struct buf reply = {0}, event = {0}, b = {0};
    struct txn txn;

    codec_encode_reply(&reply, &r);
    put_entry(&b, &stamp, reply.data, reply.size);
    cr_assert_eq(wire_txn_decode(b.data, b.size, &txn), ERR_MALFORMED);
    buf_done(&b);

    e.has_value = true;
    e.value = blob_new("owned", 5);
    codec_encode_event(&event, &e);
    put_entry(&b, &stamp, event.data, event.size);
    cr_assert_eq(wire_txn_decode(b.data, b.size, &txn), ERR_MALFORMED);
    codec_event_done(&e);
    buf_done(&reply);
    buf_done(&event);
    buf_done(&b);
}

Test(wire_txn, a_value_limit_above_that_of_all_ensembles_is_refused)
{
    struct buf request = {0}, b = {0};
    struct txn txn;

    put_request(&request, OP_SET);
    put_entry(&b, &stamp, request.data, request.size);
    bytes_set_u32(b.data + 8, (8 << 20) + 1);
    cr_assert_eq(wire_txn_decode(b.data, b.size, &txn), ERR_MALFORMED);
    buf_done(&request);
    buf_done(&b);
}
