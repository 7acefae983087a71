#include <criterion/criterion.h>

#include <string.h>

#include "err.h"
#include "store_rig.h"

/* A peer's snapshot on its way into the directory, in pieces. */

#define TEMPORARY "install.tmp"

static struct rig *r;

static void setup(void)
{
    r = rig_new();
    cr_assert_eq(rig_open(r), 0);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(rig_append(r, 1, 3000), 0);
    }
}

static void teardown(void)
{
    rig_free(r);
}

TestSuite(store_transfer, .init = setup, .fini = teardown);

static void is_as_before(uint64_t last)
{
    cr_assert_not(r->rec.faulty);
    cr_assert_not(r->rec.has_snapshot);
    cr_assert(rig_recovered(r, 1, last));
}

Test(store_transfer, pieces_of_any_size_make_the_same_snapshot)
{
    static const size_t sizes[] = {1, 511, 65520, 65519, 2, 131040, 7, 200000};
    uint64_t offset = 0;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        cr_assert_eq(rig_piece(r, 50, sizes[i], offset), 0);
        offset += sizes[i];
        cr_assert_eq(rig_append(r, 1, 100), 0, "the log goes on beside it");
    }
    cr_assert_eq(rig_seal(r, offset), 0);
    cr_assert_eq(rig_install_sealed(r), 0);
    cr_assert_not(memfs_has(r->fs, TEMPORARY));
    cr_assert_eq(rig_append(r, 2, 100), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_snapshot_is(r, 50, offset));
    cr_assert(rig_recovered(r, 51, 52));
}

Test(store_transfer, nothing_counts_before_the_installation)
{
    cr_assert_eq(rig_piece(r, 50, 100000, 0), 0);
    cr_assert_eq(rig_piece(r, 50, 100000, 100000), 0);
    cr_assert(memfs_has(r->fs, TEMPORARY));
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(memfs_has(r->fs, TEMPORARY), "the next start removes it");
    is_as_before(20);
    cr_assert_eq(rig_piece(r, 50, 100000, 0), 0);
    cr_assert_eq(rig_seal(r, 100000), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(memfs_has(r->fs, TEMPORARY));
    is_as_before(20);
}

Test(store_transfer, one_that_is_given_up_leaves_nothing)
{
    cr_assert_eq(rig_drop(r), 0, "there is none");
    cr_assert_eq(rig_piece(r, 50, 100000, 0), 0);
    cr_assert_eq(rig_drop(r), 0);
    cr_assert_not(memfs_has(r->fs, TEMPORARY));
    cr_assert_eq(rig_drop(r), 0);
    cr_assert_eq(rig_install(r, 60, 1000), 0, "another one");
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_snapshot_is(r, 60, 1000));
}

Test(store_transfer, another_one_takes_its_place)
{
    cr_assert_eq(rig_piece(r, 50, 300000, 0), 0);
    cr_assert_eq(rig_install(r, 60, 1000), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_snapshot_is(r, 60, 1000), "and nothing of the first is in it");
}

Test(store_transfer, full_disk_gives_up_the_transfer_and_nothing_else)
{
    uint64_t used = memfs_used(r->fs);

    memfs_set_space(r->fs, used + 100000);
    cr_assert_eq(rig_piece(r, 50, 70000, 0), 0);
    cr_assert_eq(rig_piece(r, 50, 70000, 70000), ERR_NOSPACE);
    cr_assert_not(memfs_has(r->fs, TEMPORARY), "what it took is given back");
    cr_assert_eq(memfs_used(r->fs), used);
    cr_assert_eq(rig_piece(r, 50, 70000, 140000), ERR_NOSPACE, "it is over");
    cr_assert_eq(rig_seal(r, 210000), ERR_NOSPACE);
    cr_assert_eq(rig_append(r, 1, 100), 0, "the log has its space");
    cr_assert_eq(rig_vote(r, 3, 1), 0);
    memfs_set_space(r->fs, UINT64_MAX);
    cr_assert_eq(rig_install(r, 50, 140000), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert(rig_snapshot_is(r, 50, 140000));
}

/* The footer, or the segment that the new log begins with, finds no space. */
Test(store_transfer, full_disk_at_the_seal_gives_it_up)
{
    uint64_t used = memfs_used(r->fs);

    cr_assert_eq(rig_piece(r, 50, 10000, 0), 0);
    memfs_set_space(r->fs, memfs_used(r->fs));
    cr_assert_eq(rig_seal(r, 10000), ERR_NOSPACE);
    cr_assert_not(memfs_has(r->fs, TEMPORARY));
    cr_assert_eq(memfs_used(r->fs), used);
    cr_assert_eq(rig_open(r), 0);
    is_as_before(20);
}

/* The header named the segment that was to be the first of the new log; appends took it since. */
Test(store_transfer, log_may_go_on_to_its_next_file_after_the_seal)
{
    cr_assert_eq(rig_piece(r, 90, 10000, 0), 0);
    cr_assert_eq(rig_seal(r, 10000), 0);
    for (int i = 0; i < 30; i++) {
        cr_assert_eq(rig_append(r, 1, 4000), 0);
    }
    cr_assert_eq(rig_install_sealed(r), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(r->rec.faulty, "%s", r->note);
    cr_assert(rig_snapshot_is(r, 90, 10000));
    cr_assert(rig_recovered(r, 91, 90), "nothing of the old log");
    cr_assert_eq(rig_append(r, 1, 100), 0);
}

/* The second sector of a file that is whole, changed between the writing and the reading back. */
static int (*true_sync)(void *ctx, int fd);

static int sync_and_flip(void *ctx, int fd)
{
    int rc = true_sync(ctx, fd);

    if (memfs_has(ctx, TEMPORARY)) {
        memfs_flip(ctx, TEMPORARY, 700);
    }
    return rc;
}

Test(store_transfer, what_the_disk_gives_back_is_verified_before_it_counts)
{
    rig_close(r);
    true_sync = r->conf.vfs.sync;
    r->conf.vfs.sync = sync_and_flip;
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(rig_piece(r, 50, 10000, 0), 0);
    cr_assert_eq(rig_seal(r, 10000), ERR_IO);
    cr_assert(strstr(r->note, TEMPORARY) != NULL, "%s", r->note);
    cr_assert_eq(rig_open(r), 0);
    is_as_before(20);
}

/* A member with a new disk took a leader's state and died before its first promise; then that state
 * is damaged. Its epoch is all that says whom the member may not vote for. */
static struct rig *fresh_with_state(void)
{
    struct rig *c = rig_new();

    cr_assert_eq(rig_open(c), 0);
    c->epoch = 7;
    cr_assert_eq(rig_install(c, 50, 1000), 0);
    rig_close(c);
    return c;
}

Test(store_transfer, damaged_state_of_a_fresh_member_keeps_its_place)
{
    struct rig *c = fresh_with_state();

    memfs_flip(c->fs, "snap-0000000000000032", 700);
    cr_assert_eq(rig_open(c), 0);
    cr_assert(c->rec.faulty);
    cr_assert_not(c->rec.is_new);
    cr_assert_eq(c->rec.promised_epoch, 0);
    cr_assert_eq(c->rec.claimed_index, 50);
    cr_assert_eq(c->rec.claimed_epoch, 7);
    rig_free(c);
}

Test(store_transfer, fresh_member_whose_state_is_damaged_beyond_that_does_not_start)
{
    struct rig *c = fresh_with_state();

    memfs_flip(c->fs, "snap-0000000000000032", 40);
    for (size_t i = 0; memfs_name(c->fs, i) != NULL; i++) {
        if (strncmp(memfs_name(c->fs, i), "log-", 4) == 0) {
            memfs_flip(c->fs, memfs_name(c->fs, i), 70);
        }
    }
    cr_assert_eq(rig_open(c), ERR_CORRUPT);
    cr_assert(strstr(c->note, "epoch") != NULL, "%s", c->note);
    rig_free(c);
}
