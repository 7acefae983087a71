#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"
#include "sim.h"

/* What a member's node does to the world, and what its storage thread and its snapshot child do.
 *
 * A batch and a snapshot reach the disk when they are done, in one piece; a crash before runs a
 * part of them first, up to a call to the disk. A crash can also fall between any two effects of a
 * call of the node: those behind it have no effect. */

enum { RETRY_FULL_MS = 250, RETRY_SPARE_MS = 1000, SECTOR_BYTES = 512 };

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

/* Most batches are a write and a sync, perhaps with zeros ahead: dead before the sync, they can be
 * torn. */
uint64_t member_disk_calls(struct sim_member *m)
{
    return sim_chance(m->w, 60) ? 2 + sim_below(m->w, 4) / 3 : sim_between(m->w, 1, 24);
}

/* The child is killed in the middle of its work; the parent need not be. */
void member_snapshot_cut(struct sim_member *m)
{
    struct vfs vfs;

    memfs_vfs(m->fs, &vfs);
    memfs_die_at(m->fs, member_disk_calls(m));
    snapshot_write(m, &vfs);
    memfs_revive(m->fs);
    m->w->counts.snapshots_failed++;
    m->snap_image.size = 0; /* the rest is the failure's report */
}

void member_on_snapshot(struct sim_member *m)
{
    struct node_time now = member_now(m);
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
void member_spare_later(struct sim_member *m)
{
    struct store_stats stats;

    store_stats(m->store, &stats);
    if (!stats.has_spare && !m->spare_due) {
        m->spare_due = true;
        world_post(m->w, m->w->now_us + RETRY_SPARE_MS * SIM_MS, EV_SPARE, m->id, 0, m->life);
    }
}

void member_on_spare(struct sim_member *m)
{
    int err = m->batch == NULL ? store_prepare(m->store, NULL) : 0;

    m->spare_due = false;
    if (err == ERR_IO) {
        m->store_failed = true;
        member_crash(m, false);
        return;
    }
    member_spare_later(m);
}

static void on_full(struct sim_member *m)
{
    struct node_time now = member_now(m);

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

/* Mostly a batch of more than one sector, which can be torn, or one that does more than append. */
static bool is_worth_it(struct sim_member *m)
{
    size_t size = 0;

    for (size_t i = 0; i < m->batch->count; i++) {
        const struct store_op *op = &m->batch->ops[i];

        if (op->type != STORE_OP_APPEND) {
            return sim_chance(m->w, 30);
        }
        for (size_t k = 0; k < op->u.append.count; k++) {
            size += op->u.append.entries[k].body != NULL ? op->u.append.entries[k].body->size : 0;
        }
    }
    return size > SECTOR_BYTES || sim_chance(m->w, 1);
}

void member_on_disk(struct sim_member *m)
{
    struct node_time now = member_now(m);
    int err;

    if (m->die_in_batch && is_worth_it(m)) {
        member_crash(m, m->die_power);
        return;
    }
    err = attempt(m);

    if (err == ERR_NOSPACE) {
        on_full(m);
        return;
    }
    if (err != 0) { /* the process ends, and what did reach the disk is judged at the next start */
        m->store_failed = true;
        member_crash(m, sim_chance(m->w, 20));
        return;
    }
    m->batch = NULL;
    if (m->is_full) {
        m->is_full = false;
        node_disk_full(m->node, false, &now);
    }
    node_stored(m->node, &now);
    member_spare_later(m);
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

static void io_store(void *ctx, const struct store_batch *batch)
{
    struct sim_member *m = ctx;

    if (!effect(m)) {
        return;
    }
    CHECK(m->batch == NULL);
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->ops[i].type == STORE_OP_INSTALL && m->snapping) {
            member_snapshot_cut(m); /* its state is older than the one that replaces it */
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

void member_io(struct sim_member *m, struct node_io *ret)
{
    *ret = (struct node_io){
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
}
