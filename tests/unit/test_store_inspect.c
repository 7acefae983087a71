#include <criterion/criterion.h>

#include <string.h>

#include "err.h"
#include "inspect.h"
#include "mem.h"
#include "store_rig.h"

/* What fsck says of a directory: it changes nothing, and agrees with what a start would do. */

#define SEGMENT_1 "log-0000000000000001"

static struct rig *r;

static void setup(void)
{
    r = rig_new();
    cr_assert_eq(rig_open(r), 0);
}

static void teardown(void)
{
    rig_free(r);
}

TestSuite(store_inspect, .init = setup, .fini = teardown);

/* All names and bytes of a directory in one number. */
static struct hash128 fingerprint(const struct memfs *fs)
{
    struct hash128 all = {0};

    for (size_t i = 0; memfs_name(fs, i) != NULL; i++) {
        const char *name = memfs_name(fs, i);
        size_t size;
        const uint8_t *bytes = memfs_bytes(fs, name, &size);
        struct hash128 one = hash128(bytes, size);

        all = hash_chain(all, one.lo, one.hi, (uint8_t)i, name, strlen(name));
    }
    return all;
}

/* Looks at a copy of the disk, then starts a member on it and compares. */
static enum inspect_health verdict(const struct rig *rig)
{
    struct rig *c = rig_copy(rig);
    struct hash128 before = fingerprint(c->fs);
    struct inspection in;
    enum inspect_health health;
    char note[256] = "";
    int rc;

    cr_assert_eq(inspect_run(&c->conf.vfs, &in, note), 0, "%s", note);
    cr_assert(hash128_equal(before, fingerprint(c->fs)), "it wrote");
    health = in.health;
    cr_assert_eq(health == INSPECT_SOUND, in.note[0] == '\0', "%s", in.note);
    rc = rig_open(c);
    cr_assert_eq(rc, in.open_err, "open %d, said %d: %s", rc, in.open_err, in.note);
    cr_assert_eq(rc != 0, health == INSPECT_REFUSED);
    if (rc == 0 && !in.is_empty) {
        cr_assert_eq(in.would.faulty, c->rec.faulty);
        cr_assert_eq(in.would.faulty, health == INSPECT_FAULTY);
        cr_assert_eq(in.would.torn_tail, c->rec.torn_tail);
        cr_assert_eq(in.would.claimed_index, c->rec.claimed_index);
        cr_assert_eq(in.would.entry_count, c->rec.entry_count);
        cr_assert_eq(in.would.snapshot.index, c->rec.snapshot.index);
        cr_assert_eq(in.would.promised_epoch, c->rec.promised_epoch);
        cr_assert_eq(in.would.is_new, c->rec.is_new);
        cr_assert_str_eq(in.would.note, c->rec.note);
    }
    inspect_done(&in);
    rig_free(c);
    return health;
}

static void three_batches(void)
{
    cr_assert_eq(rig_append(r, 2, 100), 0);
    cr_assert_eq(rig_append(r, 4, 6500), 0);
    cr_assert_eq(rig_append(r, 3, 3700), 0);
    rig_close(r);
}

enum { BATCH_2 = 8192, BATCH_3 = 36864, BATCH_3_SECTORS = 23 };

static void many_segments(void)
{
    for (int i = 0; i < 60; i++) {
        cr_assert_eq(rig_append(r, 1, 7000), 0);
    }
    rig_close(r);
}

static void zero_sector(struct rig *rig, const char *name, size_t offset)
{
    static const uint8_t zeros[512];

    memfs_set(rig->fs, name, offset, zeros, sizeof(zeros));
}

Test(store_inspect, sound_log_is_told_by_segments)
{
    struct inspection in;
    char note[256];

    many_segments();
    cr_assert_eq(verdict(r), INSPECT_SOUND);
    cr_assert_eq(inspect_run(&r->conf.vfs, &in, note), 0);
    cr_assert_eq(in.member, 3);
    cr_assert(hash128_equal(in.cluster, r->conf.cluster));
    cr_assert_eq(in.would.entry_count, 60);
    cr_assert_gt(in.segment_count, 4);
    uint64_t at = 0;

    for (size_t i = 0; i + 1 < in.segment_count; i++) {
        cr_assert_eq(in.segments[i].state, INSPECT_SEGMENT_WHOLE);
        cr_assert_eq(in.segments[i].first, at + 1);
        at = in.segments[i].last;
    }
    cr_assert_eq(at, 60);
    cr_assert_eq(in.segments[in.segment_count - 1].state, INSPECT_SEGMENT_SPARE);
    inspect_done(&in);
}

Test(store_inspect, empty_directory_is_sound)
{
    struct rig *c = rig_new();
    struct inspection in;
    char note[256];

    cr_assert_eq(inspect_run(&c->conf.vfs, &in, note), 0);
    cr_assert(in.is_empty);
    cr_assert_eq(in.health, INSPECT_SOUND);
    cr_assert_not(in.has_identity);
    cr_assert_null(memfs_name(c->fs, 0));
    inspect_done(&in);
    rig_free(c);
}

Test(store_inspect, new_member_that_never_voted_is_sound)
{
    rig_close(r);
    cr_assert_eq(verdict(r), INSPECT_SOUND);
}

Test(store_inspect, directory_in_use_is_refused)
{
    struct inspection in;
    char note[256];

    cr_assert_eq(inspect_run(&r->conf.vfs, &in, note), ERR_BUSY);
    cr_assert_str_eq(note, "lock: held by another process");
}

Test(store_inspect, torn_last_batch_is_mended)
{
    three_batches();
    for (size_t i = 0; i < BATCH_3_SECTORS; i++) {
        struct rig *c = rig_copy(r);

        zero_sector(c, SEGMENT_1, BATCH_3 + i * 512);
        cr_assert_eq(verdict(c), INSPECT_MENDED, "sector %zu", i);
        rig_free(c);
    }
}

Test(store_inspect, flipped_bit_in_the_log_is_faulty_and_its_place_is_told)
{
    three_batches();
    for (size_t i = BATCH_2; i < BATCH_3 + BATCH_3_SECTORS * 512; i += 509) {
        struct rig *c = rig_copy(r);
        struct inspection in;
        char note[256];

        memfs_flip(c->fs, SEGMENT_1, i);
        if (i < BATCH_2 + 53 * 512 || i >= BATCH_3) {
            cr_assert_eq(verdict(c), INSPECT_FAULTY, "byte %zu", i);
            cr_assert_eq(inspect_run(&c->conf.vfs, &in, note), 0);
            cr_assert_eq(in.segments[0].state, INSPECT_SEGMENT_DAMAGED);
            cr_assert_eq(in.segments[0].offset, i < BATCH_3 ? BATCH_2 : BATCH_3);
            cr_assert_eq(in.segments[0].last, i < BATCH_3 ? 2 : 6);
            cr_assert_gt(in.would.claimed_index, in.segments[0].last);
            inspect_done(&in);
        }
        rig_free(c);
    }
}

Test(store_inspect, damaged_segment_header_or_missing_segment_is_faulty)
{
    many_segments();
    for (int i = 1; i < 9; i++) {
        struct rig *c = rig_copy(r);
        char name[] = "log-000000000000000?";

        name[19] = (char)('0' + i);
        memfs_flip(c->fs, name, 100);
        cr_assert_eq(verdict(c), INSPECT_FAULTY, "%s", name);
        memfs_remove(c->fs, name);
        cr_assert_eq(verdict(c), INSPECT_FAULTY, "%s", name);
        rig_free(c);
    }
}

Test(store_inspect, unreadable_blocks_and_a_short_file_are_faulty)
{
    three_batches();
    for (size_t block = 0; block < 16; block++) {
        struct rig *c = rig_copy(r);

        memfs_spoil(c->fs, SEGMENT_1, block);
        cr_assert_eq(verdict(c), INSPECT_FAULTY, "block %zu", block);
        rig_free(c);
    }
    memfs_shorten(r->fs, SEGMENT_1, BATCH_3);
    cr_assert_eq(verdict(r), INSPECT_FAULTY);
}

Test(store_inspect, one_bad_copy_of_the_vote_is_mended_and_two_refuse)
{
    cr_assert_eq(rig_vote(r, 3, 1), 0);
    rig_close(r);
    for (int i = 0; i < 2; i++) {
        struct rig *c = rig_copy(r);

        memfs_flip(c->fs, i == 0 ? "meta-0" : "meta-1", 50);
        cr_assert_eq(verdict(c), INSPECT_MENDED);
        memfs_remove(c->fs, i == 0 ? "meta-0" : "meta-1");
        cr_assert_eq(verdict(c), INSPECT_MENDED);
        memfs_flip(c->fs, i == 0 ? "meta-1" : "meta-0", 50);
        cr_assert_eq(verdict(c), INSPECT_REFUSED);
        rig_free(c);
    }
    memfs_remove(r->fs, "meta-0");
    memfs_remove(r->fs, "meta-1");
    cr_assert_eq(verdict(r), INSPECT_REFUSED);
}

Test(store_inspect, copies_that_differ_after_a_crash_are_mended)
{
    cr_assert_eq(rig_vote(r, 3, 1), 0);
    rig_close(r);
    struct rig *old = rig_copy(r);
    size_t size;

    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_vote(r, 4, 2), 0);
    rig_close(r);
    const uint8_t *bytes = memfs_bytes(old->fs, "meta-1", &size);

    memfs_set(r->fs, "meta-1", 0, bytes, size);
    cr_assert_eq(verdict(r), INSPECT_MENDED);
    rig_free(old);
}

Test(store_inspect, older_snapshot_bad_is_mended_and_all_bad_is_faulty)
{
    struct inspection in;
    char note[256];

    cr_assert_eq(rig_append(r, 9, 100), 0);
    cr_assert_eq(rig_snapshot(r, 4, 200000), 0);
    cr_assert_eq(rig_snapshot(r, 8, 200000), 0);
    cr_assert_eq(rig_vote(r, 2, 1), 0);
    rig_close(r);
    cr_assert_eq(verdict(r), INSPECT_SOUND);
    for (int i = 0; i < 2; i++) {
        struct rig *c = rig_copy(r);
        const char *name = i == 0 ? "snap-0000000000000004" : "snap-0000000000000008";

        memfs_flip(c->fs, name, 512 + 65536 + 7);
        cr_assert_eq(verdict(c), INSPECT_MENDED);
        cr_assert_eq(inspect_run(&c->conf.vfs, &in, note), 0);
        cr_assert_eq(in.snapshot_count, 2);
        cr_assert_eq(in.snapshots[i].err, ERR_CORRUPT);
        cr_assert_eq(in.snapshots[i].offset, 512 + 65536);
        cr_assert_eq(in.snapshots[1 - i].err, 0);
        cr_assert_eq(in.would.snapshot.index, i == 0 ? 8 : 4);
        inspect_done(&in);
        rig_free(c);
    }
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_install(r, 20, 1000), 0);
    rig_close(r);
    cr_assert_eq(verdict(r), INSPECT_SOUND);
    memfs_flip(r->fs, "snap-0000000000000014", 600);
    cr_assert_eq(verdict(r), INSPECT_FAULTY);
}

Test(store_inspect, damage_in_what_the_snapshot_covers_is_mended)
{
    for (int i = 0; i < 60; i++) {
        cr_assert_eq(rig_append(r, 1, 7000), 0);
    }
    cr_assert_eq(rig_snapshot(r, 55, 100), 0);
    rig_close(r);
    memfs_flip(r->fs, SEGMENT_1, BATCH_2);
    cr_assert_eq(verdict(r), INSPECT_MENDED);
}

Test(store_inspect, log_files_gone_altogether_refuse)
{
    three_batches();
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_vote(r, 3, 1), 0);
    rig_close(r);
    memfs_remove(r->fs, SEGMENT_1);
    memfs_remove(r->fs, "log-0000000000000002");
    cr_assert_eq(verdict(r), INSPECT_REFUSED);
}

Test(store_inspect, truncated_log_is_sound_and_what_was_cut_is_void)
{
    struct inspection in;
    char note[256];

    cr_assert_eq(rig_append(r, 6, 100), 0);
    cr_assert_eq(rig_truncate(r, 0), 0);
    cr_assert_eq(rig_append(r, 2, 100), 0);
    rig_close(r);
    cr_assert_eq(verdict(r), INSPECT_SOUND);
    cr_assert_eq(inspect_run(&r->conf.vfs, &in, note), 0);
    cr_assert_eq(in.segments[0].state, INSPECT_SEGMENT_VOID);
    cr_assert_eq(in.segments[1].last, 2);
    inspect_done(&in);
}

/* Wherever a member dies, fsck and the next start agree. */
Test(store_inspect, verdict_after_a_crash_anywhere_is_never_worse_than_mended)
{
    int crashes = 0;

    for (uint64_t at = 1; at < 200; at++) {
        struct rig *c = rig_copy(r);
        bool done;

        cr_assert_eq(rig_open(c), 0);
        memfs_die_at(c->fs, at);
        done = rig_append(c, 3, 3000) == 0 && rig_vote(c, 5, 2) == 0 &&
               rig_snapshot(c, 2, 5000) == 0 && rig_truncate(c, 2) == 0 &&
               rig_install(c, 9, 7000) == 0;
        rig_close(c);
        memfs_die_at(c->fs, 0);
        memfs_crash(c->fs, at);
        cr_assert_leq(verdict(c), INSPECT_MENDED, "call %lu", at);
        rig_free(c);
        crashes += !done;
        if (done) {
            break;
        }
    }
    cr_assert_gt(crashes, 30);
}
