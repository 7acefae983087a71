#ifndef ZABFS_MODEL_INT_H
#define ZABFS_MODEL_INT_H

#include "model.h"

/* Private to model*.c:
 *   model.c        nodes, versions and places: making and finding them
 *   model_apply.c  what each operation does
 *   model_read.c   what each read answers */

struct model_place {
    UT_hash_handle hh;
    struct model_node *newest;
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
    struct buf scratch;
    char text[256];
};

struct model_keyed {
    UT_hash_handle hh;
    struct session_key key;
    struct model_session *newest;
};

/* A node in `dir` (NULL: the root), born with this transaction; its first version is all zero but
 * for id, parent, type and the counters that start at 1. */
struct model_node *model_node_add(struct model *m, struct model_node *dir, enum node_type type,
                                  struct name name);
struct model_node *model_node_get(const struct model *m, uint64_t id); /* alive now, or NULL */
struct model_node *model_child_get(const struct model *m, uint64_t dir, struct name name);
/* The version that the transaction being applied makes: a copy of the last, its own reference. */
struct model_version *model_version_make(struct model *m, struct model_node *n);
struct model_version *model_version_now(const struct model_node *n);
struct model_session *model_session_add(struct model *m, const struct session_key *key);

#endif
