#include <criterion/criterion.h>
#include <string.h>

#include "nodenet.h"

/* A follower with an empty disk brought a whole ensemble down.
 *
 * The leader made the image of its state in one step, and stood still meanwhile: 0.2 s for a
 * million nodes on an idle machine, more than an election time on a busy one. Its followers elected
 * another leader, which had the same follower to serve, stood still in its turn, and was deposed;
 * no write was committed any more. Now the image is made in pieces, and what is committed meanwhile
 * is applied when it is done. */

enum { VALUES = 12, VALUE_SIZE = 1 << 20 };

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

/* How many entries the leader is behind with applying, at most, in so many turns with a write each.
 */
static uint64_t write_for(uint32_t leader, int turns)
{
    uint64_t held_max = 0;

    for (int i = 0; i < turns; i++) {
        struct request r = {.op = OP_SETATTR};
        struct zab_view view;
        uint64_t held;

        r.u.setattr.id = TREE_ROOT_ID;
        r.u.setattr.mask = SETATTR_MTIME;
        r.u.setattr.mtime_ns = i;
        net_send(&net, 0, &r);
        net_tick(&net, 1);
        net_deliver(&net, 64);
        for (uint32_t id = 1; id <= net.count; id++) {
            net_disk_turn(&net, id);
        }
        node_view(net.nodes[leader], &view);
        held = view.commit - tree_index(node_tree(net.nodes[leader]));
        held_max = held > held_max ? held : held_max;
    }
    return held_max;
}

Test(regression, leader_goes_on_while_it_makes_an_image)
{
    enum { TURNS = 300 };
    uint32_t leader, behind;
    struct zab_view before, after;

    net_start(&net, 3);
    net_await_leader(&net);
    leader = net_leader(&net);
    behind = leader == 3 ? 2 : 3;
    net_connect(&net, 0, leader);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    fill();
    net_settle(&net);
    cr_assert_eq(0, write_for(leader, TURNS)); /* else each write is applied as it is committed */
    net_run(&net, 100);
    net_answers(&net, 0);
    net_crash(&net, behind);
    node_view(net.nodes[leader], &before);
    net_restart_empty(&net, behind);
    cr_assert_gt(write_for(leader, TURNS), 0); /* committed entries wait for the image */
    net_run(&net, 5000);
    node_view(net.nodes[leader], &after);
    cr_assert_eq(before.epoch, after.epoch);
    cr_assert_eq(TURNS, net_answers(&net, 0));
    cr_assert_eq(after.commit, tree_index(node_tree(net.nodes[leader])));
    cr_assert_eq(tree_digest(node_tree(net.nodes[leader])),
                 tree_digest(node_tree(net.nodes[behind])));
    net_done(&net);
}
