#include <criterion/criterion.h>

#include <string.h>

#include "err.h"
#include "store_rig.h"

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

TestSuite(store_snapshot, .init = setup, .fini = teardown);

static void append_until(uint64_t last)
{
    while (r->last < last) {
        cr_assert_eq(rig_append(r, 1, 3000), 0);
    }
}

Test(store_snapshot, snapshot_of_any_size_comes_back)
{
    static const size_t sizes[] = {0, 1, 65519, 65520, 65521, 131040, 1000000};

    append_until(10);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        cr_assert_eq(rig_snapshot(r, i + 1, sizes[i]), 0);
        cr_assert_eq(rig_open(r), 0);
        cr_assert(rig_snapshot_is(r, i + 1, sizes[i]), "size %zu", sizes[i]);
        cr_assert(rig_recovered(r, i + 2, 10));
        cr_assert_eq(r->rec.snapshot.chain.lo, r->at[i + 1].chain.lo);
    }
}

Test(store_snapshot, purge_keeps_two_snapshots_and_the_log_behind_the_older)
{
    append_until(100);
    cr_assert_eq(rig_snapshot(r, 40, 1000), 0);
    cr_assert_eq(rig_purge(r), 0);
    cr_assert(memfs_has(r->fs, "log-0000000000000001"), "one snapshot: the log is the second");
    cr_assert_eq(rig_snapshot(r, 70, 1000), 0);
    cr_assert_eq(rig_snapshot(r, 90, 1000), 0);
    cr_assert_eq(rig_purge(r), 0);
    cr_assert_not(memfs_has(r->fs, "snap-0000000000000028"));
    cr_assert(memfs_has(r->fs, "snap-0000000000000046"));
    cr_assert(memfs_has(r->fs, "snap-000000000000005a"));
    cr_assert_not(memfs_has(r->fs, "log-0000000000000001"));
    rig_close(r);
    memfs_remove(r->fs, "snap-000000000000005a");
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_snapshot_is(r, 70, 1000));
    cr_assert(rig_recovered(r, 71, 100));
    cr_assert_not(r->rec.faulty);
}

Test(store_snapshot, purge_counts_only_whole_snapshots)
{
    append_until(100);
    cr_assert_eq(rig_snapshot(r, 40, 1000), 0);
    cr_assert_eq(rig_snapshot(r, 70, 1000), 0);
    cr_assert_eq(rig_snapshot(r, 90, 1000), 0);
    memfs_shorten(r->fs, "snap-0000000000000046", 700);
    cr_assert_eq(rig_purge(r), 0);
    cr_assert(memfs_has(r->fs, "snap-0000000000000046"));
    cr_assert(memfs_has(r->fs, "snap-0000000000000028"));
    rig_close(r);
    memfs_remove(r->fs, "snap-000000000000005a");
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_snapshot_is(r, 40, 1000));
    cr_assert(rig_recovered(r, 41, 100));
}

Test(store_snapshot, damage_anywhere_in_the_newest_falls_back_to_the_one_before)
{
    const char *name = "snap-0000000000000012";
    size_t size;

    append_until(20);
    cr_assert_eq(rig_snapshot(r, 10, 150000), 0);
    cr_assert_eq(rig_snapshot(r, 18, 150000), 0);
    cr_assert_eq(rig_purge(r), 0);
    rig_close(r);
    cr_assert(memfs_bytes(r->fs, name, &size) != NULL);
    for (size_t at = 0; at < size; at += at < 600 || at > size - 100 ? 7 : 1501) {
        struct rig *c = rig_copy(r);

        memfs_flip(c->fs, name, at);
        cr_assert_eq(rig_open(c), 0);
        cr_assert(rig_snapshot_is(c, 10, 150000), "byte %zu", at);
        cr_assert(rig_recovered(c, 11, 20));
        cr_assert_not(c->rec.faulty);
        cr_assert_str_eq(c->note, "snap-0000000000000012: stored data is damaged");
        rig_free(c);
    }
}

Test(store_snapshot, shortened_or_lengthened_snapshot_does_not_verify)
{
    append_until(20);
    cr_assert_eq(rig_snapshot(r, 10, 150000), 0);
    cr_assert_eq(rig_snapshot(r, 18, 150000), 0);
    rig_close(r);
    memfs_shorten(r->fs, "snap-0000000000000012", 512 + 65536);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_snapshot_is(r, 10, 150000));
}

Test(store_snapshot, no_snapshot_that_verifies_and_a_log_that_does_not_reach_is_faulty)
{
    append_until(100);
    cr_assert_eq(rig_snapshot(r, 40, 1000), 0);
    cr_assert_eq(rig_snapshot(r, 70, 1000), 0);
    cr_assert_eq(rig_purge(r), 0);
    rig_close(r);
    memfs_flip(r->fs, "snap-0000000000000028", 600);
    memfs_flip(r->fs, "snap-0000000000000046", 600);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert_not(r->rec.has_snapshot);
    cr_assert(rig_recovered(r, 1, 0));
    cr_assert_eq(r->rec.claimed_index, 100);
}

Test(store_snapshot, snapshot_of_another_ensemble_is_refused)
{
    append_until(10);
    r->conf.cluster.lo = 99;
    cr_assert_eq(rig_snapshot(r, 5, 100), 0);
    r->conf.cluster.lo = 0x1111;
    cr_assert_eq(rig_open(r), ERR_FOREIGN);
    cr_assert(strstr(r->note, "snap-0000000000000005") != NULL);
}

Test(store_snapshot, log_that_differs_from_the_snapshot_is_faulty)
{
    append_until(10);
    r->at[5].chain.lo ^= 1;
    cr_assert_eq(rig_snapshot(r, 5, 100), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert_eq(r->rec.entry_count, 0);
    cr_assert_eq(r->rec.claimed_index, 10);
}

Test(store_snapshot, log_that_ends_before_the_snapshot_is_faulty)
{
    append_until(10);
    cr_assert_eq(rig_snapshot(r, 8, 100), 0);
    cr_assert_eq(rig_truncate(r, 6), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert_eq(r->rec.entry_count, 0);
    cr_assert_eq(rig_append(r, 2, 10), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 9, 10));
}

Test(store_snapshot, full_disk_leaves_no_part_of_a_snapshot)
{
    append_until(10);
    memfs_set_space(r->fs, memfs_used(r->fs) + 100000);
    cr_assert_eq(rig_snapshot(r, 5, 150000), ERR_NOSPACE);
    cr_assert_not(memfs_has(r->fs, "snap-0000000000000005.tmp"));
    cr_assert_not(memfs_has(r->fs, "snap-0000000000000005"));
    cr_assert_eq(rig_append(r, 1, 10), 0);
}

Test(store_snapshot, installed_snapshot_replaces_log_and_snapshots)
{
    append_until(100);
    cr_assert_eq(rig_snapshot(r, 40, 1000), 0);
    r->epoch = 2;
    cr_assert_eq(rig_install(r, 300, 99999), 0);
    cr_assert_eq(rig_append(r, 3, 100), 0);
    cr_assert_not(memfs_has(r->fs, "snap-0000000000000028"));
    cr_assert_not(memfs_has(r->fs, "log-0000000000000001"));
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_snapshot_is(r, 300, 99999));
    cr_assert(rig_recovered(r, 301, 303));
    cr_assert_not(r->rec.faulty);
}

Test(store_snapshot, installed_snapshot_may_be_older_than_a_log_that_diverged)
{
    append_until(100);
    cr_assert_eq(rig_snapshot(r, 40, 1000), 0);
    r->epoch = 2;
    cr_assert_eq(rig_install(r, 30, 500), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_snapshot_is(r, 30, 500));
    cr_assert(rig_recovered(r, 31, 30));
    cr_assert_not(r->rec.faulty);
    cr_assert_eq(rig_append(r, 1, 100), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 31, 31));
}

Test(store_snapshot, install_heals_a_faulty_log)
{
    append_until(20);
    rig_close(r);
    memfs_flip(r->fs, "log-0000000000000001", 9000);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert_eq(rig_install(r, 25, 500), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(r->rec.faulty);
    cr_assert(rig_snapshot_is(r, 25, 500));
}

Test(store_snapshot, install_on_a_full_disk_changes_nothing)
{
    append_until(20);
    memfs_set_space(r->fs, memfs_used(r->fs) + 1000);
    cr_assert_eq(rig_install(r, 25, 50000), ERR_NOSPACE);
    cr_assert_eq(rig_append(r, 1, 10), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_recovered(r, 1, 21));
    cr_assert_not(r->rec.has_snapshot);
}

Test(store_snapshot, newest_that_cannot_be_read_falls_back_to_the_one_before)
{
    append_until(20);
    cr_assert_eq(rig_snapshot(r, 10, 150000), 0);
    cr_assert_eq(rig_snapshot(r, 18, 150000), 0);
    rig_close(r);
    memfs_spoil(r->fs, "snap-0000000000000012", 20);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_snapshot_is(r, 10, 150000));
    cr_assert(rig_recovered(r, 11, 20));
    cr_assert_not(r->rec.faulty);
}
