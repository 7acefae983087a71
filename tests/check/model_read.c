#include "model_int.h"

#include "codec.h"
#include "err.h"

/* What each read answers at one index. */

static const struct model_version *version_of(const struct model *m, uint64_t id, uint64_t index)
{
    const struct model_node *n = model_node(m, id);

    return n != NULL ? model_version_at(n, index) : NULL;
}

static int read_lookup(const struct model *m, uint64_t index, const struct request *q,
                       struct reply *r)
{
    const struct model_version *dir = version_of(m, q->u.lookup.dir, index);
    const struct model_node *n;

    if (dir == NULL) {
        return ERR_NOENT;
    }
    if (dir->attr.type != NODE_DIR) {
        return ERR_NOTDIR;
    }
    n = model_child_at(m, q->u.lookup.dir, q->u.lookup.name, index);
    if (n == NULL) {
        return ERR_NOENT;
    }
    r->u.attr = model_version_at(n, index)->attr;
    return 0;
}

static int read_attr(const struct model *m, uint64_t index, const struct request *q,
                     struct reply *r)
{
    const struct model_version *v = version_of(m, q->u.getattr.id, index);

    if (v == NULL) {
        return ERR_NOENT;
    }
    r->u.attr = v->attr;
    return 0;
}

static int read_value(const struct model *m, uint64_t index, const struct request *q,
                      struct reply *r)
{
    const struct model_version *v = version_of(m, q->u.read.id, index);

    if (v == NULL) {
        return ERR_NOENT;
    }
    if (v->attr.type == NODE_DIR) {
        return ERR_ISDIR;
    }
    r->u.read.attr = v->attr;
    r->u.read.value = v->value;
    return 0;
}

/* As many entries as `got` has, if there are; `end` tells whether these are all. */
static int read_list(const struct model *m, uint64_t index, const struct request *q,
                     const struct reply *got, struct reply *r)
{
    const struct model_version *v = version_of(m, q->u.readdir.dir, index);
    const struct model_node *dir = model_node(m, q->u.readdir.dir);
    uint32_t count = got->err == 0 ? got->u.readdir.count : 0;

    if (v == NULL) {
        return ERR_NOENT;
    }
    if (v->attr.type != NODE_DIR) {
        return ERR_NOTDIR;
    }
    r->u.readdir.end = true;
    r->u.readdir.entries = mem_alloc((count + 1) * sizeof(*r->u.readdir.entries));
    for (uint32_t i = 0; i < dir->child_count; i++) {
        const struct model_life *l = dir->children[i];

        if (l->from > index || index >= l->to || l->cookie <= q->u.readdir.after) {
            continue;
        }
        if (r->u.readdir.count == count && count > 0) {
            r->u.readdir.end = false;
            break;
        }
        r->u.readdir.entries[r->u.readdir.count++] =
            (struct dirent_plus){l->cookie, l->name, model_version_at(l->node, index)->attr};
        if (count == 0) { /* one is there, and the answer had none */
            break;
        }
    }
    return 0;
}

static int read_xattrs(const struct model *m, uint64_t index, const struct request *q,
                       struct reply *r)
{
    const struct model_version *v = version_of(m, q->u.xattrs.id, index);

    if (v == NULL) {
        return ERR_NOENT;
    }
    r->u.xattrs.attr = v->attr;
    r->u.xattrs.fence = v->fence != 0 ? v->fence : v->attr.czxid;
    if (v->attr.type == NODE_DIR) {
        model_usage(m, model_node(m, q->u.xattrs.id), index, &r->u.xattrs.nodes,
                    &r->u.xattrs.bytes);
    }
    if (v->xattrs != NULL) {
        r->u.xattrs.count = v->xattrs->count;
        r->u.xattrs.list = v->xattrs->list;
    }
    return 0;
}

static int read_statfs(const struct model *m, uint64_t index, const struct request *q,
                       struct reply *r)
{
    uint64_t id = q->u.statfs.id != 0 ? q->u.statfs.id : TREE_ROOT_ID;
    uint64_t nodes_max = UINT64_MAX, bytes_max = UINT64_MAX;

    if (version_of(m, id, index) == NULL) {
        return ERR_NOENT;
    }
    for (;; id = model_life_at(model_node(m, id), index)->dir) {
        model_quota_of(version_of(m, id, index), &nodes_max, &bytes_max);
        if (nodes_max != UINT64_MAX || bytes_max != UINT64_MAX || id == TREE_ROOT_ID) {
            break;
        }
    }
    model_usage(m, model_node(m, id), index, &r->u.statfs.nodes, &r->u.statfs.bytes);
    r->u.statfs.nodes_max = nodes_max != UINT64_MAX ? nodes_max : 0;
    r->u.statfs.bytes_max = bytes_max != UINT64_MAX ? bytes_max : 0;
    return 0;
}

/* The state that the request is about. */
static uint64_t as_of(const struct request *q, uint64_t index)
{
    uint64_t at = q->op == OP_LOOKUP    ? q->u.lookup.at
                  : q->op == OP_GETATTR ? q->u.getattr.at
                  : q->op == OP_READ    ? q->u.read.at
                  : q->op == OP_READDIR ? q->u.readdir.at
                                        : 0;

    return at != 0 ? at : index;
}

void model_read(const struct model *m, uint64_t index, const struct request *q,
                const struct reply *got, struct buf *ret)
{
    struct reply r = {.op = q->op, .xid = q->xid, .index = index};
    uint64_t at = as_of(q, index);

    switch (at <= index ? q->op : OP_PING) {
    case OP_LOOKUP:
        r.err = read_lookup(m, at, q, &r);
        break;
    case OP_GETATTR:
        r.err = read_attr(m, at, q, &r);
        break;
    case OP_READ:
        r.err = read_value(m, at, q, &r);
        break;
    case OP_READDIR:
        r.err = read_list(m, at, q, got, &r);
        break;
    case OP_XATTRS:
        r.err = read_xattrs(m, index, q, &r);
        break;
    case OP_STATFS:
        r.err = read_statfs(m, index, q, &r);
        break;
    default:
        r.err = at > index ? ERR_INVAL : 0;
        break;
    }
    codec_encode_reply(ret, &r);
    if (q->op == OP_READDIR && r.err == 0) {
        mem_free(r.u.readdir.entries);
    }
}
