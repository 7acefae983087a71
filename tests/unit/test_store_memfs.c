/* The disk in memory that the tests of the store and the simulator rest on: it must lose what a
 * real one may lose, or they would prove nothing. */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "memfs.h"

static struct memfs *fs;
static struct vfs v;
static int fd;

static void begin(void)
{
    fs = memfs_new();
    memfs_vfs(fs, &v);
    fd = v.open(v.ctx, "a", O_RDWR | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(v.pwrite(v.ctx, fd, "old", 3, 0), 3);
    cr_assert_eq(v.sync(v.ctx, fd), 0);
    cr_assert_eq(v.sync_dir(v.ctx), 0);
}

static void end(void)
{
    memfs_free(fs);
}

static bool holds(const char *text)
{
    char bytes[3];

    return v.pread(v.ctx, fd, bytes, sizeof(bytes), 0) == sizeof(bytes) &&
           memcmp(bytes, text, sizeof(bytes)) == 0;
}

static void open_again(void)
{
    fd = v.open(v.ctx, "a", O_RDWR, 0);
    cr_assert_geq(fd, 0);
}

TestSuite(store_memfs, .init = begin, .fini = end);

Test(store_memfs, failed_sync_drops_what_was_written_and_hides_it)
{
    cr_assert_eq(v.pwrite(v.ctx, fd, "new", 3, 0), 3);
    memfs_fail_at(fs, MEMFS_SYNC, 1);
    cr_assert_eq(v.sync(v.ctx, fd), -EIO);
    cr_assert(holds("new"));
    cr_assert_eq(v.sync(v.ctx, fd), 0); /* and means nothing */
    cr_assert(holds("new"));
    memfs_kill(fs);
    open_again();
    cr_assert(holds("old"));
}

Test(store_memfs, failed_write_changes_nothing)
{
    memfs_fail_at(fs, MEMFS_WRITE, 2);
    cr_assert_eq(v.pwrite(v.ctx, fd, "one", 3, 0), 3);
    cr_assert_eq(v.pwrite(v.ctx, fd, "two", 3, 0), -EIO);
    cr_assert(holds("one"));
    cr_assert_eq(v.pwrite(v.ctx, fd, "two", 3, 0), 3);
}

Test(store_memfs, read_fails_once)
{
    memfs_fail_at(fs, MEMFS_READ, 1);
    cr_assert_not(holds("old"));
    cr_assert(holds("old"));
}

Test(store_memfs, power_failure_loses_or_keeps_what_was_not_synced)
{
    int kept = 0;

    for (uint64_t seed = 0; seed < 64; seed++) {
        cr_assert_eq(v.pwrite(v.ctx, fd, "old", 3, 0), 3);
        cr_assert_eq(v.sync(v.ctx, fd), 0);
        cr_assert_eq(v.pwrite(v.ctx, fd, "new", 3, 0), 3);
        memfs_crash(fs, seed);
        open_again();
        cr_assert(holds("new") || holds("old"));
        kept += holds("new");
    }
    cr_assert_gt(kept, 10);
    cr_assert_lt(kept, 54);
}
