#include "tree_lock_int.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "check.h"
#include "mem.h"

/* The structure that holds a node's locks: how they are added, found, taken out, listed, loaded and
 * audited. Nothing here decides who gets one (tree_lock.c). */

enum { HELD_CAP_MIN = 4 };

struct lock_world *locks_world(struct tree_locks *l, enum lock_kind kind)
{
    return &l->worlds[kind == LOCK_KIND_FLOCK ? 0 : 1];
}

struct tree_locks *locks_of(struct tree *t, struct tree_node *n)
{
    struct tree_extra *x = tnode_extra_need(n);

    if (x->locks == NULL) {
        x->locks = mem_zalloc(sizeof(*x->locks));
        x->locks->node = n;
        DL_PREPEND(t->locked, x->locks);
    }
    return x->locks;
}

struct lock_holder *locks_holder(const struct tree_locks *l, const struct holder_key *key)
{
    struct lock_holder *h;

    HASH_FIND(hh, l->holders, key, sizeof(*key), h);
    return h;
}

static void holder_bind(struct lock_holder *h, struct session *s)
{
    DL_PREPEND2(s->holders, h, of_prev, of_next);
}

struct lock_holder *locks_holder_add(struct tree_locks *l, const struct holder_key *key,
                                     struct session *s)
{
    struct lock_holder *h = mem_zalloc(sizeof(*h));

    h->key = *key;
    h->on = l;
    HASH_ADD(hh, l->holders, key, sizeof(h->key), h);
    if (s != NULL) {
        holder_bind(h, s);
    }
    return h;
}

void locks_holder_settle(struct tree *t, struct lock_holder *h)
{
    struct session *s;

    if (h->held != NULL || h->asked != NULL) {
        return;
    }
    s = session_get(t, h->key.session);
    CHECK(s != NULL);
    DL_DELETE2(s->holders, h, of_prev, of_next);
    HASH_DEL(h->on->holders, h);
    mem_free(h);
}

void locks_settle(struct tree *t, struct tree_locks *l)
{
    if (l->holders != NULL) {
        return;
    }
    DL_DELETE(t->locked, l);
    tnode_extra(l->node)->locks = NULL;
    locks_free(l);
}

/* --- what is held ---------------------------------------------------------------------------- */

static int key_order(const struct node_lock *l, uint64_t start, const struct holder_key *key)
{
    const struct holder_key *k = &l->holder->key;

    if (l->lock.start != start) {
        return l->lock.start < start ? -1 : 1;
    }
    if (k->session != key->session) {
        return k->session < key->session ? -1 : 1;
    }
    return k->owner < key->owner ? -1 : k->owner > key->owner;
}

/* Place of the first lock that is not before this one. */
static size_t held_place(const struct lock_world *w, uint64_t start, const struct holder_key *key)
{
    size_t low = 0;
    size_t high = w->held_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (key_order(w->held[mid], start, key) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

size_t locks_place_after(const struct lock_world *w, uint64_t start)
{
    struct holder_key last = {UINT64_MAX, UINT64_MAX, 0};

    return held_place(w, start, &last);
}

static struct node_lock *lock_new(struct lock_holder *h, const struct lock *lock, uint64_t index)
{
    struct node_lock *l = mem_zalloc(sizeof(*l));

    l->holder = h;
    l->lock = *lock;
    l->index = index;
    return l;
}

/* Into the holder's own list; most take one range after the other. */
static void held_list_add(struct lock_holder *h, struct node_lock *l)
{
    struct node_lock *before = h->held != NULL ? h->held->prev : NULL; /* utlist: the tail */

    while (before != NULL && before->lock.start > l->lock.start) {
        before = before == h->held ? NULL : before->prev;
    }
    if (before != NULL) {
        DL_APPEND_ELEM(h->held, before, l);
    } else {
        DL_PREPEND(h->held, l);
    }
}

void locks_hold(struct tree *t, struct lock_holder *h, const struct lock *lock, uint64_t index)
{
    struct lock_world *w = locks_world(h->on, lock->kind);
    struct node_lock *l = lock_new(h, lock, index);
    size_t place = held_place(w, lock->start, &h->key);

    if (w->held_count == w->held_cap) {
        w->held_cap = w->held_cap > 0 ? 2 * w->held_cap : HELD_CAP_MIN;
        w->held = mem_realloc(w->held, w->held_cap * sizeof(struct node_lock *));
    }
    memmove(w->held + place + 1, w->held + place,
            (w->held_count - place) * sizeof(struct node_lock *));
    w->held[place] = l;
    w->held_count++;
    w->exclusive_count += lock->type == LOCK_TYPE_EXCLUSIVE ? 1 : 0;
    held_list_add(h, l);
    h->on->count++;
    digest_add_lock(t, h->on->node, l);
}

void locks_let_go(struct tree *t, struct node_lock *l)
{
    struct lock_holder *h = l->holder;
    struct lock_world *w = locks_world(h->on, l->lock.kind);
    size_t place = held_place(w, l->lock.start, &h->key);

    CHECK(place < w->held_count && w->held[place] == l);
    digest_drop_lock(t, h->on->node, l);
    w->held_count--;
    memmove(w->held + place, w->held + place + 1,
            (w->held_count - place) * sizeof(struct node_lock *));
    w->exclusive_count -= l->lock.type == LOCK_TYPE_EXCLUSIVE ? 1 : 0;
    DL_DELETE(h->held, l);
    h->on->count--;
    mem_free(l);
}

/* --- what is asked for ----------------------------------------------------------------------- */

void locks_enqueue(struct tree *t, struct lock_holder *h, const struct lock *lock, uint64_t index)
{
    struct lock_world *w = locks_world(h->on, lock->kind);
    struct node_lock *l = lock_new(h, lock, index);

    CHECK(h->asked == NULL);
    l->waiting = true;
    h->asked = l;
    DL_APPEND(w->queue, l);
    w->passing_count += h->held != NULL ? 1 : 0;
    h->on->count += h->held != NULL ? 2 : 1;
    digest_add_lock(t, h->on->node, l);
}

void locks_dequeue(struct tree *t, struct lock_holder *h)
{
    struct node_lock *l = h->asked;
    struct lock_world *w;

    if (l == NULL) {
        return;
    }
    w = locks_world(h->on, l->lock.kind);
    digest_drop_lock(t, h->on->node, l);
    DL_DELETE(w->queue, l);
    w->passing_count -= h->held != NULL ? 1 : 0;
    h->on->count -= h->held != NULL ? 2 : 1;
    h->asked = NULL;
    mem_free(l);
}

/* --- all of a node --------------------------------------------------------------------------- */

const struct node_lock *locks_after(const struct tree_locks *l, const struct node_lock *prev)
{
    const struct lock_world *w = l->worlds;
    size_t world = prev != NULL && prev->lock.kind == LOCK_KIND_POSIX ? 1 : 0;

    if (prev == NULL || !prev->waiting) {
        size_t place = 0;

        if (prev != NULL) {
            place = held_place(&w[world], prev->lock.start, &prev->holder->key) + 1;
        }
        if (place < w[world].held_count) {
            return w[world].held[place];
        }
        if (world == 0 && w[1].held_count > 0) {
            return w[1].held[0];
        }
        return w[0].queue != NULL ? w[0].queue : w[1].queue;
    }
    return prev->next != NULL || world == 1 ? prev->next : w[1].queue;
}

void locks_drop(struct tree *t, struct tree_node *n)
{
    struct tree_locks *l = tnode_extra(n) != NULL ? tnode_extra(n)->locks : NULL;
    const struct node_lock *at = NULL;

    while (l != NULL && (at = locks_after(l, at)) != NULL) {
        digest_drop_lock(t, n, at);
    }
}

void locks_release(struct tree *t, struct tree_node *n)
{
    struct tree_locks *l = tnode_extra(n) != NULL ? tnode_extra(n)->locks : NULL;
    struct lock_holder *h;

    if (l == NULL) {
        return;
    }
    for (h = l->holders; h != NULL; h = h->hh.next) {
        struct session *s = session_get(t, h->key.session);

        CHECK(s != NULL);
        DL_DELETE2(s->holders, h, of_prev, of_next);
    }
    DL_DELETE(t->locked, l);
    tnode_extra(n)->locks = NULL;
    locks_free(l);
}

void locks_free(struct tree_locks *l)
{
    struct lock_holder *h, *next_holder;
    struct node_lock *held, *next;

    if (l == NULL) {
        return;
    }
    HASH_ITER (hh, l->holders, h, next_holder) {
        DL_FOREACH_SAFE(h->held, held, next)
        {
            mem_free(held);
        }
        mem_free(h->asked);
        HASH_DEL(l->holders, h);
        mem_free(h);
    }
    mem_free(l->worlds[0].held);
    mem_free(l->worlds[1].held);
    mem_free(l);
}

void lock_entry_fill(const struct tree_node *n, const struct node_lock *l, struct lock_entry *ret)
{
    *ret = (struct lock_entry){
        .node = n->id,
        .session = l->holder->key.session,
        .lock = l->lock,
        .index = l->index,
        .waiting = l->waiting,
    };
}

void tree_node_locks(const struct tree_node *n, tree_lock_fn fn, void *ctx)
{
    const struct tree_locks *l = tnode_extra(n) != NULL ? tnode_extra(n)->locks : NULL;
    const struct node_lock *at = NULL;
    struct lock_entry e;

    while (l != NULL && (at = locks_after(l, at)) != NULL) {
        lock_entry_fill(n, at, &e);
        fn(ctx, &e);
    }
}

static int compare_ids(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

size_t tree_locks_nodes(const struct tree *t, uint64_t after, uint64_t *ret, size_t max)
{
    const struct tree_locks *l;
    uint64_t *ids;
    size_t all, count = 0;

    DL_COUNT(t->locked, l, all);
    if (all == 0) {
        return 0;
    }
    ids = mem_alloc(all * sizeof(*ids));
    DL_FOREACH (t->locked, l) {
        if (l->node->id > after) {
            ids[count++] = l->node->id;
        }
    }
    qsort(ids, count, sizeof(*ids), compare_ids);
    count = count < max ? count : max;
    memcpy(ret, ids, count * sizeof(*ids));
    mem_free(ids);
    return count;
}

/* --- image and audit ------------------------------------------------------------------------- */

/* Place of a lock in the order of locks_after(), but for what is in one part. */
static int part_of(bool waiting, enum lock_kind kind)
{
    return (waiting ? 2 : 0) + (kind == LOCK_KIND_POSIX ? 1 : 0);
}

static bool held_fits(const struct lock_world *w, const struct lock_holder *h,
                      const struct lock *lock, uint64_t index, const struct tree_extra *x)
{
    const struct node_lock *last = w->held_count > 0 ? w->held[w->held_count - 1] : NULL;
    const struct node_lock *own = h->held != NULL ? h->held->prev : NULL; /* utlist: the tail */

    return index <= x->fence &&
           (own == NULL || (own->lock.end < lock->start &&
                            (own->lock.end + 1 < lock->start || own->lock.type != lock->type))) &&
           (last == NULL || key_order(last, lock->start, &h->key) < 0) &&
           lock_obstacle(w, h, lock, NULL) == NULL;
}

static bool waiting_fits(const struct lock_world *w, const struct lock_holder *h,
                         const struct lock *lock, uint64_t index)
{
    const struct node_lock *last = w->queue != NULL ? w->queue->prev : NULL;

    return h->asked == NULL && (last == NULL || last->index < index) &&
           (h->held == NULL || lock->kind == LOCK_KIND_POSIX) &&
           lock_obstacle(w, h, lock, NULL) != NULL;
}

bool locks_load(struct tree *t, struct tree_node *n, const struct lock_entry *e,
                const struct lock_entry *before)
{
    struct holder_key key = {e->session, e->lock.owner, (uint64_t)e->lock.kind};
    bool fits =
        n->type == NODE_FILE && tnode_extra(n) != NULL && e->session > 0 && e->index > 0 &&
        e->index <= t->index && lock_is_sane(&e->lock) &&
        (tnode_extra(n)->locks == NULL || tnode_extra(n)->locks->count < LOCKS_PER_NODE_MAX) &&
        (before == NULL ||
         part_of(before->waiting, before->lock.kind) <= part_of(e->waiting, e->lock.kind));
    struct tree_locks *l;
    struct lock_world *w;
    struct lock_holder *h;

    if (!fits) {
        return false;
    }
    l = locks_of(t, n);
    w = locks_world(l, e->lock.kind);
    h = locks_holder(l, &key);
    if (h == NULL) {
        h = locks_holder_add(l, &key, NULL);
    }
    if (!e->waiting && held_fits(w, h, &e->lock, e->index, tnode_extra(n))) {
        locks_hold(t, h, &e->lock, e->index);
        return true;
    }
    if (e->waiting && waiting_fits(w, h, &e->lock, e->index)) {
        locks_enqueue(t, h, &e->lock, e->index);
        return l->count <= LOCKS_PER_NODE_MAX;
    }
    return false;
}

bool locks_bind(struct tree *t)
{
    struct tree_locks *l;

    DL_FOREACH (t->locked, l) {
        for (struct lock_holder *h = l->holders; h != NULL; h = h->hh.next) {
            struct session *s = session_get(t, h->key.session);

            if (s == NULL) {
                return false;
            }
            holder_bind(h, s);
        }
    }
    return true;
}

static void audit_holder(const struct tree *t, const struct lock_holder *h)
{
    const struct node_lock *l;

    CHECK(session_get(t, h->key.session) != NULL);
    CHECK(h->of_prev != NULL); /* it is in a list: the head's is the tail */
    CHECK(h->held != NULL || h->asked != NULL);
    CHECK(locks_holder(h->on, &h->key) == h);
    DL_FOREACH (h->held, l) {
        CHECK(l->holder == h && !l->waiting);
        CHECK(l->next == NULL || l->lock.end < l->next->lock.start);
        CHECK(l->next == NULL || l->lock.type != l->next->lock.type ||
              l->lock.end + 1 < l->next->lock.start);
    }
}

static void audit_lock(const struct tree *t, struct tree_locks *locks, const struct node_lock *l)
{
    const struct lock_world *w = locks_world(locks, l->lock.kind);
    const struct node_lock *in_way = lock_obstacle(w, l->holder, &l->lock, l);

    CHECK(lock_is_sane(&l->lock));
    CHECK(l->index <= t->index);
    if (l->waiting) {
        CHECK(l->holder->asked == l);
        CHECK(in_way != NULL); /* or it would have been granted */
    } else {
        CHECK(l->index <= tnode_extra(locks->node)->fence);
        CHECK(in_way == NULL || in_way->waiting);
    }
}

static void audit_world(const struct lock_world *w)
{
    const struct node_lock *l;
    size_t exclusive = 0, passing = 0;

    for (size_t i = 0; i < w->held_count; i++) {
        exclusive += w->held[i]->lock.type == LOCK_TYPE_EXCLUSIVE ? 1 : 0;
    }
    DL_FOREACH (w->queue, l) {
        passing += l->holder->held != NULL ? 1 : 0;
    }
    CHECK(exclusive == w->exclusive_count);
    CHECK(passing == w->passing_count);
}

uint64_t locks_audit(const struct tree *t, const struct tree_node *n)
{
    struct tree_locks *locks = tnode_extra(n) != NULL ? tnode_extra(n)->locks : NULL;
    const struct node_lock *l = NULL;
    uint64_t digest = 0;
    uint32_t count = 0;

    if (locks == NULL) {
        return 0;
    }
    CHECK(locks->node == n);
    CHECK(n->type == NODE_FILE);
    CHECK(locks->count <= LOCKS_PER_NODE_MAX);
    CHECK(locks->holders != NULL);
    audit_world(&locks->worlds[0]);
    audit_world(&locks->worlds[1]);
    for (const struct lock_holder *h = locks->holders; h != NULL; h = h->hh.next) {
        audit_holder(t, h);
    }
    while ((l = locks_after(locks, l)) != NULL) {
        audit_lock(t, locks, l);
        count += l->waiting && l->holder->held != NULL ? 2 : 1;
        digest += lock_hash(n, l);
    }
    CHECK(count == locks->count);
    return digest;
}
