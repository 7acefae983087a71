/* Locks as clients see them: grants go to the session that waited, on whatever member it is, and
 * every member shows who holds and who waits. */
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
    for (uint32_t client = 0; client < 3; client++) {
        net_connect(&net, client, client + 1);
        cr_assert_eq(0, net_hello(&net, client, (uint8_t)(client + 1), false, 0));
    }
}

static void teardown(void)
{
    net_done(&net);
    cr_assert(!net.stopped);
}

TestSuite(node_lock, .init = setup, .fini = teardown);

static uint64_t make_file(const char *name)
{
    struct reply r;
    uint64_t id;

    cr_assert_eq(0, net_create(&net, 0, name, &r));
    id = r.u.create.attr.id;
    codec_reply_done(&r);
    net_run(&net, 100);
    return id;
}

static int flock_it(uint32_t client, uint64_t id, enum lock_type type, struct reply *ret)
{
    struct request r = {.op = OP_LOCK};
    struct lock lock = {LOCK_KIND_FLOCK, type, 70 + client, 0, UINT64_MAX, 5};
    int err;

    r.u.lock.id = id;
    r.u.lock.lock = lock;
    r.u.lock.wait = true;
    err = net_call(&net, client, &r, ret);
    net_run(&net, 100);
    return err;
}

/* The next grant that the client hears of; false: none. */
static bool grant_heard(uint32_t client, struct event *ret)
{
    struct message m;

    while (net_recv(&net, client, &m)) {
        bool found = m.kind == MESSAGE_EVENT && m.u.event.kind == CHANGE_GRANT;

        if (found) {
            *ret = m.u.event;
        }
        codec_message_done(&m);
        if (found) {
            return true;
        }
    }
    return false;
}

/* Who waits on another member is told there, and nobody else is. */
Test(node_lock, a_grant_goes_to_who_waited)
{
    uint64_t f = make_file("f");
    struct event e = {0};
    struct reply r;

    cr_assert_eq(0, flock_it(0, f, LOCK_TYPE_EXCLUSIVE, &r));
    cr_assert(r.u.lock.granted);
    cr_assert_eq(r.u.lock.fence, r.index);
    cr_assert_eq(0, flock_it(1, f, LOCK_TYPE_EXCLUSIVE, &r));
    cr_assert_not(r.u.lock.granted);
    cr_assert_not(grant_heard(1, &e));
    cr_assert_eq(0, flock_it(0, f, LOCK_TYPE_NONE, &r));
    cr_assert(grant_heard(1, &e));
    cr_assert_eq(e.attr.id, f);
    cr_assert_eq(e.session, net.clients[1].session);
    cr_assert_eq(e.xid, 71);
    cr_assert_eq(e.index, r.index);
    cr_assert_eq(e.lock_kind, LOCK_KIND_FLOCK);
    cr_assert_not(e.more);
    cr_assert_not(grant_heard(0, &e));
    cr_assert_not(grant_heard(2, &e));
    cr_assert_eq(0, flock_it(1, f, LOCK_TYPE_EXCLUSIVE, &r)); /* as one asks that was away */
    cr_assert(r.u.lock.granted);
    cr_assert_eq(r.u.lock.fence, e.index);
}

/* A session that closes hands over what it held. */
Test(node_lock, a_closed_session_hands_over)
{
    uint64_t f = make_file("f");
    struct request close = {.op = OP_SESSION_CLOSE};
    struct event e;
    struct reply r;

    cr_assert_eq(0, flock_it(0, f, LOCK_TYPE_EXCLUSIVE, &r));
    cr_assert_eq(0, flock_it(2, f, LOCK_TYPE_SHARED, &r));
    net_send(&net, 0, &close);
    net_run(&net, 100);
    cr_assert(grant_heard(2, &e));
    cr_assert_eq(e.xid, 72);
}

/* Every member answers who is in the way. */
Test(node_lock, test_of_a_lock)
{
    uint64_t f = make_file("f");
    struct request q = {.op = OP_LOCK_TEST};
    struct lock lock = {LOCK_KIND_FLOCK, LOCK_TYPE_SHARED, 1, 0, UINT64_MAX, 6};
    struct reply r;

    q.u.lock_test.id = f;
    q.u.lock_test.lock = lock;
    cr_assert_eq(0, net_call(&net, 2, &q, &r));
    cr_assert_not(r.u.lock_test.found);
    cr_assert_eq(0, flock_it(0, f, LOCK_TYPE_EXCLUSIVE, &r));
    q.xid = 0;
    cr_assert_eq(0, net_call(&net, 2, &q, &r));
    cr_assert(r.u.lock_test.found);
    cr_assert_eq(r.u.lock_test.entry.session, net.clients[0].session);
    cr_assert_eq(r.u.lock_test.entry.lock.owner, 70);
    cr_assert_eq(r.u.lock_test.entry.lock.pid, 5);
    q.xid = 0;
    q.u.lock_test.id = 999;
    cr_assert_eq(ERR_NOENT, net_call(&net, 2, &q, &r));
    q.xid = 0;
    q.u.lock_test.id = TREE_ROOT_ID;
    cr_assert_eq(ERR_ISDIR, net_call(&net, 2, &q, &r));
    q.xid = 0;
    q.u.lock_test.id = f;
    q.u.lock_test.lock.start = 5;
    q.u.lock_test.lock.end = 4;
    cr_assert_eq(ERR_INVAL, net_call(&net, 2, &q, &r));
}

static bool name_is(struct name name, const char *text)
{
    return name.size == strlen(text) && memcmp(name.bytes, text, name.size) == 0;
}

/* The locks of all nodes by id, or of one, held ones first. */
Test(node_lock, list_of_locks)
{
    uint64_t f = make_file("f");
    uint64_t g = make_file("g");
    struct request q = {.op = OP_LOCKS};
    struct reply r;

    cr_assert_eq(0, flock_it(0, g, LOCK_TYPE_EXCLUSIVE, &r));
    cr_assert_eq(0, flock_it(1, f, LOCK_TYPE_EXCLUSIVE, &r));
    cr_assert_eq(0, flock_it(2, f, LOCK_TYPE_SHARED, &r));
    cr_assert_eq(0, net_call(&net, 2, &q, &r));
    cr_assert(r.u.locks.end);
    cr_assert_eq(3, r.u.locks.count);
    cr_assert_eq(f, r.u.locks.list[0].node);
    cr_assert(name_is(r.u.locks.list[0].path, "/f"));
    cr_assert_eq(net.clients[1].session, r.u.locks.list[0].session);
    cr_assert_gt(r.u.locks.list[0].label.size, 0);
    cr_assert_not(r.u.locks.list[0].waiting);
    cr_assert_eq(f, r.u.locks.list[1].node);
    cr_assert_eq(0, r.u.locks.list[1].path.size);
    cr_assert(r.u.locks.list[1].waiting);
    cr_assert(name_is(r.u.locks.list[2].path, "/g"));
    codec_reply_done(&r);
    q.xid = 0;
    q.u.locks.after = f;
    cr_assert_eq(0, net_call(&net, 2, &q, &r));
    cr_assert_eq(1, r.u.locks.count);
    codec_reply_done(&r);
    q.xid = 0;
    q.u.locks.after = 0;
    q.u.locks.id = f;
    cr_assert_eq(0, net_call(&net, 2, &q, &r));
    cr_assert_eq(2, r.u.locks.count);
    cr_assert(r.u.locks.end);
    codec_reply_done(&r);
    q.xid = 0;
    q.u.locks.id = 999;
    cr_assert_eq(ERR_NOENT, net_call(&net, 2, &q, &r));
}

/* A list that is longer than a reply goes on behind its last node, and ends once. */
Test(node_lock, list_in_pages)
{
    enum { FILES = LOCK_ENTRIES_MAX + 3 };
    struct request q = {.op = OP_LOCKS};
    uint64_t first = 0, last = 0;
    struct reply r;

    for (uint32_t i = 0; i < FILES; i++) {
        struct request lock = {.op = OP_LOCK};
        char name[16];

        snprintf(name, sizeof(name), "f%u", i);
        cr_assert_eq(0, net_create(&net, 0, name, &r));
        last = r.u.create.attr.id;
        first = i == 0 ? last : first;
        codec_reply_done(&r);
        lock.u.lock.id = last;
        lock.u.lock.lock = (struct lock){LOCK_KIND_FLOCK, LOCK_TYPE_SHARED, 1, 0, UINT64_MAX, 5};
        cr_assert_eq(0, net_call(&net, 0, &lock, &r));
    }
    cr_assert_eq(0, net_call(&net, 0, &q, &r));
    cr_assert_eq(LOCK_ENTRIES_MAX, r.u.locks.count);
    cr_assert_not(r.u.locks.end);
    cr_assert_eq(first, r.u.locks.list[0].node);
    q.xid = 0;
    q.u.locks.after = r.u.locks.list[LOCK_ENTRIES_MAX - 1].node;
    codec_reply_done(&r);
    cr_assert_eq(0, net_call(&net, 0, &q, &r));
    cr_assert_eq(3, r.u.locks.count);
    cr_assert(r.u.locks.end);
    cr_assert_lt(q.u.locks.after, r.u.locks.list[0].node);
    cr_assert_eq(last, r.u.locks.list[2].node);
    codec_reply_done(&r);
}
