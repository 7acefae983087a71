#ifndef ZABFS_MODEL_H
#define ZABFS_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "hashtable.h"
#include "ledger.h"
#include "msg.h"
#include "tree.h" /* struct txn alone: what a log entry decodes to */

/* What the committed entries mean, worked out a second time, with no code of consensus/tree: a toy
 * that keeps every state it went through, so that an answer can be compared with the state at the
 * index it names. It follows docs/PROTOCOL.md, and does everything in the most naive way.
 *
 * A node is there at indexes born <= i < dead. What it was in between is a list of versions, and
 * where it was a list of lives: it may be renamed. */

#define MODEL_ALIVE UINT64_MAX

/* Extended attributes, and locks, of one version. Never changed; a change makes another. */
struct model_xattrs {
    uint32_t refs;
    uint32_t count;
    struct xattr list[]; /* owned */
};

struct model_lock {
    uint64_t session;
    struct lock lock;
    uint64_t index; /* held: of the grant; waiting: at which it queued up */
};

struct model_locks {
    uint32_t refs;
    uint32_t held, waiting;
    struct model_lock list[]; /* those that are held, then those that wait, longest first */
};

struct model_version {
    uint64_t from; /* index that made it */
    struct attr attr;
    struct blob *value;          /* NULL is empty */
    struct model_xattrs *xattrs; /* NULL: none */
    struct model_locks *locks;   /* NULL: none */
    uint64_t fence;              /* of the newest grant; 0: never locked */
    uint64_t create_count;
    bool by_rule; /* ephemeral because of its directory */
};

struct model_life { /* of a node at one place, at indexes from <= i < to */
    struct model_node *node;
    uint64_t dir;
    struct name name; /* owned; of the root: empty */
    uint64_t cookie;
    uint64_t from, to;
    struct model_life *older;  /* of whoever had the place before */
    struct model_life *before; /* of the same node, elsewhere */
};

struct model_node {
    UT_hash_handle hh;
    uint64_t id;
    enum node_type type;
    uint64_t born, dead;
    struct model_life *life;        /* the newest */
    struct model_version *versions; /* rising */
    uint32_t version_count, version_cap;
    struct model_life **children; /* ever, by rising cookie; without ".data" */
    uint32_t child_count, child_cap;
};

struct model_session {
    UT_hash_handle hh;
    uint64_t id;
    struct session_key key;
    uint32_t timeout_ms;
    uint64_t xid_floor;
    uint64_t dead;               /* index that ended it, or MODEL_ALIVE */
    bool expired;                /* ended by a leader */
    struct model_session *older; /* had the same key */
    uint32_t label_size;
    char label[CLIENT_LABEL_SIZE_MAX];
};

struct model_result_key {
    uint64_t session, xid;
};

struct model_result { /* what the first entry of a session's request led to */
    UT_hash_handle hh;
    struct model_result_key key;
    uint64_t index;
    uint64_t entries; /* entries that carry it; all but the first have no effect */
    int err;
    struct blob *reply;   /* encoded */
    struct blob *request; /* as the entry has it */
};

struct model_event {
    uint64_t dir, from_dir; /* sessions that are subscribed to one of them hear of it */
    struct blob *bytes;     /* encoded */
};

struct model_grant { /* of a lock that was waited for */
    uint64_t session, node, owner;
    enum lock_kind kind;
};

struct model_change { /* what one entry changed */
    uint32_t event_count, grant_count;
    struct model_event *events;
    struct model_grant *grants;
};

struct model;

/* Makes room for one more in an array of `count` items of `size`. */
void *model_grow(void *array, uint64_t count, uint64_t *cap, size_t size);

struct model *model_new(void); /* the root alone, at index 0 */
void model_free(struct model *m);

/* Applies what the ledger has beyond model_index(). Returns NULL, or what is wrong with an entry:
 * no member may have taken it in. */
const char *model_advance(struct model *m, const struct ledger *ledger);
uint64_t model_index(const struct model *m);
void model_apply(struct model *m, const struct txn *txn, struct blob *request); /* for tests */

/* Forgets what is only needed for states before `index`, and results of sessions long dead. */
void model_prune(struct model *m, uint64_t index);
uint64_t model_floor(const struct model *m); /* states from here on are known */

/* --- what was there; NULL: nothing ----------------------------------------------------------- */

const struct model_node *model_node(const struct model *m, uint64_t id); /* ever */
const struct model_version *model_version_at(const struct model_node *n, uint64_t index);
const struct model_life *model_life_at(const struct model_node *n, uint64_t index);
const struct model_node *model_child_at(const struct model *m, uint64_t dir, struct name name,
                                        uint64_t index);
/* The last life at that place, and by ->older the ones before. */
const struct model_life *model_place(const struct model *m, uint64_t dir, struct name name);
const struct model_session *model_session(const struct model *m, uint64_t id);
const struct model_session *model_session_by_key(const struct model *m,
                                                 const struct session_key *key);
struct model_result *model_result(const struct model *m, uint64_t session, uint64_t xid);
void model_result_forget(struct model_result *r); /* its bytes; it stays known */
const struct model_change *model_change(const struct model *m, uint64_t index);
uint64_t model_epoch_index(const struct model *m, uint64_t index); /* EPOCH entry at or before */

/* Sessions that a leader ended, in order, from number `at` on. */
const struct model_session *model_expired(const struct model *m, uint64_t at);

/* --- what the answer must be ----------------------------------------------------------------- */

/* Appends the reply to a read, or a PING, INTEREST or FORGET, at the state of `index`, with that
 * index; if the request names an earlier index, with the state of that one. `got` is the answer
 * under judgement, which tells how much of a list fits. */
void model_read(const struct model *m, uint64_t index, const struct request *q,
                const struct reply *got, struct buf *ret);

/* What is wrong with a session's answer to LOCK_TEST or LOCKS; NULL: nothing. */
const char *model_locks_wrong(const struct model *m, uint64_t session, const struct request *q,
                              const struct reply *got);

#endif
