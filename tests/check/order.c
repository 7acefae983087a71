#include "order_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The rules, in order of time; then those of names and numbers. */

/* --- in order of time ------------------------------------------------------------------------ */

static struct order_seen *seen_of(struct order *o, const struct history_op *op, bool mount)
{
    uint64_t key = mount ? (uint64_t)1 << 63 | (uint64_t)op->mount << 1 | op->linear : op->proc;
    struct order_seen *s;

    HASH_FIND(hh, o->seen, &key, sizeof(key), s);
    if (s == NULL) {
        s = mem_zalloc(sizeof(*s));
        s->key = key;
        HASH_ADD(hh, o->seen, key, sizeof(s->key), s);
    }
    return s;
}

static void on_call(struct order *o, uint64_t i, uint64_t seen_max)
{
    const struct history_op *op = &o->h->ops[i];
    struct order_call *c = &o->calls[i];
    uint64_t proc = seen_of(o, op, false)->index;
    uint64_t mount = seen_of(o, op, true)->index;

    c->floor = seen_max;
    c->from = op->linear ? seen_max : proc > mount ? proc : mount;
    if (c->index != NO_INDEX && c->index <= c->floor) {
        order_finding(o, "order", op, "its entry is not above what was visible before it", c->index,
                      c->floor);
    }
}

/* A write to a file that was removed meanwhile goes with the file. */
static void judge_lost(struct order *o, uint64_t i, uint64_t to)
{
    const struct history_op *op = &o->h->ops[i];
    const struct order_place *p = &o->places[op->path];

    if ((op->kind == HISTORY_WRITE || op->kind == HISTORY_APPEND) &&
        o->calls[i].index == NO_INDEX && order_absent_at(p, o->calls[i].from, to) == UINT64_MAX) {
        order_finding(o, "lost", op, "it is not in the log", o->calls[i].from, to);
    }
}

/* The lowest index that the answer shows; UINT64_MAX: none of its interval. */
static uint64_t judge_answer(struct order *o, uint64_t i, uint64_t to)
{
    const struct history_op *op = &o->h->ops[i];
    const struct order_place *p = &o->places[op->path];
    uint64_t from = o->calls[i].from;

    if (op->absent) {
        return order_absent_at(p, from, to);
    }
    if (op->exists) {
        return order_present_at(p, from, to);
    }
    if (op->kind == HISTORY_READ && op->outcome == HISTORY_DONE) {
        return order_value_at(p, op->result, op->result_size, from, to);
    }
    return from;
}

static uint64_t judge_list(struct order *o, uint64_t i, uint64_t to)
{
    const struct history_op *op = &o->h->ops[i];
    uint64_t index = o->calls[i].from;
    bool at_once = false;
    const char *wrong = order_list_wrong(o, op->path, op, o->calls[i].from, to, &index, &at_once);

    if (wrong != NULL) {
        order_finding(o, "read", op, wrong, o->calls[i].from, to);
    }
    o->n->lists_at_once += at_once;
    return index;
}

/* The first removal at the path above `from`: a delete that was acknowledged is no earlier. */
static uint64_t first_removal(const struct order_place *p, uint64_t from, uint64_t to)
{
    for (uint64_t k = 0; k < p->life_count; k++) {
        if (p->lives[k]->to > from) {
            return p->lives[k]->to <= to ? p->lives[k]->to : from;
        }
    }
    return from;
}

/* Returns the highest index that the answer certainly shows. */
static uint64_t on_return(struct order *o, uint64_t i)
{
    const struct history_op *op = &o->h->ops[i];
    struct order_call *c = &o->calls[i];
    uint64_t to = order_asked_before(o, op->ret_ns);
    uint64_t index;

    if (op->outcome == HISTORY_UNKNOWN) {
        return 0;
    }
    if (op->outcome == HISTORY_DONE && op->kind == HISTORY_SYNC) {
        return c->floor;
    }
    if (op->outcome == HISTORY_DONE && c->index != NO_INDEX) {
        return c->index;
    }
    if (op->outcome == HISTORY_DONE && op->kind == HISTORY_DELETE) {
        return first_removal(&o->places[op->path], c->floor, to);
    }
    if (op->outcome == HISTORY_DONE && op->kind == HISTORY_LIST) {
        return judge_list(o, i, to);
    }
    if (op->outcome == HISTORY_DONE) {
        judge_lost(o, i, to);
    }
    index = judge_answer(o, i, to);
    if (index == UINT64_MAX) {
        order_finding(o, "read", op, "not so at any index of its interval", c->from, to);
        return 0;
    }
    return index;
}

struct moment {
    uint64_t ns;
    uint64_t op;
    bool is_return;
};

/* Calls before returns of the same moment: nothing is said of their order then. */
static int compare_moments(const void *a, const void *b)
{
    const struct moment *x = a;
    const struct moment *y = b;

    if (x->ns != y->ns) {
        return x->ns < y->ns ? -1 : 1;
    }
    if (x->is_return != y->is_return) {
        return x->is_return ? 1 : -1;
    }
    return x->op < y->op ? -1 : x->op > y->op;
}

static void raise(struct order_seen *s, uint64_t index)
{
    s->index = index > s->index ? index : s->index;
}

static void sweep(struct order *o)
{
    struct moment *moments = mem_alloc((2 * o->h->count + 1) * sizeof(*moments));
    uint64_t count = 0, seen_max = 0;

    for (uint64_t i = 0; i < o->h->count; i++) {
        const struct history_op *op = &o->h->ops[i];

        moments[count++] = (struct moment){op->call_ns, i, false};
        if (op->ret_ns != HISTORY_NEVER) {
            moments[count++] = (struct moment){op->ret_ns, i, true};
        }
    }
    qsort(moments, count, sizeof(*moments), compare_moments);
    for (uint64_t k = 0; k < count; k++) {
        uint64_t i = moments[k].op;
        uint64_t shown;

        if (!moments[k].is_return) {
            on_call(o, i, seen_max);
            continue;
        }
        shown = on_return(o, i);
        raise(seen_of(o, &o->h->ops[i], false), shown);
        raise(seen_of(o, &o->h->ops[i], true), shown);
        seen_max = shown > seen_max ? shown : seen_max;
    }
    mem_free(moments);
}

/* --- names made and removed ------------------------------------------------------------------ */

struct bundle { /* of one path */
    struct order_span *deletes, *makers;
    uint64_t delete_count, delete_cap, maker_count, maker_cap;
    bool excl;
};

static void bundle_add(struct order *o, struct bundle *b, uint64_t i)
{
    const struct history_op *op = &o->h->ops[i];
    uint64_t to =
        op->outcome == HISTORY_UNKNOWN ? o->ledger->count : order_asked_before(o, op->ret_ns);
    struct order_span s = {o->calls[i].floor, to, op, false};
    bool open = op->outcome == HISTORY_UNKNOWN ||
                (op->outcome == HISTORY_DONE && o->calls[i].index == NO_INDEX);

    if (op->kind == HISTORY_DELETE && op->outcome != HISTORY_REFUSED) {
        s.needed = op->outcome == HISTORY_DONE;
        b->deletes = model_grow(b->deletes, b->delete_count, &b->delete_cap, sizeof(s));
        b->deletes[b->delete_count++] = s;
    } else if (op->kind == HISTORY_WRITE || (op->kind == HISTORY_EXCL && open)) {
        b->makers = model_grow(b->makers, b->maker_count, &b->maker_cap, sizeof(s));
        b->makers[b->maker_count++] = s;
    }
    b->excl = b->excl || op->kind == HISTORY_EXCL;
}

static void judge_bundle(struct order *o, uint32_t path, struct bundle *b)
{
    const struct order_place *p = &o->places[path];
    uint64_t *points = mem_alloc((p->life_count + 1) * sizeof(*points));
    const struct order_span *left;
    uint64_t count = 0, alone;

    for (uint64_t k = 0; k < p->life_count; k++) {
        if (p->lives[k]->to != MODEL_ALIVE) {
            points[count++] = p->lives[k]->to;
        }
    }
    alone = order_match(points, count, b->deletes, b->delete_count, &left);
    if (left != NULL) {
        order_finding(o, "lost", left->op, "no entry is left that removed it", left->from,
                      left->to);
    }
    if (alone != UINT64_MAX) {
        findings_add(o->f, "A rule=nobody %s: no call can have removed it at entry %" PRIu64,
                     o->h->by_number[path]->text, alone);
    }
    count = 0;
    for (uint64_t k = 0; k < p->life_count && b->excl; k++) {
        if (o->owner[p->lives[k]->from] == 0) {
            points[count++] = p->lives[k]->from;
        }
    }
    alone = order_match(points, count, b->makers, b->maker_count, &left);
    if (alone != UINT64_MAX) {
        findings_add(o->f, "A rule=nobody %s: no call can have made it at entry %" PRIu64,
                     o->h->by_number[path]->text, alone);
    }
    mem_free(points);
}

static void judge_names(struct order *o)
{
    struct bundle *bundles = mem_zalloc((o->h->path_count + 1) * sizeof(*bundles));

    for (uint64_t i = 0; i < o->h->count; i++) {
        bundle_add(o, &bundles[o->h->ops[i].path], i);
    }
    for (uint32_t path = 0; path < o->h->path_count; path++) {
        if (o->places[path].resolved) {
            judge_bundle(o, path, &bundles[path]);
        }
        mem_free(bundles[path].deletes);
        mem_free(bundles[path].makers);
    }
    mem_free(bundles);
}

/* The number at the end of a name. */
static uint64_t number_of(struct name n)
{
    uint64_t number = 0, unit = 1;

    for (uint32_t i = n.size; i-- > 0 && n.bytes[i] >= '0' && n.bytes[i] <= '9' && unit != 0;) {
        number += unit * (uint64_t)(n.bytes[i] - '0');
        unit *= 10;
    }
    return number;
}

struct numbered {
    uint64_t dir, index, number, op;
};

static int compare_numbered(const void *a, const void *b)
{
    const struct numbered *x = a;
    const struct numbered *y = b;

    if (x->dir != y->dir) {
        return x->dir < y->dir ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

static void judge_numbers(struct order *o)
{
    struct numbered *all = mem_alloc((o->h->count + 1) * sizeof(*all));
    uint64_t count = 0;

    for (uint64_t i = 0; i < o->h->count; i++) {
        const struct history_op *op = &o->h->ops[i];

        if (op->kind == HISTORY_NUMBER && o->calls[i].index != NO_INDEX) {
            all[count++] =
                (struct numbered){o->places[op->path].dir, o->calls[i].index,
                                  number_of((struct name){op->result, op->result_size}), i};
        }
    }
    qsort(all, count, sizeof(*all), compare_numbered);
    for (uint64_t k = 1; k < count; k++) {
        if (all[k].dir == all[k - 1].dir && all[k].number <= all[k - 1].number) {
            order_finding(o, "numbers", &o->h->ops[all[k].op], "not above the one before",
                          all[k - 1].number, all[k].number);
        }
    }
    mem_free(all);
}

/* --- all ------------------------------------------------------------------------------------- */

static void count(struct order *o)
{
    for (uint64_t i = 0; i < o->h->count; i++) {
        const struct history_op *op = &o->h->ops[i];
        bool change =
            op->kind != HISTORY_READ && op->kind != HISTORY_LIST && op->kind != HISTORY_SYNC;

        o->n->ops++;
        o->n->writes += change;
        o->n->reads += op->kind == HISTORY_READ;
        o->n->lists += op->kind == HISTORY_LIST;
        o->n->syncs += op->kind == HISTORY_SYNC;
        o->n->refused += op->outcome == HISTORY_REFUSED;
        o->n->unknown += op->outcome == HISTORY_UNKNOWN;
        o->n->unknown_found += op->outcome == HISTORY_UNKNOWN && o->calls[i].index != NO_INDEX;
    }
    o->n->entries = o->ledger->count;
}

static const char *check_places(struct order *o)
{
    for (uint64_t i = 0; i < o->h->count; i++) {
        const struct history_op *op = &o->h->ops[i];

        if (op->kind != HISTORY_SYNC && !o->places[op->path].resolved) {
            snprintf(o->text, sizeof(o->text), "the directory of %s is not in the log",
                     o->h->by_number[op->path]->text);
            return o->text;
        }
    }
    return NULL;
}

static void order_done(struct order *o)
{
    struct order_token *t, *t_next;
    struct order_seen *s, *s_next;

    HASH_ITER (hh, o->tokens, t, t_next) {
        HASH_DEL(o->tokens, t);
        mem_free(t);
    }
    HASH_ITER (hh, o->seen, s, s_next) {
        HASH_DEL(o->seen, s);
        mem_free(s);
    }
    order_places_done(o);
    mem_free(o->calls);
    mem_free(o->asked_ns);
    mem_free(o->owner);
    model_free(o->model);
}

bool order_check(const struct history *h, const struct ledger *ledger, struct findings *f,
                 struct order_counts *ret)
{
    struct order o = {.h = h, .ledger = ledger, .f = f, .n = ret, .model = model_new()};
    const char *wrong = model_advance(o.model, ledger);

    *ret = (struct order_counts){0};
    o.places = mem_zalloc((h->path_count + 1) * sizeof(*o.places));
    o.dirs = mem_zalloc((h->path_count + 1) * sizeof(*o.dirs));
    o.dir_known = mem_zalloc((h->path_count + 1) * sizeof(*o.dir_known));
    o.calls = mem_zalloc((h->count + 1) * sizeof(*o.calls));
    o.asked_ns = mem_zalloc((ledger->count + 1) * sizeof(*o.asked_ns));
    o.owner = mem_zalloc((ledger->count + 1) * sizeof(*o.owner));
    for (uint32_t path = 0; path < h->path_count && wrong == NULL; path++) {
        order_place_find(&o, path);
    }
    wrong = wrong == NULL ? check_places(&o) : wrong;
    if (wrong == NULL) {
        order_entries_find(&o);
        sweep(&o);
        judge_names(&o);
        judge_numbers(&o);
        count(&o);
    } else {
        snprintf(ret->why_not, sizeof(ret->why_not), "%s", wrong);
    }
    order_done(&o);
    return ret->why_not[0] == '\0';
}
