#include <criterion/criterion.h>

#include <string.h>

#include "err.h"
#include "inspect.h"
#include "mem.h"
#include "store_rig.h"

/* A backup becomes the directory of a member that never voted, or nothing at all. */

static struct rig *r;

static void setup(void)
{
    r = rig_new();
}

static void teardown(void)
{
    rig_free(r);
}

TestSuite(store_restore, .init = setup, .fini = teardown);

enum { SIZE = 100000, INDEX = 40 };

static const struct store_pos pos = {.epoch = 7, .index = INDEX, .chain = {INDEX * 3, 7}};

struct source {
    size_t left;
    bool fails;
};

/* The bytes that rig_snapshot_is() expects of a snapshot at INDEX. */
static size_t produce(void *ctx, uint8_t *to, size_t cap)
{
    struct source *s = ctx;
    size_t n = s->left < cap ? s->left : cap;
    size_t at = SIZE - s->left;

    if (s->fails && s->left < SIZE / 2) {
        return STORE_PRODUCE_FAILED;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = (uint8_t)(INDEX * 7 + (at + i) / 3);
    }
    s->left -= n;
    return n;
}

static int restore(struct rig *rig)
{
    struct source source = {.left = SIZE};

    return store_restore(&rig->conf, &pos, produce, &source, rig->note);
}

static enum inspect_health health(const struct rig *rig)
{
    struct inspection in;
    enum inspect_health found;
    char note[256];

    cr_assert_eq(inspect_run(&rig->conf.vfs, &in, note), 0);
    found = in.health;
    inspect_done(&in);
    return found;
}

static void assert_restored(struct rig *rig)
{
    cr_assert_eq(rig_open(rig), 0, "%s", rig->note);
    cr_assert(rig->rec.is_new);
    cr_assert(rig->rec.restored);
    cr_assert_not(rig->rec.faulty);
    cr_assert_eq(rig->rec.promised_epoch, 0);
    cr_assert_eq(rig->rec.claimed_index, INDEX);
    cr_assert_eq(rig->rec.snapshot.epoch, pos.epoch);
    cr_assert(hash128_equal(rig->rec.snapshot.chain, pos.chain));
    cr_assert(rig_snapshot_is(rig, INDEX, SIZE));
}

Test(store_restore, restored_member_is_new_with_a_state_until_it_votes_or_appends)
{
    cr_assert_eq(restore(r), 0, "%s", r->note);
    cr_assert_eq(health(r), INSPECT_SOUND);
    assert_restored(r);
    assert_restored(r); /* a start that ends at once changes nothing */
    r->epoch = 8;
    cr_assert_eq(rig_vote(r, 8, 3), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(r->rec.is_new);
    cr_assert(r->rec.restored);
    cr_assert_eq(rig_append(r, 2, 100), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(r->rec.restored);
    cr_assert(rig_recovered(r, INDEX + 1, INDEX + 2));
}

/* Whatever the index of that state: a leader's word counts. */
Test(store_restore, state_of_a_leader_takes_its_place)
{
    static const uint64_t indexes[] = {5, INDEX, INDEX + 9};

    cr_assert_eq(restore(r), 0);
    for (size_t i = 0; i < 3; i++) {
        struct rig *c = rig_copy(r);

        assert_restored(c);
        cr_assert_eq(rig_install(c, indexes[i], 777), 0);
        cr_assert_eq(rig_open(c), 0);
        cr_assert_eq(c->rec.snapshot.index, indexes[i]);
        cr_assert(rig_snapshot_is(c, indexes[i], 777));
        cr_assert_not(c->rec.restored);
        cr_assert_not(c->rec.is_new);
        cr_assert_not(c->rec.faulty);
        rig_free(c);
    }
}

Test(store_restore, directory_that_holds_anything_is_not_touched)
{
    cr_assert_eq(rig_open(r), 0);
    rig_close(r);
    struct rig *c = rig_copy(r);

    cr_assert_eq(restore(c), ERR_NOTEMPTY);
    cr_assert_not(memfs_has(c->fs, "restoring"));
    cr_assert_eq(rig_open(c), 0);
    cr_assert_eq(restore(c), ERR_BUSY);
    rig_free(c);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(r->rec.has_snapshot);
}

Test(store_restore, source_that_fails_leaves_an_unfinished_restore)
{
    struct source source = {.left = SIZE, .fails = true};

    cr_assert_eq(store_restore(&r->conf, &pos, produce, &source, r->note), ERR_INTR);
    cr_assert_eq(rig_open(r), ERR_CORRUPT);
    cr_assert(strstr(r->note, "restore was not finished") != NULL, "%s", r->note);
    cr_assert_eq(health(r), INSPECT_REFUSED);
    cr_assert_eq(restore(r), 0);
    assert_restored(r);
}

/* After it the directory is empty, or whole, or says that the restore was not finished; and the
 * restore can be repeated. */
static void dies_at_any_call(bool power_fails)
{
    int unfinished = 0, whole = 0;

    for (uint64_t at = 1; whole < 3; at++) {
        struct rig *c = rig_copy(r);
        int rc;

        memfs_die_at(c->fs, at);
        (void)restore(c);
        memfs_die_at(c->fs, 0);
        if (power_fails) {
            memfs_crash(c->fs, at);
        } else {
            memfs_kill(c->fs);
        }
        struct rig *again = rig_copy(c);

        rc = rig_open(c);
        cr_assert_eq(rc != 0, health(again) == INSPECT_REFUSED);
        if (rc != 0) {
            cr_assert_eq(rc, ERR_CORRUPT, "call %lu: %d", at, rc);
            cr_assert(strstr(c->note, "restore was not finished") != NULL, "%s", c->note);
            cr_assert_eq(restore(again), 0, "call %lu: %s", at, again->note);
            assert_restored(again);
            unfinished++;
        } else if (c->rec.has_snapshot) {
            assert_restored(c);
            whole++;
        } else {
            cr_assert_leq(at, 5, "call %lu: it passes for a new member's", at);
            cr_assert_eq(restore(again), 0);
        }
        rig_free(again);
        rig_free(c);
    }
    cr_assert_gt(unfinished, 10);
}

Test(store_restore, process_that_dies_at_any_call_leaves_nothing_that_passes_for_new)
{
    dies_at_any_call(false);
}

Test(store_restore, power_failure_at_any_call_leaves_nothing_that_passes_for_new)
{
    dies_at_any_call(true);
}

Test(store_restore, damaged_state_of_a_member_that_never_voted_does_not_pass_for_new)
{
    cr_assert_eq(restore(r), 0);
    assert_restored(r);
    rig_close(r);
    memfs_flip(r->fs, "snap-0000000000000028", 5000);
    cr_assert_eq(health(r), INSPECT_REFUSED);
    cr_assert_eq(rig_open(r), ERR_CORRUPT);
}
