#include "tree_int.h"

#include "err.h"
#include "name.h"

/* OP_RENAME: a node gets another place, or two of them change places.
 *
 * Happy path: both directories and what is at either name are found, everything that could refuse
 * is checked, what is in the way is removed, the node is taken from its place and put at the new
 * one, under the next cookie of that directory: a listing that has passed the old place of it meets
 * it again as a new entry. What is below a directory goes with it untouched.
 *
 * A file that takes the place of another is not moved at all: the other takes what it holds, as one
 * new version, and it is removed. So whoever has the other open or watches it sees the new content,
 * as programs that save by writing a temporary file and renaming it over the old one intend. */

struct rename {
    struct tree_node *from, *to; /* the directories */
    struct tree_node *moved;
    struct tree_node *other;        /* at the new name; NULL: nothing */
    struct name from_name, to_name; /* they stay until the next transaction */
    uint32_t flags;
};

static bool is_at_or_below(const struct tree_node *n, const struct tree_node *dir)
{
    while (n != dir && n->parent != n) {
        n = n->parent;
    }
    return n == dir;
}

static int rename_find(struct tree *t, const struct request *q, struct rename *ret)
{
    struct rename r = {.flags = q->u.rename.flags};
    int err = op_dir_get(t, q->u.rename.dir, &r.from);

    if (err == 0) {
        err = op_dir_get(t, q->u.rename.to_dir, &r.to);
    }
    if (err != 0) {
        return err;
    }
    if ((r.from == t->root && q->u.rename.name.size == 0) ||
        (r.to == t->root && q->u.rename.to_name.size == 0)) {
        return ERR_BUSY;
    }
    r.moved = tnode_child(t, r.from, q->u.rename.name);
    if (r.moved == NULL) {
        return ERR_NOENT;
    }
    r.other = tnode_child(t, r.to, q->u.rename.to_name);
    r.from_name = results_name(t, q->u.rename.name);
    r.to_name = results_name(t, q->u.rename.to_name);
    *ret = r;
    return 0;
}

static bool is_exchange(const struct rename *r)
{
    return (r->flags & RENAME_FLAG_EXCHANGE) != 0;
}

/* Whether what is at the new name can be replaced by what is moved there. */
static int replace_check(const struct rename *r)
{
    if (!tnode_is_dir(r->moved)) {
        return tnode_is_dir(r->other) ? ERR_ISDIR : 0;
    }
    if (!tnode_is_dir(r->other)) {
        return ERR_NOTDIR;
    }
    return r->other->dir->children.live > 0 ? ERR_NOTEMPTY : 0;
}

/* ".data" stays where it is, and only a file that stays can become it. */
static int data_check(const struct rename *r)
{
    const struct tree_extra *x = tnode_extra(r->moved);
    bool stays = x == NULL || x->by_rule;

    if (tnode_is_data(r->moved) || (is_exchange(r) && name_is_data(r->to_name))) {
        return ERR_PERM;
    }
    return name_is_data(r->to_name) ? life_check(r->to_name, (enum node_type)r->moved->type,
                                                 stays ? LIFE_PERMANENT : (enum node_life)x->life)
                                    : 0;
}

static size_t depth_of(const struct tree_node *n)
{
    size_t depth = 0;

    for (; n->parent != n; n = n->parent) {
        depth++;
    }
    return depth;
}

/* The lowest directory that both are at or below. One walk upwards: whoever has made a deep tree is
 * not to keep all others waiting. */
static const struct tree_node *above_both(const struct tree_node *a, const struct tree_node *b)
{
    size_t a_depth = depth_of(a);
    size_t b_depth = depth_of(b);

    for (; a_depth > b_depth; a_depth--) {
        a = a->parent;
    }
    for (; b_depth > a_depth; b_depth--) {
        b = b->parent;
    }
    while (a != b) {
        a = a->parent;
        b = b->parent;
    }
    return a;
}

/* Whether what comes to be in `to` fits into the directories that it is new to, when `gone` leaves
 * them for it. */
static int quota_fits(const struct tree *t, const struct tree_node *n, const struct tree_node *to,
                      const struct tree_node *gone)
{
    uint64_t nodes, bytes, gone_nodes = 0, gone_bytes = 0;

    if (t->quota_count == 0) {
        return 0;
    }
    subtree_usage(n, &nodes, &bytes);
    if (gone != NULL) {
        subtree_usage(gone, &gone_nodes, &gone_bytes);
    }
    return quota_check(t, to, above_both(n->parent, to),
                       nodes > gone_nodes ? nodes - gone_nodes : 0,
                       bytes > gone_bytes ? bytes - gone_bytes : 0);
}

static int rename_check(const struct tree *t, const struct rename *r)
{
    int err = op_name_check(t, r->to, r->to_name);

    if (err == 0) {
        err = data_check(r);
    }
    if (err != 0) {
        return err;
    }
    if ((r->flags & RENAME_FLAG_NOREPLACE) && is_exchange(r)) {
        return ERR_INVAL;
    }
    if (is_at_or_below(r->to, r->moved)) {
        return ERR_INVAL;
    }
    if (r->other == NULL) {
        return is_exchange(r) ? ERR_NOENT : 0;
    }
    if (r->flags & RENAME_FLAG_NOREPLACE) {
        return ERR_EXISTS;
    }
    if (is_exchange(r)) {
        return is_at_or_below(r->from, r->other) ? ERR_INVAL : 0;
    }
    return r->other == r->moved ? 0 : replace_check(r);
}

/* The directories leave the digest, and come back to it changed. */
static void dirs_drop(struct tree *t, const struct rename *r)
{
    digest_drop_node(t, r->from);
    if (r->to != r->from) {
        digest_drop_node(t, r->to);
    }
}

static void dirs_add(struct tree *t, const struct rename *r)
{
    op_dir_changed(t, r->from);
    digest_add_node(t, r->from);
    if (r->to != r->from) {
        if (!tnode_is_data(r->moved)) {
            op_dir_changed(t, r->to);
        }
        digest_add_node(t, r->to);
    }
}

/* Gives a node that has no place, and is not in the digest, a new one. What a directory's rule made
 * ephemeral is published by this, and stays. */
static void settle(struct tree *t, struct tree_node *n, struct tree_node *dir, struct name name)
{
    struct tree_facts f;

    if (tnode_extra(n) != NULL && tnode_extra(n)->by_rule && !BUG(X33_RULE_STAYS)) {
        life_clear(t, n);
    }
    tnode_name_set(n, name);
    f = tnode_facts(n);
    f.cookie = ++dir->dir->create_count;
    f.ctime_ns = t->time_ns;
    tnode_facts_set(n, &f);
    tree_place(t, dir, n);
    digest_add_node(t, n);
}

static void change_move(struct tree *t, const struct txn *txn, const struct tree_node *n,
                        const struct tree_node *from, struct name from_name)
{
    struct event *e = results_change(t, txn, n, CHANGE_MOVE);

    e->from_dir = from->id;
    e->from_name = from_name;
    e->from_path = results_path(t, from);
}

static void rename_exchange(struct tree *t, const struct txn *txn, const struct rename *r)
{
    dirs_drop(t, r);
    digest_drop_node(t, r->moved);
    digest_drop_node(t, r->other);
    tree_unplace(t, r->moved);
    tree_unplace(t, r->other);
    settle(t, r->moved, r->to, r->to_name);
    settle(t, r->other, r->from, r->from_name);
    dirs_add(t, r);
    change_move(t, txn, r->moved, r->from, r->from_name);
    if (!BUG(X38_EXCHANGE_TOLD_HALF)) {
        change_move(t, txn, r->other, r->to, r->to_name);
    }
}

static void rename_move(struct tree *t, const struct txn *txn, const struct rename *r)
{
    dirs_drop(t, r);
    if (r->other != NULL) {
        op_node_remove(t, txn, r->other);
    }
    digest_drop_node(t, r->moved);
    tree_unplace(t, r->moved);
    settle(t, r->moved, r->to, r->to_name);
    dirs_add(t, r);
    change_move(t, txn, r->moved, r->from, r->from_name);
}

/* `n` takes what `gone` held, which is unlinked by now and keeps its memory. */
static void merge_take(struct tree *t, struct tree_node *n, struct tree_node *gone)
{
    const struct tree_facts from = tnode_facts(gone);
    struct tree_facts f = tnode_facts(n);

    digest_drop_node(t, n);
    f.uid = from.uid;
    f.gid = from.gid;
    f.atime_ns = from.atime_ns;
    f.mtime_ns = from.mtime_ns;
    f.ctime_ns = t->time_ns;
    f.mzxid = t->index;
    f.version++;
    tree_value_set(t, n, &f, tnode_value(gone));
    if ((xattrs_count(n) > 0 || xattrs_count(gone) > 0) && !BUG(X36_MERGE_KEEPS_ATTRIBUTES)) {
        xattrs_move(t, n, gone);
    }
    n->mode = gone->mode;
    tnode_aversion_set(n, tnode_aversion(n) + 1);
    digest_add_node(t, n);
}

/* The list of the target's directory does not change by this. */
static void rename_merge(struct tree *t, const struct txn *txn, const struct rename *r)
{
    digest_drop_node(t, r->from);
    op_node_remove(t, txn, r->moved);
    op_dir_changed(t, r->from);
    digest_add_node(t, r->from);
    merge_take(t, r->other, r->moved);
    results_change(t, txn, r->other, CHANGE_SET);
}

int apply_rename(struct tree *t, const struct txn *txn, struct txn_result *ret)
{
    struct reply *reply = &ret->reply;
    struct rename r;
    int err = rename_find(t, &txn->request, &r);

    if (err == 0) {
        err = rename_check(t, &r);
    }
    if (err == 0 && r.other != r.moved) {
        err = quota_fits(t, r.moved, r.to, r.other);
    }
    if (err == 0 && is_exchange(&r) && r.other != r.moved) {
        err = quota_fits(t, r.other, r.from, r.moved);
    }
    if (err != 0) {
        return err;
    }
    reply->u.rename.merged = false;
    reply->u.rename.gone = 0;
    if (r.other == r.moved) {
        tree_node_attr(r.moved, &reply->u.rename.attr);
        return 0;
    }
    if (is_exchange(&r)) {
        rename_exchange(t, txn, &r);
    } else if (r.other != NULL && r.other->type == NODE_FILE && r.moved->type == NODE_FILE) {
        rename_merge(t, txn, &r);
        reply->u.rename.merged = true;
        reply->u.rename.gone = r.moved->id;
    } else {
        reply->u.rename.gone = r.other != NULL ? r.other->id : 0;
        rename_move(t, txn, &r);
    }
    tree_node_attr(reply->u.rename.merged ? r.other : r.moved, &reply->u.rename.attr);
    return 0;
}
