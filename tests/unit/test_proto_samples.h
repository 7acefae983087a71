#ifndef ZABFS_TEST_PROTO_SAMPLES_H
#define ZABFS_TEST_PROTO_SAMPLES_H

#include <string.h>

#include "codec.h"
#include "err.h"
#include "mem.h"

/* Messages that the tests of the codec and the fuzz targets start from: every op, reply and event,
 * once with everything empty or least, once with everything full or greatest. A sample owns what a
 * decoded message owns: codec_message_done(). */

enum { SAMPLE_OPS = 28, SAMPLE_COUNT = 2 * (SAMPLE_OPS + SAMPLE_OPS + 2 + 1) };

static const enum op sample_ops[SAMPLE_OPS] = {
    OP_HELLO,  OP_LOOKUP,    OP_GETATTR,  OP_READ,         OP_READDIR,       OP_STATFS, OP_STATUS,
    OP_SYNC,   OP_PING,      OP_INTEREST, OP_FORGET,       OP_BACKUP,        OP_CREATE, OP_SET,
    OP_APPEND, OP_SETATTR,   OP_REMOVE,   OP_SESSION_OPEN, OP_SESSION_CLOSE, OP_XATTRS, OP_EVENTS,
    OP_LOG,    OP_LOCK_TEST, OP_LOCKS,    OP_RENAME,       OP_SETXATTR,      OP_LOCK,   OP_TXN,
};

static const struct name sample_name = {"\xff a name\0with any byte \n", 24};
static const struct name sample_label = {
    "0123456789012345678901234567890123456789012345678901234567"
    "890123",
    CLIENT_LABEL_SIZE_MAX};
static const struct session_key sample_key = {
    {0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0x80}};

static const struct attr sample_attr_least = {
    .type = NODE_FILE, .atime_ns = INT64_MIN, .mtime_ns = -1, .ctime_ns = -33};

static const struct lock sample_lock = {.kind = LOCK_KIND_POSIX,
                                        .type = LOCK_TYPE_EXCLUSIVE,
                                        .owner = UINT64_MAX,
                                        .start = UINT64_MAX - 1,
                                        .end = UINT64_MAX,
                                        .pid = UINT32_MAX};

static const struct attr sample_attr_most = {
    .id = UINT64_MAX,
    .parent = UINT64_MAX - 1,
    .type = NODE_SYMLINK,
    .life = LIFE_OPEN,
    .owner = UINT64_MAX - 9,
    .mode = 07777,
    .uid = UINT32_MAX,
    .gid = UINT32_MAX - 1,
    .size = UINT64_MAX - 2,
    .nlink = UINT32_MAX - 2,
    .version = UINT64_MAX - 3,
    .cversion = UINT64_MAX - 4,
    .aversion = UINT64_MAX - 5,
    .czxid = UINT64_MAX - 6,
    .mzxid = UINT64_MAX - 7,
    .pzxid = UINT64_MAX - 8,
    .atime_ns = INT64_MAX,
    .mtime_ns = INT64_MAX - 1,
    .ctime_ns = INT64_MAX - 2,
};

/* The greatest of everything. The arrays are allocated, as a decoded message's are. */
static inline void sample_request_most(enum op op, struct request *r)
{
    uint64_t ids[] = {0, 127, 128, 255, 256, 65535, 65536, UINT32_MAX, UINT64_MAX};

    r->xid = UINT64_MAX;
    r->xid_floor = UINT64_MAX - 1;
    r->deadline_ms = UINT32_MAX;
    switch (op) {
    case OP_HELLO:
        r->u.hello.version = UINT32_MAX;
        r->u.hello.key = sample_key;
        r->u.hello.resume = true;
        r->u.hello.index_seen = UINT64_MAX;
        r->u.hello.timeout_ms = UINT32_MAX - 1;
        r->u.hello.label = sample_label;
        break;
    case OP_LOOKUP:
        r->u.lookup.dir = UINT64_MAX;
        r->u.lookup.name = sample_name;
        r->u.lookup.at = UINT64_MAX - 1;
        break;
    case OP_GETATTR:
        r->u.getattr.id = UINT64_MAX;
        r->u.getattr.at = UINT64_MAX - 1;
        break;
    case OP_READ:
        r->u.read.id = UINT64_MAX;
        r->u.read.at = UINT64_MAX - 1;
        break;
    case OP_READDIR:
        r->u.readdir.dir = UINT64_MAX;
        r->u.readdir.after = UINT64_MAX - 1;
        r->u.readdir.size_max = READDIR_SIZE_MAX;
        r->u.readdir.at = UINT64_MAX - 2;
        break;
    case OP_SYNC:
        r->u.sync.quorum = true;
        break;
    case OP_INTEREST:
    case OP_FORGET:
        r->u.interest.index_from = UINT64_MAX;
        r->u.interest.count = sizeof(ids) / sizeof(ids[0]);
        r->u.interest.ids = mem_dup(ids, sizeof(ids));
        break;
    case OP_BACKUP:
        r->u.backup.offset = UINT64_MAX;
        r->u.backup.size_max = BACKUP_PIECE_SIZE_MAX;
        break;
    case OP_CREATE:
        r->u.create.dir = UINT64_MAX;
        r->u.create.name = sample_name;
        r->u.create.type = NODE_SYMLINK;
        r->u.create.mode = 07777;
        r->u.create.uid = UINT32_MAX;
        r->u.create.gid = UINT32_MAX - 1;
        r->u.create.flags = CREATE_ALL;
        r->u.create.life = LIFE_OPEN;
        r->u.create.value = blob_new("target", 6);
        break;
    case OP_SET:
        r->u.set.id = UINT64_MAX;
        r->u.set.if_version = UINT64_MAX - 1;
        r->u.set.value = blob_new("value", 5);
        break;
    case OP_APPEND:
        r->u.append.id = UINT64_MAX;
        r->u.append.value = blob_new("more\n", 5);
        break;
    case OP_SETATTR:
        r->u.setattr.id = UINT64_MAX;
        r->u.setattr.mask = SETATTR_ALL;
        r->u.setattr.mode = 07777;
        r->u.setattr.uid = UINT32_MAX;
        r->u.setattr.gid = UINT32_MAX - 1;
        r->u.setattr.size = UINT64_MAX - 2;
        r->u.setattr.atime_ns = INT64_MIN;
        r->u.setattr.mtime_ns = INT64_MAX;
        break;
    case OP_REMOVE:
        r->u.remove.dir = UINT64_MAX;
        r->u.remove.name = sample_name;
        r->u.remove.flags = REMOVE_ALL;
        r->u.remove.id = UINT64_MAX - 1;
        break;
    case OP_XATTRS:
        r->u.xattrs.id = UINT64_MAX;
        break;
    case OP_EVENTS:
        r->u.events.on = true;
        r->u.events.index_from = UINT64_MAX;
        break;
    case OP_LOG:
        r->u.log.dir = UINT64_MAX;
        r->u.log.name = sample_name;
        r->u.log.after = UINT64_MAX - 1;
        break;
    case OP_LOCK_TEST:
        r->u.lock_test.id = UINT64_MAX;
        r->u.lock_test.lock = sample_lock;
        break;
    case OP_LOCKS:
        r->u.locks.id = UINT64_MAX;
        r->u.locks.after = UINT64_MAX - 1;
        break;
    case OP_RENAME:
        r->u.rename.dir = UINT64_MAX;
        r->u.rename.name = sample_name;
        r->u.rename.to_dir = UINT64_MAX - 1;
        r->u.rename.to_name = sample_label;
        r->u.rename.flags = RENAME_FLAG_ALL;
        break;
    case OP_SETXATTR:
        r->u.setxattr.id = UINT64_MAX;
        r->u.setxattr.name = sample_name;
        r->u.setxattr.value = blob_new("blue", 4);
        r->u.setxattr.flags = SETXATTR_ALL;
        break;
    case OP_LOCK:
        r->u.lock.id = UINT64_MAX;
        r->u.lock.lock = sample_lock;
        r->u.lock.wait = true;
        break;
    case OP_TXN:
        r->u.txn.uid = UINT32_MAX;
        r->u.txn.gid = UINT32_MAX - 1;
        r->u.txn.count = 2;
        r->u.txn.steps = mem_zalloc(2 * sizeof(struct txn_step));
        r->u.txn.steps[0] = (struct txn_step){TXN_RENAME, sample_name, 0, blob_new("/to", 3)};
        r->u.txn.steps[1] = (struct txn_step){TXN_CHECK, sample_label, UINT64_MAX, NULL};
        break;
    case OP_SESSION_OPEN:
        r->u.session_open.key = sample_key;
        r->u.session_open.timeout_ms = UINT32_MAX;
        r->u.session_open.label = sample_label;
        break;
    case OP_SESSION_CLOSE:
        r->u.session_close.session = UINT64_MAX;
        break;
    case OP_STATFS:
        r->u.statfs.id = UINT64_MAX;
        break;
    case OP_STATUS:
    case OP_PING:
        break;
    }
}

static inline void sample_request(enum op op, bool most, struct request *r)
{
    memset(r, 0, sizeof(*r));
    r->op = op;
    if (most) {
        sample_request_most(op, r);
    } else if (op == OP_CREATE) {
        r->u.create.type = NODE_FILE;
    } else if (op == OP_BACKUP) {
        r->u.backup.size_max = 1;
    }
}

static inline void sample_reply_most(enum op op, struct reply *r)
{
    struct dirent_plus entries[] = {
        {1, sample_name, sample_attr_most},
        {UINT64_MAX, {"", 0}, sample_attr_least},
    };
    struct status_field fields[] = {{{"role", 4}, {"leader", 6}}, {{"", 0}, sample_name}};
    struct lock_entry locks[] = {
        {UINT64_MAX, sample_name, UINT64_MAX - 1, sample_label, sample_lock, UINT64_MAX, true},
        {0, {"", 0}, 0, {"", 0}, {0}, 0, false},
    };
    struct txn_outcome outcomes[] = {{UINT64_MAX, UINT64_MAX, sample_name}, {0, 0, {"", 0}}};

    switch (op) {
    case OP_HELLO:
        r->u.hello.session = UINT64_MAX;
        r->u.hello.member = UINT32_MAX;
        r->u.hello.timeout_ms = UINT32_MAX - 1;
        r->u.hello.value_size_max = VALUE_SIZE_MAX;
        break;
    case OP_LOOKUP:
    case OP_GETATTR:
    case OP_SET:
    case OP_APPEND:
    case OP_SETATTR:
    case OP_SETXATTR:
        r->u.attr = sample_attr_most;
        break;
    case OP_XATTRS:
        r->u.xattrs.attr = sample_attr_most;
        r->u.xattrs.fence = UINT64_MAX;
        r->u.xattrs.nodes = UINT64_MAX - 1;
        r->u.xattrs.bytes = UINT64_MAX - 2;
        r->u.xattrs.count = 2;
        r->u.xattrs.list = mem_zalloc(2 * sizeof(struct xattr));
        r->u.xattrs.list[0] = (struct xattr){sample_name, blob_new("blue", 4)};
        break;
    case OP_EVENTS:
        r->u.events.index_from = UINT64_MAX;
        break;
    case OP_LOG:
        r->u.log.end = true;
        r->u.log.floor = UINT64_MAX;
        r->u.log.count = 2;
        r->u.log.list = mem_zalloc(2 * sizeof(struct event));
        r->u.log.list[0] = (struct event){.kind = CHANGE_SET, .attr = sample_attr_most};
        r->u.log.list[1] = (struct event){.kind = CHANGE_MOVE,
                                          .attr = sample_attr_least,
                                          .has_value = true,
                                          .value = blob_new("value", 5)};
        break;
    case OP_LOCK_TEST:
        r->u.lock_test.found = true;
        r->u.lock_test.entry = locks[0];
        break;
    case OP_LOCKS:
        r->u.locks.end = true;
        r->u.locks.count = 2;
        r->u.locks.list = mem_dup(locks, sizeof(locks));
        break;
    case OP_RENAME:
        r->u.rename.attr = sample_attr_most;
        r->u.rename.merged = true;
        r->u.rename.gone = UINT64_MAX;
        break;
    case OP_LOCK:
        r->u.lock.granted = true;
        r->u.lock.fence = UINT64_MAX;
        break;
    case OP_TXN:
        r->u.txn.err = ERR_VERSION;
        r->u.txn.failed = TXN_STEPS_MAX;
        r->u.txn.count = 2;
        r->u.txn.list = mem_dup(outcomes, sizeof(outcomes));
        break;
    case OP_READ:
        r->u.read.attr = sample_attr_most;
        r->u.read.value = blob_new("value\0", 6);
        break;
    case OP_READDIR:
        r->u.readdir.end = true;
        r->u.readdir.count = 2;
        r->u.readdir.entries = mem_dup(entries, sizeof(entries));
        break;
    case OP_STATFS:
        r->u.statfs.nodes = UINT64_MAX;
        r->u.statfs.nodes_max = UINT64_MAX - 1;
        r->u.statfs.bytes = UINT64_MAX - 2;
        r->u.statfs.bytes_max = UINT64_MAX - 3;
        break;
    case OP_STATUS:
        r->u.status.count = 2;
        r->u.status.fields = mem_dup(fields, sizeof(fields));
        break;
    case OP_BACKUP:
        r->u.backup.cluster_lo = UINT64_MAX;
        r->u.backup.cluster_hi = UINT64_MAX - 1;
        r->u.backup.epoch = UINT64_MAX - 2;
        r->u.backup.chain_lo = UINT64_MAX - 3;
        r->u.backup.chain_hi = UINT64_MAX - 4;
        r->u.backup.total = UINT64_MAX - 5;
        r->u.backup.bytes = blob_new("image", 5);
        break;
    case OP_CREATE:
        r->u.create.attr = sample_attr_most;
        r->u.create.name = sample_name;
        break;
    case OP_REMOVE:
        r->u.remove.id = UINT64_MAX;
        break;
    default:
        break;
    }
}

static inline void sample_reply(enum op op, bool most, struct reply *r)
{
    memset(r, 0, sizeof(*r));
    r->op = op;
    if (most) {
        r->xid = UINT64_MAX;
        r->index = UINT64_MAX - 1;
        sample_reply_most(op, r);
        return;
    }
    switch (op) {
    case OP_LOOKUP:
    case OP_GETATTR:
    case OP_SET:
    case OP_APPEND:
    case OP_SETATTR:
    case OP_SETXATTR:
        r->u.attr = sample_attr_least;
        break;
    case OP_XATTRS:
        r->u.xattrs.attr = sample_attr_least;
        break;
    case OP_RENAME:
        r->u.rename.attr = sample_attr_least;
        break;
    case OP_READ:
        r->u.read.attr = sample_attr_least;
        break;
    case OP_CREATE:
        r->u.create.attr = sample_attr_least;
        break;
    default:
        break;
    }
}

static inline void sample_event(bool most, struct event *e)
{
    memset(e, 0, sizeof(*e));
    e->kind = most ? CHANGE_REMOVE : CHANGE_CREATE;
    e->attr = most ? sample_attr_most : sample_attr_least;
    if (most) {
        e->index = UINT64_MAX;
        e->dir = UINT64_MAX - 1;
        e->name = sample_name;
        e->session = UINT64_MAX - 2;
        e->xid = UINT64_MAX - 3;
        e->has_value = true;
        e->value = blob_new("value", 5);
        e->more = true;
        e->dir_path = sample_label;
        e->from_dir = UINT64_MAX - 4;
        e->from_name = sample_name;
        e->from_path = sample_label;
        e->lock_kind = LOCK_KIND_POSIX;
    }
}

/* Sample i of SAMPLE_COUNT; release with codec_message_done(). */
static inline void sample_message(unsigned i, struct message *ret)
{
    bool most = i % 2 != 0;
    unsigned which = i / 2;

    memset(ret, 0, sizeof(*ret));
    if (which < SAMPLE_OPS) {
        ret->kind = MESSAGE_REQUEST;
        sample_request(sample_ops[which], most, &ret->u.request);
    } else if (which < 2 * SAMPLE_OPS) {
        ret->kind = MESSAGE_REPLY;
        sample_reply(sample_ops[which - SAMPLE_OPS], most, &ret->u.reply);
    } else if (which < 2 * SAMPLE_OPS + 2) {
        ret->kind = MESSAGE_REPLY;
        ret->u.reply.op = which % 2 ? OP_READ : OP_HELLO;
        ret->u.reply.xid = i;
        ret->u.reply.err = most ? ERR_NOENT : ERR_PROTO_VERSION;
    } else {
        ret->kind = MESSAGE_EVENT;
        sample_event(most, &ret->u.event);
    }
}

static inline void sample_encode(struct buf *b, const struct message *m)
{
    switch (m->kind) {
    case MESSAGE_REQUEST:
        codec_encode_request(b, &m->u.request);
        break;
    case MESSAGE_REPLY:
        codec_encode_reply(b, &m->u.reply);
        break;
    case MESSAGE_EVENT:
        codec_encode_event(b, &m->u.event);
        break;
    }
}

#endif
