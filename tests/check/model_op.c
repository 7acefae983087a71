#include "model_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "err.h"

/* What each operation on one node does, from docs/PROTOCOL.md and nothing else. */

uint32_t model_size(const struct blob *b)
{
    return b != NULL ? b->size : 0;
}

static bool too_big(const struct txn *txn, uint64_t size)
{
    return size > txn->value_size_max || size > VALUE_SIZE_MAX;
}

bool model_text_is(struct name name, const char *text)
{
    return name.size == strlen(text) && memcmp(name.bytes, text, name.size) == 0;
}

/* --- create ---------------------------------------------------------------------------------- */

int model_name_wrong(uint64_t dir, struct name name)
{
    if (name.size == 0) {
        return ERR_INVAL;
    }
    if (name.size > NAME_SIZE_MAX) {
        return ERR_NAMETOOLONG;
    }
    for (uint32_t i = 0; i < name.size; i++) {
        if (name.bytes[i] == '/' || name.bytes[i] == '\0') {
            return ERR_INVAL;
        }
    }
    if (model_text_is(name, ".") || model_text_is(name, "..")) {
        return ERR_INVAL;
    }
    return dir == TREE_ROOT_ID && model_text_is(name, ".zabfs") ? ERR_PERM : 0;
}

static int make_wrong(const struct txn *txn, const struct model_make *make)
{
    uint32_t size = model_size(make->value);

    switch (make->type) {
    case NODE_FILE:
        return too_big(txn, size) ? ERR_TOOBIG : 0;
    case NODE_DIR:
        return size > 0 ? ERR_INVAL : make->life != LIFE_PERMANENT ? ERR_PERM : 0;
    default:
        if (size == 0 || memchr(make->value->data, 0, size) != NULL) {
            return ERR_INVAL;
        }
        if (size > SYMLINK_SIZE_MAX) {
            return ERR_NAMETOOLONG;
        }
        return make->life != LIFE_PERMANENT ? ERR_PERM : 0;
    }
}

/* The next number whose name is free; its name is put into `made`. */
static int name_number(const struct model *m, const struct model_node *dir, struct name *name,
                       char made[NAME_SIZE_MAX + 32], uint64_t *number)
{
    struct name prefix = *name;
    int err;

    if (prefix.size > NAME_SIZE_MAX) {
        return ERR_NAMETOOLONG;
    }
    memcpy(made, prefix.bytes, prefix.size);
    do {
        int digits = snprintf(made + prefix.size, 32, "%010" PRIu64, *number);

        *name = (struct name){made, prefix.size + (uint32_t)digits};
        err = model_name_wrong(dir->id, *name);
        if (err != 0) {
            return err;
        }
    } while (model_child_get(m, dir->id, *name) != NULL && ++*number != 0);
    return 0;
}

void model_children_changed(struct model *m, struct model_node *dir, int files, int dirs)
{
    struct model_version *v = model_version_make(m, dir);

    v->attr.size += (uint64_t)(int64_t)files;
    v->attr.nlink += (uint32_t)dirs;
    v->attr.cversion++;
    v->attr.pzxid = m->index;
    v->attr.mtime_ns = m->time_ns;
    v->attr.ctime_ns = m->time_ns;
}

static int name_find(const struct model *m, const struct model_node *dir,
                     const struct model_make *make, char made[NAME_SIZE_MAX + 32], struct name *ret,
                     uint64_t *number)
{
    int err;

    *ret = make->name;
    *number = model_version_now(dir)->create_count;
    if (make->sequential) {
        return name_number(m, dir, ret, made, number);
    }
    err = model_name_wrong(dir->id, *ret);
    if (err != 0) {
        return err;
    }
    if (model_text_is(*ret, ".data") && (make->type != NODE_FILE || make->life != LIFE_PERMANENT)) {
        return ERR_PERM;
    }
    return model_child_get(m, dir->id, *ret) != NULL ? ERR_EXISTS : 0;
}

/* How long what is made lives: as it was asked for, or by the rule of its directory. */
static void life_set(struct model_effect *e, const struct model_node *dir, struct name name,
                     const struct model_make *make, struct model_version *v)
{
    enum node_life rule = model_rule(model_version_now(dir));

    v->attr.life = make->life;
    if (make->type == NODE_FILE && make->life == LIFE_PERMANENT && rule != LIFE_PERMANENT &&
        !model_text_is(name, ".data")) {
        v->attr.life = rule;
        v->by_rule = true;
    }
    v->attr.owner = v->attr.life != LIFE_PERMANENT ? e->txn->session : 0;
}

int model_create(struct model *m, struct model_effect *e, struct model_node *dir,
                 const struct model_make *make, struct model_node **ret)
{
    char made[NAME_SIZE_MAX + 32];
    struct model_version *v;
    struct name name;
    uint64_t number;
    int err;

    if (dir->type != NODE_DIR) {
        return ERR_NOTDIR;
    }
    err = make_wrong(e->txn, make);
    err = err != 0 ? err : name_find(m, dir, make, made, &name, &number);
    err = err != 0 ? err : model_quota_wrong(m, dir, NULL, 1, model_size(make->value));
    if (err != 0) {
        return err;
    }
    model_version_make(m, dir)->create_count = number + 1;
    *ret = model_node_add(m, dir, make->type, name);
    v = model_version_now(*ret);
    v->value = model_size(make->value) > 0 ? blob_ref(make->value) : NULL;
    v->attr.size = model_size(v->value);
    v->attr.mode = make->mode;
    v->attr.uid = make->uid;
    v->attr.gid = make->gid;
    v->attr.atime_ns = v->attr.mtime_ns = v->attr.ctime_ns = m->time_ns;
    life_set(e, dir, name, make, v);
    if (!model_text_is(name, ".data")) {
        model_children_changed(m, dir, 1, make->type == NODE_DIR ? 1 : 0);
    }
    model_changed(m, e, *ret, CHANGE_CREATE);
    return 0;
}

int model_op_create(struct model *m, struct model_effect *e)
{
    const struct request *r = &e->txn->request;
    struct model_node *dir = model_node_get(m, r->u.create.dir);
    struct model_make make = {
        .type = r->u.create.type,
        .life = r->u.create.life,
        .name = r->u.create.name,
        .sequential = (r->u.create.flags & CREATE_SEQUENTIAL) != 0,
        .mode = r->u.create.mode,
        .uid = r->u.create.uid,
        .gid = r->u.create.gid,
        .value = r->u.create.value,
    };
    struct model_node *n;
    int err = dir == NULL ? ERR_NOENT : model_create(m, e, dir, &make, &n);

    if (err == 0) {
        e->reply.u.create.attr = model_version_now(n)->attr;
        e->reply.u.create.name = n->life->name;
    }
    return err;
}

/* --- remove ---------------------------------------------------------------------------------- */

void model_take_away(struct model *m, struct model_effect *e, struct model_node *n)
{
    struct model_node *data = model_child_get(m, n->id, (struct name){".data", 5});

    if (data != NULL) {
        model_take_away(m, e, data);
    }
    model_changed(m, e, n, CHANGE_REMOVE);
    model_node_end(m, n);
}

void model_remove_node(struct model *m, struct model_effect *e, struct model_node *n)
{
    struct model_node *dir = model_dir_of(m, n);

    model_take_away(m, e, n);
    if (!model_text_is(n->life->name, ".data")) {
        model_children_changed(m, dir, -1, n->type == NODE_DIR ? -1 : 0);
    }
}

int model_remove(struct model *m, struct model_effect *e, struct model_node *n, bool dirs)
{
    if (n->id == TREE_ROOT_ID) {
        return ERR_BUSY;
    }
    if (dirs && n->type != NODE_DIR) {
        return ERR_NOTDIR;
    }
    if (!dirs && n->type == NODE_DIR) {
        return ERR_ISDIR;
    }
    if (n->type == NODE_DIR && model_version_now(n)->attr.size > 0) {
        return ERR_NOTEMPTY;
    }
    model_remove_node(m, e, n);
    return 0;
}

static int remove_find(const struct model *m, const struct request *r, struct model_node **ret)
{
    uint64_t id = r->u.remove.id;
    struct model_node *dir, *n;

    if (r->u.remove.dir == 0) {
        n = model_node_get(m, id);
        *ret = n;
        return n == NULL ? ERR_NOENT : r->u.remove.name.size > 0 ? ERR_INVAL : 0;
    }
    dir = model_node_get(m, r->u.remove.dir);
    if (dir == NULL) {
        return ERR_NOENT;
    }
    if (dir->type != NODE_DIR) {
        return ERR_NOTDIR;
    }
    if (dir->id == TREE_ROOT_ID && r->u.remove.name.size == 0) {
        return ERR_BUSY;
    }
    n = model_child_get(m, dir->id, r->u.remove.name);
    *ret = n;
    return n == NULL || (id != 0 && id != n->id) ? ERR_NOENT : 0;
}

int model_op_remove(struct model *m, struct model_effect *e)
{
    const struct request *r = &e->txn->request;
    struct model_node *n;
    int err = remove_find(m, r, &n);

    err = err != 0 ? err : model_remove(m, e, n, (r->u.remove.flags & REMOVE_DIR) != 0);
    if (err == 0) {
        e->reply.u.remove.id = n->id;
    }
    return err;
}

/* --- values ---------------------------------------------------------------------------------- */

int model_file(const struct model *m, uint64_t id, struct model_node **ret)
{
    struct model_node *n = model_node_get(m, id);

    if (n == NULL) {
        return ERR_NOENT;
    }
    if (n->type == NODE_DIR) {
        return ERR_ISDIR;
    }
    if (n->type == NODE_SYMLINK) {
        return ERR_INVAL;
    }
    *ret = n;
    return 0;
}

static int value_wrong(const struct model *m, const struct model_effect *e,
                       const struct model_node *n, uint64_t size)
{
    uint64_t now = model_version_now(n)->attr.size;

    if (too_big(e->txn, size)) {
        return ERR_TOOBIG;
    }
    return size > now ? model_quota_wrong(m, model_dir_of(m, n), NULL, 0, size - now) : 0;
}

/* Takes over one reference. */
static void value_put(struct model *m, struct model_node *n, struct blob *value)
{
    struct model_version *v = model_version_make(m, n);

    blob_unref(v->value);
    if (model_size(value) == 0) {
        blob_unref(value);
        value = NULL;
    }
    v->value = value;
    v->attr.size = model_size(value);
    v->attr.version++;
    v->attr.mzxid = m->index;
    v->attr.mtime_ns = m->time_ns;
    v->attr.ctime_ns = m->time_ns;
}

int model_put(struct model *m, struct model_effect *e, struct model_node *n, struct blob *value)
{
    int err = value_wrong(m, e, n, model_size(value));

    if (err == 0) {
        value_put(m, n, blob_ref(value));
        model_changed(m, e, n, CHANGE_SET);
    }
    return err;
}

int model_op_set(struct model *m, struct model_effect *e)
{
    const struct request *r = &e->txn->request;
    struct model_node *n;
    int err = model_file(m, r->u.set.id, &n);

    if (err == 0 && r->u.set.if_version != 0 &&
        r->u.set.if_version != model_version_now(n)->attr.version) {
        err = ERR_VERSION;
    }
    err = err != 0 ? err : model_put(m, e, n, r->u.set.value);
    if (err == 0) {
        e->reply.u.attr = model_version_now(n)->attr;
    }
    return err;
}

/* `old`, cut or extended with zeros to `size`, then `more`. */
static struct blob *value_join(const struct blob *old, uint32_t size, const struct blob *more)
{
    struct blob *b = blob_new_uninit(size + model_size(more));

    for (uint32_t i = 0; i < size; i++) {
        b->data[i] = i < model_size(old) ? old->data[i] : 0;
    }
    for (uint32_t i = 0; i < model_size(more); i++) {
        b->data[size + i] = more->data[i];
    }
    return b;
}

int model_append(struct model *m, struct model_effect *e, struct model_node *n,
                 const struct blob *more)
{
    const struct blob *old = model_version_now(n)->value;
    int err = value_wrong(m, e, n, (uint64_t)model_size(old) + model_size(more));

    if (err == 0) {
        value_put(m, n, value_join(old, model_size(old), more));
        model_changed(m, e, n, CHANGE_SET);
    }
    return err;
}

int model_op_append(struct model *m, struct model_effect *e)
{
    const struct request *r = &e->txn->request;
    struct model_node *n;
    int err = model_file(m, r->u.append.id, &n);

    err = err != 0 ? err : model_append(m, e, n, r->u.append.value);
    if (err == 0) {
        e->reply.u.attr = model_version_now(n)->attr;
    }
    return err;
}

/* --- attributes ------------------------------------------------------------------------------ */

/* True if an attribute is another afterwards, or a time is set to now. */
static bool attr_put(const struct model *m, const struct request *r, struct attr *a)
{
    uint32_t mask = r->u.setattr.mask;
    struct attr was = *a;

    if (mask & SETATTR_MODE) {
        a->mode = r->u.setattr.mode;
    }
    if (mask & SETATTR_UID) {
        a->uid = r->u.setattr.uid;
    }
    if (mask & SETATTR_GID) {
        a->gid = r->u.setattr.gid;
    }
    if (mask & SETATTR_ATIME) {
        a->atime_ns = r->u.setattr.atime_ns;
    }
    if (mask & SETATTR_ATIME_NOW) {
        a->atime_ns = m->time_ns;
    }
    if (mask & SETATTR_MTIME) {
        a->mtime_ns = r->u.setattr.mtime_ns;
    }
    if (mask & SETATTR_MTIME_NOW) {
        a->mtime_ns = m->time_ns;
    }
    return (mask & (SETATTR_ATIME_NOW | SETATTR_MTIME_NOW)) != 0 || was.mode != a->mode ||
           was.uid != a->uid || was.gid != a->gid || was.atime_ns != a->atime_ns ||
           was.mtime_ns != a->mtime_ns;
}

static void attr_set(struct model *m, struct model_effect *e, struct model_node *n, bool resize)
{
    const struct request *r = &e->txn->request;
    struct attr a = model_version_now(n)->attr;
    bool other = attr_put(m, r, &a);
    struct attr *now;

    if (!resize && !other) {
        return;
    }
    if (resize) {
        value_put(m, n, value_join(model_version_now(n)->value, (uint32_t)r->u.setattr.size, NULL));
    }
    now = &model_version_make(m, n)->attr;
    now->mode = a.mode;
    now->uid = a.uid;
    now->gid = a.gid;
    now->atime_ns = a.atime_ns;
    now->ctime_ns = m->time_ns;
    now->aversion += other ? 1 : 0;
    if (!resize || (r->u.setattr.mask & SETATTR_MTIME)) {
        now->mtime_ns = a.mtime_ns;
    }
    model_changed(m, e, n, resize ? CHANGE_SET : CHANGE_SETATTR);
}

int model_op_setattr(struct model *m, struct model_effect *e)
{
    const struct request *r = &e->txn->request;
    struct model_node *n = model_node_get(m, r->u.setattr.id);
    bool resize = (r->u.setattr.mask & SETATTR_SIZE) != 0;
    int err = n == NULL ? ERR_NOENT : 0;

    if (err == 0 && resize) {
        err = model_file(m, n->id, &n);
        err = err != 0 ? err : value_wrong(m, e, n, r->u.setattr.size);
    }
    if (err == 0) {
        attr_set(m, e, n, resize);
        e->reply.u.attr = model_version_now(n)->attr;
    }
    return err;
}
