#include "member.h"

#include <inttypes.h>

#include "check.h"
#include "err.h"
#include "hashtable.h"
#include "log.h"
#include "mem.h"

/* Client streams, TCP and unix: frames go to the node, and what the node says goes out. A stream
 * that sends nothing understandable at first is closed after HELLO_MS; later silence ends with the
 * session. From a client that asks for more than it takes nothing is read until it has taken most
 * of it: many small requests for large values are no reason to cut it off. */

enum {
    HELLO_MS = 10000,
    PAUSE_SIZE = 4 << 20, /* bytes queued to a client at which it is no longer read from ... */
    RESUME_SIZE = 1 << 20,
};

struct client_conn {
    uint64_t id;
    struct member *member;
    struct stream *stream;
    bool told; /* the node knows that it is gone */
    bool paused;
    char peer[80];
    UT_hash_handle hh;
};

static void pause_set(struct client_conn *c, bool paused)
{
    if (c->paused == paused) {
        return;
    }
    c->paused = paused;
    if (paused) {
        c->member->clients_paused++;
    } else {
        c->member->clients_paused--;
    }
    stream_pause(c->stream, paused);
}

static void on_frame(void *ctx, const uint8_t *bytes, size_t size)
{
    struct client_conn *c = ctx;
    struct node_time now = member_now();
    int err;

    if (c->told) {
        return;
    }
    awake_use(&c->member->awake);
    err = node_client_frame(c->member->node, c->id, bytes, size, &now);
    if (err != 0) {
        LOG_WARN("client", "ev=closed conn=%" PRIu64 " peer=%s err=\"%s\"", c->id, c->peer,
                 err_text(err));
        c->told = true;
        node_client_closed(c->member->node, c->id);
        stream_close(c->stream);
    } else if (stream_queued(c->stream) > PAUSE_SIZE) {
        pause_set(c, true);
    }
}

static void on_close(void *ctx, int err)
{
    struct client_conn *c = ctx;

    if (err == ERR_MALFORMED || err == ERR_OVERLOAD || err == ERR_TIMEOUT) {
        LOG_WARN("client", "ev=closed conn=%" PRIu64 " peer=%s err=\"%s\"", c->id, c->peer,
                 err_text(err));
    }
    if (!c->told) {
        node_client_closed(c->member->node, c->id);
    }
    c->member->clients_paused -= c->paused;
    HASH_DEL(c->member->clients, c);
    mem_free(c);
}

static const struct stream_ops ops = {.on_frame = on_frame, .on_close = on_close};

void client_conn_accept(void *member, struct stream *s, const char *peer_text)
{
    static const struct stream_conf conf = {
        .frame_size_max = CLIENT_FRAME_SIZE_MAX,
        .send_queue_max = SEND_QUEUE_SIZE_MAX,
        .first_frame_ms = HELLO_MS,
    };
    struct member *m = member;
    struct client_conn *c;

    if (m->stopping || HASH_COUNT(m->clients) >= CONNECTIONS_MAX) {
        LOG_WARN("client", "ev=refused peer=%s connections=%u", peer_text, HASH_COUNT(m->clients));
        stream_close(s);
        return;
    }
    c = mem_zalloc(sizeof(*c));
    c->id = ++m->conn_next;
    c->member = m;
    c->stream = s;
    snprintf(c->peer, sizeof(c->peer), "%s", peer_text);
    HASH_ADD(hh, m->clients, id, sizeof(c->id), c);
    node_client_open(m->node, c->id);
    stream_accept_start(s, &conf, &ops, c);
    LOG_DBG("client", "ev=accepted conn=%" PRIu64 " peer=%s", c->id, c->peer);
}

static struct client_conn *find(struct member *m, uint64_t conn)
{
    struct client_conn *c;

    HASH_FIND(hh, m->clients, &conn, sizeof(conn), c);
    return c;
}

void client_conn_send(struct member *m, uint64_t conn, const void *bytes, size_t size)
{
    struct client_conn *c = find(m, conn);

    if (c != NULL && !c->told) {
        stream_send(c->stream, bytes, size);
    }
}

void client_conn_close(struct member *m, uint64_t conn, const char *reason)
{
    struct client_conn *c = find(m, conn);

    if (c == NULL || c->told) {
        return;
    }
    LOG_INFO("client", "ev=closed conn=%" PRIu64 " peer=%s reason=\"%s\"", conn, c->peer, reason);
    c->told = true;
    stream_close(c->stream);
}

/* Called once a turn: a stream that has taken bytes has woken the loop. */
void client_conns_resume(struct member *m)
{
    struct client_conn *c, *next;

    if (m->clients_paused == 0) {
        return;
    }
    HASH_ITER (hh, m->clients, c, next) {
        if (c->paused && stream_queued(c->stream) <= RESUME_SIZE) {
            pause_set(c, false);
        }
    }
}

void client_conns_stop(struct member *m)
{
    struct client_conn *c, *next;

    HASH_ITER (hh, m->clients, c, next) {
        stream_close(c->stream);
    }
}
