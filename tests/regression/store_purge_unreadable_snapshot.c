/* Found by the simulator (seed 12, --seconds 360). A member had been given its state by the leader,
 * so its log began behind that one snapshot. Its disk was full, so PURGE ran again and again, and
 * one read of the snapshot's header failed with EIO. PURGE took the snapshot for damaged and
 * removed it: the log behind it was worth nothing any more, and the member, whose disk was sound,
 * had lost all it ever acknowledged. Now PURGE only removes what is older than enough whole
 * snapshots. */

#include <criterion/criterion.h>

#include "store_rig.h"

Test(regression, purge_keeps_a_snapshot_that_it_could_not_read)
{
    struct rig *r = rig_new();

    cr_assert_eq(rig_open(r), 0);
    r->epoch = 2;
    cr_assert_eq(rig_install(r, 40, 1000), 0);
    cr_assert_eq(rig_append(r, 10, 100), 0);
    memfs_fail_at(r->fs, MEMFS_READ, 1);
    cr_assert_eq(rig_purge(r), 0);
    rig_close(r);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(r->rec.faulty);
    cr_assert(rig_snapshot_is(r, 40, 1000));
    cr_assert(rig_recovered(r, 41, 50));
    rig_free(r);
}
