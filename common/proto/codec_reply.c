/* The results of every operation, and events, in the order of docs/PROTOCOL.md. */
#include "codec_int.h"

/* One field, one line. */
/* clang-format off */

const struct layout codec_reply_head = LAYOUT(struct reply,
    FIELD_RANGE(reply, op, OP_HELLO, OP_SESSION_CLOSE),
    FIELD(reply, xid),
    FIELD(reply, err),
    FIELD(reply, index));

const struct layout codec_event = LAYOUT(struct event,
    FIELD(event, index),
    FIELD(event, dir),
    FIELD(event, name),
    FIELD_RANGE(event, kind, CHANGE_CREATE, CHANGE_GRANT),
    FIELD(event, more),
    FIELD(event, dir_path),
    FIELD(event, from_dir),
    FIELD(event, from_name),
    FIELD(event, from_path),
    FIELD_UP_TO(event, lock_kind, LOCK_KIND_POSIX),
    FIELD(event, session),
    FIELD(event, xid),
    FIELD_IN(event, attr, &layout_attr),
    FIELD_MAYBE(event, value, has_value, EVENT_VALUE_SIZE_MAX));

static const struct layout hello = LAYOUT(struct reply,
    FIELD(reply, u.hello.session),
    FIELD(reply, u.hello.member),
    FIELD(reply, u.hello.timeout_ms),
    FIELD_UP_TO(reply, u.hello.value_size_max, VALUE_SIZE_MAX));

static const struct layout attr = LAYOUT(struct reply,
    FIELD_IN(reply, u.attr, &layout_attr));

static const struct layout read_value = LAYOUT(struct reply,
    FIELD_IN(reply, u.read.attr, &layout_attr),
    FIELD(reply, u.read.value));

static const struct layout dirent_element = LAYOUT(struct dirent_plus,
    FIELD(dirent_plus, cookie),
    FIELD(dirent_plus, name),
    FIELD_IN(dirent_plus, attr, &layout_attr));

static const struct layout readdir = LAYOUT(struct reply,
    FIELD(reply, u.readdir.end),
    FIELD_EACH(reply, u.readdir.entries, u.readdir.count, &dirent_element, READDIR_ENTRIES_MAX));

static const struct layout rename_name = LAYOUT(struct reply,
    FIELD_IN(reply, u.rename.attr, &layout_attr),
    FIELD(reply, u.rename.merged),
    FIELD(reply, u.rename.gone));

static const struct layout xattr_element = LAYOUT(struct xattr,
    FIELD(xattr, name),
    FIELD_UP_TO(xattr, value, XATTRS_SIZE_MAX));

static const struct layout xattrs = LAYOUT(struct reply,
    FIELD_IN(reply, u.xattrs.attr, &layout_attr),
    FIELD(reply, u.xattrs.fence),
    FIELD(reply, u.xattrs.nodes),
    FIELD(reply, u.xattrs.bytes),
    FIELD_EACH(reply, u.xattrs.list, u.xattrs.count, &xattr_element, XATTRS_MAX));

static const struct layout events = LAYOUT(struct reply,
    FIELD(reply, u.events.index_from));

static const struct layout change_log = LAYOUT(struct reply,
    FIELD(reply, u.log.end),
    FIELD(reply, u.log.floor),
    FIELD_EACH(reply, u.log.list, u.log.count, &codec_event, LOG_EVENTS_MAX));

static const struct layout lock = LAYOUT(struct reply,
    FIELD(reply, u.lock.granted),
    FIELD(reply, u.lock.fence));

static const struct layout lock_entry = LAYOUT(struct lock_entry,
    FIELD(lock_entry, node),
    FIELD(lock_entry, path),
    FIELD(lock_entry, session),
    FIELD_UP_TO(lock_entry, label, CLIENT_LABEL_SIZE_MAX),
    FIELD_IN(lock_entry, lock, &layout_lock),
    FIELD(lock_entry, index),
    FIELD(lock_entry, waiting));

static const struct layout lock_test = LAYOUT(struct reply,
    FIELD(reply, u.lock_test.found),
    FIELD_IN(reply, u.lock_test.entry, &lock_entry));

static const struct layout locks = LAYOUT(struct reply,
    FIELD(reply, u.locks.end),
    FIELD_EACH(reply, u.locks.list, u.locks.count, &lock_entry,
               LOCK_ENTRIES_MAX + LOCKS_PER_NODE_MAX));

static const struct layout txn_outcome = LAYOUT(struct txn_outcome,
    FIELD(txn_outcome, id),
    FIELD(txn_outcome, version),
    FIELD(txn_outcome, name));

static const struct layout transaction = LAYOUT(struct reply,
    FIELD(reply, u.txn.err),
    FIELD_UP_TO(reply, u.txn.failed, TXN_STEPS_MAX),
    FIELD_EACH(reply, u.txn.list, u.txn.count, &txn_outcome, TXN_STEPS_MAX));

static const struct layout statfs = LAYOUT(struct reply,
    FIELD(reply, u.statfs.nodes),
    FIELD(reply, u.statfs.nodes_max),
    FIELD(reply, u.statfs.bytes),
    FIELD(reply, u.statfs.bytes_max));

static const struct layout status_element = LAYOUT(struct status_field,
    FIELD(status_field, key),
    FIELD(status_field, value));

static const struct layout status = LAYOUT(struct reply,
    FIELD_EACH(reply, u.status.fields, u.status.count, &status_element, STATUS_FIELDS_MAX));

static const struct layout backup = LAYOUT(struct reply,
    FIELD(reply, u.backup.cluster_lo),
    FIELD(reply, u.backup.cluster_hi),
    FIELD(reply, u.backup.epoch),
    FIELD(reply, u.backup.chain_lo),
    FIELD(reply, u.backup.chain_hi),
    FIELD(reply, u.backup.total),
    FIELD_UP_TO(reply, u.backup.bytes, BACKUP_PIECE_SIZE_MAX));

static const struct layout create = LAYOUT(struct reply,
    FIELD_IN(reply, u.create.attr, &layout_attr),
    FIELD(reply, u.create.name));

static const struct layout remove_name = LAYOUT(struct reply,
    FIELD(reply, u.remove.id));

/* clang-format on */

const struct layout *codec_reply_body(enum op op)
{
    switch (op) {
    case OP_HELLO:
        return &hello;
    case OP_LOOKUP:
    case OP_GETATTR:
    case OP_SET:
    case OP_APPEND:
    case OP_SETATTR:
    case OP_SETXATTR:
        return &attr;
    case OP_XATTRS:
        return &xattrs;
    case OP_EVENTS:
        return &events;
    case OP_LOG:
        return &change_log;
    case OP_LOCK_TEST:
        return &lock_test;
    case OP_LOCKS:
        return &locks;
    case OP_RENAME:
        return &rename_name;
    case OP_LOCK:
        return &lock;
    case OP_TXN:
        return &transaction;
    case OP_READ:
        return &read_value;
    case OP_READDIR:
        return &readdir;
    case OP_STATFS:
        return &statfs;
    case OP_STATUS:
        return &status;
    case OP_BACKUP:
        return &backup;
    case OP_CREATE:
        return &create;
    case OP_REMOVE:
        return &remove_name;
    case OP_SYNC:
    case OP_PING:
    case OP_INTEREST:
    case OP_FORGET:
    case OP_SESSION_OPEN:
    case OP_SESSION_CLOSE:
        return &layout_none;
    }
    return NULL;
}
