#include "test_tree_help.h"

/* Files that end with a session: by wish, or by the rule of their directory. */

static int create_life(struct world *w, uint64_t session, uint64_t dir, const char *name,
                       enum node_type type, enum node_life life)
{
    struct request r = {.op = OP_CREATE};
    int err;

    r.xid = ++w->xid;
    r.u.create.dir = dir;
    r.u.create.name = name_of(name);
    r.u.create.type = type;
    r.u.create.mode = 0600;
    r.u.create.life = life;
    r.u.create.value = type == NODE_SYMLINK ? blob_new("to", 2) : NULL;
    err = world_apply(w, session, &r);
    blob_unref(r.u.create.value);
    return err;
}

static int session_close(struct world *w, uint64_t by, uint64_t session)
{
    struct request r = {.op = OP_SESSION_CLOSE, .xid = ++w->xid};

    r.u.session_close.session = session;
    return world_apply(w, by, &r);
}

static int remove_id(struct world *w, uint64_t dir, const char *name, uint64_t id, uint32_t flags)
{
    struct request r = {.op = OP_REMOVE};

    r.u.remove.dir = dir;
    r.u.remove.name = name_of(name);
    r.u.remove.id = id;
    r.u.remove.flags = flags;
    return world_run(w, r);
}

static bool is_there(const struct world *w, uint64_t dir, const char *name)
{
    const struct tree_node *n;

    return tree_lookup(w->tree, dir, name_of(name), &n) == 0;
}

Test(tree_life, attributes_say_whose_it_is)
{
    struct world w = world_new();
    struct attr a;

    cr_assert_eq(create_life(&w, w.session, 1, "e", NODE_FILE, LIFE_OPEN), 0);
    a = w.last.reply.u.create.attr;
    cr_assert_eq(a.life, LIFE_OPEN);
    cr_assert_eq(a.owner, w.session);
    cr_assert_eq(w.last.changes[0].attr.life, LIFE_OPEN);
    cr_assert_eq(w.last.changes[0].attr.owner, w.session);
    cr_assert_eq(create_life(&w, w.session, 1, "s", NODE_FILE, LIFE_SESSION), 0);
    cr_assert_eq(world_attr(&w, world_made(&w)).life, LIFE_SESSION);
    cr_assert_eq(world_create(&w, 1, "p", NULL), 0);
    cr_assert_eq(world_attr(&w, world_made(&w)).life, LIFE_PERMANENT);
    cr_assert_eq(world_attr(&w, world_made(&w)).owner, 0);
    world_reload(&w);
    cr_assert_eq(world_attr(&w, a.id).owner, w.session);
    cr_assert_eq(world_attr(&w, a.id).life, LIFE_OPEN);
    world_done(&w);
}

Test(tree_life, only_files)
{
    struct world w = world_new();

    cr_assert_eq(create_life(&w, w.session, 1, "d", NODE_DIR, LIFE_SESSION), ERR_PERM);
    cr_assert_eq(create_life(&w, w.session, 1, "l", NODE_SYMLINK, LIFE_OPEN), ERR_PERM);
    cr_assert_eq(create_life(&w, w.session, 1, ".data", NODE_FILE, LIFE_OPEN), ERR_PERM);
    cr_assert_eq(world_create(&w, 1, "f", NULL), 0);
    cr_assert_eq(create_life(&w, w.session, 1, "f", NODE_FILE, LIFE_OPEN), ERR_EXISTS);
    cr_assert_eq(create_life(&w, 77, 1, "e", NODE_FILE, LIFE_OPEN), ERR_EXPIRED);
    cr_assert_eq(tree_node_count(w.tree), 2);
    world_done(&w);
}

/* What a session leaves goes in the order of ids, wherever it is, as one group of changes that say
 * who ended the session; everybody else's stays. */
Test(tree_life, end_of_a_session_takes_its_own)
{
    struct world w = world_new();
    uint64_t other = world_open(&w, 9);
    uint64_t dir, last = 0;
    struct attr was;

    cr_assert_eq(world_mkdir(&w, 1, "d"), 0);
    dir = world_made(&w);
    cr_assert_eq(create_life(&w, w.session, dir, "c", NODE_FILE, LIFE_OPEN), 0);
    cr_assert_eq(create_life(&w, other, 1, "theirs", NODE_FILE, LIFE_SESSION), 0);
    cr_assert_eq(create_life(&w, w.session, 1, "b", NODE_FILE, LIFE_SESSION), 0);
    cr_assert_eq(create_life(&w, w.session, dir, "a", NODE_FILE, LIFE_OPEN), 0);
    cr_assert_eq(world_create(&w, 1, "mine", NULL), 0);
    world_reload(&w);
    was = world_attr(&w, dir);
    w.time_ns = 5000;
    cr_assert_eq(session_close(&w, w.session, 0), 0);
    cr_assert_eq(w.last.session_gone, w.session);
    cr_assert_eq(w.last.change_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct event *e = &w.last.changes[i];

        cr_assert_eq(e->kind, CHANGE_REMOVE);
        cr_assert_gt(e->attr.id, last);
        cr_assert_eq(e->attr.owner, w.session);
        cr_assert_eq(e->more, i < 2);
        cr_assert_eq(e->session, w.session);
        cr_assert_eq(e->index, tree_index(w.tree));
        last = e->attr.id;
    }
    cr_assert(name_equals(w.last.changes[0].name, "c"));
    cr_assert(name_equals(w.last.changes[0].dir_path, "/d"));
    cr_assert(!is_there(&w, 1, "b") && !is_there(&w, dir, "a") && !is_there(&w, dir, "c"));
    cr_assert(is_there(&w, 1, "mine") && is_there(&w, 1, "theirs"));
    cr_assert_eq(world_attr(&w, dir).size, 0);
    cr_assert_eq(world_attr(&w, dir).cversion, was.cversion + 2);
    cr_assert_eq(world_attr(&w, dir).pzxid, tree_index(w.tree));
    cr_assert_eq(world_attr(&w, dir).mtime_ns, 5000);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

Test(tree_life, expiry_is_an_end_as_well)
{
    struct world w = world_new();

    cr_assert_eq(create_life(&w, w.session, 1, "e", NODE_FILE, LIFE_SESSION), 0);
    cr_assert_eq(session_close(&w, 0, w.session), 0);
    cr_assert_eq(w.last.change_count, 1);
    cr_assert_eq(w.last.changes[0].session, 0);
    cr_assert_eq(tree_node_count(w.tree), 1);
    cr_assert_eq(session_close(&w, 0, w.session), ERR_EXPIRED);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* More than any first allocation holds. */
Test(tree_life, a_session_may_leave_many)
{
    struct world w = world_new();
    struct request r = {.op = OP_CREATE};

    r.u.create.dir = 1;
    r.u.create.name = name_of("job-");
    r.u.create.type = NODE_FILE;
    r.u.create.flags = CREATE_SEQUENTIAL;
    r.u.create.life = LIFE_SESSION;
    for (int i = 0; i < 3000; i++) {
        cr_assert_eq(world_run(&w, r), 0);
    }
    cr_assert_eq(session_close(&w, 0, w.session), 0);
    cr_assert_eq(w.last.change_count, 3000);
    cr_assert(name_equals(w.last.changes[2999].name, "job-0000002999"));
    cr_assert(!w.last.changes[2999].more);
    cr_assert_eq(tree_node_count(w.tree), 1);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* One that was removed before its session ended is not removed again. */
Test(tree_life, removed_by_hand)
{
    struct world w = world_new();

    cr_assert_eq(create_life(&w, w.session, 1, "e", NODE_FILE, LIFE_SESSION), 0);
    cr_assert_eq(world_remove(&w, 1, "e", 0), 0);
    cr_assert_eq(w.last.changes[0].attr.life, LIFE_SESSION);
    cr_assert_eq(w.last.changes[0].attr.owner, w.session);
    cr_assert_eq(session_close(&w, 0, w.session), 0);
    cr_assert_eq(w.last.change_count, 0);
    world_done(&w);
}

/* --- by id --- */

Test(tree_life, remove_by_id_alone)
{
    struct world w = world_new();
    uint64_t dir, file;

    cr_assert_eq(world_mkdir(&w, 1, "d"), 0);
    dir = world_made(&w);
    cr_assert_eq(world_create(&w, dir, "f", NULL), 0);
    file = world_made(&w);
    cr_assert_eq(remove_id(&w, 0, "", 99, 0), ERR_NOENT);
    cr_assert_eq(remove_id(&w, 0, "", 0, 0), ERR_NOENT);
    cr_assert_eq(remove_id(&w, 0, "f", file, 0), ERR_INVAL);
    cr_assert_eq(remove_id(&w, 0, "", file, REMOVE_DIR), ERR_NOTDIR);
    cr_assert_eq(remove_id(&w, 0, "", dir, 0), ERR_ISDIR);
    cr_assert_eq(remove_id(&w, 0, "", dir, REMOVE_DIR), ERR_NOTEMPTY);
    cr_assert_eq(remove_id(&w, 0, "", TREE_ROOT_ID, REMOVE_DIR), ERR_BUSY);
    cr_assert_eq(remove_id(&w, 0, "", file, 0), 0);
    cr_assert_eq(w.last.reply.u.remove.id, file);
    cr_assert(name_equals(w.last.changes[0].name, "f"));
    cr_assert_eq(w.last.changes[0].dir, dir);
    cr_assert_eq(remove_id(&w, 0, "", file, 0), ERR_NOENT);
    cr_assert_eq(remove_id(&w, 0, "", dir, REMOVE_DIR), 0);
    world_done(&w);
}

/* With a name as well, it is that node or nothing: someone else may have taken the name. */
Test(tree_life, remove_by_name_and_id)
{
    struct world w = world_new();
    uint64_t first;

    cr_assert_eq(world_create(&w, 1, "f", NULL), 0);
    first = world_made(&w);
    cr_assert_eq(world_remove(&w, 1, "f", 0), 0);
    cr_assert_eq(world_create(&w, 1, "f", NULL), 0);
    cr_assert_eq(remove_id(&w, 1, "f", first, 0), ERR_NOENT);
    cr_assert(is_there(&w, 1, "f"));
    cr_assert_eq(remove_id(&w, 1, "f", world_attr(&w, first + 1).id, 0), 0);
    world_done(&w);
}

/* What a mount asks for when an open file is closed: only what is still an ephemeral of its own. */
Test(tree_life, remove_if_it_is_an_ephemeral_of_this_session)
{
    struct world w = world_new();
    uint64_t other = world_open(&w, 9);
    uint64_t mine, theirs, permanent;

    cr_assert_eq(create_life(&w, w.session, 1, "mine", NODE_FILE, LIFE_OPEN), 0);
    mine = world_made(&w);
    cr_assert_eq(create_life(&w, other, 1, "theirs", NODE_FILE, LIFE_OPEN), 0);
    theirs = world_made(&w);
    cr_assert_eq(world_create(&w, 1, "permanent", NULL), 0);
    permanent = world_made(&w);
    cr_assert_eq(remove_id(&w, 0, "", theirs, REMOVE_EPHEMERAL), ERR_NOENT);
    cr_assert_eq(remove_id(&w, 0, "", permanent, REMOVE_EPHEMERAL), ERR_NOENT);
    cr_assert_eq(remove_id(&w, 1, "permanent", 0, REMOVE_EPHEMERAL), ERR_NOENT);
    cr_assert_eq(remove_id(&w, 0, "", mine, REMOVE_EPHEMERAL), 0);
    cr_assert_eq(tree_node_count(w.tree), 3);
    world_done(&w);
}

/* --- the rule of a directory --- */

Test(tree_life, rule_makes_permanent_files_ephemeral)
{
    struct world w = world_new();
    uint64_t dir;

    cr_assert_eq(world_mkdir(&w, 1, "d"), 0);
    dir = world_made(&w);
    cr_assert_eq(world_setxattr(&w, dir, "user.zabfs.ephemeral", "open", 0), 0);
    world_reload(&w);
    cr_assert_eq(world_create(&w, dir, "f", NULL), 0);
    cr_assert_eq(w.last.reply.u.create.attr.life, LIFE_OPEN);
    cr_assert_eq(w.last.reply.u.create.attr.owner, w.session);
    cr_assert_eq(create_life(&w, w.session, dir, "own", NODE_FILE, LIFE_SESSION), 0);
    cr_assert_eq(w.last.reply.u.create.attr.life, LIFE_SESSION);
    cr_assert_eq(world_mkdir(&w, dir, "sub"), 0);
    cr_assert_eq(w.last.reply.u.create.attr.life, LIFE_PERMANENT);
    cr_assert_eq(world_create(&w, world_made(&w), "below", NULL), 0);
    cr_assert_eq(w.last.reply.u.create.attr.life, LIFE_PERMANENT, "it is for that directory");
    cr_assert_eq(world_create(&w, dir, ".data", "about"), 0);
    cr_assert_eq(w.last.reply.u.create.attr.life, LIFE_PERMANENT);
    cr_assert_eq(create_life(&w, w.session, dir, "l", NODE_SYMLINK, LIFE_PERMANENT), 0);
    cr_assert_eq(w.last.reply.u.create.attr.life, LIFE_PERMANENT);
    cr_assert_eq(world_setxattr(&w, dir, "user.zabfs.ephemeral", NULL, SETXATTR_REMOVE), 0);
    cr_assert_eq(world_create(&w, dir, "g", NULL), 0);
    cr_assert_eq(w.last.reply.u.create.attr.life, LIFE_PERMANENT);
    world_reload(&w);
    cr_assert_eq(session_close(&w, 0, w.session), 0);
    cr_assert_eq(w.last.change_count, 2);
    cr_assert(is_there(&w, dir, "g") && !is_there(&w, dir, "f"));
    world_done(&w);
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

/* A program that writes a temporary file in such a directory and renames it publishes it. */
Test(tree_life, rename_publishes_what_a_rule_made)
{
    struct world w = world_new();
    uint64_t dir;

    cr_assert_eq(world_mkdir(&w, 1, "d"), 0);
    dir = world_made(&w);
    cr_assert_eq(world_setxattr(&w, dir, "user.zabfs.ephemeral", "session", 0), 0);
    cr_assert_eq(world_create(&w, dir, "tmp", "v"), 0);
    cr_assert_eq(create_life(&w, w.session, dir, "wish", NODE_FILE, LIFE_SESSION), 0);
    world_reload(&w); /* which of the two it is is part of the state */
    cr_assert_eq(rename_to(&w, dir, "tmp", dir, "final", 0), 0);
    cr_assert_eq(w.last.reply.u.rename.attr.life, LIFE_PERMANENT);
    cr_assert_eq(w.last.reply.u.rename.attr.owner, 0);
    cr_assert_eq(w.last.changes[0].attr.life, LIFE_PERMANENT);
    cr_assert_eq(rename_to(&w, dir, "wish", dir, "moved", 0), 0);
    cr_assert_eq(w.last.reply.u.rename.attr.life, LIFE_SESSION);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    cr_assert_eq(session_close(&w, 0, w.session), 0);
    cr_assert(is_there(&w, dir, "final") && !is_there(&w, dir, "moved"));
    world_done(&w);
}

/* Renamed onto another file it is that file that goes on, as it was. */
Test(tree_life, merge_keeps_the_life_of_the_target)
{
    struct world w = world_new();
    uint64_t target;

    cr_assert_eq(create_life(&w, w.session, 1, "e", NODE_FILE, LIFE_SESSION), 0);
    cr_assert_eq(world_create(&w, 1, "p", NULL), 0);
    target = world_made(&w);
    cr_assert_eq(rename_to(&w, 1, "e", 1, "p", 0), 0);
    cr_assert_eq(w.last.reply.u.rename.attr.id, target);
    cr_assert_eq(w.last.reply.u.rename.attr.life, LIFE_PERMANENT);
    cr_assert_eq(session_close(&w, 0, w.session), 0);
    cr_assert_eq(w.last.change_count, 0);
    cr_assert(is_there(&w, 1, "p"));
    world_done(&w);
}

/* --- .data --- */

static bool count_child(void *ctx, uint64_t cookie, const struct tree_node *child)
{
    (void)cookie;
    (void)child;
    (*(int *)ctx)++;
    return true;
}

Test(tree_life, data_is_found_and_not_listed)
{
    struct world w = world_new();
    struct attr before, after;
    const struct tree_node *n;
    uint64_t dir, data;
    int listed = 0;

    cr_assert_eq(world_mkdir(&w, 1, "d"), 0);
    dir = world_made(&w);
    before = world_attr(&w, dir);
    w.time_ns = 7000;
    cr_assert_eq(world_create(&w, dir, ".data", "about d"), 0);
    data = world_made(&w);
    cr_assert_eq(w.last.change_count, 1);
    cr_assert_eq(w.last.changes[0].kind, CHANGE_CREATE);
    cr_assert(name_equals(w.last.changes[0].name, ".data"));
    cr_assert_eq(world_create(&w, dir, ".data", NULL), ERR_EXISTS);
    after = world_attr(&w, dir);
    cr_assert_eq(after.size, before.size);
    cr_assert_eq(after.cversion, before.cversion);
    cr_assert_eq(after.pzxid, before.pzxid);
    cr_assert_eq(after.mtime_ns, before.mtime_ns);
    cr_assert_eq(after.ctime_ns, before.ctime_ns);
    world_reload(&w);
    cr_assert_eq(tree_lookup(w.tree, dir, name_of(".data"), &n), 0);
    cr_assert_eq(world_attr(&w, data).parent, dir);
    cr_assert(tree_readdir(w.tree, tree_node(w.tree, dir), 0, count_child, &listed));
    cr_assert_eq(listed, 0);
    cr_assert_eq(world_create(&w, dir, "first", NULL), 0);
    cr_assert(tree_readdir(w.tree, tree_node(w.tree, dir), 0, count_child, &listed));
    cr_assert_eq(listed, 1);
    cr_assert_eq(world_set(&w, data, 0, "other"), 0);
    cr_assert_eq(world_remove(&w, dir, ".data", 0), 0);
    cr_assert_eq(w.last.change_count, 1);
    cr_assert_eq(world_attr(&w, dir).cversion, before.cversion + 1);
    cr_assert_eq(world_create(&w, dir, ".data", NULL), 0);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

Test(tree_life, data_goes_with_its_directory)
{
    struct world w = world_new();
    uint64_t dir, data;

    cr_assert_eq(world_mkdir(&w, 1, "d"), 0);
    dir = world_made(&w);
    cr_assert_eq(world_create(&w, dir, ".data", "about d"), 0);
    data = world_made(&w);
    cr_assert_eq(world_remove(&w, 1, "d", REMOVE_DIR), 0);
    cr_assert_eq(w.last.change_count, 2);
    cr_assert_eq(w.last.changes[0].kind, CHANGE_REMOVE);
    cr_assert_eq(w.last.changes[0].attr.id, data);
    cr_assert_eq(w.last.changes[0].dir, dir);
    cr_assert(name_equals(w.last.changes[0].dir_path, "/d"));
    cr_assert(w.last.changes[0].more);
    cr_assert_eq(w.last.changes[1].attr.id, dir);
    cr_assert(!w.last.changes[1].more);
    cr_assert_eq(tree_node_count(w.tree), 1);
    cr_assert_eq(tree_value_bytes(w.tree), 0);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

Test(tree_life, data_of_the_root)
{
    struct world w = world_new();

    cr_assert_eq(world_create(&w, 1, "a", NULL), 0);
    cr_assert_eq(world_create(&w, 1, ".data", "x"), 0);
    world_reload(&w);
    cr_assert(is_there(&w, 1, ".data"));
    cr_assert_eq(world_attr(&w, 1).size, 1);
    world_done(&w);
}

/* A file may be renamed to ".data", as programs save; nothing else, and it does not go away so. */
Test(tree_life, data_and_rename)
{
    struct world w = world_new();
    uint64_t dir, data;

    cr_assert_eq(world_mkdir(&w, 1, "d"), 0);
    dir = world_made(&w);
    cr_assert_eq(world_create(&w, dir, "tmp", "1"), 0);
    data = world_made(&w);
    cr_assert_eq(world_create(&w, dir, "x", "2"), 0);
    cr_assert_eq(create_life(&w, w.session, dir, "e", NODE_FILE, LIFE_SESSION), 0);
    cr_assert_eq(create_life(&w, w.session, dir, "l", NODE_SYMLINK, LIFE_PERMANENT), 0);
    cr_assert_eq(world_mkdir(&w, dir, "sub"), 0);
    cr_assert_eq(rename_to(&w, dir, "e", dir, ".data", 0), ERR_PERM);
    cr_assert_eq(rename_to(&w, dir, "l", dir, ".data", 0), ERR_PERM);
    cr_assert_eq(rename_to(&w, dir, "sub", dir, ".data", 0), ERR_PERM);
    cr_assert_eq(rename_to(&w, dir, "tmp", dir, ".data", 0), 0);
    cr_assert_eq(world_attr(&w, dir).size, 4);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    cr_assert_eq(rename_to(&w, dir, ".data", dir, "y", 0), ERR_PERM);
    cr_assert_eq(rename_to(&w, dir, "x", dir, ".data", RENAME_FLAG_EXCHANGE), ERR_PERM);
    cr_assert_eq(rename_to(&w, dir, "x", dir, ".data", 0), 0);
    cr_assert(w.last.reply.u.rename.merged);
    cr_assert_eq(w.last.reply.u.rename.attr.id, data);
    cr_assert(world_value_is(&w, data, "2", 1));
    cr_assert_eq(world_attr(&w, dir).size, 3);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_reload(&w);
    /* A directory that has nothing but ".data" is empty, so that it can be replaced. */
    cr_assert_eq(world_mkdir(&w, 1, "empty"), 0);
    cr_assert_eq(world_create(&w, world_made(&w), ".data", NULL), 0);
    cr_assert_eq(rename_to(&w, 1, "d", 1, "empty", 0), 0);
    cr_assert_eq(w.last.change_count, 3);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}
