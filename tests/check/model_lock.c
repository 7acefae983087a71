#include "model_int.h"

#include <string.h>

#include "err.h"

/* Locks: a list of those that are held and a queue of those that wait, gone through from its head
 * whenever something changed. */

static bool same_owner(const struct model_lock *a, const struct model_lock *b)
{
    return a->session == b->session && a->lock.kind == b->lock.kind &&
           a->lock.owner == b->lock.owner;
}

static bool overlap(const struct model_lock *a, const struct model_lock *b)
{
    return a->lock.start <= b->lock.end && b->lock.start <= a->lock.end;
}

bool model_lock_conflict(const struct model_lock *a, const struct model_lock *b)
{
    return a->lock.kind == b->lock.kind && !same_owner(a, b) && overlap(a, b) &&
           (a->lock.type == LOCK_TYPE_EXCLUSIVE || b->lock.type == LOCK_TYPE_EXCLUSIVE);
}

struct desk { /* a node's locks while they are worked on */
    struct model_lock *held, *waiting;
    uint64_t held_count, held_cap, waiting_count, waiting_cap;
};

static void add(struct model_lock **list, uint64_t *count, uint64_t *cap,
                const struct model_lock *l)
{
    *list = model_grow(*list, *count, cap, sizeof(**list));
    (*list)[(*count)++] = *l;
}

static void drop(struct model_lock *list, uint64_t *count, uint64_t at)
{
    (*count)--;
    memmove(&list[at], &list[at + 1], (*count - at) * sizeof(*list));
}

static void desk_open(struct desk *d, const struct model_version *v)
{
    *d = (struct desk){0};
    for (uint32_t i = 0; v->locks != NULL && i < v->locks->held + v->locks->waiting; i++) {
        if (i < v->locks->held) {
            add(&d->held, &d->held_count, &d->held_cap, &v->locks->list[i]);
        } else {
            add(&d->waiting, &d->waiting_count, &d->waiting_cap, &v->locks->list[i]);
        }
    }
}

static void desk_close(struct desk *d, struct model_version *v)
{
    uint64_t count = d->held_count + d->waiting_count;

    for (uint64_t i = 0; i < d->held_count; i++) { /* what all this is for */
        for (uint64_t k = 0; k < i; k++) {
            CHECK(!model_lock_conflict(&d->held[i], &d->held[k]));
        }
    }
    model_locks_unref(v->locks);
    v->locks = NULL;
    if (count > 0) {
        v->locks = mem_alloc(sizeof(*v->locks) + count * sizeof(struct model_lock));
        v->locks->refs = 1;
        v->locks->held = (uint32_t)d->held_count;
        v->locks->waiting = (uint32_t)d->waiting_count;
        if (d->held_count > 0) {
            memcpy(v->locks->list, d->held, d->held_count * sizeof(*d->held));
        }
        if (d->waiting_count > 0) {
            memcpy(v->locks->list + d->held_count, d->waiting,
                   d->waiting_count * sizeof(*d->waiting));
        }
    }
    mem_free(d->held);
    mem_free(d->waiting);
}

/* Takes the range out of what its owner holds; what is left on both sides keeps its grant. */
static void hold_cut(struct desk *d, const struct model_lock *range)
{
    for (uint64_t i = 0; i < d->held_count;) {
        struct model_lock h = d->held[i];

        if (!same_owner(&h, range) || !overlap(&h, range)) {
            i++;
            continue;
        }
        drop(d->held, &d->held_count, i);
        if (h.lock.start < range->lock.start) {
            struct model_lock left = h;

            left.lock.end = range->lock.start - 1;
            add(&d->held, &d->held_count, &d->held_cap, &left);
        }
        if (h.lock.end > range->lock.end) {
            struct model_lock right = h;

            right.lock.start = range->lock.end + 1;
            add(&d->held, &d->held_count, &d->held_cap, &right);
        }
        i = 0;
    }
}

/* Who holds an fcntl lock of the node does not wait for those that wait: it may be for that one. */
static bool in_the_way(const struct desk *d, const struct model_lock *l, uint64_t waiting_before)
{
    bool passes = false;

    for (uint64_t i = 0; i < d->held_count; i++) {
        if (model_lock_conflict(&d->held[i], l)) {
            return true;
        }
        passes = passes || (l->lock.kind == LOCK_KIND_POSIX && same_owner(&d->held[i], l));
    }
    for (uint64_t i = 0; i < waiting_before && !passes; i++) {
        if (model_lock_conflict(&d->waiting[i], l)) {
            return true;
        }
    }
    return false;
}

static void grant(struct model *m, struct desk *d, struct model_lock l, struct model_version *v)
{
    hold_cut(d, &l);
    for (uint64_t i = d->held_count; i-- > 0;) {
        struct model_lock h = d->held[i];
        bool touches = (h.lock.end != UINT64_MAX && h.lock.end + 1 == l.lock.start) ||
                       (l.lock.end != UINT64_MAX && l.lock.end + 1 == h.lock.start);

        if (same_owner(&h, &l) && h.lock.type == l.lock.type && touches) { /* becomes one with it */
            l.lock.start = h.lock.start < l.lock.start ? h.lock.start : l.lock.start;
            l.lock.end = h.lock.end > l.lock.end ? h.lock.end : l.lock.end;
            drop(d->held, &d->held_count, i);
        }
    }
    l.index = m->index;
    v->fence = m->index;
    add(&d->held, &d->held_count, &d->held_cap, &l);
}

/* Whoever waits and can have it has it now. */
static void serve(struct model *m, struct model_effect *e, struct model_node *n, struct desk *d)
{
    for (uint64_t i = 0; i < d->waiting_count;) {
        struct model_lock l = d->waiting[i];

        if (in_the_way(d, &l, i)) {
            i++;
            continue;
        }
        drop(d->waiting, &d->waiting_count, i);
        grant(m, d, l, model_version_make(m, n));
        e->grants = model_grow(e->grants, e->grant_count, &e->grant_cap, sizeof(*e->grants));
        e->grants[e->grant_count++] =
            (struct model_grant){l.session, n->id, l.lock.owner, l.lock.kind};
        i = 0;
    }
}

static int request_wrong(const struct lock *l)
{
    if (l->kind == LOCK_KIND_NONE || l->start > l->end) {
        return ERR_INVAL;
    }
    return l->kind == LOCK_KIND_FLOCK && (l->start != 0 || l->end != UINT64_MAX) ? ERR_INVAL : 0;
}

/* The grant of what is asked for, if it is held already. */
static const struct model_lock *is_held(const struct desk *d, const struct model_lock *l)
{
    for (uint64_t i = 0; i < d->held_count; i++) {
        const struct model_lock *h = &d->held[i];

        if (same_owner(h, l) && h->lock.type == l->lock.type && h->lock.start <= l->lock.start &&
            h->lock.end >= l->lock.end) {
            return h;
        }
    }
    return NULL;
}

static bool goes_on_waiting(const struct desk *d, const struct model_lock *l)
{
    for (uint64_t i = 0; i < d->waiting_count; i++) {
        const struct model_lock *w = &d->waiting[i];

        if (same_owner(w, l) && w->lock.type == l->lock.type && w->lock.start == l->lock.start &&
            w->lock.end == l->lock.end) {
            return true;
        }
    }
    return false;
}

static void questions_back(struct desk *d, const struct model_lock *l)
{
    for (uint64_t i = 0; i < d->waiting_count;) {
        if (same_owner(&d->waiting[i], l)) {
            drop(d->waiting, &d->waiting_count, i);
        } else {
            i++;
        }
    }
}

static int ask(struct model *m, struct model_effect *e, struct model_node *n, struct desk *d,
               const struct model_lock *l)
{
    const struct model_lock *held = is_held(d, l);
    bool wait = e->txn->request.u.lock.wait;

    if (held != NULL) {
        e->reply.u.lock.granted = true;
        e->reply.u.lock.fence = held->index;
        questions_back(d, l);
        serve(m, e, n, d);
        return 0;
    }
    if (in_the_way(d, l, d->waiting_count)) {
        if (!wait) {
            return ERR_WOULD_BLOCK;
        }
        if (goes_on_waiting(d, l)) {
            return 0;
        }
        questions_back(d, l);
        if (l->lock.kind == LOCK_KIND_FLOCK) {
            hold_cut(d, l);
        }
        add(&d->waiting, &d->waiting_count, &d->waiting_cap, l);
        serve(m, e, n, d);
        return 0;
    }
    questions_back(d, l);
    grant(m, d, *l, model_version_make(m, n));
    serve(m, e, n, d);
    e->reply.u.lock.granted = true;
    e->reply.u.lock.fence = m->index;
    return 0;
}

int model_op_lock(struct model *m, struct model_effect *e)
{
    const struct request *r = &e->txn->request;
    struct model_lock l = {.session = e->txn->session, .lock = r->u.lock.lock, .index = m->index};
    struct model_node *n;
    struct desk d;
    int err = model_file(m, r->u.lock.id, &n);

    err = err != 0 ? err : request_wrong(&l.lock);
    if (err != 0) {
        return err;
    }
    desk_open(&d, model_version_now(n));
    if (l.lock.type == LOCK_TYPE_NONE) {
        questions_back(&d, &l);
        hold_cut(&d, &l);
        serve(m, e, n, &d);
    } else {
        err = ask(m, e, n, &d, &l);
    }
    desk_close(&d, model_version_make(m, n));
    return err;
}

void model_locks_end(struct model *m, struct model_effect *e, struct model_node *n,
                     uint64_t session)
{
    struct desk d;

    desk_open(&d, model_version_now(n));
    for (uint64_t i = d.held_count; i-- > 0;) {
        if (d.held[i].session == session) {
            drop(d.held, &d.held_count, i);
        }
    }
    for (uint64_t i = d.waiting_count; i-- > 0;) {
        if (d.waiting[i].session == session) {
            drop(d.waiting, &d.waiting_count, i);
        }
    }
    serve(m, e, n, &d);
    desk_close(&d, model_version_make(m, n));
}
