/* The connection. Happy path: connect to a server of the list, send HELLO with the session's key,
 * get its reply, tell the owner, send what waits; then replies and events until something breaks.
 *
 * Failure modes: cannot connect, no reply to HELLO, a refusal -> the next server, after a back-off.
 * The stream breaks, carries nonsense, or nothing comes for a while although the member was pinged
 * -> the next server. The member has no quorum -> client_move.c. The session has expired -> its
 * writes end with ERR_EXPIRED, and a session with a new key is opened at the same server.
 *
 * Each failure goes one way: conn_drop() closes the stream, whose last callback is conn_gone(). */
#include <sys/random.h>

#include "client_int.h"

#include "check.h"
#include "err.h"

static void conn_gone(struct client *c);
static void on_connect(void *ctx, int err);

/* --- sending ---------------------------------------------------------------------------------- */

static void request_send(struct client *c, const struct request *r)
{
    c->out.size = 0;
    codec_encode_request(&c->out, r);
    stream_send(c->stream, c->out.data, c->out.size);
    c->spoke_ms = client_now();
    if (c->out.cap > OUT_SIZE_KEEP) {
        buf_done(&c->out);
    }
}

void conn_send(struct client *c, struct pending *p)
{
    uint64_t now = client_now();

    p->r.xid_floor = pending_xid_floor(&c->table);
    p->r.deadline_ms = p->deadline_ms > now ? (uint32_t)(p->deadline_ms - now) : 1;
    pending_mark_sent(&c->table, p);
    request_send(c, &p->r);
}

void conn_pump(struct client *c)
{
    struct pending *p;

    if (c->conn != CONN_ATTACHED || c->closing || c->attaching) {
        return;
    }
    while ((p = pending_next_unsent(&c->table)) != NULL) {
        conn_send(c, p);
    }
}

/* A server that stands still accepts connections, and says nothing. It is soon left for the next
 * one, unless all have been tried: then it may be that they are slow. */
static uint32_t hello_timeout_ms(const struct client *c)
{
    return c->opened && c->failures <= c->server_count ? RESUME_TIMEOUT_MS : HELLO_TIMEOUT_MS;
}

static void hello_send(struct client *c)
{
    struct request r = {
        .op = OP_HELLO,
        .xid = c->table.xid_next++,
        .xid_floor = pending_xid_floor(&c->table),
        .deadline_ms = hello_timeout_ms(c),
        .u.hello = {.version = CLIENT_PROTOCOL_VERSION,
                    .key = c->key,
                    .resume = c->opened,
                    .index_seen = c->index_seen,
                    .timeout_ms = c->session_timeout_ms,
                    .label = {c->label, c->label_size}},
    };

    c->hello_xid = r.xid;
    request_send(c, &r);
}

/* Nobody waits for the reply, but for a probe's refusal: that something comes is enough. */
static void ping_send(struct client *c, bool probe)
{
    struct request r = {
        .op = probe ? OP_SYNC : OP_PING,
        .xid = c->table.xid_next++,
        .xid_floor = pending_xid_floor(&c->table),
        .deadline_ms = SILENCE_MS_MAX,
    };

    if (probe) {
        c->probe_xid = r.xid;
    }
    request_send(c, &r);
}

/* --- silence ---------------------------------------------------------------------------------- */

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint64_t conn_idle_ms(const struct client *c)
{
    if (c->stream != NULL && stream_progress(c->stream) != c->progress) {
        return 0;
    }
    return client_now() - c->heard_ms;
}

/* Pings when nothing came for a while, and also when nothing was said: the session lives by what
 * the member hears, not by what it sends. */
static void on_tick(uv_timer_t *timer)
{
    struct client *c = timer->data;
    uint32_t ping_ms = min_u32(c->timeout_ms / 6, PING_MS_MAX);
    uint32_t silence_ms = min_u32(c->timeout_ms / 3, SILENCE_MS_MAX);
    uint64_t now = client_now();
    uint64_t progress = stream_progress(c->stream);
    bool stalled = now - c->tick_ms > ping_ms; /* this loop did not run, so it heard nothing */
    bool probe = move_probe_is_due(c, now, ping_ms);

    c->tick_ms = now;
    if (progress != c->progress || stalled) {
        c->progress = progress;
        c->heard_ms = now;
    }
    if (now - c->heard_ms >= silence_ms) {
        conn_drop(c);
    } else if (probe || stalled || now - c->heard_ms >= ping_ms || now - c->spoke_ms >= ping_ms) {
        ping_send(c, probe);
    }
}

/* --- the session ------------------------------------------------------------------------------ */

void conn_new_key(struct client *c)
{
    ssize_t got = getrandom(&c->key, sizeof(c->key), 0);

    CHECK(got == sizeof(c->key)); /* so few bytes are never cut short (getrandom(2)) */
    c->opened = false;
    c->session = 0;
    c->index_seen = 0; /* a new session is an entry of the log, behind all that was seen */
}

static void session_attached(struct client *c, const struct reply *r)
{
    bool fresh = !c->opened;
    uint32_t tick_ms;

    c->opened = true;
    c->session = r->u.hello.session;
    c->member = r->u.hello.member;
    c->value_size_max = r->u.hello.value_size_max;
    c->timeout_ms = r->u.hello.timeout_ms;
    if (c->timeout_ms < SESSION_TIMEOUT_MS_MIN) {
        c->timeout_ms = SESSION_TIMEOUT_MS_MIN;
    }
    c->attaches++;
    c->conn = CONN_ATTACHED;
    c->was_attached = true;
    c->attached_ms = c->heard_ms = c->tick_ms = client_now();
    c->progress = stream_progress(c->stream);
    tick_ms = min_u32(c->timeout_ms / 6, PING_MS_MAX) / 2;
    uv_timer_start(&c->conn_timer, on_tick, tick_ms, tick_ms);
    if (c->ops.on_attach != NULL && !c->closing) {
        c->attaching = true;
        c->ops.on_attach(c->ctx, fresh);
        c->attaching = false;
    }
    conn_pump(c);
}

static void session_expired(struct client *c)
{
    uint64_t xid_end = c->table.xid_next;
    struct pending *p;

    c->sessions_lost++;
    c->same_server = true;
    conn_new_key(c);
    conn_drop(c);
    while ((p = c->table.unanswered) != NULL && p->r.xid < xid_end) {
        client_fail(c, p, ERR_EXPIRED);
    }
}

/* --- receiving -------------------------------------------------------------------------------- */

void conn_index_learn(struct client *c, uint64_t index)
{
    if (index > c->index_seen) {
        c->index_seen = index;
    }
}

static void hello_reply(struct client *c, const struct message *m)
{
    const struct reply *r = &m->u.reply;

    if (m->kind != MESSAGE_REPLY || r->op != OP_HELLO || r->xid != c->hello_xid) {
        conn_drop(c);
    } else if (r->err == 0) {
        conn_index_learn(c, r->index);
        session_attached(c, r);
    } else if (r->err == ERR_EXPIRED && c->opened) {
        session_expired(c);
    } else {
        conn_drop(c);
    }
}

/* A refusal by this member says nothing about a copy of the write that another was sent before. */
static int reply_err(const struct pending *p, int err)
{
    bool refused = err == ERR_NO_QUORUM || err == ERR_OVERLOAD || err == ERR_CLOSED;

    return refused && op_is_write(p->r.op) && p->sends > 1 ? ERR_TIMEOUT : err;
}

static void reply_receive(struct client *c, struct reply *r)
{
    struct pending *p = pending_find(&c->table, r->xid);

    conn_index_learn(c, r->index);
    if (r->xid == c->probe_xid) {
        move_on_probe(c, r);
        return;
    }
    if (p == NULL) {
        return; /* ended meanwhile, or a ping */
    }
    if (p->r.op != r->op || !p->sent) {
        conn_drop(c);
        return;
    }
    if (move_on_reply(c, p, r)) {
        return;
    }
    r->err = reply_err(p, r->err);
    client_finish(c, p, r);
}

static void message_receive(struct client *c, struct message *m)
{
    switch (m->kind) {
    case MESSAGE_REPLY:
        if (group_is_open(c)) {
            conn_drop(c);
        } else {
            reply_receive(c, &m->u.reply);
        }
        return;
    case MESSAGE_EVENT:
        if (!group_event(c, &m->u.event)) {
            conn_drop(c);
        }
        return;
    case MESSAGE_REQUEST:
        conn_drop(c);
        return;
    }
}

static void on_frame(void *ctx, const uint8_t *bytes, size_t size)
{
    struct client *c = ctx;
    struct message m;

    if (codec_decode(bytes, size, &m) != 0) {
        conn_drop(c);
        return;
    }
    c->frame = bytes;
    c->frame_size = size;
    if (c->conn == CONN_HELLO) {
        hello_reply(c, &m);
    } else {
        message_receive(c, &m);
    }
    c->frame = NULL;
    codec_message_done(&m);
}

static void on_stream_close(void *ctx, int err)
{
    (void)err; /* whatever it was, the next server is tried */
    conn_gone(ctx);
}

/* --- connecting ------------------------------------------------------------------------------- */

void conn_start(struct client *c)
{
    static const struct stream_ops ops = {.on_frame = on_frame, .on_close = on_stream_close};
    struct stream_conf conf = {
        .frame_size_max = CLIENT_FRAME_SIZE_MAX,
        .send_queue_max = SEND_QUEUE_SIZE_MAX, /* more than PENDING_SENT_SIZE_MAX lets through */
        .first_frame_ms = hello_timeout_ms(c),
    };

    c->conn = CONN_CONNECTING;
    stream_connect(c->loop, &c->servers[c->server_at], &conf, &ops, CONNECT_TIMEOUT_MS, on_connect,
                   c, &c->stream);
}

static void on_connect(void *ctx, int err)
{
    struct client *c = ctx;

    if (err != 0) {
        conn_gone(c);
    } else {
        c->conn = CONN_HELLO;
        hello_send(c);
    }
}

void conn_drop(struct client *c)
{
    c->conn = CONN_CLOSING;
    uv_timer_stop(&c->conn_timer);
    stream_close(c->stream);
}

static void on_backoff_over(uv_timer_t *timer)
{
    conn_start(timer->data);
}

/* None before the first attempt after a connection that held, then doubling, and half of it random,
 * so that the clients of a member that died do not come back in step. */
static uint64_t backoff_ms(struct client *c)
{
    uint64_t delay_ms = BACKOFF_MS_MAX;

    if (c->failures++ == 0) {
        return 0;
    }
    if (c->failures < 8) {
        delay_ms = (uint64_t)BACKOFF_MS_MIN << (c->failures - 2);
    }
    if (delay_ms > BACKOFF_MS_MAX) {
        delay_ms = BACKOFF_MS_MAX;
    }
    return delay_ms / 2 + prng_below(&c->prng, delay_ms / 2 + 1);
}

/* The stream's last callback. */
static void conn_gone(struct client *c)
{
    bool detached = c->was_attached;
    uint64_t delay_ms = 0;

    c->stream = NULL;
    c->was_attached = false;
    scouts_call_off(c);
    group_drop(c);
    pending_mark_all_unsent(&c->table);
    if (c->close_begun) {
        client_end_handles(c);
        return;
    }
    if (detached && client_now() - c->attached_ms >= BACKOFF_MS_MAX) {
        c->failures = 0;
    }
    if (!c->same_server) {
        c->server_at = (c->server_at + 1) % c->server_count;
        delay_ms = backoff_ms(c);
    }
    c->same_server = false;
    c->conn = CONN_WAITING;
    uv_timer_start(&c->conn_timer, on_backoff_over, delay_ms, 0);
    if (detached && c->ops.on_detach != NULL && !c->closing) {
        c->ops.on_detach(c->ctx);
    }
}

void conn_end(struct client *c)
{
    switch (c->conn) {
    case CONN_WAITING:
        client_end_handles(c);
        return;
    case CONN_CONNECTING:
    case CONN_HELLO:
    case CONN_ATTACHED:
        conn_drop(c);
        return;
    case CONN_CLOSING:
    case CONN_ENDED:
        return; /* on its way */
    }
}
