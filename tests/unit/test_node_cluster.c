#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "nodenet.h"

static struct net net;

static void setup(void)
{
    memset(&net, 0, sizeof(net));
}

static void teardown(void)
{
    net_done(&net);
    cr_assert(!net.stopped);
}

TestSuite(node, .init = setup, .fini = teardown);

static void start(uint32_t count)
{
    net_start(&net, count);
    net_await_leader(&net);
}

static uint32_t follower(void)
{
    return net_leader(&net) == 1 ? 2 : 1;
}

static void set(struct request *r, uint64_t id, struct blob *value)
{
    *r = (struct request){.op = OP_SET};
    r->u.set.id = id;
    r->u.set.value = value;
}

static uint64_t applied(uint32_t id)
{
    return tree_index(node_tree(net.nodes[id]));
}

/* A single member is a quorum of one on the same path. */
Test(node, single_member_serves)
{
    struct reply reply;

    start(1);
    net_connect(&net, 0, 1);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    cr_assert_eq(0, net_create(&net, 0, "a", &reply));
    cr_assert_eq(2, reply.u.create.attr.id);
    cr_assert_eq(ERR_EXISTS, net_create(&net, 0, "a", &reply));
}

/* A write that a follower's client asked for is applied on every member. */
Test(node, write_through_a_follower)
{
    struct reply reply;

    start(3);
    net_connect(&net, 0, follower());
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    cr_assert_eq(0, net_create(&net, 0, "a", &reply));
    net_run(&net, 300);
    for (uint32_t id = 1; id <= 3; id++) {
        const struct tree_node *node;

        cr_assert_eq(0, tree_lookup(node_tree(net.nodes[id]), 1, net_name("a"), &node));
        cr_assert_eq(tree_digest(node_tree(net.nodes[1])), tree_digest(node_tree(net.nodes[id])));
    }
}

/* A subscribed session gets the event of a change before any reply that shows it. */
Test(node, event_comes_before_the_reply_that_shows_it)
{
    struct request getattr = {.op = OP_GETATTR, .u.getattr.id = TREE_ROOT_ID};
    struct reply reply;
    struct message m;

    start(3);
    net_connect(&net, 0, 1);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    cr_assert_eq(0, net_call(&net, 0, &getattr, &reply));
    net_connect(&net, 1, 2);
    cr_assert_eq(0, net_hello(&net, 1, 8, false, 0));
    cr_assert_eq(0, net_create(&net, 1, "a", &reply));
    net_run(&net, 300);
    getattr.xid = 0;
    net_send(&net, 0, &getattr);
    net_settle(&net);
    cr_assert(net_recv(&net, 0, &m));
    cr_assert_eq(MESSAGE_EVENT, m.kind);
    cr_assert_eq(CHANGE_CREATE, m.u.event.kind);
    cr_assert_eq(0, strncmp("a", m.u.event.name.bytes, m.u.event.name.size));
    cr_assert_eq(net.clients[1].session, m.u.event.session);
    codec_message_done(&m);
    cr_assert(net_recv(&net, 0, &m));
    cr_assert_eq(MESSAGE_REPLY, m.kind);
    cr_assert_eq(1, m.u.reply.u.attr.size);
}

/* The same request sent to another member after its answer was lost gets the same answer. */
Test(node, repeated_request_takes_effect_once)
{
    struct request r = {.op = OP_CREATE};
    struct reply first, second;

    start(3);
    net_connect(&net, 0, 1);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.name = net_name("a");
    r.u.create.type = NODE_FILE;
    cr_assert_eq(0, net_call(&net, 0, &r, &first));
    net_disconnect(&net, 0);
    net_connect(&net, 0, 2);
    cr_assert_eq(0, net_hello(&net, 0, 7, true, first.index));
    cr_assert_eq(0, net_call(&net, 0, &r, &second));
    cr_assert_eq(first.u.create.attr.id, second.u.create.attr.id);
    cr_assert_eq(first.u.create.attr.czxid, second.u.create.attr.czxid);
}

/* A member that has not applied what the client saw elsewhere answers HELLO only when it has. */
Test(node, resume_never_goes_back_in_time)
{
    struct reply reply;
    uint32_t leader, behind;

    start(3);
    leader = net_leader(&net);
    behind = leader == 3 ? 2 : 3;
    net_connect(&net, 0, leader);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    net_cut(&net, behind, true);
    cr_assert_eq(0, net_create(&net, 0, "a", &reply));
    net_disconnect(&net, 0);
    cr_assert_lt(applied(behind), reply.index);
    net_cut(&net, behind, false);
    net_connect(&net, 0, behind);
    cr_assert_eq(0, net_hello(&net, 0, 7, true, reply.index));
    cr_assert_geq(applied(behind), reply.index);
}

/* A session that nobody hears of is closed, and resuming it is refused. */
Test(node, silent_session_expires)
{
    struct reply reply;

    start(3);
    net_connect(&net, 0, follower());
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    cr_assert_eq(0, net_create(&net, 0, "a", &reply));
    net_disconnect(&net, 0);
    net_run(&net, 3000);
    cr_assert_eq(0, tree_session_count(node_tree(net.nodes[1])));
    net_connect(&net, 0, 1);
    cr_assert_eq(ERR_EXPIRED, net_hello(&net, 0, 7, true, 1));
    cr_assert_eq(0, net_hello(&net, 0, 8, false, 0)); /* on the same stream */
}

/* A session whose stream speaks now and then lives on. */
Test(node, touched_session_lives)
{
    struct request ping = {.op = OP_PING};
    struct reply reply;

    start(3);
    net_connect(&net, 0, follower());
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    for (int i = 0; i < 10; i++) {
        net_run(&net, 1000);
        ping.xid = 0;
        cr_assert_eq(0, net_call(&net, 0, &ping, &reply));
    }
    cr_assert_eq(1, tree_session_count(node_tree(net.nodes[1])));
}

/* Writes wait out an election and take effect once. */
Test(node, write_survives_the_leaders_death)
{
    struct request r = {.op = OP_CREATE};
    struct reply reply;
    uint32_t member;

    start(3);
    member = follower();
    net_connect(&net, 0, member);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.name = net_name("a");
    r.u.create.type = NODE_FILE;
    r.deadline_ms = 20000;
    net_send(&net, 0, &r); /* forwarded, and lost with the leader */
    net_crash(&net, net_leader(&net));
    for (int i = 0; i < 10000; i += 100) {
        struct message m;

        net_run(&net, 100);
        if (net_recv(&net, 0, &m)) {
            cr_assert_eq(0, m.u.reply.err);
            return;
        }
    }
    cr_assert_fail("no answer");
    (void)reply;
}

/* Without a quorum a write that never left is refused as certainly not applied, and reads answer.
 */
Test(node, no_quorum_refuses_writes_and_reads_answer)
{
    struct request lookup = {.op = OP_LOOKUP};
    struct request sync = {.op = OP_SYNC, .u.sync.quorum = true};
    struct reply reply;

    start(3);
    net_connect(&net, 0, 1);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    cr_assert_eq(0, net_create(&net, 0, "a", &reply));
    net_cut(&net, 2, true);
    net_cut(&net, 3, true);
    net_run(&net, 5000);
    cr_assert_eq(ERR_NO_QUORUM, net_create(&net, 0, "b", &reply));
    cr_assert_eq(ERR_NO_QUORUM, net_call(&net, 0, &sync, &reply));
    lookup.u.lookup.dir = TREE_ROOT_ID;
    lookup.u.lookup.name = net_name("a");
    cr_assert_eq(0, net_call(&net, 0, &lookup, &reply));
    net_cut(&net, 2, false);
    net_cut(&net, 3, false);
    net_await_leader(&net);
    cr_assert_eq(0, net_create(&net, 0, "b", &reply));
}

/* A barrier shows what was committed on another member before it was asked for. */
Test(node, sync_shows_all_that_was_committed)
{
    struct request sync = {.op = OP_SYNC};
    struct reply reply;

    start(3);
    net_connect(&net, 0, 1);
    net_connect(&net, 1, 2);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    cr_assert_eq(0, net_hello(&net, 1, 8, false, 0));
    for (int i = 0; i < 50; i++) {
        char name[16];
        uint64_t index;

        snprintf(name, sizeof(name), "f%d", i);
        cr_assert_eq(0, net_create(&net, 0, name, &reply));
        index = reply.index;
        sync.xid = 0;
        cr_assert_eq(0, net_call(&net, 1, &sync, &reply));
        cr_assert_geq(reply.index, index);
    }
}

/* A session that resumes gets the changes it missed, once each, and no others. */
Test(node, resume_repeats_missed_events)
{
    struct request interest = {.op = OP_INTEREST};
    const uint64_t root = TREE_ROOT_ID;
    struct reply reply;
    struct message m;
    uint64_t seen;

    start(3);
    net_connect(&net, 0, 1);
    net_connect(&net, 1, 2);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    cr_assert_eq(0, net_hello(&net, 1, 8, false, 0));
    cr_assert_eq(0, net_create(&net, 1, "a", &reply));
    seen = reply.index;
    net_disconnect(&net, 0);
    cr_assert_eq(0, net_create(&net, 1, "b", &reply));
    cr_assert_eq(0, net_create(&net, 1, "c", &reply));
    net_connect(&net, 0, 3);
    cr_assert_eq(0, net_hello(&net, 0, 7, true, reply.index));
    interest.u.interest.index_from = seen;
    interest.u.interest.count = 1;
    interest.u.interest.ids = &root;
    net_send(&net, 0, &interest);
    net_settle(&net);
    for (const char *name = "bc"; *name != '\0'; name++) {
        cr_assert(net_recv(&net, 0, &m));
        cr_assert_eq(MESSAGE_EVENT, m.kind);
        cr_assert_eq(*name, m.u.event.name.bytes[0]);
        codec_message_done(&m);
    }
    cr_assert(net_recv(&net, 0, &m));
    cr_assert_eq(MESSAGE_REPLY, m.kind);
    cr_assert_eq(0, m.u.reply.err);
}

/* A member behind the leader's window gets the whole state; what its clients missed is said. */
Test(node, member_far_behind_takes_the_leaders_state)
{
    struct request interest = {.op = OP_INTEREST};
    const uint64_t root = TREE_ROOT_ID;
    struct reply reply;
    uint32_t leader, behind;

    net.window_entries_max = 8;
    start(3);
    leader = net_leader(&net);
    behind = leader == 3 ? 2 : 3;
    net_connect(&net, 0, leader);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    net_crash(&net, behind);
    for (int i = 0; i < 100; i++) {
        char name[16];

        snprintf(name, sizeof(name), "f%d", i);
        cr_assert_eq(0, net_create(&net, 0, name, &reply));
    }
    net_restart_empty(&net, behind);
    net_run(&net, 3000);
    cr_assert_geq(applied(behind), reply.index);
    cr_assert_eq(tree_digest(node_tree(net.nodes[leader])),
                 tree_digest(node_tree(net.nodes[behind])));
    net_connect(&net, 1, behind);
    cr_assert_eq(0, net_hello(&net, 1, 9, false, 0));
    interest.u.interest.index_from = 3;
    interest.u.interest.count = 1;
    interest.u.interest.ids = &root;
    cr_assert_eq(ERR_COMPACTED, net_call(&net, 1, &interest, &reply));
}

/* A request before HELLO, a second HELLO and a SESSION_OPEN from a client end the stream. */
Test(node, protocol_violations_are_malformed)
{
    static const enum op first[] = {OP_PING, OP_SESSION_OPEN, OP_CREATE};
    struct request r;
    struct buf b = {0};

    start(1);
    for (size_t i = 0; i < 3; i++) {
        net_connect(&net, 0, 1);
        r = (struct request){.op = first[i], .xid = 1};
        if (r.op == OP_SESSION_OPEN) {
            r.u.session_open.timeout_ms = 2000;
        } else if (r.op == OP_CREATE) {
            r.u.create.dir = TREE_ROOT_ID;
            r.u.create.name = net_name("a");
            r.u.create.type = NODE_FILE;
        }
        b.size = 0;
        codec_encode_request(&b, &r);
        cr_assert_eq(ERR_MALFORMED, node_client_frame(net.nodes[1], net.clients[0].conn, b.data,
                                                      b.size, &net.now));
        net_disconnect(&net, 0);
    }
    buf_done(&b);
}

/* The leader closes a session only by an entry of its own; reopening the same key is one session.
 */
Test(node, session_open_is_idempotent_by_key)
{
    uint64_t session;

    start(3);
    net_connect(&net, 0, 1);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    session = net.clients[0].session;
    net_connect(&net, 1, 2);
    cr_assert_eq(0, net_hello(&net, 1, 7, false, 0));
    cr_assert_eq(session, net.clients[1].session);
    cr_assert_eq(1, tree_session_count(node_tree(net.nodes[1])));
}

/* A value is what the last committed SET made it, on the member that answers its writer. */
Test(node, a_session_reads_its_own_writes)
{
    struct blob *value = blob_new("hello", 5);
    struct request r;
    struct request read = {.op = OP_READ};
    struct reply reply;

    start(3);
    net_connect(&net, 0, follower());
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    cr_assert_eq(0, net_create(&net, 0, "a", &reply));
    read.u.read.id = reply.u.create.attr.id;
    set(&r, read.u.read.id, value);
    cr_assert_eq(0, net_call(&net, 0, &r, &reply));
    cr_assert_eq(0, net_call(&net, 0, &read, &reply));
    cr_assert_eq(5, reply.u.read.value->size);
    cr_assert_eq(0, memcmp("hello", reply.u.read.value->data, 5));
    codec_reply_done(&reply);
    blob_unref(value);
}
