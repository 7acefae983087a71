#include "tree_int.h"

#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* Nodes: how they are made, linked, found and listed.
 *
 * A node is in two tables, by id and by (parent's id, name), and in its directory's list by cookie.
 * The cookie is the directory's create counter after the create: it rises and is never reused, so
 * that a listing that continues after a cookie neither repeats nor skips a child that stays. The
 * file ".data" is in both tables and in no list; where nodes are walked it comes first. */

static uint64_t hash_by_id(const struct table_link *link)
{
    return TABLE_ITEM(link, struct tree_node, by_id)->id;
}

static uint32_t hash_name(uint64_t parent, struct name name)
{
    return (uint32_t)hash64(name.bytes, name.size, parent);
}

static uint64_t hash_by_name(const struct table_link *link)
{
    return TABLE_ITEM(link, struct tree_node, by_name)->name_hash;
}

static uint64_t hash_by_key(const struct table_link *link)
{
    const struct session *s = TABLE_ITEM(link, struct session, by_key);

    return hash64(s->info.key.bytes, sizeof(s->info.key.bytes), 0);
}

bool name_is_data(struct name name)
{
    static const char data[] = ".data";

    return name.size == strlen(data) && memcmp(name.bytes, data, name.size) == 0;
}

bool tnode_is_data(const struct tree_node *n)
{
    return n->parent->dir->data == n;
}

struct tree *tree_new_empty(void)
{
    struct tree *t = mem_zalloc(sizeof(*t));

    t->node_id_next = TREE_ROOT_ID + 1;
    TABLE_INIT(&t->by_id, &t->slab, struct tree_node, by_id, hash_by_id);
    TABLE_INIT(&t->by_name, &t->slab, struct tree_node, by_name, hash_by_name);
    TABLE_INIT(&t->by_key, &t->slab, struct session, by_key, hash_by_key);
    return t;
}

struct tree *tree_new(void)
{
    struct tree *t = tree_new_empty();
    struct tree_facts facts = {.version = 1};
    struct tree_node *root = tnode_new(&t->slab, NODE_DIR, (struct name){0});

    root->id = TREE_ROOT_ID;
    root->mode = 0755;
    tnode_facts_set(root, &facts);
    tree_link(t, root, root);
    digest_add_node(t, root);
    return t;
}

void tree_free(struct tree *t)
{
    struct table_link *link;
    size_t pos = 0;

    if (t == NULL) {
        return;
    }
    results_free(t);
    history_free(t);
    sessions_free(t);
    while ((link = table_take(&t->by_id, &pos)) != NULL) {
        tnode_free(TABLE_ITEM(link, struct tree_node, by_id));
    }
    table_done(&t->by_id);
    table_done(&t->by_name);
    table_done(&t->by_key);
    slab_done(&t->slab);
    mem_free(t);
}

/* By undoing: `n` comes back to where it was in the list. */
static void place(struct tree *t, struct tree_node *parent, struct tree_node *n, bool undoing)
{
    uint64_t nodes, bytes;

    n->parent = parent;
    n->name_hash = hash_name(parent->id, tree_node_name(n));
    table_add(&t->by_name, &n->by_name);
    if (name_is_data(tree_node_name(n))) {
        CHECK(n->type == NODE_FILE && parent->dir->data == NULL);
        tnode_cookie_set(n, 0);
        parent->dir->data = n;
    } else if (undoing) {
        series_put_back(&parent->dir->children, tnode_cookie(n), n);
    } else {
        series_append(&parent->dir->children, tnode_cookie(n), n);
    }
    if (tnode_is_dir(n)) {
        parent->dir->child_dirs++;
    }
    subtree_usage(n, &nodes, &bytes);
    usage_add(parent, nodes, bytes);
}

static void unplace(struct tree *t, struct tree_node *n, bool undoing)
{
    uint64_t nodes, bytes;

    CHECK(n != t->root);
    table_remove(&t->by_name, &n->by_name);
    if (tnode_is_data(n)) {
        n->parent->dir->data = NULL;
    } else if (undoing) {
        series_take_back(&n->parent->dir->children, tnode_cookie(n));
    } else {
        series_remove(&n->parent->dir->children, tnode_cookie(n));
    }
    if (tnode_is_dir(n)) {
        n->parent->dir->child_dirs--;
    }
    subtree_usage(n, &nodes, &bytes);
    usage_add(n->parent, -nodes, -bytes);
}

void tree_place(struct tree *t, struct tree_node *parent, struct tree_node *n)
{
    place(t, parent, n, false);
    journal_place(t, n);
}

void tree_unplace(struct tree *t, struct tree_node *n)
{
    journal_unplace(t, n);
    unplace(t, n, false);
}

void tree_place_undo(struct tree *t, struct tree_node *n)
{
    unplace(t, n, true);
}

void tree_unplace_undo(struct tree *t, struct tree_node *parent, struct tree_node *n)
{
    place(t, parent, n, true);
}

static void count_in(struct tree *t, struct tree_node *n)
{
    table_add(&t->by_id, &n->by_id);
    t->value_bytes += tnode_value_size(n);
    t->quota_count += quota_is_set(n);
}

static void count_out(struct tree *t, struct tree_node *n)
{
    CHECK(!tnode_is_dir(n) || n->dir->nodes == 0);
    table_remove(&t->by_id, &n->by_id);
    t->quota_count -= quota_is_set(n);
    t->value_bytes -= tnode_value_size(n);
}

void tree_link(struct tree *t, struct tree_node *parent, struct tree_node *n)
{
    count_in(t, n);
    if (parent == n) {
        CHECK(t->root == NULL);
        n->parent = n;
        t->root = n;
        return;
    }
    place(t, parent, n, false);
    journal_link(t, n);
}

void tree_unlink(struct tree *t, struct tree_node *n)
{
    journal_unlink(t, n);
    unplace(t, n, false);
    if (BUG(X31_QUOTA_KEPT)) {
        usage_add(n->parent, 0, tnode_value_size(n));
    }
    count_out(t, n);
}

void tree_link_undo(struct tree *t, struct tree_node *n)
{
    unplace(t, n, true);
    count_out(t, n);
}

void tree_unlink_undo(struct tree *t, struct tree_node *n)
{
    count_in(t, n);
    place(t, n->parent, n, true);
}

void tree_value_set(struct tree *t, struct tree_node *n, const struct tree_facts *facts,
                    struct blob *value)
{
    uint64_t more = (uint64_t)(value != NULL ? value->size : 0) - tnode_value_size(n);

    tnode_value_set(n, facts, value);
    if (more != 0) {
        t->value_bytes += more;
        usage_add(n->parent, 0, more);
    }
}

struct tree_node *tnode_get(const struct tree *t, uint64_t id)
{
    for (struct table_link *l = table_chain(&t->by_id, id); l != NULL;
         l = table_next(&t->by_id, l)) {
        struct tree_node *n = TABLE_ITEM(l, struct tree_node, by_id);

        if (n->id == id) {
            tnode_expect(n);
            return n;
        }
    }
    return NULL;
}

/* The node of that name in `dir` that is not `but`; NULL: none. */
static struct tree_node *find_name(const struct tree *t, const struct tree_node *dir,
                                   struct name name, const struct tree_node *but)
{
    uint32_t hash = hash_name(dir->id, name);

    for (struct table_link *l = table_chain(&t->by_name, hash); l != NULL;
         l = table_next(&t->by_name, l)) {
        struct tree_node *n = TABLE_ITEM(l, struct tree_node, by_name);

        if (n->name_hash == hash && n != but && n->parent == dir && n->name_size == name.size &&
            memcmp(tnode_name(n), name.bytes, name.size) == 0) {
            return n;
        }
    }
    return NULL;
}

struct tree_node *tnode_child(const struct tree *t, const struct tree_node *dir, struct name name)
{
    if (name.size == 0 || name.size > NAME_SIZE_MAX) {
        return NULL;
    }
    return find_name(t, dir, name, NULL);
}

bool tnode_has_double(const struct tree *t, const struct tree_node *n)
{
    return n != t->root && find_name(t, n->parent, tree_node_name(n), n) != NULL;
}

void tnode_child_expect(const struct tree *t, const struct tree_node *dir, struct name name)
{
    table_expect(&t->by_name, hash_name(dir->id, name));
}

const struct tree_node *tnode_walk(const struct tree_node *n)
{
    const struct tree_node *next = NULL;

    if (tnode_is_dir(n)) {
        next = n->dir->data != NULL ? n->dir->data : series_next(&n->dir->children, 0);
    }
    while (next == NULL && n->parent != n) {
        next = series_next(&n->parent->dir->children, tnode_cookie(n));
        n = n->parent;
    }
    return next;
}

/* --- what others may ask --- */

uint64_t tree_index(const struct tree *t)
{
    return t->index;
}

uint64_t tree_node_count(const struct tree *t)
{
    return t->by_id.count;
}

uint64_t tree_value_bytes(const struct tree *t)
{
    return t->value_bytes;
}

const struct tree_node *tree_node(const struct tree *t, uint64_t id)
{
    return tnode_get(t, id);
}

int tree_lookup(const struct tree *t, uint64_t dir, struct name name, const struct tree_node **ret)
{
    const struct tree_node *d = tnode_get(t, dir);
    const struct tree_node *n;

    if (d == NULL) {
        return ERR_NOENT;
    }
    if (!tnode_is_dir(d)) {
        return ERR_NOTDIR;
    }
    n = tnode_child(t, d, name);
    if (n == NULL) {
        return ERR_NOENT;
    }
    *ret = n;
    return 0;
}

void tree_node_attr(const struct tree_node *n, struct attr *ret)
{
    const struct tree_facts f = tnode_facts(n);
    const struct tree_extra *x = tnode_extra(n);
    const struct tree_dir *d = tnode_is_dir(n) ? n->dir : NULL;

    *ret = (struct attr){
        .id = n->id,
        .parent = n->parent->id,
        .type = (enum node_type)n->type,
        .life = x != NULL ? (enum node_life)x->life : LIFE_PERMANENT,
        .owner = x != NULL ? x->owner : 0,
        .mode = n->mode,
        .uid = f.uid,
        .gid = f.gid,
        .size = d != NULL ? d->children.live : tnode_value_size(n),
        .nlink = d != NULL ? 2 + d->child_dirs : 1,
        .version = f.version,
        .cversion = d != NULL ? d->cversion : 0,
        .aversion = tnode_aversion(n),
        .czxid = f.czxid,
        .mzxid = f.mzxid,
        .pzxid = d != NULL ? d->pzxid : f.czxid,
        .atime_ns = f.atime_ns,
        .mtime_ns = f.mtime_ns,
        .ctime_ns = f.ctime_ns,
    };
}

struct blob *tree_node_value(const struct tree_node *n)
{
    return tnode_value(n);
}

struct name tree_node_name(const struct tree_node *n)
{
    return (struct name){tnode_name(n), n->name_size};
}

/* Written from its end, because it is walked upwards. */
size_t tree_node_path(const struct tree *t, uint64_t id, char ret[PATH_SIZE_MAX])
{
    const struct tree_node *n = tnode_get(t, id);
    size_t at = PATH_SIZE_MAX;

    for (; n != NULL && n->parent != n; n = n->parent) {
        if (at < (size_t)n->name_size + 1) {
            return 0;
        }
        at -= n->name_size;
        memcpy(ret + at, tnode_name(n), n->name_size);
        ret[--at] = '/';
    }
    memmove(ret, ret + at, PATH_SIZE_MAX - at);
    return PATH_SIZE_MAX - at;
}

bool tree_readdir(const struct tree *t, const struct tree_node *dir, uint64_t after,
                  tree_fill_fn fill, void *ctx)
{
    const struct series *s;

    (void)t;
    CHECK(tnode_is_dir(dir));
    s = &dir->dir->children;
    for (size_t i = series_place(s, after); i < s->count; i++) {
        const struct tree_node *child = series_item(s, i);

        if (child != NULL && !fill(ctx, series_key(s, i), child)) {
            return false;
        }
    }
    return true;
}
