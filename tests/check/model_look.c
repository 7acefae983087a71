#include "model_int.h"

#include <string.h>

#include "err.h"

/* What is shown of locks. Of several that are in the way of one, any may be named, and what is held
 * comes in any order; what waits comes in the order in which it waits. */

static const struct model_version *version_of(const struct model *m, uint64_t id, uint64_t index)
{
    const struct model_node *n = model_node(m, id);

    return n != NULL ? model_version_at(n, index) : NULL;
}

static bool shows(const struct lock_entry *e, uint64_t node, const struct model_lock *l,
                  bool waiting)
{
    return e->node == node && e->session == l->session && e->index == l->index &&
           e->waiting == waiting && e->lock.kind == l->lock.kind && e->lock.type == l->lock.type &&
           e->lock.owner == l->lock.owner && e->lock.start == l->lock.start &&
           e->lock.end == l->lock.end && e->lock.pid == l->lock.pid;
}

/* --- LOCK_TEST ------------------------------------------------------------------------------- */

static const char *test_wrong(const struct model *m, uint64_t session, const struct request *q,
                              const struct reply *got)
{
    const struct model_version *v = version_of(m, q->u.lock_test.id, got->index);
    struct model_lock l = {.session = session, .lock = q->u.lock_test.lock};
    uint32_t count = v != NULL && v->locks != NULL ? v->locks->held + v->locks->waiting : 0;
    bool in_the_way = false;

    if (v == NULL || v->attr.type == NODE_DIR) {
        return got->err != 0 ? NULL : "of what has no locks";
    }
    if (got->err != 0) {
        return got->err == ERR_INVAL ? NULL : "an error";
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct model_lock *other = &v->locks->list[i];
        bool waiting = i >= v->locks->held;

        if (!model_lock_conflict(other, &l)) {
            continue;
        }
        in_the_way = in_the_way || !waiting;
        if (got->u.lock_test.found &&
            shows(&got->u.lock_test.entry, q->u.lock_test.id, other, waiting)) {
            return NULL;
        }
    }
    if (l.lock.kind == LOCK_KIND_FLOCK && (l.lock.start != 0 || l.lock.end != UINT64_MAX)) {
        return NULL; /* nobody can have such a one */
    }
    if (got->u.lock_test.found) {
        return "a lock is shown that is not in the way";
    }
    return in_the_way ? "a lock is in the way" : NULL;
}

/* --- LOCKS ----------------------------------------------------------------------------------- */

static bool is_shown(const struct lock_entry *list, uint32_t count, uint64_t node,
                     const struct model_lock *l)
{
    for (uint32_t i = 0; i < count; i++) {
        if (shows(&list[i], node, l, false)) {
            return true;
        }
    }
    return false;
}

/* Each kind has a queue of its own. */
static bool queue_shown(const struct lock_entry *list, uint64_t id, const struct model_locks *l,
                        enum lock_kind kind)
{
    uint32_t end = l->held + l->waiting;
    uint32_t k = l->held;

    for (uint32_t i = l->held; i < end; i++) {
        if (l->list[i].lock.kind != kind) {
            continue;
        }
        while (k < end && list[k].lock.kind != kind) {
            k++;
        }
        if (k == end || !shows(&list[k++], id, &l->list[i], true)) {
            return false;
        }
    }
    return true;
}

/* The locks of one node, which begin at `list`; *at moves on behind them. */
static const char *node_wrong(const struct model *m, uint64_t id, const struct reply *got,
                              uint32_t *at)
{
    const struct model_locks *l = version_of(m, id, got->index)->locks;
    const struct lock_entry *list = got->u.locks.list + *at;

    if (got->u.locks.count - *at < l->held + l->waiting) {
        return "locks are missing";
    }
    for (uint32_t i = 0; i < l->held; i++) {
        if (!is_shown(list, l->held, id, &l->list[i])) {
            return "a lock that is held is missing";
        }
    }
    if (!queue_shown(list, id, l, LOCK_KIND_FLOCK) || !queue_shown(list, id, l, LOCK_KIND_POSIX)) {
        return "another queue";
    }
    *at += l->held + l->waiting;
    return NULL;
}

static const char *list_wrong(const struct model *m, const struct request *q,
                              const struct reply *got)
{
    uint64_t after = q->u.locks.id == 0 ? q->u.locks.after : 0;
    const char *wrong = NULL;
    uint32_t at = 0;

    if (got->err != 0) {
        return NULL; /* of a node that is not there, or has none */
    }
    while (wrong == NULL) {
        uint64_t next = UINT64_MAX;
        const struct model_node *n, *temp;

        HASH_ITER (hh, m->nodes, n, temp) {
            const struct model_version *v = model_version_at(n, got->index);

            if (v != NULL && v->locks != NULL && n->id > after && n->id < next &&
                (q->u.locks.id == 0 || q->u.locks.id == n->id)) {
                next = n->id;
            }
        }
        if (next == UINT64_MAX || (!got->u.locks.end && at == got->u.locks.count)) {
            break;
        }
        wrong = node_wrong(m, next, got, &at);
        after = next;
    }
    return wrong == NULL && at != got->u.locks.count ? "locks that nobody has" : wrong;
}

const char *model_locks_wrong(const struct model *m, uint64_t session, const struct request *q,
                              const struct reply *got)
{
    return q->op == OP_LOCKS ? list_wrong(m, q, got) : test_wrong(m, session, q, got);
}
