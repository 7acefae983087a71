#ifndef ZABFS_MSG_H
#define ZABFS_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blob.h"
#include "limits.h"

/* The client protocol as plain structs; codec.h turns them into bytes and back, docs/PROTOCOL.md
 * describes them for other implementations.
 *
 * A client opens a stream, sends HELLO, and from then on any number of requests; every request gets
 * exactly one reply with its xid, in any order. Events come between replies on the same stream, in
 * commit order: a session has received every event up to index i, for the directories it is
 * subscribed to, before any reply that shows state of index i or later.
 *
 * Operations address nodes by id. Answering LOOKUP, GETATTR, READDIR, CREATE, ... about a directory
 * or one of its children subscribes the session to that directory in the same step, so that no
 * change falls between the answer and the first event. FORGET ends it. */

enum { CLIENT_PROTOCOL_VERSION = 1 };
enum { TREE_ROOT_ID = 1 }; /* ids are 64 bits, never reused, equal on all members */

struct session_key { /* chosen at random by the client; knowing it is the right to the session */
    uint8_t bytes[16];
};

enum node_type { NODE_FILE = 1, NODE_DIR = 2, NODE_SYMLINK = 3 };

struct attr {
    uint64_t id;
    uint64_t parent; /* id of the directory it is in; the root is its own parent */
    enum node_type type;
    uint32_t mode; /* permission bits, 07777 */
    uint32_t uid, gid;
    uint64_t size;                /* bytes of the value; children of a directory */
    uint32_t nlink;               /* 1; for a directory 2 + its child directories */
    uint64_t version;             /* changes of the value */
    uint64_t cversion;            /* changes of the list of children */
    uint64_t aversion;            /* changes of owner, group, mode, times */
    uint64_t czxid, mzxid, pzxid; /* index that created it, last changed the value, the children */
    int64_t atime_ns, mtime_ns, ctime_ns; /* since 1970, from the leader's clock at commit */
};

enum op {
    OP_HELLO = 1, /* first on a stream: open a session or attach to one */
    /* Reads: answered from the member's applied state. */
    OP_LOOKUP = 2,
    OP_GETATTR = 3,
    OP_READ = 4, /* whole value; a symlink's value is its target */
    OP_READDIR = 5,
    OP_STATFS = 6,
    OP_STATUS = 7, /* also before HELLO: needs no session and no quorum */
    OP_SYNC = 8,   /* barrier: the reply comes when all that was committed before is applied here */
    OP_PING = 9,
    OP_INTEREST = 10, /* subscribe to directories, and repeat their events after an index */
    OP_FORGET = 11,   /* end subscriptions */
    OP_BACKUP = 12,   /* the image of the whole tree, piece by piece */
    /* Writes: log entries, exactly once per (session, xid). */
    OP_CREATE = 32,
    OP_SET = 33,
    OP_APPEND = 34,
    OP_SETATTR = 35,
    OP_REMOVE = 36,
    OP_SESSION_OPEN = 64,  /* proposed by a member for HELLO; never accepted from a client */
    OP_SESSION_CLOSE = 65, /* by a client that leaves, or by the leader when a session expires */
};

static inline bool op_is_write(enum op op)
{
    return op >= OP_CREATE;
}

enum { VERSION_ANY = 0 }; /* versions count from 1 */

enum setattr_mask {
    SETATTR_MODE = 1 << 0,
    SETATTR_UID = 1 << 1,
    SETATTR_GID = 1 << 2,
    SETATTR_SIZE = 1 << 3, /* files only: cut, or extend with zeros */
    SETATTR_ATIME = 1 << 4,
    SETATTR_MTIME = 1 << 5,
    SETATTR_ATIME_NOW = 1 << 6, /* to the entry's time */
    SETATTR_MTIME_NOW = 1 << 7,
    SETATTR_ALL = (1 << 8) - 1,
};

enum create_flags {
    CREATE_SEQUENTIAL = 1 << 0, /* name is a prefix; the parent's create counter is appended */
    CREATE_ALL = (1 << 1) - 1,
};

enum remove_flags {
    REMOVE_DIR = 1 << 0, /* rmdir: must be a directory; without it, must not be one */
    REMOVE_ALL = (1 << 1) - 1,
};

/* A name is borrowed bytes, not NUL-terminated. In a decoded message it points into the frame. */
struct name {
    const char *bytes;
    uint32_t size;
};

struct request {
    enum op op;
    uint64_t xid;         /* rises by one a request; numbers the session's writes in the log */
    uint64_t xid_floor;   /* no answer is awaited below this: older reply slots may go */
    uint32_t deadline_ms; /* from receipt; the answer comes by then or is an error */
    union {
        struct {
            uint32_t version; /* CLIENT_PROTOCOL_VERSION */
            struct session_key key;
            bool resume;         /* attach to the session `key`; else open it */
            uint64_t index_seen; /* answer only when this index is applied */
            uint32_t timeout_ms; /* of the session */
            struct name label;   /* for status and logs, at most CLIENT_LABEL_SIZE_MAX */
        } hello;
        struct {
            uint64_t dir;
            struct name name;
        } lookup;
        struct {
            uint64_t id;
        } getattr;
        struct {
            uint64_t id;
        } read;
        struct {
            uint64_t dir;
            uint64_t after;    /* cookie of the last entry seen, 0 at first */
            uint32_t size_max; /* bytes of entries wanted, at most READDIR_SIZE_MAX */
        } readdir;
        struct {
            bool quorum; /* the leader must hear a quorum now, a lease is not enough */
        } sync;
        struct {
            uint64_t index_from; /* repeat events after this index; 0: none */
            uint32_t count;
            const uint64_t *ids; /* owned by the decoder's arena, see codec.h */
        } interest;              /* also OP_FORGET */
        struct {
            uint64_t offset;   /* 0: take the state as it is now; else go on with that one */
            uint32_t size_max; /* bytes wanted, at most BACKUP_PIECE_SIZE_MAX */
        } backup;
        struct {
            uint64_t dir;
            struct name name;
            enum node_type type;
            uint32_t mode, uid, gid;
            uint32_t flags;
            struct blob *value; /* first content, a symlink's target; NULL is empty */
        } create;
        struct {
            uint64_t id;
            uint64_t if_version; /* ERR_VERSION unless the version is this, or VERSION_ANY */
            struct blob *value;  /* NULL is empty */
        } set;
        struct {
            uint64_t id;
            struct blob *value;
        } append;
        struct {
            uint64_t id;
            uint32_t mask;
            uint32_t mode, uid, gid;
            uint64_t size;
            int64_t atime_ns, mtime_ns;
        } setattr;
        struct {
            uint64_t dir;
            struct name name;
            uint32_t flags;
        } remove;
        struct {
            struct session_key key;
            uint32_t timeout_ms;
            struct name label;
        } session_open;
        struct {
            uint64_t session; /* the leader names one that expired; 0 from a client: its own */
        } session_close;
    } u;
};

struct dirent_plus {
    uint64_t cookie; /* rises within a directory; never reused there */
    struct name name;
    struct attr attr;
};

struct status_field {
    struct name key;
    struct name value;
};

struct reply {
    enum op op; /* of the request */
    uint64_t xid;
    int err;        /* 0 or an ERR_ code; then no field of u is set */
    uint64_t index; /* a write's commit index; a read's applied index */
    union {
        struct {
            uint64_t session;
            uint32_t member;     /* that answers */
            uint32_t timeout_ms; /* as granted */
            uint32_t value_size_max;
        } hello;
        struct attr attr; /* LOOKUP GETATTR SET APPEND SETATTR */
        struct {
            struct attr attr;
            struct blob *value; /* NULL is empty */
        } read;
        struct {
            uint32_t count;
            bool end;                    /* nothing after these */
            struct dirent_plus *entries; /* owned by the decoder's arena */
        } readdir;
        struct {
            uint64_t nodes, nodes_max, bytes, bytes_max; /* max 0: no limit */
        } statfs;
        struct {
            uint32_t count;
            struct status_field *fields; /* owned by the decoder's arena */
        } status;
        struct {
            uint64_t cluster_lo, cluster_hi; /* the ensemble's id */
            uint64_t epoch;                  /* of the entry at reply.index, and its chain */
            uint64_t chain_lo, chain_hi;
            uint64_t total;     /* bytes of the image */
            struct blob *bytes; /* of it, from the offset asked for */
        } backup;               /* reply.index is that of the image, for all of its pieces */
        struct {
            struct attr attr;
            struct name name; /* as given or as made */
        } create;
        struct {
            uint64_t id; /* of the node that is gone */
        } remove;
    } u;
};

enum change_kind {
    CHANGE_CREATE = 1,
    CHANGE_SET = 2,     /* the value: SET, APPEND, SETATTR with a size */
    CHANGE_SETATTR = 3, /* mode, owner, group, times */
    CHANGE_REMOVE = 4,
};

/* One change of one node, sent to the sessions that are subscribed to the directory it is in. */
struct event {
    uint64_t index;
    uint64_t dir; /* the node's directory; the root's is itself, with an empty name */
    struct name name;
    enum change_kind kind;
    uint64_t session; /* that asked for the change, and its request */
    uint64_t xid;
    struct attr attr;   /* after the change; of a removed node as it was */
    bool has_value;     /* files with at most EVENT_VALUE_SIZE_MAX bytes, after create and set */
    struct blob *value; /* NULL is empty, or not carried */
};

#endif
