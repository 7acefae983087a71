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
 *
 * Any other byte, or no file, is "-". */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SLOW_MS = 60 };

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset);
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset);
int fdatasync(int fd);
int fsync(int fd);
int posix_fallocate(int fd, off_t offset, off_t size);
int posix_fallocate64(int fd, off_t offset, off_t size);
int fallocate(int fd, int mode, off_t offset, off_t size);
int fallocate64(int fd, int mode, off_t offset, off_t size);

static const volatile char *control;

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
        return NEXT(pwrite)(fd, bytes, size, offset);
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
    return before_sync() == 0 ? NEXT(fdatasync)(fd) : -1;
}

int fsync(int fd)
{
    return before_sync() == 0 ? NEXT(fsync)(fd) : -1;
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
