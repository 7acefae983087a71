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

enum { CLIENT_PROTOCOL_VERSION = 2 };
enum { TREE_ROOT_ID = 1 }; /* ids are 64 bits, never reused, equal on all members */

struct session_key { /* chosen at random by the client; knowing it is the right to the session */
    uint8_t bytes[16];
};

/* A name is borrowed bytes, not NUL-terminated. In a decoded message it points into the frame. */
struct name {
    const char *bytes;
    uint32_t size;
};

enum node_type { NODE_FILE = 1, NODE_DIR = 2, NODE_SYMLINK = 3 };

/* How long a node lives. Both kinds of ephemeral are files, end with the session of `owner`, and
 * have no other difference to the ensemble: it is the client that removes what is LIFE_OPEN when
 * the open file that made it is closed. */
enum node_life { LIFE_PERMANENT = 0, LIFE_SESSION = 1, LIFE_OPEN = 2 };

struct attr {
    uint64_t id;
    uint64_t parent; /* id of the directory it is in; the root is its own parent */
    enum node_type type;
    enum node_life life;
    uint64_t owner; /* session that an ephemeral ends with; else 0 */
    uint32_t mode;  /* permission bits, 07777 */
    uint32_t uid, gid;
    uint64_t size;                /* bytes of the value; children of a directory */
    uint32_t nlink;               /* 1; for a directory 2 + its child directories */
    uint64_t version;             /* changes of the value */
    uint64_t cversion;            /* changes of the list of children */
    uint64_t aversion;            /* changes of owner, group, mode, times, extended attributes */
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
    OP_INTEREST = 10,  /* subscribe to directories, and repeat their events after an index */
    OP_FORGET = 11,    /* end subscriptions */
    OP_BACKUP = 12,    /* the image of the whole tree, piece by piece */
    OP_XATTRS = 13,    /* all extended attributes of a node, and its fence */
    OP_EVENTS = 14,    /* subscribe to the changes of all directories, or end that */
    OP_LOG = 15,       /* recent changes of whatever had this name */
    OP_LOCK_TEST = 16, /* the lock that is in the way of one (F_GETLK) */
    OP_LOCKS = 17,     /* locks held and waited for, of one node or of all */
    /* Writes: log entries, exactly once per (session, xid). */
    OP_CREATE = 32,
    OP_SET = 33,
    OP_APPEND = 34,
    OP_SETATTR = 35,
    OP_REMOVE = 36,
    OP_RENAME = 37,
    OP_SETXATTR = 38,
    OP_LOCK = 39,          /* take, change or give back a lock; or wait for one */
    OP_TXN = 40,           /* several changes, all or none */
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

/* Histories: a read of these ops with `at` above 0 is answered as of that index. ERR_COMPACTED: the
 * member does not know so far back; ERR_INVAL: the index is yet to come. Nothing is subscribed. */

enum create_flags {
    CREATE_SEQUENTIAL = 1 << 0, /* name is a prefix; the parent's create counter is appended */
    CREATE_ALL = (1 << 1) - 1,
};

enum remove_flags {
    REMOVE_DIR = 1 << 0, /* rmdir: must be a directory; without it, must not be one */
    REMOVE_EPHEMERAL = 1 << 1, /* ERR_NOENT unless it is an ephemeral of this session */
    REMOVE_ALL = (1 << 2) - 1,
};

enum rename_flags {
    RENAME_FLAG_NOREPLACE = 1 << 0, /* ERR_EXISTS if the new name is taken */
    RENAME_FLAG_EXCHANGE = 1 << 1,  /* both must exist and change places */
    RENAME_FLAG_ALL = (1 << 2) - 1,
};

enum setxattr_flags {
    SETXATTR_CREATE = 1 << 0,  /* ERR_EXISTS if it is there */
    SETXATTR_REPLACE = 1 << 1, /* ERR_NODATA if it is not */
    SETXATTR_REMOVE = 1 << 2,  /* takes it away; ERR_NODATA if it is not there */
    SETXATTR_ALL = (1 << 3) - 1,
};

/* Two worlds that do not see each other, as in the kernel: flock(2) locks whole files for an open
 * file, fcntl(2) ranges for a process. */
enum lock_kind { LOCK_KIND_NONE = 0, LOCK_KIND_FLOCK = 1, LOCK_KIND_POSIX = 2 };
enum lock_type { LOCK_TYPE_NONE = 0, LOCK_TYPE_SHARED = 1, LOCK_TYPE_EXCLUSIVE = 2 };

/* A lock of (session, kind, owner) on the bytes start..end of a node. `owner` is any number that
 * the client keeps apart: the kernel's lock owner. */
struct lock {
    enum lock_kind kind;
    enum lock_type type;
    uint64_t owner;
    uint64_t start, end; /* end included, UINT64_MAX: to the end; a flock has 0 and UINT64_MAX */
    uint32_t pid;        /* of the process, for whoever looks */
};

struct lock_entry { /* a lock that is held or waited for, as OP_LOCKS shows it */
    uint64_t node;
    struct name path; /* of the node; empty in all but the first entry of it */
    uint64_t session;
    struct name label; /* of the session */
    struct lock lock;
    uint64_t index; /* held: of the grant, its fence; waiting: at which it queued up */
    bool waiting;
};

enum txn_step_kind {
    TXN_CHECK = 1,  /* the node at `path` is there, with this version unless VERSION_ANY */
    TXN_ABSENT = 2, /* nothing is there */
    TXN_CREATE = 3, /* a file with this value */
    TXN_MKDIR = 4,
    TXN_SYMLINK = 5, /* the value is its target */
    TXN_SET = 6,     /* the value of a file, if it has this version or VERSION_ANY */
    TXN_APPEND = 7,
    TXN_DELETE = 8, /* a file, a link or an empty directory; version as TXN_CHECK */
    TXN_RENAME = 9, /* to the path that is the value; replaces as OP_RENAME does */
};

/* One change of a transaction. Paths are absolute ("/a/b") and looked up when the step is applied,
 * behind the ones before it. A last name that ends in '#' is sequential, for the steps that make a
 * node; what they make belongs to uid and gid of the transaction. */
struct txn_step {
    enum txn_step_kind kind;
    struct name path;
    uint64_t version;
    struct blob *value;
};

struct txn_outcome {  /* of a step that was carried out */
    uint64_t id;      /* of the node; 0 for TXN_ABSENT */
    uint64_t version; /* it has now; of a deleted one, had */
    struct name name; /* its last name: as made, for a sequential one */
};

struct xattr {
    struct name name; /* with its namespace: "user.color" */
    struct blob *value;
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
            uint64_t at; /* 0: now; else as of that index */
        } lookup;
        struct {
            uint64_t id;
            uint64_t at;
        } getattr;
        struct {
            uint64_t id;
            uint64_t at;
        } read;
        struct {
            uint64_t dir;
            uint64_t after;    /* cookie of the last entry seen, 0 at first */
            uint32_t size_max; /* bytes of entries wanted, at most READDIR_SIZE_MAX */
            uint64_t at;
        } readdir;
        struct {
            uint64_t id; /* the quota that holds there is the limit; 0: the root */
        } statfs;
        struct {
            uint64_t id;
        } xattrs;
        struct {
            bool on;
            uint64_t index_from; /* repeat changes after this index; 0: none */
        } events;
        struct {
            uint64_t dir;
            struct name name;
            uint64_t after; /* index of the last change seen, 0 at first */
        } log;
        struct {
            uint64_t id;
            struct lock lock;
        } lock_test;
        struct {
            uint64_t id;    /* 0: of all nodes */
            uint64_t after; /* id of the node seen last, 0 at first */
        } locks;
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
            enum node_life life; /* a rule of the directory may make a permanent file ephemeral */
            struct blob *value;  /* first content, a symlink's target; NULL is empty */
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
            uint64_t dir; /* 0: the node `id`, wherever it is, and the name is empty */
            struct name name;
            uint32_t flags;
            uint64_t id; /* not 0: ERR_NOENT if the name is another node's now */
        } remove;
        struct {
            uint64_t dir;
            struct name name;
            uint64_t to_dir;
            struct name to_name;
            uint32_t flags;
        } rename;
        struct {
            uint64_t id;
            struct name name;
            struct blob *value; /* NULL is empty */
            uint32_t flags;
        } setxattr;
        struct {
            uint64_t id;
            struct lock lock; /* LOCK_TYPE_NONE gives back what the owner holds of the range, and
                                 takes it out of the queue */
            bool wait;        /* queue up if it cannot be had at once */
        } lock;
        struct {
            uint32_t uid, gid; /* of what is made */
            uint32_t count;
            struct txn_step *steps; /* owned by the decoder's arena, values by the steps */
        } txn;
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
        struct attr attr; /* LOOKUP GETATTR SET APPEND SETATTR SETXATTR */
        struct {
            struct attr attr; /* of what is at the new name now */
            bool merged;      /* a file took the place of another: the old one's id stays, the
                                 moved one's is gone */
            uint64_t gone;    /* id of the node that is no more; 0: none */
        } rename;
        struct {
            struct attr attr;
            uint64_t fence; /* index of the newest grant of a lock on it, or of its creation */
            uint64_t nodes, bytes; /* a directory: what is below it */
            uint32_t count;
            struct xattr *list; /* owned by the decoder's arena, values by the elements */
        } xattrs;
        struct {
            uint64_t index_from; /* changes after this one follow; the gap, if it is above the one
                                    asked for, is lost */
        } events;
        struct {
            bool end;       /* nothing after these */
            uint64_t floor; /* changes up to here are no longer known */
            uint32_t count;
            struct event *list; /* oldest first, without values */
        } log;
        struct {
            bool granted;
            uint64_t fence; /* if granted: index of the grant */
        } lock;
        struct {
            bool found;
            struct lock_entry entry; /* path and label are empty */
        } lock_test;
        struct {
            bool end;
            uint32_t count;
            struct lock_entry *list;
        } locks;
        struct {
            int err;         /* 0, or why nothing was done: the reply's own err is 0 then, too */
            uint32_t failed; /* number of the step that was refused, from 1 */
            uint32_t count;  /* of steps carried out: all or none */
            struct txn_outcome *list;
        } txn;
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
    CHANGE_SETATTR = 3, /* mode, owner, group, times, extended attributes */
    CHANGE_REMOVE = 4,
    CHANGE_MOVE = 5,  /* from (from_dir, from_name) to (dir, name) */
    CHANGE_GRANT = 6, /* a lock that was waited for: to its session alone, see below */
};

/* One change of one node, sent to the sessions that are subscribed to the directory it is in, or
 * was. The changes of one log entry come together: all but the last have `more` set, and a session
 * that is told one of them is told all of them. A client shows none before it has the last.
 *
 * CHANGE_GRANT is no change of a node: attr.id is the node, session the one that waited, xid the
 * owner of the lock, index the fence; lock_kind says which kind. It is not repeated to a session
 * that resumes: whoever waits asks again, which does no harm (OP_LOCK). */
struct event {
    uint64_t index;
    uint64_t dir; /* the node's directory; the root's is itself, with an empty name */
    struct name name;
    enum change_kind kind;
    bool more;            /* another change of the same entry follows */
    struct name dir_path; /* of `dir`: "/a/b"; empty for the root, or above PATH_SIZE_MAX */
    uint64_t from_dir;    /* CHANGE_MOVE, else 0 and empty */
    struct name from_name;
    struct name from_path; /* of from_dir */
    uint32_t lock_kind;    /* CHANGE_GRANT, else 0 */
    uint64_t session;      /* that asked for the change, and its request */
    uint64_t xid;
    struct attr attr;   /* after the change; of a removed node as it was */
    bool has_value;     /* files with at most EVENT_VALUE_SIZE_MAX bytes, after create and set */
    struct blob *value; /* NULL is empty, or not carried */
};

#endif
