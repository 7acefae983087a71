#include "model_int.h"

#include "err.h"

/* Rename, as docs/PROTOCOL.md has it. */

static bool is_below(const struct model *m, const struct model_node *n,
                     const struct model_node *dir)
{
    while (n != dir && n->id != TREE_ROOT_ID) {
        n = model_dir_of(m, n);
    }
    return n == dir;
}

struct step { /* a rename that is being looked at */
    struct model_node *dir, *to_dir, *n, *target;
    struct name name, to_name;
    uint32_t flags;
};

static int find(const struct model *m, struct step *s)
{
    if (s->dir == NULL || s->dir->type != NODE_DIR) {
        return s->dir == NULL ? ERR_NOENT : ERR_NOTDIR;
    }
    if (s->to_dir == NULL || s->to_dir->type != NODE_DIR) {
        return s->to_dir == NULL ? ERR_NOENT : ERR_NOTDIR;
    }
    if ((s->dir->id == TREE_ROOT_ID && s->name.size == 0) ||
        (s->to_dir->id == TREE_ROOT_ID && s->to_name.size == 0)) {
        return ERR_BUSY;
    }
    s->n = model_child_get(m, s->dir->id, s->name);
    s->target = model_child_get(m, s->to_dir->id, s->to_name);
    return s->n == NULL ? ERR_NOENT : model_name_wrong(s->to_dir->id, s->to_name);
}

static int data_wrong(const struct step *s)
{
    bool to_data = model_text_is(s->to_name, ".data");

    if (model_text_is(s->name, ".data")) {
        return ERR_PERM;
    }
    if (!to_data) {
        return 0;
    }
    if ((s->flags & RENAME_FLAG_EXCHANGE) || s->n->type != NODE_FILE) {
        return ERR_PERM;
    }
    return model_version_now(s->n)->attr.life != LIFE_PERMANENT && !model_version_now(s->n)->by_rule
               ? ERR_PERM
               : 0;
}

static int target_wrong(const struct model *m, const struct step *s)
{
    bool exchange = (s->flags & RENAME_FLAG_EXCHANGE) != 0;

    if (s->flags == RENAME_FLAG_ALL || is_below(m, s->to_dir, s->n)) {
        return ERR_INVAL;
    }
    if (s->target == NULL) {
        return exchange ? ERR_NOENT : 0;
    }
    if (s->flags & RENAME_FLAG_NOREPLACE) {
        return ERR_EXISTS;
    }
    if (exchange) {
        return is_below(m, s->dir, s->target) ? ERR_INVAL : 0;
    }
    if (s->target == s->n) {
        return 0;
    }
    if (s->n->type == NODE_DIR && s->target->type != NODE_DIR) {
        return ERR_NOTDIR;
    }
    if (s->n->type != NODE_DIR && s->target->type == NODE_DIR) {
        return ERR_ISDIR;
    }
    return s->target->type == NODE_DIR && model_version_now(s->target)->attr.size > 0 ? ERR_NOTEMPTY
                                                                                      : 0;
}

/* The directories that are above both places get nothing more. */
static int quota_wrong(const struct model *m, const struct model_node *from,
                       const struct model_node *to, const struct model_node *n,
                       const struct model_node *gone)
{
    uint64_t nodes, bytes, gone_nodes = 0, gone_bytes = 0;
    const struct model_node *both = from;

    while (!is_below(m, to, both)) {
        both = model_dir_of(m, both);
    }
    model_usage(m, n, m->index, &nodes, &bytes);
    if (gone != NULL) {
        model_usage(m, gone, m->index, &gone_nodes, &gone_bytes);
        gone_nodes++;
        gone_bytes += model_bytes(model_version_now(gone));
    }
    nodes++;
    bytes += model_bytes(model_version_now(n));
    return model_quota_wrong(m, to, both, nodes > gone_nodes ? nodes - gone_nodes : 0,
                             bytes > gone_bytes ? bytes - gone_bytes : 0);
}

/* A file takes the place of another, which stays the node that it was. */
static void merge(struct model *m, struct model_effect *e, struct step *s)
{
    struct model_version moved = *model_version_now(s->n);
    struct model_version *v;

    model_remove_node(m, e, s->n);
    v = model_version_make(m, s->target);
    blob_unref(v->value);
    model_xattrs_unref(v->xattrs);
    v->value = moved.value != NULL ? blob_ref(moved.value) : NULL;
    v->xattrs = moved.xattrs;
    if (v->xattrs != NULL) {
        v->xattrs->refs++;
    }
    v->attr.uid = moved.attr.uid;
    v->attr.gid = moved.attr.gid;
    v->attr.mode = moved.attr.mode;
    v->attr.size = moved.attr.size;
    v->attr.atime_ns = moved.attr.atime_ns;
    v->attr.mtime_ns = moved.attr.mtime_ns;
    v->attr.ctime_ns = m->time_ns;
    v->attr.version++;
    v->attr.aversion++;
    v->attr.mzxid = m->index;
    model_changed(m, e, s->target, CHANGE_SET);
}

static void move(struct model *m, struct model_effect *e, struct model_node *n,
                 struct model_node *to_dir, struct name to_name)
{
    struct model_node *dir = model_dir_of(m, n);
    struct name from = n->life->name;
    struct model_version *v;
    struct event *event;

    model_node_move(m, n, to_dir, to_name);
    v = model_version_make(m, n);
    v->attr.ctime_ns = m->time_ns;
    if (v->by_rule) {
        v->by_rule = false;
        v->attr.life = LIFE_PERMANENT;
        v->attr.owner = 0;
    }
    event = model_changed(m, e, n, CHANGE_MOVE);
    event->from_dir = dir->id;
    event->from_name = model_text(e, from);
    event->from_path = model_path(m, e, dir->id, m->index);
}

static int is_dir(const struct model_node *n)
{
    return n != NULL && n->type == NODE_DIR ? 1 : 0;
}

/* Each directory is changed once. */
static void dirs_changed(struct model *m, const struct step *s, bool exchange)
{
    int listed = model_text_is(s->to_name, ".data") ? 0 : 1;
    int came = exchange ? 0 : listed - (s->target != NULL ? listed : 0);
    int went = exchange ? 0 : -1;
    int came_dirs = is_dir(s->n) - is_dir(s->target);
    int went_dirs = exchange ? -came_dirs : -is_dir(s->n);

    if (s->dir == s->to_dir) {
        model_children_changed(m, s->dir, came + went, came_dirs + went_dirs);
    } else {
        model_children_changed(m, s->dir, went, went_dirs);
        if (listed > 0) {
            model_children_changed(m, s->to_dir, came, came_dirs);
        }
    }
}

int model_rename(struct model *m, struct model_effect *e, struct model_node *dir, struct name name,
                 struct model_node *to_dir, struct name to_name, uint32_t flags)
{
    struct step s = {
        .dir = dir, .to_dir = to_dir, .name = name, .to_name = to_name, .flags = flags};
    bool exchange = (flags & RENAME_FLAG_EXCHANGE) != 0;
    int err = find(m, &s);

    err = err != 0 ? err : data_wrong(&s);
    err = err != 0 ? err : target_wrong(m, &s);
    if (err != 0) {
        return err;
    }
    e->reply.u.rename.merged = false;
    e->reply.u.rename.gone = 0;
    if (s.n == s.target) {
        return 0;
    }
    err = quota_wrong(m, dir, to_dir, s.n, s.target);
    if (err == 0 && exchange) {
        err = quota_wrong(m, to_dir, dir, s.target, s.n);
    }
    if (err != 0) {
        return err;
    }
    if (exchange) {
        struct name back = model_text(e, name);

        move(m, e, s.n, to_dir, to_name);
        move(m, e, s.target, dir, back);
        dirs_changed(m, &s, true);
        return 0;
    }
    e->reply.u.rename.merged =
        s.target != NULL && s.n->type == NODE_FILE && s.target->type == NODE_FILE;
    if (e->reply.u.rename.merged) {
        e->reply.u.rename.gone = s.n->id;
        merge(m, e, &s);
        return 0;
    }
    if (s.target != NULL) {
        e->reply.u.rename.gone = s.target->id;
        model_take_away(m, e, s.target);
    }
    move(m, e, s.n, to_dir, to_name);
    dirs_changed(m, &s, false);
    return 0;
}

int model_op_rename(struct model *m, struct model_effect *e)
{
    const struct request *r = &e->txn->request;
    int err =
        model_rename(m, e, model_node_get(m, r->u.rename.dir), r->u.rename.name,
                     model_node_get(m, r->u.rename.to_dir), r->u.rename.to_name, r->u.rename.flags);

    if (err == 0) {
        e->reply.u.rename.attr =
            model_version_now(model_child_get(m, r->u.rename.to_dir, r->u.rename.to_name))->attr;
    }
    return err;
}
