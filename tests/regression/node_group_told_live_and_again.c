#include <criterion/criterion.h>
#include <string.h>

#include "err.h"
#include "nodenet.h"

/* A client that had come back was told of a move twice.
 *
 * A client with many directories resumes by several requests, all from the same index. A member
 * remembers which groups of changes it has repeated, so that one that concerns directories of two
 * requests comes once. It did not remember what it had told in between, when that happened: a file
 * moves from a directory of the first request to one of the second before the second has come. */

static struct net net;

static uint64_t make(uint64_t dir, const char *name, enum node_type type)
{
    struct request r = {.op = OP_CREATE};
    struct reply reply;
    uint64_t id;

    r.u.create.dir = dir;
    r.u.create.name = net_name(name);
    r.u.create.type = type;
    cr_assert_eq(0, net_call(&net, 0, &r, &reply));
    id = reply.u.create.attr.id;
    codec_reply_done(&reply);
    return id;
}

/* Returns how many events have come since the last time, up to the reply. */
static int resume(uint64_t dir, uint64_t index_from)
{
    struct request r = {.op = OP_INTEREST, .u.interest = {index_from, 1, &dir}};
    struct message m;
    int events = 0;

    net_send(&net, 1, &r);
    net_settle(&net);
    while (net_recv(&net, 1, &m)) {
        events += m.kind == MESSAGE_EVENT ? 1 : 0;
        codec_message_done(&m);
    }
    return events;
}

Test(node_group_told_live_and_again, once)
{
    struct request move = {.op = OP_RENAME};
    struct reply reply;
    uint64_t a, b, from;

    net_start(&net, 1);
    net_await_leader(&net);
    for (uint32_t client = 0; client < 2; client++) {
        net_connect(&net, client, 1);
        cr_assert_eq(0, net_hello(&net, client, (uint8_t)(client + 1), false, 0));
    }
    a = make(TREE_ROOT_ID, "a", NODE_DIR);
    b = make(TREE_ROOT_ID, "b", NODE_DIR);
    make(a, "f", NODE_FILE);
    from = tree_index(node_tree(net.nodes[1]));
    cr_assert_eq(0, resume(a, from));
    move.u.rename.dir = a;
    move.u.rename.name = net_name("f");
    move.u.rename.to_dir = b;
    move.u.rename.to_name = net_name("f");
    cr_assert_eq(0, net_call(&net, 0, &move, &reply));
    codec_reply_done(&reply);
    cr_assert_eq(1, resume(b, from)); /* told when it happened */
    net_done(&net);
}
