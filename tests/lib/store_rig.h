#ifndef ZABFS_STORE_RIG_H
#define ZABFS_STORE_RIG_H

#include "memfs.h"
#include "store.h"

enum { RIG_INDEX_MAX = 1024 };

/* A store on a memfs. Entries are made up: the body of one follows from its epoch and index, so
 * that what recovery returns can be checked. All functions return what the store did. */
struct rig {
    struct memfs *fs;
    struct store_conf conf;
    struct store *store; /* NULL: closed */
    struct store_recovered rec;
    uint64_t epoch;                         /* of the entries appended from now on */
    struct store_pos at[RIG_INDEX_MAX + 1]; /* position of each index, as last appended */
    uint64_t last;
    uint64_t transfer; /* number of the last one */
    struct store_pos transfer_pos;
    char note[256];
};

struct rig *rig_new(void);                 /* an empty disk, nothing open */
struct rig *rig_copy(const struct rig *r); /* with a copy of the disk, closed */
void rig_free(struct rig *r);

int rig_open(struct rig *r); /* closes before if open; `last` becomes what was recovered */
void rig_close(struct rig *r);

int rig_append(struct rig *r, size_t count, size_t body_size);        /* one operation */
int rig_append_ops(struct rig *r, size_t op_count, size_t body_size); /* of one entry each */
int rig_truncate(struct rig *r, uint64_t index);
int rig_vote(struct rig *r, uint64_t epoch, uint32_t voted_for);
/* A peer's snapshot, by all of the four below; `epoch` is that of the position. */
int rig_install(struct rig *r, uint64_t index, size_t size);
int rig_piece(struct rig *r, uint64_t index, size_t size, uint64_t offset); /* 0 begins anew */
int rig_seal(struct rig *r, uint64_t size);
int rig_drop(struct rig *r);
int rig_install_sealed(struct rig *r);
int rig_purge(struct rig *r);
int rig_snapshot(struct rig *r, uint64_t index, size_t size); /* own, at a position appended */

/* The recovered entries are first..last, whole and as appended. first > last: there are none. */
bool rig_recovered(const struct rig *r, uint64_t first, uint64_t last);

/* The snapshot that recovery chose is that of `size` bytes written at `index`. */
bool rig_snapshot_is(struct rig *r, uint64_t index, size_t size);

#endif
