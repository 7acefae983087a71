#include "model_int.h"

#include <string.h>

#include "err.h"

/* Transactions: step by step on the model itself; if one is refused, all is taken back. */

/* The directory that the path leads to, and its last name. */
static int walk(const struct model *m, struct name path, struct model_node **ret_dir,
                struct name *ret_name)
{
    struct model_node *dir = model_node_get(m, TREE_ROOT_ID);
    uint32_t at = 1;

    if (path.size == 0 || path.bytes[0] != '/') {
        return ERR_INVAL;
    }
    for (uint32_t i = 1; i < path.size; i++) {
        if (path.bytes[i] == '/') {
            if (dir->type != NODE_DIR) {
                return ERR_NOTDIR;
            }
            dir = model_child_get(m, dir->id, (struct name){path.bytes + at, i - at});
            if (dir == NULL) {
                return ERR_NOENT;
            }
            at = i + 1;
        }
    }
    *ret_dir = dir;
    *ret_name = (struct name){path.bytes + at, path.size - at};
    return dir->type == NODE_DIR ? 0 : ERR_NOTDIR;
}

static int find(const struct model *m, struct name path, struct model_node **ret)
{
    struct model_node *dir;
    struct name name;
    int err = walk(m, path, &dir, &name);

    if (err != 0) {
        return err;
    }
    *ret = name.size == 0 && dir->id == TREE_ROOT_ID ? dir : model_child_get(m, dir->id, name);
    return *ret == NULL ? ERR_NOENT : 0;
}

static void done(struct model_effect *e, uint64_t id, uint64_t version, struct name name)
{
    e->outcomes[e->reply.u.txn.count++] = (struct txn_outcome){id, version, model_text(e, name)};
}

static void done_node(struct model_effect *e, const struct model_node *n)
{
    done(e, n->id, model_version_now(n)->attr.version, n->life->name);
}

static int step_make(struct model *m, struct model_effect *e, const struct txn_step *s)
{
    const struct request *r = &e->txn->request;
    struct model_make make = {.uid = r->u.txn.uid, .gid = r->u.txn.gid, .value = s->value};
    struct model_node *dir, *n;
    int err = walk(m, s->path, &dir, &make.name);

    if (err != 0) {
        return err;
    }
    make.type = s->kind == TXN_CREATE ? NODE_FILE : s->kind == TXN_MKDIR ? NODE_DIR : NODE_SYMLINK;
    make.mode = make.type == NODE_FILE ? 0644 : make.type == NODE_DIR ? 0755 : 0777;
    if (make.name.size > 0 && make.name.bytes[make.name.size - 1] == '#') {
        make.sequential = true;
        make.name.size--;
    }
    err = model_create(m, e, dir, &make, &n);
    if (err == 0) {
        done_node(e, n);
    }
    return err;
}

static int step_look(struct model *m, struct model_effect *e, const struct txn_step *s)
{
    struct model_node *n;
    int err = find(m, s->path, &n);

    if (s->kind == TXN_ABSENT) {
        if (err == ERR_NOENT) {
            done(e, 0, 0, (struct name){0});
        }
        return err == 0 ? ERR_EXISTS : err == ERR_NOENT ? 0 : err;
    }
    if (err == 0 && s->version != VERSION_ANY && model_version_now(n)->attr.version != s->version) {
        err = ERR_VERSION;
    }
    if (err == 0) {
        done_node(e, n);
    }
    return err;
}

static int step_value(struct model *m, struct model_effect *e, const struct txn_step *s)
{
    struct model_node *n;
    int err = find(m, s->path, &n);

    err = err != 0 ? err : model_file(m, n->id, &n);
    if (err == 0 && s->kind == TXN_SET && s->version != VERSION_ANY &&
        s->version != model_version_now(n)->attr.version) {
        err = ERR_VERSION;
    }
    if (err == 0) {
        err = s->kind == TXN_SET ? model_put(m, e, n, s->value) : model_append(m, e, n, s->value);
    }
    if (err == 0) {
        done_node(e, n);
    }
    return err;
}

static int step_delete(struct model *m, struct model_effect *e, const struct txn_step *s)
{
    struct model_node *n;
    int err = find(m, s->path, &n);

    if (err == 0 && s->version != VERSION_ANY && model_version_now(n)->attr.version != s->version) {
        err = ERR_VERSION;
    }
    err = err != 0 ? err : model_remove(m, e, n, n->type == NODE_DIR);
    if (err == 0) {
        done_node(e, n);
    }
    return err;
}

static int step_rename(struct model *m, struct model_effect *e, const struct txn_step *s)
{
    struct name to = {s->value != NULL ? (const char *)s->value->data : NULL, model_size(s->value)};
    struct model_node *dir, *to_dir;
    struct name name, to_name;
    int err = walk(m, s->path, &dir, &name);
    struct reply kept = e->reply;

    err = err != 0 ? err : walk(m, to, &to_dir, &to_name);
    err = err != 0 ? err : model_rename(m, e, dir, name, to_dir, to_name, 0);
    e->reply = kept;
    if (err == 0) {
        done_node(e, model_child_get(m, to_dir->id, to_name));
    }
    return err;
}

static int step(struct model *m, struct model_effect *e, const struct txn_step *s)
{
    switch (s->kind) {
    case TXN_CHECK:
    case TXN_ABSENT:
        return step_look(m, e, s);
    case TXN_CREATE:
    case TXN_MKDIR:
    case TXN_SYMLINK:
        return step_make(m, e, s);
    case TXN_SET:
    case TXN_APPEND:
        return step_value(m, e, s);
    case TXN_DELETE:
        return step_delete(m, e, s);
    default:
        return step_rename(m, e, s);
    }
}

int model_op_txn(struct model *m, struct model_effect *e)
{
    const struct request *r = &e->txn->request;
    uint64_t id_next = m->id_next;

    e->outcomes = mem_zalloc((r->u.txn.count + 1) * sizeof(*e->outcomes));
    e->reply.u.txn.list = e->outcomes;
    for (uint32_t i = 0; i < r->u.txn.count && e->reply.u.txn.err == 0; i++) {
        e->reply.u.txn.err = step(m, e, &r->u.txn.steps[i]);
        e->reply.u.txn.failed = e->reply.u.txn.err != 0 ? i + 1 : 0;
    }
    if (e->reply.u.txn.err != 0) {
        e->reply.u.txn.count = 0;
        for (uint64_t i = 0; i < e->event_count; i++) {
            blob_unref(e->events[i].value);
        }
        e->event_count = 0;
        e->grant_count = 0;
        model_undo(m, id_next);
    }
    return 0;
}
