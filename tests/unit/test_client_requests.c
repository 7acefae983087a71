#include "test_client_fixture.h"

Test(client_requests, a_server_list_that_does_not_parse_is_refused)
{
    uv_loop_t loop;
    struct client_conf conf = {.servers = "unix:/x+nonsense"};
    struct client *c = NULL;

    uv_loop_init(&loop);
    cr_assert_eq(client_new(&loop, &conf, NULL, NULL, &c), ERR_INVAL);
    cr_assert_null(c);
    uv_loop_close(&loop);
}

Test(client_requests, requests_before_the_first_attach_wait_and_then_go)
{
    struct fixture f;
    struct outcome o;
    struct client_info info;

    setup(&f, true);
    f.servers[0].answer = true;
    start_client(&f);
    submit(&f, OP_GETATTR, 0, &o);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, 0);
    cr_assert_eq(f.fresh, 1);
    cr_assert_eq(f.servers[0].notes[0].op, OP_HELLO);
    cr_assert(!f.servers[0].notes[0].resume);
    cr_assert_eq(f.servers[0].notes[1].op, OP_GETATTR);
    client_info(f.client, &info);
    cr_assert_eq(info.state, CLIENT_ATTACHED);
    cr_assert_eq(info.session, 77);
    cr_assert_eq(info.index_seen, 10);
    cr_assert_eq(info.in_flight, 0);
    teardown(&f);
}

Test(client_requests, replies_may_come_in_any_order)
{
    struct fixture f;
    struct server *sv = &f.servers[0];
    struct outcome o[3];

    setup_attached(&f);
    for (int i = 0; i < 3; i++) {
        submit(&f, OP_GETATTR, 0, &o[i]);
    }
    RUN_UNTIL(&f, sv->count == 4);
    reply_to(sv, 3, 0, 5);
    reply_to(sv, 1, ERR_NOENT, 6);
    reply_to(sv, 2, 0, 7);
    RUN_UNTIL(&f, ended == 3);
    cr_assert_eq(o[2].order, 1);
    cr_assert_eq(o[0].order, 2);
    cr_assert_eq(o[0].err, ERR_NOENT);
    cr_assert_eq(o[0].index, 6);
    cr_assert_eq(o[1].err, 0);
    teardown(&f);
}

Test(client_requests, events_come_before_the_reply_they_were_sent_before)
{
    struct fixture f;
    struct outcome o;

    setup_attached(&f);
    submit(&f, OP_GETATTR, 0, &o);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    send_event(&f.servers[0], 41);
    send_event(&f.servers[0], 42);
    reply_to(&f.servers[0], 1, 0, 42);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(f.events_at_done, 2);
    cr_assert_eq(f.event_index, 42);
    teardown(&f);
}

Test(client_requests, the_wire_deadline_is_the_time_left)
{
    struct fixture f;
    struct outcome o;

    setup_attached(&f);
    submit(&f, OP_GETATTR, 4000, &o);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    cr_assert_leq(f.servers[0].notes[1].deadline_ms, 4000);
    cr_assert_geq(f.servers[0].notes[1].deadline_ms, 3000);
    teardown(&f);
}

Test(client_requests, a_request_without_a_reply_ends_at_its_deadline)
{
    struct fixture f;
    struct outcome read;
    struct outcome write;
    uint64_t begin = uv_hrtime();

    setup_attached(&f);
    submit(&f, OP_GETATTR, 60, &read);
    submit(&f, OP_SET, 30, &write);
    RUN_UNTIL(&f, ended == 2);
    cr_assert_geq(uv_hrtime() - begin, 59 * 1000000ull);
    cr_assert_eq(write.err, ERR_TIMEOUT);
    cr_assert_eq(write.order, 1);
    cr_assert_eq(read.err, ERR_TIMEOUT);
    teardown(&f);
}

Test(client_requests, a_write_that_never_left_ends_with_no_quorum)
{
    struct fixture f;
    struct outcome read;
    struct outcome write;

    setup(&f, false);
    f.servers[0].hello_err = NOT_YET;
    start_client(&f);
    submit(&f, OP_SET, 20, &write);
    submit(&f, OP_GETATTR, 20, &read);
    cr_assert_eq(write.err, NOT_YET);
    RUN_UNTIL(&f, ended == 2);
    cr_assert_eq(write.err, ERR_NO_QUORUM);
    cr_assert_eq(read.err, ERR_TIMEOUT);
    teardown(&f);
}

Test(client_requests, a_late_reply_is_ignored)
{
    struct fixture f;
    struct outcome late;
    struct outcome o;

    setup_attached(&f);
    submit(&f, OP_SET, 5, &late);
    RUN_UNTIL(&f, late.err == ERR_TIMEOUT && f.servers[0].count == 2);
    reply_to(&f.servers[0], 1, 0, 9);
    f.servers[0].answer = true;
    submit(&f, OP_GETATTR, 0, &o);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, 0);
    cr_assert_eq(f.detaches, 0);
    teardown(&f);
}

Test(client_requests, cancelling_ends_a_request_from_the_loop)
{
    struct fixture f;
    struct outcome o;
    uint64_t xid;

    setup_attached(&f);
    xid = submit(&f, OP_SET, 0, &o);
    cr_assert(client_is_pending(f.client, xid));
    client_cancel(f.client, xid);
    client_cancel(f.client, xid);
    cr_assert_eq(o.err, NOT_YET);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, ERR_INTR);
    cr_assert(!client_is_pending(f.client, xid));
    client_cancel(f.client, xid);
    teardown(&f);
}

Test(client_requests, more_writes_than_the_window_all_get_through)
{
    struct fixture f;
    struct outcome *o = mem_zalloc(5000 * sizeof(*o));

    setup_attached(&f);
    for (int i = 0; i < 5000; i++) {
        submit(&f, OP_SET, 0, &o[i]);
    }
    RUN_UNTIL(&f, f.servers[0].count == 2049);
    for (int i = 0; i < 10; i++) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    cr_assert_eq(f.servers[0].count, 2049);
    for (int i = 1; i < 2049; i++) {
        reply_to(&f.servers[0], i, 0, 1);
    }
    f.servers[0].answer = true;
    RUN_UNTIL(&f, ended == 5000);
    cr_assert_eq(o[4999].order, 5000);
    mem_free(o);
    teardown(&f);
}

Test(client_requests, a_value_or_name_that_no_member_decodes_is_refused_alone)
{
    struct fixture f;
    struct outcome big = {.err = NOT_YET};
    struct outcome named = {.err = NOT_YET};
    struct blob *b = blob_new_uninit((8 << 20) + 1);
    char name[4097] = {0};
    struct request set = {.op = OP_SET, .u.set = {.id = 1, .value = b}};
    struct request lookup = {.op = OP_LOOKUP, .u.lookup = {1, {name, sizeof(name)}, 0}};

    setup_attached(&f);
    client_submit(f.client, &set, on_done, &big);
    client_submit(f.client, &lookup, on_done, &named);
    blob_unref(b);
    cr_assert_eq(ended, 0);
    RUN_UNTIL(&f, ended == 2);
    cr_assert_eq(big.err, ERR_TOOBIG);
    cr_assert_eq(named.err, ERR_NAMETOOLONG);
    cr_assert_eq(f.servers[0].count, 1);
    teardown(&f);
}

Test(client_requests, a_blocking_call_returns_the_reply_with_names_that_hold)
{
    struct fixture f;
    struct request r = {.op = OP_CREATE, .u.create = {.dir = 1, .name = {"job-", 4}, .type = 1}};
    struct reply reply;

    setup(&f, false);
    f.servers[0].answer = true;
    start_client(&f);
    cr_assert_eq(client_call(f.client, &r, &reply), 0);
    cr_assert_eq(reply.u.create.name.size, 14);
    cr_assert_arr_eq(reply.u.create.name.bytes, "job-0000000012", 14);
    codec_reply_done(&reply);
    teardown(&f);
}

Test(client_requests, a_blocking_call_ends_at_its_deadline)
{
    struct fixture f;
    struct request r = {.op = OP_GETATTR, .deadline_ms = 20};
    struct reply reply;

    setup_attached(&f);
    cr_assert_eq(client_call(f.client, &r, &reply), ERR_TIMEOUT);
    codec_reply_done(&reply);
    teardown(&f);
}

Test(client_requests, walking_a_path_looks_up_name_after_name)
{
    struct fixture f;
    struct attr attr;
    struct name name;

    setup_attached(&f);
    f.servers[0].answer = true;
    cr_assert_eq(client_walk(f.client, "/a//b/", &attr), 0);
    cr_assert_eq(f.servers[0].count, 4);
    cr_assert_eq(f.servers[0].notes[1].op, OP_GETATTR);
    cr_assert_eq(f.servers[0].notes[3].op, OP_LOOKUP);
    cr_assert_eq(client_walk_parent(f.client, "/a/bcd/", &attr, &name), 0);
    cr_assert_eq(f.servers[0].count, 6);
    cr_assert_eq(name.size, 3);
    cr_assert_arr_eq(name.bytes, "bcd", 3);
    cr_assert_eq(client_walk(f.client, "/", &attr), 0);
    cr_assert_eq(client_walk_parent(f.client, "/", &attr, &name), ERR_INVAL);
    cr_assert_eq(client_walk(f.client, "a", &attr), ERR_INVAL);
    cr_assert_eq(client_walk(f.client, "", &attr), ERR_INVAL);
    teardown(&f);
}
