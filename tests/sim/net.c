#include <string.h>

#include "mem.h"
#include "sim.h"

/* Streams between members, as consensus/daemon/peer_link.c has them: one a pair, dialled by the
 * lower id, each side with its own belief whether it is up.
 *
 * A stream keeps the order of its frames and loses none but at its end. A cut direction delivers
 * nothing: frames wait at the sender until the partition is over, or the stream breaks. With
 * world.lossy single frames are lost, repeated and overtake each other as well: more than TCP does,
 * and all that the broadcast promises to bear. */

enum {
    DIAL_MS_MIN = 50,
    DIAL_MS_MAX = 1000,
    REDIAL_MS = 5000,
    STALLED_BYTES_MAX = 8 << 20, /* then the sender gives the stream up */
};

static struct sim_dir *dir(struct world *w, uint32_t from, uint32_t to)
{
    return &w->dirs[from][to];
}

static uint64_t delay(struct world *w, const struct sim_dir *d)
{
    return w->mix.delay_us + sim_below(w, w->mix.delay_spread_us + 1) + d->slow_us;
}

/* When something sent now arrives, behind all that was sent before. */
static uint64_t arrival(struct world *w, struct sim_dir *d, size_t size)
{
    uint64_t start = d->busy_us > w->now_us ? d->busy_us : w->now_us;

    d->busy_us = start + (size + 64) * 1000 / w->mix.bytes_per_ms;
    return d->busy_us + delay(w, d);
}

static uint64_t in_order(struct sim_dir *d, uint64_t at_us)
{
    d->arrive_us = at_us > d->arrive_us ? at_us : d->arrive_us;
    return d->arrive_us;
}

static void drop_stalled(struct sim_dir *d)
{
    for (size_t i = 0; i < d->stalled_count; i++) {
        blob_unref(d->stalled[i].bytes);
    }
    d->stalled_count = d->stalled_bytes = 0;
}

static void stall(struct world *w, uint32_t from, uint32_t to, struct blob *bytes, uint64_t stream)
{
    struct sim_dir *d = dir(w, from, to);

    if (w->lossy || d->stalled_bytes + bytes->size > STALLED_BYTES_MAX) {
        if (!w->lossy) {
            net_break(w, from, to);
        }
        blob_unref(bytes);
        return;
    }
    if (d->stalled_count == d->stalled_cap) {
        d->stalled_cap = d->stalled_cap > 0 ? 2 * d->stalled_cap : 16;
        d->stalled = mem_realloc(d->stalled, d->stalled_cap * sizeof(*d->stalled));
    }
    d->stalled[d->stalled_count++] = (struct sim_stalled){bytes, stream};
    d->stalled_bytes += bytes->size;
}

static void deliver(struct world *w, uint32_t from, uint32_t to, struct blob *bytes,
                    uint64_t stream)
{
    struct sim_dir *d = dir(w, from, to);
    uint64_t at_us = arrival(w, d, bytes->size);

    w->counts.frames++;
    if (w->lossy && sim_below(w, 1000000) < w->mix.loss_ppm) {
        w->counts.frames_lost++;
        blob_unref(bytes);
        return;
    }
    if (w->lossy && sim_below(w, 1000000) < w->mix.dup_ppm) {
        w->counts.frames_dup++;
        world_post(w, at_us + sim_spread(w, 100, 2 * SIM_SECOND), EV_FRAME, to, from, stream)
            ->bytes = blob_ref(bytes);
    }
    if (w->lossy && sim_below(w, 1000000) < w->mix.reorder_ppm) {
        w->counts.frames_late++;
        at_us += sim_spread(w, 100, 2 * SIM_SECOND);
    } else {
        at_us = in_order(d, at_us);
    }
    world_post(w, at_us, EV_FRAME, to, from, stream)->bytes = bytes;
}

void net_send(struct world *w, uint32_t from, uint32_t to, const void *bytes, size_t size)
{
    struct sim_dir *d = dir(w, from, to);

    if (d->up == 0) {
        return;
    }
    if (d->cuts > 0) {
        stall(w, from, to, blob_new(bytes, size), d->up);
    } else {
        deliver(w, from, to, blob_new(bytes, size), d->up);
    }
}

size_t net_queued(struct world *w, uint32_t from, uint32_t to)
{
    const struct sim_dir *d = dir(w, from, to);
    uint64_t busy_us = d->busy_us > w->now_us ? d->busy_us - w->now_us : 0;

    return d->up == 0 ? 0 : d->stalled_bytes + busy_us * w->mix.bytes_per_ms / 1000;
}

bool net_is_current(struct world *w, const struct sim_event *ev)
{
    return dir(w, ev->a, ev->b)->up == ev->x;
}

/* --- up and down ----------------------------------------------------------------------------- */

static void dial_later(struct world *w, uint32_t a, uint32_t b)
{
    uint32_t low = a < b ? a : b;

    world_post(w, w->now_us + sim_spread(w, DIAL_MS_MIN, DIAL_MS_MAX) * SIM_MS, EV_DIAL, low,
               a < b ? b : a, 0);
}

static void told_down(struct world *w, uint32_t side, uint32_t peer, uint64_t after_us)
{
    struct sim_dir *d = dir(w, side, peer);

    if (d->up != 0) {
        world_post(w, w->now_us + after_us, EV_LINK_DOWN, side, peer, d->up);
    }
}

/* Lives only rise: another sum means that one of the two processes is another one. */
static uint64_t lives(const struct world *w, uint32_t a, uint32_t b)
{
    return w->members[a].life + w->members[b].life;
}

/* Both are up and reach each other: the higher one hears of the stream first, then the lower. */
void net_dial(struct world *w, uint32_t a, uint32_t b)
{
    struct sim_dir *out = dir(w, a, b);
    struct sim_dir *in = dir(w, b, a);
    uint64_t stream, at_us;

    if (out->up != 0 || w->members[a].node == NULL || w->members[b].node == NULL || out->cuts > 0 ||
        in->cuts > 0) {
        return; /* the start, or the end of the partition, dials again */
    }
    stream = ++w->stream_next;
    at_us = in_order(out, arrival(w, out, 100));
    world_post(w, at_us, EV_LINK_UP, b, a, stream)->y = lives(w, a, b);
    at_us = in_order(in, at_us + delay(w, in));
    world_post(w, at_us, EV_LINK_UP, a, b, stream)->y = lives(w, a, b);
    world_post(w, w->now_us + REDIAL_MS * SIM_MS, EV_DIAL, a, b, 0); /* should this fail */
}

void net_link_event(struct world *w, const struct sim_event *ev, bool *ret_down, bool *ret_up)
{
    struct sim_dir *d = dir(w, ev->a, ev->b);

    *ret_up = ev->kind == EV_LINK_UP;
    *ret_down = *ret_up ? d->up != 0 : d->up == ev->x;
    if (*ret_up && (d->up >= ev->x || d->ended >= ev->x || ev->y != lives(w, ev->a, ev->b))) {
        *ret_up = *ret_down = false; /* a newer one came first, or the other side ended this one */
        dial_later(w, ev->a, ev->b);
        return;
    }
    if (*ret_up || *ret_down) {
        drop_stalled(d);
        d->up = *ret_up ? ev->x : 0;
    }
    if (*ret_up) {
        d->busy_us = w->now_us;
    } else if (*ret_down) {
        d->ended = dir(w, ev->b, ev->a)->ended = ev->x;
        dial_later(w, ev->a, ev->b);
        /* The other side sees the end of the stream, if that gets through. */
        if (dir(w, ev->b, ev->a)->up == ev->x && d->cuts == 0) {
            told_down(w, ev->b, ev->a, delay(w, d));
        }
    }
}

void net_break(struct world *w, uint32_t a, uint32_t b)
{
    if (dir(w, a, b)->up == 0 && dir(w, b, a)->up == 0) {
        return;
    }
    w->counts.links_broken++;
    told_down(w, a, b, sim_spread(w, 10, SIM_SECOND));
    told_down(w, b, a, sim_spread(w, 10, SIM_SECOND));
}

void net_member_up(struct world *w, uint32_t id)
{
    for (uint32_t peer = 1; peer <= w->mix.member_count; peer++) {
        if (peer == id) {
            continue;
        }
        dir(w, id, peer)->up = 0;
        drop_stalled(dir(w, id, peer));
        /* What it has of a former life is answered with a reset. */
        told_down(w, peer, id, sim_spread(w, 100, SIM_SECOND));
        if (id < peer) {
            world_post(w, w->now_us, EV_DIAL, id, peer, 0);
        } else {
            dial_later(w, id, peer);
        }
    }
}

void net_member_down(struct world *w, uint32_t id, bool power)
{
    for (uint32_t peer = 1; peer <= w->mix.member_count; peer++) {
        if (peer == id) {
            continue;
        }
        dir(w, id, peer)->up = 0;
        drop_stalled(dir(w, id, peer));
        if (!power && dir(w, id, peer)->cuts == 0) {
            told_down(w, peer, id, sim_spread(w, 100, SIM_SECOND / 10));
        }
    }
}

/* --- partitions ------------------------------------------------------------------------------ */

void net_cut(struct world *w, uint32_t from, uint32_t to)
{
    struct sim_dir *d = dir(w, from, to);

    if (d->cuts++ == 0 && d->up != 0 && sim_chance(w, 40)) {
        net_break(w, from, to);
    }
}

void net_uncut(struct world *w, uint32_t from, uint32_t to)
{
    struct sim_dir *d = dir(w, from, to);

    if (--d->cuts > 0) {
        return;
    }
    in_order(d, w->now_us + sim_spread(w, SIM_MS, SIM_SECOND / 2)); /* when it is tried again */
    for (size_t i = 0; i < d->stalled_count; i++) {
        deliver(w, from, to, d->stalled[i].bytes, d->stalled[i].stream);
    }
    d->stalled_count = d->stalled_bytes = 0;
    dial_later(w, from, to);
    if (dir(w, to, from)->up != d->up) {
        told_down(w, from, to, SIM_SECOND); /* the end that did not get through */
        told_down(w, to, from, SIM_SECOND);
    }
}

void net_done(struct world *w)
{
    for (uint32_t from = 1; from <= w->mix.member_count; from++) {
        for (uint32_t to = 1; to <= w->mix.member_count; to++) {
            drop_stalled(dir(w, from, to));
            mem_free(dir(w, from, to)->stalled);
        }
    }
}
