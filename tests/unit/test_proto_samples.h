#ifndef ZABFS_TEST_PROTO_SAMPLES_H
#define ZABFS_TEST_PROTO_SAMPLES_H

#include <string.h>

#include "codec.h"
#include "err.h"
#include "mem.h"

/* Messages that the tests of the codec and the fuzz targets start from: every op, reply and event,
 * once with everything empty or least, once with everything full or greatest. A sample owns what a
 * decoded message owns: codec_message_done(). */

enum { SAMPLE_OPS = 19, SAMPLE_COUNT = 2 * (SAMPLE_OPS + SAMPLE_OPS + 2 + 1) };

static const enum op sample_ops[SAMPLE_OPS] = {
    OP_HELLO,  OP_LOOKUP,  OP_GETATTR,  OP_READ,         OP_READDIR,       OP_STATFS, OP_STATUS,
    OP_SYNC,   OP_PING,    OP_INTEREST, OP_FORGET,       OP_BACKUP,        OP_CREATE, OP_SET,
    OP_APPEND, OP_SETATTR, OP_REMOVE,   OP_SESSION_OPEN, OP_SESSION_CLOSE,
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

static const struct attr sample_attr_most = {
    .id = UINT64_MAX,
    .parent = UINT64_MAX - 1,
    .type = NODE_SYMLINK,
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
        break;
    case OP_GETATTR:
        r->u.getattr.id = UINT64_MAX;
        break;
    case OP_READ:
        r->u.read.id = UINT64_MAX;
        break;
    case OP_READDIR:
        r->u.readdir.dir = UINT64_MAX;
        r->u.readdir.after = UINT64_MAX - 1;
        r->u.readdir.size_max = READDIR_SIZE_MAX;
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
        r->u.attr = sample_attr_most;
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
        r->u.attr = sample_attr_least;
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
