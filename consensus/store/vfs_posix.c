#include "vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "sector.h"

/* The production disk: names relative to one directory, through its descriptor. Holds no state but
 * that descriptor, so a forked child may go on using it. */
struct posix {
    int dir_fd;
};

/* A quota is as good as a full disk: what is written here must find space, whoever says no. */
static int failure(int err)
{
    return err == EDQUOT ? -ENOSPC : -err;
}

/* What is read from an existing file shall be what the disk holds: pages that a process left behind
 * without a sync are written, and then dropped so that the next read fetches them. */
static int posix_open(void *ctx, const char *name, int flags, int mode)
{
    const struct posix *p = ctx;
    int fd = openat(p->dir_fd, name, flags | O_CLOEXEC, mode);

    if (fd < 0) {
        return failure(errno);
    }
    if (!(flags & O_CREAT)) {
        if (fdatasync(fd) != 0) {
            int err = -errno;

            close(fd);
            return err;
        }
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    return fd;
}

static int posix_close(void *ctx, int fd)
{
    (void)ctx;
    return close(fd) == 0 ? 0 : -errno;
}

static ssize_t posix_pread(void *ctx, int fd, void *to, size_t size, uint64_t offset)
{
    ssize_t n;

    (void)ctx;
    do {
        n = pread(fd, to, size, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t posix_pwrite(void *ctx, int fd, const void *from, size_t size, uint64_t offset)
{
    ssize_t n;

    (void)ctx;
    do {
        n = pwrite(fd, from, size, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? failure(errno) : n;
}

static int posix_allocate(void *ctx, int fd, uint64_t size)
{
    int err;

    (void)ctx;
    do {
        err = posix_fallocate(fd, 0, (off_t)size);
    } while (err == EINTR);
    return failure(err);
}

static int posix_sync(void *ctx, int fd)
{
    (void)ctx;
    return fdatasync(fd) == 0 ? 0 : -errno;
}

/* Past the page cache a block costs one request to the disk instead of a copy, a walk over dirty
 * pages and a request. O_DSYNC in the same call would be slower: then the kernel hands the flush to
 * a worker. Only where the file system says that blocks of this size can be written so; elsewhere
 * all stays as it is. */
static void posix_direct(void *ctx, int fd)
{
    struct statx st = {0};
    int flags = fcntl(fd, F_GETFL);

    (void)ctx;
    if (flags < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) != 0 ||
        !(st.stx_mask & STATX_DIOALIGN) || st.stx_dio_offset_align == 0 ||
        st.stx_dio_mem_align == 0 || BLOCK_SIZE % st.stx_dio_offset_align != 0 ||
        BLOCK_SIZE % st.stx_dio_mem_align != 0) {
        return;
    }
    (void)fcntl(fd, F_SETFL, flags | O_DIRECT);
}

static int posix_size(void *ctx, int fd, uint64_t *ret)
{
    struct stat st;

    (void)ctx;
    if (fstat(fd, &st) != 0) {
        return -errno;
    }
    *ret = (uint64_t)st.st_size;
    return 0;
}

static int posix_rename(void *ctx, const char *from, const char *to)
{
    const struct posix *p = ctx;

    return renameat(p->dir_fd, from, p->dir_fd, to) == 0 ? 0 : -errno;
}

static int posix_unlink(void *ctx, const char *name)
{
    const struct posix *p = ctx;

    return unlinkat(p->dir_fd, name, 0) == 0 ? 0 : -errno;
}

static int posix_sync_dir(void *ctx)
{
    const struct posix *p = ctx;

    return fsync(p->dir_fd) == 0 ? 0 : -errno;
}

static int posix_list(void *ctx, void (*fn)(void *arg, const char *name), void *arg)
{
    const struct posix *p = ctx;
    int fd = openat(p->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct dirent *entry;
    DIR *dir;
    int err;

    if (fd < 0) {
        return -errno;
    }
    dir = fdopendir(fd);
    if (dir == NULL) {
        err = -errno;
        close(fd);
        return err;
    }
    errno = 0;
    while ((entry = readdir(dir)) != NULL) {
        fn(arg, entry->d_name);
        errno = 0;
    }
    err = -errno;
    closedir(dir);
    return err;
}

static int posix_lock(void *ctx, int fd)
{
    (void)ctx;
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
}

int vfs_posix(const char *dir, struct vfs *ret)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct posix *p;

    if (fd < 0) {
        return -errno;
    }
    p = mem_alloc(sizeof(*p));
    p->dir_fd = fd;
    *ret = (struct vfs){
        .ctx = p,
        .open = posix_open,
        .close = posix_close,
        .pread = posix_pread,
        .pwrite = posix_pwrite,
        .allocate = posix_allocate,
        .sync = posix_sync,
        .direct = posix_direct,
        .size = posix_size,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .sync_dir = posix_sync_dir,
        .list = posix_list,
        .lock = posix_lock,
    };
    return 0;
}

void vfs_posix_done(struct vfs *v)
{
    struct posix *p = v->ctx;

    close(p->dir_fd);
    mem_free(p);
    *v = (struct vfs){0};
}

int vfs_posix_dir_fd(const struct vfs *v)
{
    const struct posix *p = v->ctx;

    return p->dir_fd;
}
