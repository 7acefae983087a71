#ifndef ZABFS_INODE_H
#define ZABFS_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hashtable.h"
#include "msg.h"

/* What the kernel may have of a node's attributes: given, and not dropped since. */
enum attr_kept {
    KEPT_NOTHING,
    KEPT_PERMISSIONS, /* no size, and no times of the value */
    KEPT_WRITTEN,     /* all, but a helper's write makes that permissions when its job is done */
    KEPT_ALL,
};

/* What this mount knows of nodes: the ones that the kernel holds, those above them, and those that
 * a request, an open file or a queued replay still needs.
 *
 * 1. An inode is freed when nothing holds it: kernel_refs, pins and child_refs are all 0.
 * 2. An inode holds its parent, so the way up to the root is always there.
 * 3. The member tells us of changes in every directory that is `told`, and of no other: one that
 *    becomes it is added to `wanted`, one that leaves to `left` (see interest.c). All are, but for
 *    those that are there only because their creation is repeated: of them nothing is believed.
 * 4. Knowledge only moves forward: what comes with an index older than what is known is dropped.
 * 5. A node that was moved to where we do not look keeps a parent, as an anchor, and is `detached`
 *    until its place is learnt.
 * 6. Nobody can watch a directory that the kernel holds only because a replay helper made it there,
 *    or passed through: such a name is not kept (its timeout is 0), so whoever else goes that way
 *    asks for it, and then it is `shown`. So is a file that a helper came to, once its name is
 *    kept. A shown node may lead its process up by "..", so what is above it is shown, too. */
struct inode {
    uint64_t id;
    struct inode *parent; /* held; NULL for the root */
    char *name;           /* in the parent, NUL-terminated; "" for the root */
    size_t name_size;
    struct inode *children; /* by name; those that are there now, not held by it */
    bool linked;            /* is in parent->children */
    bool detached;          /* its place is not known */
    uint64_t place_index;   /* at which its place was known */
    bool removed;           /* the node is gone */
    bool ending;            /* its removal was sent: its name is not shown here any more */
    bool removed_here;      /* by a request of this mount: the kernel knows */
    int32_t opener; /* thread whose open() has made it and is under way still; see linear.c */

    /* A rename put it in the place of this file, held, which keeps its own id: what the kernel
     * still asks of this one is meant for that. NULL for all others. */
    struct inode *became;

    uint64_t kernel_refs; /* answers that gave it to the kernel, minus FORGETs */
    bool told;            /* a directory: see rule 3 */
    bool shown;           /* ... one of them to somebody else than a replay helper; see rule 6 */
    enum attr_kept attr_kept;
    uint32_t pins;
    uint32_t child_refs; /* inodes in the table whose parent this is */

    struct attr attr;     /* attr.id is 0 until something is known */
    bool attr_asked;      /* the member was, on a replay's behalf */
    bool attr_fresh;      /* attr is the newest, as far as the member told */
    uint64_t attr_index;  /* at which attr held */
    uint64_t event_index; /* a directory: of the last change in it that was told ... */
    uint64_t event_group; /* ... and the group of changes that it came in, see event.c */

    bool value_known; /* see value_cache.h, which alone touches these */
    struct blob *value;
    uint64_t value_version;
    struct inode *value_prev, *value_next;

    int sticky_errno;     /* of a failed commit that no fsync has reported */
    uint32_t writers;     /* open files that may write */
    uint32_t commits;     /* under way; at most one at a time */
    uint32_t cuts;        /* truncations that RELEASE commits, or is about to */
    struct call *waiters; /* requests that wait for these to end, see call.h */

    struct handle *polled;          /* open files whose readers poll, see op_poll.c */
    struct lock_owner *lock_owners; /* of this mount, see lock.c */

    struct replay_job *replay_set; /* that waits to tell of its value, see replay_queue.c */

    struct inode *next_loose; /* in inodes.loose */
    UT_hash_handle hh;        /* in inodes.by_id */
    UT_hash_handle hh_name;   /* in parent->children */
};

struct inode_ids { /* a list of ids that grows */
    uint64_t *ids;
    size_t count, cap;
};
void inode_ids_add(struct inode_ids *l, uint64_t id);
void inode_ids_done(struct inode_ids *l);

struct inodes {
    struct inode *by_id;
    struct inode *root;                          /* always there */
    struct inode *loose;                         /* to be looked at by settle() */
    struct inode_ids wanted;                     /* directories that entered */
    uint64_t wanted_index;                       /* lowest index at which one of them was known */
    struct inode_ids left;                       /* directories that left */
    void (*on_free)(void *ctx, struct inode *i); /* last call for it; may be NULL */
    void *ctx;
};

void inodes_init(struct inodes *t);
void inodes_done(struct inodes *t);
/* Adds a directory to `wanted`; changes in it up to `index` are known. */
void inodes_want(struct inodes *t, uint64_t id, uint64_t index);
size_t inodes_count(const struct inodes *t);

struct inode *inode_find(struct inodes *t, uint64_t id); /* NULL: not in the table */
struct inode *inode_child(struct inode *dir, const char *name, size_t size); /* or NULL */

/* Records that `name` in `dir` was the node `attr` describes at `index`, and returns its inode,
 * pinned once for the caller. Another node known under that name is detached. */
struct inode *inode_learn(struct inodes *t, struct inode *dir, struct name name,
                          const struct attr *attr, uint64_t index);

/* The same for a node that nobody here has asked for. */
struct inode *inode_hear(struct inodes *t, struct inode *dir, struct name name,
                         const struct attr *attr, uint64_t index);

/* Records attributes of an inode as of `index`. */
void inode_update(struct inode *i, const struct attr *attr, uint64_t index);

/* A child was made in the directory at `index`: what is known of the directory follows, or is known
 * no longer. */
void inode_gain_child(struct inode *dir, const struct attr *child, struct name name,
                      uint64_t index);

/* The node is gone from its directory. */
void inode_remove(struct inode *i);

/* The node is at `name` in `dir` as of `index`, unless something newer is known. What was known
 * under that name is detached. */
void inode_place(struct inodes *t, struct inode *i, struct inode *dir, struct name name,
                 uint64_t index);
/* The node is somewhere else now. */
void inode_detach(struct inode *i);
/* A directory of which only the id is known, as of `index`; pinned once for the caller. */
struct inode *inode_anchor(struct inodes *t, uint64_t id, uint64_t index);

/* What `i` was renamed onto is what it is now. */
void inode_become(struct inode *i, struct inode *target);
struct inode *inode_current(struct inode *i); /* follows that; NULL for NULL */

/* Nothing that is known of attributes and values can be relied upon. */
void inode_distrust(struct inode *i);

bool inode_is_dir(const struct inode *i);

/* It was given to somebody who may watch it, and may go up from it. */
void inode_show(struct inodes *t, struct inode *i);
/* Somebody may be watching it, or what happens in it; false for NULL. */
bool inode_is_watchable(const struct inode *i);

void inode_pin(struct inode *i);
void inode_unpin(struct inodes *t, struct inode *i);
void inode_kernel_ref(struct inode *i);
void inode_kernel_forget(struct inodes *t, struct inode *i, uint64_t count);

/* The path from the root, without a leading slash, "." for the root; false if it does not fit, or
 * the
 * kernel knows that a directory on the way is gone, or the place of one is not known. */
bool inode_path(const struct inode *i, char *ret, size_t cap);

#endif
