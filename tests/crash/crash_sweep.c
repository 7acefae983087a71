/* A store lives a long made-up life, and dies at every call that changes its disk.
 *
 * The life: votes, appends, truncations, segments that follow one another, own snapshots, purges,
 * peers' snapshots in pieces that are dropped, sealed, installed, restarts, a disk that runs full
 * and has space again. It is lived once undisturbed, to know the state after each step, and then
 * again; before each call that changes the disk, and in the middle of each larger write, copies of
 * the disk are made as a process killed there leaves them, and as a power failure there would,
 * several times, each losing and tearing other parts of what was not synced. Each copy is
 * recovered.
 *
 * What is found must be the state after the last finished step, which was acknowledged, or after
 * the one under way, and nothing else: no entry, vote or snapshot less, no truncated one back,
 * nothing called damaged. What was found once is found again, also when the power fails right then,
 * or when the recovery itself dies at any of its calls. And the store can be lived with. */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"
#include "prng.h"
#include "store_rig.h"

enum {
    STEPS = 650,
    POINTS_MIN = 2000,
    POWER_FAILURES = 3, /* at each point */
    NESTED_EVERY = 60,  /* points at which the recovery dies, too */
    NESTED_STRIDE = 3,  /* calls of the recovery between two such deaths */
    LIVE_ON_EVERY = 5,  /* points from which the life goes on for a while */
    SNAPSHOTS_MAX = 32,
    INDEX_HIGH = 800, /* a peer's snapshot brings the log back to low indexes */
    FAILURES_MAX = 5,
};

struct state { /* after a step that nothing disturbed */
    uint64_t promised, last;
    uint32_t voted_for;
    struct {
        uint64_t index;
        size_t size;
    } snapshots[SNAPSHOTS_MAX]; /* rising */
    size_t snapshot_count;
    struct store_pos at[RIG_INDEX_MAX + 1];
};

struct life {
    struct rig *rig;
    struct prng prng;
    struct state now;
    int full_for; /* steps for which the disk has no space */
    enum { TRANSFER_NONE, TRANSFER_PIECES, TRANSFER_SEALED } transfer;
    uint64_t transfer_index;
    size_t transfer_size;
};

static struct {
    struct vfs disk; /* that of the life, without the sweep in front of it */
    struct memfs *fs;
    bool is_armed;
    const struct state *states;
    int step;      /* under way */
    bool installs; /* a peer's snapshot, in this step */
    uint64_t points, recoveries, failures;
} sweep;

static uint64_t below(struct life *l, uint64_t n)
{
    return prng_below(&l->prng, n);
}

/* --- judging what is found -------------------------------------------------------------------- */

static void failed(const char *story, const struct rig *r, uint64_t seed)
{
    fprintf(stderr,
            "FAILED: point %" PRIu64 " in step %d, seed %" PRIu64 ": %s: last=%" PRIu64
            " snapshot=%" PRIu64 " promised=%" PRIu64 " faulty=%d note=%s\n",
            sweep.points, sweep.step, seed, story, r->last, r->rec.snapshot.index,
            r->rec.promised_epoch, r->rec.faulty, r->note);
    if (++sweep.failures >= FAILURES_MAX) {
        exit(1);
    }
}

/* While a peer's snapshot takes the place of newer ones, these are removed one by one: until the
 * last is gone the old state is found with one of them and the log behind it. */
static bool state_is(struct rig *r, const struct state *s, bool any_snapshot)
{
    size_t i = s->snapshot_count;

    if (r->rec.faulty || r->last != s->last || r->rec.promised_epoch != s->promised ||
        r->rec.voted_for != s->voted_for || r->rec.has_snapshot != (i > 0)) {
        return false;
    }
    memcpy(r->at, s->at, sizeof(r->at));
    if (i == 0) {
        return rig_recovered(r, 1, s->last);
    }
    do {
        i--;
    } while (any_snapshot && i > 0 && s->snapshots[i].index > r->rec.snapshot.index);
    return r->rec.snapshot.index == s->snapshots[i].index &&
           rig_snapshot_is(r, s->snapshots[i].index, s->snapshots[i].size) &&
           rig_recovered(r, s->snapshots[i].index + 1, s->last);
}

static bool state_is_allowed(struct rig *r)
{
    static const struct state nothing;
    const struct state *before = sweep.step > 0 ? &sweep.states[sweep.step - 1] : &nothing;

    return state_is(r, &sweep.states[sweep.step], false) || state_is(r, before, sweep.installs);
}

static struct rig *rig_on(struct memfs *fs)
{
    struct rig *r = rig_new();

    memfs_free(r->fs);
    r->fs = fs;
    memfs_vfs(fs, &r->conf.vfs);
    return r;
}

static struct memfs *disk_after(uint64_t seed)
{
    struct memfs *fs = memfs_clone(sweep.fs);

    if (seed != 0) {
        memfs_crash(fs, seed);
    }
    return fs;
}

static bool judge(struct rig *r, const char *story, uint64_t seed)
{
    int rc = rig_open(r);

    sweep.recoveries++;
    if (rc != 0 || !state_is_allowed(r)) {
        failed(rc != 0 ? err_text(rc) : story, r, seed);
        return false;
    }
    return true;
}

/* The recovery reported it, so it is on the disk from then on. */
static void judge_again(struct rig *r, uint64_t seed)
{
    uint64_t last = r->last, snapshot = r->rec.snapshot.index, promised = r->rec.promised_epoch;

    rig_close(r);
    memfs_crash(r->fs, seed + 1);
    if (judge(r, "the power failed right after the recovery", seed) &&
        (r->last != last || r->rec.snapshot.index != snapshot ||
         r->rec.promised_epoch != promised)) {
        failed("another recovery finds something else", r, seed);
    }
}

static void live_on(struct rig *r, uint64_t seed)
{
    uint64_t last = r->last, snapshot = r->rec.snapshot.index;
    int rc;

    r->epoch = 1000;
    rc = rig_append(r, 2, 3000);
    rc = rc == 0 ? rig_truncate(r, last + 1) : rc;
    rc = rc == 0 ? rig_append(r, 3, 3000) : rc;
    rc = rc == 0 ? rig_open(r) : rc;
    sweep.recoveries++;
    if (rc != 0 || r->rec.faulty || !rig_recovered(r, snapshot + 1, last + 4)) {
        failed("it cannot be lived with", r, seed);
    }
}

/* Death in the recovery, at call after call of it. */
static void judge_nested(uint64_t seed)
{
    bool is_open = false;

    for (uint64_t call = 1; !is_open; call += NESTED_STRIDE) {
        struct rig *r = rig_on(disk_after(seed));

        memfs_die_at(r->fs, call);
        is_open = rig_open(r) == 0 && !memfs_is_dead(r->fs);
        rig_close(r);
        if (call % 2 == 0) {
            memfs_kill(r->fs);
        } else {
            memfs_crash(r->fs, seed + call);
        }
        memfs_die_at(r->fs, 0);
        judge(r, "after a death in the recovery", seed);
        rig_free(r);
    }
}

static void point(void)
{
    sweep.points++;
    for (uint64_t i = 0; i <= POWER_FAILURES; i++) {
        uint64_t seed = i == 0 ? 0 : sweep.points * 1000 + i;
        struct rig *r = rig_on(disk_after(seed));

        if (judge(r, i == 0 ? "killed" : "the power failed", seed)) {
            if (i == 0) { /* only here is anything left that was not synced */
                judge_again(r, sweep.points);
            } else if (i == 2 && sweep.points % LIVE_ON_EVERY == 0) {
                live_on(r, seed);
            }
        }
        rig_free(r);
    }
    if (sweep.points % NESTED_EVERY == 0) {
        judge_nested(sweep.points * 1000 + 1);
    }
}

/* --- in front of the disk: calls that do not change it are no points -------------------------- */

static int sweep_open(void *ctx, const char *name, int flags, int mode)
{
    if (sweep.is_armed && (flags & (O_CREAT | O_TRUNC))) {
        point();
    }
    return sweep.disk.open(ctx, name, flags, mode);
}

static ssize_t sweep_pwrite(void *ctx, int fd, const void *from, size_t size, uint64_t offset)
{
    ssize_t n;

    if (!sweep.is_armed) {
        return sweep.disk.pwrite(ctx, fd, from, size, offset);
    }
    point();
    if (size >= 4 * 512) { /* a killed process has done part of it */
        n = sweep.disk.pwrite(ctx, fd, from, size / 2 / 512 * 512, offset);
        if (n < 0) {
            return n;
        }
        point();
    }
    return sweep.disk.pwrite(ctx, fd, from, size, offset);
}

static int sweep_allocate(void *ctx, int fd, uint64_t size)
{
    if (sweep.is_armed) {
        point();
    }
    return sweep.disk.allocate(ctx, fd, size);
}

static int sweep_sync(void *ctx, int fd)
{
    if (sweep.is_armed) {
        point();
    }
    return sweep.disk.sync(ctx, fd);
}

static int sweep_rename(void *ctx, const char *from, const char *to)
{
    if (sweep.is_armed) {
        point();
    }
    return sweep.disk.rename(ctx, from, to);
}

static int sweep_unlink(void *ctx, const char *name)
{
    if (sweep.is_armed) {
        point();
    }
    return sweep.disk.unlink(ctx, name);
}

static int sweep_sync_dir(void *ctx)
{
    if (sweep.is_armed) {
        point();
    }
    return sweep.disk.sync_dir(ctx);
}

static void sweep_in_front(struct rig *r)
{
    sweep.disk = r->conf.vfs;
    sweep.fs = r->fs;
    r->conf.vfs.open = sweep_open;
    r->conf.vfs.pwrite = sweep_pwrite;
    r->conf.vfs.allocate = sweep_allocate;
    r->conf.vfs.sync = sweep_sync;
    r->conf.vfs.rename = sweep_rename;
    r->conf.vfs.unlink = sweep_unlink;
    r->conf.vfs.sync_dir = sweep_sync_dir;
}

/* --- the life -------------------------------------------------------------------------------- */

/* 0, or not for want of space. */
static bool did(struct life *l, int rc)
{
    if (rc == ERR_NOSPACE && l->full_for > 0) {
        return false;
    }
    if (rc != 0) {
        fprintf(stderr, "FAILED: step %d: %s: %s\n", sweep.step, err_text(rc), l->rig->note);
        exit(1);
    }
    return true;
}

static uint64_t newest_snapshot(const struct life *l)
{
    return l->now.snapshot_count > 0 ? l->now.snapshots[l->now.snapshot_count - 1].index : 0;
}

static void append(struct life *l)
{
    static const size_t sizes[] = {0, 1, 100, 100, 200, 500, 3000, 3000, 11000, 30000};
    size_t size = sizes[below(l, sizeof(sizes) / sizeof(sizes[0]))];
    int rc = below(l, 4) == 0 ? rig_append_ops(l->rig, 1 + below(l, 3), size)
                              : rig_append(l->rig, 1 + below(l, 3), size);

    did(l, rc);
}

static void vote(struct life *l)
{
    uint64_t epoch = l->now.promised + below(l, 2);
    uint32_t voted_for = epoch == l->now.promised && l->now.voted_for != 0
                             ? l->now.voted_for
                             : 1 + (uint32_t)below(l, 3);

    epoch = epoch == 0 ? 1 : epoch;
    if (did(l, rig_vote(l->rig, epoch, voted_for))) {
        l->now.promised = epoch;
        l->now.voted_for = voted_for;
    }
}

static void truncate_log(struct life *l)
{
    uint64_t from = newest_snapshot(l);

    if (l->now.promised >
        l->rig->epoch) { /* only a new leader cuts, and then writes in its epoch */
        l->rig->epoch = l->now.promised;
        did(l, rig_truncate(l->rig, from + below(l, l->rig->last - from + 1)));
    }
}

static void snapshot_added(struct life *l, uint64_t index, size_t size)
{
    CHECK(l->now.snapshot_count < SNAPSHOTS_MAX);
    l->now.snapshots[l->now.snapshot_count].index = index;
    l->now.snapshots[l->now.snapshot_count++].size = size;
}

static void snapshot(struct life *l)
{
    static const size_t sizes[] = {1, 100, 65520, 65521, 150000};
    uint64_t from = newest_snapshot(l);
    size_t size = sizes[below(l, sizeof(sizes) / sizeof(sizes[0]))];

    if (l->rig->last > from) {
        uint64_t index = from + 1 + below(l, l->rig->last - from);

        if (did(l, rig_snapshot(l->rig, index, size))) {
            snapshot_added(l, index, size);
        }
    }
}

static void purge(struct life *l)
{
    did(l, rig_purge(l->rig));
    while (l->now.snapshot_count > 2) {
        memmove(l->now.snapshots, l->now.snapshots + 1,
                --l->now.snapshot_count * sizeof(l->now.snapshots[0]));
    }
}

static void transfer_begin(struct life *l)
{
    l->transfer_index =
        l->rig->last > INDEX_HIGH ? 20 + below(l, 50) : 1 + below(l, l->rig->last + 30);
    l->transfer_size = 1 + below(l, 100000);
    l->transfer = did(l, rig_piece(l->rig, l->transfer_index, l->transfer_size, 0))
                      ? TRANSFER_PIECES
                      : TRANSFER_NONE;
}

static void transfer_installed(struct life *l)
{
    l->transfer = TRANSFER_NONE;
    if (did(l, rig_install_sealed(l->rig))) {
        l->now.snapshot_count = 0;
        snapshot_added(l, l->transfer_index, l->transfer_size);
    }
}

static void transfer_go_on(struct life *l)
{
    size_t more = 1 + below(l, 100000);

    if (l->transfer == TRANSFER_SEALED) {
        transfer_installed(l);
    } else if (below(l, 8) == 0) {
        did(l, rig_drop(l->rig));
        l->transfer = TRANSFER_NONE;
    } else if (below(l, 3) == 0) {
        l->transfer = did(l, rig_seal(l->rig, l->transfer_size)) ? TRANSFER_SEALED : TRANSFER_NONE;
    } else if (did(l, rig_piece(l->rig, l->transfer_index, more, l->transfer_size))) {
        l->transfer_size += more;
    } else {
        l->transfer = TRANSFER_NONE;
    }
}

static void transfer(struct life *l)
{
    if (l->transfer == TRANSFER_NONE) {
        transfer_begin(l);
    } else {
        transfer_go_on(l);
    }
}

static void restart(struct life *l)
{
    did(l, rig_open(l->rig));
    l->transfer = TRANSFER_NONE;
}

static void fill_disk(struct life *l)
{
    l->full_for = 1 + (int)below(l, 8);
    memfs_set_space(l->rig->fs, memfs_used(l->rig->fs) + below(l, 60000));
}

static void step(struct life *l, int number)
{
    uint64_t roll = below(l, 100);

    if (l->full_for > 0 && --l->full_for == 0) {
        memfs_set_space(l->rig->fs, UINT64_MAX);
        did(l, store_prepare(l->rig->store, l->rig->note));
    }
    if (number == 0) {
        restart(l);
    } else if (number == 1 || roll < 8) {
        vote(l);
    } else if (l->rig->last > INDEX_HIGH || roll < 30) {
        transfer(l);
    } else if (roll < 38) {
        truncate_log(l);
    } else if (roll < 46) {
        snapshot(l);
    } else if (roll < 53) {
        purge(l);
    } else if (roll < 56) {
        restart(l);
    } else if (roll < 58) {
        fill_disk(l);
    } else {
        append(l);
    }
    l->now.last = l->rig->last;
    memcpy(l->now.at, l->rig->at, sizeof(l->now.at));
}

static void live(struct state *states, uint64_t seed, bool armed)
{
    struct life l = {.rig = rig_new(), .prng = {seed}};

    sweep_in_front(l.rig);
    for (int i = 0; i < STEPS; i++) {
        sweep.step = i;
        sweep.installs = l.transfer == TRANSFER_SEALED;
        sweep.is_armed = armed;
        step(&l, i);
        sweep.is_armed = false;
        if (armed) {
            CHECK(states[i].last == l.now.last && states[i].promised == l.now.promised);
        } else {
            states[i] = l.now;
        }
    }
    rig_free(l.rig);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    struct state *states = mem_zalloc(STEPS * sizeof(*states));

    live(states, seed, false);
    sweep.states = states;
    live(states, seed, true);
    mem_free(states);
    printf("%" PRIu64 " crash points, %" PRIu64 " recoveries, %" PRIu64 " failures\n", sweep.points,
           sweep.recoveries, sweep.failures);
    if (sweep.points < POINTS_MIN) {
        fprintf(stderr, "FAILED: the life has become short\n");
        return 1;
    }
    return sweep.failures == 0 ? 0 : 1;
}
