#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "sector.h"
#include "store_rig.h"

/* Identity, votes, and who may open a directory. */

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

TestSuite(store_meta, .init = setup, .fini = teardown);

Test(store_meta, votes_survive_reopen)
{
    cr_assert_eq(rig_vote(r, 4, 2), 0);
    cr_assert_eq(rig_vote(r, 7, 0), 0);
    cr_assert_eq(rig_vote(r, 7, 3), 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->rec.promised_epoch, 7);
    cr_assert_eq(r->rec.voted_for, 3);
    cr_assert_not(r->rec.is_new);
}

Test(store_meta, newest_vote_survives_damage_to_either_file_at_any_byte)
{
    for (uint64_t epoch = 1; epoch < 4; epoch++) {
        cr_assert_eq(rig_vote(r, epoch, 2), 0);
        for (int i = 0; i < 2; i++) {
            for (size_t at = 0; at < 512; at += 13) {
                struct rig *c = rig_copy(r);

                memfs_flip(c->fs, i == 0 ? "meta-0" : "meta-1", at);
                cr_assert_eq(rig_open(c), 0);
                cr_assert_eq(c->rec.promised_epoch, epoch);
                cr_assert_eq(c->rec.voted_for, 2);
                cr_assert(strstr(c->note, i == 0 ? "meta-0" : "meta-1") != NULL);
                cr_assert_eq(rig_open(c), 0);
                cr_assert_str_eq(c->note, "", "the damaged one was made good");
                rig_free(c);
            }
        }
    }
}

Test(store_meta, newest_vote_survives_one_file_that_cannot_be_read)
{
    cr_assert_eq(rig_vote(r, 6, 2), 0);
    rig_close(r);
    memfs_spoil(r->fs, "meta-0", 0);
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->rec.promised_epoch, 6);
}

Test(store_meta, one_missing_file_is_made_again)
{
    cr_assert_eq(rig_vote(r, 5, 1), 0);
    rig_close(r);
    memfs_remove(r->fs, "meta-0");
    cr_assert_eq(rig_open(r), 0);
    rig_close(r);
    memfs_remove(r->fs, "meta-1");
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->rec.promised_epoch, 5);
    cr_assert_eq(r->rec.incarnation.lo, 0x3333);
}

Test(store_meta, both_files_damaged_refuses_to_start)
{
    rig_close(r);
    memfs_flip(r->fs, "meta-0", 60);
    memfs_flip(r->fs, "meta-1", 300);
    cr_assert_eq(rig_open(r), ERR_CORRUPT);
    cr_assert(strstr(r->note, "meta-0") != NULL);
}

Test(store_meta, both_files_missing_beside_a_log_refuses_to_start)
{
    cr_assert_eq(rig_append(r, 1, 10), 0);
    rig_close(r);
    memfs_remove(r->fs, "meta-0");
    memfs_remove(r->fs, "meta-1");
    cr_assert_eq(rig_open(r), ERR_CORRUPT);
}

Test(store_meta, incarnation_is_the_one_of_the_first_start)
{
    r->conf.incarnation.lo = 77;
    cr_assert_eq(rig_open(r), 0);
    cr_assert_eq(r->rec.incarnation.lo, 0x3333);
}

Test(store_meta, directory_of_another_ensemble_is_refused_by_name)
{
    rig_close(r);
    r->conf.cluster.hi++;
    cr_assert_eq(rig_open(r), ERR_FOREIGN);
    cr_assert_str_eq(r->note, "meta-0: belongs to another ensemble");
}

Test(store_meta, directory_of_another_member_is_refused_by_name)
{
    rig_close(r);
    r->conf.member = 4;
    cr_assert_eq(rig_open(r), ERR_FOREIGN);
    cr_assert_str_eq(r->note, "meta-0: belongs to member 3");
}

/* Every file says which version of the format it is in, and another one is not guessed at. */
Test(store_meta, files_of_another_version_are_refused_by_name)
{
    static const char *const names[] = {"meta-1", "log-0000000000000001", "snap-000000000000000a"};

    cr_assert_eq(rig_append(r, 20, 10), 0);
    cr_assert_eq(rig_snapshot(r, 10, 1000), 0);
    rig_close(r);
    for (int i = 0; i < 3; i++) {
        struct rig *c = rig_copy(r);
        uint8_t sector[SECTOR_SIZE];
        const uint8_t *bytes;
        size_t size;

        bytes = memfs_bytes(c->fs, names[i], &size);
        memcpy(sector, bytes, sizeof(sector));
        sector[8]--; /* the version */
        sector_seal(sector, 0, 0);
        memfs_set(c->fs, names[i], 0, sector, sizeof(sector));
        cr_assert_eq(rig_open(c), ERR_FORMAT, "%s", names[i]);
        cr_assert(strstr(c->note, names[i]) != NULL, "%s", c->note);
        rig_free(c);
    }
}

Test(store_meta, segment_of_another_member_is_refused_by_name)
{
    struct rig *other = rig_new();
    const uint8_t *bytes;
    size_t size;

    other->conf.member = 4;
    cr_assert_eq(rig_open(other), 0);
    cr_assert_eq(rig_append(other, 1, 10), 0);
    cr_assert_eq(rig_append(r, 1, 10), 0);
    rig_close(r);
    bytes = memfs_bytes(other->fs, "log-0000000000000001", &size);
    memfs_set(r->fs, "log-0000000000000001", 0, bytes, size);
    cr_assert_eq(rig_open(r), ERR_FOREIGN);
    cr_assert(strstr(r->note, "log-0000000000000001") != NULL);
    rig_free(other);
}

Test(store_meta, second_opener_is_refused_and_changes_nothing)
{
    struct store_recovered rec;
    struct store *second;
    char note[256];

    cr_assert_eq(store_open(&r->conf, &second, &rec, note), ERR_BUSY);
    cr_assert_str_eq(note, "lock: held by another process");
    cr_assert_eq(rig_append(r, 1, 10), 0);
}

Test(store_meta, leftovers_of_dead_writers_are_removed)
{
    struct vfs v;
    int fd;

    rig_close(r);
    memfs_vfs(r->fs, &v);
    fd = v.open(v.ctx, "snap-0000000000000009.tmp", 0102, 0600);
    v.close(v.ctx, fd);
    cr_assert(memfs_has(r->fs, "snap-0000000000000009.tmp"));
    cr_assert_eq(rig_open(r), 0);
    cr_assert_not(memfs_has(r->fs, "snap-0000000000000009.tmp"));
}

Test(store_meta, all_of_it_works_in_a_real_directory)
{
    char dir[] = "/tmp/zabfs-store-XXXXXX";
    struct store_recovered rec;
    struct store *second;
    char command[64];
    int status;
    pid_t child;

    rig_close(r);
    cr_assert(mkdtemp(dir) != NULL);
    cr_assert_eq(vfs_posix(dir, &r->conf.vfs), 0);
    r->last = 0;
    cr_assert_eq(rig_open(r), 0, "%s", r->note);
    cr_assert(r->rec.is_new);
    cr_assert_eq(rig_vote(r, 2, 1), 0);
    for (int i = 0; i < 40; i++) {
        cr_assert_eq(rig_append(r, 2, 3000), 0, "%s", r->note);
    }
    child = fork();
    if (child == 0) {
        _exit(rig_snapshot(r, 30, 200000) == 0 ? 0 : 1);
    }
    cr_assert_eq(rig_truncate(r, 70), 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(store_open(&r->conf, &second, &rec, r->note), ERR_BUSY);
    cr_assert_eq(rig_snapshot(r, 60, 200001), 0);
    cr_assert_eq(rig_purge(r), 0, "%s", r->note);
    cr_assert_eq(rig_open(r), 0, "%s", r->note);
    cr_assert(rig_recovered(r, 61, 70));
    cr_assert(rig_snapshot_is(r, 60, 200001));
    cr_assert_eq(r->rec.promised_epoch, 2);
    cr_assert_eq(rig_install(r, 500, 100000), 0, "%s", r->note);
    cr_assert_eq(rig_append(r, 2, 3000), 0, "%s", r->note);
    cr_assert_eq(rig_open(r), 0, "%s", r->note);
    cr_assert(rig_recovered(r, 501, 502));
    cr_assert(rig_snapshot_is(r, 500, 100000));
    rig_close(r);
    vfs_posix_done(&r->conf.vfs);
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}
