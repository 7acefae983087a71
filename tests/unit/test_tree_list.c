#include "test_tree_help.h"

enum { LISTED_MAX = 4096 };

struct listing {
    uint64_t ids[LISTED_MAX];
    uint64_t cookies[LISTED_MAX];
    size_t count;
    size_t stop_at; /* entries to take in this call */
};

static bool fill(void *ctx, uint64_t cookie, const struct tree_node *child)
{
    struct listing *l = ctx;
    struct attr a;

    if (l->count == l->stop_at) {
        return false;
    }
    tree_node_attr(child, &a);
    l->ids[l->count] = a.id;
    l->cookies[l->count++] = cookie;
    return true;
}

static bool list_some(const struct world *w, uint64_t dir, struct listing *l, size_t most)
{
    uint64_t after = l->count > 0 ? l->cookies[l->count - 1] : 0;

    l->stop_at = l->count + most;
    return tree_readdir(w->tree, tree_node(w->tree, dir), after, fill, l);
}

/* Children are listed in the order in which they were created, from any cookie on, also from one
 * whose child is gone. */
Test(tree_list, order_and_cookies)
{
    struct world w = world_new();
    struct listing l = {.count = 0};

    world_create(&w, TREE_ROOT_ID, "c", NULL);
    world_create(&w, TREE_ROOT_ID, "a", NULL);
    world_create(&w, TREE_ROOT_ID, "b", NULL);
    cr_assert(!list_some(&w, TREE_ROOT_ID, &l, 2));
    cr_assert_eq(l.cookies[0], 1);
    cr_assert_eq(l.cookies[1], 2);
    cr_assert_eq(l.ids[0], 2);
    cr_assert_eq(l.ids[1], 3);
    world_remove(&w, TREE_ROOT_ID, "a", 0);
    cr_assert(list_some(&w, TREE_ROOT_ID, &l, 2));
    cr_assert_eq(l.count, 3);
    cr_assert_eq(l.ids[2], 4);
    cr_assert(list_some(&w, TREE_ROOT_ID, &l, 2));
    cr_assert_eq(l.count, 3);
    world_done(&w);
}

/* A name that is removed and created again has a new id and a new, higher cookie. */
Test(tree_list, cookies_are_never_reused)
{
    struct world w = world_new();
    struct listing l = {.count = 0};

    world_create(&w, TREE_ROOT_ID, "a", NULL);
    world_remove(&w, TREE_ROOT_ID, "a", 0);
    world_create(&w, TREE_ROOT_ID, "a", NULL);
    cr_assert(list_some(&w, TREE_ROOT_ID, &l, 10));
    cr_assert_eq(l.count, 1);
    cr_assert_eq(l.cookies[0], 2);
    cr_assert_eq(l.ids[0], 3);
    world_done(&w);
}

static int count_of(const struct listing *l, uint64_t id)
{
    int n = 0;

    for (size_t i = 0; i < l->count; i++) {
        n += l->ids[i] == id;
    }
    return n;
}

/* While children come and go during a listing, each that is there all along appears exactly once,
 * and none twice. */
Test(tree_list, stable_under_changes)
{
    struct prng p = {17};

    for (int round = 0; round < 20; round++) {
        struct world w = world_new();
        static struct listing l;
        uint64_t stay[50];
        char name[32];
        bool end = false;

        l.count = 0;
        for (int i = 0; i < 500; i++) {
            snprintf(name, sizeof(name), "%s%d", i % 10 ? "go" : "stay", i);
            world_create(&w, TREE_ROOT_ID, name, NULL);
            if (i % 10 == 0) {
                stay[i / 10] = world_made(&w);
            }
        }
        while (!end) {
            end = list_some(&w, TREE_ROOT_ID, &l, 1 + prng_below(&p, 20));
            for (int i = 0; i < 15; i++) {
                snprintf(name, sizeof(name), "go%d", (int)prng_below(&p, 500));
                if (world_remove(&w, TREE_ROOT_ID, name, 0) != 0 && prng_below(&p, 3) == 0) {
                    world_create(&w, TREE_ROOT_ID, name, NULL);
                }
            }
        }
        for (int i = 0; i < 50; i++) {
            cr_assert_eq(count_of(&l, stay[i]), 1);
        }
        for (size_t i = 1; i < l.count; i++) {
            cr_assert_gt(l.cookies[i], l.cookies[i - 1]);
        }
        cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
        world_done(&w);
    }
}

/* A queue, created at one end and removed at the other, keeps its order however long it runs. */
Test(tree_list, queue_runs_on)
{
    struct world w = world_new();
    char name[32];

    for (int i = 0; i < 5000; i++) {
        struct listing l = {.count = 0};

        cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "q", NODE_FILE, CREATE_SEQUENTIAL, NULL),
                     0);
        if (i < 10) {
            continue;
        }
        cr_assert(!list_some(&w, TREE_ROOT_ID, &l, 1));
        snprintf(name, sizeof(name), "q%010d", i - 10);
        cr_assert(name_equals(tree_node_name(tree_node(w.tree, l.ids[0])), name));
        cr_assert_eq(world_remove(&w, TREE_ROOT_ID, name, 0), 0);
    }
    cr_assert_eq(world_attr(&w, TREE_ROOT_ID).size, 10);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* Every create that succeeds takes a number, sequential or not; a refused one takes none. */
Test(tree_list, sequential_numbers)
{
    struct world w = world_new();

    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "job-", NODE_FILE, CREATE_SEQUENTIAL, NULL),
                 0);
    cr_assert(name_equals(w.last.reply.u.create.name, "job-0000000000"));
    cr_assert(name_equals(w.last.changes[0].name, "job-0000000000"));
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "plain", NULL), 0);
    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "plain", NULL), ERR_EXISTS);
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "", NODE_DIR, CREATE_SEQUENTIAL, NULL), 0);
    cr_assert(name_equals(w.last.reply.u.create.name, "0000000002"));
    cr_assert_eq(world_remove(&w, TREE_ROOT_ID, "0000000002", REMOVE_DIR), 0);
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "job-", NODE_FILE, CREATE_SEQUENTIAL, NULL),
                 0);
    cr_assert(name_equals(w.last.reply.u.create.name, "job-0000000003"));
    world_done(&w);
}

/* A number whose name someone spelled out before is passed over, not refused for ever. */
Test(tree_list, sequential_name_that_is_taken)
{
    struct world w = world_new();

    cr_assert_eq(world_create(&w, TREE_ROOT_ID, "job-0000000001", NULL), 0);
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "job-", NODE_FILE, CREATE_SEQUENTIAL, NULL),
                 0);
    cr_assert(name_equals(w.last.reply.u.create.name, "job-0000000002"));
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, "other-", NODE_FILE, CREATE_SEQUENTIAL, NULL),
                 0);
    cr_assert(name_equals(w.last.reply.u.create.name, "other-0000000003"));
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* Prefix and digits together are at most 255 bytes. */
Test(tree_list, sequential_name_too_long)
{
    struct world w = world_new();
    char prefix[300];

    memset(prefix, 'x', sizeof(prefix));
    prefix[246] = '\0';
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, prefix, NODE_FILE, CREATE_SEQUENTIAL, NULL),
                 ERR_NAMETOOLONG);
    prefix[245] = '\0';
    cr_assert_eq(world_create_type(&w, TREE_ROOT_ID, prefix, NODE_FILE, CREATE_SEQUENTIAL, NULL),
                 0);
    cr_assert_eq(w.last.reply.u.create.name.size, 255);
    world_done(&w);
}
