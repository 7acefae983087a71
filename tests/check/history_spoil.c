#include "history_gen.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ways to spoil a good history. Each looks for calls of which it is certain, from their times and
 * from what the generator knows, that the changed answer is wrong, and that no call of unknown
 * outcome can explain it. */

static bool done(const struct gen_op *op)
{
    return strcmp(op->err, "0") == 0;
}

static bool refused(const struct gen_op *op, const char *err)
{
    return strcmp(op->err, err) == 0;
}

static bool is_put(const struct gen_op *op)
{
    return op->kind == HISTORY_WRITE || op->kind == HISTORY_APPEND;
}

static bool before(const struct gen_op *a, const struct gen_op *b)
{
    return a->ret_ns < b->call_ns;
}

/* A call that may have an effect between the beginning of `a` and the end of `b`. */
static bool may_touch(const struct gen *g, enum history_kind kind, const struct gen_op *a,
                      const struct gen_op *b)
{
    for (uint64_t i = 0; i < g->count; i++) {
        const struct gen_op *op = &g->ops[i];
        bool open = refused(op, "-") || refused(op, "ETIMEDOUT");

        if (op != b && op->kind == kind && strcmp(op->path, a->path) == 0 && (done(op) || open) &&
            op->call_ns <= b->ret_ns && (open || op->ret_ns >= a->call_ns)) {
            return true;
        }
    }
    return false;
}

/* Goes through all pairs, from a place chosen by chance. */
typedef bool (*pair_fn)(struct gen *g, struct gen_op *a, struct gen_op *b);

static bool try_pairs(struct gen *g, pair_fn fn)
{
    uint64_t first = prng_below(&g->prng, g->count);
    uint64_t second = prng_below(&g->prng, g->count);

    for (uint64_t i = 0; i < g->count; i++) {
        struct gen_op *a = &g->ops[(first + i) % g->count];

        for (uint64_t k = 0; k < g->count && done(a); k++) {
            struct gen_op *b = &g->ops[(second + k) % g->count];

            if (a != b && before(a, b) && fn(g, a, b)) {
                return true;
            }
        }
    }
    return false;
}

typedef bool (*one_fn)(struct gen *g, struct gen_op *op);

static bool try_each(struct gen *g, one_fn fn)
{
    uint64_t first = prng_below(&g->prng, g->count);

    for (uint64_t i = 0; i < g->count; i++) {
        if (fn(g, &g->ops[(first + i) % g->count])) {
            return true;
        }
    }
    return false;
}

/* --- values ---------------------------------------------------------------------------------- */

static bool is_value_read(const struct gen_op *op)
{
    return op->kind == HISTORY_READ && done(op) && op->path[0] == 'v';
}

static void show_version(struct gen_op *op, const struct model_version *v)
{
    snprintf(op->result, sizeof(op->result), "%.*s", v->value != NULL ? (int)v->value->size : 0,
             v->value != NULL ? (const char *)v->value->data : "");
}

static struct gen_op *writer_of(struct gen *g, uint64_t index)
{
    for (uint64_t i = 0; i < g->count; i++) {
        if (g->ops[i].index == index) {
            return &g->ops[i];
        }
    }
    return NULL;
}

/* `b` read the file after `a` wrote it; it is shown what the file had before, of a writer that had
 * returned when `a` was called. */
static bool older_value(struct gen *g, const struct gen_op *a, struct gen_op *b)
{
    const struct model_node *n = model_node(g->model, b->node);

    for (uint32_t k = n->version_count; k-- > 1;) {
        struct gen_op *w = writer_of(g, n->versions[k].from);

        if (n->versions[k].from < a->index && w != NULL && done(w) && before(w, a)) {
            show_version(b, &n->versions[k]);
            return true;
        }
    }
    return false;
}

static bool stale_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    return is_put(a) && is_value_read(b) && b->linear && strcmp(a->path, b->path) == 0 &&
           older_value(g, a, b);
}

static bool stale(struct gen *g)
{
    return try_pairs(g, stale_pair);
}

static bool own_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    return is_put(a) && is_value_read(b) && !b->linear && a->proc == b->proc &&
           strcmp(a->path, b->path) == 0 && older_value(g, a, b);
}

static bool own_write_unseen(struct gen *g)
{
    return try_pairs(g, own_pair);
}

/* `a` read what one call wrote, then `b`, of the same process, something before that. */
static bool back_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    const struct model_node *n;

    if (!is_value_read(a) || !is_value_read(b) || b->linear || a->proc != b->proc ||
        strcmp(a->path, b->path) != 0 || a->result[0] == '\0') {
        return false;
    }
    n = model_node(g->model, a->node);
    for (uint32_t k = n->version_count; k-- > 2;) {
        const struct blob *v = n->versions[k].value;

        if (v != NULL && v->size == strlen(a->result) && memcmp(v->data, a->result, v->size) == 0) {
            show_version(b, &n->versions[k - 1]);
            return true;
        }
    }
    return false;
}

static bool going_back(struct gen *g)
{
    return try_pairs(g, back_pair);
}

/* After the barrier `a`, `b` of the same process does not see what had returned before it. */
static bool barrier_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    if (a->kind != HISTORY_SYNC || !is_value_read(b) || b->linear || a->proc != b->proc) {
        return false;
    }
    for (uint64_t i = 0; i < g->count; i++) {
        const struct gen_op *w = &g->ops[i];

        if (is_put(w) && done(w) && before(w, a) && strcmp(w->path, b->path) == 0 &&
            older_value(g, w, b)) {
            return true;
        }
    }
    return false;
}

static bool barrier_ignored(struct gen *g)
{
    return try_pairs(g, barrier_pair);
}

/* `a` read what `b` wrote later. */
static bool future_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    const struct model_node *n;

    if (!is_value_read(a) || !a->linear || !is_put(b) || b->index == 0 ||
        strcmp(a->path, b->path) != 0) {
        return false;
    }
    n = model_node(g->model, b->node);
    show_version(a, model_version_at(n, b->index));
    return true;
}

static bool from_the_future(struct gen *g)
{
    return try_pairs(g, future_pair);
}

static bool invent_one(struct gen *g, struct gen_op *op)
{
    (void)g;
    if (!is_value_read(op) || !op->linear) {
        return false;
    }
    snprintf(op->result, sizeof(op->result), "9999.1;");
    return true;
}

static bool invented(struct gen *g)
{
    return try_each(g, invent_one);
}

static bool vanish_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    (void)g;
    if (!is_put(a) || !is_value_read(b) || !b->linear || strcmp(a->path, b->path) != 0) {
        return false;
    }
    b->err = "ENOENT";
    snprintf(b->result, sizeof(b->result), "-");
    return true;
}

static bool vanished(struct gen *g)
{
    return try_pairs(g, vanish_pair);
}

/* --- writes ---------------------------------------------------------------------------------- */

static bool lose_one(struct gen *g, struct gen_op *op)
{
    if (!is_put(op) || !done(op)) {
        return false;
    }
    snprintf(op->result, sizeof(op->result), "8888.%" PRIu64 ";", ++g->tokens);
    return true;
}

static bool lost_write(struct gen *g)
{
    return try_each(g, lose_one);
}

static bool refuse_one(struct gen *g, struct gen_op *op)
{
    (void)g;
    if (!is_put(op) || !done(op)) {
        return false;
    }
    op->err = "EROFS";
    return true;
}

static bool refused_in_log(struct gen *g)
{
    return try_each(g, refuse_one);
}

/* As if it had been sent again under another number. */
static bool double_one(struct gen *g, struct gen_op *op)
{
    struct request r = {.op = op->kind == HISTORY_WRITE ? OP_SET : OP_APPEND};
    struct blob *value;

    if (!is_put(op) || op->index == 0) {
        return false;
    }
    value = blob_new(op->result, strlen(op->result));
    if (r.op == OP_SET) {
        r.u.set.id = op->node;
        r.u.set.value = value;
    } else {
        r.u.append.id = op->node;
        r.u.append.value = value;
    }
    gen_entry(g, &r);
    blob_unref(value);
    return true;
}

static bool applied_twice(struct gen *g)
{
    return try_each(g, double_one);
}

static void swap_results(struct gen_op *a, struct gen_op *b)
{
    char text[GEN_TEXT_SIZE];

    memcpy(text, a->result, sizeof(text));
    memcpy(a->result, b->result, sizeof(text));
    memcpy(b->result, text, sizeof(text));
}

static bool swap_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    (void)g;
    if (!is_put(a) || !is_put(b) || !done(b) || strcmp(a->path, b->path) != 0) {
        return false;
    }
    swap_results(a, b);
    return true;
}

static bool reordered(struct gen *g)
{
    return try_pairs(g, swap_pair);
}

/* --- names ----------------------------------------------------------------------------------- */

static bool winner_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    if (a->kind != HISTORY_EXCL || b->kind != HISTORY_EXCL || !refused(b, "EEXIST") ||
        strcmp(a->path, b->path) != 0 || may_touch(g, HISTORY_DELETE, a, b)) {
        return false;
    }
    b->err = "0";
    memcpy(b->result, a->result, sizeof(b->result));
    return true;
}

static bool two_winners(struct gen *g)
{
    return try_pairs(g, winner_pair);
}

static bool no_winner_one(struct gen *g, struct gen_op *op)
{
    if (op->kind != HISTORY_EXCL || !done(op)) {
        return false;
    }
    for (uint64_t i = 0; i < g->count; i++) {
        const struct gen_op *other = &g->ops[i];

        if (other->kind == HISTORY_EXCL && strcmp(other->path, op->path) == 0 && !done(other) &&
            !refused(other, "EEXIST")) {
            return false; /* of unknown outcome: it might have been that one */
        }
    }
    op->err = "EEXIST";
    snprintf(op->result, sizeof(op->result), "-");
    return true;
}

static bool no_winner(struct gen *g)
{
    return try_each(g, no_winner_one);
}

static bool other_node_one(struct gen *g, struct gen_op *op)
{
    (void)g;
    if (op->kind != HISTORY_EXCL || !done(op)) {
        return false;
    }
    snprintf(op->result, sizeof(op->result), "%" PRIu64, op->node + 1000000);
    return true;
}

static bool other_node(struct gen *g)
{
    return try_each(g, other_node_one);
}

static bool lost_delete_one(struct gen *g, struct gen_op *op)
{
    if (op->kind != HISTORY_DELETE || !refused(op, "ENOENT")) {
        return false;
    }
    for (uint64_t i = 0; i < g->count; i++) {
        const struct gen_op *other = &g->ops[i];

        if (other->kind == HISTORY_DELETE && strcmp(other->path, op->path) == 0 && !done(other) &&
            !refused(other, "ENOENT")) {
            return false;
        }
    }
    op->err = "0";
    return true;
}

static bool lost_delete(struct gen *g)
{
    return try_each(g, lost_delete_one);
}

static bool number_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    (void)g;
    if (a->kind != HISTORY_NUMBER || b->kind != HISTORY_NUMBER || !done(b)) {
        return false;
    }
    memcpy(b->result, a->result, sizeof(b->result));
    return true;
}

static bool number_twice(struct gen *g)
{
    return try_pairs(g, number_pair);
}

static bool number_swap_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    (void)g;
    if (a->kind != HISTORY_NUMBER || b->kind != HISTORY_NUMBER || !done(b)) {
        return false;
    }
    swap_results(a, b);
    return true;
}

static bool numbers_swapped(struct gen *g)
{
    return try_pairs(g, number_swap_pair);
}

/* --- listings -------------------------------------------------------------------------------- */

static bool is_list(const struct gen_op *op)
{
    return op->kind == HISTORY_LIST && done(op) && op->linear && op->path[0] == 'x';
}

static bool hide_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    char *at;
    size_t size = strlen(a->path + 2);

    if (a->kind != HISTORY_EXCL || !is_list(b) || may_touch(g, HISTORY_DELETE, a, b)) {
        return false;
    }
    at = strstr(b->result, a->path + 2);
    CHECK(at != NULL);
    size += at[size] == ',';
    memmove(at, at + size, strlen(at + size) + 1);
    size = strlen(b->result);
    if (size > 0 && b->result[size - 1] == ',') {
        b->result[size - 1] = '\0';
    }
    return true;
}

static bool list_hides(struct gen *g)
{
    return try_pairs(g, hide_pair);
}

static bool ghost_pair(struct gen *g, struct gen_op *a, struct gen_op *b)
{
    size_t size = strlen(b->result);

    if (a->kind != HISTORY_DELETE || !is_list(b) || may_touch(g, HISTORY_EXCL, a, b)) {
        return false;
    }
    snprintf(b->result + size, sizeof(b->result) - size, "%s%s", size > 0 ? "," : "", a->path + 2);
    return true;
}

static bool list_invents(struct gen *g)
{
    return try_pairs(g, ghost_pair);
}

const struct spoiling spoilings[] = {
    {"stale value", stale, true, true},
    {"own write unseen", own_write_unseen, true, false},
    {"going back", going_back, true, false},
    {"barrier ignored", barrier_ignored, true, false},
    {"value from the future", from_the_future, true, true},
    {"invented value", invented, true, true},
    {"file vanished", vanished, true, true},
    {"lost write", lost_write, true, false},
    {"refused, but in the log", refused_in_log, true, false},
    {"applied twice", applied_twice, true, false},
    {"reordered", reordered, true, false},
    {"two winners", two_winners, true, true},
    {"no winner", no_winner, true, false},
    {"another node", other_node, true, false},
    {"lost delete", lost_delete, true, false},
    {"number twice", number_twice, true, true},
    {"numbers swapped", numbers_swapped, true, true},
    {"list hides", list_hides, true, true},
    {"list invents", list_invents, true, true},
};
const size_t spoiling_count = sizeof(spoilings) / sizeof(spoilings[0]);
