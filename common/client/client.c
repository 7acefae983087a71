/* Happy path: client_submit() puts a copy of the request in the table and on the stream; its reply
 * comes in client_conn.c, which ends it with client_finish().
 *
 * Failure modes: no reply by the deadline, or cancelled -> request_timer ends it; the stream breaks
 * -> client_conn.c sends it again on the next one; client_close() -> all end with ERR_CLOSED. What
 * the owner asks for (cancel, close) takes effect in the timer's callback, so that no callback runs
 * inside the owner's call. */
#include <string.h>

#include "client.h"
#include "client_int.h"

#include "check.h"
#include "err.h"
#include "mem.h"

static void on_request_timer(uv_timer_t *timer);

uint64_t client_now(void)
{
    return uv_hrtime() / 1000000;
}

/* --- requests --------------------------------------------------------------------------------- */

static void request_timer_start(struct client *c)
{
    struct pending *p = pending_earliest(&c->table);
    uint64_t now;

    if (c->conn == CONN_ENDED || (c->closing && !c->close_begun)) {
        return; /* the timer is gone, or has another task */
    }
    if (p == NULL) {
        uv_timer_stop(&c->request_timer);
        return;
    }
    if (uv_is_active((uv_handle_t *)&c->request_timer) && c->request_timer_ms <= p->deadline_ms) {
        return; /* early is fine, it looks again */
    }
    now = client_now();
    c->request_timer_ms = p->deadline_ms;
    uv_update_time(c->loop); /* the timer counts from the loop's time */
    uv_timer_start(&c->request_timer, on_request_timer,
                   p->deadline_ms > now ? p->deadline_ms - now : 0, 0);
}

int client_end_err(const struct pending *p)
{
    if (p->end_err != 0) {
        return p->end_err;
    }
    if (op_is_write(p->r.op)) {
        return p->sends == 0 ? ERR_NO_QUORUM : ERR_TIMEOUT;
    }
    return p->refused ? ERR_NO_QUORUM : ERR_TIMEOUT;
}

static void on_request_timer(uv_timer_t *timer)
{
    struct client *c = timer->data;
    uint64_t now = client_now();
    struct pending *p;

    while ((p = pending_earliest(&c->table)) != NULL && p->deadline_ms <= now) {
        client_fail(c, p, client_end_err(p));
    }
    request_timer_start(c);
}

void client_finish(struct client *c, struct pending *p, const struct reply *r)
{
    client_done_fn done = p->done;
    void *arg = p->arg;

    pending_remove(&c->table, p);
    if (done != NULL) {
        done(c->ctx, arg, r);
    }
    conn_pump(c);
    request_timer_start(c);
}

void client_fail(struct client *c, struct pending *p, int err)
{
    struct reply r = {.op = p->r.op, .xid = p->r.xid, .err = err};

    client_finish(c, p, &r);
}

uint64_t client_submit(struct client *c, const struct request *r, client_done_fn done, void *arg)
{
    uint32_t deadline_ms = r->deadline_ms > 0 ? r->deadline_ms : c->deadline_ms;
    size_t size;
    /* What the member's decoder would refuse with the whole stream is refused here, alone. It ends
     * from the loop like any other, so it takes its place in the table, without its arguments. */
    int err = c->closing ? ERR_CLOSED : codec_request_check(r, &size);
    struct request refused = {.op = r->op};
    struct pending *p;
    uint64_t xid;

    if (deadline_ms > OPERATION_DEADLINE_MS_MAX) {
        deadline_ms = OPERATION_DEADLINE_MS_MAX;
    }
    p = pending_add(&c->table, err != 0 ? &refused : r, client_now() + deadline_ms, done, arg);
    xid = p->r.xid;
    if (err != 0) {
        pending_give_up(&c->table, p, err);
    } else if (c->attaching && pending_may_send(&c->table, p)) {
        conn_send(c, p); /* before those that are sent again */
    } else if (!c->attaching) {
        conn_pump(c);
    }
    request_timer_start(c);
    return xid;
}

void client_cancel(struct client *c, uint64_t xid)
{
    struct pending *p = pending_find(&c->table, xid);

    if (p != NULL && p->end_err == 0) {
        pending_give_up(&c->table, p, ERR_INTR);
        request_timer_start(c);
    }
}

bool client_is_pending(const struct client *c, uint64_t xid)
{
    return pending_find(&c->table, xid) != NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t value, uint32_t other)
{
    return value > 0 ? value : other;
}

int client_new(uv_loop_t *loop, const struct client_conf *conf, const struct client_ops *ops,
               void *ctx, struct client **ret)
{
    struct net_addr *servers;
    uint32_t server_count;
    struct client *c;

    if (net_addr_list_parse(conf->servers, &servers, &server_count) != 0) {
        return ERR_INVAL;
    }
    c = mem_zalloc(sizeof(*c));
    c->loop = loop;
    c->ops = ops != NULL ? *ops : (struct client_ops){0};
    c->ctx = ctx;
    c->servers = servers;
    c->server_count = server_count;
    if (conf->label != NULL) {
        c->label_size = (uint32_t)strnlen(conf->label, sizeof(c->label));
        memcpy(c->label, conf->label, c->label_size);
    }
    c->session_timeout_ms = or_default(conf->session_timeout_ms, SESSION_TIMEOUT_MS_DEFAULT);
    c->deadline_ms = or_default(conf->deadline_ms, OPERATION_DEADLINE_MS_DEFAULT);
    c->prng.state = conf->seed;
    pending_init(&c->table);
    uv_timer_init(loop, &c->conn_timer);
    uv_timer_init(loop, &c->request_timer);
    c->conn_timer.data = c;
    c->request_timer.data = c;
    conn_new_key(c);
    conn_start(c);
    *ret = c;
    return 0;
}

void client_info(const struct client *c, struct client_info *ret)
{
    *ret = (struct client_info){
        .state = c->closing                 ? CLIENT_CLOSED
                 : c->conn == CONN_ATTACHED ? CLIENT_ATTACHED
                                            : CLIENT_CONNECTING,
        .session = c->session,
        .member = c->member,
        .value_size_max = c->value_size_max,
        .index_seen = c->index_seen,
        .in_flight = pending_count(&c->table),
        .reconnects = c->attaches > 0 ? c->attaches - 1 : 0,
        .sessions_lost = c->sessions_lost,
        .idle_ms = c->attaches > 0 ? conn_idle_ms(c) : 0,
    };
    net_addr_text(&c->servers[c->server_at], ret->server, sizeof(ret->server));
}

/* --- the end ---------------------------------------------------------------------------------- */

static void fail_all(struct client *c, int err)
{
    while (c->table.by_xid != NULL) {
        client_fail(c, c->table.by_xid, err);
    }
}

void client_handle_gone(struct client *c)
{
    void (*on_closed)(void *ctx) = c->on_closed;
    void *closed_ctx = c->closed_ctx;

    if (c->conn != CONN_ENDED || --c->handles > 0) {
        return;
    }
    fail_all(c, ERR_CLOSED); /* submitted during the close */
    pending_done(&c->table);
    buf_done(&c->out);
    buf_done(&c->call_frame);
    buf_done(&c->group);
    mem_free(c->servers);
    mem_free(c);
    if (on_closed != NULL) {
        on_closed(closed_ctx);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    client_handle_gone(handle->data);
}

void client_end_handles(struct client *c)
{
    c->conn = CONN_ENDED;
    c->handles = 2 + scouts_out(c);
    uv_close((uv_handle_t *)&c->conn_timer, on_handle_closed);
    uv_close((uv_handle_t *)&c->request_timer, on_handle_closed);
}

static void on_session_closed(void *ctx, void *arg, const struct reply *r)
{
    (void)ctx;
    (void)r;
    conn_end(arg);
}

/* Asks for the end of the session and waits for the reply, a broken stream, or the deadline. */
static void on_close_step(uv_timer_t *timer)
{
    struct client *c = timer->data;
    struct request leave = {.op = OP_SESSION_CLOSE};
    struct pending *p;

    fail_all(c, ERR_CLOSED);
    c->close_begun = true;
    scouts_call_off(c);
    if (c->conn != CONN_ATTACHED) {
        conn_end(c);
        return;
    }
    p = pending_add(&c->table, &leave, client_now() + c->close_wait_ms, on_session_closed, c);
    conn_send(c, p);
    request_timer_start(c);
}

void client_close(struct client *c, uint32_t wait_ms, void (*on_closed)(void *ctx), void *ctx)
{
    CHECK(!c->closing);
    c->closing = true;
    c->close_wait_ms = wait_ms;
    c->on_closed = on_closed;
    c->closed_ctx = ctx;
    uv_timer_start(&c->request_timer, on_close_step, 0, 0);
}
