#include <criterion/criterion.h>
#include <string.h>

#include "nodenet.h"

/* A leader that had stood still ended the sessions it had just heard of.
 *
 * After a gap between two beats of its loop, the leader moved the time at which it last heard of
 * each session forward by the length of the gap. For a session that it heard of within the gap, or
 * in the very beat that noticed it, that was a time in the future; "how long ago" wrapped around to
 * very long, and the session was closed on the spot. A laptop that woke up lost all its sessions.
 */

static struct net net;

static void stall(uint64_t ms)
{
    struct request ping = {.op = OP_PING};

    net_send(&net, 0, &ping);
    net.now.mono_ms += ms;
    net_run(&net, 1000);
    cr_assert_eq(1, tree_session_count(node_tree(net.nodes[1])));
}

Test(regression, stall_of_the_leader_ends_no_session)
{
    net_start(&net, 1);
    net_await_leader(&net);
    net_connect(&net, 0, 1);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    stall(1500);
    stall(1900);
    stall(8 * 3600 * 1000);
    net_done(&net);
}

/* A stall shorter than a second is one, too: with the shortest timeout it is most of a session. */
Test(regression, short_stall_of_the_leader_ends_no_session)
{
    struct request hello = {.op = OP_HELLO};
    struct reply reply;

    memset(&net, 0, sizeof(net));
    net_start(&net, 1);
    net_await_leader(&net);
    net_connect(&net, 0, 1);
    hello.u.hello.version = CLIENT_PROTOCOL_VERSION;
    hello.u.hello.timeout_ms = 1000;
    cr_assert_eq(0, net_call(&net, 0, &hello, &reply));
    net_run(&net, 300);
    net.now.mono_ms += 900;
    node_tick(net.nodes[1], &net.now); /* before what the client said meanwhile is read */
    net_settle(&net);
    cr_assert_eq(1, tree_session_count(node_tree(net.nodes[1])));
    net_done(&net);
}
