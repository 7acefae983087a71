#include "tree_int.h"

#include <string.h>

#include "err.h"
#include "name.h"

/* How nodes come to be and go. Refusals come before the first change, as in tree_apply.c.
 *
 * A name of a directory is a child, but for ".data": that changes nothing of what the directory
 * shows of its children, and goes with it. */

static uint32_t value_size(const struct blob *b)
{
    return b != NULL ? b->size : 0;
}

/* --- create --- */

int op_name_check(const struct tree *t, const struct tree_node *dir, struct name name)
{
    static const char reserved[] = ".zabfs";
    int err = name_check(name.bytes, name.size);

    if (err != 0) {
        return err;
    }
    return dir == t->root && name.size == strlen(reserved) &&
                   memcmp(name.bytes, reserved, name.size) == 0
               ? ERR_PERM
               : 0;
}

/* Makes a sequential name that is free into `to`. A number whose name someone took by spelling it
 * out is passed over for good: else the prefix would be blocked for as long as that node stays. */
static int create_name_make(const struct tree *t, const struct tree_node *dir, struct name prefix,
                            char to[NAME_SIZE_MAX + 1], struct name *ret, uint64_t *ret_number)
{
    uint64_t number = dir->dir->create_count;
    struct name name = {to, 0};

    for (;; number++) {
        size_t size;
        int err = name_make_sequential(prefix.bytes, prefix.size, number, to, &size);

        if (err != 0) {
            return err;
        }
        name.size = (uint32_t)size;
        err = op_name_check(t, dir, name);
        if (err != 0) {
            return err;
        }
        if (tnode_child(t, dir, name) == NULL) {
            *ret = name;
            *ret_number = number;
            return 0;
        }
    }
}

static int create_value_check(const struct txn *txn, enum node_type type, const struct blob *value)
{
    uint32_t size = value_size(value);

    switch (type) {
    case NODE_FILE:
        return op_value_check(txn, size);
    case NODE_DIR:
        return size > 0 ? ERR_INVAL : 0;
    case NODE_SYMLINK:
        if (size == 0 || memchr(value->data, '\0', size) != NULL) {
            return ERR_INVAL;
        }
        return size > SYMLINK_SIZE_MAX ? ERR_NAMETOOLONG : 0;
    default:
        return ERR_INVAL;
    }
}

/* As long as was asked for, or by the rule of the directory. */
static void create_life(struct tree *t, const struct txn *txn, const struct tree_node *dir,
                        struct tree_node *n)
{
    enum node_life life = txn->request.u.create.life;
    bool by_rule = life == LIFE_PERMANENT && n->type == NODE_FILE &&
                   !name_is_data(tree_node_name(n)) && dir->dir->settings.rule != LIFE_PERMANENT &&
                   !(BUG(X32_RULE_IGNORED) && (txn->request.u.create.flags & CREATE_SEQUENTIAL));
    struct session *s = session_get(t, txn->session);

    if (by_rule) {
        life = (enum node_life)dir->dir->settings.rule;
    }
    if (life != LIFE_PERMANENT && s != NULL) {
        life_set(n, s, life, by_rule);
    }
}

static struct tree_node *create_node(struct tree *t, const struct txn *txn, struct tree_node *dir,
                                     struct name name)
{
    const struct request *r = &txn->request;
    struct tree_node *n = tnode_new(&t->slab, r->u.create.type, name);
    const struct tree_facts facts = {
        .cookie = dir->dir->create_count,
        .version = 1,
        .czxid = txn->index,
        .mzxid = txn->index,
        .atime_ns = t->time_ns,
        .mtime_ns = t->time_ns,
        .ctime_ns = t->time_ns,
        .uid = r->u.create.uid,
        .gid = r->u.create.gid,
    };

    tnode_value_set(n, &facts, blob_ref(r->u.create.value));
    n->id = t->node_id_next++;
    n->mode = r->u.create.mode & 07777;
    if (tnode_is_dir(n)) {
        n->dir->pzxid = txn->index;
    }
    create_life(t, txn, dir, n);
    tree_link(t, dir, n);
    digest_add_node(t, n);
    return n;
}

/* Finds the name that it gets, and the number of the create in its directory. */
static int create_name(const struct tree *t, const struct request *r, const struct tree_node *dir,
                       char made[NAME_SIZE_MAX + 1], struct name *ret, uint64_t *ret_number)
{
    struct name name = r->u.create.name;
    int err;

    if (r->u.create.flags & CREATE_SEQUENTIAL) {
        return create_name_make(t, dir, name, made, ret, ret_number);
    }
    err = op_name_check(t, dir, name);
    if (err == 0 && tnode_child(t, dir, name) != NULL) {
        err = ERR_EXISTS;
    }
    if (err != 0) {
        return err;
    }
    *ret = name;
    *ret_number = dir->dir->create_count;
    return 0;
}

int apply_create(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    const struct request *r = &txn->request;
    bool sequential = (r->u.create.flags & CREATE_SEQUENTIAL) != 0; /* the name is not it yet */
    struct name asked = sequential ? (struct name){0} : r->u.create.name;
    char made[NAME_SIZE_MAX + 1];
    struct tree_node *dir;
    struct tree_node *n;
    struct name name;
    uint64_t number;
    int err = op_dir_get(t, r->u.create.dir, &dir);

    if (err == 0) {
        err = create_value_check(txn, r->u.create.type, r->u.create.value);
    }
    if (err == 0) {
        err = life_check(asked, r->u.create.type, r->u.create.life);
    }
    if (err == 0) {
        err = create_name(t, r, dir, made, &name, &number);
    }
    if (err == 0) {
        err = quota_check(t, dir, NULL, 1, value_size(r->u.create.value));
    }
    if (err != 0) {
        return err;
    }
    digest_drop_node(t, dir);
    dir->dir->create_count = number + 1;
    n = create_node(t, txn, dir, name);
    if (!tnode_is_data(n)) {
        op_dir_changed(t, dir);
    }
    digest_add_node(t, dir);
    ret->reply.u.create.attr = results_change(t, txn, n, CHANGE_CREATE)->attr;
    ret->reply.u.create.name = tree_node_name(n);
    return 0;
}

/* --- remove --- */

static int remove_find(const struct tree *t, const struct request *r, struct tree_node **ret)
{
    struct tree_node *dir;
    struct tree_node *n;
    int err;

    if (r->u.remove.dir == 0) {
        n = tnode_get(t, r->u.remove.id);
        if (n == NULL) {
            return ERR_NOENT;
        }
        if (r->u.remove.name.size > 0) {
            return ERR_INVAL;
        }
        *ret = n;
        return n == t->root ? ERR_BUSY : 0;
    }
    err = op_dir_get(t, r->u.remove.dir, &dir);
    if (err != 0) {
        return err;
    }
    if (dir == t->root && r->u.remove.name.size == 0) {
        return ERR_BUSY;
    }
    n = tnode_child(t, dir, r->u.remove.name);
    if (n == NULL ||
        (r->u.remove.id != 0 && r->u.remove.id != n->id && !BUG(X35_CLOSE_TAKES_OTHERS))) {
        return ERR_NOENT;
    }
    *ret = n;
    return 0;
}

static bool is_ephemeral_of(const struct tree_node *n, uint64_t session)
{
    const struct tree_extra *x = tnode_extra(n);

    return x != NULL && x->life != LIFE_PERMANENT && x->owner == session;
}

static int remove_check(const struct tree_node *n, const struct txn *txn)
{
    uint32_t flags = txn->request.u.remove.flags;

    if ((flags & REMOVE_EPHEMERAL) && !is_ephemeral_of(n, txn->session)) {
        return ERR_NOENT; /* a rename has made it permanent */
    }
    if (flags & REMOVE_DIR) {
        if (!tnode_is_dir(n)) {
            return ERR_NOTDIR;
        }
        return n->dir->children.live > 0 ? ERR_NOTEMPTY : 0;
    }
    return tnode_is_dir(n) ? ERR_ISDIR : 0;
}

static void remove_one(struct tree *t, const struct txn *txn, struct tree_node *n)
{
    results_change(t, txn, n, CHANGE_REMOVE);
    digest_drop_node(t, n);
    locks_drop(t, n);
    if (t->journal == NULL) {
        locks_release(t, n);
    }
    life_clear(t, n);
    tree_unlink(t, n);
    results_gone(t, n);
}

void op_node_remove(struct tree *t, const struct txn *txn, struct tree_node *n)
{
    if (tnode_is_dir(n) && n->dir->data != NULL) {
        remove_one(t, txn, n->dir->data);
    }
    remove_one(t, txn, n);
}

int apply_remove(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    struct tree_node *dir;
    struct tree_node *n;
    bool listed;
    int err = remove_find(t, &txn->request, &n);

    if (err == 0) {
        err = remove_check(n, txn);
    }
    if (err != 0) {
        return err;
    }
    dir = n->parent;
    listed = !tnode_is_data(n);
    ret->reply.u.remove.id = n->id;
    digest_drop_node(t, dir);
    op_node_remove(t, txn, n);
    if (listed) {
        op_dir_changed(t, dir);
    }
    digest_add_node(t, dir);
    return 0;
}
