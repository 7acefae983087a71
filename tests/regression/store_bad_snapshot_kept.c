#include <criterion/criterion.h>

#include "store_rig.h"

/* A damaged snapshot was kept as one of two, and the log that the good one needs was removed.
 *
 * Recovery passed over a snapshot with a bad block and took the one before, but left the file. The
 * purge looks at headers and footers only, for blocks would take long to read: to it the file was
 * whole. With the next snapshot there were two, so the good older one went, and with it the log up
 * to the bad one. One more damaged file, and the member had nothing left to start from. */

Test(regression, snapshot_that_does_not_verify_is_not_one_that_is_kept)
{
    struct rig *r = rig_new();

    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_vote(r, 1, 1), 0);
    while (r->last < 40) {
        cr_assert_eq(rig_append(r, 1, 3000), 0);
    }
    cr_assert_eq(rig_snapshot(r, 10, 150000), 0);
    cr_assert_eq(rig_snapshot(r, 18, 150000), 0);
    rig_close(r);
    memfs_flip(r->fs, "snap-0000000000000012", 70000);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(memfs_has(r->fs, "snap-0000000000000012"));
    while (r->last < 100) {
        cr_assert_eq(rig_append(r, 1, 3000), 0);
    }
    cr_assert_eq(rig_snapshot(r, 90, 1000), 0);
    cr_assert_eq(rig_purge(r), 0);
    rig_close(r);
    memfs_flip(r->fs, "snap-000000000000005a", 600);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(r->rec.faulty);
    cr_assert(rig_snapshot_is(r, 10, 150000));
    cr_assert(rig_recovered(r, 11, 100));
    rig_free(r);
}
