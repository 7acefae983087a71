#include "mem.h"
#include "test_tree_help.h"

/* Totals below directories, and the quotas that bound them. */

#define QUOTA "user.zabfs.quota"

static uint64_t dir_made(struct world *w, uint64_t in, const char *name)
{
    cr_assert_eq(world_mkdir(w, in, name), 0);
    return world_made(w);
}

static uint64_t file_made(struct world *w, uint64_t in, const char *name, const char *value)
{
    cr_assert_eq(world_create(w, in, name, value), 0);
    return world_made(w);
}

static struct reply usage(const struct world *w, uint64_t id)
{
    struct reply r = {0};

    tree_node_usage(tree_node(w->tree, id), &r);
    return r;
}

static bool below(const struct world *w, uint64_t dir, uint64_t nodes, uint64_t bytes)
{
    struct reply r = {0};

    tree_node_xattrs(tree_node(w->tree, dir), &r);
    mem_free(r.u.xattrs.list);
    return r.u.xattrs.nodes == nodes && r.u.xattrs.bytes == bytes;
}

static int rename_to(struct world *w, uint64_t dir, const char *name, uint64_t to_dir,
                     const char *to, uint32_t flags)
{
    struct request r = {.op = OP_RENAME};

    r.u.rename.dir = dir;
    r.u.rename.name = name_of(name);
    r.u.rename.to_dir = to_dir;
    r.u.rename.to_name = name_of(to);
    r.u.rename.flags = flags;
    return world_run(w, r);
}

static int resize(struct world *w, uint64_t id, uint64_t size)
{
    struct request r = {.op = OP_SETATTR};

    r.u.setattr.id = id;
    r.u.setattr.mask = SETATTR_SIZE;
    r.u.setattr.size = size;
    return world_run(w, r);
}

Test(tree_quota, totals_follow_every_change)
{
    struct world w = world_new();
    uint64_t a = dir_made(&w, 1, "a");
    uint64_t b = dir_made(&w, a, "b");
    uint64_t f = file_made(&w, b, "f", "12345");

    cr_assert(below(&w, 1, 3, 5) && below(&w, a, 2, 5) && below(&w, b, 1, 5));
    cr_assert_eq(world_set(&w, f, 0, "123"), 0);
    cr_assert(below(&w, 1, 3, 3) && below(&w, a, 2, 3) && below(&w, b, 1, 3));
    cr_assert_eq(world_append(&w, f, "45678"), 0);
    cr_assert(below(&w, a, 2, 8));
    cr_assert_eq(resize(&w, f, 2), 0);
    cr_assert(below(&w, a, 2, 2));
    cr_assert_eq(world_setxattr(&w, f, "user.x", "yy", 0), 0);
    cr_assert(below(&w, a, 2, 10) && below(&w, b, 1, 10));
    cr_assert_eq(world_setxattr(&w, b, "user.x", "y", 0), 0);
    cr_assert(below(&w, a, 2, 17) && below(&w, b, 1, 10));
    cr_assert_eq(world_setxattr(&w, 1, "user.x", "y", 0), 0);
    cr_assert(below(&w, 1, 3, 17));
    file_made(&w, b, ".data", "1234");
    cr_assert(below(&w, 1, 4, 21) && below(&w, b, 2, 14));
    world_reload(&w);
    cr_assert(below(&w, 1, 4, 21) && below(&w, a, 3, 21) && below(&w, b, 2, 14));
    cr_assert_eq(rename_to(&w, a, "b", 1, "c", 0), 0);
    cr_assert(below(&w, 1, 4, 21) && below(&w, a, 0, 0) && below(&w, b, 2, 14));
    cr_assert_eq(world_remove(&w, b, "f", 0), 0);
    cr_assert_eq(world_remove(&w, 1, "c", REMOVE_DIR), 0);
    cr_assert(below(&w, 1, 1, 0));
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

Test(tree_quota, what_can_be_said)
{
    static const char *const good[] = {"1 1",
                                       "1K 1",
                                       "2M -",
                                       "- 1",
                                       "- -",
                                       "17179869183G 1",
                                       "18446744073709551614 18446744073709551614"};
    static const char *const bad[] = {"",
                                      "1",
                                      "1 ",
                                      "1K1",
                                      " 1 1",
                                      "1  1",
                                      "1 1 ",
                                      "1k 1",
                                      "1KB 1",
                                      "-1 1",
                                      "+1 1",
                                      "1 1K",
                                      "0x10 1",
                                      "1.5M 1",
                                      "-K 1",
                                      "0 1",
                                      "1 0",
                                      "a b",
                                      "18446744073709551615 1",
                                      "17179869184G 1",
                                      "1 -1",
                                      "99999999999999999999 1",
                                      "1\n1"};
    struct world w = world_new();
    uint64_t d = dir_made(&w, 1, "d");

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert_eq(world_setxattr(&w, d, QUOTA, good[i], 0), 0, "%s", good[i]);
        world_reload(&w);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(world_setxattr(&w, d, QUOTA, bad[i], 0), ERR_INVAL, "%s", bad[i]);
    }
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

Test(tree_quota, statfs_shows_the_nearest)
{
    struct world w = world_new();
    uint64_t a = dir_made(&w, 1, "a");
    uint64_t b = dir_made(&w, a, "b");
    uint64_t f = file_made(&w, b, "f", "12345");

    cr_assert_eq(usage(&w, f).u.statfs.nodes, 3);
    cr_assert_eq(usage(&w, f).u.statfs.bytes, 5);
    cr_assert_eq(usage(&w, f).u.statfs.nodes_max, 0);
    cr_assert_eq(world_setxattr(&w, a, QUOTA, "1K 10", 0), 0);
    cr_assert_eq(usage(&w, f).u.statfs.nodes, 2);
    cr_assert_eq(usage(&w, f).u.statfs.nodes_max, 10);
    cr_assert_eq(usage(&w, f).u.statfs.bytes_max, 1024);
    cr_assert_eq(usage(&w, a).u.statfs.nodes_max, 10);
    cr_assert_eq(usage(&w, 1).u.statfs.nodes_max, 0);
    cr_assert_eq(world_setxattr(&w, b, QUOTA, "- 5", 0), 0);
    cr_assert_eq(usage(&w, f).u.statfs.nodes, 1);
    cr_assert_eq(usage(&w, f).u.statfs.nodes_max, 5);
    cr_assert_eq(usage(&w, f).u.statfs.bytes_max, 0);
    cr_assert_eq(world_setxattr(&w, b, QUOTA, "- -", 0), 0);
    cr_assert_eq(usage(&w, f).u.statfs.nodes_max, 10, "no limit is no quota");
    world_done(&w);
}

/* Whatever adds is refused as a whole, at any depth, and the same op that adds nothing is not. */
Test(tree_quota, bounds_bytes)
{
    struct world w = world_new();
    uint64_t a = dir_made(&w, 1, "a");
    uint64_t b = dir_made(&w, a, "b");
    uint64_t f = file_made(&w, b, "f", "12345");
    struct attr before;

    cr_assert_eq(world_setxattr(&w, a, QUOTA, "4 -", 0), ERR_QUOTA);
    cr_assert_eq(world_setxattr(&w, a, QUOTA, "8 -", 0), 0);
    world_reload(&w);
    before = world_attr(&w, b);
    cr_assert_eq(world_create(&w, b, "g", "1234"), ERR_QUOTA);
    cr_assert_eq(world_attr(&w, b).cversion, before.cversion);
    cr_assert_eq(world_set(&w, f, 0, "123456789"), ERR_QUOTA);
    cr_assert_eq(world_append(&w, f, "6789"), ERR_QUOTA);
    cr_assert_eq(resize(&w, f, 9), ERR_QUOTA);
    cr_assert_eq(world_setxattr(&w, f, "user.x", "", 0), ERR_QUOTA);
    cr_assert_eq(world_create(&w, b, ".data", "6789"), ERR_QUOTA);
    cr_assert_eq(world_attr(&w, f).version, 1);
    cr_assert_eq(world_set(&w, f, 0, "12345678"), 0);
    cr_assert_eq(world_create(&w, b, "g", NULL), 0);
    cr_assert_eq(world_set(&w, f, 0, "87654321"), 0);
    cr_assert_eq(world_set(&w, f, 0, "1"), 0);
    cr_assert_eq(world_setxattr(&w, f, "user.x", "", 0), 0);
    cr_assert_eq(world_setxattr(&w, a, "user.x", "not below itself", 0), 0);
    cr_assert_eq(world_setxattr(&w, a, QUOTA, NULL, SETXATTR_REMOVE), 0);
    cr_assert_eq(world_set(&w, f, 0, "123456789012345"), 0);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

Test(tree_quota, bounds_nodes)
{
    struct world w = world_new();
    uint64_t a = dir_made(&w, 1, "a");
    uint64_t b = dir_made(&w, a, "b");

    file_made(&w, b, "f", NULL);
    cr_assert_eq(world_setxattr(&w, a, QUOTA, "- 1", 0), ERR_QUOTA);
    cr_assert_eq(world_setxattr(&w, a, QUOTA, "- 2", 0), 0);
    cr_assert_eq(world_mkdir(&w, b, "g"), ERR_QUOTA);
    cr_assert_eq(world_create_type(&w, b, "l", NODE_SYMLINK, 0, "x"), ERR_QUOTA);
    cr_assert_eq(world_create(&w, a, ".data", NULL), ERR_QUOTA);
    cr_assert_eq(world_create(&w, 1, "elsewhere", NULL), 0);
    cr_assert_eq(world_remove(&w, b, "f", 0), 0);
    cr_assert_eq(world_mkdir(&w, b, "g"), 0);
    world_done(&w);
}

/* A rename adds to the directories that it brings something into, less what it replaces. */
Test(tree_quota, bounds_renames)
{
    struct world w = world_new();
    uint64_t a = dir_made(&w, 1, "a");
    uint64_t b = dir_made(&w, a, "b");
    uint64_t in = dir_made(&w, 1, "in");

    file_made(&w, in, "x", "123456");
    file_made(&w, in, "y", "1");
    file_made(&w, b, "f", "12345");
    cr_assert_eq(world_setxattr(&w, a, QUOTA, "6 3", 0), 0);
    cr_assert_eq(rename_to(&w, 1, "in", b, "in", 0), ERR_QUOTA);
    cr_assert_eq(rename_to(&w, in, "x", b, "x", 0), ERR_QUOTA);
    cr_assert_eq(rename_to(&w, in, "x", b, "f", 0), 0);
    cr_assert(below(&w, a, 2, 6) && below(&w, in, 1, 1));
    cr_assert_eq(rename_to(&w, in, "y", b, "y", 0), ERR_QUOTA);
    cr_assert_eq(rename_to(&w, b, "f", a, "f", 0), 0);
    cr_assert_eq(rename_to(&w, a, "f", in, "y", RENAME_FLAG_EXCHANGE), 0);
    cr_assert(below(&w, a, 2, 1) && below(&w, in, 1, 6));
    cr_assert_eq(rename_to(&w, a, "f", in, "y", RENAME_FLAG_EXCHANGE), 0);
    cr_assert_eq(world_setxattr(&w, in, QUOTA, "3 1", 0), 0);
    cr_assert_eq(rename_to(&w, a, "f", in, "y", RENAME_FLAG_EXCHANGE), ERR_QUOTA);
    cr_assert_eq(rename_to(&w, 1, "a", in, "a", 0), ERR_QUOTA);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* Directories with a quota that go take it along. */
Test(tree_quota, goes_with_its_directory)
{
    struct world w = world_new();
    uint64_t a = dir_made(&w, 1, "a");

    cr_assert_eq(world_setxattr(&w, a, QUOTA, "1 1", 0), 0);
    cr_assert_eq(world_remove(&w, 1, "a", REMOVE_DIR), 0);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}
