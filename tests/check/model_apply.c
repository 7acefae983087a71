#include "model_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codec.h"
#include "err.h"

/* What each operation does, from docs/PROTOCOL.md and nothing else. */

struct effect { /* of the transaction being applied */
    const struct txn *txn;
    struct reply reply;
    enum change_kind kind;
    const struct model_node *changed; /* NULL: nothing */
};

static uint32_t size_of(const struct blob *b)
{
    return b != NULL ? b->size : 0;
}

static bool too_big(const struct txn *txn, uint64_t size)
{
    return size > txn->value_size_max || size > VALUE_SIZE_MAX;
}

static void changed(struct effect *e, const struct model_node *n, enum change_kind kind)
{
    e->changed = n;
    e->kind = kind;
}

/* --- create and remove ----------------------------------------------------------------------- */

static bool text_is(struct name name, const char *text)
{
    return name.size == strlen(text) && memcmp(name.bytes, text, name.size) == 0;
}

static int name_wrong(uint64_t dir, struct name name)
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
    if (text_is(name, ".") || text_is(name, "..")) {
        return ERR_INVAL;
    }
    if (text_is(name, ".data") || (dir == TREE_ROOT_ID && text_is(name, ".zabfs"))) {
        return ERR_PERM;
    }
    return 0;
}

static int value_wrong(const struct txn *txn)
{
    const struct blob *value = txn->request.u.create.value;
    uint32_t size = size_of(value);

    switch (txn->request.u.create.type) {
    case NODE_FILE:
        return too_big(txn, size) ? ERR_TOOBIG : 0;
    case NODE_DIR:
        return size > 0 ? ERR_INVAL : 0;
    default:
        if (size == 0 || memchr(value->data, 0, size) != NULL) {
            return ERR_INVAL;
        }
        return size > SYMLINK_SIZE_MAX ? ERR_NAMETOOLONG : 0;
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
        err = name_wrong(dir->id, *name);
        if (err != 0) {
            return err;
        }
    } while (model_child_get(m, dir->id, *name) != NULL && ++*number != 0);
    return 0;
}

static void children_changed(struct model *m, struct model_node *dir, int files, int dirs)
{
    struct model_version *v = model_version_make(m, dir);

    v->attr.size += (uint64_t)(int64_t)files;
    v->attr.nlink += (uint32_t)dirs;
    v->attr.cversion++;
    v->attr.pzxid = m->index;
    v->attr.mtime_ns = m->time_ns;
    v->attr.ctime_ns = m->time_ns;
}

static void create_node(struct model *m, struct effect *e, struct model_node *dir, struct name name)
{
    const struct request *r = &e->txn->request;
    struct model_node *n = model_node_add(m, dir, r->u.create.type, name);
    struct model_version *v = model_version_now(n);

    v->value = size_of(r->u.create.value) > 0 ? blob_ref(r->u.create.value) : NULL;
    v->attr.size = size_of(v->value);
    v->attr.mode = r->u.create.mode;
    v->attr.uid = r->u.create.uid;
    v->attr.gid = r->u.create.gid;
    v->attr.atime_ns = v->attr.mtime_ns = v->attr.ctime_ns = m->time_ns;
    children_changed(m, dir, 1, n->type == NODE_DIR ? 1 : 0);
    e->reply.u.create.attr = model_version_now(n)->attr;
    e->reply.u.create.name = n->name;
    changed(e, n, CHANGE_CREATE);
}

static int apply_create(struct model *m, struct effect *e)
{
    const struct request *r = &e->txn->request;
    struct model_node *dir = model_node_get(m, r->u.create.dir);
    struct name name = r->u.create.name;
    char made[NAME_SIZE_MAX + 32];
    uint64_t number;
    int err;

    if (dir == NULL) {
        return ERR_NOENT;
    }
    if (dir->type != NODE_DIR) {
        return ERR_NOTDIR;
    }
    err = value_wrong(e->txn);
    if (err != 0) {
        return err;
    }
    number = dir->create_count;
    if (r->u.create.flags & CREATE_SEQUENTIAL) {
        err = name_number(m, dir, &name, made, &number);
    } else {
        err = name_wrong(dir->id, name);
        if (err == 0 && model_child_get(m, dir->id, name) != NULL) {
            err = ERR_EXISTS;
        }
    }
    if (err != 0) {
        return err;
    }
    dir->create_count = number + 1;
    create_node(m, e, dir, name);
    return 0;
}

static int apply_remove(struct model *m, struct effect *e)
{
    const struct request *r = &e->txn->request;
    struct model_node *dir = model_node_get(m, r->u.remove.dir);
    struct model_node *n;

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
    if (n == NULL) {
        return ERR_NOENT;
    }
    if ((r->u.remove.flags & REMOVE_DIR) && n->type != NODE_DIR) {
        return ERR_NOTDIR;
    }
    if (!(r->u.remove.flags & REMOVE_DIR) && n->type == NODE_DIR) {
        return ERR_ISDIR;
    }
    if (n->type == NODE_DIR && model_version_now(n)->attr.size > 0) {
        return ERR_NOTEMPTY;
    }
    n->dead = m->index;
    e->reply.u.remove.id = n->id;
    changed(e, n, CHANGE_REMOVE);
    children_changed(m, dir, -1, n->type == NODE_DIR ? -1 : 0);
    return 0;
}

/* --- values and attributes ------------------------------------------------------------------- */

static int file_find(const struct model *m, uint64_t id, struct model_node **ret)
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

/* Takes over one reference. */
static void value_put(struct model *m, struct effect *e, struct model_node *n, struct blob *value)
{
    struct model_version *v = model_version_make(m, n);

    blob_unref(v->value);
    if (size_of(value) == 0) {
        blob_unref(value);
        value = NULL;
    }
    v->value = value;
    v->attr.size = size_of(value);
    v->attr.version++;
    v->attr.mzxid = m->index;
    v->attr.mtime_ns = m->time_ns;
    v->attr.ctime_ns = m->time_ns;
    e->reply.u.attr = v->attr;
    changed(e, n, CHANGE_SET);
}

static int apply_set(struct model *m, struct effect *e)
{
    const struct request *r = &e->txn->request;
    struct model_node *n;
    int err = file_find(m, r->u.set.id, &n);

    if (err != 0) {
        return err;
    }
    if (r->u.set.if_version != 0 && r->u.set.if_version != model_version_now(n)->attr.version) {
        return ERR_VERSION;
    }
    if (too_big(e->txn, size_of(r->u.set.value))) {
        return ERR_TOOBIG;
    }
    value_put(m, e, n, blob_ref(r->u.set.value));
    return 0;
}

/* `old`, cut or extended with zeros to `size`, then `more`. */
static struct blob *value_join(const struct blob *old, uint32_t size, const struct blob *more)
{
    struct blob *b = blob_new_uninit(size + size_of(more));

    for (uint32_t i = 0; i < size; i++) {
        b->data[i] = i < size_of(old) ? old->data[i] : 0;
    }
    for (uint32_t i = 0; i < size_of(more); i++) {
        b->data[size + i] = more->data[i];
    }
    return b;
}

static int apply_append(struct model *m, struct effect *e)
{
    const struct blob *more = e->txn->request.u.append.value;
    struct model_node *n;
    const struct blob *old;
    int err = file_find(m, e->txn->request.u.append.id, &n);

    if (err != 0) {
        return err;
    }
    old = model_version_now(n)->value;
    if (too_big(e->txn, (uint64_t)size_of(old) + size_of(more))) {
        return ERR_TOOBIG;
    }
    value_put(m, e, n, value_join(old, size_of(old), more));
    return 0;
}

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

static int apply_setattr(struct model *m, struct effect *e)
{
    const struct request *r = &e->txn->request;
    struct model_node *n = model_node_get(m, r->u.setattr.id);
    bool resize = (r->u.setattr.mask & SETATTR_SIZE) != 0;
    struct attr a;
    bool other;

    if (n == NULL) {
        return ERR_NOENT;
    }
    if (resize) {
        int err = file_find(m, n->id, &n);

        if (err == 0 && too_big(e->txn, r->u.setattr.size)) {
            err = ERR_TOOBIG;
        }
        if (err != 0) {
            return err;
        }
    }
    a = model_version_now(n)->attr;
    other = attr_put(m, r, &a);
    if (resize) {
        value_put(m, e, n,
                  value_join(model_version_now(n)->value, (uint32_t)r->u.setattr.size, NULL));
    } else if (other) {
        changed(e, n, CHANGE_SETATTR);
    }
    if (resize || other) {
        struct attr *now = &model_version_make(m, n)->attr;

        now->mode = a.mode;
        now->uid = a.uid;
        now->gid = a.gid;
        now->atime_ns = a.atime_ns;
        now->ctime_ns = m->time_ns;
        now->aversion += other ? 1 : 0;
        if (!resize || (r->u.setattr.mask & SETATTR_MTIME)) {
            now->mtime_ns = a.mtime_ns;
        }
    }
    e->reply.u.attr = model_version_now(n)->attr;
    return 0;
}

/* --- sessions -------------------------------------------------------------------------------- */

static struct model_session *session_alive(const struct model *m, uint64_t id)
{
    struct model_session *s;

    HASH_FIND(hh, m->by_id, &id, sizeof(id), s);
    return s != NULL && s->dead == MODEL_ALIVE ? s : NULL;
}

static void session_open(struct model *m, const struct txn *txn)
{
    const struct request *r = &txn->request;
    const struct model_session *known = model_session_by_key(m, &r->u.session_open.key);
    uint32_t timeout_ms = r->u.session_open.timeout_ms;
    struct model_session *s;

    if ((known != NULL && known->dead == MODEL_ALIVE) ||
        r->u.session_open.label.size > CLIENT_LABEL_SIZE_MAX) {
        return;
    }
    if (timeout_ms < SESSION_TIMEOUT_MS_MIN) {
        timeout_ms = SESSION_TIMEOUT_MS_MIN;
    }
    if (timeout_ms > SESSION_TIMEOUT_MS_MAX) {
        timeout_ms = SESSION_TIMEOUT_MS_MAX;
    }
    s = model_session_add(m, &r->u.session_open.key);
    s->timeout_ms = timeout_ms;
}

static int session_close(struct model *m, const struct txn *txn)
{
    uint64_t named = txn->request.u.session_close.session;
    struct model_session *s = session_alive(m, named != 0 ? named : txn->session);

    if (txn->session != 0 && named != 0 && named != txn->session) {
        return ERR_PERM;
    }
    if (s == NULL) {
        return ERR_EXPIRED;
    }
    s->dead = m->index;
    if (txn->session == 0) {
        s->expired = true;
        m->expired = model_grow(m->expired, m->expired_count, &m->expired_cap,
                                sizeof(struct model_session *));
        m->expired[m->expired_count++] = s;
    }
    return 0;
}

/* --- all ------------------------------------------------------------------------------------- */

static int apply_op(struct model *m, struct effect *e)
{
    switch (e->txn->request.op) {
    case OP_CREATE:
        return apply_create(m, e);
    case OP_SET:
        return apply_set(m, e);
    case OP_APPEND:
        return apply_append(m, e);
    case OP_SETATTR:
        return apply_setattr(m, e);
    case OP_REMOVE:
        return apply_remove(m, e);
    case OP_SESSION_CLOSE:
        return session_close(m, e->txn);
    default:
        return ERR_UNSUPPORTED;
    }
}

static void note_result(struct model *m, const struct effect *e, struct blob *request)
{
    struct model_result *r = mem_zalloc(sizeof(*r));

    r->key = (struct model_result_key){e->txn->session, e->txn->request.xid};
    r->index = m->index;
    r->entries = 1;
    r->err = e->reply.err;
    m->scratch.size = 0;
    codec_encode_reply(&m->scratch, &e->reply);
    r->reply = blob_new(m->scratch.data, m->scratch.size);
    r->request = blob_ref(request);
    HASH_ADD(hh, m->results, key, sizeof(r->key), r);
}

/* "/a/b" of a directory; empty for the root, and for what is longer than PATH_SIZE_MAX. */
static struct name path_of(const struct model *m, const struct model_node *dir,
                           char text[PATH_SIZE_MAX])
{
    uint32_t at = PATH_SIZE_MAX;

    for (; dir->id != TREE_ROOT_ID; dir = model_node(m, dir->dir)) {
        if (at < dir->name.size + 1) {
            return (struct name){0};
        }
        at -= dir->name.size;
        memcpy(text + at, dir->name.bytes, dir->name.size);
        text[--at] = '/';
    }
    return (struct name){text + at, PATH_SIZE_MAX - at};
}

static void note_change(struct model *m, const struct effect *e)
{
    char path[PATH_SIZE_MAX];
    const struct model_version *v = model_version_now(e->changed);
    struct event event = {
        .index = m->index,
        .dir = e->changed->dir,
        .name = e->changed->name,
        .kind = e->kind,
        .dir_path = path_of(m, model_node(m, e->changed->dir), path),
        .session = e->txn->session,
        .xid = e->txn->request.xid,
        .attr = v->attr,
    };

    if ((e->kind == CHANGE_CREATE || e->kind == CHANGE_SET) && e->changed->type == NODE_FILE &&
        size_of(v->value) <= EVENT_VALUE_SIZE_MAX) {
        event.has_value = true;
        event.value = v->value;
    }
    m->scratch.size = 0;
    codec_encode_event(&m->scratch, &event);
    m->changes[m->change_count - 1] =
        (struct model_change){event.dir, blob_new(m->scratch.data, m->scratch.size)};
}

static void apply_of_session(struct model *m, struct effect *e, struct blob *request)
{
    const struct txn *txn = e->txn;
    struct model_session *s = session_alive(m, txn->session);
    struct model_result *before;

    if (s == NULL) {
        return; /* the answer is EXPIRED, and there is no effect */
    }
    if (txn->request.xid_floor > s->xid_floor) {
        s->xid_floor = txn->request.xid_floor;
    }
    if (txn->request.xid < s->xid_floor) {
        return; /* ABANDONED */
    }
    before = model_result(m, txn->session, txn->request.xid);
    if (before != NULL) {
        before->entries++;
        return;
    }
    e->reply.err = apply_op(m, e);
    note_result(m, e, request);
    if (e->changed != NULL) {
        note_change(m, e);
    }
}

void model_apply(struct model *m, const struct txn *txn, struct blob *request)
{
    struct effect e = {.txn = txn};

    CHECK(txn->index == m->index + 1);
    m->index++;
    m->changes = model_grow(m->changes, m->change_count, &m->change_cap, sizeof(*m->changes));
    m->changes[m->change_count++] = (struct model_change){0};
    if (txn->time_ns > m->time_ns) {
        m->time_ns = txn->time_ns;
    }
    e.reply.op = txn->request.op;
    e.reply.xid = txn->request.xid;
    e.reply.index = m->index;
    if (txn->request.op == OP_SESSION_OPEN) {
        session_open(m, txn);
    } else if (txn->request.op == OP_SESSION_CLOSE && txn->session == 0) {
        session_close(m, txn);
    } else {
        apply_of_session(m, &e, request);
    }
}
