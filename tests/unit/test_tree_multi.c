#include "test_tree_help.h"

/* OP_TXN: what each step does and tells, how a step is refused, and that a refusal leaves no trace.
 * test_tree_undo.c does the latter at random. */

#define STEPS(...)                                                                                 \
    (struct txn_step[]){__VA_ARGS__},                                                              \
        sizeof((struct txn_step[]){__VA_ARGS__}) / sizeof(struct txn_step)

static struct txn_step step_of(enum txn_step_kind kind, const char *path, const char *value,
                               uint64_t version)
{
    return (struct txn_step){kind, name_of(path), version,
                             value != NULL ? blob_new(value, strlen(value)) : NULL};
}

/* The error of the transaction: of a step, or its own. */
static int run(struct world *w, struct txn_step *steps, size_t count)
{
    struct request r = {.op = OP_TXN};
    int err;

    r.u.txn.uid = 70;
    r.u.txn.gid = 80;
    r.u.txn.count = (uint32_t)count;
    r.u.txn.steps = steps;
    err = world_run(w, r);
    for (size_t i = 0; i < count; i++) {
        blob_unref(steps[i].value);
    }
    cr_assert_eq(tree_audit(w->tree), tree_digest(w->tree));
    return err != 0 ? err : w->last.reply.u.txn.err;
}

static const struct txn_outcome *outcome(const struct world *w, uint32_t step)
{
    cr_assert_lt(step, w->last.reply.u.txn.count);
    return &w->last.reply.u.txn.list[step];
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

/* Later steps see what earlier ones did; events are one group, in the order of the steps. */
Test(tree_multi, steps_build_on_each_other)
{
    struct world w = world_new();
    uint64_t d;

    cr_assert_eq(
        run(&w, STEPS(step_of(TXN_ABSENT, "/d", NULL, 0), step_of(TXN_MKDIR, "/d", NULL, 0),
                      step_of(TXN_CREATE, "/d/job-#", "one", 0),
                      step_of(TXN_CREATE, "/d/job-#", "two", 0),
                      step_of(TXN_APPEND, "/d/job-0000000000", "!", 0),
                      step_of(TXN_SYMLINK, "/d/last", "job-0000000001", 0),
                      step_of(TXN_CHECK, "/d/last", NULL, 1),
                      step_of(TXN_RENAME, "/d/last", "/newest", 0))),
        0);
    d = id_at(&w, TREE_ROOT_ID, "d");
    cr_assert_eq(w.last.reply.u.txn.failed, 0);
    cr_assert_eq(w.last.reply.u.txn.count, 8);
    cr_assert_eq(outcome(&w, 0)->id, 0);
    cr_assert_eq(outcome(&w, 1)->id, d);
    cr_assert(name_equals(outcome(&w, 2)->name, "job-0000000000"));
    cr_assert(name_equals(outcome(&w, 3)->name, "job-0000000001"));
    cr_assert_eq(outcome(&w, 4)->id, outcome(&w, 2)->id);
    cr_assert_eq(outcome(&w, 4)->version, 2);
    cr_assert(name_equals(outcome(&w, 7)->name, "newest"));
    cr_assert_eq(outcome(&w, 7)->id, outcome(&w, 5)->id);
    cr_assert(world_value_is(&w, outcome(&w, 2)->id, "one!", 4));
    cr_assert_eq(world_attr(&w, outcome(&w, 2)->id).uid, 70);
    cr_assert_eq(world_attr(&w, outcome(&w, 2)->id).gid, 80);
    cr_assert_eq(world_attr(&w, outcome(&w, 2)->id).mode, 0644);
    cr_assert_eq(world_attr(&w, d).mode, 0755);
    cr_assert_eq(w.last.change_count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        cr_assert_eq(w.last.changes[i].more, i < 5);
        cr_assert_eq(w.last.changes[i].xid, w.xid);
    }
    cr_assert_eq(w.last.changes[5].kind, CHANGE_MOVE);
    cr_assert(name_equals(w.last.changes[5].from_name, "last"));
    cr_assert(name_equals(w.last.changes[4].name, "last")); /* as it was called then */
    world_done(&w);
}

/* A step with a version is a compare-and-swap. */
Test(tree_multi, versions)
{
    struct world w = world_new();

    world_create(&w, TREE_ROOT_ID, "f", "v1");
    cr_assert_eq(run(&w, STEPS(step_of(TXN_SET, "/f", "v2", 1), step_of(TXN_SET, "/f", "v3", 2))),
                 0);
    cr_assert_eq(outcome(&w, 1)->version, 3);
    cr_assert_eq(run(&w, STEPS(step_of(TXN_SET, "/f", "v4", 3), step_of(TXN_SET, "/f", "v5", 3))),
                 ERR_VERSION);
    cr_assert_eq(w.last.reply.u.txn.failed, 2);
    cr_assert_eq(w.last.reply.u.txn.count, 0);
    cr_assert_eq(w.last.change_count, 0);
    cr_assert(world_value_is(&w, id_at(&w, TREE_ROOT_ID, "f"), "v3", 2));
    cr_assert_eq(run(&w, STEPS(step_of(TXN_CHECK, "/f", NULL, 2))), ERR_VERSION);
    cr_assert_eq(run(&w, STEPS(step_of(TXN_DELETE, "/f", NULL, 2))), ERR_VERSION);
    cr_assert_eq(run(&w, STEPS(step_of(TXN_DELETE, "/f", NULL, 3))), 0);
    cr_assert_eq(outcome(&w, 0)->version, 3);
    cr_assert(name_equals(outcome(&w, 0)->name, "f"));
    world_done(&w);
}

/* Refusals, each as the second step, and the number says so. */
Test(tree_multi, refusals)
{
    struct world w = world_new();
    struct {
        enum txn_step_kind kind;
        const char *path, *value;
        int err;
    } cases[] = {
        {TXN_CHECK, "/none", NULL, ERR_NOENT},
        {TXN_CHECK, "", NULL, ERR_INVAL},
        {TXN_CHECK, "f", NULL, ERR_INVAL},
        {TXN_CHECK, "/f/x", NULL, ERR_NOTDIR},
        {TXN_CHECK, "/f/", NULL, ERR_NOTDIR},
        {TXN_CHECK, "//f", NULL, ERR_NOENT},
        {TXN_CHECK, "/none/x", NULL, ERR_NOENT},
        {TXN_ABSENT, "/f", NULL, ERR_EXISTS},
        {TXN_ABSENT, "/", NULL, ERR_EXISTS},
        {TXN_ABSENT, "/f/x", NULL, ERR_NOTDIR},
        {TXN_CREATE, "/f", NULL, ERR_EXISTS},
        {TXN_CREATE, "/", NULL, ERR_INVAL},
        {TXN_CREATE, "/none/x", NULL, ERR_NOENT},
        {TXN_CREATE, "/.zabfs", NULL, ERR_PERM},
        {TXN_MKDIR, "/x", "value", ERR_INVAL},
        {TXN_MKDIR, "/.data", NULL, ERR_PERM},
        {TXN_SYMLINK, "/x", NULL, ERR_INVAL},
        {TXN_SET, "/d", "x", ERR_ISDIR},
        {TXN_SET, "/l", "x", ERR_INVAL},
        {TXN_APPEND, "/d", "x", ERR_ISDIR},
        {TXN_DELETE, "/d", NULL, ERR_NOTEMPTY},
        {TXN_DELETE, "/", NULL, ERR_BUSY},
        {TXN_RENAME, "/none", "/x", ERR_NOENT},
        {TXN_RENAME, "/f", "x", ERR_INVAL},
        {TXN_RENAME, "/f", NULL, ERR_INVAL},
        {TXN_RENAME, "/d", "/d/x", ERR_INVAL},
        {TXN_RENAME, "/f", "/d", ERR_ISDIR},
        {TXN_RENAME, "/", "/x", ERR_BUSY},
        {(enum txn_step_kind)99, "/f", NULL, ERR_INVAL},
    };

    world_create(&w, TREE_ROOT_ID, "f", "v");
    world_create_type(&w, TREE_ROOT_ID, "l", NODE_SYMLINK, 0, "f");
    world_mkdir(&w, TREE_ROOT_ID, "d");
    world_create(&w, world_made(&w), "inner", "v");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int err = run(&w, STEPS(step_of(TXN_CREATE, "/new", "v", 0),
                                step_of(cases[i].kind, cases[i].path, cases[i].value, 0),
                                step_of(TXN_DELETE, "/f", NULL, 0)));

        cr_assert_eq(err, cases[i].err, "case %zu: %d", i, err);
        cr_assert_eq(w.last.reply.err, 0);
        cr_assert_eq(w.last.reply.u.txn.failed, 2);
        cr_assert_eq(w.last.change_count, 0);
        cr_assert_eq(id_at(&w, TREE_ROOT_ID, "new"), 0);
        cr_assert_neq(id_at(&w, TREE_ROOT_ID, "f"), 0);
    }
    cr_assert_eq(run(&w, NULL, 0), 0);
    cr_assert_eq(w.last.reply.u.txn.count, 0);
    world_done(&w);
}

/* A number that a refused transaction was given is given again: it was never seen. */
Test(tree_multi, refused_takes_no_number)
{
    struct world w = world_new();

    cr_assert_eq(
        run(&w, STEPS(step_of(TXN_CREATE, "/j#", NULL, 0), step_of(TXN_CHECK, "/none", NULL, 0))),
        ERR_NOENT);
    cr_assert_eq(run(&w, STEPS(step_of(TXN_CREATE, "/j#", NULL, 0))), 0);
    cr_assert(name_equals(outcome(&w, 0)->name, "j0000000000"));
    cr_assert_eq(outcome(&w, 0)->id, 2);
    world_done(&w);
}

/* A retry hears the names that were made, also from a copy of the state; a refusal stays one. */
Test(tree_multi, retry_gets_the_same_outcomes)
{
    struct world w = world_new();
    struct txn_step steps[3] = {step_of(TXN_CREATE, "/j#", NULL, 0),
                                step_of(TXN_ABSENT, "/x", NULL, 0),
                                step_of(TXN_CREATE, "/j#", NULL, 0)};
    struct txn_step refused[1] = {step_of(TXN_CHECK, "/x", NULL, 0)};
    struct request r = {.op = OP_TXN, .xid = 50, .xid_floor = 50};
    struct request q = {.op = OP_TXN, .xid = 51, .xid_floor = 50};

    r.u.txn.count = 3;
    r.u.txn.steps = steps;
    q.u.txn.count = 1;
    q.u.txn.steps = refused;
    cr_assert_eq(world_apply(&w, w.session, &r), 0);
    cr_assert_eq(world_apply(&w, w.session, &q), 0);
    world_create(&w, TREE_ROOT_ID, "ignored", "below the floor of the session");
    for (int i = 0; i < 2; i++) {
        world_reload(&w);
        cr_assert_eq(world_apply(&w, w.session, &r), 0);
        cr_assert(w.last.duplicate);
        cr_assert_eq(w.last.reply.u.txn.count, 3);
        cr_assert(name_equals(outcome(&w, 0)->name, "j0000000000"));
        cr_assert_eq(outcome(&w, 1)->name.size, 0);
        cr_assert(name_equals(outcome(&w, 2)->name, "j0000000001"));
        cr_assert_eq(world_apply(&w, w.session, &q), 0);
        cr_assert(w.last.duplicate);
        cr_assert_eq(w.last.reply.u.txn.err, ERR_NOENT);
        cr_assert_eq(w.last.reply.u.txn.failed, 1);
    }
    cr_assert_eq(tree_node_count(w.tree), 3);
    world_done(&w);
}

/* Locks of a node that a transaction removes end with it, and stay if it is refused. */
Test(tree_multi, locks)
{
    struct world w = world_new();
    struct request r = {.op = OP_LOCK};
    struct lock any = {LOCK_KIND_FLOCK, LOCK_TYPE_SHARED, 9, 0, UINT64_MAX, 0};
    struct lock_entry e;
    uint64_t f, locked;

    world_create(&w, TREE_ROOT_ID, "f", "v");
    f = world_made(&w);
    r.u.lock.id = f;
    r.u.lock.lock = (struct lock){LOCK_KIND_FLOCK, LOCK_TYPE_EXCLUSIVE, 1, 0, UINT64_MAX, 0};
    cr_assert_eq(world_run(&w, r), 0);
    cr_assert_eq(
        run(&w, STEPS(step_of(TXN_DELETE, "/f", NULL, 0), step_of(TXN_CHECK, "/f", NULL, 0))),
        ERR_NOENT);
    cr_assert(tree_lock_test(w.tree, tree_node(w.tree, f), w.session, &any, &e));
    cr_assert_eq(
        run(&w, STEPS(step_of(TXN_DELETE, "/f", NULL, 0), step_of(TXN_CREATE, "/f", NULL, 0))), 0);
    cr_assert_eq(tree_locks_nodes(w.tree, 0, &locked, 1), 0);
    cr_assert_neq(id_at(&w, TREE_ROOT_ID, "f"), f);
    world_done(&w);
}
