#include <criterion/criterion.h>
#include <string.h>

#include "err.h"
#include "nodenet.h"
#include "wire.h"

/* A leader's state on its way to a follower: piece by piece, never far ahead of the follower's
 * disk, and given up by itself when that cannot take it. */

enum { VALUES = 24, VALUE_SIZE = 512 << 10, AHEAD_MAX = 4 << 20 };

static struct net net;
static uint32_t leader, behind;

static void create(uint32_t client, int i)
{
    struct blob *value = blob_new_uninit(VALUE_SIZE);
    struct request r = {.op = OP_CREATE};
    char name[2] = {(char)('a' + i), '\0'};
    struct reply reply;

    memset(value->data, 'x', VALUE_SIZE);
    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.name = net_name(name);
    r.u.create.type = NODE_FILE;
    r.u.create.value = value;
    cr_assert_eq(0, net_call(&net, client, &r, &reply));
    blob_unref(value);
}

/* A follower that lost its disk is behind the leader's window by 12 MiB. */
static void setup(void)
{
    memset(&net, 0, sizeof(net));
    net.window_entries_max = 2;
    net_start(&net, 3);
    net_await_leader(&net);
    leader = net_leader(&net);
    behind = leader == 3 ? 2 : 3;
    net_connect(&net, 0, leader);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    net_crash(&net, behind);
    for (int i = 0; i < VALUES; i++) {
        create(0, i);
    }
    net_restart_empty(&net, behind);
}

static void teardown(void)
{
    net_done(&net);
    cr_assert(!net.stopped);
}

TestSuite(node_snap, .init = setup, .fini = teardown);

static bool has_all(void)
{
    return tree_node_count(node_tree(net.nodes[behind])) == VALUES + 1;
}

/* Bytes of pieces in the batch that the follower's disk has. */
static uint64_t pieces(const struct store_batch *b)
{
    uint64_t size = 0;

    for (size_t i = 0; b != NULL && i < b->count; i++) {
        size += b->ops[i].type == STORE_OP_SNAP_PIECE ? b->ops[i].u.piece.bytes->size : 0;
    }
    return size;
}

Test(node_snap, sender_waits_for_a_slow_disk)
{
    uint64_t most = 0, all = 0;
    int turns = 0;

    net.disk_slow[behind] = true;
    for (; turns < 2000 && !has_all(); turns++) {
        net_run(&net, 100);
        if (net.batch[behind] != NULL && turns % 3 == 0) {
            uint64_t size = pieces(net.batch[behind]);

            all += size;
            most = size > most ? size : most;
            net_disk_turn(&net, behind);
        }
    }
    cr_assert(has_all());
    cr_assert_gt(all, VALUES * VALUE_SIZE);
    cr_assert_lt(all, 2 * VALUES * VALUE_SIZE, "one transfer, however slow the disk");
    cr_assert_leq(most, AHEAD_MAX + SNAPSHOT_CHUNK_SIZE);
    cr_assert_gt(turns, 9, "12 MiB are at least three batches");
}

/* A disk that takes longer for one batch than the sender would wait: it is told that all is well.
 */
Test(node_snap, sender_is_told_that_the_disk_is_at_work)
{
    net.disk_slow[behind] = true;
    for (int i = 0; i < 100 && pieces(net.batch[behind]) == 0; i++) {
        net_run(&net, 50);
    }
    cr_assert_gt(pieces(net.batch[behind]), 0);
    net_run(&net, 20000);
    net.disk_slow[behind] = false;
    net_run(&net, 2000);
    cr_assert(has_all());
}

static bool fail_pieces(void)
{
    bool any = false;

    net_run(&net, 50);
    if (net.batch[behind] == NULL) {
        return false;
    }
    for (size_t i = 0; i < net.batch[behind]->count; i++) {
        struct store_op *op = &net.batch[behind]->ops[i];

        if (op->type == STORE_OP_SNAP_PIECE) {
            op->err = ERR_NOSPACE;
            any = true;
        }
    }
    net_disk_turn(&net, behind);
    return any;
}

/* Nor is the leader asked for all of it again at once, and again, for as long as the disk is full.
 */
Test(node_snap, full_disk_gives_it_up_and_asks_again_later)
{
    uint64_t failed_ms;

    net.disk_slow[behind] = true;
    while (!fail_pieces()) {
        cr_assert_lt(net.now.mono_ms, 60000);
    }
    failed_ms = net.now.mono_ms;
    net.disk_slow[behind] = false;
    net_run(&net, 15000);
    cr_assert_not(has_all(), "asked again too soon");
    net_run(&net, 15000);
    cr_assert(has_all());
    cr_assert_lt(net.now.mono_ms - failed_ms, 40000);
    cr_assert_eq(net_leader(&net), leader, "nobody noticed");
}

/* What is refused when it is loaded never replaces anything, and is asked for again. */
Test(node_snap, image_that_is_not_sound_is_refused)
{
    bool damaged = false;

    for (int turn = 0; turn < 4000 && !damaged; turn++) {
        net_tick(&net, 1);
        for (uint32_t id = 1; id <= 3; id++) {
            net_disk_turn(&net, id);
        }
        for (uint32_t i = 0; i < net.frame_count && !damaged; i++) {
            struct net_frame *f = &net.frames[i];
            struct peer_msg m;

            cr_assert_eq(0, wire_peer_decode(f->bytes->data, f->bytes->size, &m));
            if (m.type == PEER_SNAP && m.u.snap.offset > 1000000) {
                struct blob *bad = blob_new(f->bytes->data, f->bytes->size);

                bad->data[bad->size - 1000] ^= 1;
                blob_unref(f->bytes);
                f->bytes = bad;
                damaged = true;
            }
            peer_msg_done(&m);
        }
        net_deliver(&net, 4);
    }
    cr_assert(damaged);
    net_run(&net, 3000);
    cr_assert_not(has_all(), "the digest cannot have been right");
    net_run(&net, 10000);
    cr_assert(has_all());
}
