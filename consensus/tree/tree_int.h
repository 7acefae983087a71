#ifndef ZABFS_TREE_INT_H
#define ZABFS_TREE_INT_H

#include "bug.h"
#include "hash.h"
#include "series.h"
#include "slab.h"
#include "table.h"
#include "tree.h"

/* Private to the tree's own files. Who does what:
 *   tree.c          nodes: linking, finding, listing
 *   tree_node.c     ... what one is made of
 *   tree_apply.c    what each operation does
 *   tree_rename.c   ... and renames; tree_lock.c locks, tree_lockset.c how they are kept
 *   tree_multi.c    transactions of several steps; tree_journal.c undoes them
 *   tree_result.c   the changes and grants that it leads to
 *   tree_create.c   how nodes come to be and go
 *   tree_life.c     ephemerals
 *   tree_xattr.c    extended attributes, and the settings of a directory among them
 *   tree_quota.c    what is used below a directory, and what may be
 *   tree_session.c  sessions and their reply slots: exactly once
 *   tree_record.c   the byte form of a node, a session, a slot: for digest and image alike
 *   tree_digest.c   hashes over records, and the audit
 *   tree_history.c  what nodes were, for reads of the past
 *   tree_image.c    the whole state as a stream of records; tree_loader.c reads it back
 *   slab.c          memory; table.c hash table; series.c array in rising order
 *   interest.c      stands alone */

#define QUOTA_NONE UINT64_MAX

/* Of a directory: what its extended attributes say that are not the user's own. Follows from them,
 * and is not stored. */
struct tree_settings {
    uint8_t rule;                      /* enum node_life of permanent files that are created here */
    uint64_t quota_nodes, quota_bytes; /* QUOTA_NONE, or the most there may be below it */
};

extern const struct tree_settings settings_none;

/* What only directories have. */
struct tree_dir {
    struct series children; /* struct tree_node by cookie */
    struct tree_node *data; /* the file ".data", in both tables and not among the children, or NULL;
                               its cookie is 0 */
    uint64_t create_count;  /* creates ever made here: the next sequential number */
    uint64_t cversion;
    uint64_t pzxid;
    uint32_t child_dirs;
    struct tree_settings settings;
    uint64_t nodes, bytes; /* below it, at any depth: nodes; bytes of values and of extended
                              attributes with their names. Never stored */
};

/* What few nodes have. None means: permanent, no attributes, no locks, never locked, its own
 * attributes never changed. */
struct tree_extra {
    uint8_t *body;          /* the node's */
    struct tree_node *node; /* whose it is */
    uint64_t aversion;
    uint64_t owner;                             /* session; 0: permanent */
    uint8_t life;                               /* enum node_life */
    bool by_rule;                               /* ephemeral because of its directory */
    uint64_t fence;                             /* index of the newest grant of a lock on it */
    struct tree_extra *owned_prev, *owned_next; /* in session->owned */
    struct tree_xattrs *xattrs;                 /* tree_xattr.c; NULL: none */
    struct tree_locks *locks;                   /* tree_lock.c; NULL: none held nor waited for */
};

struct tree_xattrs {
    uint64_t hash; /* sum over the attributes; part of the node's */
    uint32_t size; /* bytes of names and values */
    uint32_t count;
    struct xattr list[]; /* by rising name; names and values owned */
};

/* There are millions of these, so that bytes count. What is only looked at when a node was found is
 * packed into the body (tree_node.c), which has another address after most changes; what few nodes
 * have goes to a struct of its own. cversion and pzxid of what is not a directory never change:
 * they are 0 and czxid. What a table looks at while it searches is together in 20 bytes, and so
 * mostly in one line of the processor's cache wherever the node is: a miss costs more than all the
 * rest of a step. */
struct tree_node {
    struct table_link by_name; /* under (parent's id, name); the root is not in that table */
    uint32_t name_hash;        /* of both, while it is in that table */
    uint64_t id;
    struct table_link by_id;
    uint16_t mode;
    uint8_t type : 7; /* enum node_type */
    uint8_t has_extra : 1;
    uint8_t name_size;
    struct tree_node *parent; /* the root's is itself */
    union {                   /* owned; through tnode_extra() and tree_node.c only */
        uint8_t *body;
        struct tree_extra *extra; /* if it has one: the body is there */
    } more;
    struct tree_dir dir[]; /* of a directory, else nothing */
};

/* The numbers of a node that are packed. */
struct tree_facts {
    uint64_t cookie; /* place in the parent's list; the root's is 0 */
    uint64_t version;
    uint64_t czxid, mzxid;
    int64_t atime_ns, mtime_ns, ctime_ns;
    uint32_t uid, gid;
};

/* Values up to this size are in the node's body, where most are; larger ones are blobs, with a hash
 * beside that is not made again when their node is hashed. */
enum { VALUE_PACKED_SIZE_MAX = 256 };

/* The reply to one request of a session, kept until the session's floor passes its xid. */
struct slot {
    struct slot *prev, *next;
    struct reply reply; /* of a write: owns nothing but the outcomes of a transaction, with their
                           names behind them; another name in it points at `name` */
    char name[];
};

struct session {
    struct table_link by_key;
    struct slot *slots;          /* owned, by rising xid */
    struct tree_extra *owned;    /* of its ephemerals, in no order that matters */
    struct lock_holder *holders; /* of its locks, in no order that matters */
    struct tree_session info;
};

struct text_block;

struct tree_results { /* of the transaction applied last, see tree_result.c */
    struct event *changes;
    uint32_t change_count, change_cap;
    struct tree_grant *grants;
    uint32_t grant_count, grant_cap;
    struct tree_node **gone; /* removed by it; they keep their names */
    uint32_t gone_count, gone_cap;
    struct text_block *texts;
    struct txn_outcome *outcomes; /* of its steps */
    uint32_t outcome_cap;
};

struct tree {
    uint64_t index;
    int64_t time_ns;       /* of the last transaction; never falls */
    uint64_t node_id_next; /* ids are never reused */
    uint64_t value_bytes;
    uint64_t quota_count; /* directories with a quota */
    uint64_t digest;      /* sum over nodes, sessions and slots; tree_digest() adds the head */
    struct tree_node *root;
    struct slab slab;          /* nodes and their bodies */
    struct tree_locks *locked; /* nodes with locks, in no order that matters */
    struct table by_id;
    struct table by_name;
    struct series sessions; /* struct session by id */
    struct table by_key;
    struct tree_results results;
    struct tree_journal *journal; /* of the transaction that is being applied; NULL: none */
    struct tree_history *history; /* NULL: none is kept; no part of the state */
};

/* --- tree_node.c --- */

/* A node with this type and name, everything else zero, linked nowhere. */
struct tree_node *tnode_new(struct slab *slab, enum node_type type, struct name name);
/* One with all that is packed, and room for a value that is packed, which is returned; to be filled
 * before anything else. */
struct tree_node *tnode_new_full(struct slab *slab, enum node_type type, struct name name,
                                 const struct tree_facts *facts, uint32_t value_size,
                                 uint8_t **ret_value);
void tnode_free(struct tree_node *n);
struct tree_facts tnode_facts(const struct tree_node *n);
void tnode_facts_set(struct tree_node *n, const struct tree_facts *facts);
uint64_t tnode_cookie(const struct tree_node *n);
void tnode_cookie_set(struct tree_node *n, uint64_t cookie);
struct tree_extra *tnode_extra_need(struct tree_node *n); /* made if there is none */
const char *tnode_name(const struct tree_node *n); /* of n->name_size bytes; until it changes */
void tnode_name_set(struct tree_node *n, struct name name); /* while it has no place; copied */
uint64_t tnode_aversion(const struct tree_node *n);
void tnode_aversion_set(struct tree_node *n, uint64_t aversion);
uint32_t tnode_value_size(const struct tree_node *n);
const uint8_t *tnode_value_bytes(const struct tree_node *n); /* until the node changes */
struct blob *tnode_value(const struct tree_node *n);         /* a new reference; NULL: empty */
uint64_t tnode_value_hash(const struct tree_node *n);
/* All that is packed, at once. Takes over one reference. Not counted: see tree_value_set(). */
void tnode_value_set(struct tree_node *n, const struct tree_facts *facts, struct blob *value);

static inline bool tnode_is_dir(const struct tree_node *n)
{
    return n->type == NODE_DIR;
}

/* Has the processor fetch the body: it mostly has three lines of its cache, and what reads them all
 * comes long after it has asked for the first. */
static inline void tnode_expect(const struct tree_node *n)
{
    const uint8_t *body = n->more.body;

    __builtin_prefetch(body);
    __builtin_prefetch(body + 64);
    __builtin_prefetch(body + 128);
}

/* NULL: it has none. */
static inline struct tree_extra *tnode_extra(const struct tree_node *n)
{
    return n->has_extra ? n->more.extra : NULL;
}

/* --- tree.c --- */

bool name_is_data(struct name name);           /* ".data" */
bool tnode_is_data(const struct tree_node *n); /* linked as such: no child */
/* Links a node with its id, cookie and value set, below `parent` (itself for the root). Counts it,
 * leaves versions, times and the digest to the caller. */
void tree_link(struct tree *t, struct tree_node *parent, struct tree_node *n);
void tree_unlink(struct tree *t, struct tree_node *n); /* not the root; keeps the memory */
/* The part of the two above that a move is made of as well: name and cookie are set by the caller
 * while the node has no place (".data" gets none: its cookie becomes 0). All that is below a
 * directory goes with it. */
void tree_place(struct tree *t, struct tree_node *parent, struct tree_node *n);
void tree_unplace(struct tree *t, struct tree_node *n);
/* These four take the last of the above back, exactly (tree_journal.c). */
void tree_link_undo(struct tree *t, struct tree_node *n);
void tree_unlink_undo(struct tree *t, struct tree_node *n);
void tree_place_undo(struct tree *t, struct tree_node *n);
void tree_unplace_undo(struct tree *t, struct tree_node *parent, struct tree_node *n);
/* As tnode_value_set(), for a node that is linked, and not in the digest at the moment. */
void tree_value_set(struct tree *t, struct tree_node *n, const struct tree_facts *facts,
                    struct blob *value);
struct tree_node *tnode_get(const struct tree *t, uint64_t id);
struct tree_node *tnode_child(const struct tree *t, const struct tree_node *dir, struct name name);
/* For the loader, which compares names late: whether another node has the name of one that is
 * linked; and a hint that one will be linked. */
bool tnode_has_double(const struct tree *t, const struct tree_node *n);
void tnode_child_expect(const struct tree *t, const struct tree_node *dir, struct name name);
/* The node after `n` when directories are walked depth first, ".data" and then the children by
 * cookie; NULL: the end. */
const struct tree_node *tnode_walk(const struct tree_node *n);
struct tree *tree_new_empty(void); /* not even a root */

/* --- tree_apply.c: parts of operations that other files need --- */

/* Carries out the operation of a request, whoever asks. */
int op_apply(struct tree *t, const struct txn *txn, struct txn_result *ret);
int op_dir_get(const struct tree *t, uint64_t id, struct tree_node **ret);
int op_file_get(const struct tree *t, uint64_t id, struct tree_node **ret);
int op_value_check(const struct txn *txn, uint64_t size); /* ERR_TOOBIG */
/* The list of children of `dir` is changed by the transaction that is being applied. */
void op_dir_changed(const struct tree *t, struct tree_node *dir);

/* --- tree_create.c --- */

int apply_create(struct tree *t, const struct txn *txn, struct txn_result *ret);
int apply_remove(struct tree *t, const struct txn *txn, struct txn_result *ret);
/* A name that may come to be in `dir`, whether or not it is taken; of ".data" see life_check(). */
int op_name_check(const struct tree *t, const struct tree_node *dir, struct name name);
/* Takes away a node that may go, ".data" of a directory first, with the changes. Leaves its own
 * directory, which is outside the digest at the moment, to the caller. */
void op_node_remove(struct tree *t, const struct txn *txn, struct tree_node *n);

/* --- the operations that have a file of their own --- */

int apply_rename(struct tree *t, const struct txn *txn, struct txn_result *ret);
int apply_lock(struct tree *t, const struct txn *txn, struct txn_result *ret);
int apply_txn(struct tree *t, const struct txn *txn, struct txn_result *ret);

/* --- tree_journal.c --- */

void journal_begin(struct tree *t);
void journal_commit(struct tree *t); /* it was carried out */
void journal_undo(struct tree *t);   /* nothing of it was, results included */
/* Notes what is about to change; only with t->journal. */
void journal_fields(struct tree *t, const struct tree_node *n);
/* Also without: after a node was linked or placed; before it is unlinked, leaves its place, becomes
 * permanent, or trades its attributes for those of `from`. */
void journal_link(struct tree *t, const struct tree_node *n);
void journal_unlink(struct tree *t, const struct tree_node *n);
void journal_place(struct tree *t, const struct tree_node *n);
void journal_unplace(struct tree *t, const struct tree_node *n);
void journal_life(struct tree *t, const struct tree_node *n);
void journal_xattrs(struct tree *t, const struct tree_node *to, struct tree_node *from);

/* --- tree_lock.c, tree_lockset.c --- */

struct node_lock;

void locks_end(struct tree *t, struct session *s); /* gives back all that a session holds */
/* A node that is removed: its locks leave the digest; they are unbound from their sessions, and
 * freed. */
void locks_drop(struct tree *t, struct tree_node *n);
void locks_release(struct tree *t, struct tree_node *n);
void locks_free(struct tree_locks *l); /* unbound, or of a tree that is freed; NULL is fine */
/* The lock that comes after `prev` in the image: what is held before what waits. NULL: the first,
 * and the end. */
const struct node_lock *locks_after(const struct tree_locks *l, const struct node_lock *prev);
void lock_entry_fill(const struct tree_node *n, const struct node_lock *l, struct lock_entry *ret);
/* Adds a lock to a node that is loaded, behind the one before (NULL: none); false if it cannot be
 * there. Sessions come later, and are bound when all are there; false if one is not. */
bool locks_load(struct tree *t, struct tree_node *n, const struct lock_entry *e,
                const struct lock_entry *before);
bool locks_bind(struct tree *t);
/* CHECKs and returns the digest of a node's locks. */
uint64_t locks_audit(const struct tree *t, const struct tree_node *n);

/* --- tree_result.c --- */

void results_begin(struct tree *t); /* forgets those of the transaction before */
void results_free(struct tree *t);
/* Bytes that stay until the next transaction. */
char *results_text(struct tree *t, size_t size);
struct name results_name(struct tree *t, struct name name); /* a copy that stays as long */
struct name results_path(struct tree *t, const struct tree_node *n);
/* Adds a change of the node as it is now, linked; CHANGE_REMOVE before it is unlinked. The event
 * may be completed by the caller until the next call. */
struct event *results_change(struct tree *t, const struct txn *txn, const struct tree_node *n,
                             enum change_kind kind);
void results_gone(struct tree *t, struct tree_node *n); /* takes over a node that was unlinked */
void results_undo(struct tree *t); /* back to none; nodes that are gone are linked again */
struct txn_outcome *results_outcomes(struct tree *t, uint32_t count); /* not initialised */
void results_grant(struct tree *t, const struct tree_grant *grant);

/* --- tree_life.c --- */

/* ERR_PERM for an ephemeral that is no file, and for a ".data" that is not a permanent file. */
int life_check(struct name name, enum node_type type, enum node_life life);
/* These two for a node outside the digest; a node that is ephemeral is in its session's list. */
void life_set(struct tree_node *n, struct session *s, enum node_life life, bool by_rule);
void life_clear(struct tree *t, struct tree_node *n); /* makes it permanent, if it is not */
/* Removes all that ends with the session. */
void life_end(struct tree *t, const struct txn *txn, struct session *s);

/* --- tree_xattr.c --- */

int apply_setxattr(struct tree *t, const struct txn *txn, struct txn_result *ret); /* OP_SETXATTR */
void xattrs_free(struct tree_xattrs *x);
uint32_t xattrs_size(const struct tree_node *n);
uint32_t xattrs_count(const struct tree_node *n);
uint64_t xattrs_hash(const struct tree_node *n);
/* Two files outside the digest trade their attributes; `to` is linked, `from` is not. */
void xattrs_move(struct tree *t, struct tree_node *to, struct tree_node *from);
/* Adds an attribute to a node that is not linked yet; false: it cannot be the next one. Takes no
 * reference over. */
bool xattr_load(struct tree_node *n, struct name name, struct blob *value);
/* For the audit: order, limits, sums, and settings that are what the attributes say. */
bool xattrs_are_sound(const struct tree_node *n);

/* --- tree_quota.c --- */

/* Of a node with all that is below it. */
void subtree_usage(const struct tree_node *n, uint64_t *ret_nodes, uint64_t *ret_bytes);
/* Adds to the totals of `dir` and of all above it, modulo 2^64: negative numbers will do. */
void usage_add(struct tree_node *dir, uint64_t nodes, uint64_t bytes);
/* Whether so much more fits into `dir` and all above it, up to and without `upto` (NULL: up to the
 * root). Errors: ERR_QUOTA. */
int quota_check(const struct tree *t, const struct tree_node *dir, const struct tree_node *upto,
                uint64_t nodes, uint64_t bytes);
bool quota_is_set(const struct tree_node *n);
/* Errors: ERR_INVAL. */
int quota_parse(const struct blob *text, uint64_t *ret_bytes, uint64_t *ret_nodes);

/* --- tree_session.c --- */

struct session *session_get(const struct tree *t, uint64_t id);
struct session *session_find(const struct tree *t, const struct session_key *key);
struct session *session_add(struct tree *t, const struct tree_session *info);
int session_open(struct tree *t, const struct txn *txn, struct txn_result *ret);
/* Ends it, releases its slots, and takes all from the digest. */
void session_end(struct tree *t, struct session *s);
/* Frees all sessions without a look at the digest. */
void sessions_free(struct tree *t);
void session_floor_raise(struct tree *t, struct session *s, uint64_t floor);
uint32_t slot_outcome_count(const struct slot *r);
const struct slot *session_slot(const struct session *s, uint64_t xid); /* NULL: none */
void session_slot_add(struct tree *t, struct session *s, const struct reply *reply);

/* --- tree_history.c: only with t->history, but for the two that say so --- */

void history_note(struct tree *t, const struct tree_node *n); /* before a change of it */
void history_trim(struct tree *t);                            /* after an entry */
/* The entry that is being applied changed nothing after all. Also without a history. */
void history_forget_entry(struct tree *t);
void history_free(struct tree *t); /* also without */

/* --- tree_record.c: see there for the layout --- */

enum { RECORD_HEAD_SIZE = 3, RECORD_SIZE_MAX = 1024 };

enum record_kind {
    RECORD_HEAD = 1,
    RECORD_NODE = 2,
    RECORD_SESSION = 3,
    RECORD_SLOT = 4,
    RECORD_END = 5,
    RECORD_XATTR = 6,
    RECORD_LOCK = 7,
    RECORD_OUTCOME = 8,
};

/* Each writes one whole record to `to`, which holds RECORD_SIZE_MAX, and returns its size. */
size_t record_put_head(const struct tree *t, uint8_t *to);
size_t record_put_node(const struct tree_node *n, uint8_t *to);
size_t record_put_xattr(const struct xattr *a, uint8_t *to);
size_t record_put_lock(const struct lock_entry *e, uint8_t *to);
size_t record_put_session(const struct session *s, uint8_t *to);
size_t record_put_slot(const struct slot *r, uint8_t *to);
size_t record_put_outcome(const struct txn_outcome *o, uint64_t xid, uint32_t step, uint8_t *to);
size_t record_put_end(const struct tree *t, uint8_t *to);

/* What a record says that is not in the struct it describes. */
struct record_node_links {
    uint64_t parent;
    uint32_t value_size;
    uint32_t xattr_count;
    uint8_t *value_to; /* room for a value that is packed; NULL: it is empty, or a blob */
};

struct record_end {
    uint64_t nodes, value_bytes, sessions, digest;
};

/* Each reads the `size` bytes of a body strictly, limits included. They return NULL or false for
 * anything that no record_put_*() could have written; what they return is the caller's. */
bool record_get_head(const uint8_t *body, size_t size, struct tree *t);
/* The node's value is to be filled in: where the links say, or by a blob. */
struct tree_node *record_get_node(struct slab *slab, const uint8_t *body, size_t size,
                                  struct record_node_links *ret);
/* name: in `body` */
bool record_get_xattr(const uint8_t *body, size_t size, struct name *ret, uint32_t *ret_value_size);
bool record_get_lock(const uint8_t *body, size_t size, struct lock_entry *ret);
bool record_get_session(const uint8_t *body, size_t size, struct tree_session *ret);
bool record_get_slot(const uint8_t *body, size_t size, struct reply *ret); /* name: in `body` */
/* The one of this request and step; name: in `body` */
bool record_get_outcome(const uint8_t *body, size_t size, uint64_t xid, uint32_t step,
                        struct txn_outcome *ret);
bool record_get_end(const uint8_t *body, size_t size, struct record_end *ret);

/* --- tree_loader.c --- */

/* What was loaded so far, for tests that complete an image. */
const struct tree *tree_loader_tree(const struct tree_loader *l);

/* --- tree_digest.c --- */

uint64_t value_hash(const struct blob *value);
void digest_add_node(struct tree *t, const struct tree_node *n);
void digest_drop_node(struct tree *t, const struct tree_node *n);
uint64_t lock_hash(const struct tree_node *n, const struct node_lock *l);
void digest_add_lock(struct tree *t, const struct tree_node *n, const struct node_lock *l);
void digest_drop_lock(struct tree *t, const struct tree_node *n, const struct node_lock *l);
/* Who locks a node changes nothing that the past is asked about. */
void digest_set_fence(struct tree *t, struct tree_node *n, uint64_t fence);
void digest_add_session(struct tree *t, const struct session *s); /* without its slots */
void digest_drop_session(struct tree *t, const struct session *s);
void digest_add_slot(struct tree *t, const struct session *s, const struct slot *r);
void digest_drop_slot(struct tree *t, const struct session *s, const struct slot *r);

#endif
