#include "wgl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

/* A history taken apart into searches. */

struct part { /* all that is said of one path */
    UT_hash_handle hh;
    char *path;
    struct wgl_op *ops;
    uint64_t count, cap;
    bool writes, names; /* values are written; the file is made or removed */
    uint64_t first_ns;  /* the first change was asked for */
    uint64_t last_ns;   /* every change has returned by then, and it was removed; else NEVER */
    uint64_t made, removed;
    uint64_t left_out;
};

struct parts {
    const struct history *h;
    struct findings *f;
    struct wgl_counts *n;
    struct part *by_path;
};

static struct part *part_of(struct parts *ps, const char *path, size_t size)
{
    struct part *p;

    HASH_FIND(hh, ps->by_path, path, size, p);
    if (p == NULL) {
        p = mem_zalloc(sizeof(*p));
        p->path = mem_alloc(size + 1);
        memcpy(p->path, path, size);
        p->path[size] = '\0';
        p->first_ns = HISTORY_NEVER;
        HASH_ADD_KEYPTR(hh, ps->by_path, p->path, size, p);
    }
    return p;
}

static void part_add(struct part *p, enum wgl_do what, const struct history_op *op)
{
    struct wgl_op w = {.what = what, .call_ns = op->call_ns, .ret_ns = op->ret_ns, .from = op};

    if (op->outcome == HISTORY_UNKNOWN) {
        w.ret_ns = HISTORY_NEVER;
    }
    if (what == WGL_WRITE || what == WGL_APPEND || what == WGL_READ) {
        w.value = wgl_value_of(op->result, op->result_size);
    }
    p->ops = model_grow(p->ops, p->count, &p->cap, sizeof(w));
    p->ops[p->count++] = w;
}

static void part_change(struct part *p, enum wgl_do what, const struct history_op *op)
{
    part_add(p, what, op);
    p->first_ns = op->call_ns < p->first_ns ? op->call_ns : p->first_ns;
    if (op->outcome == HISTORY_UNKNOWN) {
        p->last_ns = HISTORY_NEVER;
    } else {
        p->last_ns = op->ret_ns > p->last_ns ? op->ret_ns : p->last_ns;
    }
    p->made += what == WGL_MAKE;
    p->removed += what == WGL_DELETE;
}

/* --- calls but listings ---------------------------------------------------------------------- */

static void add_number(struct parts *ps, const struct history_op *op)
{
    const char *path = history_path_text(ps->h, op);
    const char *slash = strrchr(path, '/');
    size_t dir_size = slash != NULL ? (size_t)(slash + 1 - path) : 0;
    char *name;

    if (op->outcome != HISTORY_DONE || !op->has_result) {
        ps->n->left_out++;
        return;
    }
    name = mem_alloc(dir_size + op->result_size + 1);
    memcpy(name, path, dir_size);
    memcpy(name + dir_size, op->result, op->result_size);
    part_change(part_of(ps, name, dir_size + op->result_size), WGL_MAKE, op);
    mem_free(name);
}

static void add_change(struct part *p, const struct history_op *op)
{
    static const enum wgl_do whats[HISTORY_KINDS] = {[HISTORY_WRITE] = WGL_WRITE,
                                                     [HISTORY_APPEND] = WGL_APPEND,
                                                     [HISTORY_EXCL] = WGL_MAKE,
                                                     [HISTORY_DELETE] = WGL_DELETE};

    if (op->kind == HISTORY_WRITE || op->kind == HISTORY_APPEND) {
        p->writes = true;
    } else {
        p->names = true;
    }
    if (op->outcome != HISTORY_REFUSED) {
        part_change(p, whats[op->kind], op);
    } else if (op->linear && (op->exists || op->absent)) {
        part_add(p, op->exists ? WGL_THERE : WGL_GONE, op);
    } else {
        p->left_out++;
    }
}

static void add_op(struct parts *ps, const struct history_op *op)
{
    const char *path = history_path_text(ps->h, op);
    struct part *p;

    if (op->kind == HISTORY_LIST) {
        return;
    }
    if (op->kind == HISTORY_SYNC) {
        ps->n->left_out++;
        return;
    }
    if (op->kind == HISTORY_NUMBER) {
        add_number(ps, op);
        return;
    }
    p = part_of(ps, path, strlen(path));
    if (op->kind != HISTORY_READ) {
        add_change(p, op);
    } else if (op->linear && op->outcome == HISTORY_DONE) {
        part_add(p, WGL_READ, op);
    } else if (op->linear && op->absent) {
        part_add(p, WGL_GONE, op);
    } else {
        p->left_out++;
    }
}

/* --- listings -------------------------------------------------------------------------------- */

static int compare_hashes(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

static uint64_t *shown_names(const struct history_op *op, uint64_t *ret_count)
{
    uint64_t *hashes = mem_alloc(((uint64_t)op->result_size + 1) * sizeof(*hashes));
    const char *end = op->result + op->result_size;
    uint64_t count = 0;

    for (const char *at = op->result; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma != NULL ? comma : end;

        hashes[count++] = hash64(at, (size_t)(stop - at), 0);
        at = stop + 1;
    }
    qsort(hashes, count, sizeof(*hashes), compare_hashes);
    *ret_count = count;
    return hashes;
}

/* A look at each name of the directory that something is known of. Where the answer can only be
 * that it is not there, and is, nothing is added. */
static void add_list(struct parts *ps, const struct history_op *op)
{
    const char *dir = history_path_text(ps->h, op);
    size_t dir_size = strlen(dir);
    struct part *p, *next;
    uint64_t count;
    uint64_t *shown = shown_names(op, &count);

    HASH_ITER (hh, ps->by_path, p, next) {
        const char *name = p->path + dir_size + 1;
        uint64_t hash;
        bool there;

        if (strncmp(p->path, dir, dir_size) != 0 || p->path[dir_size] != '/' ||
            strchr(name, '/') != NULL || p->first_ns == HISTORY_NEVER) {
            continue;
        }
        hash = hash64(name, strlen(name), 0);
        there = count > 0 && bsearch(&hash, shown, count, sizeof(hash), compare_hashes) != NULL;
        if (there ||
            (op->ret_ns >= p->first_ns && (op->call_ns <= p->last_ns || p->made > p->removed))) {
            part_add(p, there ? WGL_THERE : WGL_GONE, op);
        }
    }
    mem_free(shown);
}

/* --- values of unknown outcome --------------------------------------------------------------- */

/* Tokens end with a semicolon; a value is one of them behind the other. */
static bool holds_token(const struct history_op *read, const struct history_op *write)
{
    const char *at = read->result;
    const char *end = read->result + read->result_size;

    while ((at = memmem(at, (size_t)(end - at), write->result, write->result_size)) != NULL) {
        if (at == read->result || at[-1] == ';') {
            return true;
        }
        at++;
    }
    return false;
}

/* A token is in a value only if it was written. So a write of unknown outcome that nobody saw may
 * come at the very end, and need not be looked at; one that was seen came before the first read
 * that shows it returned. */
static bool bound_unknown(const struct part *p, struct wgl_op *w)
{
    uint64_t seen_ns = HISTORY_NEVER;

    for (uint64_t i = 0; i < p->count; i++) {
        const struct wgl_op *r = &p->ops[i];

        if (r->what == WGL_READ && r->ret_ns < seen_ns && r->ret_ns >= w->call_ns &&
            holds_token(r->from, w->from)) {
            seen_ns = r->ret_ns;
        }
    }
    w->ret_ns = seen_ns;
    return seen_ns != HISTORY_NEVER;
}

static void bound_unknowns(struct part *p)
{
    uint64_t kept = 0;

    for (uint64_t i = 0; i < p->count; i++) {
        struct wgl_op *w = &p->ops[i];
        bool open = w->ret_ns == HISTORY_NEVER;

        if ((w->what == WGL_WRITE || w->what == WGL_APPEND) && open && !bound_unknown(p, w)) {
            w->from = NULL;
        }
    }
    for (uint64_t i = 0; i < p->count; i++) {
        if (p->ops[i].from != NULL) {
            p->ops[kept++] = p->ops[i];
        }
    }
    p->count = kept;
}

/* --- numbers --------------------------------------------------------------------------------- */

struct numbered {
    uint64_t ns;
    bool is_return;
    uint64_t number;
    const struct history_op *op;
};

static int compare_numbered(const void *a, const void *b)
{
    const struct numbered *x = a;
    const struct numbered *y = b;

    if (x->op->path != y->op->path) {
        return x->op->path < y->op->path ? -1 : 1;
    }
    if (x->ns != y->ns) {
        return x->ns < y->ns ? -1 : 1;
    }
    return (int)x->is_return - (int)y->is_return;
}

static uint64_t number_of(const struct history_op *op)
{
    uint64_t number = 0, unit = 1;

    for (uint32_t i = op->result_size; i-- > 0 && op->result[i] >= '0' && op->result[i] <= '9';) {
        number += unit * (uint64_t)(op->result[i] - '0');
        unit *= 10;
    }
    return number;
}

static void judge_numbers(struct parts *ps)
{
    struct numbered *all = mem_alloc((2 * ps->h->count + 1) * sizeof(*all));
    uint64_t count = 0, highest = 0;
    const struct history_op *last = NULL;

    for (uint64_t i = 0; i < ps->h->count; i++) {
        const struct history_op *op = &ps->h->ops[i];

        if (op->kind == HISTORY_NUMBER && op->outcome == HISTORY_DONE && op->has_result) {
            all[count++] = (struct numbered){op->call_ns, false, number_of(op), op};
            all[count++] = (struct numbered){op->ret_ns, true, number_of(op), op};
        }
    }
    qsort(all, count, sizeof(*all), compare_numbered);
    for (uint64_t i = 0; i < count; i++) {
        if (last == NULL || last->path != all[i].op->path) {
            highest = 0;
            last = NULL;
        }
        if (all[i].is_return) {
            last = last == NULL || all[i].number > highest ? all[i].op : last;
            highest = all[i].number > highest ? all[i].number : highest;
        } else if (last != NULL && all[i].number <= highest) {
            char words[512];

            history_describe(ps->h, all[i].op, words, sizeof(words));
            findings_add(ps->f,
                         "B rule=numbers %s: asked for after number %" PRIu64 " had been given",
                         words, highest);
            ps->n->anomalies++;
        }
    }
    mem_free(all);
}

/* --- all ------------------------------------------------------------------------------------- */

static void part_judge(struct parts *ps, const struct wgl_conf *conf, struct part *p)
{
    const struct wgl_op *stuck;
    enum wgl_verdict verdict;
    char words[512] = "";
    uint64_t steps;

    ps->n->left_out += p->left_out;
    if (p->writes && p->names) {
        ps->n->left_out += p->count;
        return;
    }
    bound_unknowns(p);
    verdict = wgl_search(p->ops, p->count, conf->steps_max, &steps, &stuck);
    ps->n->partitions++;
    ps->n->ops += p->count;
    ps->n->steps += steps;
    ps->n->linearizable += verdict == WGL_OK;
    ps->n->anomalies += verdict == WGL_ANOMALY;
    ps->n->unknown += verdict == WGL_UNKNOWN;
    if (verdict == WGL_ANOMALY) {
        if (stuck != NULL) {
            history_describe(ps->h, stuck->from, words, sizeof(words));
        }
        findings_add(ps->f,
                     "B rule=linearizable %s: no order of its %" PRIu64
                     " calls gives every answer; the furthest ends at %s",
                     p->path, p->count, words);
    }
}

void wgl_check(const struct history *h, const struct wgl_conf *conf, struct findings *f,
               struct wgl_counts *ret)
{
    struct parts ps = {.h = h, .f = f, .n = ret};
    struct part *p, *next;

    *ret = (struct wgl_counts){0};
    for (uint64_t i = 0; i < h->count; i++) {
        add_op(&ps, &h->ops[i]);
    }
    for (uint64_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];

        if (op->kind == HISTORY_LIST && op->linear && op->outcome == HISTORY_DONE) {
            add_list(&ps, op);
        } else if (op->kind == HISTORY_LIST) {
            ret->left_out++;
        }
    }
    HASH_ITER (hh, ps.by_path, p, next) {
        part_judge(&ps, conf, p);
        HASH_DEL(ps.by_path, p);
        mem_free(p->path);
        mem_free(p->ops);
        mem_free(p);
    }
    judge_numbers(&ps);
}
