#include "tree_int.h"

#include "err.h"

/* OP_TXN: several changes, all or none.
 *
 * Happy path: one step after the other is carried out as the operation that it stands for, on the
 * state that the ones before it have left, so that a path may lead through a directory that the
 * transaction has made. What each did goes into the reply.
 *
 * A step that is refused ends it: the journal undoes the ones before (tree_journal.c), and the
 * reply says which step it was, and why. The transaction itself has no error then: it was carried
 * out, and its answer is that it could not be. */

struct place {
    struct tree_node *dir;
    struct name name; /* empty: what the path names has no name, as the root */
};

/* The directory that a path leads to, and the last name. */
static int walk(const struct tree *t, struct name path, struct place *ret)
{
    struct tree_node *dir = t->root;
    uint32_t at = 1;

    if (path.size == 0 || path.bytes[0] != '/') {
        return ERR_INVAL;
    }
    for (uint32_t i = 1; i < path.size; i++) {
        if (path.bytes[i] != '/') {
            continue;
        }
        if (!tnode_is_dir(dir)) {
            return ERR_NOTDIR;
        }
        dir = tnode_child(t, dir, (struct name){path.bytes + at, i - at});
        if (dir == NULL) {
            return ERR_NOENT;
        }
        at = i + 1;
    }
    *ret = (struct place){dir, {path.bytes + at, path.size - at}};
    return !tnode_is_dir(dir) ? ERR_NOTDIR : 0;
}

static int find(const struct tree *t, struct name path, struct tree_node **ret)
{
    struct tree_node *n = t->root;
    struct place place;
    int err = walk(t, path, &place);

    if (err != 0) {
        return err;
    }
    if (place.dir != t->root || place.name.size > 0) {
        n = tnode_child(t, place.dir, place.name);
    }
    if (n == NULL) {
        return ERR_NOENT;
    }
    *ret = n;
    return 0;
}

/* As find(), if the node has the version that the step wants. */
static int find_version(const struct tree *t, const struct txn_step *s, struct tree_node **ret)
{
    int err = find(t, s->path, ret);

    if (err == 0 && s->version != VERSION_ANY && s->version != tnode_facts(*ret).version) {
        err = ERR_VERSION;
    }
    return err;
}

static struct txn_outcome outcome_of(struct tree *t, const struct tree_node *n)
{
    return (struct txn_outcome){n->id, tnode_facts(n).version, results_name(t, tree_node_name(n))};
}

/* Carries out one operation of the transaction. */
static int run(struct tree *t, const struct txn *txn, struct request request)
{
    struct txn one = *txn;
    struct txn_result result = {0};

    request.xid = txn->request.xid;
    one.request = request;
    return op_apply(t, &one, &result);
}

static int step_absent(struct tree *t, const struct txn_step *s, struct txn_outcome *ret)
{
    struct tree_node *n;
    int err = find(t, s->path, &n);

    if (err != ERR_NOENT) {
        return err == 0 ? ERR_EXISTS : err;
    }
    *ret = (struct txn_outcome){0};
    return 0;
}

static int step_make(struct tree *t, const struct txn *txn, const struct txn_step *s,
                     struct txn_outcome *ret)
{
    struct request r = {.op = OP_CREATE};
    uint64_t id = t->node_id_next;
    struct place place;
    int err = walk(t, s->path, &place);

    if (err != 0) {
        return err;
    }
    r.u.create.dir = place.dir->id;
    r.u.create.name = place.name;
    if (place.name.size > 0 && place.name.bytes[place.name.size - 1] == '#') {
        r.u.create.name.size--;
        r.u.create.flags = CREATE_SEQUENTIAL;
    }
    r.u.create.type = s->kind == TXN_CREATE  ? NODE_FILE
                      : s->kind == TXN_MKDIR ? NODE_DIR
                                             : NODE_SYMLINK;
    r.u.create.mode = s->kind == TXN_CREATE ? 0644 : s->kind == TXN_MKDIR ? 0755 : 0777;
    r.u.create.uid = txn->request.u.txn.uid;
    r.u.create.gid = txn->request.u.txn.gid;
    r.u.create.value = s->value;
    err = run(t, txn, r);
    if (err == 0) {
        *ret = outcome_of(t, tnode_get(t, id));
    }
    return err;
}

static int step_set(struct tree *t, const struct txn *txn, const struct txn_step *s,
                    struct txn_outcome *ret)
{
    struct request r = {.op = OP_SET};
    struct tree_node *n;
    int err = find(t, s->path, &n);

    if (err != 0) {
        return err;
    }
    r.u.set.id = n->id;
    r.u.set.if_version = s->version;
    r.u.set.value = s->value;
    err = run(t, txn, r);
    if (err == 0) {
        *ret = outcome_of(t, n);
    }
    return err;
}

static int step_append(struct tree *t, const struct txn *txn, const struct txn_step *s,
                       struct txn_outcome *ret)
{
    struct request r = {.op = OP_APPEND};
    struct tree_node *n;
    int err = find(t, s->path, &n);

    if (err != 0) {
        return err;
    }
    r.u.append.id = n->id;
    r.u.append.value = s->value;
    err = run(t, txn, r);
    if (err == 0) {
        *ret = outcome_of(t, n);
    }
    return err;
}

static int step_delete(struct tree *t, const struct txn *txn, const struct txn_step *s,
                       struct txn_outcome *ret)
{
    struct request r = {.op = OP_REMOVE};
    struct txn_outcome was;
    struct tree_node *n;
    int err = find_version(t, s, &n);

    if (err != 0) {
        return err;
    }
    was = outcome_of(t, n);
    r.u.remove.dir = n->parent->id;
    r.u.remove.name = tree_node_name(n);
    r.u.remove.flags = tnode_is_dir(n) ? REMOVE_DIR : 0;
    err = run(t, txn, r);
    if (err == 0) {
        *ret = was;
    }
    return err;
}

static int step_rename(struct tree *t, const struct txn *txn, const struct txn_step *s,
                       struct txn_outcome *ret)
{
    struct name to_path = {s->value != NULL ? (const char *)s->value->data : NULL,
                           s->value != NULL ? s->value->size : 0};
    struct request r = {.op = OP_RENAME};
    struct place place, to;
    int err = walk(t, s->path, &place);

    if (err == 0) {
        err = walk(t, to_path, &to);
    }
    if (err != 0) {
        return err;
    }
    r.u.rename.dir = place.dir->id;
    r.u.rename.name = place.name;
    r.u.rename.to_dir = to.dir->id;
    r.u.rename.to_name = to.name;
    err = run(t, txn, r);
    if (err == 0) {
        *ret = outcome_of(t, tnode_child(t, to.dir, to.name));
    }
    return err;
}

static int step(struct tree *t, const struct txn *txn, const struct txn_step *s,
                struct txn_outcome *ret)
{
    struct tree_node *n;
    int err;

    switch (s->kind) {
    case TXN_CHECK:
        err = find_version(t, s, &n);
        if (err == 0) {
            *ret = outcome_of(t, n);
        }
        return err;
    case TXN_ABSENT:
        return step_absent(t, s, ret);
    case TXN_CREATE:
    case TXN_MKDIR:
    case TXN_SYMLINK:
        return step_make(t, txn, s, ret);
    case TXN_SET:
        return step_set(t, txn, s, ret);
    case TXN_APPEND:
        return step_append(t, txn, s, ret);
    case TXN_DELETE:
        return step_delete(t, txn, s, ret);
    case TXN_RENAME:
        return step_rename(t, txn, s, ret);
    }
    return ERR_INVAL;
}

int apply_txn(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    const struct request *r = &txn->request;
    struct reply *reply = &ret->reply;
    struct txn_outcome *list = results_outcomes(t, r->u.txn.count);
    uint32_t i = 0;
    int err = 0;

    journal_begin(t);
    while (i < r->u.txn.count && err == 0) {
        err = step(t, txn, &r->u.txn.steps[i], &list[i]);
        i++;
    }
    reply->u.txn.err = err;
    reply->u.txn.failed = err != 0 ? i : 0;
    reply->u.txn.count = err != 0 ? 0 : i;
    reply->u.txn.list = err != 0 ? NULL : list;
    if (err != 0 && !BUG(X39_TXN_HALF)) {
        journal_undo(t);
    } else {
        journal_commit(t);
    }
    return 0;
}
