#include <stdlib.h>
#include <string.h>

#include "prng.h"
#include "wgl.h"

/* One search. Calls that never returned are not in the list's way: nothing waits for them. Of two
 * that ask for the same the one called first is taken first, since it can do all the other can. */

/* --- values ---------------------------------------------------------------------------------- */

/* Modulo the prime 2^61 - 1, so that the hash of two texts one behind the other follows from their
 * own. */
static uint64_t times(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    uint64_t sum = (uint64_t)(product & ((1ULL << 61) - 1)) + (uint64_t)(product >> 61);

    return sum >= (1ULL << 61) - 1 ? sum - ((1ULL << 61) - 1) : sum;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    uint64_t sum = a + b;

    return sum >= (1ULL << 61) - 1 ? sum - ((1ULL << 61) - 1) : sum;
}

struct wgl_value wgl_value_of(const char *bytes, uint32_t size)
{
    static const uint64_t base = 0x1a2b3c4d5e6f7081ULL >> 4;
    struct wgl_value v = {0, 1};

    for (uint32_t i = 0; i < size; i++) {
        v.hash = plus(times(v.hash, base), (uint64_t)(uint8_t)bytes[i] + 1);
        v.shift = times(v.shift, base);
    }
    return v;
}

/* --- the state of a path --------------------------------------------------------------------- */

enum { ABSENT = 0, ABSENT_OR_EMPTY = 1, VALUE = 2 };

struct state {
    uint64_t kind;
    uint64_t hash; /* of the value; that of an empty one is 0 */
};

static bool step(struct state *s, const struct wgl_op *op)
{
    bool there = s->kind != ABSENT;
    bool gone = s->kind != VALUE;

    switch (op->what) {
    case WGL_WRITE:
        *s = there ? (struct state){VALUE, op->value.hash} : *s;
        return there;
    case WGL_APPEND:
        if (there) {
            *s = (struct state){VALUE, plus(times(s->hash, op->value.shift), op->value.hash)};
        }
        return there;
    case WGL_READ:
        there = there && s->hash == op->value.hash;
        s->kind = there ? VALUE : s->kind;
        return there;
    case WGL_MAKE:
        *s = gone ? (struct state){VALUE, 0} : *s;
        return gone;
    case WGL_DELETE:
        *s = there ? (struct state){ABSENT, 0} : *s;
        return there;
    case WGL_THERE:
        s->kind = there ? VALUE : s->kind;
        return there;
    default:
        s->kind = gone ? ABSENT : s->kind;
        return gone;
    }
}

/* --- the list -------------------------------------------------------------------------------- */

struct node { /* a call, or a return */
    struct node *prev, *next;
    struct node *match; /* of a call: its return; NULL for a return, and where there is none */
    uint64_t op;
    bool is_return;
    uint64_t ns;
};

static int compare_nodes(const void *a, const void *b)
{
    const struct node *x = a;
    const struct node *y = b;

    if (x->ns != y->ns) {
        return x->ns < y->ns ? -1 : 1;
    }
    if (x->is_return != y->is_return) {
        return x->is_return ? 1 : -1;
    }
    return x->op < y->op ? -1 : x->op > y->op;
}

static void lift(struct node *n)
{
    n->prev->next = n->next;
    if (n->next != NULL) {
        n->next->prev = n->prev;
    }
}

static void unlift(struct node *n)
{
    n->prev->next = n;
    if (n->next != NULL) {
        n->next->prev = n;
    }
}

/* --- configurations met ---------------------------------------------------------------------- */

struct seen { /* open addressing over 128-bit fingerprints; lo 0 is an empty place */
    struct hash128 *slots;
    uint64_t count, cap;
};

static void seen_put(struct seen *s, struct hash128 key)
{
    uint64_t at = key.lo & (s->cap - 1);

    while (s->slots[at].lo != 0) {
        at = (at + 1) & (s->cap - 1);
    }
    s->slots[at] = key;
}

/* False if it was there. */
static bool seen_add(struct seen *s, struct hash128 key)
{
    key.lo = key.lo != 0 ? key.lo : 1;
    for (uint64_t at = key.lo & (s->cap - 1); s->slots[at].lo != 0; at = (at + 1) & (s->cap - 1)) {
        if (hash128_equal(s->slots[at], key)) {
            return false;
        }
    }
    if (2 * ++s->count > s->cap) {
        struct seen old = *s;

        s->cap *= 2;
        s->slots = mem_zalloc(s->cap * sizeof(*s->slots));
        for (uint64_t i = 0; i < old.cap; i++) {
            if (old.slots[i].lo != 0) {
                seen_put(s, old.slots[i]);
            }
        }
        mem_free(old.slots);
    }
    seen_put(s, key);
    return true;
}

/* --- the search ------------------------------------------------------------------------------ */

struct taken {
    struct node *call;
    struct state before;
};

struct search {
    struct wgl_op *ops;
    struct node *nodes;
    struct node head;
    struct hash128 *keys; /* random, of each call: their sum stands for the set */
    struct hash128 set;
    struct state state;
    struct taken *stack;
    uint64_t depth;
    uint64_t unfinished; /* returns in the list */
    struct seen seen;
};

static struct hash128 fingerprint(struct hash128 set, struct state s)
{
    uint64_t words[4] = {set.lo, set.hi, s.kind, s.hash};

    return hash128(words, sizeof(words));
}

/* Takes a call out if that leads to where nobody was. */
static bool take(struct search *s, struct node *call)
{
    const struct wgl_op *op = &s->ops[call->op];
    struct state after = s->state;
    struct hash128 set = {s->set.lo ^ s->keys[call->op].lo, s->set.hi ^ s->keys[call->op].hi};

    if (!step(&after, op) || !seen_add(&s->seen, fingerprint(set, after))) {
        return false;
    }
    s->stack[s->depth++] = (struct taken){call, s->state};
    s->state = after;
    s->set = set;
    lift(call);
    if (call->match != NULL) {
        lift(call->match);
        s->unfinished--;
    }
    return true;
}

static struct node *put_back(struct search *s)
{
    struct taken t = s->stack[--s->depth];

    if (t.call->match != NULL) {
        unlift(t.call->match);
        s->unfinished++;
    }
    unlift(t.call);
    s->state = t.before;
    s->set.lo ^= s->keys[t.call->op].lo;
    s->set.hi ^= s->keys[t.call->op].hi;
    return t.call->next;
}

/* An open call that asks for what an earlier open one does, too, need not be tried before it. */
static bool is_second(const struct search *s, const struct node *call)
{
    const struct wgl_op *op = &s->ops[call->op];

    if (op->ret_ns != HISTORY_NEVER) {
        return false;
    }
    for (const struct node *n = s->head.next; n != call; n = n->next) {
        const struct wgl_op *other = &s->ops[n->op];

        if (!n->is_return && other->ret_ns == HISTORY_NEVER && other->what == op->what &&
            other->value.hash == op->value.hash) {
            return true;
        }
    }
    return false;
}

static enum wgl_verdict run(struct search *s, uint64_t steps_max, uint64_t *ret_steps,
                            const struct wgl_op **ret_stuck)
{
    struct node *at = s->head.next;
    uint64_t furthest = 0, steps = 0;

    *ret_stuck = NULL;
    while (s->unfinished > 0) {
        *ret_steps = ++steps;
        if (steps > steps_max) {
            return WGL_UNKNOWN;
        }
        if (!at->is_return) {
            bool taken = !is_second(s, at) && take(s, at);

            at = taken ? s->head.next : at->next;
            continue;
        }
        if (*ret_stuck == NULL || s->depth > furthest) {
            furthest = s->depth;
            *ret_stuck = &s->ops[at->op];
        }
        if (s->depth == 0) {
            return WGL_ANOMALY;
        }
        at = put_back(s);
    }
    return WGL_OK;
}

static void list_make(struct search *s, uint64_t count)
{
    struct node **matches = mem_zalloc((count + 1) * sizeof(struct node *));
    struct node *last = &s->head;
    uint64_t used = 0;

    for (uint64_t i = 0; i < count; i++) {
        s->nodes[used++] = (struct node){.op = i, .ns = s->ops[i].call_ns};
        if (s->ops[i].ret_ns != HISTORY_NEVER) {
            s->nodes[used++] = (struct node){.op = i, .ns = s->ops[i].ret_ns, .is_return = true};
            s->unfinished++;
        }
    }
    qsort(s->nodes, used, sizeof(*s->nodes), compare_nodes);
    for (uint64_t i = 0; i < used; i++) {
        struct node *n = &s->nodes[i];

        n->prev = last;
        last->next = n;
        last = n;
        if (n->is_return) {
            matches[n->op]->match = n;
        } else {
            matches[n->op] = n;
        }
    }
    mem_free(matches);
}

enum wgl_verdict wgl_search(struct wgl_op *ops, uint64_t count, uint64_t steps_max,
                            uint64_t *ret_steps, const struct wgl_op **ret_stuck)
{
    struct search s = {.ops = ops, .state = {ABSENT_OR_EMPTY, 0}};
    struct prng prng = {count};
    enum wgl_verdict verdict;

    s.nodes = mem_alloc((2 * count + 1) * sizeof(*s.nodes));
    s.keys = mem_alloc((count + 1) * sizeof(*s.keys));
    s.stack = mem_alloc((count + 1) * sizeof(*s.stack));
    s.seen.cap = 1024;
    s.seen.slots = mem_zalloc(s.seen.cap * sizeof(*s.seen.slots));
    for (uint64_t i = 0; i < count; i++) {
        s.keys[i] = (struct hash128){prng_next(&prng), prng_next(&prng)};
    }
    list_make(&s, count);
    *ret_steps = 0;
    verdict = run(&s, steps_max, ret_steps, ret_stuck);
    mem_free(s.nodes);
    mem_free(s.keys);
    mem_free(s.stack);
    mem_free(s.seen.slots);
    return verdict;
}
