#include "test_tree_help.h"

/* OP_RENAME: what it refuses, what it changes and what it tells; then against a naive map. */

static int rename_to(struct world *w, uint64_t dir, const char *name, uint64_t to_dir,
                     const char *to_name, uint32_t flags)
{
    struct request r = {.op = OP_RENAME};

    r.u.rename.dir = dir;
    r.u.rename.name = name_of(name);
    r.u.rename.to_dir = to_dir;
    r.u.rename.to_name = name_of(to_name);
    r.u.rename.flags = flags;
    return world_run(w, r);
}

static uint64_t make_dir(struct world *w, uint64_t dir, const char *name)
{
    cr_assert_eq(world_mkdir(w, dir, name), 0);
    return world_made(w);
}

static uint64_t make_file(struct world *w, uint64_t dir, const char *name, const char *value)
{
    cr_assert_eq(world_create(w, dir, name, value), 0);
    return world_made(w);
}

static uint64_t id_at(const struct world *w, uint64_t dir, const char *name) /* 0: nothing */
{
    const struct tree_node *n;
    struct attr a;

    if (tree_lookup(w->tree, dir, name_of(name), &n) != 0) {
        return 0;
    }
    tree_node_attr(n, &a);
    return a.id;
}

static void audit(const struct world *w)
{
    cr_assert_eq(tree_audit(w->tree), tree_digest(w->tree));
}

/* A file moves to another directory: same node, new place, both directories changed. */
Test(tree_rename, moves_a_file)
{
    struct world w = world_new();
    uint64_t a = make_dir(&w, TREE_ROOT_ID, "a");
    uint64_t b = make_dir(&w, TREE_ROOT_ID, "b");
    uint64_t f = make_file(&w, a, "f", "text");
    struct attr before = world_attr(&w, f);
    struct attr after;
    const struct event *e;

    w.time_ns = 9000;
    cr_assert_eq(rename_to(&w, a, "f", b, "a longer name", 0), 0);
    after = w.last.reply.u.rename.attr;
    cr_assert_eq(after.id, f);
    cr_assert_eq(after.parent, b);
    cr_assert_eq(after.version, before.version);
    cr_assert_eq(after.aversion, before.aversion);
    cr_assert_eq(after.mtime_ns, before.mtime_ns);
    cr_assert_eq(after.ctime_ns, 9000);
    cr_assert_not(w.last.reply.u.rename.merged);
    cr_assert_eq(w.last.reply.u.rename.gone, 0);
    cr_assert_eq(id_at(&w, a, "f"), 0);
    cr_assert_eq(id_at(&w, b, "a longer name"), f);
    cr_assert_eq(world_attr(&w, a).cversion, 2);
    cr_assert_eq(world_attr(&w, a).size, 0);
    cr_assert_eq(world_attr(&w, b).cversion, 1);
    cr_assert_eq(world_attr(&w, b).mtime_ns, 9000);
    cr_assert_eq(world_attr(&w, b).pzxid, tree_index(w.tree));
    cr_assert_eq(w.last.change_count, 1);
    e = &w.last.changes[0];
    cr_assert_eq(e->kind, CHANGE_MOVE);
    cr_assert_eq(e->dir, b);
    cr_assert(name_equals(e->name, "a longer name"));
    cr_assert(name_equals(e->dir_path, "/b"));
    cr_assert_eq(e->from_dir, a);
    cr_assert(name_equals(e->from_name, "f"));
    cr_assert(name_equals(e->from_path, "/a"));
    cr_assert_eq(e->attr.id, f);
    cr_assert_not(e->more);
    cr_assert_not(e->has_value);
    audit(&w);
    world_done(&w);
}

/* What is below a directory goes with it. */
Test(tree_rename, moves_a_directory_with_all_below)
{
    struct world w = world_new();
    uint64_t a = make_dir(&w, TREE_ROOT_ID, "a");
    uint64_t b = make_dir(&w, TREE_ROOT_ID, "b");
    uint64_t sub = make_dir(&w, a, "sub");
    uint64_t f = make_file(&w, sub, "f", "text");
    char path[PATH_SIZE_MAX];
    size_t size;

    cr_assert_eq(rename_to(&w, a, "sub", b, "x", 0), 0);
    size = tree_node_path(w.tree, f, path);
    cr_assert(name_equals((struct name){path, (uint32_t)size}, "/b/x/f"));
    cr_assert_eq(world_attr(&w, a).nlink, 2);
    cr_assert_eq(world_attr(&w, b).nlink, 3);
    cr_assert_eq(id_at(&w, sub, "f"), f);
    audit(&w);
    world_done(&w);
}

/* A file over a file: the old one stays who it is and holds what the new one held. */
Test(tree_rename, merges_files)
{
    struct world w = world_new();
    uint64_t dir = make_dir(&w, TREE_ROOT_ID, "d");
    uint64_t old = make_file(&w, dir, "f", "old");
    uint64_t new = make_file(&w, TREE_ROOT_ID, "f.tmp", "new!");
    struct request r = {.op = OP_SETATTR};
    struct attr was = world_attr(&w, old);
    struct attr a;

    r.u.setattr.id = new;
    r.u.setattr.mask = SETATTR_MODE | SETATTR_UID | SETATTR_MTIME;
    r.u.setattr.mode = 0600;
    r.u.setattr.uid = 99;
    r.u.setattr.mtime_ns = 77;
    cr_assert_eq(world_run(&w, r), 0);
    w.time_ns = 5000;
    cr_assert_eq(rename_to(&w, TREE_ROOT_ID, "f.tmp", dir, "f", 0), 0);
    cr_assert(w.last.reply.u.rename.merged);
    cr_assert_eq(w.last.reply.u.rename.gone, new);
    a = w.last.reply.u.rename.attr;
    cr_assert_eq(a.id, old);
    cr_assert_eq(a.parent, dir);
    cr_assert_eq(a.version, was.version + 1);
    cr_assert_eq(a.aversion, was.aversion + 1);
    cr_assert_eq(a.czxid, was.czxid);
    cr_assert_eq(a.mzxid, tree_index(w.tree));
    cr_assert_eq(a.mode, 0600);
    cr_assert_eq(a.uid, 99);
    cr_assert_eq(a.gid, 8);
    cr_assert_eq(a.mtime_ns, 77);
    cr_assert_eq(a.ctime_ns, 5000);
    cr_assert(world_value_is(&w, old, "new!", 4));
    cr_assert_null(tree_node(w.tree, new));
    cr_assert_eq(world_attr(&w, dir).cversion, 1);
    cr_assert_eq(tree_value_bytes(w.tree), 4);
    cr_assert_eq(w.last.change_count, 2);
    cr_assert_eq(w.last.changes[0].kind, CHANGE_REMOVE);
    cr_assert_eq(w.last.changes[0].attr.id, new);
    cr_assert(name_equals(w.last.changes[0].name, "f.tmp"));
    cr_assert(w.last.changes[0].more);
    cr_assert_eq(w.last.changes[1].kind, CHANGE_SET);
    cr_assert_eq(w.last.changes[1].attr.id, old);
    cr_assert(w.last.changes[1].has_value);
    cr_assert_not(w.last.changes[1].more);
    audit(&w);
    world_done(&w);
}

/* Anything else that is replaced is removed first. */
Test(tree_rename, replaces_an_empty_directory_and_a_link)
{
    struct world w = world_new();
    uint64_t a = make_dir(&w, TREE_ROOT_ID, "a");
    uint64_t b = make_dir(&w, TREE_ROOT_ID, "b");
    uint64_t link, f;

    make_file(&w, a, "f", "");
    cr_assert_eq(rename_to(&w, TREE_ROOT_ID, "b", TREE_ROOT_ID, "a", 0), ERR_NOTEMPTY);
    cr_assert_eq(rename_to(&w, TREE_ROOT_ID, "a", TREE_ROOT_ID, "b", 0), 0);
    cr_assert_not(w.last.reply.u.rename.merged);
    cr_assert_eq(w.last.reply.u.rename.gone, b);
    cr_assert_eq(w.last.change_count, 2);
    cr_assert_eq(w.last.changes[0].kind, CHANGE_REMOVE);
    cr_assert_eq(w.last.changes[1].kind, CHANGE_MOVE);
    cr_assert_eq(id_at(&w, TREE_ROOT_ID, "b"), a);
    f = make_file(&w, TREE_ROOT_ID, "f", "");
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "l", NODE_SYMLINK, 0, "b"), 0);
    link = world_made(&w);
    cr_assert_eq(rename_to(&w, TREE_ROOT_ID, "f", TREE_ROOT_ID, "l", 0), 0);
    cr_assert_eq(w.last.reply.u.rename.gone, link);
    cr_assert_eq(id_at(&w, TREE_ROOT_ID, "l"), f);
    audit(&w);
    world_done(&w);
}

/* Two nodes of any type change places, also a file and a directory, also within one directory. */
Test(tree_rename, exchanges)
{
    struct world w = world_new();
    uint64_t a = make_dir(&w, TREE_ROOT_ID, "a");
    uint64_t sub = make_dir(&w, a, "sub");
    uint64_t f = make_file(&w, TREE_ROOT_ID, "f", "");

    cr_assert_eq(rename_to(&w, a, "sub", TREE_ROOT_ID, "f", RENAME_FLAG_EXCHANGE), 0);
    cr_assert_eq(w.last.reply.u.rename.attr.id, sub);
    cr_assert_eq(w.last.reply.u.rename.gone, 0);
    cr_assert_eq(id_at(&w, a, "sub"), f);
    cr_assert_eq(id_at(&w, TREE_ROOT_ID, "f"), sub);
    cr_assert_eq(w.last.change_count, 2);
    cr_assert_eq(w.last.changes[0].attr.id, sub);
    cr_assert_eq(w.last.changes[0].from_dir, a);
    cr_assert_eq(w.last.changes[1].attr.id, f);
    cr_assert_eq(w.last.changes[1].dir, a);
    cr_assert_eq(w.last.changes[1].from_dir, TREE_ROOT_ID);
    cr_assert(name_equals(w.last.changes[1].from_name, "f"));
    audit(&w);
    cr_assert_eq(rename_to(&w, TREE_ROOT_ID, "f", TREE_ROOT_ID, "a", RENAME_FLAG_EXCHANGE), 0);
    cr_assert_eq(id_at(&w, TREE_ROOT_ID, "a"), sub);
    cr_assert_eq(id_at(&w, TREE_ROOT_ID, "f"), a);
    audit(&w);
    world_done(&w);
}

/* Whatever is refused changes nothing but the reply slot. */
Test(tree_rename, refusals)
{
    struct world w = world_new();
    uint64_t a = make_dir(&w, TREE_ROOT_ID, "a");
    uint64_t sub = make_dir(&w, a, "sub");
    uint64_t f = make_file(&w, TREE_ROOT_ID, "f", "");
    uint64_t root = TREE_ROOT_ID;
    char long_name[NAME_SIZE_MAX + 2];
    struct {
        uint64_t dir;
        const char *name;
        uint64_t to_dir;
        const char *to_name;
        uint32_t flags;
        int err;
    } cases[] = {
        {root, "none", root, "x", 0, ERR_NOENT},
        {999, "f", root, "x", 0, ERR_NOENT},
        {root, "f", 999, "x", 0, ERR_NOENT},
        {f, "f", root, "x", 0, ERR_NOTDIR},
        {root, "f", f, "x", 0, ERR_NOTDIR},
        {root, "f", root, "a", 0, ERR_ISDIR},
        {root, "a", root, "f", 0, ERR_NOTDIR},
        {root, "f", root, "a", RENAME_FLAG_NOREPLACE, ERR_EXISTS},
        {root, "f", root, "f", RENAME_FLAG_NOREPLACE, ERR_EXISTS},
        {root, "f", root, "x", RENAME_FLAG_EXCHANGE, ERR_NOENT},
        {root, "f", root, "a", RENAME_FLAG_EXCHANGE | RENAME_FLAG_NOREPLACE, ERR_INVAL},
        {root, "a", a, "x", 0, ERR_INVAL},
        {root, "a", sub, "x", 0, ERR_INVAL},
        {root, "a", a, "sub", RENAME_FLAG_EXCHANGE, ERR_INVAL},
        {a, "sub", root, "a", RENAME_FLAG_EXCHANGE, ERR_INVAL},
        {a, "sub", root, "a", 0, ERR_NOTEMPTY},
        {root, "", root, "x", 0, ERR_BUSY},
        {root, "f", root, "", 0, ERR_BUSY},
        {root, "f", root, ".zabfs", 0, ERR_PERM},
        {root, "f", root, "..", 0, ERR_INVAL},
        {root, "f", root, "x/y", 0, ERR_INVAL},
        {root, "f", root, long_name, 0, ERR_NAMETOOLONG},
    };

    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int err = rename_to(&w, cases[i].dir, cases[i].name, cases[i].to_dir, cases[i].to_name,
                            cases[i].flags);

        cr_assert_eq(err, cases[i].err, "case %zu: %d", i, err);
        cr_assert_eq(w.last.change_count, 0);
        cr_assert_eq(id_at(&w, root, "f"), f);
        cr_assert_eq(id_at(&w, root, "a"), a);
        cr_assert_eq(id_at(&w, a, "sub"), sub);
        audit(&w);
    }
    world_done(&w);
}

/* Both names of one node: nothing to do, and nothing is told. */
Test(tree_rename, to_itself_changes_nothing)
{
    struct world w = world_new();
    uint64_t a = make_dir(&w, TREE_ROOT_ID, "a");
    struct attr root = world_attr(&w, TREE_ROOT_ID);

    cr_assert_eq(rename_to(&w, TREE_ROOT_ID, "a", TREE_ROOT_ID, "a", 0), 0);
    cr_assert_eq(w.last.reply.u.rename.attr.id, a);
    cr_assert_eq(w.last.reply.u.rename.gone, 0);
    cr_assert_eq(w.last.change_count, 0);
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).cversion, root.cversion);
    world_done(&w);
}

/* A retry gets the reply of the first time, also from a copy of the state. */
Test(tree_rename, retry_gets_the_same_reply)
{
    struct world w = world_new();
    uint64_t old = make_file(&w, TREE_ROOT_ID, "f", "old");
    uint64_t new = make_file(&w, TREE_ROOT_ID, "g", "new");
    struct request r = {.op = OP_RENAME, .xid = 50, .xid_floor = 50};

    r.u.rename.dir = TREE_ROOT_ID;
    r.u.rename.name = name_of("g");
    r.u.rename.to_dir = TREE_ROOT_ID;
    r.u.rename.to_name = name_of("f");
    cr_assert_eq(world_apply(&w, w.session, &r), 0);
    world_reload(&w);
    cr_assert_eq(world_apply(&w, w.session, &r), 0);
    cr_assert(w.last.duplicate);
    cr_assert(w.last.reply.u.rename.merged);
    cr_assert_eq(w.last.reply.u.rename.gone, new);
    cr_assert_eq(w.last.reply.u.rename.attr.id, old);
    cr_assert_eq(w.last.reply.u.rename.attr.size, 3);
    world_done(&w);
}

/* --- against a naive map --------------------------------------------------------------------- */

enum { MAP_MAX = 40 };

struct map_node {
    uint64_t id; /* 0: free */
    uint64_t parent;
    char name;
    enum node_type type;
    char value; /* of a file */
};

struct map {
    struct map_node nodes[MAP_MAX];
};

static struct map_node *map_at(struct map *m, uint64_t parent, char name)
{
    for (int i = 0; i < MAP_MAX; i++) {
        if (m->nodes[i].id != 0 && m->nodes[i].parent == parent && m->nodes[i].name == name) {
            return &m->nodes[i];
        }
    }
    return NULL;
}

static struct map_node *map_id(struct map *m, uint64_t id)
{
    for (int i = 0; i < MAP_MAX; i++) {
        if (id != 0 && m->nodes[i].id == id) {
            return &m->nodes[i];
        }
    }
    return NULL;
}

static bool map_has_children(const struct map *m, uint64_t id)
{
    for (int i = 0; i < MAP_MAX; i++) {
        if (m->nodes[i].id != 0 && m->nodes[i].parent == id) {
            return true;
        }
    }
    return false;
}

static bool map_is_below(struct map *m, uint64_t id, uint64_t dir)
{
    while (id != dir && id != TREE_ROOT_ID) {
        id = map_id(m, id)->parent;
    }
    return id == dir;
}

static bool map_rename(struct map *m, uint64_t dir, char name, uint64_t to, char to_name,
                       uint32_t flags)
{
    struct map_node *n = map_at(m, dir, name);
    struct map_node *other = map_at(m, to, to_name);

    if (n == NULL || map_is_below(m, to, n->id) || (other != NULL && (flags & 1)) ||
        ((flags & 2) && (other == NULL || map_is_below(m, dir, other->id)))) {
        return false;
    }
    if (other == n) {
        return true;
    }
    if (flags & 2) {
        other->parent = dir;
        other->name = name;
    } else if (other != NULL) {
        if ((n->type == NODE_DIR) != (other->type == NODE_DIR) || map_has_children(m, other->id)) {
            return false;
        }
        if (n->type == NODE_FILE && other->type == NODE_FILE) {
            other->value = n->value;
            n->id = 0;
            return true;
        }
        other->id = 0;
    }
    n->parent = to;
    n->name = to_name;
    return true;
}

static void map_compare(const struct map *m, const struct world *w)
{
    uint64_t count = 1;

    for (int i = 0; i < MAP_MAX; i++) {
        const struct map_node *n = &m->nodes[i];
        struct attr a;

        if (n->id == 0) {
            continue;
        }
        count++;
        a = world_attr(w, n->id);
        cr_assert_eq(a.parent, n->parent);
        cr_assert_eq(a.type, n->type);
        cr_assert_eq(tree_node_name(tree_node(w->tree, n->id)).bytes[0], n->name);
        cr_assert(n->type != NODE_FILE || world_value_is(w, n->id, &n->value, 1));
    }
    cr_assert_eq(tree_node_count(w->tree), count);
}

static uint64_t map_random_dir(struct map *m, struct prng *p)
{
    struct map_node *n = &m->nodes[prng_below(p, MAP_MAX)];

    return n->id != 0 && n->type == NODE_DIR ? n->id : TREE_ROOT_ID;
}

static void map_create(struct map *m, struct world *w, struct prng *p)
{
    struct map_node *n = map_id(m, 0);
    struct map_node made = {.parent = map_random_dir(m, p), .name = (char)('a' + prng_below(p, 5))};
    char name[2] = {made.name};
    char value[2] = {(char)('0' + prng_below(p, 10))};
    int err;

    made.type = (enum node_type)(1 + prng_below(p, 3));
    made.value = value[0];
    for (int i = 0; i < MAP_MAX && n == NULL; i++) {
        n = m->nodes[i].id == 0 ? &m->nodes[i] : NULL;
    }
    if (n == NULL) {
        return;
    }
    err =
        world_create_type(w, made.parent, name, made.type, 0, made.type == NODE_DIR ? NULL : value);
    cr_assert_eq(err, map_at(m, made.parent, made.name) != NULL ? ERR_EXISTS : 0);
    if (err == 0) {
        made.id = world_made(w);
        *n = made;
    }
}

/* 50,000 random renames and creates: the tree is what the map says, node by node. */
Test(tree_rename, agrees_with_a_naive_map)
{
    struct world w = world_new();
    struct map m = {0};
    struct prng p = {7};
    int renamed = 0, merged = 0, refused = 0;

    for (int i = 0; i < 50000; i++) {
        uint64_t dir = map_random_dir(&m, &p), to = map_random_dir(&m, &p);
        char name[2] = {(char)('a' + prng_below(&p, 5))};
        char to_name[2] = {(char)('a' + prng_below(&p, 5))};
        uint32_t flags = (uint32_t)prng_below(&p, 3);
        bool good;

        if (prng_below(&p, 4) == 0) {
            map_create(&m, &w, &p);
            continue;
        }
        good = map_rename(&m, dir, name[0], to, to_name[0], flags);
        cr_assert_eq(rename_to(&w, dir, name, to, to_name, flags) == 0, good, "step %d", i);
        renamed += good;
        refused += !good;
        merged += good && w.last.reply.u.rename.merged;
        map_compare(&m, &w);
        if (i % 200 == 0) {
            audit(&w);
        }
        if (i % 2000 == 0) {
            world_reload(&w);
        }
    }
    cr_assert_gt(renamed, 1000, "%d", renamed);
    cr_assert_gt(refused, 1000, "%d", refused);
    cr_assert_gt(merged, 50, "%d", merged);
    world_done(&w);
}
