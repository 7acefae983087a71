/* The changes of one log entry are shown together, or not at all. */
#include "test_client_fixture.h"

static void send_part(struct server *sv, uint64_t index, bool more)
{
    struct event e = {.index = index,
                      .dir = 1,
                      .name = {"x", 1},
                      .kind = CHANGE_SET,
                      .more = more,
                      .attr.type = NODE_FILE};
    struct buf b = {0};

    codec_encode_event(&b, &e);
    stream_send(sv->s, b.data, b.size);
    buf_done(&b);
}

/* Everything that was sent so far has arrived: a read was answered behind it. */
static void pass_a_read(struct fixture *f, struct server *sv)
{
    struct outcome o;
    int note = sv->count;

    submit(f, OP_GETATTR, 0, &o);
    RUN_UNTIL(f, sv->count == note + 1);
    reply_to(sv, note, 0, 1);
    RUN_UNTIL(f, o.err != NOT_YET);
    cr_assert_eq(o.err, 0);
}

Test(client_group, a_group_is_shown_when_its_last_change_has_come)
{
    struct fixture f;
    struct server *sv = &f.servers[0];
    struct outcome o;
    struct client_info info;

    setup_attached(&f);
    pass_a_read(&f, sv);
    submit(&f, OP_GETATTR, 0, &o);
    RUN_UNTIL(&f, sv->count == 3);
    send_part(sv, 50, true);
    send_part(sv, 50, true);
    stream_flush(sv->s);
    for (int i = 0; i < 20; i++) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    cr_assert_eq(f.events, 0);
    client_info(f.client, &info);
    cr_assert_lt(info.index_seen, 50);
    send_part(sv, 50, false);
    send_part(sv, 51, false);
    reply_to(sv, 2, 0, 51);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(f.events_at_done, 4);
    cr_assert_eq(f.event_index, 51);
    client_info(f.client, &info);
    cr_assert_eq(info.index_seen, 51);
    teardown(&f);
}

Test(client_group, a_group_that_breaks_off_is_not_shown_and_not_seen)
{
    struct fixture f;

    setup_attached(&f);
    send_part(&f.servers[0], 50, false);
    send_part(&f.servers[0], 51, true);
    RUN_UNTIL(&f, f.events == 1);
    stream_close(f.servers[0].s);
    RUN_UNTIL(&f, f.attaches == 2);
    cr_assert_eq(f.servers[1].notes[0].index_seen, 50);
    send_part(&f.servers[1], 51, true); /* told again, from its beginning */
    send_part(&f.servers[1], 51, false);
    RUN_UNTIL(&f, f.events == 3);
    teardown(&f);
}

Test(client_group, a_reply_inside_a_group_ends_the_stream)
{
    struct fixture f;
    struct outcome o;

    setup_attached(&f);
    submit(&f, OP_GETATTR, 0, &o);
    RUN_UNTIL(&f, f.servers[0].count == 2);
    send_part(&f.servers[0], 50, true);
    reply_to(&f.servers[0], 1, 0, 50);
    f.servers[1].answer = true;
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, 0);
    cr_assert_eq(f.attaches, 2, "answered by the next server");
    cr_assert_eq(f.events, 0);
    teardown(&f);
}

Test(client_group, another_entry_inside_a_group_ends_the_stream)
{
    struct fixture f;

    setup_attached(&f);
    send_part(&f.servers[0], 50, true);
    send_part(&f.servers[0], 51, false);
    RUN_UNTIL(&f, f.attaches == 2);
    cr_assert_eq(f.events, 0);
    cr_assert_eq(f.servers[1].notes[0].index_seen, 0);
    teardown(&f);
}
