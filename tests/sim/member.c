#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"
#include "sim.h"

/* One member's life, in the order in which consensus/daemon does it: open the store, load the tree,
 * make the node; then turns, each ended by node_flush() and a timer at node_deadline(); one batch
 * in flight on the storage thread; one snapshot child.
 *
 * A batch and a snapshot reach the disk when they are done, in one piece; a crash before runs a
 * part of them first, up to a call to the disk. A crash can also fall between any two effects of a
 * call of the node: those behind it have no effect. */

enum { RETRY_FULL_MS = 250, RETRY_SPARE_MS = 1000, DISK_CALLS_MAX = 24 };

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

static struct node_time now_of(const struct sim_member *m)
{
    return (struct node_time){
        .mono_ms = member_ms(m, m->w->now_us),
        .wall_ns = 1700000000000000000 + (int64_t)m->w->now_us * 1000 + m->wall_offset_ns,
    };
}

/* --- struct node_io -------------------------------------------------------------------------- */

/* One more effect. False: it died before this one. */
static bool effect(struct sim_member *m)
{
    if (m->die_in > 0 && --m->die_in == 0) {
        m->doomed = true;
        m->w->counts.kills_in_effects++;
    }
    return !m->doomed;
}

static void io_send_peer(void *ctx, uint32_t peer, const void *bytes, size_t size)
{
    struct sim_member *m = ctx;

    if (effect(m)) {
        inv_sent(m->w, m, peer, bytes, size);
        net_send(m->w, m->id, peer, bytes, size);
    }
}

static size_t io_peer_queued(void *ctx, uint32_t peer)
{
    struct sim_member *m = ctx;

    return net_queued(m->w, m->id, peer);
}

static void io_send_client(void *ctx, uint64_t conn, const void *bytes, size_t size)
{
    struct sim_member *m = ctx;

    if (effect(m)) {
        streams_from_member(m->w, m->id, conn, bytes, size);
    }
}

static void io_close_client(void *ctx, uint64_t conn, const char *reason)
{
    struct sim_member *m = ctx;

    (void)reason;
    if (effect(m)) {
        streams_closed_by_member(m->w, m->id, conn);
    }
}

static uint64_t disk_us(const struct sim_member *m)
{
    struct world *w = m->w;

    return w->mix.disk_us + sim_below(w, w->mix.disk_spread_us + 1) + m->slow_disk_us;
}

static void snapshot_cut(struct sim_member *m);

static void io_store(void *ctx, const struct store_batch *batch)
{
    struct sim_member *m = ctx;

    if (!effect(m)) {
        return;
    }
    CHECK(m->batch == NULL);
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->ops[i].type == STORE_OP_INSTALL && m->snapping) {
            snapshot_cut(m); /* its state is older than the one that replaces it */
            world_post(m->w, m->w->now_us, EV_SNAPSHOT, m->id, 0, m->life)->y = m->snap_number;
        }
    }
    m->rest = *batch;
    m->batch = &m->rest;
    world_post(m->w, m->w->now_us + disk_us(m), EV_DISK, m->id, 0, m->life);
}

static void io_snapshot(void *ctx, const struct tree *tree, const struct store_pos *pos)
{
    struct sim_member *m = ctx;
    struct tree_image it;
    size_t got;

    if (!effect(m)) {
        return;
    }
    CHECK(!m->snapping);
    CHECK(tree_index(tree) == pos->index);
    m->snapping = true;
    m->snap_pos = *pos;
    m->snap_at = 0;
    m->snap_image.size = 0;
    tree_image_begin(&it, tree);
    do {
        buf_reserve(&m->snap_image, 4096);
        got = tree_image_read(&it, m->snap_image.data + m->snap_image.size,
                              m->snap_image.cap - m->snap_image.size);
        m->snap_image.size += got;
    } while (got > 0);
    world_post(m->w, m->w->now_us + 5 * disk_us(m), EV_SNAPSHOT, m->id, 0, m->life)->y =
        ++m->snap_number;
}

static void io_log(void *ctx, enum log_level level, const char *mod, const char *text)
{
    struct sim_member *m = ctx;
    uint64_t session;

    (void)level;
    if (sscanf(text, "ev=session_expired session=%" SCNu64, &session) == 1) {
        inv_expired(m->w, m, session);
    }
    sim_note(m->w, "member=%u mod=%s %s", m->id, mod, text);
}

static void io_stop(void *ctx, const char *reason)
{
    struct sim_member *m = ctx;

    sim_fail(m->w, "member %u stopped itself: %s", m->id, reason);
}

/* --- snapshots ------------------------------------------------------------------------------- */

static size_t produce(void *ctx, uint8_t *to, size_t cap)
{
    struct sim_member *m = ctx;
    size_t left = m->snap_image.size - m->snap_at;
    size_t size = left < cap ? left : cap;

    memcpy(to, m->snap_image.data + m->snap_at, size);
    m->snap_at += size;
    return size;
}

static int snapshot_write(struct sim_member *m, const struct vfs *vfs)
{
    uint8_t *buffer = mem_alloc(STORE_SNAPSHOT_BUFFER_SIZE);
    int err;

    m->snap_at = 0;
    err = store_snapshot_write(vfs, m->store_conf.cluster, &m->snap_pos, produce, m, buffer);
    mem_free(buffer);
    return err;
}

/* The child is killed in the middle of its work; the parent need not be. */
static void snapshot_cut(struct sim_member *m)
{
    struct vfs vfs;

    memfs_vfs(m->fs, &vfs);
    memfs_die_at(m->fs, sim_between(m->w, 1, DISK_CALLS_MAX));
    snapshot_write(m, &vfs);
    memfs_revive(m->fs);
    m->w->counts.snapshots_failed++;
    m->snap_image.size = 0; /* the rest is the failure's report */
}

static void on_snapshot(struct sim_member *m)
{
    struct node_time now = now_of(m);
    int err = m->snap_image.size > 0 ? snapshot_write(m, &m->store_conf.vfs) : ERR_INTR;
    bool ok = err == 0;

    m->snapping = false;
    if (err == ERR_IO) { /* the disk is not written to again */
        member_crash(m, sim_chance(m->w, 20));
        return;
    }
    m->w->counts.snapshots += ok;
    m->w->counts.snapshots_failed += !ok;
    node_snapshot_done(m->node, ok, &now);
}

/* --- storage --------------------------------------------------------------------------------- */

/* The spare segment that found no space is tried again between batches. */
static void spare_later(struct sim_member *m)
{
    struct store_stats stats;

    store_stats(m->store, &stats);
    if (!stats.has_spare && !m->spare_due) {
        m->spare_due = true;
        world_post(m->w, m->w->now_us + RETRY_SPARE_MS * SIM_MS, EV_SPARE, m->id, 0, m->life);
    }
}

static void on_spare(struct sim_member *m)
{
    int err = m->batch == NULL ? store_prepare(m->store, NULL) : 0;

    m->spare_due = false;
    if (err == ERR_IO) {
        member_crash(m, false);
        return;
    }
    spare_later(m);
}

static void on_full(struct sim_member *m)
{
    struct node_time now = now_of(m);

    m->w->counts.full_retries++;
    world_post(m->w, m->w->now_us + RETRY_FULL_MS * SIM_MS, EV_DISK, m->id, 0, m->life);
    if (!m->is_full) {
        m->is_full = true;
        node_disk_full(m->node, true, &now);
    }
}

static int attempt(struct sim_member *m)
{
    struct store_op purge = {.type = STORE_OP_PURGE};
    const struct store_batch making_space = {.ops = &purge, .count = 1};
    struct store_stats stats = {0};
    int err = m->is_full ? store_run(m->store, &making_space, NULL) : 0;

    if (err == 0) {
        err = store_run(m->store, m->batch, NULL);
        store_stats(m->store, &stats);
    }
    for (size_t i = 0; i < stats.batch_done; i++) {
        disk_apply(m->w, m, &m->batch->ops[i]);
    }
    m->rest.ops += stats.batch_done;
    m->rest.count -= stats.batch_done;
    return err;
}

static void on_disk(struct sim_member *m)
{
    struct node_time now = now_of(m);
    int err = attempt(m);

    if (err == ERR_NOSPACE) {
        on_full(m);
        return;
    }
    if (err != 0) { /* the process ends, and what did reach the disk is judged at the next start */
        member_crash(m, sim_chance(m->w, 20));
        return;
    }
    m->batch = NULL;
    if (m->is_full) {
        m->is_full = false;
        node_disk_full(m->node, false, &now);
    }
    node_stored(m->node, &now);
    spare_later(m);
}

/* --- start ----------------------------------------------------------------------------------- */

static int consume(void *ctx, const uint8_t *bytes, size_t size)
{
    return tree_loader_feed(ctx, bytes, size);
}

static int load_tree(struct sim_member *m, const struct store_recovered *rec, struct tree **ret)
{
    struct tree_loader *loader;
    int err;

    if (!rec->has_snapshot) {
        *ret = tree_new();
        return 0;
    }
    loader = tree_loader_new();
    err = store_snapshot_read(m->store, &rec->snapshot, consume, loader);
    if (err != 0) {
        tree_loader_free(loader);
        return err;
    }
    return tree_loader_finish(loader, ret);
}

static void make_node(struct sim_member *m, const struct store_recovered *rec, struct tree *tree)
{
    const struct sim_mix *mix = &m->w->mix;
    const struct node_io io = {
        .ctx = m,
        .send_peer = io_send_peer,
        .peer_queued = io_peer_queued,
        .send_client = io_send_client,
        .close_client = io_close_client,
        .store = io_store,
        .snapshot = io_snapshot,
        .log = io_log,
        .stop = io_stop,
    };
    struct node_conf conf = {
        /* They differ, and writes reach beyond the smallest. */
        .value_size_max = mix->clients.value_size_max * (2 + m->id % 3) / 2,
        .snapshot_entries = mix->snapshot_entries,
        .request_deadline_ms_max = OPERATION_DEADLINE_MS_MAX,
    };
    struct node_time now = now_of(m);
    struct zab_boot boot;

    zab_conf_default(&conf.zab);
    conf.zab.self = m->id;
    conf.zab.member_count = mix->member_count;
    for (uint32_t i = 0; i < mix->member_count; i++) {
        conf.zab.members[i] = i + 1;
    }
    conf.zab.heartbeat_ms = mix->heartbeat_ms;
    conf.zab.election_min_ms = mix->election_min_ms;
    conf.zab.election_max_ms = mix->election_max_ms;
    conf.zab.window_entries_max = mix->window_entries_max;
    conf.zab.window_size_max = mix->window_size_max;
    conf.zab.inflight_max = mix->inflight_max;
    conf.zab.seed = prng_next(&m->w->prng);
    node_boot_from_store(rec, &boot);
    m->node = node_new(&conf, &io, &boot, tree, &now);
    node_boot_done(&boot);
}

/* Recovery may be the moment of the next crash, or of a read that fails. */
static void arm_recovery(struct sim_member *m)
{
    struct world *w = m->w;

    m->unread = false;
    if (w->in_core[m->id] || w->phase > 0) {
        return;
    }
    if (w->mix.faults[SIM_KILL] && sim_chance(w, 15)) {
        memfs_die_at(m->fs, sim_between(w, 1, 2 * DISK_CALLS_MAX));
    }
    if (w->mix.faults[SIM_EIO] && sim_chance(w, 5)) {
        memfs_fail_at(m->fs, MEMFS_SYNC, sim_between(w, 1, 4));
    }
    if (w->mix.faults[SIM_EIO] && damage_allowed(w, m) && sim_chance(w, 5)) {
        memfs_fail_at(m->fs, MEMFS_READ, sim_between(w, 1, 8));
        m->unread = true;
        damage_mark(m); /* what could not be read is gone, as far as recovery can tell */
    }
}

static void start_failed(struct sim_member *m, int err, const char *note)
{
    struct world *w = m->w;
    bool died = memfs_is_dead(m->fs);

    w->counts.kills_in_recovery += died;
    if (died && w->mix.faults[SIM_POWER] && sim_chance(w, 50)) {
        memfs_crash(m->fs, prng_next(&w->prng));
    } else {
        memfs_kill(m->fs);
    }
    if (!died && err != ERR_IO && err != ERR_NOSPACE && !m->damaged) {
        sim_fail(w, "member %u does not start: %s: %s", m->id, err_text(err), note);
    }
    if (!died && (err == ERR_CORRUPT || err == ERR_FOREIGN) && m->damaged) {
        /* Identity and vote are lost: an operator has to replace the disk. */
        if (damage_may_replace(w, m)) {
            member_replace_disk(m);
        }
    }
    member_start_at(m, w->now_us + sim_spread(w, 10 * SIM_MS, SIM_SECOND));
}

static void note_files(const struct sim_member *m)
{
    for (size_t i = 0; m->w->print && memfs_name(m->fs, i) != NULL; i++) {
        size_t size;

        memfs_bytes(m->fs, memfs_name(m->fs, i), &size);
        sim_note(m->w, "member=%u file %s, %zu bytes", m->id, memfs_name(m->fs, i), size);
    }
}

static void start(struct sim_member *m)
{
    struct world *w = m->w;
    struct store_recovered rec;
    struct tree *tree = NULL;
    char note[256] = "";
    int err;

    if (m->node != NULL || m->held) {
        return;
    }
    arm_recovery(m);
    m->store_conf.incarnation = (struct hash128){prng_next(&w->prng), m->id};
    err = store_open(&m->store_conf, &m->store, &rec, note);
    if (err != 0) {
        m->store = NULL;
        start_failed(m, err, note);
        return;
    }
    err = load_tree(m, &rec, &tree);
    if (err != 0 || memfs_is_dead(m->fs)) {
        if (err == 0) {
            tree_free(tree);
        }
        store_recovered_done(&rec);
        store_close(m->store);
        m->store = NULL;
        start_failed(m, err == 0 ? ERR_IO : err, "the snapshot's image");
        return;
    }
    memfs_die_at(m->fs, 0);
    memfs_fail_at(m->fs, MEMFS_READ, 0);
    memfs_fail_at(m->fs, MEMFS_SYNC, 0);
    w->counts.restarts++;
    w->counts.torn_tails += rec.torn_tail;
    w->counts.faulty += rec.faulty;
    sim_note(w,
             "member=%u recovered new=%d snapshot=%" PRIu64 " entries=%zu promised=%" PRIu64
             " torn=%d faulty=%d claimed=%" PRIu64 " note=\"%s\"",
             m->id, rec.is_new, rec.snapshot.index, rec.entry_count, rec.promised_epoch,
             rec.torn_tail, rec.faulty, rec.claimed_index, rec.note);
    note_files(m);
    disk_recovered(w, m, &rec);
    damage_recovered(m, &rec);
    m->life++;
    m->installed = 0;
    m->timer_us = UINT64_MAX;
    make_node(m, &rec, tree);
    store_recovered_done(&rec);
    node_view(m->node, &m->view);
    m->tree_seen = 0;
    spare_later(m);
    net_member_up(w, m->id);
}

/* --- the end --------------------------------------------------------------------------------- */

static void drop_deferred(struct sim_member *m)
{
    for (size_t i = 0; i < m->deferred_count; i++) {
        world_event_done(&m->deferred[i]);
    }
    m->deferred_count = 0;
}

/* What was under way reaches the disk in part. */
static void crash_storage(struct sim_member *m)
{
    struct world *w = m->w;

    if (m->snapping && m->snap_image.size > 0 && sim_chance(w, 50)) {
        w->counts.kills_in_snapshot++;
        snapshot_cut(m);
    }
    if (m->batch == NULL) {
        return;
    }
    disk_keep_pending(m, m->batch);
    for (size_t i = 0; i < m->batch->count; i++) {
        w->counts.installs_cut += m->batch->ops[i].type == STORE_OP_INSTALL;
    }
    if (!memfs_is_dead(m->fs) && sim_chance(w, 70)) {
        w->counts.kills_in_batch++;
        memfs_die_at(m->fs, sim_between(w, 1, DISK_CALLS_MAX));
        store_run(m->store, m->batch, NULL);
    }
}

void member_crash(struct sim_member *m, bool power)
{
    struct world *w = m->w;

    if (m->node == NULL) {
        return;
    }
    if (power) {
        w->counts.powers++;
    } else {
        w->counts.kills++;
    }
    sim_note(w, "member=%u dies%s", m->id, power ? ", power fails" : "");
    crash_storage(m);
    store_close(m->store);
    m->store = NULL;
    node_free(m->node);
    m->node = NULL;
    m->batch = NULL;
    m->snapping = false;
    m->flush_due = false;
    m->spare_due = false;
    m->is_full = false;
    m->paused = false;
    m->doomed = false;
    m->die_in = 0;
    m->life++;
    drop_deferred(m);
    if (power) {
        memfs_crash(m->fs, prng_next(&w->prng));
        m->clock_base_us = w->now_us; /* a new boot, a new clock */
        m->clock_local_us = sim_spread(w, SIM_SECOND, 3600 * (uint64_t)SIM_SECOND);
    } else {
        memfs_kill(m->fs);
    }
    net_member_down(w, m->id, power);
    streams_member_down(w, m->id, power);
    member_start_at(m, w->now_us + sim_spread(w, 5, w->mix.down_ms_max) * SIM_MS);
}

void member_start_at(struct sim_member *m, uint64_t at_us)
{
    if (!m->held) {
        world_post(m->w, at_us, EV_START, m->id, 0, m->life);
    }
}

void member_replace_disk(struct sim_member *m)
{
    CHECK(m->node == NULL);
    m->w->counts.empties++;
    memfs_free(m->fs);
    m->fs = memfs_new();
    memfs_vfs(m->fs, &m->store_conf.vfs);
    damage_mark(m);
    m->replaced = true;
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
    struct node_time now = now_of(m);

    node_tick(m->node, &now);
    step_done(m);
}

/* The loop looks at its timers first; then it finds all that came in. */
void member_resume(struct sim_member *m)
{
    uint64_t life = m->life;

    if (!m->paused) {
        return;
    }
    m->paused = false;
    if (node_deadline(m->node) <= member_ms(m, m->w->now_us)) {
        tick(m);
    }
    for (size_t i = 0; i < m->deferred_count && m->life == life; i++) {
        struct sim_event ev = m->deferred[i];

        m->deferred[i].bytes = NULL;
        member_on_event(m, &ev);
        world_event_done(&ev);
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
    struct node_time now = now_of(m);

    m->flush_due = false;
    node_flush(m->node, &now);
    if (m->doomed) {
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
    struct node_time now = now_of(m);
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
    struct node_time now = now_of(m);

    if (!net_is_current(m->w, ev)) {
        return;
    }
    if (node_peer_frame(m->node, ev->b, ev->bytes->data, ev->bytes->size, &now) != 0) {
        sim_fail(m->w, "member %u finds a frame of member %u malformed", m->id, ev->b);
    }
}

static void on_client(struct sim_member *m, const struct sim_event *ev)
{
    struct sim_stream *s = streams_find(m->w, ev->x);
    struct node_time now = now_of(m);

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
        on_disk(m);
        break;
    case EV_SPARE:
        on_spare(m);
        break;
    case EV_SNAPSHOT:
        on_snapshot(m);
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
        start(m);
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
    m->drift_ppm =
        (int32_t)sim_below(w, 2 * w->mix.drift_ppm_max + 1) - (int32_t)w->mix.drift_ppm_max;
    m->wall_offset_ns = (int64_t)sim_below(w, 4 * (uint64_t)1000000000) - 2000000000;
    member_start_at(m, sim_spread(w, 1, 2 * SIM_SECOND));
}

void member_done(struct sim_member *m)
{
    if (m->node != NULL) {
        node_free(m->node);
        store_close(m->store);
    }
    drop_deferred(m);
    mem_free(m->deferred);
    disk_drop_pending(m);
    disk_done(&m->disk);
    disk_done(&m->lost);
    buf_done(&m->snap_image);
    memfs_free(m->fs);
}
