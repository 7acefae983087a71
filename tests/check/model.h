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
 * index it names. It follows docs/PROTOCOL.md.
 *
 * Nothing is ever renamed, so a node has one place, (dir, name), from `born` until `dead`; what it
 * was in between is a list of versions. */

#define MODEL_ALIVE UINT64_MAX

struct model_version {
    uint64_t from; /* index that made it */
    struct attr attr;
    struct blob *value; /* NULL is empty */
};

struct model_node {
    UT_hash_handle hh;
    uint64_t id;
    uint64_t dir;     /* it is in; of the root: itself */
    struct name name; /* owned */
    enum node_type type;
    uint64_t cookie;
    uint64_t born, dead;            /* it is there at indexes born <= i < dead */
    struct model_node *older;       /* had the same place before */
    struct model_version *versions; /* rising */
    uint32_t version_count, version_cap;
    struct model_node **children; /* ever, by rising cookie; shared with the table of nodes */
    uint32_t child_count, child_cap;
    uint64_t create_count;
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

struct model_change {   /* what one entry changed */
    uint64_t dir;       /* 0: nothing */
    struct blob *event; /* encoded */
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
const struct model_node *model_child_at(const struct model *m, uint64_t dir, struct name name,
                                        uint64_t index);
/* The node that had that place last, and by ->older the ones before. */
const struct model_node *model_place(const struct model *m, uint64_t dir, struct name name);
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

/* Appends the reply to a LOOKUP, GETATTR, READ, READDIR, PING, INTEREST or FORGET at the state of
 * `index`, with that index. A listing is as long as `count`, what the answer under judgement has.
 */
void model_read(const struct model *m, uint64_t index, const struct request *q, uint32_t count,
                struct buf *ret);

#endif
