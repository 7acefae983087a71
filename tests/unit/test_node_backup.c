#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "err.h"
#include "nodenet.h"

/* OP_BACKUP: the image of one index, whatever is written meanwhile, for one stream. */

static struct net net;

static void setup(void)
{
    memset(&net, 0, sizeof(net));
    net_start(&net, 3);
    net_await_leader(&net);
}

static void teardown(void)
{
    net_done(&net);
    cr_assert(!net.stopped);
}

TestSuite(node_backup, .init = setup, .fini = teardown);

static void attach(uint32_t client, uint32_t node)
{
    net_connect(&net, client, node);
    cr_assert_eq(net_hello(&net, client, (uint8_t)(7 + client), false, 0), 0);
}

static void fill(uint32_t client, int first, int count)
{
    struct reply reply;
    char name[32];

    for (int i = first; i < first + count; i++) {
        snprintf(name, sizeof(name), "file-%d", i);
        cr_assert_eq(net_create(&net, client, name, &reply), 0);
    }
}

static int piece(uint32_t client, uint64_t offset, uint32_t size_max, struct reply *ret)
{
    struct request r = {.op = OP_BACKUP, .u.backup = {offset, size_max}};

    return net_call(&net, client, &r, ret);
}

/* Takes the rest of an image that begins with `reply`. */
static struct tree *rest(uint32_t client, struct reply *reply, uint32_t size_max)
{
    uint64_t total = reply->u.backup.total, at = 0, index = reply->index;
    struct tree_loader *loader = tree_loader_new();
    struct tree *tree;

    for (;;) {
        struct blob *bytes = reply->u.backup.bytes;

        cr_assert_eq(reply->index, index);
        cr_assert_eq(reply->u.backup.total, total);
        cr_assert_leq(bytes->size, size_max);
        cr_assert_eq(tree_loader_feed(loader, bytes->data, bytes->size), 0);
        at += bytes->size;
        codec_reply_done(reply);
        if (at == total) {
            break;
        }
        cr_assert_eq(piece(client, at, size_max, reply), 0);
    }
    cr_assert_eq(tree_loader_finish(loader, &tree), 0);
    cr_assert_eq(tree_index(tree), index);
    return tree;
}

Test(node_backup, image_is_that_of_one_index_though_writes_go_on)
{
    struct reply reply;
    struct tree *tree;
    uint64_t digest;
    int written = 100;

    attach(0, 1);
    attach(1, 2);
    fill(1, 0, written);
    net_settle(&net);
    digest = tree_digest(node_tree(net.nodes[1]));
    cr_assert_eq(piece(0, 0, 500, &reply), 0);
    fill(1, written, 20);
    tree = rest(0, &reply, 500);
    cr_assert_eq(tree_digest(tree), digest);
    tree_free(tree);
}

Test(node_backup, position_is_that_of_the_entry)
{
    struct zab_view view;
    struct reply reply;

    attach(0, 1);
    fill(0, 0, 3);
    net_run(&net, 200);
    node_view(net.nodes[1], &view);
    cr_assert_eq(piece(0, 0, BACKUP_PIECE_SIZE_MAX, &reply), 0);
    cr_assert_eq(reply.index, view.last.index);
    cr_assert_eq(reply.u.backup.epoch, view.last.epoch);
    cr_assert_eq(reply.u.backup.chain_lo, view.last.chain.lo);
    cr_assert_eq(reply.u.backup.chain_hi, view.last.chain.hi);
    codec_reply_done(&reply);
}

Test(node_backup, image_belongs_to_its_stream_and_is_read_front_to_back)
{
    struct reply reply;

    attach(0, 1);
    attach(1, 1);
    fill(0, 0, 50);
    cr_assert_eq(piece(0, 100, 100, &reply), ERR_NOENT);
    cr_assert_eq(piece(0, 0, 100, &reply), 0);
    codec_reply_done(&reply);
    cr_assert_eq(piece(1, 100, 100, &reply), ERR_NOENT);
    cr_assert_eq(piece(0, 50, 100, &reply), ERR_NOENT);
    cr_assert_eq(piece(0, 100, 100, &reply), 0);
    codec_reply_done(&reply);
    net_disconnect(&net, 0);
    net_connect(&net, 0, 1);
    cr_assert_eq(net_hello(&net, 0, 7, true, 10), 0);
    cr_assert_eq(piece(0, 200, 100, &reply), ERR_NOENT);
}

Test(node_backup, a_member_holds_few_images_and_drops_those_that_ended)
{
    struct reply reply;

    for (uint32_t i = 0; i < BACKUPS_MAX + 2; i++) {
        attach(i, 1);
    }
    fill(0, 0, 50);
    for (uint32_t i = 0; i < BACKUPS_MAX; i++) {
        cr_assert_eq(piece(i, 0, 100, &reply), 0);
        codec_reply_done(&reply);
    }
    cr_assert_eq(piece(BACKUPS_MAX, 0, 100, &reply), ERR_OVERLOAD);
    cr_assert_eq(piece(0, 0, 200, &reply), 0); /* again from the start takes no second place */
    tree_free(rest(0, &reply, 200));           /* complete */
    cr_assert_eq(piece(BACKUPS_MAX, 0, 100, &reply), 0);
    codec_reply_done(&reply);
    cr_assert_eq(piece(0, 0, 100, &reply), ERR_OVERLOAD);
    net_disconnect(&net, 1); /* its stream ended */
    cr_assert_eq(piece(0, 0, 100, &reply), 0);
    codec_reply_done(&reply);
}

Test(node_backup, an_image_that_nobody_asks_for_is_dropped)
{
    struct request ping = {.op = OP_PING};
    struct reply reply;

    attach(0, 1);
    fill(0, 0, 50);
    cr_assert_eq(piece(0, 0, 100, &reply), 0);
    codec_reply_done(&reply);
    for (int s = 0; s < 61; s++) { /* the session lives on */
        net_run(&net, 1000);
        ping.xid = 0;
        cr_assert_eq(net_call(&net, 0, &ping, &reply), 0);
    }
    cr_assert_eq(piece(0, 100, 100, &reply), ERR_NOENT);
}
