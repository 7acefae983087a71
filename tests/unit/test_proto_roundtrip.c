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
    EQ(life);
    EQ(owner);
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

static void assert_lock(const struct lock *a, const struct lock *b)
{
    EQ(kind);
    EQ(type);
    EQ(owner);
    EQ(start);
    EQ(end);
    EQ(pid);
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
        EQ(u.lookup.at);
        break;
    case OP_GETATTR:
        EQ(u.getattr.id);
        EQ(u.getattr.at);
        break;
    case OP_READ:
        EQ(u.read.id);
        EQ(u.read.at);
        break;
    case OP_READDIR:
        EQ(u.readdir.dir);
        EQ(u.readdir.after);
        EQ(u.readdir.size_max);
        EQ(u.readdir.at);
        break;
    case OP_STATFS:
        EQ(u.statfs.id);
        break;
    case OP_XATTRS:
        EQ(u.xattrs.id);
        break;
    case OP_EVENTS:
        EQ(u.events.on);
        EQ(u.events.index_from);
        break;
    case OP_LOG:
        EQ(u.log.dir);
        NAME_EQ(u.log.name);
        EQ(u.log.after);
        break;
    case OP_LOCK_TEST:
        EQ(u.lock_test.id);
        assert_lock(&a->u.lock_test.lock, &b->u.lock_test.lock);
        break;
    case OP_LOCKS:
        EQ(u.locks.id);
        EQ(u.locks.after);
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
        EQ(u.create.life);
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
        EQ(u.remove.id);
        break;
    case OP_RENAME:
        EQ(u.rename.dir);
        NAME_EQ(u.rename.name);
        EQ(u.rename.to_dir);
        NAME_EQ(u.rename.to_name);
        EQ(u.rename.flags);
        break;
    case OP_SETXATTR:
        EQ(u.setxattr.id);
        NAME_EQ(u.setxattr.name);
        BLOB_EQ(u.setxattr.value);
        EQ(u.setxattr.flags);
        break;
    case OP_LOCK:
        EQ(u.lock.id);
        assert_lock(&a->u.lock.lock, &b->u.lock.lock);
        EQ(u.lock.wait);
        break;
    case OP_TXN:
        EQ(u.txn.uid);
        EQ(u.txn.gid);
        EQ(u.txn.count);
        for (uint32_t i = 0; i < a->u.txn.count; i++) {
            EQ(u.txn.steps[i].kind);
            NAME_EQ(u.txn.steps[i].path);
            EQ(u.txn.steps[i].version);
            BLOB_EQ(u.txn.steps[i].value);
        }
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

static void assert_xattrs(const struct reply *a, const struct reply *b)
{
    ATTR_EQ(u.xattrs.attr);
    EQ(u.xattrs.fence);
    EQ(u.xattrs.nodes);
    EQ(u.xattrs.bytes);
    EQ(u.xattrs.count);
    for (uint32_t i = 0; i < a->u.xattrs.count; i++) {
        NAME_EQ(u.xattrs.list[i].name);
        BLOB_EQ(u.xattrs.list[i].value);
    }
}

static void assert_event(const struct event *a, const struct event *b)
{
    EQ(index);
    EQ(dir);
    NAME_EQ(name);
    EQ(kind);
    EQ(more);
    NAME_EQ(dir_path);
    EQ(from_dir);
    NAME_EQ(from_name);
    NAME_EQ(from_path);
    EQ(lock_kind);
    EQ(session);
    EQ(xid);
    ATTR_EQ(attr);
    EQ(has_value);
    BLOB_EQ(value);
}

static void assert_lock_entry(const struct lock_entry *a, const struct lock_entry *b)
{
    EQ(node);
    NAME_EQ(path);
    EQ(session);
    NAME_EQ(label);
    assert_lock(&a->lock, &b->lock);
    EQ(index);
    EQ(waiting);
}

/* Replies with a list, and those of the operations on locks. */
static void assert_reply_list(const struct reply *a, const struct reply *b)
{
    switch (a->op) {
    case OP_LOG:
        EQ(u.log.end);
        EQ(u.log.floor);
        EQ(u.log.count);
        for (uint32_t i = 0; i < a->u.log.count; i++) {
            assert_event(&a->u.log.list[i], &b->u.log.list[i]);
        }
        break;
    case OP_LOCK:
        EQ(u.lock.granted);
        EQ(u.lock.fence);
        break;
    case OP_LOCK_TEST:
        EQ(u.lock_test.found);
        assert_lock_entry(&a->u.lock_test.entry, &b->u.lock_test.entry);
        break;
    case OP_LOCKS:
        EQ(u.locks.end);
        EQ(u.locks.count);
        for (uint32_t i = 0; i < a->u.locks.count; i++) {
            assert_lock_entry(&a->u.locks.list[i], &b->u.locks.list[i]);
        }
        break;
    case OP_TXN:
        EQ(u.txn.err);
        EQ(u.txn.failed);
        EQ(u.txn.count);
        for (uint32_t i = 0; i < a->u.txn.count; i++) {
            EQ(u.txn.list[i].id);
            EQ(u.txn.list[i].version);
            NAME_EQ(u.txn.list[i].name);
        }
        break;
    default:
        break;
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
    case OP_SETXATTR:
        ATTR_EQ(u.attr);
        break;
    case OP_XATTRS:
        assert_xattrs(a, b);
        break;
    case OP_EVENTS:
        EQ(u.events.index_from);
        break;
    case OP_RENAME:
        ATTR_EQ(u.rename.attr);
        EQ(u.rename.merged);
        EQ(u.rename.gone);
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
        assert_reply_list(a, b);
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
    for (int err = ERR_FORMAT; err < 0; err++) {
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
