#include "tree_lock_int.h"

#include <stdlib.h>
#include <utlist.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* OP_LOCK: who gets a lock, and when.
 *
 * Happy path: nothing is in the way of what is asked for, neither a lock that someone else holds
 * nor a question that has waited longer, and it is held from this transaction on: its index is the
 * fence. Else the question goes to the end of the queue. Whatever frees a range (a release, a
 * weaker type, a question that is taken back, the end of a session) looks through the queue for
 * those that overlap it, in order, and grants what nothing is in the way of any more.
 *
 * Who holds an fcntl lock of the node passes those that wait. They may wait for that very lock, and
 * would wait for ever if its holder waited for them. (A flock is given back before another is
 * waited for.)
 *
 * Costs: a hand-over stops at the first question that still blocks all that was freed, so that it
 * costs what it grants, not what waits. A question that passes counts twice against the limit of
 * the node: to grant it may split a range that its holder has. */

struct range {
    uint64_t start, end;
    bool any; /* false: empty */
};

static void range_add(struct range *r, const struct lock *lock)
{
    if (!r->any) {
        *r = (struct range){lock->start, lock->end, true};
        return;
    }
    r->start = lock->start < r->start ? lock->start : r->start;
    r->end = lock->end > r->end ? lock->end : r->end;
}

bool lock_is_sane(const struct lock *l)
{
    bool kind = l->kind == LOCK_KIND_POSIX ||
                (l->kind == LOCK_KIND_FLOCK && l->start == 0 && l->end == UINT64_MAX);

    return kind && l->start <= l->end &&
           (l->type == LOCK_TYPE_SHARED || l->type == LOCK_TYPE_EXCLUSIVE);
}

static bool overlap(const struct lock *a, const struct lock *b)
{
    return a->start <= b->end && b->start <= a->end;
}

static bool conflict(const struct lock *a, const struct lock *b)
{
    if (BUG(X22_TWO_HOLDERS) && a->type != b->type) {
        return false;
    }
    return overlap(a, b) && (a->type == LOCK_TYPE_EXCLUSIVE || b->type == LOCK_TYPE_EXCLUSIVE);
}

/* From the last that begins within the range backwards. Nothing overlaps an exclusive lock, so one
 * that ends before the range has nothing before it that does not. */
static const struct node_lock *held_obstacle(const struct lock_world *w,
                                             const struct lock_holder *h, const struct lock *lock)
{
    if (lock->type == LOCK_TYPE_SHARED && w->exclusive_count == 0) {
        return NULL;
    }
    for (size_t i = locks_place_after(w, lock->end); i-- > 0;) {
        const struct node_lock *held = w->held[i];

        if (held->holder != h && conflict(&held->lock, lock)) {
            return held;
        }
        if (held->lock.type == LOCK_TYPE_EXCLUSIVE && held->lock.end < lock->start) {
            return NULL;
        }
    }
    return NULL;
}

static bool passes(const struct lock_holder *h, enum lock_kind kind)
{
    return kind == LOCK_KIND_POSIX && h != NULL && h->held != NULL;
}

const struct node_lock *lock_obstacle(const struct lock_world *w, const struct lock_holder *h,
                                      const struct lock *lock, const struct node_lock *question)
{
    const struct node_lock *in_way = held_obstacle(w, h, lock);
    const struct node_lock *q;

    if (in_way != NULL || passes(h, lock->kind) || (BUG(X26_OVERTAKES) && question == NULL)) {
        return in_way;
    }
    for (q = w->queue; q != NULL && q != question; q = q->next) {
        if (q->holder != h && conflict(&q->lock, lock)) {
            return q;
        }
    }
    return NULL;
}

/* --- holding --------------------------------------------------------------------------------- */

/* Takes the range out of what the holder has: splits what reaches beyond it. */
static void give_back(struct tree *t, struct lock_holder *h, const struct lock *range)
{
    struct node_lock *own, *next;

    DL_FOREACH_SAFE(h->held, own, next)
    {
        struct lock left = own->lock;
        struct lock right = own->lock;
        uint64_t index = own->index;

        if (!overlap(&own->lock, range)) {
            continue;
        }
        locks_let_go(t, own);
        if (left.start < range->start) {
            left.end = range->start - 1;
            locks_hold(t, h, &left, index);
        }
        if (right.end > range->end) {
            right.start = range->end + 1;
            locks_hold(t, h, &right, index);
        }
    }
}

static bool are_neighbours(const struct lock *a, const struct lock *b)
{
    return (a->end != UINT64_MAX && a->end + 1 == b->start) ||
           (b->end != UINT64_MAX && b->end + 1 == a->start);
}

static void grant(struct tree *t, struct lock_holder *h, const struct lock *asked, uint64_t fence)
{
    struct lock lock = *asked;
    struct node_lock *own, *next;

    give_back(t, h, &lock);
    DL_FOREACH_SAFE(h->held, own, next)
    {
        if (own->lock.type == lock.type && are_neighbours(&own->lock, &lock)) {
            lock.start = own->lock.start < lock.start ? own->lock.start : lock.start;
            lock.end = own->lock.end > lock.end ? own->lock.end : lock.end;
            locks_let_go(t, own);
        }
    }
    locks_hold(t, h, &lock, fence);
    digest_set_fence(t, h->on->node, fence);
}

/* By how much the number of locks grows when the holder's range is replaced; LOCK_TYPE_NONE: when
 * it is given back. */
static int growth(const struct lock_holder *h, const struct lock *lock)
{
    int more = lock->type != LOCK_TYPE_NONE ? 1 : 0;
    const struct node_lock *own;

    if (h == NULL) {
        return more;
    }
    DL_FOREACH (h->held, own) {
        bool same_type = own->lock.type == lock->type;

        if (overlap(&own->lock, lock)) {
            more -= 1;
            more += !same_type && own->lock.start < lock->start ? 1 : 0;
            more += !same_type && own->lock.end > lock->end ? 1 : 0;
        } else if (same_type && are_neighbours(&own->lock, lock)) {
            more -= 1;
        }
    }
    return more;
}

/* --- the queue ------------------------------------------------------------------------------- */

static void take_back_question(struct tree *t, struct lock_holder *h, struct range *freed)
{
    if (h->asked != NULL) {
        range_add(freed, &h->asked->lock);
        locks_dequeue(t, h);
    }
}

/* Grants what waits in this range and has nothing in its way. */
static void serve(struct tree *t, struct tree_locks *l, enum lock_kind kind, struct range freed)
{
    struct lock_world *w = locks_world(l, kind);
    struct node_lock *q = freed.any ? w->queue : NULL;

    while (q != NULL) {
        struct lock_holder *h = q->holder;
        struct lock lock = q->lock;
        struct node_lock *next = q->next;
        uint64_t asked = q->index;

        if (lock.start > freed.end || lock.end < freed.start) {
            q = next;
            continue;
        }
        if (lock_obstacle(w, h, &lock, q) == NULL) {
            if (lock.type == LOCK_TYPE_SHARED && passes(h, kind)) {
                range_add(&freed, &lock); /* it may be weaker than what it replaces */
                next = w->queue == q ? q->next : w->queue;
            }
            locks_dequeue(t, h);
            grant(t, h, &lock, BUG(X23_FENCE_OF_QUESTION) ? asked : t->index);
            results_grant(t, &(struct tree_grant){
                                 .session = h->key.session,
                                 .node = l->node->id,
                                 .owner = h->key.owner,
                                 .kind = kind,
                             });
        } else if (lock.type == LOCK_TYPE_EXCLUSIVE && lock.start <= freed.start &&
                   lock.end >= freed.end && w->passing_count == 0) {
            return; /* it is in the way of all that follow */
        }
        q = next;
    }
}

/* --- the operation --------------------------------------------------------------------------- */

static bool fits(const struct tree_locks *l, int more)
{
    return l == NULL || more <= 0 || l->count + (uint32_t)more <= LOCKS_PER_NODE_MAX;
}

static int lock_release(struct tree *t, struct tree_locks *l, struct lock_holder *h,
                        const struct lock *lock)
{
    struct range freed = {0};

    if (h == NULL) {
        return 0;
    }
    if (!fits(l, growth(h, lock))) {
        return ERR_NOLOCKS;
    }
    range_add(&freed, lock);
    take_back_question(t, h, &freed);
    give_back(t, h, lock);
    locks_holder_settle(t, h);
    serve(t, l, lock->kind, freed);
    locks_settle(t, l);
    return 0;
}

/* Index of the newest grant of what covers all of the range with this type; 0: not all is held. */
static uint64_t held_since(const struct lock_holder *h, const struct lock *lock)
{
    const struct node_lock *own;

    DL_FOREACH (h->held, own) { /* neighbours of a type are one lock */
        if (own->lock.type == lock->type && own->lock.start <= lock->start &&
            own->lock.end >= lock->end) {
            return own->index;
        }
    }
    return 0;
}

static bool waits_for(const struct lock_holder *h, const struct lock *lock)
{
    return h->asked != NULL && h->asked->lock.type == lock->type &&
           h->asked->lock.start == lock->start && h->asked->lock.end == lock->end;
}

/* How many locks the node has more if the question is queued up, or granted. */
static int growth_by(const struct lock_holder *h, const struct lock *lock, bool queued)
{
    int before = h != NULL && h->asked != NULL ? (h->held != NULL ? 2 : 1) : 0;
    int more = !queued ? growth(h, lock) : passes(h, lock->kind) ? 2 : 1;

    if (queued && lock->kind == LOCK_KIND_FLOCK && h != NULL && h->held != NULL) {
        more--; /* given back */
    }
    return more - before;
}

/* Everything was checked: the lock is granted, or waited for. */
static void lock_take(struct tree *t, struct lock_holder *h, const struct lock *lock, bool queued)
{
    struct range freed = {0};

    take_back_question(t, h, &freed);
    if (!queued) {
        if (h->held != NULL && lock->type == LOCK_TYPE_SHARED) {
            range_add(&freed, lock); /* it may be weaker than what it replaces */
        }
        grant(t, h, lock, t->index);
    } else {
        if (lock->kind == LOCK_KIND_FLOCK && h->held != NULL) {
            range_add(&freed, lock);
            give_back(t, h, lock);
        }
        locks_enqueue(t, h, lock, t->index);
    }
    serve(t, h->on, lock->kind, freed);
}

static int lock_ask(struct tree *t, struct tree_node *n, const struct holder_key *key,
                    const struct request *q, struct reply *reply)
{
    const struct lock *lock = &q->u.lock.lock;
    struct tree_locks *l = tnode_extra(n) != NULL ? tnode_extra(n)->locks : NULL;
    struct lock_holder *h = l != NULL ? locks_holder(l, key) : NULL;
    uint64_t since = h != NULL ? held_since(h, lock) : 0;
    bool queued = l != NULL && lock_obstacle(locks_world(l, lock->kind), h, lock, NULL) != NULL;
    bool waits = h != NULL && waits_for(h, lock);

    if (since == 0 && queued && !q->u.lock.wait) {
        return ERR_WOULD_BLOCK;
    }
    if (since == 0 && !waits && !fits(l, growth_by(h, lock, queued))) {
        return ERR_NOLOCKS;
    }
    reply->u.lock.granted = since != 0 || !queued;
    reply->u.lock.fence = since != 0 ? since : queued ? 0 : t->index;
    if (since != 0) {
        struct range freed = {0};

        take_back_question(t, h, &freed);
        serve(t, l, lock->kind, freed);
        return 0;
    }
    if (waits) {
        return 0;
    }
    if (h == NULL) {
        h = locks_holder_add(locks_of(t, n), key, session_get(t, key->session));
    }
    lock_take(t, h, lock, queued);
    return 0;
}

int apply_lock(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    const struct request *q = &txn->request;
    struct lock lock = q->u.lock.lock;
    struct holder_key key = {txn->session, lock.owner, (uint64_t)lock.kind};
    bool release = lock.type == LOCK_TYPE_NONE;
    struct tree_locks *l;
    struct tree_node *n;
    int err = op_file_get(t, q->u.lock.id, &n);

    if (err != 0) {
        return err;
    }
    lock.type = release ? LOCK_TYPE_SHARED : lock.type;
    if (!lock_is_sane(&lock)) {
        return ERR_INVAL;
    }
    if (session_get(t, txn->session) == NULL) {
        return ERR_EXPIRED;
    }
    if (!release) {
        return lock_ask(t, n, &key, q, &ret->reply);
    }
    l = tnode_extra(n) != NULL ? tnode_extra(n)->locks : NULL;
    ret->reply.u.lock.granted = false;
    ret->reply.u.lock.fence = 0;
    return l == NULL ? 0 : lock_release(t, l, locks_holder(l, &key), &q->u.lock.lock);
}

/* --- the end of a session -------------------------------------------------------------------- */

static int holder_order(const void *a, const void *b)
{
    const struct lock_holder *x = *(struct lock_holder *const *)a;
    const struct lock_holder *y = *(struct lock_holder *const *)b;

    if (x->on->node->id != y->on->node->id) {
        return x->on->node->id < y->on->node->id ? -1 : 1;
    }
    if (x->key.kind != y->key.kind) {
        return x->key.kind < y->key.kind ? -1 : 1;
    }
    return x->key.owner < y->key.owner ? -1 : x->key.owner > y->key.owner;
}

/* All that a session has on one node and of one kind: `count` holders, which are freed. */
static void leave_node(struct tree *t, struct lock_holder **list, size_t count)
{
    struct tree_locks *l = list[0]->on;
    enum lock_kind kind = (enum lock_kind)list[0]->key.kind;
    struct range freed = {0};

    for (size_t i = 0; i < count; i++) {
        take_back_question(t, list[i], &freed);
        while (list[i]->held != NULL) {
            range_add(&freed, &list[i]->held->lock);
            locks_let_go(t, list[i]->held);
        }
        locks_holder_settle(t, list[i]);
    }
    freed.any = freed.any && !BUG(X24_NOBODY_WOKEN);
    serve(t, l, kind, freed);
    locks_settle(t, l);
}

void locks_end(struct tree *t, struct session *s)
{
    struct lock_holder **list;
    struct lock_holder *h;
    size_t count, from, to = 0;

    DL_COUNT2(s->holders, h, count, of_next);
    if (count == 0 || BUG(X25_LOCK_STAYS)) {
        return;
    }
    list = mem_alloc(count * sizeof(struct lock_holder *));
    DL_FOREACH2 (s->holders, h, of_next) {
        list[to++] = h;
    }
    qsort(list, count, sizeof(struct lock_holder *), holder_order);
    for (from = 0; from < count; from = to) {
        for (to = from + 1; to < count && list[to]->on == list[from]->on &&
                            list[to]->key.kind == list[from]->key.kind;
             to++) {
        }
        leave_node(t, list + from, to - from);
    }
    mem_free(list);
}

/* --- what others may ask --------------------------------------------------------------------- */

bool tree_lock_test(const struct tree *t, const struct tree_node *n, uint64_t session,
                    const struct lock *lock, struct lock_entry *ret)
{
    struct holder_key key = {session, lock->owner, (uint64_t)lock->kind};
    struct tree_locks *l = tnode_extra(n) != NULL ? tnode_extra(n)->locks : NULL;
    const struct node_lock *in_way;

    (void)t;
    if (l == NULL || !lock_is_sane(lock)) {
        return false;
    }
    in_way = lock_obstacle(locks_world(l, lock->kind), locks_holder(l, &key), lock, NULL);
    if (in_way == NULL) {
        return false;
    }
    lock_entry_fill(n, in_way, ret);
    return true;
}
