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

/* As many entries as `count`, if there are; *ret_end tells whether these are all. */
static int read_list(const struct model *m, uint64_t index, const struct request *q, uint32_t count,
                     struct reply *r)
{
    const struct model_version *v = version_of(m, q->u.readdir.dir, index);
    const struct model_node *dir = model_node(m, q->u.readdir.dir);

    if (v == NULL) {
        return ERR_NOENT;
    }
    if (v->attr.type != NODE_DIR) {
        return ERR_NOTDIR;
    }
    r->u.readdir.end = true;
    r->u.readdir.entries = mem_alloc((count + 1) * sizeof(*r->u.readdir.entries));
    for (uint32_t i = 0; i < dir->child_count; i++) {
        const struct model_node *n = dir->children[i];
        const struct model_version *c = model_version_at(n, index);

        if (c == NULL || n->cookie <= q->u.readdir.after) {
            continue;
        }
        if (r->u.readdir.count == count && count > 0) {
            r->u.readdir.end = false;
            break;
        }
        r->u.readdir.entries[r->u.readdir.count++] =
            (struct dirent_plus){n->cookie, n->name, c->attr};
        if (count == 0) { /* one is there, and the answer had none */
            break;
        }
    }
    return 0;
}

void model_read(const struct model *m, uint64_t index, const struct request *q, uint32_t count,
                struct buf *ret)
{
    struct reply r = {.op = q->op, .xid = q->xid, .index = index};
    const struct model_version *v;

    switch (q->op) {
    case OP_LOOKUP:
        r.err = read_lookup(m, index, q, &r);
        break;
    case OP_GETATTR:
        v = version_of(m, q->u.getattr.id, index);
        r.err = v == NULL ? ERR_NOENT : 0;
        if (v != NULL) {
            r.u.attr = v->attr;
        }
        break;
    case OP_READ:
        r.err = read_value(m, index, q, &r);
        break;
    case OP_READDIR:
        r.err = read_list(m, index, q, count, &r);
        break;
    default:
        break;
    }
    codec_encode_reply(ret, &r);
    if (q->op == OP_READDIR && r.err == 0) {
        mem_free(r.u.readdir.entries);
    }
}
