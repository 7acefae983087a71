#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "nodenet.h"
#include "wire.h"

/* A write that had taken effect was answered with a timeout.
 *
 * A member forwards a client's write and is cut off before it hears of it again. It comes back,
 * forwards the write once more, and takes the leader's whole state, because it is behind the
 * window. In that state the write is applied, as often as it was forwarded: its entry is never
 * applied here by itself. The write stayed pending; the client came back and sent it again, which
 * was taken for a repetition of what is under way already, and waited for its deadline. */

static struct net net;

/* Loses all that is under way but forwarded writes. */
static void lose_all_but_forwards(void)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < net.frame_count; i++) {
        if (net.frames[i].bytes->data[0] == PEER_FORWARD) {
            net.frames[kept++] = net.frames[i];
        } else {
            blob_unref(net.frames[i].bytes);
        }
    }
    net.frame_count = kept;
}

Test(regression, write_applied_inside_a_state_is_answered)
{
    struct request r = {.op = OP_CREATE, .deadline_ms = 60000};
    struct reply reply;
    uint32_t leader, member;

    net.window_entries_max = 4;
    net_start(&net, 3);
    net_await_leader(&net);
    leader = net_leader(&net);
    member = leader == 1 ? 2 : 1;
    net_connect(&net, 0, member);
    net_connect(&net, 1, leader);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    cr_assert_eq(0, net_hello(&net, 1, 8, false, 0));

    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.name = net_name("a");
    r.u.create.type = NODE_FILE;
    net_send(&net, 0, &r);
    net_deliver(&net, 1000); /* the leader has it ... */
    net_cut(&net, member, true);
    for (int i = 0; i < 50; i++) {
        char name[16];

        snprintf(name, sizeof(name), "f%d", i);
        cr_assert_eq(0, net_create(&net, 1, name, &reply));
    }
    net_cut(&net, member, false);
    lose_all_but_forwards(); /* HELLO is said again later */
    net_settle(&net);
    for (int i = 0; i < 20; i++) {
        net_run(&net, 100);
    }
    cr_assert_eq(0, net.clients[0].conn); /* its state was replaced */

    net_connect(&net, 0, member);
    cr_assert_eq(0, net_hello(&net, 0, 7, true, 10));
    cr_assert_eq(0, net_call(&net, 0, &r, &reply));
    cr_assert_lt(reply.u.create.attr.czxid, 10);
    net_done(&net);
}
