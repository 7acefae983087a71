#include <criterion/criterion.h>
#include <string.h>

#include "nodenet.h"

/* A write hung until its deadline although its leader had never gone.
 *
 * A follower that hears nothing for a while (its own process stood still, or the link was slow)
 * forgets its leader and asks for prevotes. The leader is fine, its next heartbeat arrives, and the
 * follower follows it again, in the same epoch. A write that came in between waited for a leader;
 * when the same leader came back in the same epoch, it was taken for one that had been given all
 * that waits, and the write was forwarded to nobody. */

static struct net net;

Test(regression, write_goes_to_a_leader_that_comes_back_in_the_same_epoch)
{
    struct request r = {.op = OP_CREATE, .deadline_ms = 5000};
    struct zab_view before, view;
    struct message m;
    uint32_t leader, member;

    net_start(&net, 3);
    net_await_leader(&net);
    leader = net_leader(&net);
    member = leader == 1 ? 2 : 1;
    net_connect(&net, 0, member);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    node_view(net.nodes[member], &before);

    net.now.mono_ms += 2500; /* nobody's loop ran; the follower's is the first that does */
    node_tick(net.nodes[member], &net.now);
    node_view(net.nodes[member], &view);
    cr_assert_eq(0, view.leader);
    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.name = net_name("a");
    r.u.create.type = NODE_FILE;
    net_send(&net, 0, &r);
    node_peer_down(net.nodes[leader], member, &net.now);
    node_peer_up(net.nodes[leader], member, &net.now); /* greets it with a heartbeat */
    net_settle(&net);
    net_run(&net, 1000);

    node_view(net.nodes[member], &view);
    cr_assert_eq(leader, view.leader);
    cr_assert_eq(before.epoch, view.epoch);
    cr_assert(net_recv(&net, 0, &m));
    cr_assert_eq(MESSAGE_REPLY, m.kind);
    cr_assert_eq(0, m.u.reply.err);
    net_done(&net);
}
