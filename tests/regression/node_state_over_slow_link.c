#include <criterion/criterion.h>
#include <string.h>

#include "nodenet.h"

/* A follower behind the window never caught up once the state was large.
 *
 * The leader put its whole state on the link at once. Its heartbeats queued up behind it, so the
 * follower heard nothing for as long as the transfer took, forgot its leader and campaigned; when
 * the last piece arrived it followed nobody and refused the state, said HELLO, and was sent all of
 * it again, for ever. */

enum { VALUES = 8, VALUE_SIZE = 512 << 10 };

static struct net net;

static void fill(void)
{
    struct blob *value = blob_new_uninit(VALUE_SIZE);
    struct reply reply;

    memset(value->data, 'x', VALUE_SIZE);
    for (int i = 0; i < VALUES; i++) {
        struct request r = {.op = OP_CREATE};
        char name[2] = {(char)('a' + i), '\0'};

        r.u.create.dir = TREE_ROOT_ID;
        r.u.create.name = net_name(name);
        r.u.create.type = NODE_FILE;
        r.u.create.value = value;
        cr_assert_eq(0, net_call(&net, 0, &r, &reply));
    }
    blob_unref(value);
}

Test(regression, state_larger_than_an_election_time_of_the_link)
{
    uint32_t leader, behind;
    struct zab_view before, after;

    net.window_entries_max = 2;
    net_start(&net, 3);
    net_await_leader(&net);
    leader = net_leader(&net);
    behind = leader == 3 ? 2 : 3;
    net_connect(&net, 0, leader);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    net_crash(&net, behind);
    fill();
    node_view(net.nodes[leader], &before);
    net.link_bytes_per_ms = 1000; /* the state takes 4 s, an election 1 to 2 s */
    net_restart_empty(&net, behind);
    net_run(&net, 8000);
    node_view(net.nodes[leader], &after);
    cr_assert_eq(before.epoch, after.epoch);
    cr_assert_eq(VALUES + 1, tree_node_count(node_tree(net.nodes[behind])));
    net_done(&net);
}

/* A transfer that its link ends is given up, and begun again over the next one. */
Test(regression, state_whose_link_breaks_is_sent_again)
{
    uint32_t leader, behind;

    memset(&net, 0, sizeof(net));
    net.window_entries_max = 2;
    net_start(&net, 3);
    net_await_leader(&net);
    leader = net_leader(&net);
    behind = leader == 3 ? 2 : 3;
    net_connect(&net, 0, leader);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    net_crash(&net, behind);
    fill();
    net.link_bytes_per_ms = 2000;
    net_restart_empty(&net, behind);
    net_run(&net, 1500);
    cr_assert_eq(1, tree_node_count(node_tree(net.nodes[behind])));
    net_break(&net, leader, behind);
    net_run(&net, 6000);
    cr_assert_eq(VALUES + 1, tree_node_count(node_tree(net.nodes[behind])));
    net_done(&net);
}
