#ifndef ZABFS_TREE_H
#define ZABFS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msg.h"

/* The replicated state: nodes, and sessions with the replies to their last requests. Deterministic
 * and pure: the same transactions give the same state, replies and digest on every member; time
 * comes in with the transaction; there is no clock, random source, address-dependent order, system
 * call or global. What a transaction asks for and cannot have (the name exists, the version is
 * another) is a reply, not a failure: tree_apply() has no error path. */
struct tree;
struct session;
struct slot;
struct node_lock;

/* A node, read-only to callers, valid until the next tree_apply(). */
struct tree_node;

struct tree *tree_new(void); /* the root alone, at index 0 */
void tree_free(struct tree *t);

/* --- transactions ---------------------------------------------------------------------------- */

/* One committed log entry. */
struct txn {
    uint64_t index;          /* the zxid; exactly one more than tree_index() */
    int64_t time_ns;         /* stamped by the leader; the tree never lets its time fall */
    uint32_t value_size_max; /* stamped by the leader, so that members cannot differ over it */
    uint64_t session;        /* that asks; 0 for SESSION_OPEN and the leader's own requests */
    struct request request;  /* op_is_write(), borrowed for the call */
};

struct txn_result {
    struct reply reply;    /* names and lists borrowed until the next call; owns nothing */
    bool duplicate;        /* the reply is the one given before; nothing was changed */
    uint64_t session;      /* that the reply is for; the new one for SESSION_OPEN; 0: nobody */
    uint64_t session_gone; /* session that this transaction ended, or 0 */
    uint32_t change_count; /* any number: a session may leave many ephemerals */
    struct event *changes; /* in order, `more` set in all but the last; borrowed until the next
                              call but for the values, which txn_result_done() releases */
    uint32_t grant_count;
    const struct tree_grant *grants; /* locks that were waited for; borrowed as changes are */
};

struct tree_grant { /* at the index of the transaction */
    uint64_t session;
    uint64_t node;
    uint64_t owner;
    enum lock_kind kind;
};

/* Applies one transaction. Exactly once: a session's request with an xid that was answered before
 * gets the same reply again; below the session's xid_floor it gets ERR_ABANDONED and is not
 * applied; from a session that does not exist, ERR_EXPIRED. A write whose session has
 * CLIENT_REQUESTS_MAX reply slots in use gets ERR_OVERLOAD and takes none: it may be tried again.
 *
 * Results per op; an error has no effect beyond the reply slot:
 *
 * SESSION_OPEN is idempotent by key (same key, same session, `duplicate`; the timeout granted is
 * within SESSION_TIMEOUT_MS_*; ERR_OVERLOAD above SESSIONS_MAX, ERR_INVAL label); the session's id
 * is the index of its entry.
 *
 * SESSION_CLOSE: ERR_EXPIRED no such session; ERR_PERM for a client that names another's. A session
 * that ends takes its ephemerals along, in the order of their ids, and its locks.
 *
 * CREATE: ERR_NOENT no such directory, ERR_NOTDIR, ERR_EXISTS, ERR_NAMETOOLONG (a symlink's target,
 * too), ERR_INVAL name, empty target, or value for a directory, ERR_TOOBIG value, ERR_QUOTA,
 * ERR_PERM for the reserved name ".zabfs" in the root, for ".data" that is not a permanent file,
 * and for an ephemeral that is not a file. Every create consumes the parent's create counter, from
 * 0; a sequential name is made with its value before. A number whose name exists, because someone
 * spelled it out, is passed over. A permanent file becomes ephemeral where the directory has that
 * rule (attribute user.zabfs.ephemeral). The file ".data" holds what a directory has to say: it is
 * found by its name and in no listing, does not count as a child, and goes with the directory; its
 * coming and going are no changes of the directory's list (cversion, pzxid, times).
 *
 * SET: ERR_NOENT, ERR_ISDIR, ERR_INVAL for a symlink, ERR_VERSION, ERR_TOOBIG, ERR_QUOTA. The same
 * bytes again are a change as well. APPEND as SET.
 *
 * SETATTR: ERR_NOENT; with a size as SET. One that changes nothing replies with the attributes and
 * makes no change and no event; a size, and "now", always change something.
 *
 * REMOVE: ERR_NOENT, ERR_NOTDIR, ERR_ISDIR, ERR_NOTEMPTY, ERR_BUSY for the root (it has no name).
 * The locks on the node end; who waited for one of them hears nothing, and gets ERR_NOENT when it
 * asks again.
 *
 * RENAME as rename(2): ERR_NOENT, ERR_NOTDIR, ERR_ISDIR, ERR_NOTEMPTY, ERR_EXISTS (NOREPLACE),
 * ERR_INVAL (a directory into itself or below; both flags), ERR_BUSY for the root, ERR_PERM for
 * reserved names, ERR_NAMETOOLONG, ERR_QUOTA of a directory that takes it in. Both names of one
 * node: nothing to do. A file on a file is `merged`: the one that was there keeps id, creation,
 * locks and life, and takes value, owner, group, mode, times and extended attributes of the moved
 * one as one new version; changes are CHANGE_REMOVE of the moved and CHANGE_SET of the other. Any
 * other target is removed first. A node that is moved takes the next cookie of its new directory
 * and keeps its life, but for one that is ephemeral by a directory's rule: a rename is how a
 * program publishes what it wrote under such a name, and makes it permanent. An ephemeral cannot
 * become ".data" (ERR_PERM), ".data" cannot be moved away, and only a file can be moved onto it.
 * EXCHANGE: two CHANGE_MOVE.
 *
 * SETXATTR: ERR_NOENT, ERR_NODATA, ERR_EXISTS, ERR_NAMETOOLONG, ERR_NOSPACE beyond XATTRS_SIZE_MAX
 * or XATTRS_MAX, ERR_UNSUPPORTED for names that do not begin with "user.", ERR_PERM for what
 * "user.zabfs." shows and nobody sets, and for the two that are settings of a directory when the
 * node is none; ERR_INVAL for nonsense in those: user.zabfs.ephemeral is "open" or "session";
 * user.zabfs.quota is "BYTES NODES", decimal and above 0, with K, M or G behind BYTES, either "-"
 * for no limit; ERR_QUOTA below what is used. The same value again changes nothing.
 *
 * LOCK: ERR_NOENT, ERR_ISDIR or ERR_INVAL for what is not a file, ERR_INVAL range or kind,
 * ERR_NOLOCKS, ERR_WOULD_BLOCK unless `wait`. First come, first served: a lock is granted when it
 * conflicts with none that is held by others and with none that waits longer. An owner that asks
 * for what it holds has it, with the fence of its grant; one that asks for what it waits for goes
 * on waiting, at its place; asking for anything else takes the old question back. flock: waiting
 * for the other type gives back the one held, first; a try that is refused gives back nothing.
 * fcntl: what is asked for replaces what the owner holds of that range, neighbours of one type are
 * one lock, and an owner that holds any of the node does not queue behind those that wait, which
 * may wait for it. The reply to LOCK_TYPE_NONE says that nothing is granted. A lock ends with its
 * session.
 *
 * TXN: all steps or none, see enum txn_step_kind; the reply tells which step was refused and why,
 * with ERR_VERSION for a TXN_CHECK and ERR_EXISTS for a TXN_ABSENT that do not hold.
 */
void tree_apply(struct tree *t, const struct txn *txn, struct txn_result *ret);

/* An entry that carries no request (EPOCH): moves the index and changes nothing else. */
void tree_skip(struct tree *t, uint64_t index);

void txn_result_done(struct txn_result *r);

/* --- reads ----------------------------------------------------------------------------------- */

uint64_t tree_index(const struct tree *t); /* of the last transaction applied */
uint64_t tree_node_count(const struct tree *t);
uint64_t tree_value_bytes(const struct tree *t);

const struct tree_node *tree_node(const struct tree *t, uint64_t id); /* NULL: no such node */

/* Errors: ERR_NOENT, ERR_NOTDIR. */
int tree_lookup(const struct tree *t, uint64_t dir, struct name name, const struct tree_node **ret);

void tree_node_attr(const struct tree_node *n, struct attr *ret);
struct blob *tree_node_value(const struct tree_node *n); /* a new reference; NULL is empty */
struct name tree_node_name(const struct tree_node *n);   /* borrowed; empty for the root */

/* "/a/b"; empty for the root. Returns the size, 0 as well if it is above PATH_SIZE_MAX. */
size_t tree_node_path(const struct tree *t, uint64_t id, char ret[PATH_SIZE_MAX]);

/* Fills what OP_XATTRS shows. The caller frees the list; what it points to is borrowed. */
void tree_node_xattrs(const struct tree_node *n, struct reply *ret);

/* What is used below the directory nearest above the node that has a quota, the node itself
 * included, and the quota; of the whole tree, below the root, if there is none. */
void tree_node_usage(const struct tree_node *n, struct reply *ret);

/* Children of `dir` with a cookie above `after`, in the order of their cookies, until `fill`
 * returns false. O(log n) to find the place. Children that stay for a whole listing appear exactly
 * once. Returns true when the end was reached. `dir` must be a directory. */
typedef bool (*tree_fill_fn)(void *ctx, uint64_t cookie, const struct tree_node *child);
bool tree_readdir(const struct tree *t, const struct tree_node *dir, uint64_t after,
                  tree_fill_fn fill, void *ctx);

/* --- locks ----------------------------------------------------------------------------------- */

/* A lock of others on the node, held or waited for, that is in the way of this one; false: none. */
bool tree_lock_test(const struct tree *t, const struct tree_node *n, uint64_t session,
                    const struct lock *l, struct lock_entry *ret);

/* The locks of a node, held before waiting, in order; path and label are left empty. */
typedef void (*tree_lock_fn)(void *ctx, const struct lock_entry *e);
void tree_node_locks(const struct tree_node *n, tree_lock_fn fn, void *ctx);
/* Ids of nodes with locks: the lowest above `after`, rising, at most `max`. Returns how many. In
 * one pass over all such nodes: O(n log n). */
size_t tree_locks_nodes(const struct tree *t, uint64_t after, uint64_t *ret, size_t max);

/* --- the past -------------------------------------------------------------------------------- */

/* Not part of the replicated state: what this member remembers, from when it was told to on. The
 * state before each of the last changes, at most so many and so many bytes of values; with 0
 * changes it remembers nothing, and costs nothing. */
void tree_history_keep(struct tree *t, uint32_t changes_max, size_t bytes_max);
uint64_t tree_history_floor(const struct tree *t); /* states from here on are known; now, if none */

/* As of `index`, which is between the floor and now. Errors as the ones above; ERR_COMPACTED,
 * ERR_INVAL for another index. Names are borrowed until the next tree_apply(). The value is
 * a new reference; only tree_past_get() fills it in. */
struct tree_past {
    struct attr attr;
    struct name name;
    struct blob *value;
};
int tree_past_get(const struct tree *t, uint64_t index, uint64_t id, struct tree_past *ret);
int tree_past_lookup(const struct tree *t, uint64_t index, uint64_t dir, struct name name,
                     struct tree_past *ret);
/* As tree_readdir(); `*ret_end` is what that returns. */
typedef bool (*tree_past_fill_fn)(void *ctx, uint64_t cookie, const struct tree_past *child);
int tree_past_readdir(const struct tree *t, uint64_t index, uint64_t dir, uint64_t after,
                      tree_past_fill_fn fill, void *ctx, bool *ret_end);

/* --- sessions -------------------------------------------------------------------------------- */

struct tree_session {
    uint64_t id;
    struct session_key key;
    uint32_t timeout_ms;
    uint64_t xid_floor;
    uint32_t slot_count;
    char label[CLIENT_LABEL_SIZE_MAX + 1];
};

uint64_t tree_session_count(const struct tree *t);
bool tree_session_find(const struct tree *t, const struct session_key *key,
                       struct tree_session *ret);
bool tree_session_get(const struct tree *t, uint64_t id, struct tree_session *ret);
/* The session with the lowest id above `after`; false at the end. */
bool tree_session_next(const struct tree *t, uint64_t after, struct tree_session *ret);

/* --- state as a whole ------------------------------------------------------------------------ */

/* Sum, modulo 2^64, of a hash of every node, every session with its slots, and index, time and next
 * id: equal on replicas that applied the same log (incremental hashing after Bellare and
 * Micciancio, Eurocrypt 1997). O(1): kept up to date by tree_apply(). */
uint64_t tree_digest(const struct tree *t);

/* Recomputes the digest from nothing and CHECKs structure: parents, counters, cookies. For
 * tests. O(size of the tree). */
uint64_t tree_audit(const struct tree *t);

/* The image is the byte form of the whole state, the same on every member at the same index.
 * Writing allocates nothing, so that a forked child can do it; the tree must not change
 * meanwhile. */
struct tree_image { /* private; copying it marks a place to go on from */
    const struct tree *tree;
    const struct tree_node *node;  /* next to write, and so on; NULL: none left */
    const struct tree_node *begun; /* written last */
    uint32_t xattr_at;             /* next of its attributes */
    const struct node_lock *lock;  /* of it, written last; NULL: none yet */
    const struct session *session;
    const struct slot *slot;
    const struct slot *slot_begun; /* written last */
    uint32_t outcome_at;           /* next of its outcomes */
    const uint8_t *value;          /* that the record is followed by */
    int stage;
    size_t value_size, value_at;
    size_t record_at, record_size;
    uint8_t record[1024];
};

void tree_image_begin(struct tree_image *it, const struct tree *t);
/* Fills up to `cap` bytes and returns how many; 0 at the end. Any cap above 0 will do. */
size_t tree_image_read(struct tree_image *it, uint8_t *to, size_t cap);

/* Loads an image fed in pieces of any size. Bytes are not trusted: limits are checked before memory
 * is taken, and structure and digest are verified at the end. */
struct tree_loader;
struct tree_loader *tree_loader_new(void);
int tree_loader_feed(struct tree_loader *l, const void *bytes, size_t size); /* ERR_CORRUPT */
/* Ends and frees the loader. Errors: ERR_CORRUPT (incomplete, inconsistent, digest differs). */
int tree_loader_finish(struct tree_loader *l, struct tree **ret);
void tree_loader_free(struct tree_loader *l); /* gives up; NULL is fine */

#endif
