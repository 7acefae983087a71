/* A disk that fails: preloaded into `zabd` (LD_PRELOAD), it makes writes, syncs and allocations
 * fail or take long for as long as a control file says so. The file named by the environment
 * variable FAULTDISK is mapped, at least one byte long; its first byte says:
 *
 *     -   the disk is well
 *     w   pwrite fails with EIO
 *     h   pwrite writes half of the bytes, then fails with EIO
 *     s   fdatasync and fsync fail with EIO
 *     n   pwrite and allocation fail with ENOSPC
 *     l   each sync takes SLOW_MS longer
 *     i   each sync succeeds and does nothing: no member survives that, and a judge must see it
 *
 * Any other byte, or no file, is "-".
 *
 * And a disk that forgets: what is written stays in this process until its file is synced, or is
 * read or closed; of short writes some sectors reach the file at once, by chance. So SIGKILL is a
 * power failure to this process: the kernel's page cache, which would outlive it, has only what was
 * synced, and any part of the rest. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SLOW_MS = 60,
    SECTOR_SIZE = 512,
    SHORT_SIZE_MAX = 64 << 10, /* of a write whose sectors go ways of their own */
};

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset);
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset);
int statx(int fd, const char *path, int flags, unsigned mask, struct statx *ret);
int fdatasync(int fd);
int fsync(int fd);
int close(int fd);
ssize_t pread(int fd, void *bytes, size_t size, off_t offset);
ssize_t pread64(int fd, void *bytes, size_t size, off_t offset);
int posix_fallocate(int fd, off_t offset, off_t size);
int posix_fallocate64(int fd, off_t offset, off_t size);
int fallocate(int fd, int mode, off_t offset, off_t size);
int fallocate64(int fd, int mode, off_t offset, off_t size);

struct unsynced { /* a write that only this process knows of */
    struct unsynced *next;
    int fd;
    off_t offset;
    size_t size;
    char bytes[];
};

static const volatile char *control;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct unsynced *first; /* oldest first */
static struct unsynced **end = &first;
static unsigned chance;

static void lock_take(void)
{
    pthread_mutex_lock(&lock);
}

static void lock_give(void)
{
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void open_control(void)
{
    const char *path = getenv("FAULTDISK");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map;

    if (fd < 0) {
        return;
    }
    map = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
    control = map != MAP_FAILED ? map : NULL;
    close(fd);
    chance = (unsigned)getpid();
    pthread_atfork(lock_take, lock_give, lock_give); /* a snapshot's child writes, too */
}

static char fault(void)
{
    return control != NULL ? *control : '-';
}

/* The function that this one stands before. */
static void *next(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);

    if (f == NULL) {
        abort();
    }
    return f;
}

#define NEXT(name) (__extension__(__typeof__(&(name))) next(#name))

/* --- what was not synced --------------------------------------------------------------------- */

static bool toss(void)
{
    chance = chance * 1103515245u + 12345u;
    return (chance >> 16) & 1;
}

static ssize_t keep(int fd, const char *bytes, size_t size, off_t offset)
{
    struct unsynced *u = malloc(sizeof(*u) + size);

    if (u == NULL) {
        abort();
    }
    *u = (struct unsynced){.fd = fd, .offset = offset, .size = size};
    memcpy(u->bytes, bytes, size);
    lock_take();
    *end = u;
    end = &u->next;
    for (size_t at = 0; size <= SHORT_SIZE_MAX && at < size; at += SECTOR_SIZE) {
        size_t part = size - at < SECTOR_SIZE ? size - at : SECTOR_SIZE;

        if (toss()) {
            (void)!NEXT(pwrite)(fd, bytes + at, part, offset + (off_t)at);
        }
    }
    lock_give();
    return (ssize_t)size;
}

/* 0, or -1 with errno. */
static int let_go(int fd)
{
    struct unsynced **at = &first;
    int failed = 0;

    lock_take();
    while (*at != NULL) {
        struct unsynced *u = *at;

        if (u->fd != fd) {
            at = &u->next;
            continue;
        }
        if (NEXT(pwrite)(fd, u->bytes, u->size, u->offset) != (ssize_t)u->size) {
            failed = -1;
        }
        *at = u->next;
        free(u);
    }
    end = at;
    lock_give();
    return failed;
}

/* --- the calls ------------------------------------------------------------------------------- */

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    switch (fault()) {
    case 'h':
        (void)NEXT(pwrite)(fd, bytes, size / 2, offset);
        errno = EIO;
        return -1;
    case 'w':
        errno = EIO;
        return -1;
    case 'n':
        errno = ENOSPC;
        return -1;
    default:
        return control != NULL ? keep(fd, bytes, size, offset)
                               : NEXT(pwrite)(fd, bytes, size, offset);
    }
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset)
{
    return pwrite(fd, bytes, size, offset);
}

/* 0, or -1 with errno: what a sync is to return at once. */
static int before_sync(void)
{
    static const struct timespec slow = {.tv_nsec = SLOW_MS * 1000000L};

    if (fault() == 's') {
        errno = EIO;
        return -1;
    }
    if (fault() == 'l') {
        nanosleep(&slow, NULL);
    }
    return 0;
}

int fdatasync(int fd)
{
    if (fault() == 'i') {
        return 0;
    }
    return before_sync() == 0 && let_go(fd) == 0 ? NEXT(fdatasync)(fd) : -1;
}

int statx(int fd, const char *path, int flags, unsigned mask, struct statx *ret)
{
    if (control != NULL && mask == STATX_DIOALIGN) {
        errno = EINVAL;
        return -1;
    }
    return NEXT(statx)(fd, path, flags, mask, ret);
}

int fsync(int fd)
{
    return before_sync() == 0 && let_go(fd) == 0 ? NEXT(fsync)(fd) : -1;
}

ssize_t pread(int fd, void *bytes, size_t size, off_t offset)
{
    return let_go(fd) == 0 ? NEXT(pread)(fd, bytes, size, offset) : -1;
}

ssize_t pread64(int fd, void *bytes, size_t size, off_t offset)
{
    return pread(fd, bytes, size, offset);
}

int close(int fd)
{
    (void)let_go(fd);
    return NEXT(close)(fd);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    return fault() == 'n' ? ENOSPC : NEXT(posix_fallocate)(fd, offset, size);
}

int posix_fallocate64(int fd, off_t offset, off_t size)
{
    return posix_fallocate(fd, offset, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    if (fault() == 'n') {
        errno = ENOSPC;
        return -1;
    }
    return NEXT(fallocate)(fd, mode, offset, size);
}

int fallocate64(int fd, int mode, off_t offset, off_t size)
{
    return fallocate(fd, mode, offset, size);
}
