#include <criterion/criterion.h>
#include <string.h>

#include "store_rig.h"

/* A faulty log that claimed no more than it had.
 *
 * When a whole segment was unreadable, nothing in it told how far the log had come, and the store
 * reported a faulty log whose claimed index was that of its last entry: as if nothing could be
 * missing. The claim is what the next segment's header carries on; one that is reached already says
 * nothing, and after the next append the log would have passed for sound. */

static void destroy(struct rig *r, const char *name)
{
    uint8_t garbage[4096];
    size_t size;

    memset(garbage, 0xa5, sizeof(garbage));
    cr_assert_not_null(memfs_bytes(r->fs, name, &size));
    for (size_t at = 0; at < size; at += sizeof(garbage)) {
        memfs_set(r->fs, name, at, garbage, sizeof(garbage));
    }
}

Test(regression, faulty_log_claims_more_than_it_has)
{
    struct rig *r = rig_new();

    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_vote(r, 1, 1), 0);
    cr_assert_eq(rig_append(r, 5, 10), 0);
    cr_assert_eq(rig_truncate(r, 4), 0); /* the next segment begins */
    cr_assert_eq(rig_append(r, 3, 10), 0);
    rig_close(r);
    destroy(r, "log-0000000000000002");
    cr_assert_eq(rig_open(r), 0);
    cr_assert(r->rec.faulty);
    cr_assert_eq(r->last, 5); /* the cut is forgotten with the header that said it */
    cr_assert_eq(r->rec.claimed_index, 6);
    rig_free(r);
}
