#include "tree_int.h"

#include <string.h>

#include "mem.h"

/* What a transaction leads to besides its reply: changes and grants, any number of them. They live
 * until the next transaction: nodes that it removes are freed then, and names and paths are copied,
 * because a later change of the same transaction may take them away, into blocks that are used
 * again and again. */

enum { TEXT_BLOCK_SIZE = 16 << 10, CHANGES_KEPT = 4096 };

struct text_block {
    struct text_block *next;
    size_t used, size;
    char text[];
};

static void gone_free(struct tree_results *r)
{
    for (uint32_t i = 0; i < r->gone_count; i++) {
        tnode_free(r->gone[i]);
    }
    r->gone_count = 0;
}

/* All but the first block, which is as large as nearly every transaction needs. */
static void texts_reset(struct tree_results *r)
{
    while (r->texts != NULL && r->texts->next != NULL) {
        struct text_block *b = r->texts;

        r->texts = b->next;
        mem_free(b);
    }
    if (r->texts != NULL) {
        r->texts->used = 0;
    }
}

void results_begin(struct tree *t)
{
    struct tree_results *r = &t->results;

    gone_free(r);
    texts_reset(r);
    if (r->change_cap > CHANGES_KEPT) { /* a session has left that many, once */
        mem_free(r->changes);
        mem_free(r->gone);
        r->changes = NULL;
        r->gone = NULL;
        r->change_cap = 0;
        r->gone_cap = 0;
    }
    r->change_count = 0;
    r->grant_count = 0;
}

void results_free(struct tree *t)
{
    struct tree_results *r = &t->results;

    results_begin(t);
    mem_free(r->texts);
    mem_free(r->gone);
    mem_free(r->changes);
    mem_free(r->grants);
    mem_free(r->outcomes);
    *r = (struct tree_results){0};
}

char *results_text(struct tree *t, size_t size)
{
    struct tree_results *r = &t->results;
    struct text_block *b = r->texts;
    char *at;

    if (b == NULL || b->size - b->used < size) {
        size_t block_size = size > TEXT_BLOCK_SIZE ? size : TEXT_BLOCK_SIZE;

        b = mem_alloc(sizeof(*b) + block_size);
        b->size = block_size;
        b->used = 0;
        b->next = r->texts;
        r->texts = b;
    }
    at = b->text + b->used;
    b->used += size;
    return at;
}

void results_undo(struct tree *t)
{
    struct tree_results *r = &t->results;

    for (uint32_t i = 0; i < r->change_count; i++) {
        blob_unref(r->changes[i].value);
    }
    r->change_count = 0;
    r->grant_count = 0;
    r->gone_count = 0;
}

struct txn_outcome *results_outcomes(struct tree *t, uint32_t count)
{
    struct tree_results *r = &t->results;

    if (count > r->outcome_cap) {
        r->outcomes = mem_realloc(r->outcomes, count * sizeof(*r->outcomes));
        r->outcome_cap = count;
    }
    return r->outcomes;
}

/* Makes room for one more item of `size` bytes. */
static void *grown(void *items, uint32_t count, uint32_t *cap, size_t size)
{
    if (count < *cap) {
        return items;
    }
    *cap = *cap > 0 ? 2 * *cap : 8;
    return mem_realloc(items, *cap * size);
}

void results_gone(struct tree *t, struct tree_node *n)
{
    struct tree_results *r = &t->results;

    r->gone = grown(r->gone, r->gone_count, &r->gone_cap, sizeof(struct tree_node *));
    r->gone[r->gone_count++] = n;
}

struct name results_name(struct tree *t, struct name name)
{
    char *text = results_text(t, name.size);

    if (name.size > 0) {
        memcpy(text, name.bytes, name.size);
    }
    return (struct name){text, name.size};
}

/* As tree_node_path(), for every change of a node: written once, at its place. */
struct name results_path(struct tree *t, const struct tree_node *dir)
{
    const struct tree_node *n;
    size_t size = 0;
    char *text, *at;

    for (n = dir; n->parent != n; n = n->parent) {
        size += (size_t)n->name_size + 1;
    }
    if (size > PATH_SIZE_MAX) {
        return (struct name){0};
    }
    text = results_text(t, size);
    at = text + size;
    for (n = dir; n->parent != n; n = n->parent) {
        at -= n->name_size;
        memcpy(at, tnode_name(n), n->name_size);
        *--at = '/';
    }
    return (struct name){text, (uint32_t)size};
}

struct event *results_change(struct tree *t, const struct txn *txn, const struct tree_node *n,
                             enum change_kind kind)
{
    struct tree_results *r = &t->results;
    struct event *e;

    r->changes = grown(r->changes, r->change_count, &r->change_cap, sizeof(struct event));
    if (r->change_count > 0) {
        r->changes[r->change_count - 1].more = true;
    }
    e = &r->changes[r->change_count++];
    *e = (struct event){
        .index = txn->index,
        .dir = n->parent->id,
        .name = results_name(t, tree_node_name(n)),
        .kind = kind,
        .dir_path = results_path(t, n->parent),
        .session = txn->session,
        .xid = txn->request.xid,
    };
    tree_node_attr(n, &e->attr);
    if ((kind == CHANGE_CREATE || kind == CHANGE_SET) && n->type == NODE_FILE &&
        tnode_value_size(n) <= EVENT_VALUE_SIZE_MAX) {
        e->has_value = true;
        e->value = tnode_value(n);
    }
    return e;
}

void results_grant(struct tree *t, const struct tree_grant *grant)
{
    struct tree_results *r = &t->results;

    r->grants = grown(r->grants, r->grant_count, &r->grant_cap, sizeof(struct tree_grant));
    r->grants[r->grant_count++] = *grant;
}
