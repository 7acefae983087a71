#include <criterion/criterion.h>

#include "zabnet.h"

/* Found by the simulator (seed 10643). A follower came back with all entries of its leader, said so
 * with HELLO, and the leader's answer, a PROPOSE without entries, was lost. The follower did not
 * know that its log was the leader's and acknowledged nothing; the heartbeats named its HELLO and
 * an end that it had, so it did not ask again. When the entry of the leader's epoch waited for that
 * very acknowledgement, the leader served nobody and proposed nothing, for ever. What counts is not
 * what a follower holds, but what it knows to be the leader's. */

static bool is_loss_over;

static bool drop_greeting(struct net *net, const struct zab_msg *m)
{
    bool lose = !is_loss_over && m->type == ZAB_PROPOSE && m->to == 3;

    (void)net;
    is_loss_over = is_loss_over || lose;
    return lose;
}

Test(regression, follower_asks_again_when_the_answer_to_its_hello_is_lost)
{
    struct net *net = net_new(3, 1);
    uint64_t index;

    net_start(net);
    while (net_run_leader(net) == 3) {
        net_crash(net, 3);
        net_run(net, 5000);
        net_restart(net, 3);
    }
    index = net_propose(net, net_run_leader(net), "x");
    cr_assert(net_run_applied(net, index, 2000));
    net_crash(net, 3);
    net->drop = drop_greeting;
    net_restart(net, 3);
    cr_assert(net_run_applied(net, index, 5000));
    cr_assert(is_loss_over);
    net_free(net);
}
