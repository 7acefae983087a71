#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "limits.h"
#include "store_rig.h"

static struct rig *r;

static void setup(void)
{
    r = rig_new();
    cr_assert_eq(rig_open(r), 0, "%s", r->note);
}

static void teardown(void)
{
    rig_free(r);
}

TestSuite(store_log, .init = setup, .fini = teardown);

Test(store_log, new_directory_is_empty_and_new)
{
    cr_assert(r->rec.is_new);
    cr_assert_eq(r->rec.entry_count, 0);
    cr_assert_not(r->rec.faulty);
    cr_assert_not(r->rec.torn_tail);
    cr_assert_not(r->rec.has_snapshot);
    cr_assert_eq(r->rec.incarnation.lo, 0x3333);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.is_new);
}

Test(store_log, entries_come_back_as_they_were_appended)
{
    cr_assert_eq(rig_append(r, 3, 100), 0);
    cr_assert_eq(rig_append(r, 1, 0), 0);
    cr_assert_eq(rig_append(r, 2, 5000), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 6));
    cr_assert_eq(r->rec.claimed_index, 6);
    cr_assert_not(r->rec.faulty);
    cr_assert_str_eq(r->note, "");
    cr_assert_not(r->rec.is_new);
}

Test(store_log, appending_goes_on_after_reopen)
{
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(rig_append(r, 1, 300), 0);
        cr_assert_eq(rig_open(r), 0);
    }
    cr_assert(rig_recovered(r, 1, 5));
    cr_assert_not(memfs_has(r->fs, "log-0000000000000003"), "all of it fits one segment");
}

Test(store_log, consecutive_appends_share_one_sync)
{
    struct store_stats before, after;

    cr_assert_eq(rig_append(r, 1, 10), 0);
    store_stats(r->store, &before);
    cr_assert_eq(rig_append_ops(r, 20, 100), 0);
    store_stats(r->store, &after);
    cr_assert_eq(after.syncs - before.syncs, 1);
    cr_assert_eq(after.log_last, 21);
    cr_assert_eq(after.batch_done, 20);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 21));
}

Test(store_log, log_goes_over_many_segments)
{
    for (int i = 0; i < 200; i++) {
        cr_assert_eq(rig_append(r, 1, 1000 + i * 13), 0);
    }
    cr_assert(memfs_has(r->fs, "log-000000000000000a"));
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 200));
    cr_assert_eq(rig_append(r, 1, 1), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 201));
}

Test(store_log, batch_larger_than_a_segment_gets_one_of_its_own_size)
{
    cr_assert_eq(rig_append(r, 1, 100), 0);
    cr_assert_eq(rig_append(r, 1, ENTRY_SIZE_MAX), 0);
    cr_assert_eq(rig_append(r, 1, 100), 0);
    cr_assert_eq(rig_append_ops(r, 3, ENTRY_SIZE_MAX), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 6));
}

Test(store_log, truncated_entries_do_not_come_back)
{
    cr_assert_eq(rig_append(r, 5, 700), 0);
    cr_assert_eq(rig_append(r, 5, 700), 0);
    cr_assert_eq(rig_truncate(r, 7), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 7));
    cr_assert_not(r->rec.faulty);
}

Test(store_log, other_entries_take_the_place_of_truncated_ones)
{
    cr_assert_eq(rig_append(r, 10, 700), 0);
    for (int i = 0; i < 6; i++) {
        r->epoch++;
        cr_assert_eq(rig_truncate(r, (uint64_t)(8 - i)), 0);
        cr_assert_eq(rig_append(r, 3, 400), 0);
        cr_assert_eq(rig_open(r), 0);
        cr_assert(rig_recovered(r, 1, (uint64_t)(11 - i)));
        cr_assert_not(r->rec.faulty);
    }
}

Test(store_log, log_can_be_truncated_to_nothing)
{
    cr_assert_eq(rig_append(r, 10, 700), 0);
    cr_assert_eq(rig_truncate(r, 0), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 0));
    cr_assert_not(r->rec.faulty);
    r->epoch = 2;
    cr_assert_eq(rig_append(r, 2, 10), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 2));
}

Test(store_log, truncation_reaches_over_several_segments)
{
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(rig_append(r, 1, 4000), 0);
    }
    cr_assert_eq(rig_truncate(r, 20), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 20));
    r->epoch = 2;
    cr_assert_eq(rig_append(r, 50, 4000), 0);
    cr_assert_eq(rig_truncate(r, 40), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 40));
    cr_assert_not(r->rec.faulty);
}

Test(store_log, full_disk_refuses_before_writing_and_recovers_when_there_is_space)
{
    int rc = 0;
    uint64_t last;

    memfs_set_space(r->fs, memfs_used(r->fs) + 2 * STORE_SEGMENT_SIZE_MIN);
    for (int i = 0; i < 100 && rc == 0; i++) {
        rc = rig_append(r, 1, 4000);
    }
    cr_assert_eq(rc, ERR_NOSPACE);
    cr_assert(strstr(r->note, "log-") != NULL, "%s", r->note);
    last = r->last;
    cr_assert_gt(last, 10);
    cr_assert_eq(rig_append(r, 1, 4000), ERR_NOSPACE);
    cr_assert_eq(rig_vote(r, 9, 1), 0);
    memfs_set_space(r->fs, UINT64_MAX);
    cr_assert_eq(rig_append(r, 1, 4000), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, last + 1));
    cr_assert_eq(r->rec.promised_epoch, 9);
}

/* The spare that could not be made when the last one was taken is made when there is space, before
 * anybody needs it. */
Test(store_log, spare_is_made_again_when_there_is_space)
{
    struct store_stats stats;

    memfs_set_space(r->fs, memfs_used(r->fs) + STORE_SEGMENT_SIZE_MIN);
    do {
        cr_assert_eq(rig_append(r, 1, 4000), 0);
        store_stats(r->store, &stats);
    } while (stats.has_spare);
    cr_assert_eq(store_prepare(r->store, r->note), ERR_NOSPACE);
    cr_assert(strstr(r->note, "allocate") != NULL, "%s", r->note);
    cr_assert_eq(rig_append(r, 1, 4000), 0, "the segment has room");
    memfs_set_space(r->fs, UINT64_MAX);
    cr_assert_eq(store_prepare(r->store, r->note), 0);
    store_stats(r->store, &stats);
    cr_assert(stats.has_spare);
    cr_assert_eq(store_prepare(r->store, r->note), 0, "it is there");
    memfs_set_space(r->fs, 0);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(rig_append(r, 1, 4000), 0);
    }
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, r->last));
}

Test(store_log, full_disk_still_opens)
{
    cr_assert_eq(rig_append(r, 1, 4000), 0);
    memfs_set_space(r->fs, 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 1));
    cr_assert_eq(rig_append(r, 1, 4000), 0, "the segment has room");
}

Test(store_log, full_disk_is_not_initialised)
{
    struct rig *full = rig_new();

    memfs_set_space(full->fs, 4096);
    cr_assert_eq(rig_open(full), ERR_NOSPACE);
    memfs_set_space(full->fs, UINT64_MAX);
    cr_assert_eq(rig_open(full), 0);
    cr_assert(full->rec.is_new);
    rig_free(full);
}
