#include <criterion/criterion.h>
#include <string.h>

#include "nodenet.h"

/* The first leader after a restart deposed itself.
 *
 * Who starts knows its log but not how much of it is committed; the first commit index it hears of
 * can be that of the whole log. The leader applied all of that in one piece: half a second for
 * 50,000 entries on a busy machine, in which it read no answer of its followers. Then its timer
 * came first, found them silent for too long, and gave up its office; the next election took
 * another second. Now one call applies a limited number, large ones counting as more, and a timer
 * that is due at once brings the next. */

enum { REQUESTS = 100, LARGE_REQUESTS = 12, LARGE_SIZE = 32 << 10, LIMIT = 4 };

static struct net net;

static uint64_t applied(uint32_t id)
{
    return tree_index(node_tree(net.nodes[id]));
}

static void connect_to_one(void)
{
    net.apply_entries_max = LIMIT;
    net_start(&net, 1);
    net_await_leader(&net);
    net_connect(&net, 0, 1);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
}

/* All that was sent becomes durable, and with that committed, at once. Returns the largest number
 * that one call applied. */
static uint64_t apply_all(uint32_t count)
{
    uint64_t before, at, jump_max = 0;

    node_flush(net.nodes[1], &net.now);
    before = at = applied(1);
    node_stored(net.nodes[1], &net.now);
    net.batch[1] = NULL;
    while (applied(1) < before + count) {
        jump_max = applied(1) - at > jump_max ? applied(1) - at : jump_max;
        cr_assert_leq(node_deadline(net.nodes[1]), net.now.mono_ms);
        node_audit(net.nodes[1]);
        at = applied(1);
        node_tick(net.nodes[1], &net.now);
    }
    jump_max = applied(1) - at > jump_max ? applied(1) - at : jump_max;
    cr_assert_gt(node_deadline(net.nodes[1]), net.now.mono_ms);
    return jump_max;
}

Test(regression, long_log_is_applied_in_pieces)
{
    uint64_t jump_max;

    connect_to_one();
    for (int i = 0; i < REQUESTS; i++) {
        struct request r = {.op = OP_SETATTR};

        r.u.setattr.id = TREE_ROOT_ID;
        r.u.setattr.mask = SETATTR_MTIME;
        r.u.setattr.mtime_ns = i;
        net_send(&net, 0, &r);
    }
    jump_max = apply_all(REQUESTS);
    cr_assert_leq(jump_max, LIMIT);
    cr_assert_gt(jump_max, 0);
    cr_assert_eq(REQUESTS, net_answers(&net, 0));
    net_done(&net);
}

Test(regression, large_entries_of_a_long_log_are_applied_in_smaller_pieces)
{
    struct blob *value = blob_new_uninit(LARGE_SIZE);
    char name[] = "a";

    memset(value->data, 'v', LARGE_SIZE);
    connect_to_one();
    for (int i = 0; i < LARGE_REQUESTS; i++, name[0]++) {
        struct request r = {.op = OP_CREATE};

        r.u.create.dir = TREE_ROOT_ID;
        r.u.create.name = (struct name){name, 1};
        r.u.create.type = NODE_FILE;
        r.u.create.mode = 0644;
        r.u.create.value = value;
        net_send(&net, 0, &r);
    }
    cr_assert_eq(2, apply_all(LARGE_REQUESTS)); /* the first counts as three */
    cr_assert_eq(LARGE_REQUESTS, net_answers(&net, 0));
    blob_unref(value);
    net_done(&net);
}
