#include "test_tree_help.h"

#include <sys/resource.h>

/* A small transaction took as much memory as it had steps times the size of a file.
 *
 * A step that appends to a file makes a new value. The notes by which a refused transaction is
 * undone held all the former ones until the end, and so did the notes of the past: a thousand steps
 * of one byte each on a file of 1 MiB took more than 1 GiB on every member at once. All that is
 * ever asked for is the value from before the transaction. */

enum { FILE_SIZE = 1 << 20, STEPS = 400, GROWTH_KB_MAX = 100 << 10 };

/* What is freed is to be free, or nothing could be seen. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=1";
}

static long peak_kb(void)
{
    struct rusage u;

    cr_assert_eq(getrusage(RUSAGE_SELF, &u), 0);
    return u.ru_maxrss;
}

static void append_all(struct world *w, bool refused)
{
    struct txn_step steps[STEPS];
    struct request r = {.op = OP_TXN, .u.txn = {.count = STEPS, .steps = steps}};
    struct blob *one = blob_new("x", 1);

    for (size_t i = 0; i < STEPS; i++) {
        steps[i] = (struct txn_step){TXN_APPEND, name_of("/f"), VERSION_ANY, one};
    }
    if (refused) {
        steps[STEPS - 1].kind = TXN_ABSENT;
    }
    cr_assert_eq(world_run(w, r), 0);
    cr_assert_eq(w->last.reply.u.txn.err, refused ? ERR_EXISTS : 0);
    blob_unref(one);
    cr_assert_eq(tree_audit(w->tree), tree_digest(w->tree));
}

static void grows_by_one_value(bool refused, bool history)
{
    struct world w = world_new();
    struct request set = {.op = OP_SET};
    struct tree_past past;
    uint64_t f, before;
    long peak;

    w.value_size_max = 2 * FILE_SIZE;
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "f", ""), 0);
    f = world_made(&w);
    set.u.set.id = f;
    set.u.set.value = blob_new_uninit(FILE_SIZE);
    memset(set.u.set.value->data, 'a', FILE_SIZE);
    cr_assert_eq(world_run(&w, set), 0);
    if (history) {
        tree_history_keep(w.tree, 10000, SIZE_MAX);
    }
    before = tree_index(w.tree);
    peak = peak_kb();
    append_all(&w, refused);
    cr_assert_lt(peak_kb() - peak, GROWTH_KB_MAX);
    cr_assert_eq(world_attr(&w, f).size, refused ? FILE_SIZE : FILE_SIZE + STEPS);
    cr_assert_eq(tree_past_get(w.tree, before, f, &past), history ? 0 : ERR_COMPACTED);
    cr_assert(!history || (past.attr.size == FILE_SIZE && past.value == set.u.set.value));
    if (history) {
        blob_unref(past.value);
    }
    blob_unref(set.u.set.value);
    world_done(&w);
}

Test(tree_txn_keeps_every_value, carried_out)
{
    grows_by_one_value(false, false);
}

Test(tree_txn_keeps_every_value, refused)
{
    grows_by_one_value(true, false);
}

Test(tree_txn_keeps_every_value, with_a_past)
{
    grows_by_one_value(false, true);
}
