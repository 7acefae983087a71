#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "err.h"
#include "store_rig.h"

/* Each call that changes the disk fails once, alone, with EIO. Whoever asked for it is told that
 * the process must end, and nothing is tried again: what the disk does after a failed write or sync
 * says nothing about what it has (Rebello et al., "Can applications recover from fsync failures?",
 * USENIX ATC 2020). */

static struct vfs disk; /* behind the calls below */
static uint64_t calls;
static uint64_t fail_at;     /* number of the call that fails */
static uint64_t calls_after; /* that, not counting the removal of a temporary file */

static bool fails(void)
{
    calls++;
    calls_after += calls > fail_at;
    return calls == fail_at;
}

static int fail_open(void *ctx, const char *name, int flags, int mode)
{
    return (flags & O_CREAT) != 0 && fails() ? -EIO : disk.open(ctx, name, flags, mode);
}

static ssize_t fail_pwrite(void *ctx, int fd, const void *from, size_t size, uint64_t offset)
{
    return fails() ? -EIO : disk.pwrite(ctx, fd, from, size, offset);
}

static int fail_allocate(void *ctx, int fd, uint64_t size)
{
    return fails() ? -EIO : disk.allocate(ctx, fd, size);
}

static int fail_sync(void *ctx, int fd)
{
    return fails() ? -EIO : disk.sync(ctx, fd);
}

static int fail_rename(void *ctx, const char *from, const char *to)
{
    return fails() ? -EIO : disk.rename(ctx, from, to);
}

static int fail_unlink(void *ctx, const char *name)
{
    if (calls >= fail_at && strstr(name, ".tmp") != NULL) {
        return disk.unlink(ctx, name);
    }
    return fails() ? -EIO : disk.unlink(ctx, name);
}

static int fail_sync_dir(void *ctx)
{
    return fails() ? -EIO : disk.sync_dir(ctx);
}

static struct rig *rig_failing(uint64_t at)
{
    struct rig *r = rig_new();

    calls = calls_after = 0;
    fail_at = at;
    disk = r->conf.vfs;
    r->conf.vfs.open = fail_open;
    r->conf.vfs.pwrite = fail_pwrite;
    r->conf.vfs.allocate = fail_allocate;
    r->conf.vfs.sync = fail_sync;
    r->conf.vfs.rename = fail_rename;
    r->conf.vfs.unlink = fail_unlink;
    r->conf.vfs.sync_dir = fail_sync_dir;
    return r;
}

enum { STEPS = 19 };

static int step(struct rig *r, int number)
{
    switch (number) {
    case 0:
    case 18:
        return rig_open(r);
    case 1:
        return rig_vote(r, 1, 1);
    case 2:
        return rig_append(r, 3, 100);
    case 3:
    case 4:
    case 5:
        return rig_append(r, 3, 11000);
    case 6:
        return rig_snapshot(r, 4, 70000);
    case 7:
        return rig_purge(r);
    case 8:
        return rig_snapshot(r, 9, 70000);
    case 9:
        return rig_snapshot(r, 10, 100);
    case 10:
        return rig_purge(r);
    case 11:
        r->epoch = 2;
        return rig_truncate(r, 11);
    case 12:
        return rig_append(r, 1, 100);
    case 13:
        return rig_piece(r, 30, 70000, 0);
    case 14:
        return rig_drop(r);
    case 15:
        return rig_install(r, 40, 70000);
    case 16:
        return rig_append(r, 1, 100);
    default:
        return rig_vote(r, 2, 2);
    }
}

static int run(struct rig *r, int *ret_step)
{
    int rc = 0;

    for (int i = 0; i < STEPS && rc == 0; i++) {
        *ret_step = i;
        rc = step(r, i);
    }
    return rc;
}

Test(store_error, is_final_whatever_call_it_was)
{
    uint64_t at = 1;

    for (;; at++) {
        struct rig *r = rig_failing(at);
        int died, rc = run(r, &died);
        bool is_snapshot = died == 6 || died == 8 || died == 9; /* that is the child's process */

        if (calls < at) {
            cr_assert_eq(rc, 0, "%s", r->note);
            rig_free(r);
            break;
        }
        cr_assert_eq(rc, ERR_IO, "call %lu in step %d: %s", at, died, err_text(rc));
        cr_assert_eq(calls_after, 0, "call %lu in step %d: it went on", at, died);
        if (r->store != NULL && !is_snapshot) {
            cr_assert_eq(rig_append(r, 1, 10), ERR_IO, "call %lu in step %d", at, died);
            cr_assert_eq(rig_vote(r, 9, 1), ERR_IO);
            cr_assert_eq(store_prepare(r->store, r->note), ERR_IO);
            cr_assert_eq(calls_after, 0, "call %lu in step %d: it was asked again", at, died);
        }
        rig_free(r);
    }
    cr_assert_gt(at, 90, "the script has become short: %lu", at);
}
