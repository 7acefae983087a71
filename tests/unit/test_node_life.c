/* What ends with a session, seen by the sessions of other members; reads of attributes and usage.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "nodenet.h"

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

TestSuite(node_life, .init = setup, .fini = teardown);

enum { OWNER = 0, WATCHER = 1 };

static void attach(uint32_t client, uint32_t node)
{
    net_connect(&net, client, node);
    cr_assert_eq(0, net_hello(&net, client, (uint8_t)(client + 1), false, 0));
}

static struct reply made(enum node_life life, const char *name, uint64_t xid)
{
    struct request r = {.op = OP_CREATE, .xid = xid};
    struct reply reply;

    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.name = net_name(name);
    r.u.create.type = NODE_FILE;
    r.u.create.life = life;
    cr_assert_eq(0, net_call(&net, OWNER, &r, &reply));
    cr_assert_eq(life, reply.u.create.attr.life);
    return reply;
}

static void watch_root(void)
{
    struct request r = {.op = OP_GETATTR};
    struct reply reply;

    r.u.getattr.id = TREE_ROOT_ID;
    cr_assert_eq(0, net_call(&net, WATCHER, &r, &reply));
}

/* Names of what the watcher hears to be removed, with '+' behind those that have more to come. */
static const char *heard_gone(void)
{
    static char text[200];
    size_t at = 0;
    struct message m;

    text[0] = '\0';
    net_settle(&net);
    while (net_recv(&net, WATCHER, &m)) {
        const struct event *e = &m.u.event;

        if (m.kind == MESSAGE_EVENT && e->kind == CHANGE_REMOVE) {
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%.*s%s", (int)e->name.size,
                                   e->name.bytes, e->more ? "+" : "");
        }
        codec_message_done(&m);
    }
    return text;
}

static void replicas_are_equal(void)
{
    net_run(&net, 200);
    for (uint32_t id = 2; id <= net.count; id++) {
        cr_assert_eq(tree_digest(node_tree(net.nodes[1])), tree_digest(node_tree(net.nodes[id])));
    }
}

Test(node_life, others_hear_of_what_a_client_leaves)
{
    struct request close = {.op = OP_SESSION_CLOSE};
    struct reply reply;

    attach(OWNER, 1);
    attach(WATCHER, 2);
    made(LIFE_OPEN, "a", 0);
    made(LIFE_SESSION, "b", 0);
    made(LIFE_PERMANENT, "c", 0);
    watch_root();
    cr_assert_eq(0, net_call(&net, OWNER, &close, &reply));
    cr_assert_str_eq("a+b", heard_gone());
    cr_assert_eq(0, net.clients[OWNER].conn, "its stream is closed");
    cr_assert_eq(2, tree_node_count(node_tree(net.nodes[3])));
    replicas_are_equal();
}

Test(node_life, others_hear_of_what_expires)
{
    struct request ping = {.op = OP_PING};

    attach(OWNER, 1);
    attach(WATCHER, 2);
    made(LIFE_SESSION, "a", 0);
    made(LIFE_OPEN, "b", 0);
    watch_root();
    net_disconnect(&net, OWNER);
    cr_assert_str_eq("", heard_gone());
    for (int i = 0; i < 5; i++) { /* the watcher says that it lives, by which events stay unread */
        net_run(&net, 700);
        ping.xid = 0;
        net_send(&net, WATCHER, &ping);
    }
    cr_assert_str_eq("a+b", heard_gone());
    watch_root();
    net_connect(&net, OWNER, 3);
    cr_assert_eq(ERR_EXPIRED, net_hello(&net, OWNER, OWNER + 1, true, 1));
    cr_assert_eq(1, tree_session_count(node_tree(net.nodes[3])));
    replicas_are_equal();
}

/* A create that is asked for again at another member has the same answer, owner included. */
Test(node_life, repeated_create_is_still_its_own)
{
    struct reply first, second;

    attach(OWNER, 1);
    first = made(LIFE_OPEN, "e", 50);
    net_disconnect(&net, OWNER);
    net_connect(&net, OWNER, 2);
    cr_assert_eq(0, net_hello(&net, OWNER, OWNER + 1, true, first.index));
    second = made(LIFE_OPEN, "e", 50);
    cr_assert_eq(first.u.create.attr.id, second.u.create.attr.id);
    cr_assert_eq(first.u.create.attr.owner, second.u.create.attr.owner);
    cr_assert_neq(0, second.u.create.attr.owner);
}

/* A member that got the state from the leader knows what belongs to whom. */
Test(node_life, survives_the_transfer_of_the_state)
{
    struct request set = {.op = OP_SETXATTR}, close = {.op = OP_SESSION_CLOSE};
    uint32_t leader, behind;
    struct reply reply;

    net_done(&net);
    memset(&net, 0, sizeof(net));
    net.window_entries_max = 8;
    net_start(&net, 3);
    net_await_leader(&net);
    leader = net_leader(&net);
    behind = leader == 3 ? 2 : 3;
    attach(OWNER, leader);
    net_crash(&net, behind);
    set.u.setxattr.id = made(LIFE_SESSION, "e", 0).u.create.attr.id;
    set.u.setxattr.name = net_name("user.a");
    cr_assert_eq(0, net_call(&net, OWNER, &set, &reply));
    for (int i = 0; i < 50; i++) {
        char name[16];

        snprintf(name, sizeof(name), "f%d", i);
        cr_assert_eq(0, net_create(&net, OWNER, name, &reply));
    }
    net_restart_empty(&net, behind);
    net_run(&net, 1500);
    replicas_are_equal();
    cr_assert_eq(52, tree_node_count(node_tree(net.nodes[behind])));
    cr_assert_eq(0, net_call(&net, OWNER, &close, &reply));
    replicas_are_equal();
    cr_assert_eq(51, tree_node_count(node_tree(net.nodes[behind])));
}

Test(node_life, extended_attributes_and_who_hears_of_them)
{
    struct request set = {.op = OP_SETXATTR}, get = {.op = OP_XATTRS};
    struct message m;
    struct reply reply;
    uint64_t id;

    attach(OWNER, 1);
    attach(WATCHER, 2);
    id = made(LIFE_PERMANENT, "f", 0).u.create.attr.id;
    get.u.xattrs.id = 99;
    cr_assert_eq(ERR_NOENT, net_call(&net, WATCHER, &get, &reply));
    get.u.xattrs.id = id;
    get.xid = 0;
    cr_assert_eq(0, net_call(&net, WATCHER, &get, &reply));
    cr_assert_eq(0, reply.u.xattrs.count);
    cr_assert_eq(reply.u.xattrs.attr.czxid, reply.u.xattrs.fence);
    set.u.setxattr.id = id;
    set.u.setxattr.name = net_name("user.color");
    set.u.setxattr.value = blob_new("red", 3);
    cr_assert_eq(0, net_call(&net, OWNER, &set, &reply));
    cr_assert_eq(1, reply.u.attr.aversion);
    blob_unref(set.u.setxattr.value);
    net_settle(&net);
    cr_assert(net_recv(&net, WATCHER, &m), "asking subscribed it");
    cr_assert_eq(MESSAGE_EVENT, m.kind);
    cr_assert_eq(CHANGE_SETATTR, m.u.event.kind);
    cr_assert_eq(id, m.u.event.attr.id);
    codec_message_done(&m);
    get.xid = 0;
    net_send(&net, WATCHER, &get);
    net_settle(&net);
    cr_assert(net_recv(&net, WATCHER, &m));
    cr_assert_eq(1, m.u.reply.u.xattrs.count);
    cr_assert_eq(3, m.u.reply.u.xattrs.list[0].value->size);
    codec_message_done(&m);
}

Test(node_life, statfs_by_node)
{
    struct request set = {.op = OP_SETXATTR}, ask = {.op = OP_STATFS};
    struct reply reply;

    attach(OWNER, 1);
    made(LIFE_PERMANENT, "f", 0);
    ask.u.statfs.id = 77;
    cr_assert_eq(ERR_NOENT, net_call(&net, OWNER, &ask, &reply));
    ask.u.statfs.id = 0;
    ask.xid = 0;
    cr_assert_eq(0, net_call(&net, OWNER, &ask, &reply));
    cr_assert_eq(1, reply.u.statfs.nodes);
    cr_assert_eq(0, reply.u.statfs.nodes_max);
    set.u.setxattr.id = TREE_ROOT_ID;
    set.u.setxattr.name = net_name("user.zabfs.quota");
    set.u.setxattr.value = blob_new("2K 1", 4);
    cr_assert_eq(0, net_call(&net, OWNER, &set, &reply));
    blob_unref(set.u.setxattr.value);
    ask.u.statfs.id = 2;
    ask.xid = 0;
    cr_assert_eq(0, net_call(&net, OWNER, &ask, &reply));
    cr_assert_eq(1, reply.u.statfs.nodes_max);
    cr_assert_eq(2048, reply.u.statfs.bytes_max);
    cr_assert_eq(ERR_QUOTA, net_create(&net, OWNER, "g", &reply));
}
