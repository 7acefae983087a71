/* Reads as of an index, as a client sees them. */
#include <criterion/criterion.h>
#include <string.h>

#include "err.h"
#include "nodenet.h"

static struct net net;

static void start(uint32_t history_changes)
{
    memset(&net, 0, sizeof(net));
    net.history_changes = history_changes;
    net_start(&net, 1);
    net_await_leader(&net);
    for (uint32_t i = 0; i < 2; i++) {
        net_connect(&net, i, 1);
        cr_assert_eq(0, net_hello(&net, i, (uint8_t)(i + 1), false, 0));
    }
}

static void done(void)
{
    net_done(&net);
    cr_assert(!net.stopped);
}

static int lookup(const char *name, uint64_t at, struct reply *ret)
{
    struct request r = {.op = OP_LOOKUP, .u.lookup = {TREE_ROOT_ID, net_name(name), at}};

    return net_call(&net, 1, &r, ret);
}

static uint64_t set(uint64_t id, const char *value)
{
    struct request r = {.op = OP_SET};
    struct reply reply;

    r.u.set.id = id;
    r.u.set.value = blob_new(value, strlen(value));
    cr_assert_eq(0, net_call(&net, 0, &r, &reply));
    codec_request_done(&r);
    return reply.index;
}

static void assert_value(uint64_t id, uint64_t at, const char *value)
{
    struct request r = {.op = OP_READ, .u.read = {id, at}};
    struct reply reply;

    cr_assert_eq(0, net_call(&net, 1, &r, &reply));
    cr_assert_eq(at, reply.index);
    cr_assert_eq(strlen(value), reply.u.read.value->size);
    cr_assert_eq(0, memcmp(value, reply.u.read.value->data, strlen(value)));
    codec_reply_done(&reply);
}

Test(node_past, a_read_with_an_index_shows_the_state_of_then)
{
    struct request remove = {.op = OP_REMOVE, .u.remove = {TREE_ROOT_ID, net_name("a"), 0, 0}};
    struct request list = {.op = OP_READDIR, .u.readdir = {TREE_ROOT_ID, 0, READDIR_SIZE_MAX, 0}};
    struct request getattr = {.op = OP_GETATTR};
    struct request read = {.op = OP_READ};
    struct reply made, r;
    uint64_t one, two;

    start(100);
    cr_assert_eq(0, net_create(&net, 0, "a", &made));
    one = set(made.u.create.attr.id, "one");
    two = set(made.u.create.attr.id, "two!");
    cr_assert_eq(0, net_call(&net, 0, &remove, &r));

    cr_assert_eq(ERR_NOENT, lookup("a", 0, &r));
    cr_assert_eq(ERR_NOENT, lookup("a", made.index - 1, &r));
    cr_assert_eq(0, lookup("a", one, &r));
    cr_assert_eq(3, r.u.attr.size);
    cr_assert_eq(one, r.index);
    assert_value(made.u.create.attr.id, one, "one");
    assert_value(made.u.create.attr.id, two, "two!");
    getattr.u.getattr.id = made.u.create.attr.id;
    getattr.u.getattr.at = two;
    cr_assert_eq(0, net_call(&net, 1, &getattr, &r));
    cr_assert_eq(4, r.u.attr.size);
    list.u.readdir.at = two;
    cr_assert_eq(0, net_call(&net, 1, &list, &r));
    cr_assert(r.u.readdir.end);
    cr_assert_eq(1, r.u.readdir.count);
    cr_assert_eq(4, r.u.readdir.entries[0].attr.size);
    codec_reply_done(&r);
    read.u.read.id = TREE_ROOT_ID;
    read.u.read.at = two;
    cr_assert_eq(ERR_ISDIR, net_call(&net, 1, &read, &r));
    done();
}

Test(node_past, a_listing_of_the_past_comes_in_pages)
{
    struct request list = {.op = OP_READDIR, .u.readdir = {TREE_ROOT_ID, 0, 1, 0}};
    struct request remove = {.op = OP_REMOVE};
    struct reply r, a, b, c;

    start(100);
    cr_assert_eq(0, net_create(&net, 0, "a", &a));
    cr_assert_eq(0, net_create(&net, 0, "b", &b));
    cr_assert_eq(0, net_create(&net, 0, "c", &c));
    remove.u.remove.dir = TREE_ROOT_ID;
    remove.u.remove.name = net_name("b");
    cr_assert_eq(0, net_call(&net, 0, &remove, &r));
    list.u.readdir.at = c.index;
    for (int i = 0; i < 3; i++) {
        list.xid = 0;
        cr_assert_eq(0, net_call(&net, 1, &list, &r));
        cr_assert_eq(1, r.u.readdir.count);
        cr_assert_eq("abc"[i], r.u.readdir.entries[0].name.bytes[0]);
        cr_assert_eq(i == 2, r.u.readdir.end);
        list.u.readdir.after = r.u.readdir.entries[0].cookie;
        codec_reply_done(&r);
    }
    done();
}

Test(node_past, the_past_subscribes_to_nothing)
{
    struct reply r;
    struct message m;

    start(100);
    cr_assert_eq(0, net_create(&net, 0, "a", &r));
    cr_assert_eq(0, lookup("a", r.index, &r));
    cr_assert_eq(0, net_create(&net, 0, "b", &r));
    cr_assert(!net_recv(&net, 1, &m));
    cr_assert_eq(0, lookup("a", 0, &r));
    cr_assert_eq(0, net_create(&net, 0, "c", &r));
    cr_assert(net_recv(&net, 1, &m));
    codec_message_done(&m);
    done();
}

Test(node_past, what_is_not_known_any_more_or_not_yet_is_an_error)
{
    struct reply r, first;

    start(3);
    cr_assert_eq(0, net_create(&net, 0, "a", &first));
    for (int i = 0; i < 4; i++) {
        set(first.u.create.attr.id, "x");
    }
    cr_assert_eq(ERR_COMPACTED, lookup("a", first.index, &r));
    cr_assert_eq(0, lookup("a", first.index + 1, &r));
    cr_assert_eq(ERR_INVAL, lookup("a", first.index + 100, &r));
    done();
}

Test(node_past, without_a_history_there_is_none)
{
    struct reply r;

    start(0);
    cr_assert_eq(0, net_create(&net, 0, "a", &r));
    cr_assert_eq(ERR_COMPACTED, lookup("a", r.index - 1, &r));
    done();
}
