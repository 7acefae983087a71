#ifndef ZABFS_TREE_LOCK_INT_H
#define ZABFS_TREE_LOCK_INT_H

#include "hashtable.h"
#include "tree_int.h"

/* The locks of one node, private to tree_lock.c (the rules) and tree_lockset.c (the structure).
 * Everything is found from (session, kind, owner): the holder, in a hash table of the node. What is
 * held is also in an array by place, what is asked for in a queue, for each kind apart. */

struct node_lock {
    struct node_lock *prev, *next; /* held: the holder's, by rising start; waiting: the queue */
    struct lock_holder *holder;
    struct lock lock;
    uint64_t index; /* held: of the newest grant that is part of it; waiting: of the question */
    bool waiting;
};

struct holder_key {
    uint64_t session, owner, kind;
};

struct lock_holder { /* holds something or waits, else it is freed */
    struct holder_key key;
    UT_hash_handle hh;
    struct tree_locks *on;
    struct lock_holder *of_prev, *of_next; /* in session->holders */
    struct node_lock *held;                /* they do not overlap; neighbours of a type are one */
    struct node_lock *asked;               /* the one question, or NULL */
};

struct lock_world {          /* the locks of one kind */
    struct node_lock **held; /* by start, session, owner */
    size_t held_count, held_cap;
    size_t exclusive_count; /* held */
    struct node_lock *queue;
    size_t passing_count; /* in the queue whose holders hold something */
};

struct tree_locks {
    struct tree_locks *prev, *next; /* in tree->locked */
    struct tree_node *node;
    struct lock_holder *holders;
    struct lock_world worlds[2];
    uint32_t count; /* held and waiting, those that pass twice: see tree_lock.c */
};

struct lock_world *locks_world(struct tree_locks *l, enum lock_kind kind);
struct tree_locks *locks_of(struct tree *t, struct tree_node *n); /* made if there are none */
struct lock_holder *locks_holder(const struct tree_locks *l, const struct holder_key *key);
struct lock_holder *locks_holder_add(struct tree_locks *l, const struct holder_key *key,
                                     struct session *s); /* NULL: bound later */

/* These four keep structure, count and digest together. */
void locks_hold(struct tree *t, struct lock_holder *h, const struct lock *lock, uint64_t index);
void locks_let_go(struct tree *t, struct node_lock *held);
void locks_enqueue(struct tree *t, struct lock_holder *h, const struct lock *lock, uint64_t index);
void locks_dequeue(struct tree *t, struct lock_holder *h); /* the holder's question, if any */

/* Frees holder and locks, and unbinds them, if nothing is left of them. */
void locks_holder_settle(struct tree *t, struct lock_holder *h);
void locks_settle(struct tree *t, struct tree_locks *l);

size_t locks_place_after(const struct lock_world *w, uint64_t start); /* in `held` */
bool lock_is_sane(const struct lock *lock); /* a kind, a type and a range that can be held */
/* What is in the way of `h` (NULL: someone new), so that it cannot have the lock; NULL: nothing.
 * `question` is where it waits in the queue, NULL behind all. */
const struct node_lock *lock_obstacle(const struct lock_world *w, const struct lock_holder *h,
                                      const struct lock *lock, const struct node_lock *question);

#endif
