/* What is encoded is decoded to the same: every op, reply and event, least and greatest values. */
#include <criterion/criterion.h>

#include "test_proto_samples.h"

#define EQ(member)      cr_assert_eq(a->member, b->member, #member)
#define NAME_EQ(member) assert_name(&a->member, &b->member, #member)
#define BLOB_EQ(member) assert_blob(a->member, b->member, #member)
#define ATTR_EQ(member) assert_attr(&a->member, &b->member)
#define KEY_EQ(member)  cr_assert_arr_eq(a->member.bytes, b->member.bytes, 16)

static void assert_name(const struct name *a, const struct name *b, const char *what)
{
    cr_assert_eq(a->size, b->size, "%s", what);
    cr_assert(a->size == 0 || memcmp(a->bytes, b->bytes, a->size) == 0, "%s", what);
}

static void assert_blob(const struct blob *a, const struct blob *b, const char *what)
{
    cr_assert_eq(a == NULL, b == NULL, "%s", what);
    if (a != NULL) {
        cr_assert_eq(a->size, b->size, "%s", what);
        cr_assert_arr_eq(a->data, b->data, a->size, "%s", what);
    }
}

static void assert_attr(const struct attr *a, const struct attr *b)
{
    EQ(id);
    EQ(parent);
    EQ(type);
    EQ(mode);
    EQ(uid);
    EQ(gid);
    EQ(size);
    EQ(nlink);
    EQ(version);
    EQ(cversion);
    EQ(aversion);
    EQ(czxid);
    EQ(mzxid);
    EQ(pzxid);
    EQ(atime_ns);
    EQ(mtime_ns);
    EQ(ctime_ns);
}

static void assert_read_request(const struct request *a, const struct request *b)
{
    switch (a->op) {
    case OP_HELLO:
        EQ(u.hello.version);
        KEY_EQ(u.hello.key);
        EQ(u.hello.resume);
        EQ(u.hello.index_seen);
        EQ(u.hello.timeout_ms);
        NAME_EQ(u.hello.label);
        break;
    case OP_LOOKUP:
        EQ(u.lookup.dir);
        NAME_EQ(u.lookup.name);
        break;
    case OP_GETATTR:
        EQ(u.getattr.id);
        break;
    case OP_READ:
        EQ(u.read.id);
        break;
    case OP_READDIR:
        EQ(u.readdir.dir);
        EQ(u.readdir.after);
        EQ(u.readdir.size_max);
        break;
    case OP_SYNC:
        EQ(u.sync.quorum);
        break;
    case OP_BACKUP:
        EQ(u.backup.offset);
        EQ(u.backup.size_max);
        break;
    case OP_INTEREST:
    case OP_FORGET:
        EQ(u.interest.index_from);
        EQ(u.interest.count);
        for (uint32_t i = 0; i < a->u.interest.count; i++) {
            EQ(u.interest.ids[i]);
        }
        break;
    default:
        break;
    }
}

static void assert_write_request(const struct request *a, const struct request *b)
{
    switch (a->op) {
    case OP_CREATE:
        EQ(u.create.dir);
        NAME_EQ(u.create.name);
        EQ(u.create.type);
        EQ(u.create.mode);
        EQ(u.create.uid);
        EQ(u.create.gid);
        EQ(u.create.flags);
        BLOB_EQ(u.create.value);
        break;
    case OP_SET:
        EQ(u.set.id);
        EQ(u.set.if_version);
        BLOB_EQ(u.set.value);
        break;
    case OP_APPEND:
        EQ(u.append.id);
        BLOB_EQ(u.append.value);
        break;
    case OP_SETATTR:
        EQ(u.setattr.id);
        EQ(u.setattr.mask);
        EQ(u.setattr.mode);
        EQ(u.setattr.uid);
        EQ(u.setattr.gid);
        EQ(u.setattr.size);
        EQ(u.setattr.atime_ns);
        EQ(u.setattr.mtime_ns);
        break;
    case OP_REMOVE:
        EQ(u.remove.dir);
        NAME_EQ(u.remove.name);
        EQ(u.remove.flags);
        break;
    case OP_SESSION_OPEN:
        KEY_EQ(u.session_open.key);
        EQ(u.session_open.timeout_ms);
        NAME_EQ(u.session_open.label);
        break;
    case OP_SESSION_CLOSE:
        EQ(u.session_close.session);
        break;
    default:
        cr_assert_fail("not a write");
    }
}

static void assert_request(const struct request *a, const struct request *b)
{
    EQ(op);
    EQ(xid);
    EQ(xid_floor);
    EQ(deadline_ms);
    if (op_is_write(a->op)) {
        assert_write_request(a, b);
    } else {
        assert_read_request(a, b);
    }
}

static void assert_listing(const struct reply *a, const struct reply *b)
{
    EQ(u.readdir.end);
    EQ(u.readdir.count);
    for (uint32_t i = 0; i < a->u.readdir.count; i++) {
        EQ(u.readdir.entries[i].cookie);
        NAME_EQ(u.readdir.entries[i].name);
        ATTR_EQ(u.readdir.entries[i].attr);
    }
}

static void assert_status(const struct reply *a, const struct reply *b)
{
    EQ(u.status.count);
    for (uint32_t i = 0; i < a->u.status.count; i++) {
        NAME_EQ(u.status.fields[i].key);
        NAME_EQ(u.status.fields[i].value);
    }
}

static void assert_reply_body(const struct reply *a, const struct reply *b)
{
    switch (a->op) {
    case OP_HELLO:
        EQ(u.hello.session);
        EQ(u.hello.member);
        EQ(u.hello.timeout_ms);
        EQ(u.hello.value_size_max);
        break;
    case OP_LOOKUP:
    case OP_GETATTR:
    case OP_SET:
    case OP_APPEND:
    case OP_SETATTR:
        ATTR_EQ(u.attr);
        break;
    case OP_READ:
        ATTR_EQ(u.read.attr);
        BLOB_EQ(u.read.value);
        break;
    case OP_READDIR:
        assert_listing(a, b);
        break;
    case OP_STATFS:
        EQ(u.statfs.nodes);
        EQ(u.statfs.nodes_max);
        EQ(u.statfs.bytes);
        EQ(u.statfs.bytes_max);
        break;
    case OP_BACKUP:
        EQ(u.backup.cluster_lo);
        EQ(u.backup.cluster_hi);
        EQ(u.backup.epoch);
        EQ(u.backup.chain_lo);
        EQ(u.backup.chain_hi);
        EQ(u.backup.total);
        BLOB_EQ(u.backup.bytes);
        break;
    case OP_STATUS:
        assert_status(a, b);
        break;
    case OP_CREATE:
        ATTR_EQ(u.create.attr);
        NAME_EQ(u.create.name);
        break;
    case OP_REMOVE:
        EQ(u.remove.id);
        break;
    default:
        break;
    }
}

static void assert_reply(const struct reply *a, const struct reply *b)
{
    EQ(op);
    EQ(xid);
    EQ(err);
    EQ(index);
    if (a->err == 0) {
        assert_reply_body(a, b);
    }
}

static void assert_event(const struct event *a, const struct event *b)
{
    EQ(index);
    EQ(dir);
    NAME_EQ(name);
    EQ(kind);
    EQ(session);
    EQ(xid);
    ATTR_EQ(attr);
    EQ(has_value);
    BLOB_EQ(value);
}

static void assert_message(const struct message *a, const struct message *b)
{
    EQ(kind);
    switch (a->kind) {
    case MESSAGE_REQUEST:
        assert_request(&a->u.request, &b->u.request);
        break;
    case MESSAGE_REPLY:
        assert_reply(&a->u.reply, &b->u.reply);
        break;
    case MESSAGE_EVENT:
        assert_event(&a->u.event, &b->u.event);
        break;
    }
}

#define BYTES_EQ(b, literal) assert_bytes((b), (literal), sizeof(literal) - 1)

static void assert_bytes(const struct buf *b, const char *literal, size_t size)
{
    cr_assert_eq(b->size, size, "%zu bytes", b->size);
    cr_assert_arr_eq(b->data, literal, size);
}

Test(proto_roundtrip, every_message_is_decoded_to_what_was_encoded)
{
    for (unsigned i = 0; i < SAMPLE_COUNT; i++) {
        struct buf b = {0}, again = {0};
        struct message m, decoded;

        sample_message(i, &m);
        sample_encode(&b, &m);
        cr_assert_eq(codec_decode(b.data, b.size, &decoded), 0, "sample %u", i);
        assert_message(&m, &decoded);

        sample_encode(&again, &decoded);
        cr_assert_eq(b.size, again.size);
        cr_assert_arr_eq(b.data, again.data, b.size);

        codec_message_done(&decoded);
        codec_message_done(&m);
        buf_done(&again);
        buf_done(&b);
    }
}

Test(proto_roundtrip, every_error_code_travels_without_a_body)
{
    for (int err = ERR_PROTO_VERSION; err < 0; err++) {
        struct reply r = {.op = OP_READ, .xid = 7, .err = err, .index = 9};
        struct message m;
        struct buf b = {0};

        codec_encode_reply(&b, &r);
        cr_assert_eq(codec_decode(b.data, b.size, &m), 0);
        cr_assert_eq(m.kind, MESSAGE_REPLY);
        assert_reply(&r, &m.u.reply);
        cr_assert_null(m.u.reply.u.read.value);
        codec_message_done(&m);
        buf_done(&b);
    }
}

Test(proto_roundtrip, values_up_to_the_limit_pass)
{
    struct request r = {.op = OP_SET, .xid = 1};
    struct message m;
    struct buf b = {0};

    r.u.set.value = blob_new_uninit(VALUE_SIZE_MAX);
    memset(r.u.set.value->data, 0xc1, VALUE_SIZE_MAX);
    codec_encode_request(&b, &r);
    cr_assert_leq(b.size, CLIENT_FRAME_SIZE_MAX);
    cr_assert_eq(codec_decode(b.data, b.size, &m), 0);
    assert_request(&r, &m.u.request);
    codec_message_done(&m);
    codec_request_done(&r);
    buf_done(&b);
}

Test(proto_roundtrip, an_empty_blob_and_none_are_the_same)
{
    struct request r = {.op = OP_APPEND, .xid = 1};
    struct buf with = {0}, without = {0};

    codec_encode_request(&without, &r);
    r.u.append.value = blob_new(NULL, 0);
    codec_encode_request(&with, &r);
    cr_assert_eq(with.size, without.size);
    cr_assert_arr_eq(with.data, without.data, with.size);
    codec_request_done(&r);
    buf_done(&with);
    buf_done(&without);
}

Test(proto_roundtrip, an_event_tells_an_empty_value_from_none)
{
    struct event e = {.kind = CHANGE_SET, .attr = {.type = NODE_FILE}, .has_value = true};
    struct message m;
    struct buf b = {0};

    codec_encode_event(&b, &e);
    cr_assert_eq(codec_decode(b.data, b.size, &m), 0);
    cr_assert(m.u.event.has_value);
    cr_assert_null(m.u.event.value);
    buf_done(&b);
}

/* The bytes are what docs/PROTOCOL.md promises to other implementations. */
Test(proto_roundtrip, a_ping_request_has_the_documented_bytes)
{
    struct request r = {.op = OP_PING, .xid = 1, .deadline_ms = 10000};
    struct buf b = {0};

    codec_encode_request(&b, &r);
    BYTES_EQ(&b, "\x95\x00\x09\x01\x00\xcd\x27\x10");
    buf_done(&b);
}

Test(proto_roundtrip, a_create_request_has_the_documented_bytes)
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
    r.u.create.value = blob_new("hi", 2);
    codec_encode_request(&b, &r);
    BYTES_EQ(&b, "\x9d\x00\x20\xcd\x01\x2c\xcd\x01\x2b\x05"
                 "\x01\xc4\x04job-\x01\xcd\x01\xa4\xcd\x03\xe8\xce\x00\x01\x00\x00\x01\xc4\x02hi");
    codec_request_done(&r);
    buf_done(&b);
}

Test(proto_roundtrip, an_error_reply_has_the_documented_bytes)
{
    struct reply r = {.op = OP_LOOKUP, .xid = 5, .err = ERR_NOENT, .index = 42};
    struct buf b = {0};

    codec_encode_reply(&b, &r);
    BYTES_EQ(&b, "\x95\x01\x02\x05\xff\x2a");
    buf_done(&b);
}

Test(proto_roundtrip, an_event_has_the_documented_bytes)
{
    struct event e = {.index = 9,
                      .dir = 1,
                      .name = {"a", 1},
                      .kind = CHANGE_REMOVE,
                      .session = 4,
                      .xid = 6,
                      .attr = {.id = 2,
                               .parent = 1,
                               .type = NODE_DIR,
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
    BYTES_EQ(&b, "\x99\x02\x09\x01\xc4\x01\x61\x04\x04\x06"
                 "\xdc\x00\x11\x02\x01\x02\xcd\x01\xed\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c"
                 "\xff\x0d\xd0\xdf\xc0");
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

Test(proto_roundtrip, integers_are_accepted_in_any_width)
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
