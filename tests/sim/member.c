#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"
#include "sim.h"

/* One member: its machine, its clock, its pauses, and the turns of its loop, each ended by
 * node_flush() and a timer at node_deadline(). member_start.c has its start and its end,
 * member_io.c what it does to network and disk. */

static void step_done(struct sim_member *m);

/* --- clocks ---------------------------------------------------------------------------------- */

static uint64_t local_us(const struct sim_member *m, uint64_t true_us)
{
    int64_t gone = (int64_t)(true_us - m->clock_base_us);

    return m->clock_local_us + (uint64_t)(gone + gone / 1000000 * m->drift_ppm +
                                          gone % 1000000 * m->drift_ppm / 1000000);
}

uint64_t member_ms(const struct sim_member *m, uint64_t true_us)
{
    return local_us(m, true_us) / SIM_MS;
}

/* The true time at which the member's clock shows `ms`, or a moment later; now, if it does. */
static uint64_t true_us(const struct sim_member *m, uint64_t ms)
{
    int64_t left = (int64_t)(ms * SIM_MS - m->clock_local_us);

    if (ms <= member_ms(m, m->w->now_us)) {
        return m->w->now_us;
    }
    return m->clock_base_us + (uint64_t)(left - left * m->drift_ppm / (1000000 + m->drift_ppm)) + 2;
}

void member_set_drift(struct sim_member *m, int32_t ppm)
{
    m->clock_local_us = local_us(m, m->w->now_us);
    m->clock_base_us = m->w->now_us;
    m->drift_ppm = ppm;
}

void member_draw_drift(struct sim_member *m)
{
    int32_t max = (int32_t)m->w->mix.drift_ppm_max;
    int32_t ppm = (int32_t)sim_below(m->w, 2 * (uint64_t)max + 1) - max;

    if (sim_chance(m->w, 50)) { /* the ends are what margins are for */
        ppm = ppm < 0 ? -max : max;
    }
    member_set_drift(m, ppm);
}

struct node_time member_now(const struct sim_member *m)
{
    return (struct node_time){
        .mono_ms = member_ms(m, m->w->now_us),
        .wall_ns = 1700000000000000000 + (int64_t)m->w->now_us * 1000 + m->wall_offset_ns,
    };
}

/* --- pauses ---------------------------------------------------------------------------------- */

void member_pause(struct sim_member *m, uint64_t us)
{
    if (member_up(m)) {
        m->w->counts.pauses++;
        m->paused = true;
        world_post(m->w, m->w->now_us + us, EV_RESUME, m->id, 0, m->life);
    }
}

static void defer(struct sim_member *m, struct sim_event *ev)
{
    if (m->deferred_count == m->deferred_cap) {
        m->deferred_cap = m->deferred_cap > 0 ? 2 * m->deferred_cap : 64;
        m->deferred = mem_realloc(m->deferred, m->deferred_cap * sizeof(*m->deferred));
    }
    m->deferred[m->deferred_count++] = *ev;
    ev->bytes = NULL; /* moved along */
}

static void tick(struct sim_member *m)
{
    struct node_time now = member_now(m);

    node_tick(m->node, &now);
    step_done(m);
}

/* Handles what came in meanwhile: of clients only, or all that is left. */
static void run_deferred(struct sim_member *m, bool of_clients)
{
    uint64_t life = m->life;

    for (size_t i = 0; i < m->deferred_count && m->life == life; i++) {
        struct sim_event ev = m->deferred[i];

        if (ev.kind == EV_PHASE || (of_clients && ev.kind != EV_CL_OPEN &&
                                    ev.kind != EV_CL_REQUEST && ev.kind != EV_CL_GONE)) {
            continue;
        }
        m->deferred[i].bytes = NULL;
        m->deferred[i].kind = EV_PHASE; /* no member's: done */
        member_on_event(m, &ev);
        world_event_done(&ev);
    }
}

/* Stopped somewhere in its loop, it looks at its timers first; stopped while it waited, as it
 * mostly does, it first finds all that came in, and may serve one socket's words before another's.
 */
void member_resume(struct sim_member *m)
{
    uint64_t life = m->life;

    if (!m->paused) {
        return;
    }
    m->paused = false;
    if (sim_chance(m->w, 50) && node_deadline(m->node) <= member_ms(m, m->w->now_us)) {
        tick(m);
    }
    if (sim_chance(m->w, 50)) {
        run_deferred(m, true);
    }
    if (m->life == life) {
        run_deferred(m, false);
    }
    if (m->life == life) {
        m->deferred_count = 0;
    }
}

bool member_up(const struct sim_member *m)
{
    return m->node != NULL && !m->paused;
}

/* --- turns ----------------------------------------------------------------------------------- */

static void set_timer(struct sim_member *m)
{
    uint64_t at_us = true_us(m, node_deadline(m->node));

    at_us = at_us > m->w->now_us ? at_us : m->w->now_us + 1;
    if (at_us < m->timer_us) {
        m->timer_us = at_us;
        world_post(m->w, at_us, EV_TIMER, m->id, 0, m->life);
    }
}

static void flush(struct sim_member *m)
{
    struct node_time now = member_now(m);

    m->flush_due = false;
    node_flush(m->node, &now);
    if (m->doomed) {
        inv_after(m->w, m); /* what it committed last is committed, though nobody heard of it */
        member_crash(m, m->die_power);
        return;
    }
    inv_after(m->w, m);
    set_timer(m);
}

/* After every call of the node but node_flush(). */
static void step_done(struct sim_member *m)
{
    if (m->node == NULL) {
        return;
    }
    if (m->doomed) {
        inv_after(m->w, m); /* what it committed last is committed, though nobody heard of it */
        member_crash(m, m->die_power);
        return;
    }
    inv_after(m->w, m);
    if (m->w->mix.turn_us == 0) {
        flush(m);
    } else if (!m->flush_due) {
        m->flush_due = true;
        world_post(m->w, m->w->now_us + m->w->mix.turn_us, EV_FLUSH, m->id, 0, m->life);
    }
}

/* --- events ---------------------------------------------------------------------------------- */

static void on_link(struct sim_member *m, const struct sim_event *ev)
{
    struct node_time now = member_now(m);
    bool down, up;

    net_link_event(m->w, ev, &down, &up);
    if (down) {
        node_peer_down(m->node, ev->b, &now);
    }
    if (up) {
        node_peer_up(m->node, ev->b, &now);
    }
}

static void on_frame(struct sim_member *m, const struct sim_event *ev)
{
    struct node_time now = member_now(m);

    if (!net_is_current(m->w, ev)) {
        return;
    }
    inv_arrives(m->w, m, ev->b, ev->bytes->data, ev->bytes->size);
    if (node_peer_frame(m->node, ev->b, ev->bytes->data, ev->bytes->size, &now) != 0) {
        sim_fail(m->w, "member %u finds a frame of member %u malformed", m->id, ev->b);
    }
}

static void on_client(struct sim_member *m, const struct sim_event *ev)
{
    struct sim_stream *s = streams_find(m->w, ev->x);
    struct node_time now = member_now(m);

    if (s == NULL) {
        return;
    }
    if (ev->kind == EV_CL_OPEN) {
        s->opening = false;
        s->at_member = true;
        node_client_open(m->node, s->id);
    } else if (!s->at_member) {
        return; /* the node closed it */
    } else if (ev->kind == EV_CL_GONE) {
        s->at_member = false;
        node_client_closed(m->node, s->id);
        streams_release(m->w, s);
    } else if (node_client_frame(m->node, s->id, ev->bytes->data, ev->bytes->size, &now) != 0) {
        sim_fail(m->w, "member %u finds a request of client %u malformed", m->id, ev->b);
    }
}

/* An event for a process that is not there any more. */
static bool is_stale(struct sim_member *m, const struct sim_event *ev)
{
    switch (ev->kind) {
    case EV_TIMER:
    case EV_FLUSH:
    case EV_DISK:
    case EV_SPARE:
        return m->node == NULL || ev->x != m->life;
    case EV_SNAPSHOT:
        return m->node == NULL || ev->x != m->life || !m->snapping || ev->y != m->snap_number;
    case EV_RESUME:
        return ev->x != m->life;
    case EV_START:
        return m->node != NULL || ev->x != m->life;
    default:
        return m->node == NULL;
    }
}

static void handle(struct sim_member *m, struct sim_event *ev)
{
    switch (ev->kind) {
    case EV_TIMER:
        m->timer_us = UINT64_MAX;
        if (node_deadline(m->node) > member_ms(m, m->w->now_us)) {
            set_timer(m);
            return;
        }
        tick(m);
        return;
    case EV_FLUSH:
        flush(m);
        return;
    case EV_DISK:
        member_on_disk(m);
        break;
    case EV_SPARE:
        member_on_spare(m);
        break;
    case EV_SNAPSHOT:
        member_on_snapshot(m);
        break;
    case EV_LINK_UP:
    case EV_LINK_DOWN:
        on_link(m, ev);
        break;
    case EV_FRAME:
        on_frame(m, ev);
        break;
    default:
        on_client(m, ev);
        break;
    }
    step_done(m);
}

void member_on_event(struct sim_member *m, struct sim_event *ev)
{
    if (is_stale(m, ev)) {
        if (ev->kind == EV_CL_OPEN) {
            struct sim_stream *s = streams_find(m->w, ev->x);

            if (s != NULL) {
                s->opening = false;
                streams_release(m->w, s);
            }
        }
        return;
    }
    if (ev->kind == EV_START) {
        member_start(m);
        if (m->node != NULL) {
            step_done(m);
        }
    } else if (ev->kind == EV_RESUME) {
        member_resume(m);
    } else if (m->paused) {
        defer(m, ev);
    } else {
        handle(m, ev);
    }
}

/* --- the machine ----------------------------------------------------------------------------- */

void member_init(struct world *w, uint32_t id)
{
    struct sim_member *m = &w->members[id];

    m->w = w;
    m->id = id;
    m->fs = memfs_new();
    m->store_conf = (struct store_conf){
        .cluster = {w->seed, 77},
        .member = id,
        .segment_size = w->mix.segment_size,
        .snapshots_kept = 2,
    };
    memfs_vfs(m->fs, &m->store_conf.vfs);
    m->clock_local_us = sim_spread(w, SIM_SECOND, 1000000 * (uint64_t)SIM_SECOND);
    member_draw_drift(m);
    m->wall_offset_ns = (int64_t)sim_below(w, 4 * (uint64_t)1000000000) - 2000000000;
    member_start_at(m, sim_spread(w, 1, 2 * SIM_SECOND));
}

void member_done(struct sim_member *m)
{
    if (m->node != NULL) {
        node_free(m->node);
        store_close(m->store);
    }
    member_drop_deferred(m);
    mem_free(m->deferred);
    disk_drop_pending(m);
    disk_done(&m->disk);
    disk_done(&m->lost);
    buf_done(&m->snap_image);
    memfs_free(m->fs);
}
