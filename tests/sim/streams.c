#include "mem.h"
#include "sim.h"

/* Streams between clients and members. Order is kept and nothing is lost but at the end of a
 * stream. Cut off from a member, a client's streams to it are broken: what is sent goes nowhere,
 * and both sides hear of the end some time later. */

static uint64_t delay(struct world *w)
{
    return w->mix.delay_us / 2 + sim_below(w, w->mix.delay_spread_us / 2 + 1) + 20;
}

struct sim_stream *streams_find(struct world *w, uint64_t id)
{
    struct sim_stream *s;

    HASH_FIND(hh, w->streams, &id, sizeof(id), s);
    return s;
}

void streams_release(struct world *w, struct sim_stream *s)
{
    if (!s->at_client && !s->at_member && !s->opening) {
        HASH_DEL(w->streams, s);
        mem_free(s);
    }
}

static uint64_t later(uint64_t *last_us, uint64_t at_us)
{
    *last_us = at_us > *last_us ? at_us : *last_us;
    return *last_us;
}

static void post_in(struct world *w, struct sim_stream *s, enum sim_event_kind kind,
                    struct blob *bytes)
{
    struct sim_event *ev =
        world_post(w, later(&s->in_us, w->now_us + delay(w)), kind, s->member, s->client, s->id);

    ev->bytes = bytes;
}

static void post_out(struct world *w, struct sim_stream *s, enum sim_event_kind kind,
                     uint64_t after_us, struct blob *bytes)
{
    struct sim_event *ev =
        world_post(w, later(&s->out_us, w->now_us + after_us), kind, s->member, s->client, s->id);

    ev->bytes = bytes;
}

/* --- for the clients ------------------------------------------------------------------------- */

static uint64_t io_connect(void *ctx, uint32_t client, uint32_t member)
{
    struct world *w = ctx;
    struct sim_stream *s = mem_zalloc(sizeof(*s));
    struct sim_member *m = &w->members[member];

    s->id = ++w->stream_next;
    s->client = client;
    s->member = member;
    s->life = m->life;
    s->at_client = true;
    HASH_ADD(hh, w->streams, id, sizeof(s->id), s);
    if (w->client_cuts[member] > 0 || m->node == NULL) {
        s->broken = true;
        post_out(w, s, EV_CL_CLOSED,
                 w->client_cuts[member] > 0 ? sim_between(w, 500, 2000) * SIM_MS : delay(w), NULL);
    } else {
        s->opening = true;
        post_in(w, s, EV_CL_OPEN, NULL);
    }
    return s->id;
}

static void io_send(void *ctx, uint64_t conn, const void *bytes, size_t size)
{
    struct world *w = ctx;
    struct sim_stream *s = streams_find(w, conn);

    if (s != NULL && s->at_client && !s->broken) {
        post_in(w, s, EV_CL_REQUEST, blob_new(bytes, size));
    }
}

static void io_close(void *ctx, uint64_t conn)
{
    struct world *w = ctx;
    struct sim_stream *s = streams_find(w, conn);

    if (s == NULL || !s->at_client) {
        return;
    }
    s->at_client = false;
    if (!s->broken && (s->at_member || s->opening)) {
        post_in(w, s, EV_CL_GONE, NULL);
    }
    streams_release(w, s);
}

static void io_wake(void *ctx, uint32_t client, uint64_t at_us)
{
    struct world *w = ctx;

    world_post(w, at_us, EV_CL_WAKE, 0, client, ++w->alarm[client]);
}

void streams_on_event(struct world *w, struct sim_event *ev)
{
    struct sim_stream *s;

    if (ev->kind == EV_CL_WAKE) {
        if (ev->x == w->alarm[ev->b]) {
            clients_on_wake(w->clients, ev->b, w->now_us);
        }
        return;
    }
    s = streams_find(w, ev->x);
    if (s == NULL || !s->at_client) {
        return;
    }
    if (ev->kind == EV_CL_ANSWER) {
        clients_on_frame(w->clients, ev->b, ev->x, ev->bytes->data, ev->bytes->size, w->now_us);
        return;
    }
    s->at_client = false;
    streams_release(w, s);
    clients_on_closed(w->clients, ev->b, ev->x, w->now_us);
}

/* --- for the members ------------------------------------------------------------------------- */

void streams_from_member(struct world *w, uint32_t id, uint64_t conn, const void *bytes,
                         size_t size)
{
    struct sim_stream *s = streams_find(w, conn);

    if (s == NULL || s->member != id || !s->at_client || s->broken) {
        return;
    }
    post_out(w, s, EV_CL_ANSWER, delay(w), blob_new(bytes, size));
}

void streams_closed_by_member(struct world *w, uint32_t id, uint64_t conn)
{
    struct sim_stream *s = streams_find(w, conn);

    if (s == NULL || s->member != id) {
        return;
    }
    s->at_member = false;
    if (s->at_client && !s->broken) {
        post_out(w, s, EV_CL_CLOSED, delay(w), NULL);
    }
    streams_release(w, s);
}

/* The client hears of it: soon if a process died, late if a machine did. */
void streams_member_down(struct world *w, uint32_t id, bool power)
{
    struct sim_stream *s, *next;

    HASH_ITER (hh, w->streams, s, next) {
        if (s->member != id) {
            continue;
        }
        s->at_member = s->opening = false;
        if (s->at_client && !s->broken) {
            s->broken = true;
            post_out(w, s, EV_CL_CLOSED, power ? sim_spread(w, SIM_MS, 3 * SIM_SECOND) : delay(w),
                     NULL);
        }
        streams_release(w, s);
    }
}

void streams_cut(struct world *w, uint32_t id)
{
    struct sim_stream *s, *next;

    HASH_ITER (hh, w->streams, s, next) {
        if (s->member != id || s->broken) {
            continue;
        }
        s->broken = true;
        if (s->at_client) {
            post_out(w, s, EV_CL_CLOSED, sim_spread(w, SIM_MS, 5 * SIM_SECOND), NULL);
        }
        if (s->at_member || s->opening) {
            later(&s->in_us, w->now_us + sim_spread(w, SIM_MS, 10 * SIM_SECOND));
            post_in(w, s, EV_CL_GONE, NULL);
        }
    }
}

void streams_init(struct world *w)
{
    struct clients_io io = {
        .ctx = w, .connect = io_connect, .send = io_send, .close = io_close, .wake = io_wake};

    w->clients = clients_new(&w->mix.clients, &io);
}

void streams_done(struct world *w)
{
    struct sim_stream *s, *next;

    clients_free(w->clients);
    HASH_ITER (hh, w->streams, s, next) {
        HASH_DEL(w->streams, s);
        mem_free(s);
    }
}
