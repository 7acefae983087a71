#include <criterion/criterion.h>

#include "store_rig.h"

/* Recovery wrote behind the end of its buffer.
 *
 * A file is read in one piece, or, when the disk cannot read some of it, block by block, each
 * unreadable block taken for 0xff. A file that damage had left with a size between two blocks, and
 * whose header no longer said how long it was, was read into a buffer of exactly that size; its
 * last block was filled up to the whole block. */

Test(regression, unreadable_last_block_of_an_odd_file)
{
    struct rig *r = rig_new();

    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_vote(r, 1, 1), 0);
    cr_assert_eq(rig_append(r, 5, 10), 0);
    cr_assert_eq(rig_truncate(r, 4), 0); /* the next segment begins */
    rig_close(r);
    memfs_flip(r->fs, "log-0000000000000002", 100);
    memfs_shorten(r->fs, "log-0000000000000002", 3 * 4096 + 1536);
    memfs_spoil(r->fs, "log-0000000000000002", 3);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    rig_free(r);
}
