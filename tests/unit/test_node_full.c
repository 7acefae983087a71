#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "nodenet.h"

/* A member whose disk has no space: it counts as one that is down, but for the reads of its clients
 * and for their writes, which are refused at once. */

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

TestSuite(node_full, .init = setup, .fini = teardown);

static uint64_t applied(uint32_t id)
{
    return tree_index(node_tree(net.nodes[id]));
}

static void start(uint32_t count)
{
    net_start(&net, count);
    net_await_leader(&net);
}

static void client(uint32_t at, uint32_t node)
{
    net_connect(&net, at, node);
    cr_assert_eq(0, net_hello(&net, at, (uint8_t)(10 + at), false, 0));
}

/* The disk has no space from the next batch of this member on. */
static void fill_disk(uint32_t id)
{
    net.disk_slow[id] = true;
    for (int i = 0; i < 100 && net.batch[id] == NULL; i++) {
        net_run(&net, 20);
    }
    cr_assert_neq(net.batch[id], NULL, "nothing to write");
    node_disk_full(net.nodes[id], true, &net.now);
}

static void free_space(uint32_t id)
{
    net.disk_slow[id] = false;
    node_disk_full(net.nodes[id], false, &net.now);
}

static bool says_full(uint32_t at)
{
    struct request r = {.op = OP_STATUS};
    struct message m = {.kind = MESSAGE_REPLY};
    bool full = false;

    cr_assert_eq(0, net_call(&net, at, &r, &m.u.reply));
    for (uint32_t i = 0; i < m.u.reply.u.status.count; i++) {
        const struct status_field *f = &m.u.reply.u.status.fields[i];

        full = full || (f->key.size == 4 && memcmp(f->key.bytes, "disk", 4) == 0 &&
                        f->value.size == 4 && memcmp(f->value.bytes, "full", 4) == 0);
    }
    codec_message_done(&m);
    return full;
}

/* Time passes, and clients say that they are there. */
static void pass(uint64_t ms)
{
    for (uint64_t done = 0; done < ms; done += 500) {
        for (uint32_t at = 0; at < 8; at++) {
            struct request r = {.op = OP_PING};
            struct reply reply;

            if (net.clients[at].session != 0) {
                (void)net_call(&net, at, &r, &reply);
            }
        }
        net_run(&net, 500);
    }
}

static int lookup(uint32_t at, const char *name)
{
    struct request r = {.op = OP_LOOKUP};
    struct reply reply;

    r.u.lookup.dir = TREE_ROOT_ID;
    r.u.lookup.name = net_name(name);
    return net_call(&net, at, &r, &reply);
}

static int barrier(uint32_t at, bool quorum)
{
    struct request r = {.op = OP_SYNC, .u.sync.quorum = quorum};
    struct reply reply;

    return net_call(&net, at, &r, &reply);
}

Test(node_full, follower_refuses_at_once_and_catches_up_when_there_is_space)
{
    uint32_t leader, full;
    struct reply reply;
    uint64_t before_ms;

    start(3);
    leader = net_leader(&net);
    full = leader == 1 ? 2 : 1;
    client(0, leader);
    client(1, full);
    cr_assert_eq(0, net_create(&net, 0, "before", &reply));
    net_run(&net, 200);
    net.disk_slow[full] = true;
    cr_assert_eq(0, net_create(&net, 0, "one", &reply));
    fill_disk(full);
    before_ms = net.now.mono_ms;
    cr_assert_eq(ERR_NOSPACE, net_create(&net, 1, "refused", &reply));
    cr_assert_eq(ERR_NOSPACE, barrier(1, true));
    cr_assert_eq(0, lookup(1, "before"));
    cr_assert(says_full(1));
    cr_assert_eq(net.now.mono_ms, before_ms, "at once");
    cr_assert_eq(ERR_NOSPACE, barrier(1, false), "what it waits for cannot come");
    cr_assert_lt(net.now.mono_ms - before_ms, 500);
    for (int i = 0; i < 100; i++) {
        char name[16];

        snprintf(name, sizeof(name), "more%d", i);
        cr_assert_eq(0, net_create(&net, 0, name, &reply), "the others have a quorum");
    }
    pass(3000);
    cr_assert_eq(net_leader(&net), leader);
    free_space(full);
    pass(2000);
    cr_assert_eq(applied(full), applied(leader));
    cr_assert_eq(0, net_create(&net, 1, "again", &reply));
    cr_assert_eq(0, barrier(1, true));
    cr_assert_eq(ERR_NOENT, lookup(1, "refused"));
}

Test(node_full, leader_hands_over)
{
    uint32_t full, other, next;
    struct reply reply;
    struct zab_view v;

    start(3);
    full = net_leader(&net);
    other = full == 1 ? 2 : 1;
    client(0, other);
    client(1, full);
    net.disk_slow[full] = true;
    cr_assert_eq(0, net_create(&net, 0, "one", &reply), "committed by the other two");
    fill_disk(full);
    node_view(net.nodes[full], &v);
    cr_assert_eq(v.role, ZAB_FOLLOWER);
    net_await_leader(&net);
    next = net_leader(&net);
    cr_assert_neq(next, full);
    cr_assert_eq(0, net_create(&net, 0, "two", &reply));
    cr_assert_eq(ERR_NOSPACE, net_create(&net, 1, "refused", &reply));
    pass(20000);
    cr_assert_eq(net_leader(&net), next, "the full one does not campaign");
    free_space(full);
    pass(2000);
    cr_assert_eq(applied(full), applied(next));
    cr_assert_eq(0, net_create(&net, 1, "three", &reply));
}

/* The leader has space, and is the only one: what it takes in could not commit. */
Test(node_full, leader_without_a_quorum_that_has_space_steps_down)
{
    struct request create = {.op = OP_CREATE};
    struct reply reply;
    uint32_t leader;

    start(3);
    leader = net_leader(&net);
    client(0, leader);
    for (uint32_t id = 1; id <= 3; id++) {
        net.disk_slow[id] = id != leader;
    }
    create.u.create.dir = TREE_ROOT_ID;
    create.u.create.name = net_name("left");
    create.u.create.type = NODE_FILE;
    net_send(&net, 0, &create);
    net_settle(&net);
    for (uint32_t id = 1; id <= 3; id++) {
        if (id != leader) {
            fill_disk(id);
        }
    }
    pass(2500);
    cr_assert_eq(net_leader(&net), 0);
    pass(6000);
    cr_assert_eq(ERR_NO_QUORUM, net_create(&net, 0, "refused", &reply));
    for (uint32_t id = 1; id <= 3; id++) {
        if (id != leader) {
            free_space(id);
        }
    }
    net_await_leader(&net);
    pass(1000);
    cr_assert_eq(0, lookup(0, "left"));
    cr_assert_eq(ERR_NOENT, lookup(0, "refused"));
}

Test(node_full, all_full_refuse_at_once_and_resume_by_themselves)
{
    struct request getattr = {.op = OP_GETATTR, .u.getattr.id = TREE_ROOT_ID};
    struct request create = {.op = OP_CREATE};
    struct reply reply;
    uint64_t before_ms;

    start(3);
    for (uint32_t id = 1; id <= 3; id++) {
        client(id, id);
    }
    for (uint32_t id = 1; id <= 3; id++) {
        net.disk_slow[id] = true;
    }
    create.u.create.dir = TREE_ROOT_ID;
    create.u.create.name = net_name("waits");
    create.u.create.type = NODE_FILE;
    create.deadline_ms = 60000;
    net_send(&net, 1, &create);
    net_settle(&net);
    for (uint32_t id = 1; id <= 3; id++) {
        fill_disk(id);
    }
    for (int turn = 0; turn < 3; turn++) {
        before_ms = net.now.mono_ms;
        for (uint32_t id = 1; id <= 3; id++) {
            cr_assert_eq(ERR_NOSPACE, net_create(&net, id, "refused", &reply));
            getattr.xid = 0;
            cr_assert_eq(0, net_call(&net, id, &getattr, &reply));
        }
        cr_assert_eq(net.now.mono_ms, before_ms, "at once");
        pass(10000);
        cr_assert_eq(net_leader(&net), 0);
    }
    for (uint32_t id = 1; id <= 3; id++) {
        free_space(id);
    }
    net_await_leader(&net);
    pass(1000);
    for (uint32_t id = 1; id <= 3; id++) {
        cr_assert_eq(0, lookup(id, "waits"), "what had left is applied, once");
        cr_assert_eq(ERR_NOENT, lookup(id, "refused"));
    }
    cr_assert_eq(0, net_create(&net, 2, "again", &reply));
}

/* Streams that break again and again let the leader send more than its flow control would. */
Test(node_full, takes_in_nothing_more_however_often_its_stream_breaks)
{
    struct blob *value = blob_new_uninit(100000);
    uint32_t leader, full;
    struct reply reply;
    uint64_t id, last;
    struct zab_view v;

    memset(value->data, 'x', value->size);
    start(3);
    leader = net_leader(&net);
    full = leader == 1 ? 2 : 1;
    client(0, leader);
    cr_assert_eq(0, net_create(&net, 0, "f", &reply));
    id = reply.u.create.attr.id;
    net.disk_slow[full] = true;
    for (int i = 0; i < 5; i++) {
        struct request r = {.op = OP_SET, .u.set = {.id = id, .value = value}};

        cr_assert_eq(0, net_call(&net, 0, &r, &reply));
    }
    fill_disk(full);
    node_view(net.nodes[full], &v);
    last = v.last.index;
    for (int i = 0; i < 60; i++) {
        struct request r = {.op = OP_SET, .u.set = {.id = id, .value = value}};

        cr_assert_eq(0, net_call(&net, 0, &r, &reply));
        net_break(&net, leader, full);
        net_run(&net, 100);
    }
    node_view(net.nodes[full], &v);
    cr_assert_eq(v.last.index, last);
    node_audit(net.nodes[full]);
    free_space(full);
    pass(3000);
    cr_assert_eq(applied(full), applied(leader));
    blob_unref(value);
}

/* No timer of a single member may spin while it can do nothing. */
Test(node_full, single_member_waits_quietly)
{
    struct request create = {.op = OP_CREATE};
    struct reply reply;

    start(1);
    client(0, 1);
    net.disk_slow[1] = true;
    create.u.create.dir = TREE_ROOT_ID;
    create.u.create.name = net_name("waits");
    create.u.create.type = NODE_FILE;
    net_send(&net, 0, &create);
    net_settle(&net);
    fill_disk(1);
    net_tick(&net, 100);
    cr_assert_gt(node_deadline(net.nodes[1]), net.now.mono_ms);
    cr_assert_eq(ERR_NOSPACE, net_create(&net, 0, "refused", &reply));
    pass(3000);
    cr_assert_gt(node_deadline(net.nodes[1]), net.now.mono_ms);
    free_space(1);
    pass(1000);
    cr_assert_eq(0, net_create(&net, 0, "again", &reply));
    cr_assert_eq(0, lookup(0, "waits"));
}

/* A snapshot that failed is tried again although nothing more is written. */
Test(node_full, failed_snapshot_is_tried_again)
{
    struct reply reply;

    net.snapshot_entries = 3;
    start(1);
    client(0, 1);
    cr_assert_eq(0, net_create(&net, 0, "a", &reply));
    cr_assert_eq(0, net_create(&net, 0, "b", &reply));
    cr_assert(net.snapshots);
    net.snapshots = false;
    node_snapshot_done(net.nodes[1], false, &net.now);
    net_run(&net, 5000);
    cr_assert_not(net.snapshots, "not at once");
    net_run(&net, 6000);
    cr_assert(net.snapshots);
    node_snapshot_done(net.nodes[1], true, &net.now);
    net.snapshots = false;
    net_run(&net, 30000);
    cr_assert_not(net.snapshots, "it is done");
}
