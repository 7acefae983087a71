#include "tree_int.h"

#include <string.h>

#include "check.h"
#include "err.h"
#include "name.h"

/* What each operation does.
 *
 * Happy path: tree_apply() moves index and time, finds the session and sees that the request is new
 * (tree_session.c), the operation checks everything it needs before it changes anything, changes
 * the node and its directory, fills reply and event, and the reply goes into a slot of the session.
 *
 * Refusals: an apply_*() that returns an ERR_ code has changed nothing. The refusal is a reply like
 * any other and is kept in a slot, so that a retry hears the same.
 *
 * Every change of a node is bracketed by digest_drop_node() and digest_add_node(). */

static uint32_t blob_size(const struct blob *b)
{
    return b != NULL ? b->size : 0;
}

int op_value_check(const struct txn *txn, uint64_t size)
{
    return size > txn->value_size_max || size > VALUE_SIZE_MAX ? ERR_TOOBIG : 0;
}

int op_dir_get(const struct tree *t, uint64_t id, struct tree_node **ret)
{
    struct tree_node *dir = tnode_get(t, id);

    if (dir == NULL) {
        return ERR_NOENT;
    }
    if (!tnode_is_dir(dir)) {
        return ERR_NOTDIR;
    }
    *ret = dir;
    return 0;
}

void op_dir_changed(const struct tree *t, struct tree_node *dir)
{
    struct tree_facts f = tnode_facts(dir);

    dir->dir->cversion++;
    dir->dir->pzxid = t->index;
    f.mtime_ns = t->time_ns;
    f.ctime_ns = t->time_ns;
    tnode_facts_set(dir, &f);
}

/* --- set, append, setattr --- */

int op_file_get(const struct tree *t, uint64_t id, struct tree_node **ret)
{
    struct tree_node *n = tnode_get(t, id);

    if (n == NULL) {
        return ERR_NOENT;
    }
    if (n->type != NODE_FILE) {
        return n->type == NODE_DIR ? ERR_ISDIR : ERR_INVAL;
    }
    *ret = n;
    return 0;
}

/* Whether a file may get a value of this size. */
static int value_fits(const struct tree *t, const struct txn *txn, const struct tree_node *n,
                      uint64_t size)
{
    uint64_t had = tnode_value_size(n);
    int err = op_value_check(txn, size);

    if (err == 0 && size > had) {
        err = quota_check(t, n->parent, NULL, 0, size - had);
    }
    return err;
}

/* A new version of the value; takes over one reference. Outside the digest, like all node_*. */
static void node_set_value(struct tree *t, struct tree_node *n, struct blob *value)
{
    struct tree_facts f = tnode_facts(n);

    f.version++;
    f.mzxid = t->index;
    f.mtime_ns = t->time_ns;
    f.ctime_ns = t->time_ns;
    tree_value_set(t, n, &f, value);
}

static int apply_set(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    const struct request *r = &txn->request;
    struct tree_node *n;
    int err = op_file_get(t, r->u.set.id, &n);

    if (err != 0) {
        return err;
    }
    if (r->u.set.if_version != VERSION_ANY && r->u.set.if_version != tnode_facts(n).version) {
        return ERR_VERSION;
    }
    err = value_fits(t, txn, n, blob_size(r->u.set.value));
    if (err != 0) {
        return err;
    }
    digest_drop_node(t, n);
    node_set_value(t, n, blob_ref(r->u.set.value));
    digest_add_node(t, n);
    ret->reply.u.attr = results_change(t, txn, n, CHANGE_SET)->attr;
    return 0;
}

/* The value cut or extended with zeros to `size` bytes: a new reference. */
static struct blob *value_resized(const struct tree_node *n, size_t size)
{
    size_t had = tnode_value_size(n);
    size_t kept = had < size ? had : size;
    struct blob *b;

    if (size == had) {
        return tnode_value(n);
    }
    b = blob_new_uninit(size);
    if (kept > 0) {
        memcpy(b->data, tnode_value_bytes(n), kept);
    }
    memset(b->data + kept, 0, size - kept);
    return b;
}

static int apply_append(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    const struct blob *more = txn->request.u.append.value;
    uint32_t more_size = blob_size(more);
    struct blob *value;
    struct tree_node *n;
    uint32_t size;
    int err = op_file_get(t, txn->request.u.append.id, &n);

    if (err != 0) {
        return err;
    }
    size = tnode_value_size(n);
    err = value_fits(t, txn, n, (uint64_t)size + more_size);
    if (err != 0) {
        return err;
    }
    value = value_resized(n, size + more_size);
    if (more_size > 0) {
        memcpy(value->data + size, more->data, more_size);
    }
    digest_drop_node(t, n);
    node_set_value(t, n, value);
    digest_add_node(t, n);
    ret->reply.u.attr = results_change(t, txn, n, CHANGE_SET)->attr;
    return 0;
}

/* What the node's attributes are after the request. */
struct attr_set {
    uint32_t uid, gid;
    uint16_t mode;
    int64_t atime_ns, mtime_ns;
};

/* True if the request changes an attribute. "Now" always does: whoever touches a file wants that to
 * be seen, and time may stand still while the leader's clock is behind. */
static bool attr_set_make(const struct tree *t, const struct request *r, const struct tree_node *n,
                          struct attr_set *ret)
{
    uint32_t mask = r->u.setattr.mask;
    const struct tree_facts f = tnode_facts(n);
    struct attr_set a = {f.uid, f.gid, n->mode, f.atime_ns, f.mtime_ns};

    if (mask & SETATTR_MODE) {
        a.mode = r->u.setattr.mode & 07777;
    }
    if (mask & SETATTR_UID) {
        a.uid = r->u.setattr.uid;
    }
    if (mask & SETATTR_GID) {
        a.gid = r->u.setattr.gid;
    }
    if (mask & SETATTR_ATIME) {
        a.atime_ns = r->u.setattr.atime_ns;
    }
    if (mask & SETATTR_MTIME) {
        a.mtime_ns = r->u.setattr.mtime_ns;
    }
    if (mask & SETATTR_ATIME_NOW) {
        a.atime_ns = t->time_ns;
    }
    if (mask & SETATTR_MTIME_NOW) {
        a.mtime_ns = t->time_ns;
    }
    *ret = a;
    return (mask & (SETATTR_ATIME_NOW | SETATTR_MTIME_NOW)) != 0 || a.mode != n->mode ||
           a.uid != f.uid || a.gid != f.gid || a.atime_ns != f.atime_ns || a.mtime_ns != f.mtime_ns;
}

static void node_set_attrs(struct tree *t, struct tree_node *n, const struct attr_set *a)
{
    struct tree_facts f = tnode_facts(n);

    f.mtime_ns = a->mtime_ns;
    f.uid = a->uid;
    f.gid = a->gid;
    f.atime_ns = a->atime_ns;
    f.ctime_ns = t->time_ns;
    tnode_facts_set(n, &f);
    n->mode = a->mode & 07777;
}

static int apply_setattr(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    const struct request *r = &txn->request;
    uint32_t mask = r->u.setattr.mask;
    bool resize = (mask & SETATTR_SIZE) != 0;
    struct tree_node *n = tnode_get(t, r->u.setattr.id);
    struct attr_set a;
    bool changed;
    int err = n == NULL ? ERR_NOENT : 0;

    if (resize) {
        err = op_file_get(t, r->u.setattr.id, &n);
        if (err == 0) {
            err = value_fits(t, txn, n, r->u.setattr.size);
        }
    }
    if (err != 0) {
        return err;
    }
    changed = attr_set_make(t, r, n, &a);
    if (changed || resize) {
        digest_drop_node(t, n);
        if (resize) {
            node_set_value(t, n, value_resized(n, (size_t)r->u.setattr.size));
        }
        if (resize && !(mask & SETATTR_MTIME)) { /* a time that was asked for wins */
            a.mtime_ns = t->time_ns;
        }
        node_set_attrs(t, n, &a);
        tnode_aversion_set(n, tnode_aversion(n) + (changed ? 1 : 0));
        digest_add_node(t, n);
        results_change(t, txn, n, resize ? CHANGE_SET : CHANGE_SETATTR);
    }
    tree_node_attr(n, &ret->reply.u.attr);
    return 0;
}

/* --- sessions and all --- */

static int apply_session_close(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    uint64_t named = txn->request.u.session_close.session;
    struct session *s;

    if (txn->session != 0 && named != 0 && named != txn->session) {
        return ERR_PERM;
    }
    s = session_get(t, named != 0 ? named : txn->session);
    if (s == NULL) {
        return ERR_EXPIRED;
    }
    ret->session_gone = s->info.id;
    life_end(t, txn, s);
    if (BUG(X21_EPHEMERAL_OF_ANOTHER) && series_next(&t->sessions, s->info.id) != NULL) {
        life_end(t, txn, series_next(&t->sessions, s->info.id));
    }
    locks_end(t, s);
    session_end(t, s);
    return 0;
}

int op_apply(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    switch (txn->request.op) {
    case OP_CREATE:
        return apply_create(t, txn, ret);
    case OP_SET:
        return apply_set(t, txn, ret);
    case OP_APPEND:
        return apply_append(t, txn, ret);
    case OP_SETATTR:
        return apply_setattr(t, txn, ret);
    case OP_REMOVE:
        return apply_remove(t, txn, ret);
    case OP_RENAME:
        return apply_rename(t, txn, ret);
    case OP_LOCK:
        return apply_lock(t, txn, ret);
    case OP_TXN:
        return apply_txn(t, txn, ret);
    case OP_SETXATTR:
        return apply_setxattr(t, txn, ret);
    case OP_SESSION_CLOSE:
        return apply_session_close(t, txn, ret);
    default:
        return ERR_UNSUPPORTED;
    }
}

/* A session's request: at most once, and with the same answer for ever. */
static void apply_of_session(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    struct session *s = session_get(t, txn->session);
    const struct slot *slot;

    if (s == NULL) {
        ret->reply.err = BUG(B20_DEAD_SESSION_WRITES) ? op_apply(t, txn, ret) : ERR_EXPIRED;
        return;
    }
    session_floor_raise(t, s, txn->request.xid_floor);
    if (txn->request.xid < s->info.xid_floor && !BUG(X17_FLOOR_IGNORED)) {
        ret->reply.err = ERR_ABANDONED;
        return;
    }
    slot = BUG(B23_RETRY_REPEATS) ? NULL : session_slot(s, txn->request.xid);
    if (slot != NULL && BUG(X29_APPEND_TWICE) && txn->request.op == OP_APPEND) {
        ret->reply.err = op_apply(t, txn, ret);
        return;
    }
    if (slot != NULL) {
        ret->reply = slot->reply;
        ret->duplicate = true;
        return;
    }
    if (s->info.slot_count >= CLIENT_REQUESTS_MAX) {
        ret->reply.err = ERR_OVERLOAD;
        return;
    }
    ret->reply.err = op_apply(t, txn, ret);
    if (ret->session_gone != txn->session && !BUG(B23_RETRY_REPEATS)) {
        session_slot_add(t, s, &ret->reply);
    }
}

void tree_apply(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    const struct request *r = &txn->request;

    CHECK(txn->index == t->index + 1);
    CHECK(op_is_write(r->op));
    results_begin(t);
    t->index = txn->index;
    if (txn->time_ns > t->time_ns) {
        t->time_ns = txn->time_ns;
    }
    *ret = (struct txn_result){
        .session = txn->session,
        .reply = {.op = r->op, .xid = r->xid, .index = txn->index},
    };
    if (r->op == OP_SESSION_OPEN) {
        ret->reply.err = session_open(t, txn, ret);
    } else if (r->op == OP_SESSION_CLOSE && txn->session == 0) {
        ret->reply.err = apply_session_close(t, txn, ret);
    } else {
        apply_of_session(t, txn, ret);
    }
    if (t->history != NULL) {
        history_trim(t);
    }
    ret->changes = t->results.changes;
    ret->change_count = t->results.change_count;
    ret->grants = t->results.grants;
    ret->grant_count = t->results.grant_count;
}

void tree_skip(struct tree *t, uint64_t index)
{
    CHECK(index == t->index + 1);
    t->index = index;
}

void txn_result_done(struct txn_result *r)
{
    /* The reply to a write owns nothing; an event owns its value. */
    for (uint32_t i = 0; i < r->change_count; i++) {
        blob_unref(r->changes[i].value);
    }
    *r = (struct txn_result){0};
}
