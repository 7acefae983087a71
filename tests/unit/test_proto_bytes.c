/* What other implementations rely on: the bytes that docs/PROTOCOL.md promises. */
#include <criterion/criterion.h>

#include "codec.h"
#include "err.h"

#define BYTES_EQ(b, literal) assert_bytes((b), (literal), sizeof(literal) - 1)

static void assert_bytes(const struct buf *b, const char *literal, size_t size)
{
    cr_assert_eq(b->size, size, "%zu bytes", b->size);
    cr_assert_arr_eq(b->data, literal, size);
}

Test(proto_bytes, a_ping_request_has_the_documented_bytes)
{
    struct request r = {.op = OP_PING, .xid = 1, .deadline_ms = 10000};
    struct buf b = {0};

    codec_encode_request(&b, &r);
    BYTES_EQ(&b, "\x95\x00\x09\x01\x00\xcd\x27\x10");
    buf_done(&b);
}

Test(proto_bytes, a_create_request_has_the_documented_bytes)
{
    struct request r = {.op = OP_CREATE, .xid = 300, .xid_floor = 299, .deadline_ms = 5};
    struct buf b = {0};

    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.name = (struct name){"job-", 4};
    r.u.create.type = NODE_FILE;
    r.u.create.mode = 0644;
    r.u.create.uid = 1000;
    r.u.create.gid = 65536;
    r.u.create.flags = CREATE_SEQUENTIAL;
    r.u.create.life = LIFE_OPEN;
    r.u.create.value = blob_new("hi", 2);
    codec_encode_request(&b, &r);
    BYTES_EQ(&b,
             "\x9e\x00\x20\xcd\x01\x2c\xcd\x01\x2b\x05"
             "\x01\xc4\x04job-\x01\xcd\x01\xa4\xcd\x03\xe8\xce\x00\x01\x00\x00\x01\x02\xc4\x02hi");
    codec_request_done(&r);
    buf_done(&b);
}

Test(proto_bytes, an_error_reply_has_the_documented_bytes)
{
    struct reply r = {.op = OP_LOOKUP, .xid = 5, .err = ERR_NOENT, .index = 42};
    struct buf b = {0};

    codec_encode_reply(&b, &r);
    BYTES_EQ(&b, "\x95\x01\x02\x05\xff\x2a");
    buf_done(&b);
}

Test(proto_bytes, an_event_has_the_documented_bytes)
{
    struct event e = {.index = 9,
                      .dir = 1,
                      .name = {"a", 1},
                      .kind = CHANGE_MOVE,
                      .more = true,
                      .dir_path = {"", 0},
                      .from_dir = 8,
                      .from_name = {"b", 1},
                      .from_path = {"/d", 2},
                      .session = 4,
                      .xid = 6,
                      .attr = {.id = 2,
                               .parent = 1,
                               .type = NODE_FILE,
                               .life = LIFE_SESSION,
                               .owner = 15,
                               .mode = 0755,
                               .uid = 3,
                               .gid = 4,
                               .size = 5,
                               .nlink = 6,
                               .version = 7,
                               .cversion = 8,
                               .aversion = 9,
                               .czxid = 10,
                               .mzxid = 11,
                               .pzxid = 12,
                               .atime_ns = -1,
                               .mtime_ns = 13,
                               .ctime_ns = -33}};
    struct buf b = {0};

    codec_encode_event(&b, &e);
    BYTES_EQ(&b,
             "\x9f\x02\x09\x01\xc4\x01\x61\x05\xc3\xc4\x00\x08\xc4\x01\x62\xc4\x02/d\x00\x04\x06"
             "\xdc\x00\x13\x02\x01\x01\x01\x0f\xcd\x01\xed\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"
             "\x0c\xff\x0d\xd0\xdf\xc0");
    buf_done(&b);
}

static void assert_ping_xid_5(const char *bytes, size_t size)
{
    struct message m;

    cr_assert_eq(codec_decode(bytes, size, &m), 0);
    cr_assert_eq(m.u.request.op, OP_PING);
    cr_assert_eq(m.u.request.xid, 5);
}

#define PING_XID_5(literal) assert_ping_xid_5((literal), sizeof(literal) - 1)

Test(proto_bytes, integers_are_accepted_in_any_width)
{
    PING_XID_5("\x95\x00\x09\x05\x00\x00");
    PING_XID_5("\x95\x00\x09\xcc\x05\x00\x00");
    PING_XID_5("\x95\x00\x09\xcd\x00\x05\x00\x00");
    PING_XID_5("\x95\x00\x09\xce\x00\x00\x00\x05\x00\x00");
    PING_XID_5("\x95\x00\x09\xcf\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00");
    PING_XID_5("\x95\x00\x09\xd0\x05\x00\x00");
    PING_XID_5("\x95\x00\x09\xd1\x00\x05\x00\x00");
    PING_XID_5("\x95\x00\x09\xd2\x00\x00\x00\x05\x00\x00");
    PING_XID_5("\x95\x00\x09\xd3\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00");
}
