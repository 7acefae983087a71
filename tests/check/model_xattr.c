#include "model_int.h"

#include <string.h>

#include "err.h"

/* Extended attributes, and the two of them that are settings of a directory: the rule that makes
 * files ephemeral, and the quota. */

#define RULE  "user.zabfs.ephemeral"
#define QUOTA "user.zabfs.quota"

const struct blob *model_xattr_find(const struct model_version *v, const char *name)
{
    for (uint32_t i = 0; v->xattrs != NULL && i < v->xattrs->count; i++) {
        if (model_text_is(v->xattrs->list[i].name, name)) {
            return v->xattrs->list[i].value;
        }
    }
    return NULL;
}

static bool value_is(const struct blob *b, const char *text)
{
    return model_text_is((struct name){b != NULL ? (const char *)b->data : "", model_size(b)},
                         text);
}

enum node_life model_rule(const struct model_version *dir)
{
    const struct blob *b = model_xattr_find(dir, RULE);

    return value_is(b, "open") ? LIFE_OPEN : value_is(b, "session") ? LIFE_SESSION : LIFE_PERMANENT;
}

/* --- quotas ---------------------------------------------------------------------------------- */

/* A decimal number or "-", up to `end`; NULL: neither, or too large. */
static const char *number(const char *at, const char *end, uint64_t *ret)
{
    const char *first = at;

    *ret = 0;
    if (at < end && *at == '-') {
        *ret = UINT64_MAX;
        return at + 1;
    }
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (*ret > (UINT64_MAX - 9) / 10) {
            return NULL;
        }
        *ret = *ret * 10 + (uint64_t)(*at - '0');
    }
    return at > first && *ret > 0 ? at : NULL;
}

static bool quota_parse(const struct blob *b, uint64_t *ret_nodes, uint64_t *ret_bytes)
{
    const char *at = b != NULL ? (const char *)b->data : "";
    const char *end = at + model_size(b);
    uint32_t shift = 0;

    at = number(at, end, ret_bytes);
    if (at == NULL || at == end) {
        return false;
    }
    shift = *at == 'K' ? 10 : *at == 'M' ? 20 : *at == 'G' ? 30 : 0;
    if (shift != 0 && (*ret_bytes == UINT64_MAX || *ret_bytes > UINT64_MAX >> shift)) {
        return false;
    }
    *ret_bytes <<= shift;
    at += shift != 0 ? 1 : 0;
    if (at == end || *at++ != ' ') {
        return false;
    }
    at = number(at, end, ret_nodes);
    return at == end && *ret_bytes > 0 && *ret_nodes > 0;
}

void model_quota_of(const struct model_version *v, uint64_t *ret_nodes, uint64_t *ret_bytes)
{
    *ret_nodes = *ret_bytes = UINT64_MAX;
    if (model_xattr_find(v, QUOTA) != NULL) {
        quota_parse(model_xattr_find(v, QUOTA), ret_nodes, ret_bytes);
    }
}

uint64_t model_bytes(const struct model_version *v)
{
    uint64_t bytes = model_size(v->value);

    for (uint32_t i = 0; v->xattrs != NULL && i < v->xattrs->count; i++) {
        bytes += v->xattrs->list[i].name.size + model_size(v->xattrs->list[i].value);
    }
    return bytes;
}

void model_usage(const struct model *m, const struct model_node *n, uint64_t index,
                 uint64_t *ret_nodes, uint64_t *ret_bytes)
{
    const struct model_node *data = model_child_at(m, n->id, (struct name){".data", 5}, index);

    *ret_nodes = *ret_bytes = 0;
    for (uint32_t i = 0; i <= n->child_count; i++) {
        const struct model_life *l = i < n->child_count ? n->children[i] : NULL;
        const struct model_node *child = l != NULL ? l->node : data;
        uint64_t nodes, bytes;

        if (child == NULL || (l != NULL && (l->from > index || index >= l->to))) {
            continue;
        }
        model_usage(m, child, index, &nodes, &bytes);
        *ret_nodes += nodes + 1;
        *ret_bytes += bytes + model_bytes(model_version_at(child, index));
    }
}

int model_quota_wrong(const struct model *m, const struct model_node *dir,
                      const struct model_node *below, uint64_t nodes, uint64_t bytes)
{
    while (dir != below) {
        uint64_t nodes_max, bytes_max, nodes_now, bytes_now;

        model_quota_of(model_version_now(dir), &nodes_max, &bytes_max);
        if (nodes_max != UINT64_MAX || bytes_max != UINT64_MAX) {
            model_usage(m, dir, m->index, &nodes_now, &bytes_now);
            if ((nodes > 0 && nodes_now + nodes > nodes_max) ||
                (bytes > 0 && bytes_now + bytes > bytes_max)) {
                return ERR_QUOTA;
            }
        }
        if (dir->id == TREE_ROOT_ID) {
            break;
        }
        dir = model_dir_of(m, dir);
    }
    return 0;
}

/* --- SETXATTR -------------------------------------------------------------------------------- */

static int name_wrong(struct name name)
{
    if (name.size > NAME_SIZE_MAX) {
        return ERR_NAMETOOLONG;
    }
    if (name.size <= 5 || memcmp(name.bytes, "user.", 5) != 0) {
        return ERR_UNSUPPORTED;
    }
    return memchr(name.bytes, 0, name.size) != NULL ? ERR_INVAL : 0;
}

static int setting_wrong(const struct model *m, const struct model_node *n, struct name name,
                         const struct blob *value)
{
    uint64_t nodes_max, bytes_max, nodes, bytes;
    bool quota = model_text_is(name, QUOTA);

    if (!quota && !model_text_is(name, RULE)) {
        return 0;
    }
    if (!quota) {
        return value_is(value, "open") || value_is(value, "session") ? 0 : ERR_INVAL;
    }
    if (!quota_parse(value, &nodes_max, &bytes_max)) {
        return ERR_INVAL;
    }
    model_usage(m, n, m->index, &nodes, &bytes);
    return nodes > nodes_max || bytes > bytes_max ? ERR_QUOTA : 0;
}

static bool is_reserved(const struct model_node *n, struct name name)
{
    bool setting = model_text_is(name, QUOTA) || model_text_is(name, RULE);

    return name.size >= 11 && memcmp(name.bytes, "user.zabfs.", 11) == 0 &&
           (!setting || n->type != NODE_DIR);
}

/* The list with the attribute set, or without it if `value` is not to be. */
static struct model_xattrs *xattrs_make(const struct model_xattrs *old, struct name name,
                                        struct blob *value, bool remove)
{
    uint32_t count = old != NULL ? old->count : 0;
    struct model_xattrs *x = mem_zalloc(sizeof(*x) + (count + 1) * sizeof(*x->list));
    bool placed = remove;

    x->refs = 1;
    for (uint32_t i = 0; i <= count; i++) {
        const struct xattr *a = i < count ? &old->list[i] : NULL;
        uint32_t size = a != NULL && a->name.size < name.size ? a->name.size : name.size;
        int order = a != NULL ? memcmp(a->name.bytes, name.bytes, size) : 1;
        bool same = a != NULL && order == 0 && a->name.size == name.size;

        order = order != 0 ? order : a->name.size < name.size ? -1 : 1;
        if (!placed && (same || order > 0)) {
            x->list[x->count++] = (struct xattr){{mem_dup(name.bytes, name.size), name.size},
                                                 value != NULL ? blob_ref(value) : NULL};
            placed = true;
        }
        if (a != NULL && !same) {
            x->list[x->count++] =
                (struct xattr){{mem_dup(a->name.bytes, a->name.size), a->name.size},
                               a->value != NULL ? blob_ref(a->value) : NULL};
        }
    }
    if (x->count == 0) {
        mem_free(x);
        return NULL;
    }
    return x;
}

static const struct xattr *xattr_of(const struct model_version *v, struct name name)
{
    for (uint32_t i = 0; v->xattrs != NULL && i < v->xattrs->count; i++) {
        const struct xattr *a = &v->xattrs->list[i];

        if (a->name.size == name.size && memcmp(a->name.bytes, name.bytes, name.size) == 0) {
            return a;
        }
    }
    return NULL;
}

static int room_wrong(const struct model *m, const struct model_node *n, const struct xattr *before,
                      struct name name, const struct blob *value)
{
    const struct model_version *v = model_version_now(n);
    uint64_t now = model_bytes(v) - model_size(v->value);
    uint64_t then = now + model_size(value) + name.size;

    then -= before != NULL ? before->name.size + model_size(before->value) : 0;
    if (then > XATTRS_SIZE_MAX ||
        (before == NULL && v->xattrs != NULL && v->xattrs->count >= XATTRS_MAX)) {
        return ERR_NOSPACE;
    }
    return then > now && n->id != TREE_ROOT_ID
               ? model_quota_wrong(m, model_dir_of(m, n), NULL, 0, then - now)
               : 0;
}

static bool same_value(const struct blob *a, const struct blob *b)
{
    return model_size(a) == model_size(b) &&
           (model_size(a) == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static int check(const struct model *m, const struct request *r, const struct model_node *n,
                 const struct xattr *before)
{
    bool remove = (r->u.setxattr.flags & SETXATTR_REMOVE) != 0;
    struct name name = r->u.setxattr.name;
    int err;

    if (is_reserved(n, name)) {
        return ERR_PERM;
    }
    err = remove ? 0 : setting_wrong(m, n, name, r->u.setxattr.value);
    if (err != 0) {
        return err;
    }
    if (before != NULL && (r->u.setxattr.flags & SETXATTR_CREATE)) {
        return ERR_EXISTS;
    }
    if (before == NULL && (r->u.setxattr.flags & (SETXATTR_REPLACE | SETXATTR_REMOVE))) {
        return ERR_NODATA;
    }
    if (remove || (before != NULL && same_value(before->value, r->u.setxattr.value))) {
        return 0;
    }
    return room_wrong(m, n, before, name, r->u.setxattr.value);
}

int model_op_setxattr(struct model *m, struct model_effect *e)
{
    const struct request *r = &e->txn->request;
    struct model_node *n = model_node_get(m, r->u.setxattr.id);
    bool remove = (r->u.setxattr.flags & SETXATTR_REMOVE) != 0;
    const struct xattr *before;
    struct model_xattrs *x;
    struct model_version *v;
    int err = n == NULL ? ERR_NOENT : name_wrong(r->u.setxattr.name);

    if (err != 0) {
        return err;
    }
    before = xattr_of(model_version_now(n), r->u.setxattr.name);
    err = check(m, r, n, before);
    if (err != 0) {
        return err;
    }
    if (remove || before == NULL || !same_value(before->value, r->u.setxattr.value)) {
        x = xattrs_make(model_version_now(n)->xattrs, r->u.setxattr.name, r->u.setxattr.value,
                        remove);
        v = model_version_make(m, n);
        model_xattrs_unref(v->xattrs);
        v->xattrs = x;
        v->attr.aversion++;
        v->attr.ctime_ns = m->time_ns;
        model_changed(m, e, n, CHANGE_SETATTR);
    }
    e->reply.u.attr = model_version_now(n)->attr;
    return 0;
}
