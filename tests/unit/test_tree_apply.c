#include "test_tree_help.h"

/* A new tree is the root alone. */
Test(tree_apply, root)
{
    struct world w = world_new();
    struct attr a = world_attr(&w, TREE_ROOT_ID);
    const struct tree_node *n = NULL;

    cr_assert_eq(a.parent, 1);
    cr_assert_eq(a.type, NODE_DIR);
    cr_assert_eq(a.nlink, 2);
    cr_assert_eq(a.size, 0);
    cr_assert_eq(a.mode, 0755);
    cr_assert_eq(tree_node_count(w.tree), 1);
    cr_assert_null(tree_node(w.tree, 2));
    cr_assert_eq(tree_lookup(w.tree, 1, name_of("x"), &n), ERR_NOENT);
    cr_assert_eq(tree_lookup(w.tree, 2, name_of("x"), &n), ERR_NOENT);
    cr_assert_null(n);
    world_done(&w);
}

/* A created file has what was asked for, and its directory shows the change. */
Test(tree_apply, create_file)
{
    struct world w = world_new();
    const struct tree_node *n;
    struct attr a, d;

    w.time_ns = 5000;
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "f", "hello"), 0);
    a = w.last.reply.u.create.attr;
    cr_assert_eq(a.id, 2);
    cr_assert_eq(a.parent, 1);
    cr_assert_eq(a.type, NODE_FILE);
    cr_assert_eq(a.mode, 0644);
    cr_assert_eq(a.uid, 7);
    cr_assert_eq(a.gid, 8);
    cr_assert_eq(a.size, 5);
    cr_assert_eq(a.nlink, 1);
    cr_assert_eq(a.version, 1);
    cr_assert_eq(a.cversion, 0);
    cr_assert_eq(a.aversion, 0);
    cr_assert_eq(a.czxid, 2);
    cr_assert_eq(a.mzxid, 2);
    cr_assert_eq(a.pzxid, 2);
    cr_assert_eq(a.atime_ns, 5000);
    cr_assert_eq(a.mtime_ns, 5000);
    cr_assert_eq(a.ctime_ns, 5000);
    cr_assert(world_value_is(&w, 2, "hello", 5));
    cr_assert_eq(tree_lookup(w.tree, TREE_ROOT_ID, name_of("f"), &n), 0);
    cr_assert(n == tree_node(w.tree, 2));
    d = world_attr(&w, TREE_ROOT_ID);
    cr_assert_eq(d.size, 1);
    cr_assert_eq(d.nlink, 2);
    cr_assert_eq(d.cversion, 1);
    cr_assert_eq(d.version, 1);
    cr_assert_eq(d.pzxid, 2);
    cr_assert_eq(d.mzxid, 0);
    cr_assert_eq(d.mtime_ns, 5000);
    cr_assert_eq(d.ctime_ns, 5000);
    world_done(&w);
}

/* The event of a create tells all that a subscriber needs to show the node without asking. */
Test(tree_apply, create_event)
{
    struct world w = world_new();
    const struct event *e;

    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "f", "hello"), 0);
    cr_assert_eq(w.last.change_count, 1);
    e = &w.last.changes[0];
    cr_assert_eq(e->index, 2);
    cr_assert_eq(e->dir, 1);
    cr_assert(name_equals(e->name, "f"));
    cr_assert_eq(e->kind, CHANGE_CREATE);
    cr_assert_eq(e->session, w.session);
    cr_assert_eq(e->xid, 1);
    cr_assert_eq(e->attr.id, 2);
    cr_assert(e->has_value);
    cr_assert_eq(e->value->size, 5);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "empty", NULL), 0);
    cr_assert(e->has_value);
    cr_assert_null(e->value);
    cr_assert_eq(world_mkdir(&w, TREE_ROOT_ID, "d"), 0);
    cr_assert(!e->has_value);
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "l", NODE_SYMLINK, 0, "to"), 0);
    cr_assert(!e->has_value);
    world_done(&w);
}

/* Everything that a create can be refused for changes nothing but the reply slot. */
Test(tree_apply, create_refusals)
{
    struct world w = world_new();
    char long_name[257] = {0};
    char target[4097] = {0};
    uint64_t file, dir;

    memset(long_name, 'n', 256);
    memset(target, 't', 4096);
    world_create(&w, TREE_ROOT_ID, "f", NULL);
    file = world_made(&w);
    world_mkdir(&w, TREE_ROOT_ID, "d");
    dir = world_made(&w);
    w.value_size_max = 4;
    cr_assert_eq(world_create(&w, 77, "x", NULL), ERR_NOENT);
    cr_assert_eq(world_create(&w, file, "x", NULL), ERR_NOTDIR);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "f", NULL), ERR_EXISTS);
    cr_assert_eq(world_mkdir(&w, TREE_ROOT_ID, "f"), ERR_EXISTS);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, long_name, NULL), ERR_NAMETOOLONG);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "", NULL), ERR_INVAL);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, ".", NULL), ERR_INVAL);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "..", NULL), ERR_INVAL);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "a/b", NULL), ERR_INVAL);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "x", "12345"), ERR_TOOBIG);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, ".zabfs", NULL), ERR_PERM);
    cr_assert_eq(world_mkdir(&w, dir, ".data"), ERR_PERM);
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "x", NODE_DIR, 0, "v"), ERR_INVAL);
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "x", NODE_SYMLINK, 0, NULL), ERR_INVAL);
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "x", NODE_SYMLINK, 0, target),
                 ERR_NAMETOOLONG);
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "x", (enum node_type)9, 0, NULL), ERR_INVAL);
    cr_assert_eq(tree_node_count(w.tree), 3);
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).cversion, 2);
    cr_assert_eq(world_create(&w, dir, ".zabfs", "1234"), 0);
    target[4095] = '\0';
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "x", NODE_SYMLINK, 0, target), 0);
    long_name[255] = '\0';
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, long_name, NULL), 0);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* A directory's links are itself, its name, and its child directories. */
Test(tree_apply, directory_links)
{
    struct world w = world_new();

    world_mkdir(&w, TREE_ROOT_ID, "a");
    world_mkdir(&w, TREE_ROOT_ID, "b");
    world_create(&w, TREE_ROOT_ID, "f", NULL);
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).nlink, 4);
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).size, 3);
    world_remove(&w, TREE_ROOT_ID, "a", REMOVE_DIR);
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).nlink, 3);
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).size, 2);
    world_done(&w);
}

/* SET is a new version also when the bytes are the same; the version is a condition. */
Test(tree_apply, set)
{
    struct world w = world_new();
    struct attr a;

    world_create(&w, TREE_ROOT_ID, "f", "one");
    w.time_ns = 9000;
    cr_assert_eq(world_set(&w, 2, VERSION_ANY, "one"), 0);
    a = w.last.reply.u.attr;
    cr_assert_eq(a.version, 2);
    cr_assert_eq(a.mzxid, 3);
    cr_assert_eq(a.czxid, 2);
    cr_assert_eq(a.mtime_ns, 9000);
    cr_assert_eq(a.ctime_ns, 9000);
    cr_assert_eq(a.atime_ns, 1000);
    cr_assert_eq(w.last.changes[0].kind, CHANGE_SET);
    cr_assert_eq(w.last.changes[0].dir, 1);
    cr_assert(name_equals(w.last.changes[0].name, "f"));
    cr_assert(w.last.changes[0].has_value);
    cr_assert_eq(world_set(&w, 2, 1, "late"), ERR_VERSION);
    cr_assert_eq(w.last.change_count, 0);
    cr_assert_eq(world_set(&w, 2, 2, "three"), 0);
    cr_assert_eq(w.last.reply.u.attr.version, 3);
    cr_assert(world_value_is(&w, 2, "three", 5));
    cr_assert_eq(tree_value_bytes(w.tree), 5);
    cr_assert_eq(world_set(&w, 2, VERSION_ANY, ""), 0);
    cr_assert_eq(w.last.reply.u.attr.size, 0);
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).pzxid, 2);
    world_done(&w);
}

/* Only a file that exists has a value to be set, appended to or cut, within the size allowed. */
Test(tree_apply, set_refusals)
{
    struct world w = world_new();
    struct request cut = {.op = OP_SETATTR};

    world_create(&w, TREE_ROOT_ID, "f", "12");
    world_mkdir(&w, TREE_ROOT_ID, "d");
    world_create_type(&w, TREE_ROOT_ID, "l", NODE_SYMLINK, 0, "to");
    w.value_size_max = 4;
    cut.u.setattr.mask = SETATTR_SIZE;
    cr_assert_eq(world_set(&w, 99, 0, ""), ERR_NOENT);
    cr_assert_eq(world_set(&w, 3, 0, ""), ERR_ISDIR);
    cr_assert_eq(world_set(&w, 4, 0, ""), ERR_INVAL);
    cr_assert_eq(world_set(&w, 2, 0, "12345"), ERR_TOOBIG);
    cr_assert_eq(world_append(&w, 99, ""), ERR_NOENT);
    cr_assert_eq(world_append(&w, 3, ""), ERR_ISDIR);
    cr_assert_eq(world_append(&w, 4, ""), ERR_INVAL);
    cr_assert_eq(world_append(&w, 2, "345"), ERR_TOOBIG);
    cut.u.setattr.id = 99;
    cr_assert_eq(world_run(&w, cut), ERR_NOENT);
    cut.u.setattr.id = 3;
    cr_assert_eq(world_run(&w, cut), ERR_ISDIR);
    cut.u.setattr.id = 4;
    cr_assert_eq(world_run(&w, cut), ERR_INVAL);
    cut.u.setattr.id = 2;
    cut.u.setattr.size = 5;
    cr_assert_eq(world_run(&w, cut), ERR_TOOBIG);
    cut.u.setattr.size = UINT64_MAX;
    cr_assert_eq(world_run(&w, cut), ERR_TOOBIG);
    cr_assert_eq(world_attr(&w, 2).version, 1);
    world_done(&w);
}

/* APPEND adds to whatever the value is when it is applied. */
Test(tree_apply, append)
{
    struct world w = world_new();

    world_create(&w, TREE_ROOT_ID, "f", NULL);
    cr_assert_eq(world_append(&w, 2, "line 1\n"), 0);
    cr_assert_eq(world_append(&w, 2, "line 2\n"), 0);
    cr_assert(world_value_is(&w, 2, "line 1\nline 2\n", 14));
    cr_assert_eq(w.last.reply.u.attr.version, 3);
    cr_assert_eq(w.last.changes[0].kind, CHANGE_SET);
    cr_assert_eq(w.last.changes[0].value->size, 14);
    world_done(&w);
}

/* An event carries the value up to 4096 bytes and not beyond. */
Test(tree_apply, event_value_limit)
{
    struct world w = world_new();
    char value[4098] = {0};

    memset(value, 'v', 4096);
    world_create(&w, TREE_ROOT_ID, "f", value);
    cr_assert(w.last.changes[0].has_value);
    cr_assert_eq(w.last.changes[0].value->size, 4096);
    value[4096] = 'v';
    world_set(&w, 2, 0, value);
    cr_assert(!w.last.changes[0].has_value);
    cr_assert_null(w.last.changes[0].value);
    world_done(&w);
}

static int setattr(struct world *w, uint64_t id, uint32_t mask, uint32_t mode, uint64_t size,
                   int64_t mtime_ns)
{
    struct request r = {.op = OP_SETATTR};

    r.u.setattr.id = id;
    r.u.setattr.mask = mask;
    r.u.setattr.mode = mode;
    r.u.setattr.uid = 70;
    r.u.setattr.gid = 80;
    r.u.setattr.size = size;
    r.u.setattr.atime_ns = 111;
    r.u.setattr.mtime_ns = mtime_ns;
    return world_run(w, r);
}

/* SETATTR changes what its mask names; aversion and ctime tell. */
Test(tree_apply, setattr)
{
    struct world w = world_new();
    struct attr a;

    world_create(&w, TREE_ROOT_ID, "f", "abc");
    w.time_ns = 9000;
    cr_assert_eq(setattr(&w, 2, SETATTR_MODE, 0104755, 0, 0), 0);
    a = w.last.reply.u.attr;
    cr_assert_eq(a.mode, 04755);
    cr_assert_eq(a.uid, 7);
    cr_assert_eq(a.aversion, 1);
    cr_assert_eq(a.version, 1);
    cr_assert_eq(a.mzxid, 2);
    cr_assert_eq(a.ctime_ns, 9000);
    cr_assert_eq(a.mtime_ns, 1000);
    cr_assert_eq(w.last.changes[0].kind, CHANGE_SETATTR);
    cr_assert(!w.last.changes[0].has_value);
    cr_assert_eq(
        setattr(&w, 2, SETATTR_UID | SETATTR_GID | SETATTR_ATIME | SETATTR_MTIME, 0, 0, 222), 0);
    a = w.last.reply.u.attr;
    cr_assert_eq(a.mode, 04755);
    cr_assert_eq(a.uid, 70);
    cr_assert_eq(a.gid, 80);
    cr_assert_eq(a.atime_ns, 111);
    cr_assert_eq(a.mtime_ns, 222);
    cr_assert_eq(a.aversion, 2);
    cr_assert_eq(setattr(&w, 2, SETATTR_ATIME_NOW, 0, 0, 0), 0);
    a = w.last.reply.u.attr;
    cr_assert_eq(a.atime_ns, 9000);
    cr_assert_eq(a.mtime_ns, 222);
    cr_assert_eq(setattr(&w, TREE_ROOT_ID, SETATTR_MODE, 01777, 0, 0), 0);
    cr_assert_eq(w.last.reply.u.attr.mode, 01777);
    cr_assert_eq(w.last.changes[0].dir, TREE_ROOT_ID);
    cr_assert_eq(w.last.changes[0].name.size, 0);
    cr_assert_eq(setattr(&w, 99, SETATTR_MODE, 0, 0, 0), ERR_NOENT);
    world_done(&w);
}

/* A SETATTR that changes nothing makes no event and no version; a touch always does. */
Test(tree_apply, setattr_without_effect)
{
    struct world w = world_new();

    world_create(&w, TREE_ROOT_ID, "f", "abc");
    w.time_ns = 9000;
    cr_assert_eq(setattr(&w, 2, SETATTR_MODE, 0644, 0, 0), 0);
    cr_assert_eq(w.last.change_count, 0);
    cr_assert_eq(w.last.reply.u.attr.id, 2);
    cr_assert_eq(w.last.reply.u.attr.aversion, 0);
    cr_assert_eq(w.last.reply.u.attr.ctime_ns, 1000);
    cr_assert_eq(setattr(&w, 2, 0, 0, 0, 0), 0);
    cr_assert_eq(w.last.change_count, 0);
    cr_assert_eq(setattr(&w, 2, SETATTR_MTIME_NOW, 0, 0, 0), 0);
    cr_assert_eq(setattr(&w, 2, SETATTR_MTIME_NOW, 0, 0, 0), 0);
    cr_assert_eq(w.last.change_count, 1);
    cr_assert_eq(w.last.reply.u.attr.aversion, 2);
    world_done(&w);
}

/* A size cuts the value or extends it with zeros, and is a new version like SET. */
Test(tree_apply, setattr_size)
{
    struct world w = world_new();
    struct attr a;

    world_create(&w, TREE_ROOT_ID, "f", "abc");
    w.time_ns = 9000;
    cr_assert_eq(setattr(&w, 2, SETATTR_SIZE, 0, 1, 0), 0);
    cr_assert(world_value_is(&w, 2, "a", 1));
    a = w.last.reply.u.attr;
    cr_assert_eq(a.version, 2);
    cr_assert_eq(a.aversion, 0);
    cr_assert_eq(a.mtime_ns, 9000);
    cr_assert_eq(w.last.changes[0].kind, CHANGE_SET);
    cr_assert_eq(setattr(&w, 2, SETATTR_SIZE | SETATTR_MTIME | SETATTR_MODE, 0600, 3, 555), 0);
    cr_assert(world_value_is(&w, 2, "a\0\0", 3));
    a = w.last.reply.u.attr;
    cr_assert_eq(a.mtime_ns, 555);
    cr_assert_eq(a.mode, 0600);
    cr_assert_eq(a.version, 3);
    cr_assert_eq(a.aversion, 1);
    cr_assert_eq(w.last.change_count, 1);
    cr_assert_eq(setattr(&w, 2, SETATTR_SIZE, 0, 3, 0), 0);
    cr_assert_eq(w.last.reply.u.attr.version, 4);
    cr_assert_eq(setattr(&w, 2, SETATTR_SIZE, 0, 0, 0), 0);
    cr_assert_null(tree_node_value(tree_node(w.tree, 2)));
    cr_assert_eq(tree_value_bytes(w.tree), 0);
    world_done(&w);
}

/* REMOVE takes the node away and tells, with its last attributes, that it is gone. */
Test(tree_apply, remove)
{
    struct world w = world_new();
    const struct event *e;
    const struct tree_node *n;

    world_create(&w, TREE_ROOT_ID, "f", "abc");
    w.time_ns = 9000;
    cr_assert_eq(world_remove(&w, TREE_ROOT_ID, "f", 0), 0);
    cr_assert_eq(w.last.reply.u.remove.id, 2);
    e = &w.last.changes[0];
    cr_assert_eq(e->kind, CHANGE_REMOVE);
    cr_assert_eq(e->dir, 1);
    cr_assert(name_equals(e->name, "f"));
    cr_assert_eq(e->attr.id, 2);
    cr_assert_eq(e->attr.size, 3);
    cr_assert(!e->has_value);
    cr_assert_null(tree_node(w.tree, 2));
    cr_assert_eq(tree_lookup(w.tree, TREE_ROOT_ID, name_of("f"), &n), ERR_NOENT);
    cr_assert_eq(tree_value_bytes(w.tree), 0);
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).cversion, 2);
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).pzxid, 3);
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).mtime_ns, 9000);
    world_create(&w, TREE_ROOT_ID, "f", NULL);
    cr_assert_eq(world_made(&w), 3);
    world_done(&w);
}

/* What cannot be removed stays. */
Test(tree_apply, remove_refusals)
{
    struct world w = world_new();

    world_mkdir(&w, TREE_ROOT_ID, "d");
    world_create(&w, 2, "f", NULL);
    cr_assert_eq(world_remove(&w, 99, "f", 0), ERR_NOENT);
    cr_assert_eq(world_remove(&w, 3, "f", 0), ERR_NOTDIR);
    cr_assert_eq(world_remove(&w, 2, "g", 0), ERR_NOENT);
    cr_assert_eq(world_remove(&w, 2, "", 0), ERR_NOENT);
    cr_assert_eq(world_remove(&w, 2, "f", REMOVE_DIR), ERR_NOTDIR);
    cr_assert_eq(world_remove(&w, TREE_ROOT_ID, "d", 0), ERR_ISDIR);
    cr_assert_eq(world_remove(&w, TREE_ROOT_ID, "d", REMOVE_DIR), ERR_NOTEMPTY);
    cr_assert_eq(world_remove(&w, TREE_ROOT_ID, "", REMOVE_DIR), ERR_BUSY);
    cr_assert_eq(tree_node_count(w.tree), 3);
    cr_assert_eq(world_remove(&w, 2, "f", 0), 0);
    cr_assert_eq(world_remove(&w, TREE_ROOT_ID, "d", REMOVE_DIR), 0);
    cr_assert_eq(tree_node_count(w.tree), 1);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* The tree's time stands still while a leader's clock is behind that of the one before. */
Test(tree_apply, time_never_falls)
{
    struct world w = world_new();

    w.time_ns = 9000;
    world_create(&w, TREE_ROOT_ID, "a", NULL);
    w.time_ns = 100;
    world_create(&w, TREE_ROOT_ID, "b", NULL);
    cr_assert_eq(world_attr(&w, 3).mtime_ns, 9000);
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).mtime_ns, 9000);
    w.time_ns = 9001;
    cr_assert_eq(world_set(&w, 3, 0, "x"), 0);
    cr_assert_eq(w.last.reply.u.attr.mtime_ns, 9001);
    world_done(&w);
}

/* A hundred thousand names in one directory are each found, and only they. */
Test(tree_apply, many_names)
{
    struct world w = world_new();
    const struct tree_node *n;
    char name[32];

    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        cr_assert_eq(world_create(&w, TREE_ROOT_ID, name, NULL), 0);
    }
    for (int i = 0; i < 100000; i += 2) {
        snprintf(name, sizeof(name), "n%d", i);
        cr_assert_eq(world_remove(&w, TREE_ROOT_ID, name, 0), 0);
    }
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        cr_assert_eq(tree_lookup(w.tree, TREE_ROOT_ID, name_of(name), &n), i % 2 ? 0 : ERR_NOENT);
    }
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}
