#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "store_rig.h"

/* A scripted life of a store dies at every single call to the disk, by a killed process or by a
 * power failure that loses and tears what was not synced. What recovery finds must be the state
 * after the last finished step, or after the one that was under way, and nothing else: no entry
 * that was acknowledged is missing, no truncated one is back, nothing is called damaged. */

struct state { /* after a step of the script that nothing disturbed */
    uint64_t last, snapshot, promised;
    size_t snapshot_size;
    struct store_pos at[RIG_INDEX_MAX + 1];
};

enum { STEPS = 33, INSTALLED = 100 };

static int step_run(struct rig *r, int step)
{
    switch (step) {
    case 0:
        return rig_open(r);
    case 1:
        return rig_vote(r, 1, 3);
    case 2:
        return rig_append(r, 3, 100);
    case 3:
        return rig_append(r, 2, 9000);
    case 4:
        return rig_append_ops(r, 3, 200);
    case 5:
        return rig_snapshot(r, 5, 70000);
    case 6:
        return rig_purge(r);
    case 7:
        return rig_append(r, 5, 9000);
    case 8:
        return rig_append(r, 4, 9000);
    case 9:
        return rig_vote(r, 2, 1);
    case 10:
        r->epoch = 2;
        return rig_truncate(r, 15);
    case 11:
        return rig_append(r, 2, 50);
    case 12:
        return rig_truncate(r, 16);
    case 13:
        return rig_append(r, 5, 11000);
    case 14:
        return rig_snapshot(r, 14, 100);
    case 15:
        return rig_purge(r);
    case 16:
        return rig_append(r, 2, 11000);
    case 17:
        r->epoch = 3;
        return rig_truncate(r, 15);
    case 18:
        return rig_append(r, 4, 11000);
    case 19:
        return rig_snapshot(r, 17, 300);
    case 20:
        return rig_purge(r);
    case 21:
        return rig_append(r, 1, 100000);
    case 22:
        return rig_vote(r, 5, 2);
    case 23:
        return rig_install(r, INSTALLED, 140000);
    case 24:
        return rig_append(r, 3, 100);
    case 25:
        return rig_snapshot(r, 102, 200);
    case 26:
        return rig_purge(r);
    case 27:
        return rig_append(r, 4, 9000);
    case 28:
        r->epoch = 5;
        return rig_truncate(r, 104);
    case 29:
        return rig_append(r, 1, 1);
    case 30: /* behind the newest snapshot and log */
        r->epoch = 6;
        return rig_install(r, 60, 500);
    case 31:
        return rig_append(r, 2, 500);
    default:
        return rig_purge(r);
    }
}

static void state_take(struct state *s, struct rig *r, const struct state *before, int step)
{
    static const struct {
        int step;
        uint64_t index;
        size_t size;
    } snapshots[] = {{5, 5, 70000},     {14, 14, 100},  {19, 17, 300},
                     {23, 100, 140000}, {25, 102, 200}, {30, 60, 500}};

    s->last = r->last;
    s->snapshot = before != NULL ? before->snapshot : 0;
    s->snapshot_size = before != NULL ? before->snapshot_size : 0;
    for (size_t i = 0; i < sizeof(snapshots) / sizeof(snapshots[0]); i++) {
        if (step == snapshots[i].step) {
            s->snapshot = snapshots[i].index;
            s->snapshot_size = snapshots[i].size;
        }
    }
    s->promised = step >= 22 ? 5 : step >= 9 ? 2 : step >= 1 ? 1 : 0;
    memcpy(s->at, r->at, sizeof(s->at));
}

static struct state *states_of_script(void)
{
    struct state *states = calloc(STEPS, sizeof(*states));
    struct rig *r = rig_new();

    for (int i = 0; i < STEPS; i++) {
        cr_assert_eq(step_run(r, i), 0, "step %d: %s", i, r->note);
        state_take(&states[i], r, i > 0 ? &states[i - 1] : NULL, i);
    }
    rig_free(r);
    return states;
}

static bool state_is(struct rig *r, const struct state *s)
{
    if (r->rec.faulty || r->rec.promised_epoch != s->promised || r->last != s->last ||
        r->rec.snapshot.index != s->snapshot || r->rec.has_snapshot != (s->snapshot > 0)) {
        return false;
    }
    memcpy(r->at, s->at, sizeof(r->at));
    return rig_recovered(r, s->snapshot + 1, s->last) &&
           (s->snapshot == 0 || rig_snapshot_is(r, s->snapshot, s->snapshot_size));
}

/* The recovered store is one that can be lived with. */
static void live_on(struct rig *r, const char *story)
{
    uint64_t snapshot = r->rec.snapshot.index;
    uint64_t last = r->last;

    r->epoch = 9;
    cr_assert_eq(rig_append(r, 2, 3000), 0, "%s: %s", story, r->note);
    cr_assert_eq(rig_truncate(r, last + 1), 0, "%s: %s", story, r->note);
    cr_assert_eq(rig_append(r, 3, 3000), 0, "%s: %s", story, r->note);
    cr_assert_eq(rig_open(r), 0, "%s: %s", story, r->note);
    cr_assert_not(r->rec.faulty, "%s: %s", story, r->note);
    cr_assert(rig_recovered(r, snapshot + 1, last + 4), "%s", story);
}

static void crash(struct rig *r, uint64_t seed)
{
    rig_close(r);
    if (seed == 0) {
        memfs_kill(r->fs);
    } else {
        memfs_crash(r->fs, seed);
    }
}

/* Runs the script up to the death. Returns the step that died, or STEPS if none did. */
static int run_to_death(struct rig *r, uint64_t call)
{
    memfs_die_at(r->fs, call);
    for (int i = 0; i < STEPS; i++) {
        if (step_run(r, i) != 0 || memfs_is_dead(r->fs)) {
            return i;
        }
    }
    return STEPS;
}

static bool state_is_one_of(struct rig *r, const struct state *states, int died)
{
    static const struct state nothing;

    /* A snapshot that is installed behind others removes those one by one, the newest first: with
     * the one before and its log the state is still the old one. */
    if (died == 30 && r->rec.snapshot.index == 100) {
        struct state *old = memcpy(malloc(sizeof(*old)), &states[29], sizeof(*old));
        bool same;

        old->snapshot = 100;
        old->snapshot_size = 140000;
        same = state_is(r, old);
        free(old);
        return same;
    }
    return state_is(r, died > 0 ? &states[died - 1] : &nothing) || state_is(r, &states[died]);
}

static void describe(char *to, size_t cap, const struct rig *r, uint64_t call, int died,
                     uint64_t seed)
{
    (void)snprintf(to, cap,
                   "died at call %lu in step %d, seed %lu: last=%lu snapshot=%lu promised=%lu "
                   "faulty=%d note=%s",
                   call, died, seed, r->last, r->rec.snapshot.index, r->rec.promised_epoch,
                   r->rec.faulty, r->note);
}

static bool sweep_call(const struct state *states, uint64_t call, uint64_t seed)
{
    struct rig *r = rig_new();
    int died = run_to_death(r, call);
    char story[512];

    if (died < STEPS) {
        int rc;

        crash(r, seed ? seed * 1000003 + call : 0);
        rc = rig_open(r);
        describe(story, sizeof(story), r, call, died, seed);
        cr_assert_eq(rc, 0, "%s: %d", story, rc);
        cr_assert(state_is_one_of(r, states, died), "%s", story);
        live_on(r, story);
    }
    rig_free(r);
    return died < STEPS;
}

static void sweep(uint64_t seed)
{
    struct state *states = states_of_script();
    uint64_t call = 1;

    while (sweep_call(states, call, seed)) {
        call++;
    }
    cr_assert_gt(call, 250, "the script has become short: %lu", call);
    free(states);
}

Test(store_crash, killed_process_loses_nothing)
{
    sweep(0);
}

Test(store_crash, power_failure_loses_nothing_acknowledged)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        sweep(seed);
    }
}

/* What a killed process left unsynced and recovery reported is on disk from then on. */
Test(store_crash, what_was_recovered_once_stays)
{
    for (uint64_t call = 3, died = 0; died < STEPS; call++) {
        struct rig *r = rig_new();
        uint64_t last, snapshot, promised;

        died = (uint64_t)run_to_death(r, call);
        crash(r, 0);
        cr_assert_eq(rig_open(r), 0);
        last = r->last;
        snapshot = r->rec.snapshot.index;
        promised = r->rec.promised_epoch;
        crash(r, call);
        cr_assert_eq(rig_open(r), 0);
        cr_assert_not(r->rec.faulty, "call %lu: %s", call, r->note);
        cr_assert_eq(r->last, last, "call %lu", call);
        cr_assert_eq(r->rec.snapshot.index, snapshot, "call %lu", call);
        cr_assert_eq(r->rec.promised_epoch, promised, "call %lu", call);
        rig_free(r);
    }
}

/* The recovery after a death dies too, at every call of its own. */
Test(store_crash, death_during_recovery_is_recovered_from)
{
    struct state *states = states_of_script();

    for (uint64_t call = 3;; call += 17) {
        bool opened = false;
        int died = 0;

        for (uint64_t second = 1; !opened && died < STEPS; second++) {
            struct rig *r = rig_new();
            char story[512];

            died = run_to_death(r, call);
            crash(r, call);
            memfs_die_at(r->fs, second);
            opened = rig_open(r) == 0 && !memfs_is_dead(r->fs);
            crash(r, second);
            if (died < STEPS) {
                int rc = rig_open(r);

                describe(story, sizeof(story), r, call, died, second);
                cr_assert_eq(rc, 0, "%s: %d", story, rc);
                cr_assert(state_is_one_of(r, states, died), "%s", story);
            }
            rig_free(r);
        }
        if (died == STEPS) {
            break;
        }
    }
    free(states);
}
