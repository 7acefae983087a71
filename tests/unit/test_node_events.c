/* Changes on their way to clients: groups, the subscription to everything, the window, the log. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "mem.h"
#include "node_int.h"
#include "nodenet.h"

static struct net net;
static uint64_t A, B, C; /* directories: nobody is subscribed to what is not there */

static uint64_t make_dir(uint32_t client, const char *name)
{
    struct request r = {.op = OP_CREATE};
    struct reply reply;
    uint64_t id;

    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.name = net_name(name);
    r.u.create.type = NODE_DIR;
    cr_assert_eq(0, net_call(&net, client, &r, &reply));
    id = reply.u.create.attr.id;
    codec_reply_done(&reply);
    return id;
}

static void setup(void)
{
    enum { MAKER = 7 };

    memset(&net, 0, sizeof(net));
    net_start(&net, 1);
    net_await_leader(&net);
    net_connect(&net, MAKER, 1);
    cr_assert_eq(0, net_hello(&net, MAKER, MAKER + 1, false, 0));
    A = make_dir(MAKER, "A");
    B = make_dir(MAKER, "B");
    C = make_dir(MAKER, "C");
    net_disconnect(&net, MAKER);
}

static void teardown(void)
{
    net_done(&net);
    cr_assert(!net.stopped);
}

TestSuite(node_events, .init = setup, .fini = teardown);

static void attach(uint32_t client)
{
    net_connect(&net, client, 1);
    cr_assert_eq(0, net_hello(&net, client, (uint8_t)(client + 1), false, 0));
}

static int subscribe_from(uint32_t client, uint64_t dir, uint64_t index_from)
{
    struct request r = {.op = OP_INTEREST, .u.interest = {index_from, 1, &dir}};
    struct message m;

    net_send(&net, client, &r);
    net_settle(&net);
    /* The repeated events stay to be received, the reply is behind them. */
    for (uint32_t i = net.clients[client].in_count; i-- > net.clients[client].in_read;) {
        struct blob *bytes = net.clients[client].inbox[i];

        cr_assert_eq(0, codec_decode(bytes->data, bytes->size, &m));
        if (m.kind == MESSAGE_REPLY) {
            cr_assert_eq(OP_INTEREST, m.u.reply.op);
            net.clients[client].in_count--;
            blob_unref(bytes);
            return m.u.reply.err;
        }
        codec_message_done(&m);
    }
    cr_assert_fail("no reply");
    return 0;
}

static void subscribe(uint32_t client, uint64_t dir)
{
    cr_assert_eq(0, subscribe_from(client, dir, 0));
}

static uint64_t hear_all(uint32_t client, bool on, uint64_t index_from)
{
    struct request r = {.op = OP_EVENTS, .u.events = {on, index_from}};
    struct message m = {0};
    uint32_t last;

    net_send(&net, client, &r);
    net_settle(&net);
    last = --net.clients[client].in_count; /* it is behind all that is repeated */
    cr_assert_eq(0, codec_decode(net.clients[client].inbox[last]->data,
                                 net.clients[client].inbox[last]->size, &m));
    cr_assert_eq(MESSAGE_REPLY, m.kind);
    cr_assert_eq(OP_EVENTS, m.u.reply.op);
    cr_assert_eq(0, m.u.reply.err);
    blob_unref(net.clients[client].inbox[last]);
    return m.u.reply.u.events.index_from;
}

static uint64_t now(void)
{
    return tree_index(node_tree(net.nodes[1]));
}

static struct event change(uint64_t index, uint64_t dir, const char *name)
{
    return (struct event){.index = index,
                          .dir = dir,
                          .name = net_name(name),
                          .kind = CHANGE_SET,
                          .attr = {.id = 9, .parent = dir, .type = NODE_FILE}};
}

static struct event move(uint64_t index, uint64_t from, const char *from_name, uint64_t to,
                         const char *name)
{
    struct event e = change(index, to, name);

    e.kind = CHANGE_MOVE;
    e.from_dir = from;
    e.from_name = net_name(from_name);
    return e;
}

static void publish(struct event *group, uint32_t count)
{
    for (uint32_t i = 0; i + 1 < count; i++) {
        group[i].more = true;
    }
    node_publish(net.nodes[1], group, count);
}

static void publish_one(struct event e)
{
    publish(&e, 1);
}

/* The next message is the event of (dir, name). */
static void assert_event(uint32_t client, uint64_t index, uint64_t dir, const char *name, bool more)
{
    struct message m;

    cr_assert(net_recv(&net, client, &m), "client %u: no event %s", client, name);
    cr_assert_eq(MESSAGE_EVENT, m.kind);
    cr_assert_eq(index, m.u.event.index);
    cr_assert_eq(dir, m.u.event.dir);
    cr_assert_eq(strlen(name), m.u.event.name.size);
    cr_assert_eq(0, memcmp(name, m.u.event.name.bytes, m.u.event.name.size));
    cr_assert_eq(more, m.u.event.more);
    codec_message_done(&m);
}

static void assert_nothing(uint32_t client)
{
    struct message m;

    cr_assert(!net_recv(&net, client, &m), "client %u was told more", client);
}

Test(node_events, a_group_goes_whole_to_each_session_that_one_of_its_changes_concerns)
{
    uint64_t index = now() + 1;
    struct event group[] = {change(index, A, "a"), change(index, B, "b"), change(index, A, "c")};

    for (uint32_t i = 0; i < 5; i++) {
        attach(i);
    }
    subscribe(0, A);
    subscribe(1, B);
    subscribe(2, A);
    subscribe(2, B);
    hear_all(2, true, 0);
    hear_all(3, true, 0);
    subscribe(4, C);
    publish(group, 3);
    for (uint32_t i = 0; i < 4; i++) {
        assert_event(i, index, A, "a", true);
        assert_event(i, index, B, "b", true);
        assert_event(i, index, A, "c", false);
        assert_nothing(i);
    }
    assert_nothing(4);
}

Test(node_events, a_single_change_goes_once_to_those_it_concerns)
{
    uint64_t index = now() + 1;

    for (uint32_t i = 0; i < 3; i++) {
        attach(i);
    }
    subscribe(0, A);
    hear_all(0, true, 0);
    subscribe(1, A);
    subscribe(2, B);
    publish_one(change(index, A, "a"));
    assert_event(0, index, A, "a", false);
    assert_event(1, index, A, "a", false);
    for (uint32_t i = 0; i < 3; i++) {
        assert_nothing(i);
    }
}

Test(node_events, a_move_concerns_the_directory_it_leaves_and_the_one_it_enters)
{
    uint64_t index = now() + 1;

    for (uint32_t i = 0; i < 4; i++) {
        attach(i);
    }
    subscribe(0, A);
    subscribe(1, B);
    subscribe(2, A);
    subscribe(2, B);
    subscribe(3, C);
    publish_one(move(index, A, "old", B, "new"));
    for (uint32_t i = 0; i < 3; i++) {
        assert_event(i, index, B, "new", false);
        assert_nothing(i);
    }
    assert_nothing(3);
}

Test(node_events, hearing_everything_ends_when_told_and_with_the_stream)
{
    uint64_t index = now() + 1;

    attach(0);
    attach(1);
    hear_all(0, true, 0);
    hear_all(0, true, 0); /* twice is fine */
    hear_all(1, true, 0);
    publish_one(change(index, A, "a"));
    assert_event(0, index, A, "a", false);
    assert_nothing(0);
    hear_all(0, false, 0);
    hear_all(0, false, 0);
    net_disconnect(&net, 1);
    publish_one(change(index + 1, A, "b"));
    assert_nothing(0);
    net_connect(&net, 1, 1);
    cr_assert_eq(0, net_hello(&net, 1, 2, true, now()));
    publish_one(change(index + 2, A, "c"));
    assert_nothing(1);
}

/* Creates are real entries here, so that "now" moves on with them. */
Test(node_events, hearing_everything_begins_with_what_was_missed)
{
    struct reply first, second;

    attach(0);
    attach(1);
    cr_assert_eq(0, net_create(&net, 0, "a", &first));
    cr_assert_eq(0, net_create(&net, 0, "b", &second));
    cr_assert_eq(first.index, hear_all(1, true, first.index));
    assert_event(1, second.index, TREE_ROOT_ID, "b", false);
    assert_nothing(1);
    cr_assert_eq(now(), hear_all(1, true, 0), "none is asked for");
    cr_assert_eq(now(), hear_all(1, true, now() + 1000), "what is to come comes");
    assert_nothing(1);
}

/* A group of changes that the window has no room for: all before is forgotten with it. */
static void publish_too_many(uint64_t index)
{
    enum { COUNT = EVENT_WINDOW_ENTRIES + 10 };
    struct event *group = mem_alloc(COUNT * sizeof(*group));

    for (uint32_t i = 0; i < COUNT; i++) {
        group[i] = change(index, A, "a");
    }
    publish(group, COUNT);
    mem_free(group);
}

Test(node_events, hearing_everything_tells_of_the_gap)
{
    struct reply first, second;

    attach(0);
    attach(1);
    publish_too_many(now() + 1);
    cr_assert_eq(0, net_create(&net, 0, "a", &first)); /* has the index of that group */
    cr_assert_eq(0, net_create(&net, 0, "b", &second));
    cr_assert_eq(first.index, hear_all(1, true, 1));
    assert_event(1, second.index, TREE_ROOT_ID, "b", false);
    assert_nothing(1);
}

Test(node_events, a_session_that_hears_everything_is_not_told_again_by_interest)
{
    struct reply reply;

    attach(0);
    attach(1);
    cr_assert_eq(0, net_create(&net, 0, "a", &reply));
    hear_all(1, true, reply.index - 1);
    assert_event(1, reply.index, TREE_ROOT_ID, "a", false);
    cr_assert_eq(0, subscribe_from(1, TREE_ROOT_ID, reply.index - 1));
    assert_nothing(1);
    hear_all(1, true, 0); /* it was told nevertheless */
    cr_assert_eq(0, subscribe_from(1, TREE_ROOT_ID, reply.index - 1));
    assert_nothing(1);
    hear_all(1, false, 0);
    hear_all(1, true, 0); /* from now on only */
    cr_assert_eq(0, subscribe_from(1, TREE_ROOT_ID, reply.index - 1));
    assert_event(1, reply.index, TREE_ROOT_ID, "a", false);
    assert_nothing(1);
}

Test(node_events, the_window_repeats_a_group_whole)
{
    uint64_t index = now() + 1;
    struct event group[] = {change(index, A, "a"), change(index, B, "b")};

    attach(0);
    publish(group, 2);
    publish_one(change(index + 1, A, "later"));
    publish_one(move(index + 2, B, "x", C, "y"));
    cr_assert_eq(0, subscribe_from(0, B, index - 1));
    assert_event(0, index, A, "a", true);
    assert_event(0, index, B, "b", false);
    assert_event(0, index + 2, C, "y", false);
    assert_nothing(0);
    cr_assert_eq(0, subscribe_from(0, B, index));
    assert_event(0, index + 2, C, "y", false);
    assert_nothing(0);
}

/* A mount with more directories than one request names asks several times. */
Test(node_events, a_group_is_repeated_once_however_many_requests_it_concerns)
{
    uint64_t index = now() + 1;
    struct event group[] = {change(index, A, "a"), change(index, B, "b")};

    attach(0);
    publish(group, 2);
    publish_one(change(index + 1, A, "alone"));
    publish_one(move(index + 2, C, "x", B, "y"));
    cr_assert_eq(0, subscribe_from(0, C, index - 1));
    assert_event(0, index + 2, B, "y", false);
    assert_nothing(0);
    cr_assert_eq(0, subscribe_from(0, A, index - 1));
    assert_event(0, index, A, "a", true);
    assert_event(0, index, B, "b", false);
    assert_event(0, index + 1, A, "alone", false);
    assert_nothing(0);
    cr_assert_eq(0, subscribe_from(0, B, index - 1));
    assert_nothing(0);
    net_disconnect(&net, 0);
    net_connect(&net, 0, 1);
    cr_assert_eq(0, net_hello(&net, 0, 1, true, now()));
    cr_assert_eq(0, subscribe_from(0, B, index - 1));
    assert_event(0, index, A, "a", true);
    assert_event(0, index, B, "b", false);
    assert_event(0, index + 2, B, "y", false);
    assert_nothing(0);
}

Test(node_events, the_window_forgets_a_group_whole)
{
    uint64_t index = now() + 1;
    struct event group[] = {change(index, A, "a"), change(index, A, "b"), change(index, A, "c")};

    attach(0);
    publish(group, 3);
    for (uint32_t i = 1; i <= EVENT_WINDOW_ENTRIES - 3; i++) {
        publish_one(change(index + i, B, "b"));
    }
    cr_assert_eq(0, subscribe_from(0, A, index - 1));
    assert_event(0, index, A, "a", true);
    assert_event(0, index, A, "b", true);
    assert_event(0, index, A, "c", false);
    publish_one(change(index + EVENT_WINDOW_ENTRIES, A, "d"));
    cr_assert_eq(index, net.nodes[1]->window.floor);
    cr_assert_eq(ERR_COMPACTED, subscribe_from(0, A, index - 1));
    net.clients[0].in_read = net.clients[0].in_count;
    cr_assert_eq(0, subscribe_from(0, A, index));
    assert_event(0, index + EVENT_WINDOW_ENTRIES, A, "d", false);
    assert_nothing(0);
}

Test(node_events, a_group_larger_than_the_window_is_told_and_not_kept)
{
    uint64_t index = now() + 1;

    publish_too_many(index);
    cr_assert_eq(index, net.nodes[1]->window.floor);
    cr_assert_eq(0, net.nodes[1]->window.count);
    cr_assert_eq(0, net.nodes[1]->window.size);
    publish_one(change(index + 1, A, "b"));
    attach(0);
    cr_assert_eq(0, subscribe_from(0, A, index));
    assert_event(0, index + 1, A, "b", false);
    assert_nothing(0);
}

/* --- OP_LOG ---------------------------------------------------------------------------------- */

static void ask_log(uint32_t client, uint64_t dir, const char *name, uint64_t after,
                    struct reply *ret)
{
    struct request r = {.op = OP_LOG, .u.log = {dir, net_name(name), after}};

    cr_assert_eq(0, net_call(&net, client, &r, ret));
}

Test(node_events, the_log_of_a_name_follows_what_came_to_it_and_went)
{
    uint64_t index = now() + 1;
    struct event group[] = {change(index + 2, A, "n"), change(index + 2, A, "m"),
                            change(index + 2, A, "n")};
    struct event with_value = change(index, A, "n");
    struct reply r;

    with_value.has_value = true;
    with_value.value = blob_new("value", 5);
    attach(0);
    publish_one(with_value);
    blob_unref(with_value.value);
    publish_one(change(index + 1, B, "n"));
    publish(group, 3);
    publish_one(move(index + 3, A, "n", B, "other"));
    publish_one(move(index + 4, B, "n", A, "n"));
    ask_log(0, A, "n", 0, &r);
    cr_assert(r.u.log.end);
    cr_assert_eq(net.nodes[1]->window.floor, r.u.log.floor);
    cr_assert_eq(5, r.u.log.count);
    cr_assert_eq(index, r.u.log.list[0].index);
    cr_assert(!r.u.log.list[0].has_value);
    cr_assert_eq(index + 2, r.u.log.list[1].index);
    cr_assert(r.u.log.list[1].more);
    cr_assert_eq(index + 2, r.u.log.list[2].index);
    cr_assert(!r.u.log.list[2].more);
    cr_assert_eq(CHANGE_MOVE, r.u.log.list[3].kind);
    cr_assert_eq(B, r.u.log.list[3].dir);
    cr_assert_eq(index + 4, r.u.log.list[4].index);
    codec_reply_done(&r);
    ask_log(0, A, "n", index + 2, &r);
    cr_assert_eq(2, r.u.log.count);
    codec_reply_done(&r);
    ask_log(0, A, "nobody", 0, &r);
    cr_assert_eq(0, r.u.log.count);
    cr_assert(r.u.log.end);
}

Test(node_events, the_log_comes_in_pages_that_end_with_an_entry)
{
    uint64_t index = now() + 1;
    struct event pair[] = {change(0, A, "n"), change(0, A, "n")};
    struct reply r;
    uint64_t after = 0;
    uint32_t seen = 0;

    attach(0);
    publish_one(change(index, A, "n"));
    for (uint32_t i = 1; i <= 300; i++) {
        pair[0].index = pair[1].index = index + i;
        publish(pair, 2);
    }
    do {
        ask_log(0, A, "n", after, &r);
        cr_assert_leq(r.u.log.count, LOG_EVENTS_MAX);
        cr_assert_gt(r.u.log.count, 0);
        for (uint32_t i = 0; i < r.u.log.count; i++, seen++) {
            cr_assert_eq(index + (seen + 1) / 2, r.u.log.list[i].index);
        }
        cr_assert(!r.u.log.list[r.u.log.count - 1].more);
        after = r.u.log.list[r.u.log.count - 1].index;
        codec_reply_done(&r);
    } while (!r.u.log.end);
    cr_assert_eq(601, seen);
}

Test(node_events, one_entry_with_more_changes_of_a_name_than_a_page_shows_the_last)
{
    uint64_t index = now() + 1;
    struct event many[LOG_EVENTS_MAX + 5];
    struct reply r;

    attach(0);
    for (uint32_t i = 0; i < LOG_EVENTS_MAX + 5; i++) {
        many[i] = change(index, A, "n");
        many[i].xid = i;
    }
    publish_one(change(index - 1, A, "n"));
    publish(many, LOG_EVENTS_MAX + 5);
    ask_log(0, A, "n", 0, &r);
    cr_assert_eq(1, r.u.log.count);
    cr_assert(!r.u.log.end);
    codec_reply_done(&r);
    ask_log(0, A, "n", index - 1, &r);
    cr_assert(r.u.log.end);
    cr_assert_eq(LOG_EVENTS_MAX, r.u.log.count);
    cr_assert_eq(5, r.u.log.list[0].xid);
    cr_assert_eq(LOG_EVENTS_MAX + 4, r.u.log.list[LOG_EVENTS_MAX - 1].xid);
    codec_reply_done(&r);
}
