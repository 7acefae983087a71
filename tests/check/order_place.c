#include "order_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What was at a path, or in a directory, from index to index. */

/* --- paths ----------------------------------------------------------------------------------- */

static bool dir_of(const struct order *o, const char *path, uint64_t *ret_dir, struct name *ret)
{
    uint64_t dir = TREE_ROOT_ID;
    const char *slash;

    while ((slash = strchr(path, '/')) != NULL) {
        const struct model_life *l =
            model_place(o->model, dir, (struct name){path, (uint32_t)(slash - path)});

        if (l == NULL || l->older != NULL || l->to != MODEL_ALIVE || l->node->type != NODE_DIR) {
            return false; /* directories on the way stay what they are */
        }
        dir = l->node->id;
        path = slash + 1;
    }
    *ret_dir = dir;
    *ret = (struct name){path, (uint32_t)strlen(path)};
    return true;
}

void order_place_find(struct order *o, uint32_t path)
{
    struct order_place *p = &o->places[path];
    const struct model_life *newest;
    uint64_t at;

    p->resolved = dir_of(o, o->h->by_number[path]->text, &p->dir, &p->name);
    if (!p->resolved) {
        return;
    }
    newest = model_place(o->model, p->dir, p->name);
    for (const struct model_life *l = newest; l != NULL; l = l->older) {
        p->life_count++;
    }
    p->lives = mem_alloc((p->life_count + 1) * sizeof(const struct model_life *));
    at = p->life_count;
    for (const struct model_life *l = newest; l != NULL; l = l->older) {
        p->lives[--at] = l;
    }
}

/* The first life that does not end before or at `index`. */
static uint64_t life_from(const struct order_place *p, uint64_t index)
{
    uint64_t low = 0, high = p->life_count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (p->lives[middle]->to <= index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint64_t higher(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t order_present_at(const struct order_place *p, uint64_t from, uint64_t to)
{
    uint64_t at = life_from(p, from);

    if (at == p->life_count || p->lives[at]->from > to) {
        return UINT64_MAX;
    }
    return higher(from, p->lives[at]->from);
}

uint64_t order_absent_at(const struct order_place *p, uint64_t from, uint64_t to)
{
    uint64_t at = life_from(p, from);

    if (at == p->life_count || p->lives[at]->from > from) {
        return from;
    }
    return p->lives[at]->to <= to ? p->lives[at]->to : UINT64_MAX;
}

static uint32_t version_from(const struct model_node *n, uint64_t index)
{
    uint32_t low = 0, high = n->version_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (n->versions[middle].from <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool value_is(const struct model_version *v, const char *value, uint32_t size)
{
    uint32_t have = v->value != NULL ? v->value->size : 0;

    return have == size && (size == 0 || memcmp(v->value->data, value, size) == 0);
}

uint64_t order_value_at(const struct order_place *p, const char *value, uint32_t size,
                        uint64_t from, uint64_t to)
{
    for (uint64_t at = life_from(p, from); at < p->life_count && p->lives[at]->from <= to; at++) {
        const struct model_life *l = p->lives[at];
        const struct model_node *n = l->node;
        uint64_t last = to < l->to ? to : l->to - 1;

        for (uint32_t k = version_from(n, higher(from, l->from));
             k < n->version_count && n->versions[k].from <= last; k++) {
            if (value_is(&n->versions[k], value, size)) {
                return higher(higher(from, l->from), n->versions[k].from);
            }
        }
    }
    return UINT64_MAX;
}

/* --- directories ----------------------------------------------------------------------------- */

static int compare_changes(const void *a, const void *b)
{
    const struct order_change *x = a;
    const struct order_change *y = b;

    return x->index < y->index ? -1 : x->index > y->index;
}

static void set_change(const struct model_life **set, uint64_t *count, const struct order_change *c)
{
    if (c->made) {
        set[(*count)++] = c->life;
        return;
    }
    for (uint64_t i = *count; i-- > 0;) {
        if (set[i] == c->life) {
            set[i] = set[--*count];
            return;
        }
    }
}

static void dir_marks(struct order_dir *d)
{
    const struct model_life **set =
        mem_alloc((d->change_count + 1) * sizeof(const struct model_life *));
    uint64_t count = 0;

    d->mark_count = d->change_count / ORDER_MARK + 1;
    d->marks = mem_zalloc(d->mark_count * sizeof(const struct model_life **));
    d->mark_sizes = mem_zalloc(d->mark_count * sizeof(*d->mark_sizes));
    for (uint64_t i = 0; i <= d->change_count; i++) {
        if (i % ORDER_MARK == 0) {
            d->marks[i / ORDER_MARK] = mem_alloc((count + 1) * sizeof(const struct model_life *));
            memcpy(d->marks[i / ORDER_MARK], set, count * sizeof(const struct model_life *));
            d->mark_sizes[i / ORDER_MARK] = count;
        }
        if (i < d->change_count) {
            set_change(set, &count, &d->changes[i]);
        }
    }
    mem_free(set);
}

static struct order_dir *dir_view(struct order *o, uint32_t path)
{
    struct order_dir *d = &o->dirs[path];
    const struct order_place *p = &o->places[path];

    if (o->dir_known[path]) {
        return d;
    }
    o->dir_known[path] = true;
    if (!p->resolved || p->life_count != 1 || p->lives[0]->node->type != NODE_DIR) {
        return d;
    }
    d->node = p->lives[0]->node;
    d->changes = mem_alloc((2 * (uint64_t)d->node->child_count + 1) * sizeof(*d->changes));
    for (uint32_t i = 0; i < d->node->child_count; i++) {
        const struct model_life *l = d->node->children[i];

        d->changes[d->change_count++] = (struct order_change){l->from, l, true};
        if (l->to != MODEL_ALIVE) {
            d->changes[d->change_count++] = (struct order_change){l->to, l, false};
        }
    }
    qsort(d->changes, d->change_count, sizeof(*d->changes), compare_changes);
    dir_marks(d);
    return d;
}

/* The first change above `index`. */
static uint64_t change_after(const struct order_dir *d, uint64_t index)
{
    uint64_t low = 0, high = d->change_count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (d->changes[middle].index <= index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void order_places_done(struct order *o)
{
    for (uint64_t i = 0; i < o->h->path_count; i++) {
        mem_free(o->places[i].lives);
        mem_free(o->dirs[i].changes);
        for (uint64_t k = 0; k < o->dirs[i].mark_count; k++) {
            mem_free(o->dirs[i].marks[k]);
        }
        mem_free(o->dirs[i].marks);
        mem_free(o->dirs[i].mark_sizes);
    }
    mem_free(o->places);
    mem_free(o->dirs);
    mem_free(o->dir_known);
}

/* --- listings -------------------------------------------------------------------------------- */

static uint64_t name_hash(struct name n)
{
    return hash64(n.bytes, n.size, 1);
}

static bool next_name(const char **at, const char *end, struct name *ret)
{
    const char *comma;

    if (*at >= end) {
        return false;
    }
    comma = memchr(*at, ',', (size_t)(end - *at));
    *ret = (struct name){*at, (uint32_t)((comma != NULL ? comma : end) - *at)};
    *at = comma != NULL ? comma + 1 : end;
    return true;
}

struct shown {
    uint64_t *hashes; /* of the names, sorted */
    uint64_t count, sum;
};

static int compare_u64(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

static uint64_t times_shown(const struct shown *s, uint64_t hash)
{
    uint64_t low = 0, high = s->count, n = 0;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (s->hashes[middle] < hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    while (low + n < s->count && s->hashes[low + n] == hash) {
        n++;
    }
    return n;
}

/* Each name that is shown was there at some time, once for each of its lives at most. */
static bool all_were_there(const struct order *o, const struct order_dir *d, struct shown *s,
                           const struct history_op *op, uint64_t from, uint64_t to,
                           uint64_t *ret_index, struct name *ret_wrong)
{
    const char *at = op->result;
    const char *end = op->result + op->result_size;
    struct name name;
    uint64_t index = from;

    while (next_name(&at, end, &name)) {
        const struct model_life *l = model_place(o->model, d->node->id, name);
        uint64_t earliest = UINT64_MAX;
        uint64_t lives = 0;

        for (; l != NULL && l->to > from; l = l->older) {
            if (l->from <= to) {
                earliest = l->from;
                lives++;
            }
        }
        if (lives < times_shown(s, name_hash(name))) {
            *ret_wrong = name;
            return false;
        }
        index = higher(index, earliest);
    }
    *ret_index = index;
    return true;
}

/* Walks through the states of the directory from `from` to `to`. */
static bool at_once(const struct order_dir *d, const struct shown *s, uint64_t at, uint64_t sum,
                    uint64_t count, uint64_t from, uint64_t to, uint64_t *ret_index)
{
    uint64_t index = from;

    for (;; at++) {
        if (sum == s->sum && count == s->count) {
            *ret_index = index;
            return true;
        }
        if (at == d->change_count || d->changes[at].index > to) {
            return false;
        }
        index = d->changes[at].index;
        sum += d->changes[at].made ? name_hash(d->changes[at].life->name)
                                   : -name_hash(d->changes[at].life->name);
        count += d->changes[at].made ? 1 : UINT64_MAX;
    }
}

static const char *list_judge(struct order *o, const struct order_dir *d, struct shown *s,
                              const struct history_op *op, uint64_t from, uint64_t to,
                              uint64_t *ret_index, bool *ret_at_once)
{
    uint64_t first = change_after(d, from);
    uint64_t mark = first / ORDER_MARK;
    uint64_t count = d->mark_sizes[mark];
    const struct model_life **set =
        mem_alloc((count + ORDER_MARK + 1) * sizeof(const struct model_life *));
    struct name wrong = {0};
    uint64_t sum = 0;
    const char *verdict = NULL;

    memcpy(set, d->marks[mark], count * sizeof(const struct model_life *));
    for (uint64_t i = mark * ORDER_MARK; i < first; i++) {
        set_change(set, &count, &d->changes[i]);
    }
    for (uint64_t i = 0; i < count; i++) {
        sum += name_hash(set[i]->name);
        if (set[i]->to > to && times_shown(s, name_hash(set[i]->name)) == 0) {
            wrong = set[i]->name;
            verdict = "hidden";
        }
    }
    if (verdict == NULL && !all_were_there(o, d, s, op, from, to, ret_index, &wrong)) {
        verdict = "not there";
    }
    if (verdict != NULL) {
        snprintf(o->text, sizeof(o->text), "%.*s is %s", (int)wrong.size, wrong.bytes, verdict);
        verdict = o->text;
    } else {
        *ret_at_once = at_once(d, s, first, sum, count, from, to, ret_index);
    }
    mem_free(set);
    return verdict;
}

const char *order_list_wrong(struct order *o, uint32_t path, const struct history_op *op,
                             uint64_t from, uint64_t to, uint64_t *ret_index, bool *ret_at_once)
{
    const struct order_dir *d = dir_view(o, path);
    const char *at = op->result;
    const char *end = op->result + op->result_size;
    struct shown s = {0};
    struct name name;
    const char *wrong;

    if (d->node == NULL) {
        return "no directory";
    }
    s.hashes = mem_alloc(((uint64_t)op->result_size + 1) * sizeof(*s.hashes));
    while (next_name(&at, end, &name)) {
        s.hashes[s.count] = name_hash(name);
        s.sum += s.hashes[s.count++];
    }
    qsort(s.hashes, s.count, sizeof(*s.hashes), compare_u64);
    wrong = list_judge(o, d, &s, op, from, to, ret_index, ret_at_once);
    mem_free(s.hashes);
    return wrong;
}
