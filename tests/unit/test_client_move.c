/* A member without a quorum is left, if another one has it. */
#include "test_client_fixture.h"

Test(client_move, what_is_refused_for_want_of_a_quorum_goes_on_at_another_server)
{
    static const enum op ops[] = {OP_SET, OP_SYNC};

    for (int i = 0; i < 2; i++) {
        struct fixture f;
        struct outcome o;

        setup_attached(&f);
        submit(&f, ops[i], 0, &o);
        RUN_UNTIL(&f, f.servers[0].count == 2);
        f.servers[1].quorum = f.servers[1].answer = true;
        reply_to(&f.servers[0], 1, ERR_NO_QUORUM, 0);
        RUN_UNTIL(&f, o.err != NOT_YET);
        cr_assert_eq(o.err, 0);
        cr_assert_eq(f.fresh, 1);
        cr_assert_eq(f.attaches, 2);
        cr_assert(f.servers[1].notes[0].resume);
        cr_assert_eq(f.servers[1].notes[1].op, ops[i]);
        cr_assert_eq(f.servers[1].notes[1].xid, f.servers[0].notes[1].xid);
        teardown(&f);
    }
}

Test(client_move, a_read_that_is_refused_stays_refused)
{
    struct fixture f;
    struct outcome o;

    setup_attached(&f);
    submit(&f, OP_GETATTR, 0, &o);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    reply_to(&f.servers[0], 1, ERR_NO_QUORUM, 0);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, ERR_NO_QUORUM);
    cr_assert_eq(f.attaches, 1);
    teardown(&f);
}

Test(client_move, all_that_waits_is_sent_again_in_its_order)
{
    struct fixture f;
    struct outcome o[4];

    setup_attached(&f);
    submit(&f, OP_SET, 0, &o[0]);
    submit(&f, OP_SET, 0, &o[1]);
    submit(&f, OP_GETATTR, 0, &o[2]);
    submit(&f, OP_SET, 0, &o[3]);
    RUN_UNTIL(&f, f.servers[0].count == 5);
    f.servers[1].quorum = f.servers[1].answer = true;
    reply_to(&f.servers[0], 2, ERR_NO_QUORUM, 0);
    RUN_UNTIL(&f, ended == 4);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(o[i].err, 0);
        cr_assert_eq(f.servers[1].notes[1 + i].xid, f.servers[0].notes[1 + i].xid);
    }
    teardown(&f);
}

/* Then nobody is asked again for a while. */
Test(client_move, without_a_quorum_anywhere_the_refusal_is_the_answer)
{
    struct fixture f;
    struct server *first = &f.servers[0];
    struct outcome o;

    setup_attached(&f);
    for (int i = 0; i < 4; i++) {
        struct outcome read;

        submit(&f, i % 2 == 0 ? OP_SET : OP_SYNC, 0, &o);
        submit(&f, OP_GETATTR, 0, &read);
        RUN_UNTIL(&f, first->count == 3 + 2 * i);
        reply_to(first, 1 + 2 * i, ERR_NO_QUORUM, 0);
        reply_to(first, 2 + 2 * i, 0, 1);
        RUN_UNTIL(&f, o.err != NOT_YET && read.err != NOT_YET);
        cr_assert_eq(o.err, ERR_NO_QUORUM);
        cr_assert_eq(read.err, 0);
    }
    cr_assert_eq(f.servers[1].statuses, 1);
    cr_assert_eq(f.attaches, 1, "it went nowhere");
    teardown(&f);
}

/* A write was refused, and the other server is asked: a process that stands still, which accepts
 * connections and says nothing. */
static void setup_searching(struct fixture *f, struct outcome *write)
{
    setup_attached(f);
    f->servers[1].hello_err = NOT_YET;
    submit(f, OP_SET, 0, write);
    RUN_UNTIL(f, f->servers[0].count == 2);
    reply_to(&f->servers[0], 1, ERR_NO_QUORUM, 0);
    RUN_UNTIL(f, f->servers[1].statuses == 1);
}

Test(client_move, reads_are_answered_while_another_member_is_sought)
{
    struct fixture f;
    struct outcome write;
    struct outcome read;

    setup_searching(&f, &write);
    submit(&f, OP_GETATTR, 0, &read);
    RUN_UNTIL(&f, f.servers[0].count == 3);
    reply_to(&f.servers[0], 2, 0, 1);
    RUN_UNTIL(&f, read.err != NOT_YET);
    cr_assert_eq(write.err, NOT_YET);
    RUN_UNTIL(&f, write.err != NOT_YET);
    cr_assert_eq(write.err, ERR_NO_QUORUM);
    cr_assert_eq(f.attaches, 1);
    teardown(&f);
}

Test(client_move, members_that_claim_a_quorum_and_refuse_are_tried_once)
{
    struct fixture f;
    struct outcome o;

    setup_attached(&f);
    for (int i = 0; i < SERVERS; i++) {
        f.servers[i].quorum = f.servers[i].answer = true;
        f.servers[i].answer_err = ERR_NO_QUORUM;
    }
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, ERR_NO_QUORUM);
    cr_assert_eq(f.attaches, 2);
    teardown(&f);
}

Test(client_move, a_search_ends_with_the_stream_of_the_member_that_refused)
{
    struct fixture f;
    struct outcome o;

    setup_searching(&f, &o);
    f.servers[1].hello_err = 0;
    f.servers[1].answer = true;
    stream_close(f.servers[0].s);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, 0);
    cr_assert_eq(f.attaches, 2);
    teardown(&f);
}

Test(client_move, a_client_that_searches_can_be_closed)
{
    struct fixture f;
    struct outcome o;

    setup_searching(&f, &o);
    teardown(&f);
    cr_assert_eq(o.err, ERR_CLOSED);
}

Test(client_move, after_a_write_that_went_well_it_asks_at_once_again)
{
    struct fixture f;
    struct server *first = &f.servers[0];
    struct outcome o;

    setup_attached(&f);
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, first->count == 2);
    reply_to(first, 1, ERR_NO_QUORUM, 0);
    RUN_UNTIL(&f, o.err == ERR_NO_QUORUM);
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, first->count == 3);
    reply_to(first, 2, 0, 9);
    RUN_UNTIL(&f, o.err == 0);
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, first->count == 4);
    f.servers[1].quorum = f.servers[1].answer = true;
    reply_to(first, 3, ERR_NO_QUORUM, 0);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, 0);
    cr_assert_eq(f.attaches, 2);
    teardown(&f);
}

Test(client_move, what_is_refused_and_finds_no_other_member_ends_refused_at_its_deadline)
{
    struct fixture f;
    struct outcome write;
    struct outcome sync;

    setup_attached(&f);
    submit(&f, OP_SET, 100, &write);
    submit(&f, OP_SYNC, 100, &sync);
    RUN_UNTIL(&f, f.servers[0].count == 3);
    f.servers[1].hello_err = NOT_YET;
    reply_to(&f.servers[0], 2, ERR_NO_QUORUM, 0);
    RUN_UNTIL(&f, ended == 2);
    cr_assert_eq(sync.err, ERR_NO_QUORUM);
    cr_assert_eq(write.err, ERR_TIMEOUT, "nobody refused it");
    teardown(&f);
}

Test(client_move, a_write_that_another_member_has_is_of_unknown_outcome_when_it_is_refused)
{
    struct fixture f;
    struct outcome o;

    setup_attached(&f);
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    stream_close(f.servers[0].s);
    RUN_UNTIL(&f, f.servers[1].count == 2);
    reply_to(&f.servers[1], 1, ERR_NO_QUORUM, 0);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, ERR_TIMEOUT);
    teardown(&f);
}

/* The member passed the write on before it was cut off: it has no answer, and cannot refuse it. */
Test(client_move, a_member_that_does_not_answer_a_write_is_asked_whether_it_has_a_quorum)
{
    struct fixture f;
    struct outcome o;

    setup_attached(&f);
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, f.servers[0].count == 3);
    cr_assert_eq(f.servers[0].notes[2].op, OP_SYNC);
    f.servers[1].quorum = f.servers[1].answer = true;
    reply_to(&f.servers[0], 2, ERR_NO_QUORUM, 0);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, 0);
    cr_assert_eq(f.servers[1].notes[1].xid, f.servers[0].notes[1].xid);
    teardown(&f);
}

Test(client_move, with_one_server_its_refusal_is_the_answer)
{
    struct fixture f;
    struct client_ops ops = {on_event, on_attach, on_detach};
    char list[300];
    struct client_conf conf = {.servers = list, .label = "test", .seed = 1};
    struct outcome o;

    setup(&f, false);
    net_addr_text(&f.servers[0].addr, list, sizeof(list));
    cr_assert_eq(client_new(&f.loop, &conf, &ops, &f, &f.client), 0);
    RUN_UNTIL(&f, f.attaches == 1);
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    reply_to(&f.servers[0], 1, ERR_NO_QUORUM, 0);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, ERR_NO_QUORUM);
    cr_assert_eq(f.attaches, 1);
    teardown(&f);
}
