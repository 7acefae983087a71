#include "limits.h"
#include "test_tree_lock_help.h"

/* OP_LOCK: each rule by itself. test_tree_lock_model.c asks at random. */

/* 1: granted, 0: waits, else the error. */
static size_t locked_nodes(const struct world *w, uint64_t after)
{
    uint64_t ids[16];

    return tree_locks_nodes(w->tree, after, ids, 16);
}

static int takes(struct world *w, uint64_t id, struct lock lock, bool wait)
{
    int err = ask(w, w->session, id, lock, wait);

    return err != 0 ? err : w->last.reply.u.lock.granted ? 1 : 0;
}

/* The owners of the last transaction's grants, as text: "5 7 ". */
static const char *granted(const struct world *w)
{
    static char text[400];
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < w->last.grant_count && used < sizeof(text) - 30; i++) {
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "%d ", (int)w->last.grants[i].owner);
    }
    return text;
}

static char listing[4000];

static void list_one(void *ctx, const struct lock_entry *e)
{
    size_t used = strlen(listing);

    (void)ctx;
    snprintf(listing + used, sizeof(listing) - used, "%s%d%s", e->waiting ? "?" : "",
             (int)e->lock.owner, e->lock.type == SH ? "s" : "x");
    if (e->lock.kind == LOCK_KIND_POSIX) {
        used = strlen(listing);
        snprintf(listing + used, sizeof(listing) - used, "%d-%d", (int)e->lock.start,
                 e->lock.end == UINT64_MAX ? -1 : (int)e->lock.end);
    }
    strcat(listing, " ");
}

static const char *locks_text(const struct world *w, uint64_t id)
{
    listing[0] = '\0';
    tree_node_locks(tree_node(w->tree, id), list_one, NULL);
    return listing;
}

/* One holder, the others in the order of their questions, each told when its turn comes. */
Test(tree_lock, first_come_first_served)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");

    cr_assert_eq(takes(&w, f, flock_of(EX, 1), false), 1);
    cr_assert_eq(w.last.reply.u.lock.fence, tree_index(w.tree));
    cr_assert_eq(takes(&w, f, flock_of(EX, 2), true), 0);
    cr_assert_eq(w.last.reply.u.lock.fence, 0);
    cr_assert_eq(takes(&w, f, flock_of(EX, 3), true), 0);
    cr_assert_eq(takes(&w, f, flock_of(SH, 4), false), ERR_WOULD_BLOCK);
    cr_assert_str_eq(locks_text(&w, f), "1x ?2x ?3x ");
    audit(&w);
    cr_assert_eq(takes(&w, f, flock_of(NO, 1), false), 0);
    cr_assert_str_eq(granted(&w), "2 ");
    cr_assert_eq(w.last.grants[0].node, f);
    cr_assert_eq(w.last.grants[0].session, w.session);
    cr_assert_eq(w.last.grants[0].kind, LOCK_KIND_FLOCK);
    cr_assert_eq(takes(&w, f, flock_of(NO, 2), false), 0);
    cr_assert_str_eq(granted(&w), "3 ");
    cr_assert_eq(takes(&w, f, flock_of(NO, 3), false), 0);
    cr_assert_str_eq(granted(&w), "");
    cr_assert_str_eq(locks_text(&w, f), "");
    cr_assert_eq(locked_nodes(&w, 0), 0);
    audit(&w);
    world_done(&w);
}

/* A release grants all at the head of the queue that go together, and no one behind. */
Test(tree_lock, shared_ones_go_together)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");

    takes(&w, f, flock_of(EX, 1), false);
    takes(&w, f, flock_of(SH, 2), true);
    takes(&w, f, flock_of(SH, 3), true);
    takes(&w, f, flock_of(EX, 4), true);
    takes(&w, f, flock_of(SH, 5), true);
    takes(&w, f, flock_of(NO, 1), false);
    cr_assert_str_eq(granted(&w), "2 3 ");
    cr_assert_str_eq(locks_text(&w, f), "2s 3s ?4x ?5s ");
    audit(&w);
    takes(&w, f, flock_of(NO, 3), false);
    cr_assert_str_eq(granted(&w), "");
    takes(&w, f, flock_of(NO, 2), false);
    cr_assert_str_eq(granted(&w), "4 ");
    audit(&w);
    world_done(&w);
}

/* Who would share waits behind who waits for all of it; nobody starves. */
Test(tree_lock, shared_does_not_overtake_exclusive)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");

    takes(&w, f, flock_of(SH, 1), false);
    cr_assert_eq(takes(&w, f, flock_of(SH, 2), false), 1);
    cr_assert_eq(takes(&w, f, flock_of(EX, 3), true), 0);
    cr_assert_eq(takes(&w, f, flock_of(SH, 4), false), ERR_WOULD_BLOCK);
    cr_assert_eq(takes(&w, f, flock_of(SH, 4), true), 0);
    cr_assert_eq(takes(&w, f, flock_of(NO, 3), false), 0);
    cr_assert_str_eq(granted(&w), "4 "); /* the question in its way was taken back */
    cr_assert_str_eq(locks_text(&w, f), "1s 2s 4s ");
    audit(&w);
    world_done(&w);
}

/* The same question again keeps its place, another one goes to the end. */
Test(tree_lock, a_question_again)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");
    uint64_t fence;

    takes(&w, f, flock_of(EX, 1), false);
    fence = w.last.reply.u.lock.fence;
    takes(&w, f, flock_of(EX, 2), true);
    takes(&w, f, flock_of(EX, 3), true);
    cr_assert_eq(takes(&w, f, flock_of(EX, 2), true), 0);
    cr_assert_str_eq(locks_text(&w, f), "1x ?2x ?3x ");
    cr_assert_eq(takes(&w, f, flock_of(EX, 2), false), ERR_WOULD_BLOCK);
    cr_assert_str_eq(locks_text(&w, f), "1x ?2x ?3x ");
    cr_assert_eq(takes(&w, f, flock_of(SH, 2), true), 0);
    cr_assert_str_eq(locks_text(&w, f), "1x ?3x ?2s ");
    cr_assert_eq(takes(&w, f, flock_of(EX, 1), true), 1);
    cr_assert_eq(w.last.reply.u.lock.fence, fence); /* of its grant, not of the question */
    audit(&w);
    world_done(&w);
}

/* flock: the lock held is given back for one of the other type, unless that is refused at once. */
Test(tree_lock, flock_conversion)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");

    takes(&w, f, flock_of(SH, 1), false);
    cr_assert_eq(takes(&w, f, flock_of(EX, 1), false), 1);
    cr_assert_eq(takes(&w, f, flock_of(SH, 1), false), 1);
    takes(&w, f, flock_of(SH, 2), false);
    cr_assert_eq(takes(&w, f, flock_of(EX, 1), false), ERR_WOULD_BLOCK);
    cr_assert_str_eq(locks_text(&w, f), "1s 2s ");
    cr_assert_eq(takes(&w, f, flock_of(EX, 1), true), 0);
    cr_assert_str_eq(locks_text(&w, f), "2s ?1x ");
    audit(&w);
    cr_assert_eq(takes(&w, f, flock_of(EX, 2), true), 0);
    cr_assert_str_eq(granted(&w), "1 ");
    cr_assert_str_eq(locks_text(&w, f), "1x ?2x ");
    cr_assert_eq(takes(&w, f, flock_of(SH, 1), true), 0); /* 2 has waited longer */
    cr_assert_str_eq(granted(&w), "2 ");
    audit(&w);
    world_done(&w);
}

/* A weaker lock lets others in that wait for that. */
Test(tree_lock, a_weaker_lock_frees)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");

    takes(&w, f, flock_of(EX, 1), false);
    takes(&w, f, flock_of(SH, 2), true);
    cr_assert_eq(takes(&w, f, flock_of(SH, 1), false), 1);
    cr_assert_str_eq(granted(&w), "2 ");
    takes(&w, f, range_of(EX, 3, 0, 9), false);
    takes(&w, f, range_of(SH, 4, 5, 5), true);
    cr_assert_eq(takes(&w, f, range_of(SH, 3, 4, 6), false), 1);
    cr_assert_str_eq(granted(&w), "4 ");
    cr_assert_str_eq(locks_text(&w, f), "1s 2s 3x0-3 3s4-6 4s5-5 3x7-9 ");
    audit(&w);
    world_done(&w);
}

/* fcntl: what is asked for replaces what the owner has of the range. */
Test(tree_lock, ranges_split_and_merge)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");
    uint64_t first;

    takes(&w, f, range_of(EX, 1, 10, 19), false);
    first = w.last.reply.u.lock.fence;
    takes(&w, f, range_of(NO, 1, 13, 15), false);
    cr_assert_str_eq(locks_text(&w, f), "1x10-12 1x16-19 ");
    takes(&w, f, range_of(SH, 1, 12, 16), false);
    cr_assert_str_eq(locks_text(&w, f), "1x10-11 1s12-16 1x17-19 ");
    audit(&w);
    takes(&w, f, range_of(EX, 1, 11, 11), false);
    cr_assert_eq(w.last.reply.u.lock.fence, first); /* it had that since then */
    takes(&w, f, range_of(EX, 1, 12, 16), false);
    cr_assert_str_eq(locks_text(&w, f), "1x10-19 ");
    takes(&w, f, range_of(EX, 1, 20, UINT64_MAX), false);
    takes(&w, f, range_of(EX, 1, 0, 8), false);
    cr_assert_str_eq(locks_text(&w, f), "1x0-8 1x10--1 ");
    takes(&w, f, range_of(SH, 2, 9, 9), false);
    cr_assert_eq(takes(&w, f, range_of(SH, 2, 9, 10), false), ERR_WOULD_BLOCK);
    takes(&w, f, range_of(NO, 1, 0, UINT64_MAX), false);
    cr_assert_str_eq(locks_text(&w, f), "2s9-9 ");
    audit(&w);
    world_done(&w);
}

/* Only those that wait for what was freed are looked at, and they need not be at the head. */
Test(tree_lock, ranges_wait_apart)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");

    takes(&w, f, range_of(EX, 1, 0, 9), false);
    takes(&w, f, range_of(EX, 2, 0, 4), true);
    takes(&w, f, range_of(EX, 3, 5, 9), true);
    takes(&w, f, range_of(SH, 4, 4, 5), true);
    takes(&w, f, range_of(NO, 1, 5, 9), false);
    cr_assert_str_eq(granted(&w), "3 ");
    takes(&w, f, range_of(NO, 1, 0, 9), false);
    cr_assert_str_eq(granted(&w), "2 ");
    takes(&w, f, range_of(NO, 3, 0, 9), false);
    cr_assert_str_eq(granted(&w), "");
    takes(&w, f, range_of(NO, 2, 4, 4), false);
    cr_assert_str_eq(granted(&w), "4 ");
    audit(&w);
    world_done(&w);
}

/* Who holds does not queue behind those that may wait for it: that would be for ever. */
Test(tree_lock, who_holds_a_range_passes)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");

    takes(&w, f, range_of(SH, 1, 0, 9), false);
    takes(&w, f, range_of(EX, 2, 0, 9), true);
    cr_assert_eq(takes(&w, f, range_of(EX, 1, 0, 0), false), 1);
    cr_assert_eq(takes(&w, f, range_of(SH, 1, 0, 0), false), 1);
    cr_assert_eq(takes(&w, f, range_of(SH, 3, 5, 5), false), ERR_WOULD_BLOCK);
    audit(&w);
    world_done(&w);
}

/* The two kinds do not see each other, nor do equal numbers of different sessions. */
Test(tree_lock, kinds_and_sessions_are_apart)
{
    struct world w = world_new();
    uint64_t other = world_open(&w, 2);
    uint64_t f = make_file(&w, "f");

    cr_assert_eq(takes(&w, f, flock_of(EX, 1), false), 1);
    cr_assert_eq(takes(&w, f, range_of(EX, 1, ALL), false), 1);
    cr_assert_eq(ask(&w, other, f, flock_of(EX, 1), false), ERR_WOULD_BLOCK);
    cr_assert_eq(ask(&w, other, f, range_of(SH, 1, 7, 7), false), ERR_WOULD_BLOCK);
    audit(&w);
    world_done(&w);
}

/* A session's end gives back all it holds and all it waits for, on rising nodes. */
Test(tree_lock, a_session_ends)
{
    struct world w = world_new();
    uint64_t other = world_open(&w, 2);
    uint64_t a = make_file(&w, "a"), b = make_file(&w, "b"), c = make_file(&w, "c");

    ask(&w, other, c, flock_of(EX, 1), false);
    ask(&w, other, a, range_of(EX, 1, 0, 0), false);
    ask(&w, other, a, range_of(EX, 2, 1, 1), false);
    ask(&w, other, b, flock_of(EX, 1), false);
    takes(&w, c, flock_of(EX, 30), true);
    takes(&w, a, range_of(EX, 10, 0, 1), true);
    takes(&w, a, range_of(SH, 11, 5, 5), false);
    ask(&w, other, a, range_of(EX, 2, 5, 5), true);
    takes(&w, a, range_of(SH, 12, 5, 5), true);
    audit(&w);
    cr_assert_eq(close_session(&w, other), 0);
    cr_assert_str_eq(granted(&w), "10 12 30 ");
    cr_assert_str_eq(locks_text(&w, a), "10x0-1 11s5-5 12s5-5 ");
    cr_assert_str_eq(locks_text(&w, b), "");
    cr_assert_str_eq(locks_text(&w, c), "30x ");
    audit(&w);
    world_done(&w);
}

/* Locks go with the node; nobody is told. The next session to end finds nothing of them. */
Test(tree_lock, removal_drops_the_locks)
{
    struct world w = world_new();
    uint64_t other = world_open(&w, 2);
    uint64_t f = make_file(&w, "f");
    uint64_t g = make_file(&w, "g");
    struct request r = {.op = OP_RENAME};

    takes(&w, f, flock_of(EX, 1), false);
    ask(&w, other, f, flock_of(EX, 1), true);
    cr_assert_eq(world_remove(&w, TREE_ROOT_ID, "f", 0), 0);
    cr_assert_eq(w.last.grant_count, 0);
    cr_assert_eq(ask(&w, other, f, flock_of(EX, 1), true), ERR_NOENT);
    audit(&w);
    f = make_file(&w, "f");
    takes(&w, f, flock_of(EX, 1), false);
    ask(&w, other, f, flock_of(EX, 1), true);
    ask(&w, other, g, flock_of(EX, 1), true);
    r.u.rename.dir = r.u.rename.to_dir = TREE_ROOT_ID;
    r.u.rename.name = name_of("f");
    r.u.rename.to_name = name_of("g");
    cr_assert_eq(world_run(&w, r), 0);
    cr_assert_str_eq(locks_text(&w, g), "1x "); /* it keeps its own */
    audit(&w);
    cr_assert_eq(close_session(&w, other), 0);
    audit(&w);
    world_done(&w);
}

static uint64_t fence_of(const struct world *w, uint64_t id)
{
    struct lock_entry e = {0};
    struct lock any = flock_of(EX, 999);

    cr_assert(tree_lock_test(w->tree, tree_node(w->tree, id), 999, &any, &e));
    return e.index;
}

/* The fence is the index of the grant; a grant after a wait has that of its turn. */
Test(tree_lock, fences_rise)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");
    uint64_t last = 0;

    takes(&w, f, flock_of(EX, 1), false);
    for (uint64_t owner = 2; owner < 20; owner++) {
        uint64_t fence = fence_of(&w, f);

        cr_assert_gt(fence, last);
        last = fence;
        takes(&w, f, flock_of(EX, owner), true);
        takes(&w, f, flock_of(NO, owner - 1), false);
        cr_assert_eq(fence_of(&w, f), tree_index(w.tree));
        world_reload(&w);
    }
    audit(&w);
    world_done(&w);
}

/* Nonsense is refused and changes nothing. */
Test(tree_lock, refusals)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");
    uint64_t dir, link;

    cr_assert_eq(world_mkdir(&w, TREE_ROOT_ID, "d"), 0);
    dir = world_made(&w);
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "l", NODE_SYMLINK, 0, "f"), 0);
    link = world_made(&w);
    cr_assert_eq(takes(&w, dir, flock_of(EX, 1), true), ERR_ISDIR);
    cr_assert_eq(takes(&w, link, flock_of(EX, 1), true), ERR_INVAL);
    cr_assert_eq(takes(&w, 999, flock_of(EX, 1), true), ERR_NOENT);
    cr_assert_eq(takes(&w, f, range_of(EX, 1, 5, 4), true), ERR_INVAL);
    cr_assert_eq(takes(&w, f, range_of(NO, 1, 5, 4), true), ERR_INVAL);
    cr_assert_eq(takes(&w, f, (struct lock){LOCK_KIND_FLOCK, EX, 1, 0, 5, 0}, true), ERR_INVAL);
    cr_assert_eq(takes(&w, f, (struct lock){LOCK_KIND_NONE, EX, 1, ALL, 0}, true), ERR_INVAL);
    cr_assert_eq(takes(&w, f, flock_of(NO, 1), true), 0); /* nothing to give back */
    cr_assert_eq(locked_nodes(&w, 0), 0);
    audit(&w);
    world_done(&w);
}

/* The number of locks of a node has a bound, held, waiting and split ones alike. */
Test(tree_lock, bound_per_node)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");

    for (uint64_t i = 0; i < LOCKS_PER_NODE_MAX - 1; i++) {
        cr_assert_eq(takes(&w, f, range_of(EX, 1 + i % 50, 10 * i, 10 * i + 5), false), 1);
    }
    cr_assert_eq(takes(&w, f, range_of(NO, 1, 3, 3), false), 0);
    cr_assert_eq(takes(&w, f, range_of(NO, 2, 13, 13), false), ERR_NOLOCKS);
    cr_assert_eq(takes(&w, f, range_of(EX, 99, 3, 3), false), ERR_NOLOCKS);
    cr_assert_eq(takes(&w, f, range_of(EX, 99, 2, 2), true), ERR_NOLOCKS);
    cr_assert_eq(takes(&w, f, range_of(EX, 1, 3, 3), false), 1); /* closes the gap */
    cr_assert_eq(takes(&w, f, range_of(EX, 99, 2, 2), true), 0);
    audit(&w);
    world_reload(&w);
    audit(&w);
    world_done(&w);
}

/* A flock that is given back for another makes the room that the question needs. */
Test(tree_lock, bound_and_conversion)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");

    for (uint64_t i = 0; i < LOCKS_PER_NODE_MAX; i++) {
        cr_assert_eq(takes(&w, f, flock_of(SH, i), false), 1);
    }
    cr_assert_eq(takes(&w, f, flock_of(SH, LOCKS_PER_NODE_MAX), true), ERR_NOLOCKS);
    cr_assert_eq(takes(&w, f, flock_of(EX, 5), true), 0);
    audit(&w);
    world_done(&w);
}

/* Ten thousand wait, and each gets its turn, alone and in order. */
Test(tree_lock, long_queue)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");
    enum { COUNT = 10000 };

    takes(&w, f, flock_of(EX, 0), false);
    for (uint64_t owner = 1; owner <= COUNT; owner++) {
        cr_assert_eq(takes(&w, f, flock_of(EX, owner), true), 0);
    }
    audit(&w);
    for (uint64_t owner = 0; owner < COUNT; owner++) {
        takes(&w, f, flock_of(NO, owner), false);
        cr_assert_eq(w.last.grant_count, 1);
        cr_assert_eq(w.last.grants[0].owner, owner + 1);
    }
    audit(&w);
    world_done(&w);
}

/* What a member tells about locks. */
Test(tree_lock, questions_about_locks)
{
    struct world w = world_new();
    uint64_t a = make_file(&w, "a"), b = make_file(&w, "b");
    struct lock lock = range_of(SH, 9, 0, UINT64_MAX);
    struct lock_entry e = {0};
    uint64_t ids[3];

    cr_assert_not(tree_lock_test(w.tree, tree_node(w.tree, a), w.session, &lock, &e));
    takes(&w, b, range_of(SH, 1, 3, 4), false);
    takes(&w, a, range_of(EX, 1, 5, 6), false);
    takes(&w, a, range_of(EX, 2, 6, 7), true);
    cr_assert_not(tree_lock_test(w.tree, tree_node(w.tree, b), w.session, &lock, &e));
    cr_assert(tree_lock_test(w.tree, tree_node(w.tree, a), w.session, &lock, &e));
    cr_assert_eq(e.node, a);
    cr_assert_eq(e.session, w.session);
    cr_assert_eq(e.lock.start, 5);
    cr_assert_eq(e.lock.end, 6);
    cr_assert_eq(e.lock.pid, 1001);
    cr_assert_not(e.waiting);
    lock = range_of(SH, 9, 7, 7);
    cr_assert(tree_lock_test(w.tree, tree_node(w.tree, a), w.session, &lock, &e));
    cr_assert(e.waiting);
    lock = range_of(EX, 1, 5, 6);
    cr_assert_not(tree_lock_test(w.tree, tree_node(w.tree, a), w.session, &lock, &e));
    cr_assert_eq(tree_locks_nodes(w.tree, 0, ids, 3), 2);
    cr_assert(ids[0] == a && ids[1] == b);
    cr_assert_eq(tree_locks_nodes(w.tree, 0, ids, 1), 1);
    cr_assert_eq(ids[0], a);
    cr_assert_eq(tree_locks_nodes(w.tree, a, ids, 3), 1);
    cr_assert_eq(ids[0], b);
    cr_assert_eq(locked_nodes(&w, b), 0);
    world_done(&w);
}

/* A retry hears what was said, also from a copy of the state. */
Test(tree_lock, retry_gets_the_same_reply)
{
    struct world w = world_new();
    uint64_t f = make_file(&w, "f");
    struct request r = {.op = OP_LOCK, .xid = ++w.xid, .xid_floor = w.xid};
    uint64_t fence;

    r.u.lock.id = f;
    r.u.lock.lock = flock_of(EX, 1);
    cr_assert_eq(world_apply(&w, w.session, &r), 0);
    fence = w.last.reply.u.lock.fence;
    world_reload(&w);
    cr_assert_eq(world_apply(&w, w.session, &r), 0);
    cr_assert(w.last.duplicate);
    cr_assert(w.last.reply.u.lock.granted);
    cr_assert_eq(w.last.reply.u.lock.fence, fence);
    world_done(&w);
}
