#include "test_client_fixture.h"

Test(client_session, what_has_no_answer_is_sent_again_with_its_xid_to_the_next_server)
{
    struct fixture f;
    struct outcome o[4];
    struct server *second = &f.servers[1];

    setup_attached(&f);
    submit(&f, OP_SET, 0, &o[0]);
    submit(&f, OP_GETATTR, 0, &o[1]);
    submit(&f, OP_SET, 0, &o[2]);
    RUN_UNTIL(&f, f.servers[0].count == 4);
    reply_to(&f.servers[0], 1, 0, 33);
    RUN_UNTIL(&f, o[0].err == 0);
    stream_close(f.servers[0].s);
    RUN_UNTIL(&f, f.detaches == 1);
    submit(&f, OP_SET, 0, &o[3]);
    second->answer = true;
    RUN_UNTIL(&f, ended == 4);
    cr_assert_eq(second->count, 4);
    cr_assert(second->notes[0].resume);
    cr_assert_eq(second->notes[0].index_seen, 33);
    cr_assert_arr_eq(second->notes[0].key.bytes, f.servers[0].notes[0].key.bytes, 16);
    cr_assert_eq(second->notes[1].xid, f.servers[0].notes[2].xid);
    cr_assert_eq(second->notes[2].xid, f.servers[0].notes[3].xid);
    cr_assert_gt(second->notes[3].xid, second->notes[2].xid);
    cr_assert_eq(second->notes[1].xid_floor, f.servers[0].notes[3].xid);
    cr_assert_eq(o[2].err, 0);
    cr_assert_eq(f.attaches, 2);
    cr_assert_eq(f.fresh, 1);
    teardown(&f);
}

Test(client_session, a_refusal_of_a_write_that_was_sent_before_leaves_its_outcome_unknown)
{
    struct fixture f;
    struct outcome again;
    struct outcome once;

    setup_attached(&f);
    submit(&f, OP_SET, 0, &again);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    stream_close(f.servers[0].s);
    RUN_UNTIL(&f, f.servers[1].count == 2);
    submit(&f, OP_SET, 0, &once);
    RUN_UNTIL(&f, f.servers[1].count == 3);
    reply_to(&f.servers[1], 1, ERR_NO_QUORUM, 0);
    reply_to(&f.servers[1], 2, ERR_NO_QUORUM, 0);
    RUN_UNTIL(&f, ended == 2);
    cr_assert_eq(again.err, ERR_TIMEOUT);
    cr_assert_eq(once.err, ERR_NO_QUORUM);
    teardown(&f);
}

/* A process that stands still accepts connections. */
Test(client_session, a_server_that_says_nothing_does_not_cost_a_request_its_deadline)
{
    struct fixture f;
    struct outcome o;

    setup_attached(&f);
    f.servers[1].hello_err = NOT_YET;
    f.servers[0].answer = true;
    stream_close(f.servers[0].s);
    RUN_UNTIL(&f, f.servers[1].hellos == 1);
    submit(&f, OP_SET, 4500, &o); /* HELLO alone may take 5 s when it opens a session */
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, 0);
    teardown(&f);
}

Test(client_session, what_is_submitted_in_on_attach_goes_before_what_is_sent_again)
{
    struct fixture f;
    struct outcome o;

    setup_attached(&f);
    f.submit_in_attach = true;
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    stream_close(f.servers[0].s);
    RUN_UNTIL(&f, f.servers[1].count == 3);
    cr_assert_eq(f.servers[1].notes[1].op, OP_INTEREST);
    cr_assert_eq(f.servers[1].notes[2].op, OP_SET);
    teardown(&f);
}

Test(client_session, an_expired_session_ends_writes_and_a_new_one_is_opened)
{
    struct fixture f;
    struct outcome write;
    struct outcome read;
    struct client_info info;

    setup_attached(&f);
    submit(&f, OP_SET, 0, &write);
    submit(&f, OP_GETATTR, 0, &read);
    RUN_UNTIL(&f, f.servers[0].count == 3);
    f.servers[1].hello_err = ERR_EXPIRED;
    f.servers[1].answer = true;
    stream_close(f.servers[0].s);
    RUN_UNTIL(&f, ended == 2);
    cr_assert_eq(write.err, ERR_EXPIRED);
    cr_assert_eq(write.order, 1);
    cr_assert_eq(read.err, 0);
    cr_assert_eq(f.servers[1].hellos, 2);
    cr_assert(f.servers[1].notes[0].resume);
    cr_assert(!f.servers[1].notes[1].resume);
    cr_assert_eq(f.servers[1].notes[1].index_seen, 0);
    cr_assert_arr_neq(f.servers[1].notes[1].key.bytes, f.servers[1].notes[0].key.bytes, 16);
    cr_assert_eq(f.servers[1].notes[2].op, OP_GETATTR);
    cr_assert_eq(f.fresh, 2);
    client_info(f.client, &info);
    cr_assert_eq(info.sessions_lost, 1);
    teardown(&f);
}

Test(client_session, a_member_that_refuses_hello_is_passed_over)
{
    struct fixture f;

    setup(&f, false);
    f.servers[0].hello_err = ERR_NO_QUORUM;
    start_client(&f);
    RUN_UNTIL(&f, f.attaches == 1);
    cr_assert_eq(f.servers[1].hellos, 1);
    teardown(&f);
}

Test(client_session, a_hello_sent_again_before_any_answer_does_not_claim_to_resume)
{
    struct fixture f;

    setup(&f, false);
    f.servers[0].hello_err = NOT_YET;
    start_client(&f);
    RUN_UNTIL(&f, f.servers[0].hellos == 1);
    stream_close(f.servers[0].s);
    RUN_UNTIL(&f, f.attaches == 1);
    cr_assert(!f.servers[1].notes[0].resume);
    cr_assert_arr_eq(f.servers[1].notes[0].key.bytes, f.servers[0].notes[0].key.bytes, 16);
    cr_assert_eq(f.fresh, 1);
    teardown(&f);
}

Test(client_session, a_server_that_is_not_there_is_passed_over)
{
    struct fixture f;

    setup(&f, false);
    listener_close(f.servers[0].listener);
    start_client(&f);
    RUN_UNTIL(&f, f.attaches == 1);
    cr_assert_eq(f.servers[1].hellos, 1);
    cr_assert_eq(listener_open(&f.loop, &f.servers[0].addr, 0600, server_accept, &f.servers[0],
                               &f.servers[0].listener),
                 0);
    teardown(&f);
}

static void nonsense_test(const void *bytes, size_t size)
{
    struct fixture f;
    struct outcome o;

    setup_attached(&f);
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    f.servers[1].answer = true;
    stream_send(f.servers[0].s, bytes, size);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, 0);
    cr_assert_eq(f.servers[1].count, 2);
    cr_assert_eq(f.detaches, 1);
    teardown(&f);
}

Test(client_session, a_malformed_message_makes_it_leave_for_the_next_server)
{
    nonsense_test("\xc1nonsense", 9);
}

Test(client_session, a_request_from_a_member_makes_it_leave_for_the_next_server)
{
    struct request r = {.op = OP_PING, .xid = 1};
    struct buf b = {0};

    codec_encode_request(&b, &r);
    nonsense_test(b.data, b.size);
    buf_done(&b);
}

Test(client_session, a_reply_of_another_kind_makes_it_leave_for_the_next_server)
{
    struct reply r = {.op = OP_SYNC, .xid = 2}; /* HELLO was 1, the write is 2 */
    struct buf b = {0};

    codec_encode_reply(&b, &r);
    nonsense_test(b.data, b.size);
    buf_done(&b);
}

Test(client_session, an_event_instead_of_the_reply_to_hello_makes_it_leave)
{
    struct fixture f;

    setup(&f, false);
    f.servers[0].hello_err = NOT_YET;
    start_client(&f);
    RUN_UNTIL(&f, f.servers[0].hellos == 1);
    send_event(&f.servers[0], 3);
    RUN_UNTIL(&f, f.attaches == 1);
    cr_assert_eq(f.servers[1].hellos, 1);
    cr_assert_eq(f.events, 0);
    teardown(&f);
}

Test(client_session, a_member_that_falls_silent_is_left)
{
    struct fixture f;
    struct outcome o;

    setup(&f, false);
    f.servers[0].timeout_ms = 1000;
    f.servers[0].answer_pings = false;
    f.servers[1].answer = true;
    start_client(&f);
    RUN_UNTIL(&f, f.attaches == 1);
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, 0);
    cr_assert_geq(f.servers[0].pings, 1);
    cr_assert_eq(f.servers[1].hellos, 1);
    teardown(&f);
}

Test(client_session, a_member_that_answers_pings_is_kept)
{
    struct fixture f;

    setup(&f, false);
    f.servers[0].timeout_ms = 1000;
    start_client(&f);
    RUN_UNTIL(&f, f.servers[0].pings == 5); /* more than twice the silence it would bear */
    cr_assert_eq(f.detaches, 0);
    teardown(&f);
}

Test(client_session, a_client_that_only_listens_still_lets_the_member_hear_of_it)
{
    struct fixture f;

    setup(&f, false);
    f.servers[0].timeout_ms = 1000;
    start_client(&f);
    RUN_UNTIL(&f, f.attaches == 1);
    while (f.servers[0].pings < 2) {
        send_event(&f.servers[0], 1);
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    teardown(&f);
}

Test(client_session, closing_ends_requests_and_closes_the_session)
{
    struct fixture f;
    struct outcome o;
    struct outcome after;

    setup_attached(&f);
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    client_close(f.client, 10 * 1000, on_closed, &f);
    submit(&f, OP_SET, 0, &after);
    cr_assert_eq(o.err, NOT_YET);
    RUN_UNTIL(&f, f.servers[0].count == 3);
    cr_assert_eq(o.err, ERR_CLOSED);
    cr_assert_eq(after.err, ERR_CLOSED);
    cr_assert_eq(f.servers[0].notes[2].op, OP_SESSION_CLOSE);
    cr_assert(!f.client_closed);
    reply_to(&f.servers[0], 2, 0, 1);
    RUN_UNTIL(&f, f.client_closed);
    teardown(&f);
}

Test(client_session, closing_waits_no_longer_than_told)
{
    struct fixture f;

    setup_attached(&f);
    client_close(f.client, 30, on_closed, &f);
    RUN_UNTIL(&f, f.client_closed);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    cr_assert_eq(f.servers[0].notes[1].op, OP_SESSION_CLOSE);
    teardown(&f);
}

Test(client_session, closing_ends_at_once_when_the_member_hangs_up)
{
    struct fixture f;

    setup_attached(&f);
    client_close(f.client, 60 * 1000, on_closed, &f);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    stream_close(f.servers[0].s);
    RUN_UNTIL(&f, f.client_closed);
    teardown(&f);
}

Test(client_session, closing_works_at_every_step_of_connecting)
{
    for (int steps = 0; steps < 12; steps++) {
        struct fixture f;
        struct outcome o;

        setup(&f, steps % 2 == 0);
        f.servers[0].hello_err = NOT_YET;
        start_client(&f);
        submit(&f, OP_SET, 0, &o);
        for (int i = 0; i < steps; i++) {
            uv_run(&f.loop, UV_RUN_NOWAIT);
        }
        client_close(f.client, 10 * 1000, on_closed, &f);
        RUN_UNTIL(&f, f.client_closed);
        cr_assert_eq(o.err, ERR_CLOSED);
        teardown(&f);
    }
}

/* Closes the client in the callback of one of its requests, submits another there. */
static void close_in_done(void *ctx, void *arg, const struct reply *r)
{
    struct fixture *f = ctx;

    (void)r;
    client_close(f->client, 0, on_closed, f);
    submit(f, OP_SET, 0, arg);
}

Test(client_session, closing_inside_a_callback)
{
    struct fixture f;
    struct outcome o;
    struct request r = {.op = OP_GETATTR};

    setup_attached(&f);
    f.servers[0].answer = true;
    client_submit(f.client, &r, close_in_done, &o);
    RUN_UNTIL(&f, f.client_closed);
    cr_assert_eq(o.err, ERR_CLOSED);
    teardown(&f);
}
