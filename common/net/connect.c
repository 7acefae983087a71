/* Connecting. Happy path: stream_connect() finds the addresses of the host, connects to the first,
 * opens the stream and tells the owner.
 *
 * Failure modes: a name takes long or is unknown (uv_getaddrinfo, in libuv's pool); an address
 * refuses -> the socket is closed and made anew for the next; the limit of time for all of it runs
 * out, or the owner closes -> stream_fail(), and the owner hears ERR_TIMEOUT or ERR_CLOSED. */
#include <stdio.h>

#include "stream.h"
#include "stream_int.h"

#include "err.h"
#include "mem.h"

struct connecting {
    stream_connect_fn on_connect;
    uv_getaddrinfo_t resolve;
    bool resolving;
    uv_connect_t connect;
    struct addrinfo *addresses; /* all of the host's, and the next to try */
    struct addrinfo *next;
};

static void connect_next(struct stream *s);

static void connecting_free(struct stream *s)
{
    if (s->connecting->addresses != NULL) {
        freeaddrinfo(s->connecting->addresses);
    }
    mem_free(s->connecting);
    s->connecting = NULL;
}

bool connecting_done(struct stream *s)
{
    if (s->connecting == NULL) {
        return false;
    }
    s->connecting->on_connect(s->ctx, s->err);
    connecting_free(s);
    return true;
}

/* A look-up that runs already cannot be cancelled; it ends by itself, and the stream waits for it.
 */
void connecting_cancel(struct stream *s)
{
    if (s->connecting != NULL && s->connecting->resolving) {
        uv_cancel((uv_req_t *)&s->connecting->resolve);
    }
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct stream *s = handle->data;

    if (s->state == STREAM_CLOSING) {
        stream_unpend(s);
    } else {
        stream_init_socket(s);
        connect_next(s);
    }
}

static void on_connected(uv_connect_t *req, int status)
{
    struct stream *s = req->data;
    stream_connect_fn on_connect = s->connecting->on_connect;

    if (s->state == STREAM_CLOSING) {
        return;
    }
    if (status != 0) {
        if (s->connecting->next != NULL) {
            uv_close(&s->h.any, on_socket_closed);
        } else {
            stream_fail(s, ERR_CLOSED);
        }
        return;
    }
    uv_timer_stop(&s->timer);
    connecting_free(s);
    stream_open(s);
    on_connect(s->ctx, 0);
}

static void connect_next(struct stream *s)
{
    struct connecting *c = s->connecting;
    const struct sockaddr *addr = c->next->ai_addr;
    int rc;

    c->next = c->next->ai_next;
    rc = uv_tcp_connect(&c->connect, &s->h.tcp, addr, on_connected);
    if (rc != 0) {
        on_connected(&c->connect, rc);
    }
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses)
{
    struct stream *s = req->data;
    struct connecting *c = s->connecting;

    c->resolving = false;
    c->addresses = addresses;
    c->next = addresses;
    if (s->state != STREAM_CLOSING) {
        if (status != 0 || addresses == NULL) {
            stream_fail(s, ERR_CLOSED);
        } else {
            connect_next(s);
        }
    }
    stream_unpend(s);
}

/* Finds the addresses: without the pool when the host is numeric, for it may be busy with disks. */
static void connect_tcp(struct stream *s, const struct net_addr *addr)
{
    struct connecting *c = s->connecting;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    char port[8];

    snprintf(port, sizeof(port), "%u", addr->port);
    if (getaddrinfo(addr->host, port, &hints, &c->addresses) == 0) {
        c->next = c->addresses;
        connect_next(s);
        return;
    }
    c->addresses = NULL;
    hints.ai_flags = AI_NUMERICSERV;
    if (uv_getaddrinfo(s->loop, &c->resolve, on_resolved, addr->host, port, &hints) != 0) {
        stream_fail(s, ERR_CLOSED);
        return;
    }
    c->resolving = true;
    s->pending++;
}

void stream_connect(uv_loop_t *loop, const struct net_addr *addr, const struct stream_conf *conf,
                    const struct stream_ops *ops, uint64_t timeout_ms, stream_connect_fn on_connect,
                    void *ctx, struct stream **ret)
{
    struct stream *s = stream_new(loop, STREAM_CONNECTING, !addr->is_unix);

    s->conf = *conf;
    s->ops = ops;
    s->ctx = ctx;
    s->connecting = mem_zalloc(sizeof(*s->connecting));
    s->connecting->on_connect = on_connect;
    s->connecting->connect.data = s;
    s->connecting->resolve.data = s;
    uv_update_time(loop); /* timers count from the loop's time, which may be old outside of it */
    uv_timer_start(&s->timer, stream_on_timeout, timeout_ms, 0);
    if (addr->is_unix) {
        uv_pipe_connect(&s->connecting->connect, &s->h.pipe, addr->path, on_connected);
    } else {
        connect_tcp(s, addr);
    }
    *ret = s;
}
