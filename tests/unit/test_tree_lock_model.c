#include "test_tree_lock_help.h"

/* Random questions for locks against a model that knows bytes and a list, and nothing of ranges. */

enum { BYTES = 12, OWNERS = 6, QUEUE_MAX = 64 };

struct question {
    int owner; /* the first three are of one session, the others of another */
    enum lock_type type;
    int start, end;
};

struct model { /* one kind of lock on one file */
    bool is_flock;
    enum lock_type held[OWNERS][BYTES];
    struct question queue[QUEUE_MAX];
    int waiting;
    int granted[QUEUE_MAX];
    int granted_count;
};

static bool model_holds(const struct model *m, int owner)
{
    for (int b = 0; b < BYTES; b++) {
        if (m->held[owner][b] != NO) {
            return true;
        }
    }
    return false;
}

static bool model_blocked(const struct model *m, const struct question *q, int before)
{
    bool passes = !m->is_flock && model_holds(m, q->owner);

    for (int o = 0; o < OWNERS; o++) {
        for (int b = q->start; b <= q->end && o != q->owner; b++) {
            if (m->held[o][b] != NO && (m->held[o][b] == EX || q->type == EX)) {
                return true;
            }
        }
    }
    for (int i = 0; i < before && !passes; i++) {
        const struct question *e = &m->queue[i];

        if (e->owner != q->owner && e->start <= q->end && q->start <= e->end &&
            (e->type == EX || q->type == EX)) {
            return true;
        }
    }
    return false;
}

static void model_put(struct model *m, int owner, int start, int end, enum lock_type type)
{
    for (int b = start; b <= end; b++) {
        m->held[owner][b] = type;
    }
}

static void model_unqueue(struct model *m, int at)
{
    m->waiting--;
    memmove(&m->queue[at], &m->queue[at + 1], (size_t)(m->waiting - at) * sizeof(m->queue[0]));
}

static int model_question(const struct model *m, int owner) /* -1: none */
{
    for (int i = 0; i < m->waiting; i++) {
        if (m->queue[i].owner == owner) {
            return i;
        }
    }
    return -1;
}

static void model_serve(struct model *m)
{
    for (int i = 0; i < m->waiting; i++) {
        struct question q = m->queue[i];

        if (!model_blocked(m, &q, i)) {
            model_unqueue(m, i);
            model_put(m, q.owner, q.start, q.end, q.type);
            m->granted[m->granted_count++] = q.owner;
            i = -1;
        }
    }
}

/* 1: granted, 0: waits or was a release, else the error. */
static int model_ask(struct model *m, const struct question *q, bool wait)
{
    int at = model_question(m, q->owner);
    bool has = q->type != NO;
    bool blocked = q->type != NO && model_blocked(m, q, m->waiting);

    m->granted_count = 0;
    for (int b = q->start; b <= q->end; b++) {
        has = has && m->held[q->owner][b] == q->type;
    }
    if (blocked && !has && !wait) {
        return ERR_WOULD_BLOCK;
    }
    if (!has && at >= 0 && m->queue[at].type == q->type && m->queue[at].start == q->start &&
        m->queue[at].end == q->end) {
        return 0;
    }
    if (at >= 0) {
        model_unqueue(m, at);
    }
    if (!blocked && !has) {
        model_put(m, q->owner, q->start, q->end, q->type);
    } else if (blocked && !has) {
        if (m->is_flock) {
            model_put(m, q->owner, q->start, q->end, NO);
        }
        m->queue[m->waiting++] = *q;
    }
    model_serve(m);
    return q->type != NO && (has || !blocked) ? 1 : 0;
}

static void model_end(struct model *m, int first_owner)
{
    m->granted_count = 0;
    for (int o = first_owner; o < first_owner + 3; o++) {
        int at = model_question(m, o);

        model_put(m, o, 0, BYTES - 1, NO);
        if (at >= 0) {
            model_unqueue(m, at);
        }
    }
    model_serve(m);
}

struct seen {
    struct model m; /* what the tree says, in the model's terms */
};

static void see(void *ctx, const struct lock_entry *e)
{
    struct model *m = &((struct seen *)ctx)->m;
    int owner = (int)e->lock.owner;
    int end = e->lock.end == UINT64_MAX ? BYTES - 1 : (int)e->lock.end;

    if ((e->lock.kind == LOCK_KIND_FLOCK) != m->is_flock) {
        return;
    }
    if (e->waiting) {
        m->queue[m->waiting++] = (struct question){owner, e->lock.type, (int)e->lock.start, end};
    } else {
        model_put(m, owner, (int)e->lock.start, end, e->lock.type);
    }
}

static void model_compare(const struct world *w, uint64_t id, const struct model *m)
{
    struct seen s = {.m = {.is_flock = m->is_flock}};

    tree_node_locks(tree_node(w->tree, id), see, &s);
    cr_assert_eq(memcmp(s.m.held, m->held, sizeof(m->held)), 0);
    cr_assert_eq(s.m.waiting, m->waiting);
    for (int i = 0; i < m->waiting; i++) {
        cr_assert_eq(s.m.queue[i].owner, m->queue[i].owner);
        cr_assert_eq(s.m.queue[i].type, m->queue[i].type);
        cr_assert_eq(s.m.queue[i].start, m->queue[i].start);
        cr_assert_eq(s.m.queue[i].end, m->queue[i].end);
    }
}

static struct question random_question(struct prng *p, bool is_flock)
{
    struct question q = {.owner = (int)prng_below(p, OWNERS), .end = BYTES - 1};

    q.type = (enum lock_type)prng_below(p, 3);
    if (!is_flock) {
        q.start = (int)prng_below(p, BYTES);
        q.end = q.start + (int)prng_below(p, (uint64_t)(BYTES - q.start));
    }
    return q;
}

static void random_step(struct world *w, struct prng *p, uint64_t id, uint64_t sessions[2],
                        struct model *m)
{
    struct question q = random_question(p, m->is_flock);
    bool wait = prng_below(p, 3) > 0;
    struct lock lock = m->is_flock ? flock_of(q.type, (uint64_t)q.owner)
                                   : range_of(q.type, (uint64_t)q.owner, (uint64_t)q.start,
                                              q.end == BYTES - 1 ? UINT64_MAX : (uint64_t)q.end);
    int expected = model_ask(m, &q, wait);
    int err = ask(w, sessions[q.owner / 3], id, lock, wait);

    cr_assert_eq(err != 0 ? err : w->last.reply.u.lock.granted ? 1 : 0, expected);
}

static void compare_grants(const struct world *w, const struct model *m)
{
    cr_assert_eq(w->last.grant_count, (uint32_t)m->granted_count);
    for (int i = 0; i < m->granted_count; i++) {
        cr_assert_eq(w->last.grants[i].owner, (uint64_t)m->granted[i]);
    }
}

static void random_run(bool is_flock, uint64_t seed)
{
    struct world w = world_new();
    struct model m = {.is_flock = is_flock};
    struct prng p = {seed};
    uint64_t f = make_file(&w, "f");
    uint64_t sessions[2] = {world_open(&w, 2), world_open(&w, 3)};
    int waited = 0, granted_later = 0;

    for (int i = 0; i < 20000; i++) {
        if (prng_below(&p, 100) == 0) {
            int which = (int)prng_below(&p, 2);

            model_end(&m, 3 * which);
            cr_assert_eq(close_session(&w, sessions[which]), 0);
            compare_grants(&w, &m);
            sessions[which] = world_open(&w, (uint8_t)(2 + which));
        } else {
            random_step(&w, &p, f, sessions, &m);
            compare_grants(&w, &m);
        }
        waited += m.waiting > 0;
        granted_later += m.granted_count;
        model_compare(&w, f, &m);
        if (i % 20 == 0) {
            audit(&w);
        }
        if (i % 500 == 0) {
            world_reload(&w);
        }
    }
    cr_assert_gt(waited, 5000, "%d", waited);
    cr_assert_gt(granted_later, 300, "%d", granted_later);
    world_done(&w);
}

Test(tree_lock_model, flock_agrees_with_a_naive_model)
{
    random_run(true, 3);
}

Test(tree_lock_model, fcntl_agrees_with_a_naive_model)
{
    random_run(false, 4);
}
