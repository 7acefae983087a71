#include "order_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "wire.h"

/* Which entry each call is, and when each entry was asked for at the earliest. */

void order_finding(struct order *o, const char *rule, const struct history_op *op, const char *what,
                   uint64_t a, uint64_t b)
{
    char words[512];

    history_describe(o->h, op, words, sizeof(words));
    findings_add(o->f, "A rule=%s %s: %s (%" PRIu64 ", %" PRIu64 ")", rule, words, what, a, b);
}

/* --- tokens ---------------------------------------------------------------------------------- */

static struct order_token *token_find(const struct order *o, const char *bytes, uint32_t size)
{
    struct order_token *t;

    HASH_FIND(hh, o->tokens, bytes, size, t);
    return t;
}

static void token_note(struct order *o, const struct blob *value, uint64_t id, uint64_t index)
{
    struct order_token *t;

    if (value == NULL || value->size == 0) {
        return;
    }
    t = token_find(o, (const char *)value->data, value->size);
    if (t == NULL) {
        t = mem_zalloc(sizeof(*t) + value->size);
        t->index = index;
        t->id = id;
        t->size = value->size;
        memcpy(t->bytes, value->data, value->size);
        HASH_ADD(hh, o->tokens, bytes, t->size, t);
    }
    t->count++;
}

/* What was set or appended, with effect. */
static void tokens_note(struct order *o)
{
    for (uint64_t i = 1; i <= o->ledger->count; i++) {
        const struct ledger_entry *e = ledger_at(o->ledger, i);
        const struct model_change *change = model_change(o->model, i);
        struct txn txn;

        if (change == NULL || change->event_count == 0 ||
            wire_txn_decode(e->body->data, e->body->size, &txn) != 0) {
            continue;
        }
        o->n->changes++;
        if (txn.request.op == OP_SET) {
            token_note(o, txn.request.u.set.value, txn.request.u.set.id, i);
        } else if (txn.request.op == OP_APPEND) {
            token_note(o, txn.request.u.append.value, txn.request.u.append.id, i);
        }
        codec_request_done(&txn.request);
    }
}

/* --- which entry a call is ------------------------------------------------------------------- */

static void claim(struct order *o, uint64_t i, uint64_t index)
{
    const struct history_op *op = &o->h->ops[i];

    if (o->owner[index] != 0) {
        order_finding(o, "winner", op, "its entry was given to another call, too", index,
                      o->h->ops[o->owner[index] - 1].proc);
        return;
    }
    o->owner[index] = i + 1;
    o->calls[i].index = index;
    if (o->asked_ns[index] < op->call_ns) {
        o->asked_ns[index] = op->call_ns;
    }
}

static bool is_at(const struct model_life *l, const struct order_place *p)
{
    return l != NULL && l->dir == p->dir && l->name.size == p->name.size &&
           memcmp(l->name.bytes, p->name.bytes, p->name.size) == 0;
}

static void find_token(struct order *o, uint64_t i)
{
    const struct history_op *op = &o->h->ops[i];
    const struct order_place *p = &o->places[op->path];
    const struct order_token *t =
        op->has_result ? token_find(o, op->result, op->result_size) : NULL;
    const struct model_node *n = t != NULL ? model_node(o->model, t->id) : NULL;

    if (t == NULL) {
        return; /* looked at when its interval is known: the file may have been removed meanwhile */
    }
    if (op->outcome == HISTORY_REFUSED) {
        order_finding(o, "refused", op, "it is in the log", t->index, 0);
    }
    if (t->count > 1) {
        order_finding(o, "twice", op, "it is in the log more than once, first at", t->index,
                      t->count);
    }
    if (n == NULL || !is_at(model_life_at(n, t->index), p)) {
        order_finding(o, "lost", op, "it went to another file", t->index, t->id);
    }
    claim(o, i, t->index);
}

static void find_node(struct order *o, uint64_t i)
{
    const struct history_op *op = &o->h->ops[i];
    const struct order_place *p = &o->places[op->path];
    const struct model_node *n;
    const struct model_life *l = NULL;
    char text[24] = "";

    if (op->outcome != HISTORY_DONE || !op->has_result) {
        return;
    }
    if (op->kind == HISTORY_NUMBER) {
        l = model_place(o->model, p->dir, (struct name){op->result, op->result_size});
        if (l != NULL && l->older != NULL) {
            order_finding(o, "winner", op, "the name was made twice", l->older->from, l->from);
        }
    } else if (op->result_size < sizeof(text)) {
        memcpy(text, op->result, op->result_size);
        n = model_node(o->model, strtoull(text, NULL, 10));
        l = n != NULL && is_at(model_life_at(n, n->born), p) ? model_life_at(n, n->born) : NULL;
    }
    if (l == NULL) {
        order_finding(o, "lost", op, "no entry made it", 0, 0);
        return;
    }
    claim(o, i, l->from);
}

static void find_entries(struct order *o)
{
    for (uint64_t i = 0; i < o->h->count; i++) {
        switch (o->h->ops[i].kind) {
        case HISTORY_WRITE:
        case HISTORY_APPEND:
            find_token(o, i);
            break;
        case HISTORY_EXCL:
        case HISTORY_NUMBER:
            find_node(o, i);
            break;
        default:
            break;
        }
    }
}

/* --- when entries were asked for ------------------------------------------------------------- */

/* No entry was asked for before one below it. */
static void asked_spread(struct order *o)
{
    for (uint64_t i = 1; i <= o->ledger->count; i++) {
        if (o->asked_ns[i] < o->asked_ns[i - 1]) {
            o->asked_ns[i] = o->asked_ns[i - 1];
        }
    }
}

struct removal { /* a delete that may have had an effect */
    uint32_t path;
    uint64_t ret_ns;
    uint64_t call_ns; /* of it and of all behind it in the order, the first */
};

static int compare_removals(const void *a, const void *b)
{
    const struct removal *x = a;
    const struct removal *y = b;

    if (x->path != y->path) {
        return x->path < y->path ? -1 : 1;
    }
    return x->ret_ns < y->ret_ns ? -1 : x->ret_ns > y->ret_ns;
}

/* The first removal of the path that returned at `ns` or later. */
static const struct removal *removal_from(const struct removal *all, uint64_t count, uint32_t path,
                                          uint64_t ns)
{
    struct removal wanted = {.path = path, .ret_ns = ns};
    uint64_t low = 0, high = count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (compare_removals(&all[middle], &wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && all[low].path == path ? &all[low] : NULL;
}

/* Which delete an entry is, is not known. But it had not returned when the name was made, so the
 * entry was not asked for before the first call of those. */
static void asked_removals(struct order *o)
{
    struct removal *all = mem_alloc((o->h->count + 1) * sizeof(*all));
    uint64_t count = 0;

    for (uint64_t i = 0; i < o->h->count; i++) {
        const struct history_op *op = &o->h->ops[i];

        if (op->kind == HISTORY_DELETE && op->outcome != HISTORY_REFUSED) {
            all[count++] = (struct removal){
                op->path, op->outcome == HISTORY_DONE ? op->ret_ns : HISTORY_NEVER, op->call_ns};
        }
    }
    qsort(all, count, sizeof(*all), compare_removals);
    for (uint64_t i = count; i-- > 1;) {
        if (all[i - 1].path == all[i].path && all[i - 1].call_ns > all[i].call_ns) {
            all[i - 1].call_ns = all[i].call_ns;
        }
    }
    for (uint32_t path = 0; path < o->h->path_count; path++) {
        const struct order_place *p = &o->places[path];

        for (uint64_t k = 0; k < p->life_count; k++) {
            const struct model_life *l = p->lives[k];
            const struct removal *r = removal_from(all, count, path, o->asked_ns[l->from]);

            if (l->to != MODEL_ALIVE && r != NULL && o->asked_ns[l->to] < r->call_ns) {
                o->asked_ns[l->to] = r->call_ns;
            }
        }
    }
    mem_free(all);
}

void order_entries_find(struct order *o)
{
    tokens_note(o);
    find_entries(o);
    asked_spread(o);
    asked_removals(o);
    asked_spread(o);
}

/* The last index before the first entry that was asked for after `ns`. */
uint64_t order_asked_before(const struct order *o, uint64_t ns)
{
    uint64_t low = 0, high = o->ledger->count;

    if (ns == HISTORY_NEVER) {
        return high;
    }
    while (low < high) {
        uint64_t middle = low + (high - low + 1) / 2;

        if (o->asked_ns[middle] <= ns) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}
