#include "mem.h"
#include "test_tree_help.h"

/* Extended attributes: what may be set, what is shown, what counts. */

static int setxattr_bytes(struct world *w, uint64_t id, const char *name, size_t size)
{
    struct request r = {.op = OP_SETXATTR};
    int err;

    r.u.setxattr.id = id;
    r.u.setxattr.name = name_of(name);
    r.u.setxattr.value = blob_new_uninit(size);
    memset(r.u.setxattr.value->data, 'x', size);
    err = world_run(w, r);
    blob_unref(r.u.setxattr.value);
    return err;
}

/* "name=value name=value ..." as the node shows them. */
static const char *shown(const struct world *w, uint64_t id)
{
    static char text[1000];
    struct reply r = {0};
    size_t at = 0;

    tree_node_xattrs(tree_node(w->tree, id), &r);
    text[0] = '\0';
    for (uint32_t i = 0; i < r.u.xattrs.count; i++) {
        const struct xattr *a = &r.u.xattrs.list[i];

        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s=%.*s", i > 0 ? " " : "",
                               (int)a->name.size, a->name.bytes,
                               a->value != NULL ? (int)a->value->size : 0,
                               a->value != NULL ? (const char *)a->value->data : "");
    }
    mem_free(r.u.xattrs.list);
    return text;
}

static uint64_t file_made(struct world *w, const char *name)
{
    cr_assert_eq(world_create(w, TREE_ROOT_ID, name, NULL), 0);
    return world_made(w);
}

static uint64_t dir_made(struct world *w, uint64_t in, const char *name)
{
    cr_assert_eq(world_mkdir(w, in, name), 0);
    return world_made(w);
}

Test(tree_xattr, shown_by_name)
{
    struct world w = world_new();
    uint64_t f = file_made(&w, "f");

    cr_assert_str_eq(shown(&w, f), "");
    cr_assert_eq(world_setxattr(&w, f, "user.m", "1", 0), 0);
    cr_assert_eq(world_setxattr(&w, f, "user.z", "2", 0), 0);
    cr_assert_eq(world_setxattr(&w, f, "user.a", "", 0), 0);
    cr_assert_eq(world_setxattr(&w, f, "user.mm", "4", 0), 0);
    cr_assert_str_eq(shown(&w, f), "user.a= user.m=1 user.mm=4 user.z=2");
    world_reload(&w);
    cr_assert_str_eq(shown(&w, f), "user.a= user.m=1 user.mm=4 user.z=2");
    cr_assert_eq(world_setxattr(&w, f, "user.m", "changed", 0), 0);
    cr_assert_eq(world_setxattr(&w, f, "user.z", NULL, SETXATTR_REMOVE), 0);
    cr_assert_str_eq(shown(&w, f), "user.a= user.m=changed user.mm=4");
    cr_assert_eq(world_setxattr(&w, f, "user.a", NULL, SETXATTR_REMOVE), 0);
    cr_assert_eq(world_setxattr(&w, f, "user.m", NULL, SETXATTR_REMOVE), 0);
    cr_assert_eq(world_setxattr(&w, f, "user.mm", NULL, SETXATTR_REMOVE), 0);
    cr_assert_str_eq(shown(&w, f), "");
    world_reload(&w);
    world_done(&w);
}

/* A change of attributes, of nothing else; the same again is none. */
Test(tree_xattr, a_change_of_attributes)
{
    struct world w = world_new();
    uint64_t f = file_made(&w, "f");
    struct attr before = world_attr(&w, f);
    uint64_t digest;

    w.time_ns = 4444;
    cr_assert_eq(world_setxattr(&w, f, "user.a", "1", 0), 0);
    cr_assert_eq(w.last.reply.u.attr.aversion, before.aversion + 1);
    cr_assert_eq(w.last.reply.u.attr.version, before.version);
    cr_assert_eq(w.last.reply.u.attr.ctime_ns, 4444);
    cr_assert_eq(w.last.reply.u.attr.mtime_ns, before.mtime_ns);
    cr_assert_eq(w.last.change_count, 1);
    cr_assert_eq(w.last.changes[0].kind, CHANGE_SETATTR);
    cr_assert_eq(w.last.changes[0].attr.aversion, before.aversion + 1);
    cr_assert(!w.last.changes[0].has_value);
    digest = tree_digest(w.tree);
    cr_assert_eq(world_setxattr(&w, f, "user.a", "1", 0), 0);
    cr_assert_eq(w.last.change_count, 0);
    cr_assert_eq(w.last.reply.u.attr.aversion, before.aversion + 1);
    cr_assert_neq(tree_digest(w.tree), digest, "index and slot have moved");
    cr_assert_eq(world_setxattr(&w, f, "user.a", "2", 0), 0);
    cr_assert_eq(w.last.change_count, 1);
    world_done(&w);
}

Test(tree_xattr, refusals)
{
    struct world w = world_new();
    uint64_t f = file_made(&w, "f");
    uint64_t d = dir_made(&w, TREE_ROOT_ID, "d");
    char name[300] = "user.";

    memset(name + 5, 'n', 251);
    cr_assert_eq(world_setxattr(&w, f, name, "v", 0), ERR_NAMETOOLONG);
    name[255] = '\0';
    cr_assert_eq(world_setxattr(&w, f, name, "v", 0), 0);
    world_reload(&w);
    cr_assert_eq(world_setxattr(&w, 99, "user.a", "v", 0), ERR_NOENT);
    cr_assert_eq(world_setxattr(&w, f, "trusted.a", "v", 0), ERR_UNSUPPORTED);
    cr_assert_eq(world_setxattr(&w, f, "security.selinux", "v", 0), ERR_UNSUPPORTED);
    cr_assert_eq(world_setxattr(&w, f, "user.", "v", 0), ERR_UNSUPPORTED);
    cr_assert_eq(world_setxattr(&w, f, "", "v", 0), ERR_UNSUPPORTED);
    cr_assert_eq(world_setxattr(&w, f, "user.a", "v", SETXATTR_REPLACE), ERR_NODATA);
    cr_assert_eq(world_setxattr(&w, f, "user.a", NULL, SETXATTR_REMOVE), ERR_NODATA);
    cr_assert_eq(world_setxattr(&w, f, "user.a", "v", SETXATTR_CREATE), 0);
    cr_assert_eq(world_setxattr(&w, f, "user.a", "w", SETXATTR_CREATE), ERR_EXISTS);
    cr_assert_eq(world_setxattr(&w, f, "user.a", "w", SETXATTR_REPLACE), 0);
    cr_assert_eq(world_setxattr(&w, f, "user.zabfs.fence", "1", 0), ERR_PERM);
    cr_assert_eq(world_setxattr(&w, d, "user.zabfs.other", "1", 0), ERR_PERM);
    cr_assert_eq(world_setxattr(&w, d, "user.zabfs.fence", NULL, SETXATTR_REMOVE), ERR_PERM);
    cr_assert_eq(world_setxattr(&w, f, "user.zabfs.quota", "1K 1", 0), ERR_PERM);
    cr_assert_eq(world_setxattr(&w, f, "user.zabfs.ephemeral", "open", 0), ERR_PERM);
    cr_assert_eq(world_setxattr(&w, d, "user.zabfs.ephemeral", "opened", 0), ERR_INVAL);
    cr_assert_eq(world_setxattr(&w, d, "user.zabfs.ephemeral", "", 0), ERR_INVAL);
    cr_assert_str_eq(shown(&w, d), "");
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

Test(tree_xattr, as_many_and_as_large_as_the_limits_say)
{
    struct world w = world_new();
    uint64_t f = file_made(&w, "f");
    uint64_t g = file_made(&w, "g");
    char name[32];

    cr_assert_eq(setxattr_bytes(&w, f, "user.a", XATTRS_SIZE_MAX - 5), ERR_NOSPACE);
    cr_assert_eq(setxattr_bytes(&w, f, "user.a", XATTRS_SIZE_MAX - 6), 0);
    cr_assert_eq(setxattr_bytes(&w, f, "user.b", 0), ERR_NOSPACE);
    cr_assert_eq(setxattr_bytes(&w, f, "user.a", XATTRS_SIZE_MAX - 12), 0);
    cr_assert_eq(setxattr_bytes(&w, f, "user.b", 0), 0);
    world_reload(&w);
    cr_assert_eq(setxattr_bytes(&w, f, "user.b", 1), ERR_NOSPACE);
    for (int i = 0; i < XATTRS_MAX; i++) {
        snprintf(name, sizeof(name), "user.%d", i);
        cr_assert_eq(world_setxattr(&w, g, name, "v", 0), 0);
    }
    cr_assert_eq(world_setxattr(&w, g, "user.more", "v", 0), ERR_NOSPACE);
    cr_assert_eq(world_setxattr(&w, g, "user.7", "other", 0), 0);
    world_reload(&w);
    cr_assert_eq(world_setxattr(&w, g, "user.more", "v", 0), ERR_NOSPACE);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

Test(tree_xattr, of_directories_links_and_the_root)
{
    struct world w = world_new();
    uint64_t d = dir_made(&w, TREE_ROOT_ID, "d"), l;

    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "l", NODE_SYMLINK, 0, "to"), 0);
    l = world_made(&w);
    cr_assert_eq(world_setxattr(&w, d, "user.a", "d", 0), 0);
    cr_assert_eq(world_setxattr(&w, l, "user.a", "l", 0), 0);
    cr_assert_eq(world_setxattr(&w, TREE_ROOT_ID, "user.a", "r", 0), 0);
    world_reload(&w);
    cr_assert_str_eq(shown(&w, d), "user.a=d");
    cr_assert_str_eq(shown(&w, l), "user.a=l");
    cr_assert_str_eq(shown(&w, TREE_ROOT_ID), "user.a=r");
    cr_assert_eq(world_remove(&w, TREE_ROOT_ID, "d", REMOVE_DIR), 0);
    cr_assert_eq(world_setxattr(&w, TREE_ROOT_ID, "user.a", NULL, SETXATTR_REMOVE), 0);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* A file that replaces another brings its attributes along. */
Test(tree_xattr, rename_onto_a_file)
{
    struct world w = world_new();
    uint64_t target = file_made(&w, "target");
    struct request r = {.op = OP_RENAME};

    cr_assert_eq(world_setxattr(&w, target, "user.old", "1", 0), 0);
    cr_assert_eq(world_setxattr(&w, file_made(&w, "new"), "user.new", "2", 0), 0);
    r.u.rename.dir = r.u.rename.to_dir = TREE_ROOT_ID;
    r.u.rename.name = name_of("new");
    r.u.rename.to_name = name_of("target");
    cr_assert_eq(world_run(&w, r), 0);
    cr_assert_str_eq(shown(&w, target), "user.new=2");
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    file_made(&w, "new");
    cr_assert_eq(world_run(&w, r), 0);
    cr_assert_str_eq(shown(&w, target), "");
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* Never locked: the index of its creation. */
Test(tree_xattr, fence)
{
    struct world w = world_new();
    uint64_t f = file_made(&w, "f");
    struct reply r = {0};

    tree_node_xattrs(tree_node(w.tree, f), &r);
    cr_assert_eq(r.u.xattrs.fence, world_attr(&w, f).czxid);
    cr_assert_eq(r.u.xattrs.attr.id, f);
    cr_assert_null(r.u.xattrs.list);
    world_done(&w);
}
