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

enum { TXN_CHANGES_MAX = 1 }; /* nodes that one transaction can change, beside their directory */

struct txn_result {
    struct reply reply;    /* name borrowed until the next call; owns nothing */
    bool duplicate;        /* the reply is the one given before; nothing was changed */
    uint64_t session;      /* that the reply is for; the new one for SESSION_OPEN; 0: nobody */
    uint64_t session_gone; /* session that this transaction ended, or 0 */
    uint32_t change_count;
    struct event changes[TXN_CHANGES_MAX]; /* names borrowed until the next call; values owned:
                                              txn_result_done() releases all */
};

/* Applies one transaction. Exactly once: a session's request with an xid that was answered before
 * gets the same reply again; below the session's xid_floor it gets ERR_ABANDONED and is not
 * applied; from a session that does not exist, ERR_EXPIRED. A write whose session has
 * CLIENT_REQUESTS_MAX reply slots in use gets ERR_OVERLOAD and takes none: it may be tried again.
 *
 * Results per op; an error has no effect beyond the reply slot:
 * SESSION_OPEN is idempotent by key (same key, same session, `duplicate`; the timeout granted is
 * within SESSION_TIMEOUT_MS_*; ERR_OVERLOAD above SESSIONS_MAX, ERR_INVAL label); the session's id
 * is the index of its entry.
 * SESSION_CLOSE: ERR_EXPIRED no such session; ERR_PERM for a client that names another's.
 * CREATE: ERR_NOENT no such directory, ERR_NOTDIR, ERR_EXISTS, ERR_NAMETOOLONG (a symlink's target,
 * too), ERR_INVAL name, empty target, or value for a directory, ERR_TOOBIG value, ERR_PERM for the
 * reserved names ".zabfs" in the root and ".data" in any directory. Every create consumes the
 * parent's create counter, from 0; a sequential name is made with its value before. A number whose
 * name exists, because someone spelled it out, is passed over.
 * SET: ERR_NOENT, ERR_ISDIR, ERR_INVAL for a symlink, ERR_VERSION, ERR_TOOBIG. The same bytes again
 * are a change as well.
 * APPEND as SET.
 * SETATTR: ERR_NOENT; with a size as SET. One that changes nothing replies with the attributes and
 * makes no change and no event; a size, and "now", always change something.
 * REMOVE: ERR_NOENT, ERR_NOTDIR, ERR_ISDIR, ERR_NOTEMPTY, ERR_BUSY for the root (it has no name).
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
struct blob *tree_node_value(const struct tree_node *n); /* borrowed; NULL is empty */
struct name tree_node_name(const struct tree_node *n);   /* borrowed; empty for the root */

/* Children of `dir` with a cookie above `after`, in the order of their cookies, until `fill`
 * returns false. O(log n) to find the place. Children that stay for a whole listing appear exactly
 * once. Returns true when the end was reached. `dir` must be a directory. */
typedef bool (*tree_fill_fn)(void *ctx, uint64_t cookie, const struct tree_node *child);
bool tree_readdir(const struct tree *t, const struct tree_node *dir, uint64_t after,
                  tree_fill_fn fill, void *ctx);

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
 * id: equal on replicas
 * that applied the same log (incremental hashing after Bellare and Micciancio, Eurocrypt 1997).
 * O(1): kept up to date by tree_apply(). */
uint64_t tree_digest(const struct tree *t);

/* Recomputes the digest from nothing and CHECKs structure: parents, counters, cookies. For
 * tests. O(size of the tree). */
uint64_t tree_audit(const struct tree *t);

/* The image is the byte form of the whole state, the same on every member at the same index.
 * Writing allocates nothing, so that a forked child can do it; the tree must not change
 * meanwhile. */
struct tree_image { /* private; copying it marks a place to go on from */
    const struct tree *tree;
    const struct tree_node *node; /* next to write, and so on; NULL: none left */
    const struct session *session;
    const struct slot *slot;
    const struct blob *value; /* that the record is followed by */
    int stage;
    size_t value_at;
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
