/* The arguments of every operation, in the order of docs/PROTOCOL.md. */
#include "codec_int.h"

/* One field, one line. */
/* clang-format off */

const struct layout codec_request_head = LAYOUT(struct request,
    FIELD_RANGE(request, op, OP_HELLO, OP_SESSION_CLOSE),
    FIELD(request, xid),
    FIELD(request, xid_floor),
    FIELD(request, deadline_ms));

static const struct layout hello = LAYOUT(struct request,
    FIELD(request, u.hello.version),
    FIELD(request, u.hello.key),
    FIELD(request, u.hello.resume),
    FIELD(request, u.hello.index_seen),
    FIELD(request, u.hello.timeout_ms),
    FIELD_UP_TO(request, u.hello.label, CLIENT_LABEL_SIZE_MAX));

static const struct layout lookup = LAYOUT(struct request,
    FIELD(request, u.lookup.dir),
    FIELD(request, u.lookup.name),
    FIELD(request, u.lookup.at));

static const struct layout getattr = LAYOUT(struct request,
    FIELD(request, u.getattr.id),
    FIELD(request, u.getattr.at));

static const struct layout read_value = LAYOUT(struct request,
    FIELD(request, u.read.id),
    FIELD(request, u.read.at));

static const struct layout readdir = LAYOUT(struct request,
    FIELD(request, u.readdir.dir),
    FIELD(request, u.readdir.after),
    FIELD_UP_TO(request, u.readdir.size_max, READDIR_SIZE_MAX),
    FIELD(request, u.readdir.at));

static const struct layout statfs = LAYOUT(struct request,
    FIELD(request, u.statfs.id));

static const struct layout xattrs = LAYOUT(struct request,
    FIELD(request, u.xattrs.id));

static const struct layout events = LAYOUT(struct request,
    FIELD(request, u.events.on),
    FIELD(request, u.events.index_from));

static const struct layout change_log = LAYOUT(struct request,
    FIELD(request, u.log.dir),
    FIELD(request, u.log.name),
    FIELD(request, u.log.after));

static const struct layout lock_test = LAYOUT(struct request,
    FIELD(request, u.lock_test.id),
    FIELD_IN(request, u.lock_test.lock, &layout_lock));

static const struct layout locks = LAYOUT(struct request,
    FIELD(request, u.locks.id),
    FIELD(request, u.locks.after));

static const struct layout sync_barrier = LAYOUT(struct request,
    FIELD(request, u.sync.quorum));

/* An element is the number itself, not a struct. */
static const struct layout id_element = LAYOUT(uint64_t,
    {.kind = FIELD_U64, .max = UINT64_MAX});

static const struct layout interest = LAYOUT(struct request,
    FIELD(request, u.interest.index_from),
    FIELD_EACH(request, u.interest.ids, u.interest.count, &id_element, INTEREST_IDS_MAX));

static const struct layout backup = LAYOUT(struct request,
    FIELD(request, u.backup.offset),
    FIELD_RANGE(request, u.backup.size_max, 1, BACKUP_PIECE_SIZE_MAX));

static const struct layout create = LAYOUT(struct request,
    FIELD(request, u.create.dir),
    FIELD(request, u.create.name),
    FIELD_RANGE(request, u.create.type, NODE_FILE, NODE_SYMLINK),
    FIELD_UP_TO(request, u.create.mode, 07777),
    FIELD(request, u.create.uid),
    FIELD(request, u.create.gid),
    FIELD_UP_TO(request, u.create.flags, CREATE_ALL),
    FIELD_RANGE(request, u.create.life, LIFE_PERMANENT, LIFE_OPEN),
    FIELD(request, u.create.value));

static const struct layout set = LAYOUT(struct request,
    FIELD(request, u.set.id),
    FIELD(request, u.set.if_version),
    FIELD(request, u.set.value));

static const struct layout append = LAYOUT(struct request,
    FIELD(request, u.append.id),
    FIELD(request, u.append.value));

static const struct layout setattr = LAYOUT(struct request,
    FIELD(request, u.setattr.id),
    FIELD_UP_TO(request, u.setattr.mask, SETATTR_ALL),
    FIELD_UP_TO(request, u.setattr.mode, 07777),
    FIELD(request, u.setattr.uid),
    FIELD(request, u.setattr.gid),
    FIELD(request, u.setattr.size),
    FIELD(request, u.setattr.atime_ns),
    FIELD(request, u.setattr.mtime_ns));

static const struct layout remove_name = LAYOUT(struct request,
    FIELD(request, u.remove.dir),
    FIELD(request, u.remove.name),
    FIELD_UP_TO(request, u.remove.flags, REMOVE_ALL),
    FIELD(request, u.remove.id));

static const struct layout rename_name = LAYOUT(struct request,
    FIELD(request, u.rename.dir),
    FIELD(request, u.rename.name),
    FIELD(request, u.rename.to_dir),
    FIELD(request, u.rename.to_name),
    FIELD_UP_TO(request, u.rename.flags, RENAME_FLAG_ALL));

static const struct layout setxattr = LAYOUT(struct request,
    FIELD(request, u.setxattr.id),
    FIELD(request, u.setxattr.name),
    FIELD_UP_TO(request, u.setxattr.value, XATTRS_SIZE_MAX),
    FIELD_UP_TO(request, u.setxattr.flags, SETXATTR_ALL));

static const struct layout lock = LAYOUT(struct request,
    FIELD(request, u.lock.id),
    FIELD_IN(request, u.lock.lock, &layout_lock),
    FIELD(request, u.lock.wait));

static const struct layout txn_step = LAYOUT(struct txn_step,
    FIELD_RANGE(txn_step, kind, TXN_CHECK, TXN_RENAME),
    FIELD(txn_step, path),
    FIELD(txn_step, version),
    FIELD(txn_step, value));

static const struct layout transaction = LAYOUT(struct request,
    FIELD(request, u.txn.uid),
    FIELD(request, u.txn.gid),
    FIELD_EACH(request, u.txn.steps, u.txn.count, &txn_step, TXN_STEPS_MAX));

static const struct layout session_open = LAYOUT(struct request,
    FIELD(request, u.session_open.key),
    FIELD(request, u.session_open.timeout_ms),
    FIELD_UP_TO(request, u.session_open.label, CLIENT_LABEL_SIZE_MAX));

static const struct layout session_close = LAYOUT(struct request,
    FIELD(request, u.session_close.session));

/* clang-format on */

const struct layout *codec_request_body(enum op op)
{
    switch (op) {
    case OP_HELLO:
        return &hello;
    case OP_LOOKUP:
        return &lookup;
    case OP_GETATTR:
        return &getattr;
    case OP_READ:
        return &read_value;
    case OP_READDIR:
        return &readdir;
    case OP_SYNC:
        return &sync_barrier;
    case OP_STATFS:
        return &statfs;
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
    case OP_STATUS:
    case OP_PING:
        return &layout_none;
    case OP_INTEREST:
    case OP_FORGET:
        return &interest;
    case OP_BACKUP:
        return &backup;
    case OP_CREATE:
        return &create;
    case OP_SET:
        return &set;
    case OP_APPEND:
        return &append;
    case OP_SETATTR:
        return &setattr;
    case OP_REMOVE:
        return &remove_name;
    case OP_RENAME:
        return &rename_name;
    case OP_SETXATTR:
        return &setxattr;
    case OP_LOCK:
        return &lock;
    case OP_TXN:
        return &transaction;
    case OP_SESSION_OPEN:
        return &session_open;
    case OP_SESSION_CLOSE:
        return &session_close;
    }
    return NULL;
}
