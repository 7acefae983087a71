#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"
#include "sim.h"

/* How a member starts and ends: open the store, load the tree, make the node, as
 * consensus/daemon/member.c does; and a crash, with what was under way reaching the disk in part.
 */

enum { RECOVERY_CALLS_MAX = 48, SHORT_LIFE_MAX = 30 };

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
    struct node_conf conf = {
        /* They differ, and writes reach beyond the smallest. */
        .value_size_max = mix->clients.value_size_max * (2 + m->id % 3) / 2,
        .snapshot_entries = mix->snapshot_entries,
        .history_changes = mix->history_changes,
        .history_bytes = mix->history_bytes,
        .apply_entries_max = mix->apply_entries_max,
        .request_deadline_ms_max = OPERATION_DEADLINE_MS_MAX,
    };
    struct node_time now = member_now(m);
    struct node_io io;
    struct zab_boot boot;

    member_io(m, &io);
    zab_conf_default(&conf.zab);
    conf.zab.self = m->id;
    conf.zab.member_count = mix->member_count;
    for (uint32_t i = 0; i < mix->member_count; i++) {
        conf.zab.members[i] = i + 1;
    }
    conf.zab.heartbeat_ms = mix->heartbeat_ms;
    conf.zab.election_min_ms = mix->election_min_ms;
    conf.zab.election_max_ms = mix->election_max_ms;
    conf.zab.lease_ms = mix->lease_ms;
    conf.zab.window_entries_max = mix->window_entries_max;
    conf.zab.window_size_max = mix->window_size_max;
    conf.zab.inflight_max = mix->inflight_max;
    conf.zab.gather_entries = mix->gather_entries;
    conf.zab.gather_ms = mix->gather_ms;
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
    if (w->phase != PHASE_STORM) {
        return;
    }
    if (w->mix.faults[SIM_KILL] && sim_chance(w, 15)) {
        memfs_die_at(m->fs, sim_between(w, 1, RECOVERY_CALLS_MAX));
    }
    if (w->mix.faults[SIM_KILL] && sim_chance(w, 10)) { /* and it does not live long */
        m->die_in = (uint32_t)sim_between(w, 1, SHORT_LIFE_MAX);
        m->die_power = w->mix.faults[SIM_POWER] && sim_chance(w, 50);
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

void member_start(struct sim_member *m)
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
    member_spare_later(m);
    net_member_up(w, m->id);
}

/* --- the end --------------------------------------------------------------------------------- */

void member_drop_deferred(struct sim_member *m)
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
        member_snapshot_cut(m);
    }
    if (m->batch == NULL) {
        return;
    }
    disk_keep_pending(m, m->batch);
    for (size_t i = 0; i < m->batch->count; i++) {
        w->counts.installs_cut += m->batch->ops[i].type == STORE_OP_INSTALL;
    }
    if (!m->store_failed && sim_chance(w, 70)) {
        w->counts.kills_in_batch++;
        memfs_die_at(m->fs, member_disk_calls(m));
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
    m->store_failed = false;
    m->paused = false;
    m->doomed = false;
    m->die_in = 0;
    m->die_in_batch = false;
    m->life++;
    member_drop_deferred(m);
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

void member_count_disk(struct sim_member *m)
{
    struct sim_counts *to = &m->w->counts;
    struct memfs_counts c;

    memfs_counts(m->fs, &c);
    to->eio_read += c.failed[MEMFS_READ];
    to->eio_write += c.failed[MEMFS_WRITE];
    to->eio_sync += c.failed[MEMFS_SYNC];
    to->no_space += c.no_space;
    to->sectors_lost += c.sectors_lost;
    to->files_torn += c.torn;
}

void member_replace_disk(struct sim_member *m)
{
    CHECK(m->node == NULL);
    m->w->counts.empties++;
    member_count_disk(m);
    memfs_free(m->fs);
    m->fs = memfs_new();
    memfs_vfs(m->fs, &m->store_conf.vfs);
    damage_mark(m);
    m->replaced = true;
}
