#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "store_rig.h"

/* What recovery makes of damage: docs/DISK_FORMAT.md, "What ends a log". */

#define SEGMENT_1 "log-0000000000000001"

static struct rig *r;

static void setup(void)
{
    r = rig_new();
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_vote(r, 1, 1), 0); /* no entry comes before a promise */
}

static void teardown(void)
{
    rig_free(r);
}

TestSuite(store_damage, .init = setup, .fini = teardown);

static void zero_sector(struct rig *rig, const char *name, size_t offset)
{
    static const uint8_t zeros[512];

    memfs_set(rig->fs, name, offset, zeros, sizeof(zeros));
}

/* Three batches: at 4096, at 8192 (of 7 blocks), and the last one at 36864 (of 3 blocks, 23 sectors
 * used). */
static void three_batches(void)
{
    cr_assert_eq(rig_append(r, 2, 100), 0);
    cr_assert_eq(rig_append(r, 4, 6500), 0);
    cr_assert_eq(rig_append(r, 3, 3700), 0);
    rig_close(r);
}

enum { BATCH_2 = 8192, BATCH_3 = 36864, BATCH_3_SECTORS = 23 };

Test(store_damage, last_batch_that_lacks_any_sector_is_cut)
{
    three_batches();
    for (size_t i = 0; i < BATCH_3_SECTORS; i++) {
        struct rig *c = rig_copy(r);

        zero_sector(c, SEGMENT_1, BATCH_3 + i * 512);
        cr_assert_eq(rig_open(c), 0);
        cr_assert(c->rec.torn_tail, "sector %zu", i);
        cr_assert_not(c->rec.faulty, "sector %zu", i);
        cr_assert(rig_recovered(c, 1, 6));
        cr_assert_eq(c->rec.claimed_index, 6);
        cr_assert_eq(rig_append(c, 2, 500), 0);
        cr_assert_eq(rig_open(c), 0);
        cr_assert(rig_recovered(c, 1, 8));
        cr_assert_not(c->rec.torn_tail);
        cr_assert_not(c->rec.faulty);
        rig_free(c);
    }
}

Test(store_damage, last_batch_of_which_nothing_was_written_is_a_clean_end)
{
    three_batches();
    for (size_t i = 0; i < BATCH_3_SECTORS; i++) {
        zero_sector(r, SEGMENT_1, BATCH_3 + i * 512);
    }
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(r->rec.torn_tail);
    cr_assert_not(r->rec.faulty);
    cr_assert(rig_recovered(r, 1, 6));
}

Test(store_damage, flipped_bit_in_the_last_batch_is_never_cut)
{
    three_batches();
    for (size_t i = 0; i < BATCH_3_SECTORS * 512; i += 61) {
        struct rig *c = rig_copy(r);

        memfs_flip(c->fs, SEGMENT_1, BATCH_3 + i);
        cr_assert_eq(rig_open(c), 0);
        cr_assert(c->rec.faulty, "byte %zu", i);
        cr_assert_not(c->rec.torn_tail);
        cr_assert(rig_recovered(c, 1, 6));
        cr_assert_eq(c->rec.claimed_index, i < 512 ? 7 : 9, "byte %zu", i);
        cr_assert(strstr(c->note, "log-0000000000000001: at 36864") != NULL, "%s", c->note);
        rig_free(c);
    }
}

Test(store_damage, flipped_bit_in_an_earlier_batch_is_faulty_and_keeps_the_claim)
{
    three_batches();
    for (size_t i = 0; i < 53 * 512; i += 59) {
        struct rig *c = rig_copy(r);

        memfs_flip(c->fs, SEGMENT_1, BATCH_2 + i);
        cr_assert_eq(rig_open(c), 0);
        cr_assert(c->rec.faulty, "byte %zu", i);
        cr_assert(rig_recovered(c, 1, 2));
        cr_assert_eq(c->rec.claimed_index, 9);
        rig_free(c);
    }
}

/* Where the log ended is known when all behind the damage can be read, and then in which epoch: a
 * member votes with that place, and not with all that it ever promised. */
Test(store_damage, place_behind_the_damage_is_claimed_with_its_epoch)
{
    cr_assert_eq(rig_append(r, 2, 100), 0);
    cr_assert_eq(rig_append(r, 4, 6500), 0);
    r->epoch = 3;
    cr_assert_eq(rig_vote(r, 8, 1), 0);
    cr_assert_eq(rig_append(r, 3, 3700), 0);
    rig_close(r);
    memfs_flip(r->fs, SEGMENT_1, BATCH_2 + 600);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert_eq(r->rec.claimed_index, 9);
    cr_assert_eq(r->rec.claimed_epoch, 3);
    r->epoch = 4;
    cr_assert_eq(rig_append(r, 1, 10), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(rig_open(r), 0);
        cr_assert(r->rec.faulty, "the next segment's header carries it on");
        cr_assert_eq(r->rec.claimed_index, 9);
        cr_assert_eq(r->rec.claimed_epoch, 3);
    }
}

Test(store_damage, place_is_not_known_when_the_end_is_damaged)
{
    static const struct {
        size_t at;
        bool is_known;
    } cases[] = {
        {BATCH_2 + 600, true},   {BATCH_3 + 100, false},      {BATCH_3 + 22 * 512 + 7, false},
        {BATCH_3 + 4096, false}, {BATCH_3 + 3 * 4096, false}, {60000, false},
    };

    three_batches();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig *c = rig_copy(r);

        memfs_flip(c->fs, SEGMENT_1, cases[i].at);
        cr_assert_eq(rig_open(c), 0);
        cr_assert(c->rec.faulty, "%zu", cases[i].at);
        cr_assert_eq(c->rec.claimed_epoch, cases[i].is_known ? 1 : 0, "%zu", cases[i].at);
        rig_free(c);
    }
    memfs_flip(r->fs, SEGMENT_1, BATCH_2 + 600);
    memfs_shorten(r->fs, SEGMENT_1, 65536 - 4096);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert_eq(r->rec.claimed_epoch, 0, "the file may have held more");
}

Test(store_damage, damage_in_an_earlier_file_leaves_the_end_known)
{
    for (int i = 0; i < 60; i++) {
        r->epoch = 1 + (uint64_t)i / 20;
        cr_assert_eq(rig_append(r, 1, 3700), 0);
    }
    rig_close(r);
    memfs_flip(r->fs, SEGMENT_1, BATCH_2 + 600);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert_eq(r->rec.claimed_index, 60);
    cr_assert_eq(r->rec.claimed_epoch, 3);
}

Test(store_damage, lost_sector_or_batch_before_a_valid_one_is_faulty)
{
    three_batches();
    for (size_t i = 0; i < 53; i++) {
        struct rig *c = rig_copy(r);

        for (size_t k = 0; k <= i; k++) {
            zero_sector(c, SEGMENT_1, BATCH_2 + k * 512);
        }
        cr_assert_eq(rig_open(c), 0);
        cr_assert(c->rec.faulty, "sectors 0 to %zu", i);
        cr_assert(rig_recovered(c, 1, 2));
        cr_assert_eq(c->rec.claimed_index, 9);
        rig_free(c);
    }
}

Test(store_damage, torn_batch_with_damage_elsewhere_in_it_is_faulty)
{
    three_batches();
    zero_sector(r, SEGMENT_1, BATCH_3 + 5 * 512);
    memfs_flip(r->fs, SEGMENT_1, BATCH_3 + 9 * 512 + 100);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert_eq(r->rec.claimed_index, 9);
}

Test(store_damage, stray_bytes_behind_the_end_are_faulty)
{
    three_batches();
    memfs_flip(r->fs, SEGMENT_1, 65000);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert(rig_recovered(r, 1, 9));
    cr_assert_eq(r->rec.claimed_index, 10);
}

Test(store_damage, claim_outlives_restarts_until_the_log_has_reached_it_again)
{
    three_batches();
    memfs_flip(r->fs, SEGMENT_1, BATCH_2 + 700);
    for (uint64_t last = 2; last < 9; last++) {
        cr_assert_eq(rig_open(r), 0);
        cr_assert(rig_recovered(r, 1, last));
        cr_assert(r->rec.faulty);
        cr_assert_eq(r->rec.claimed_index, 9);
        cr_assert_eq(rig_append(r, 1, 900), 0);
    }
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 9));
    cr_assert_not(r->rec.faulty);
}

Test(store_damage, truncation_ordered_by_a_leader_ends_the_claim)
{
    three_batches();
    memfs_flip(r->fs, SEGMENT_1, BATCH_3 + 700);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert_eq(rig_truncate(r, 4), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 4));
    cr_assert_not(r->rec.faulty);
    cr_assert_eq(r->rec.claimed_index, 4);
}

Test(store_damage, damage_in_what_was_truncated_is_not_looked_at)
{
    three_batches();
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_truncate(r, 6), 0);
    rig_close(r);
    memfs_flip(r->fs, SEGMENT_1, BATCH_3 + 700);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 6));
    cr_assert_not(r->rec.faulty);
}

static void many_segments(void)
{
    for (int i = 0; i < 60; i++) {
        cr_assert_eq(rig_append(r, 1, 7000), 0); /* 4 to 7 batches in a segment */
    }
    rig_close(r);
}

Test(store_damage, missing_segment_is_faulty)
{
    many_segments();
    for (int i = 1; i < 9; i++) {
        struct rig *c = rig_copy(r);
        char name[] = "log-000000000000000?";

        name[19] = (char)('0' + i);
        memfs_remove(c->fs, name);
        cr_assert_eq(rig_open(c), 0);
        cr_assert(c->rec.faulty, "%s", name);
        cr_assert(c->rec.claimed_index > c->last, "%s", name);
        cr_assert(rig_recovered(c, 1, c->last));
        rig_free(c);
    }
}

Test(store_damage, damaged_segment_header_is_faulty)
{
    many_segments();
    for (int i = 1; i < 9; i++) {
        for (size_t at = 0; at < 512; at += 37) {
            struct rig *c = rig_copy(r);
            char name[] = "log-000000000000000?";

            name[19] = (char)('0' + i);
            memfs_flip(c->fs, name, at);
            cr_assert_eq(rig_open(c), 0);
            cr_assert(c->rec.faulty, "%s at %zu", name, at);
            cr_assert_eq(c->rec.claimed_index, 60, "%s at %zu: %lu", name, at,
                         c->rec.claimed_index);
            cr_assert(rig_recovered(c, 1, c->last));
            rig_free(c);
        }
    }
}

Test(store_damage, last_segment_that_lost_its_file_is_faulty)
{
    many_segments();
    memfs_remove(r->fs, "log-0000000000000009");
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
}

Test(store_damage, shortened_segment_is_faulty)
{
    three_batches();
    memfs_shorten(r->fs, SEGMENT_1, BATCH_3);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert(rig_recovered(r, 1, 6));
    cr_assert_eq(r->rec.claimed_index, 7);
}

Test(store_damage, log_files_gone_altogether_refuse_to_start)
{
    three_batches();
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_vote(r, 3, 1), 0);
    rig_close(r);
    memfs_remove(r->fs, SEGMENT_1);
    memfs_remove(r->fs, "log-0000000000000002");
    cr_assert_eq(rig_open(r), ERR_CORRUPT);
    cr_assert_str_eq(r->note, "log: all segments are missing");
}

Test(store_damage, segments_swapped_by_name_are_faulty)
{
    const uint8_t *bytes;
    uint8_t *a, *b;
    size_t size;

    many_segments();
    bytes = memfs_bytes(r->fs, "log-0000000000000002", &size);
    a = malloc(size);
    memcpy(a, bytes, size);
    bytes = memfs_bytes(r->fs, "log-0000000000000003", &size);
    b = malloc(size);
    memcpy(b, bytes, size);
    memfs_set(r->fs, "log-0000000000000002", 0, b, size);
    memfs_set(r->fs, "log-0000000000000003", 0, a, size);
    free(a);
    free(b);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert(r->last > 0);
    cr_assert(rig_recovered(r, 1, r->last));
}

Test(store_damage, block_that_cannot_be_read_is_damage_of_that_place_only)
{
    three_batches();
    for (size_t block = 0; block < 16; block++) {
        struct rig *c = rig_copy(r);

        memfs_spoil(c->fs, SEGMENT_1, block);
        cr_assert_eq(rig_open(c), 0, "block %zu", block);
        cr_assert(c->rec.faulty, "block %zu", block);
        cr_assert(rig_recovered(c, 1, block < 2 ? 0 : block < 9 ? 2 : block < 12 ? 6 : 9));
        cr_assert_eq(c->rec.claimed_index,
                     block == 9   ? 7
                     : block < 12 ? 9
                                  : 10,
                     "block %zu", block);
        rig_free(c);
    }
}

/* A write that went astray, or an old one that came back: every sector is valid in its place. */
Test(store_damage, batch_of_another_history_breaks_the_chain)
{
    static uint8_t batch[BATCH_3 - BATCH_2];
    struct rig *other = rig_copy(r);
    const uint8_t *bytes;
    size_t size;

    cr_assert_eq(rig_open(other), 0);
    other->epoch = 2;
    cr_assert_eq(rig_append(other, 2, 100), 0);
    cr_assert_eq(rig_append(other, 4, 6500), 0);
    bytes = memfs_bytes(other->fs, SEGMENT_1, &size);
    memcpy(batch, bytes + BATCH_2, sizeof(batch));
    rig_free(other);
    three_batches();
    memfs_set(r->fs, SEGMENT_1, BATCH_2, batch, sizeof(batch));
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert(strstr(r->note, "chain") != NULL, "%s", r->note);
    cr_assert(rig_recovered(r, 1, 2));
    cr_assert_eq(r->rec.claimed_index, 9);
    cr_assert_eq(r->rec.claimed_epoch, 1);
}

Test(store_damage, damage_in_what_the_snapshot_covers_is_not_looked_at)
{
    for (int i = 0; i < 60; i++) {
        cr_assert_eq(rig_append(r, 1, 3700), 0);
    }
    cr_assert_eq(rig_snapshot(r, 50, 1000), 0);
    rig_close(r);
    memfs_flip(r->fs, SEGMENT_1, BATCH_2 + 600);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(r->rec.faulty, "%s", r->note);
    cr_assert(rig_snapshot_is(r, 50, 1000));
    cr_assert(rig_recovered(r, 51, 60));
}
