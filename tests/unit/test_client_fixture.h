#ifndef ZABFS_TEST_CLIENT_FIXTURE_H
#define ZABFS_TEST_CLIENT_FIXTURE_H

/* The client against scripted members in the same loop, which speak the codec over real sockets: a
 * member notes what it is sent and answers as the test says. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "err.h"
#include "mem.h"
#include "stream.h"

enum { NOTES_MAX = 6000, SERVERS = 2, NOT_YET = 1 };

struct note { /* of a request */
    enum op op;
    uint64_t xid, xid_floor;
    uint32_t deadline_ms;
    struct session_key key;
    bool resume;
    uint64_t index_seen;
};

struct server {
    struct fixture *f;
    struct listener *listener;
    struct net_addr addr;
    struct stream *s; /* the newest connection, NULL when it is gone */
    int hello_err;    /* NOT_YET: says nothing */
    uint64_t hello_index;
    uint32_t timeout_ms;
    bool quorum; /* what its status says; nothing while hello_err is NOT_YET */
    bool answer; /* requests at once, else the test does */
    int answer_err;
    bool answer_pings;
    struct note notes[NOTES_MAX]; /* all but pings and questions for the status */
    int count;
    int hellos;
    int statuses;
    int pings;
};

struct peer { /* one connection of a member */
    struct server *sv;
    struct stream *s;
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t guard;
    char dir[32];
    struct server servers[SERVERS];
    struct client *client;
    bool client_closed;

    int attaches, fresh, detaches, events;
    uint64_t event_index;
    int events_at_done;
    bool submit_in_attach;
    bool cancel_in_done;
};

struct outcome {
    int err; /* NOT_YET */
    uint64_t index;
    int order; /* the how manieth to end */
};

static int ended;

/* --- the member ------------------------------------------------------------------------------- */

static inline void send_reply(struct server *sv, const struct reply *r)
{
    struct buf b = {0};

    codec_encode_reply(&b, r);
    stream_send(sv->s, b.data, b.size);
    buf_done(&b);
}

static inline void reply_to(struct server *sv, int note, int err, uint64_t index)
{
    struct reply r = {
        .op = sv->notes[note].op, .xid = sv->notes[note].xid, .err = err, .index = index};

    if (r.op == OP_LOOKUP || r.op == OP_GETATTR || r.op == OP_SET) {
        r.u.attr = (struct attr){.id = 1, .type = NODE_DIR};
    }
    if (r.op == OP_CREATE) {
        r.u.create.attr.type = NODE_FILE;
        r.u.create.name = (struct name){"job-0000000012", 14};
    }
    send_reply(sv, &r);
}

static inline void send_event(struct server *sv, uint64_t index)
{
    struct event e = {
        .index = index, .dir = 1, .name = {"x", 1}, .kind = CHANGE_SET, .attr.type = NODE_FILE};
    struct buf b = {0};

    codec_encode_event(&b, &e);
    stream_send(sv->s, b.data, b.size);
    buf_done(&b);
}

static inline void answer_status(struct server *sv, uint64_t xid)
{
    struct status_field quorum = {{"quorum", 6}, {"yes", 3}};
    struct reply r = {.op = OP_STATUS, .xid = xid, .u.status = {1, &quorum}};

    if (!sv->quorum) {
        quorum.value = (struct name){"no", 2};
    }
    sv->statuses++;
    if (sv->hello_err != NOT_YET) {
        send_reply(sv, &r);
    }
}

static inline void answer_hello(struct server *sv, uint64_t xid)
{
    struct reply r = {.op = OP_HELLO, .xid = xid, .err = sv->hello_err, .index = sv->hello_index};

    if (r.err == 0) {
        r.u.hello.session = 77;
        r.u.hello.member = 1 + (uint32_t)(sv - sv->f->servers);
        r.u.hello.timeout_ms = sv->timeout_ms;
        r.u.hello.value_size_max = 1 << 20;
    }
    send_reply(sv, &r);
    if (r.err == ERR_EXPIRED) {
        sv->hello_err = 0; /* the next one opens a session */
    }
}

static inline void server_frame(void *ctx, const uint8_t *bytes, size_t size)
{
    struct peer *p = ctx;
    struct server *sv = p->sv;
    struct message m;
    struct request *r = &m.u.request;
    struct note n;

    if (p->s != sv->s) {
        return; /* an older one, which the client has left */
    }
    cr_assert_eq(codec_decode(bytes, size, &m), 0);
    cr_assert_eq(m.kind, MESSAGE_REQUEST);
    n = (struct note){r->op, r->xid, r->xid_floor, r->deadline_ms, {{0}}, false, 0};
    if (r->op == OP_HELLO) {
        cr_assert_eq(r->u.hello.version, CLIENT_PROTOCOL_VERSION);
        n.key = r->u.hello.key;
        n.resume = r->u.hello.resume;
        n.index_seen = r->u.hello.index_seen;
        sv->hellos++;
    }
    if (r->op == OP_PING) {
        sv->pings++;
        if (sv->answer_pings) {
            struct reply reply = {.op = OP_PING, .xid = r->xid};

            send_reply(sv, &reply);
        }
    } else if (r->op == OP_STATUS) {
        answer_status(sv, r->xid);
    } else {
        cr_assert_lt(sv->count, NOTES_MAX);
        sv->notes[sv->count++] = n;
        if (r->op == OP_HELLO && sv->hello_err != NOT_YET) {
            answer_hello(sv, r->xid);
        } else if (r->op != OP_HELLO && sv->answer) {
            reply_to(sv, sv->count - 1, sv->answer_err, 10);
        }
    }
    codec_message_done(&m);
}

static inline void server_close(void *ctx, int err)
{
    struct peer *p = ctx;

    (void)err;
    if (p->sv->s == p->s) {
        p->sv->s = NULL;
    }
    mem_free(p);
}

static inline void server_accept(void *ctx, struct stream *s, const char *peer_text)
{
    static const struct stream_ops ops = {server_frame, server_close};
    struct stream_conf conf = {.frame_size_max = 16 << 20, .send_queue_max = 64 << 20};
    struct server *sv = ctx;
    struct peer *p = mem_alloc(sizeof(*p));

    (void)peer_text;
    *p = (struct peer){sv, s};
    sv->s = s;
    stream_accept_start(s, &conf, &ops, p);
}

/* --- the fixture ------------------------------------------------------------------------------ */

static inline void on_event(void *ctx, const struct event *e)
{
    struct fixture *f = ctx;

    f->events++;
    f->event_index = e->index;
}

static inline void on_attach(void *ctx, bool fresh)
{
    struct fixture *f = ctx;

    f->attaches++;
    f->fresh += fresh;
    if (f->submit_in_attach) {
        uint64_t id = 1;
        struct request r = {.op = OP_INTEREST, .u.interest = {0, 1, &id}};

        client_submit(f->client, &r, NULL, NULL);
    }
}

static inline void on_detach(void *ctx)
{
    struct fixture *f = ctx;

    f->detaches++;
}

static inline void on_guard(uv_timer_t *timer)
{
    (void)timer;
    cr_assert_fail("nothing happened for 20 s");
}

static inline void stop_listening(struct server *sv)
{
    listener_close(sv->listener);
    sv->listener = NULL;
}

/* Both members listen; the client has both in its list. */
static inline void setup(struct fixture *f, bool tcp)
{
    memset(f, 0, sizeof(*f));
    ended = 0;
    cr_assert_eq(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->guard);
    uv_timer_start(&f->guard, on_guard, 20 * 1000, 0);
    strcpy(f->dir, "/tmp/zabfs-client-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    for (int i = 0; i < SERVERS; i++) {
        struct server *sv = &f->servers[i];

        sv->f = f;
        sv->timeout_ms = 60 * 1000;
        sv->answer_pings = true;
        if (tcp) {
            cr_assert_eq(net_addr_parse("127.0.0.1:0", &sv->addr), 0);
        } else {
            sv->addr.is_unix = true;
            snprintf(sv->addr.path, sizeof(sv->addr.path), "%s/%d", f->dir, i);
        }
        cr_assert_eq(listener_open(&f->loop, &sv->addr, 0600, server_accept, sv, &sv->listener), 0);
        sv->addr.port = listener_port(sv->listener);
    }
}

/* more: servers behind both in the list, "" or "+unix:PATH..." */
static inline void start_client_with(struct fixture *f, const char *more)
{
    static const struct client_ops ops = {on_event, on_attach, on_detach};
    char a[300];
    char b[300];
    char list[1000];
    struct client_conf conf = {.servers = list, .label = "test", .seed = 1};

    net_addr_text(&f->servers[0].addr, a, sizeof(a));
    net_addr_text(&f->servers[1].addr, b, sizeof(b));
    snprintf(list, sizeof(list), "%s+%s%s", a, b, more);
    cr_assert_eq(client_new(&f->loop, &conf, &ops, f, &f->client), 0);
}

static inline void start_client(struct fixture *f)
{
    start_client_with(f, "");
}

#define RUN_UNTIL(f, cond)                                                                         \
    while (!(cond)) {                                                                              \
        uv_run(&(f)->loop, UV_RUN_ONCE);                                                           \
    }

static inline void setup_attached(struct fixture *f)
{
    setup(f, false);
    start_client(f);
    RUN_UNTIL(f, f->attaches == 1);
}

static inline void on_closed(void *ctx)
{
    struct fixture *f = ctx;

    f->client_closed = true;
}

static inline void teardown(struct fixture *f)
{
    if (!f->client_closed) {
        client_close(f->client, 0, on_closed, f);
        RUN_UNTIL(f, f->client_closed);
    }
    for (int i = 0; i < SERVERS; i++) {
        if (f->servers[i].listener != NULL) {
            stop_listening(&f->servers[i]);
        }
    }
    uv_close((uv_handle_t *)&f->guard, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT); /* the members' streams end with the client's */
    cr_assert_eq(uv_loop_close(&f->loop), 0);
    cr_assert_eq(rmdir(f->dir), 0);
}

static inline void on_done(void *ctx, void *arg, const struct reply *r)
{
    struct fixture *f = ctx;
    struct outcome *o = arg;

    cr_assert_eq(o->err, NOT_YET);
    o->err = r->err;
    o->index = r->index;
    o->order = ++ended;
    f->events_at_done = f->events;
}

static inline uint64_t submit(struct fixture *f, enum op op, uint32_t deadline_ms,
                              struct outcome *o)
{
    struct request r = {.op = op, .deadline_ms = deadline_ms};

    if (op == OP_CREATE) {
        r.u.create.type = NODE_FILE;
        r.u.create.name = (struct name){"job-", 4};
    }
    *o = (struct outcome){.err = NOT_YET};
    return client_submit(f->client, &r, on_done, o);
}

#endif
