#ifndef ZABFS_MODEL_INT_H
#define ZABFS_MODEL_INT_H

#include "model.h"

/* Private to model*.c:
 *   model.c         nodes, versions and places: making, finding; model_past.c taking back,
 * forgetting model_apply.c   entries, sessions, results, events model_op.c      what each operation
 * on one node does model_rename.c  ... rename; model_lock.c locks; model_txn.c transactions
 *   model_xattr.c   extended attributes, and what they set: rules and quotas
 *   model_read.c    what each read answers; model_look.c what is shown of locks */

struct model_place {
    UT_hash_handle hh;
    struct model_life *newest;
    uint32_t key_size;
    uint8_t key[]; /* id of the directory, name */
};

struct model {
    uint64_t index;
    uint64_t floor;
    int64_t time_ns;
    uint64_t id_next;
    struct model_node *nodes;     /* by id */
    struct model_place *places;   /* by directory and name */
    struct model_session *by_id;  /* every session */
    struct model_keyed *by_key;   /* newest session of a key */
    struct model_result *results; /* by session and xid */
    struct model_change *changes; /* changes[i] is of index changes_from + i */
    uint64_t changes_from, change_count, change_cap;
    uint64_t *epochs; /* indexes of EPOCH entries */
    uint64_t epoch_count, epoch_cap;
    struct model_session **expired;
    uint64_t expired_count, expired_cap;
    struct model_node **touched; /* by the entry that is being applied */
    uint64_t touched_count, touched_cap;
    struct buf scratch;
    char text[256];
};

struct model_keyed {
    UT_hash_handle hh;
    struct session_key key;
    struct model_session *newest;
};

/* --- model.c --- */

/* A node in `dir` (NULL: the root), born with this entry; its first version is all zero but for id,
 * parent, type and the counters that start at 1. */
struct model_node *model_node_add(struct model *m, struct model_node *dir, enum node_type type,
                                  struct name name);
void model_node_end(struct model *m, struct model_node *n);
/* Takes the next cookie there; counts no children. */
void model_node_move(struct model *m, struct model_node *n, struct model_node *dir,
                     struct name name);
struct model_node *model_node_get(const struct model *m, uint64_t id); /* alive now, or NULL */
struct model_node *model_child_get(const struct model *m, uint64_t dir, struct name name);
struct model_node *model_dir_of(const struct model *m, const struct model_node *n);
/* The version that the entry being applied makes: a copy of the last, its own references. */
struct model_version *model_version_make(struct model *m, struct model_node *n);
struct model_version *model_version_now(const struct model_node *n);
struct model_session *model_session_add(struct model *m, const struct session_key *key);
void model_xattrs_unref(struct model_xattrs *x);
void model_locks_unref(struct model_locks *l);
struct model_place *model_place_find(const struct model *m, uint64_t dir, struct name name);
void model_version_done(struct model_version *v);
void model_life_free(struct model_life *l);
void model_node_free(struct model_node *n);
void model_result_free(struct model *m, struct model_result *r);
void model_change_done(struct model_change *c);

/* --- model_past.c --- */

/* Takes back all that the entry being applied did to nodes. */
void model_undo(struct model *m, uint64_t id_next);

/* --- model_apply.c --- */

struct model_effect { /* of the entry that is being applied */
    const struct txn *txn;
    struct reply reply;
    struct txn_outcome *outcomes; /* of TXN; names borrowed from `texts` */
    struct event *events;         /* own values; names are in `texts` */
    uint64_t event_count, event_cap;
    struct model_grant *grants;
    uint64_t grant_count, grant_cap;
    char **texts; /* owned */
    uint64_t text_count, text_cap;
};

struct name model_text(struct model_effect *e, struct name text); /* a copy that stays */
struct event *model_changed(struct model *m, struct model_effect *e, const struct model_node *n,
                            enum change_kind kind);
struct name model_path(struct model *m, struct model_effect *e, uint64_t dir, uint64_t index);

/* --- model_op.c --- */

struct model_make { /* what CREATE and TXN ask for alike */
    enum node_type type;
    enum node_life life;
    struct name name;
    bool sequential;
    uint32_t mode, uid, gid;
    struct blob *value;
};

uint32_t model_size(const struct blob *b);
bool model_text_is(struct name name, const char *text);
int model_name_wrong(uint64_t dir, struct name name); /* of anything that comes to be there */
void model_children_changed(struct model *m, struct model_node *dir, int files, int dirs);
int model_create(struct model *m, struct model_effect *e, struct model_node *dir,
                 const struct model_make *make, struct model_node **ret);
int model_remove(struct model *m, struct model_effect *e, struct model_node *n, bool dirs);
/* With its ".data"; the list of its directory is left to the caller. */
void model_take_away(struct model *m, struct model_effect *e, struct model_node *n);
void model_remove_node(struct model *m, struct model_effect *e, struct model_node *n);
int model_file(const struct model *m, uint64_t id, struct model_node **ret);
int model_put(struct model *m, struct model_effect *e, struct model_node *n, struct blob *value);
int model_append(struct model *m, struct model_effect *e, struct model_node *n,
                 const struct blob *more);
int model_op_create(struct model *m, struct model_effect *e);
int model_op_remove(struct model *m, struct model_effect *e);
int model_op_set(struct model *m, struct model_effect *e);
int model_op_append(struct model *m, struct model_effect *e);
int model_op_setattr(struct model *m, struct model_effect *e);

/* --- model_rename.c --- */

int model_rename(struct model *m, struct model_effect *e, struct model_node *dir, struct name name,
                 struct model_node *to_dir, struct name to_name, uint32_t flags);
int model_op_rename(struct model *m, struct model_effect *e);

/* --- model_lock.c --- */

int model_op_lock(struct model *m, struct model_effect *e);
void model_locks_end(struct model *m, struct model_effect *e, struct model_node *n,
                     uint64_t session);
bool model_lock_conflict(const struct model_lock *a, const struct model_lock *b);

/* --- model_txn.c --- */

int model_op_txn(struct model *m, struct model_effect *e);

/* --- model_xattr.c --- */

const struct blob *model_xattr_find(const struct model_version *v, const char *name);
enum node_life model_rule(const struct model_version *dir);
int model_op_setxattr(struct model *m, struct model_effect *e);
/* What is below a directory, or of a file itself. */
void model_usage(const struct model *m, const struct model_node *n, uint64_t index,
                 uint64_t *ret_nodes, uint64_t *ret_bytes);
uint64_t model_bytes(const struct model_version *v); /* of value and extended attributes */
void model_quota_of(const struct model_version *v, uint64_t *ret_nodes, uint64_t *ret_bytes);
/* Could `dir`, and those above it up to but without `below`, take in so much more? */
int model_quota_wrong(const struct model *m, const struct model_node *dir,
                      const struct model_node *below, uint64_t nodes, uint64_t bytes);

#endif
