#include "test_tree_help.h"

static struct request create_request(uint64_t xid, uint64_t floor, const char *name)
{
    struct request r = {.op = OP_CREATE, .xid = xid, .xid_floor = floor};

    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.name = name_of(name);
    r.u.create.type = NODE_FILE;
    return r;
}

/* A session's id is the index of the entry that opened it; the same key finds the same session,
 * with the timeout that was granted at first. */
Test(tree_session, open_is_idempotent_by_key)
{
    struct world w = world_new();
    struct request r = {.op = OP_SESSION_OPEN, .xid = 1};
    struct tree_session s;

    cr_assert_eq(w.session, 1);
    r.u.session_open.key.bytes[15] = 9;
    r.u.session_open.timeout_ms = 1;
    r.u.session_open.label = name_of("host-a");
    cr_assert_eq(world_apply(&w, 0, &r), 0);
    cr_assert_eq(w.last.session, 2);
    cr_assert_eq(w.last.reply.u.hello.session, 2);
    cr_assert_eq(w.last.reply.u.hello.timeout_ms, 1000);
    cr_assert_eq(w.last.reply.u.hello.value_size_max, 1 << 20);
    cr_assert(!w.last.duplicate);
    r.u.session_open.timeout_ms = 60000;
    cr_assert_eq(world_apply(&w, 0, &r), 0);
    cr_assert(w.last.duplicate);
    cr_assert_eq(w.last.session, 2);
    cr_assert_eq(w.last.reply.u.hello.timeout_ms, 1000);
    cr_assert_eq(tree_session_count(w.tree), 2);
    cr_assert(tree_session_find(w.tree, &r.u.session_open.key, &s));
    cr_assert_eq(s.id, 2);
    cr_assert_str_eq(s.label, "host-a");
    r.u.session_open.key.bytes[15] = 10;
    r.u.session_open.timeout_ms = UINT32_MAX;
    cr_assert_eq(world_apply(&w, 0, &r), 0);
    cr_assert_eq(w.last.reply.u.hello.timeout_ms, 3600 * 1000);
    world_done(&w);
}

/* A retry hears the reply of the first time, down to the name that was made and the index, and
 * changes nothing. */
Test(tree_session, retry_hears_the_first_reply)
{
    struct world w = world_new();
    struct request r = create_request(7, 0, "job-");

    r.u.create.flags = CREATE_SEQUENTIAL;
    cr_assert_eq(world_apply(&w, w.session, &r), 0);
    cr_assert_eq(w.last.reply.index, 2);
    cr_assert_eq(w.last.change_count, 1);
    cr_assert_eq(world_apply(&w, w.session, &r), 0);
    cr_assert(w.last.duplicate);
    cr_assert_eq(w.last.session, w.session);
    cr_assert_eq(w.last.change_count, 0);
    cr_assert_eq(w.last.reply.index, 2);
    cr_assert_eq(w.last.reply.xid, 7);
    cr_assert(name_equals(w.last.reply.u.create.name, "job-0000000000"));
    cr_assert_eq(w.last.reply.u.create.attr.id, 2);
    cr_assert_eq(tree_node_count(w.tree), 2);
    world_done(&w);
}

/* A refusal is remembered like a success: the retry does not get through because the reason has
 * gone meanwhile. */
Test(tree_session, refusal_is_remembered)
{
    struct world w = world_new();
    struct request first = create_request(1, 0, "a");
    struct request second = create_request(2, 0, "a");
    struct request gone = {.op = OP_REMOVE, .xid = 3};

    gone.u.remove.dir = TREE_ROOT_ID;
    gone.u.remove.name = name_of("a");
    cr_assert_eq(world_apply(&w, w.session, &first), 0);
    cr_assert_eq(world_apply(&w, w.session, &second), ERR_EXISTS);
    cr_assert_eq(world_apply(&w, w.session, &gone), 0);
    cr_assert_eq(w.last.reply.u.remove.id, 2);
    cr_assert_eq(world_apply(&w, w.session, &second), ERR_EXISTS);
    cr_assert(w.last.duplicate);
    cr_assert_eq(w.last.reply.index, 3);
    cr_assert_eq(tree_node_count(w.tree), 1);
    world_done(&w);
}

/* Requests that arrive out of order are all applied once; below the floor none is. */
Test(tree_session, floor_ends_slots_and_requests)
{
    struct world w = world_new();
    struct request r5 = create_request(5, 0, "five");
    struct request r4 = create_request(4, 0, "four");
    struct request r6 = create_request(6, 5, "six");
    struct request r3 = create_request(3, 0, "three");
    struct tree_session s;

    cr_assert_eq(world_apply(&w, w.session, &r5), 0);
    cr_assert_eq(world_apply(&w, w.session, &r4), 0);
    cr_assert_eq(world_apply(&w, w.session, &r6), 0);
    cr_assert(tree_session_get(w.tree, w.session, &s));
    cr_assert_eq(s.xid_floor, 5);
    cr_assert_eq(s.slot_count, 2);
    cr_assert_eq(world_apply(&w, w.session, &r3), ERR_ABANDONED);
    cr_assert_eq(world_apply(&w, w.session, &r4), ERR_ABANDONED);
    cr_assert_eq(world_apply(&w, w.session, &r5), 0);
    cr_assert(w.last.duplicate);
    cr_assert_eq(tree_node_count(w.tree), 4);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* With all slots in use a request is refused without one, and gets through when the floor rises. */
Test(tree_session, slots_are_bounded)
{
    struct world w = world_new();
    struct request r = {.op = OP_REMOVE, .u.remove.dir = TREE_ROOT_ID};
    struct tree_session s;

    r.u.remove.name = name_of("none");
    for (r.xid = 1; r.xid <= 4096; r.xid++) {
        cr_assert_eq(world_apply(&w, w.session, &r), ERR_NOENT);
    }
    cr_assert_eq(world_apply(&w, w.session, &r), ERR_OVERLOAD);
    cr_assert(tree_session_get(w.tree, w.session, &s));
    cr_assert_eq(s.slot_count, 4096);
    r.xid_floor = 2;
    cr_assert_eq(world_apply(&w, w.session, &r), ERR_NOENT);
    cr_assert(!w.last.duplicate);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* A session that does not exist can ask for nothing. */
Test(tree_session, unknown_session_is_expired)
{
    struct world w = world_new();
    struct request r = create_request(1, 0, "a");

    cr_assert_eq(world_apply(&w, 99, &r), ERR_EXPIRED);
    cr_assert_eq(w.last.session, 99);
    cr_assert_eq(world_apply(&w, 0, &r), ERR_EXPIRED);
    cr_assert_eq(tree_node_count(w.tree), 1);
    world_done(&w);
}

/* A client closes its own session and no other. */
Test(tree_session, client_closes_its_own)
{
    struct world w = world_new();
    uint64_t other = world_open(&w, 2);
    struct request r = {.op = OP_SESSION_CLOSE, .xid = 1};

    r.u.session_close.session = other;
    cr_assert_eq(world_apply(&w, w.session, &r), ERR_PERM);
    cr_assert_eq(w.last.session_gone, 0);
    r.xid = 2;
    r.u.session_close.session = 0;
    cr_assert_eq(world_apply(&w, w.session, &r), 0);
    cr_assert_eq(w.last.session, w.session);
    cr_assert_eq(w.last.session_gone, w.session);
    cr_assert_eq(world_apply(&w, w.session, &r), ERR_EXPIRED);
    cr_assert_eq(w.last.session_gone, 0);
    cr_assert_eq(tree_session_count(w.tree), 1);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}

/* The leader closes the session it names; one that is gone is ERR_EXPIRED. The key is free again
 * and opens a new session. */
Test(tree_session, leader_closes_the_one_it_names)
{
    struct world w = world_new();
    struct request r = {.op = OP_SESSION_CLOSE};
    uint64_t first = world_open(&w, 2);

    r.u.session_close.session = first;
    cr_assert_eq(world_apply(&w, 0, &r), 0);
    cr_assert_eq(w.last.session_gone, first);
    cr_assert_eq(w.last.session, 0);
    cr_assert_eq(world_apply(&w, 0, &r), ERR_EXPIRED);
    cr_assert_eq(w.last.session_gone, 0);
    cr_assert_gt(world_open(&w, 2), first);
    world_done(&w);
}

/* Sessions are walked by rising id, whatever was closed between. */
Test(tree_session, walked_by_id)
{
    struct world w = world_new();
    struct request r = {.op = OP_SESSION_CLOSE};
    struct tree_session s;
    uint64_t two = world_open(&w, 2);
    uint64_t three = world_open(&w, 3);

    r.u.session_close.session = two;
    cr_assert_eq(world_apply(&w, 0, &r), 0);
    cr_assert(tree_session_next(w.tree, 0, &s));
    cr_assert_eq(s.id, w.session);
    cr_assert(tree_session_next(w.tree, s.id, &s));
    cr_assert_eq(s.id, three);
    cr_assert(!tree_session_next(w.tree, s.id, &s));
    cr_assert(!tree_session_get(w.tree, two, &s));
    world_done(&w);
}

/* The number of sessions is bounded; one that ends makes room. */
Test(tree_session, sessions_are_bounded)
{
    struct world w = world_new();
    struct request open = {.op = OP_SESSION_OPEN};
    struct request close = {.op = OP_SESSION_CLOSE};
    int err = 0;

    for (int i = 1; i < 65536 && err == 0; i++) {
        open.u.session_open.key.bytes[8] = (uint8_t)i;
        open.u.session_open.key.bytes[9] = (uint8_t)(i >> 8);
        err = world_apply(&w, 0, &open);
    }
    cr_assert_eq(err, 0);
    cr_assert_eq(tree_session_count(w.tree), 65536);
    open.u.session_open.key.bytes[0] = 1;
    cr_assert_eq(world_apply(&w, 0, &open), ERR_OVERLOAD);
    close.u.session_close.session = w.session;
    cr_assert_eq(world_apply(&w, 0, &close), 0);
    cr_assert_eq(world_apply(&w, 0, &open), 0);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}
