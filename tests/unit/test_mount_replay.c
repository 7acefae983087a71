#include <criterion/criterion.h>
#include <string.h>

#include "replay.h"

/* The queue alone: no helper is ever started, so every job waits. */
static uv_loop_t loop;
static struct inodes t;
static struct replay *r;
static struct inode *dir;
static bool ended;

static struct inode *learn(struct inode *in, const char *name, uint64_t id, enum node_type type)
{
    struct attr a = {.id = id, .parent = in->id, .type = type, .nlink = 1, .version = 1};

    return inode_learn(&t, in, (struct name){name, (uint32_t)strlen(name)}, &a, id);
}

static void setup(void)
{
    struct replay_conf conf = {.loop = &loop, .inodes = &t, .helpers = 2, .mountpoint = "/none"};

    uv_loop_init(&loop);
    inodes_init(&t);
    r = replay_new(&conf);
    dir = learn(t.root, "dir", 10, NODE_DIR);
}

static void on_ended(void *ctx)
{
    (void)ctx;
    ended = true;
}

static void teardown(void)
{
    inode_unpin(&t, dir);
    replay_end(r, on_ended, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert(ended);
    cr_assert_eq(inodes_count(&t), 1, "the queue held its nodes and let go of them");
    replay_free(r);
    inodes_done(&t);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(replay, .init = setup, .fini = teardown);

static void add(enum replay_kind kind, const char *name, uint64_t id)
{
    struct inode *i = learn(dir, name, id, NODE_FILE);

    replay_add(r, kind, (struct replay_place){dir, {i->name, (uint32_t)i->name_size}}, i);
    inode_unpin(&t, i);
}

static struct replay_info info(void)
{
    struct replay_info i;

    replay_info(r, &i);
    return i;
}

Test(replay, a_directory_is_busy_while_jobs_of_it_wait)
{
    cr_assert(!replay_is_busy(r, dir));
    add(REPLAY_CREATE, "a", 11);
    cr_assert(replay_is_busy(r, dir));
    cr_assert(!replay_is_busy(r, t.root));
}

Test(replay, a_waiting_job_is_found_by_its_name)
{
    add(REPLAY_CREATE, "a", 11);
    cr_assert(replay_has_name(r, dir, (struct name){"a", 1}));
    cr_assert(!replay_has_name(r, dir, (struct name){"b", 1}));
    cr_assert(!replay_has_name(r, t.root, (struct name){"a", 1}));
}

Test(replay, a_name_is_known_as_long_as_one_of_its_jobs_waits)
{
    struct inode *node = learn(dir, "old", 11, NODE_FILE);

    add(REPLAY_CREATE, "a", 12);
    add(REPLAY_SETATTR, "a", 12);
    replay_move(r, (struct replay_place){dir, {"old", 3}}, (struct replay_place){dir, {"a", 1}},
                node, NULL);
    cr_assert(replay_has_name(r, dir, (struct name){"a", 1}));
    cr_assert(replay_has_name(r, dir, (struct name){"old", 3}));
    replay_overflow(r, dir);
    cr_assert(!replay_has_name(r, dir, (struct name){"a", 1}));
    cr_assert(!replay_has_name(r, dir, (struct name){"old", 3}));
    inode_unpin(&t, node);
}

Test(replay, a_node_that_is_gone_is_held_until_its_job_is_done)
{
    add(REPLAY_CREATE, "a", 11);
    inode_remove(inode_find(&t, 11));
    cr_assert_not_null(inode_find(&t, 11));
}

Test(replay, too_many_jobs_of_one_directory_become_one_for_the_directory)
{
    for (int n = 0; n < 8192; n++) {
        add(REPLAY_SETATTR, "a", 11);
    }
    cr_assert_eq(info().queued, 8192);
    cr_assert_eq(info().overflows, 0);
    add(REPLAY_SETATTR, "a", 11);
    cr_assert_eq(info().queued, 1);
    cr_assert_eq(info().overflows, 1);
    cr_assert(!replay_has_name(r, dir, (struct name){"a", 1}));
}

Test(replay, a_move_makes_both_directories_busy_and_is_found_by_both_names)
{
    struct inode *to = learn(t.root, "to", 20, NODE_DIR);
    struct inode *node = learn(dir, "old", 11, NODE_FILE);

    replay_move(r, (struct replay_place){dir, {"old", 3}}, (struct replay_place){to, {"new", 3}},
                node, NULL);
    cr_assert(replay_is_busy(r, dir));
    cr_assert(replay_is_busy(r, to));
    cr_assert(replay_has_name(r, dir, (struct name){"old", 3}));
    cr_assert(replay_has_name(r, to, (struct name){"new", 3}));
    cr_assert(!replay_has_name(r, dir, (struct name){"new", 3}));
    inode_unpin(&t, node);
    inode_unpin(&t, to);
}

Test(replay, when_one_half_of_a_move_is_dropped_the_other_directory_is_told_of_something)
{
    struct inode *to = learn(t.root, "to", 20, NODE_DIR);
    struct inode *node = learn(dir, "old", 11, NODE_FILE);
    struct inode *other = learn(to, "new", 12, NODE_FILE);

    replay_move(r, (struct replay_place){dir, {"old", 3}}, (struct replay_place){to, {"new", 3}},
                node, other);
    replay_overflow(r, dir);
    cr_assert_eq(info().queued, 2);
    cr_assert(!replay_has_name(r, dir, (struct name){"old", 3}));
    cr_assert(replay_is_busy(r, to));
    inode_unpin(&t, node);
    inode_unpin(&t, other);
    inode_unpin(&t, to);
}

/* Eight jobs for the values of files with ids from `id` on, named "a", "b" and so on. */
static void add_values(uint64_t id)
{
    char name[] = "a";

    for (int n = 0; n < REPLAY_MERGE_COUNT; n++) {
        add(REPLAY_SET, name, id + (uint64_t)n);
        name[0]++;
    }
}

Test(replay, without_a_backlog_each_change_of_a_value_is_told)
{
    for (int n = 0; n < REPLAY_MERGE_COUNT; n++) {
        add(REPLAY_SET, "a", 11);
    }
    cr_assert_eq(info().queued, REPLAY_MERGE_COUNT);
    cr_assert_eq(info().merged, 0);
}

Test(replay, with_a_backlog_a_change_of_a_value_joins_one_that_waits)
{
    add_values(11);
    add(REPLAY_SET, "c", 13);
    add(REPLAY_SET, "a", 11);
    cr_assert_eq(info().queued, REPLAY_MERGE_COUNT);
    cr_assert_eq(info().merged, 2);
    add(REPLAY_SET, "new", 99);
    cr_assert_eq(info().queued, REPLAY_MERGE_COUNT + 1, "another file has nothing to join");
}

/* Writers in directories of their own are as many changes as those in one. */
Test(replay, what_waits_in_other_directories_is_a_backlog_too)
{
    struct inode *to = learn(t.root, "to", 30, NODE_DIR);
    struct inode *i = learn(to, "x", 31, NODE_FILE);
    struct replay_place at = {to, {"x", 1}};

    replay_add(r, REPLAY_SET, at, i);
    replay_add(r, REPLAY_SET, at, i);
    cr_assert_eq(info().queued, 2);
    add_values(11);
    replay_add(r, REPLAY_SET, at, i);
    cr_assert_eq(info().queued, REPLAY_MERGE_COUNT + 2);
    cr_assert_eq(info().merged, 1);
    inode_unpin(&t, i);
    inode_unpin(&t, to);
}

Test(replay, a_change_of_a_value_does_not_pass_over_what_is_not_one)
{
    static const enum replay_kind kinds[] = {REPLAY_CREATE, REPLAY_SETATTR, REPLAY_REMOVE};

    add_values(11);
    for (size_t n = 0; n < 3; n++) {
        add(kinds[n], "other", 50 + n);
        add(REPLAY_SET, "a", 11);
        cr_assert_eq(info().queued, REPLAY_MERGE_COUNT + 2 * (n + 1));
        cr_assert_eq(info().merged, n, "the next one of the same joins it");
        add(REPLAY_SET, "a", 11);
    }
}

Test(replay, a_change_of_a_value_joins_none_of_another_directory)
{
    struct inode *to = learn(t.root, "to", 20, NODE_DIR);
    struct inode *i;

    add_values(11);
    i = learn(to, "a", 11, NODE_FILE);
    replay_add(r, REPLAY_SET, (struct replay_place){to, {"a", 1}}, i);
    cr_assert_eq(info().queued, REPLAY_MERGE_COUNT + 1);
    cr_assert(replay_is_busy(r, to));
    inode_unpin(&t, i);
    inode_unpin(&t, to);
}

Test(replay, names_change_while_a_job_for_one_waits)
{
    add_values(11);
    cr_assert(!replay_renames(r, dir));
    add(REPLAY_CREATE, "new", 99);
    cr_assert(replay_renames(r, dir));
    replay_overflow(r, dir);
    cr_assert(!replay_renames(r, dir), "dropped");
    cr_assert(replay_is_busy(r, dir));
}
