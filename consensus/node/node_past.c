#include "node_int.h"

#include "err.h"
#include "mem.h"

/* Reads as of an index. They are answered at once from what this member remembers (tree_history.c),
 * and subscribe to nothing: the past does not change. */

static int past_lookup(struct node *n, const struct request *q, struct reply *r)
{
    struct tree_past past;
    int err = tree_past_lookup(n->tree, q->u.lookup.at, q->u.lookup.dir, q->u.lookup.name, &past);

    if (err == 0) {
        r->index = q->u.lookup.at;
        r->u.attr = past.attr;
    }
    return err;
}

static int past_getattr(struct node *n, const struct request *q, struct reply *r)
{
    struct tree_past past;
    int err = tree_past_get(n->tree, q->u.getattr.at, q->u.getattr.id, &past);

    if (err == 0) {
        r->index = q->u.getattr.at;
        r->u.attr = past.attr;
        blob_unref(past.value);
    }
    return err;
}

static int past_read(struct node *n, const struct request *q, struct reply *r)
{
    struct tree_past past;
    int err = tree_past_get(n->tree, q->u.read.at, q->u.read.id, &past);

    if (err != 0) {
        return err;
    }
    if (past.attr.type == NODE_DIR) {
        return ERR_ISDIR;
    }
    r->index = q->u.read.at;
    r->u.read.attr = past.attr;
    r->u.read.value = past.value;
    return 0;
}

static bool list_past(void *ctx, uint64_t cookie, const struct tree_past *child)
{
    struct node_listing *l = ctx;

    return node_listing_add(l, cookie, child->name, &child->attr);
}

static int past_readdir(struct node *n, const struct request *q, struct reply *r)
{
    struct node_listing l = {.size_max = q->u.readdir.size_max};
    bool end;
    int err = tree_past_readdir(n->tree, q->u.readdir.at, q->u.readdir.dir, q->u.readdir.after,
                                list_past, &l, &end);

    if (err != 0) {
        return err;
    }
    r->index = q->u.readdir.at;
    r->u.readdir.end = end;
    r->u.readdir.count = l.count;
    r->u.readdir.entries = l.entries;
    return 0;
}

uint64_t node_past_index(const struct request *q)
{
    switch (q->op) {
    case OP_LOOKUP:
        return q->u.lookup.at;
    case OP_GETATTR:
        return q->u.getattr.at;
    case OP_READ:
        return q->u.read.at;
    case OP_READDIR:
        return q->u.readdir.at;
    default:
        return 0;
    }
}

int node_past_read(struct node *n, const struct request *q, struct reply *r)
{
    switch (q->op) {
    case OP_LOOKUP:
        return past_lookup(n, q, r);
    case OP_GETATTR:
        return past_getattr(n, q, r);
    case OP_READ:
        return past_read(n, q, r);
    default:
        return past_readdir(n, q, r);
    }
}
