#include <criterion/criterion.h>

#include "err.h"
#include "store_rig.h"

/* A member that had lost its whole log started as if nothing was missing.
 *
 * Without any segment a member cannot say what it acknowledged, and must not start. The check was
 * whether the only file left is the spare that a peer's snapshot begins the log with. A snapshot of
 * the member's own names no such file, number 0, and number 0 also stood for "no spare was found":
 * so with a snapshot there the lost log passed for one that had not begun, and the member voted
 * without the entries behind the snapshot. */

Test(regression, lost_log_beside_own_snapshot_is_refused)
{
    struct rig *r = rig_new();

    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_vote(r, 1, 1), 0);
    cr_assert_eq(rig_append(r, 5, 10), 0);
    cr_assert_eq(rig_snapshot(r, 5, 100), 0);
    cr_assert_eq(rig_append(r, 2, 10), 0);
    rig_close(r);
    memfs_remove(r->fs, "log-0000000000000001");
    memfs_remove(r->fs, "log-0000000000000002");
    cr_assert_eq(rig_open(r), ERR_CORRUPT);
    cr_assert_str_not_empty(r->note);
    rig_free(r);
}
