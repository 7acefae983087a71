#ifndef ZABFS_VFS_H
#define ZABFS_VFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The seam between the store and a disk. Production uses vfs_posix(); tests put
 * one in its place that loses what was not synced, tears sectors and fails on demand. All names are
 * relative to the one directory that the vfs stands for. Functions return 0 (or a count) or a
 * negative errno, as libuv does. */
struct vfs {
    void *ctx;
    int (*open)(void *ctx, const char *name, int flags,
                int mode); /* open(2) flags; a handle >= 0 */
    int (*close)(void *ctx, int fd);
    ssize_t (*pread)(void *ctx, int fd, void *to, size_t size, uint64_t offset);
    ssize_t (*pwrite)(void *ctx, int fd, const void *from, size_t size, uint64_t offset);
    int (*allocate)(void *ctx, int fd, uint64_t size); /* extends with zeros, space reserved */
    int (*sync)(void *ctx, int fd);                    /* fdatasync(2) */
    /* From then on the descriptor is given whole blocks of BLOCK_SIZE bytes, in memory aligned to
     * that, and nothing else. May be NULL, as in a disk of tests. */
    void (*direct)(void *ctx, int fd);
    int (*size)(void *ctx, int fd, uint64_t *ret);
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*unlink)(void *ctx, const char *name);
    int (*sync_dir)(void *ctx);
    int (*list)(void *ctx, void (*fn)(void *arg, const char *name), void *arg);
    int (*lock)(void *ctx, int fd); /* exclusive, not blocking: -EWOULDBLOCK */
};

/* Opens an existing directory. *ret is initialised; release with vfs_posix_done(). Returns 0 or a
 * negative errno. */
int vfs_posix(const char *dir, struct vfs *ret);
void vfs_posix_done(struct vfs *v);

/* The only descriptor it keeps between calls, for a forked child that closes all others. */
int vfs_posix_dir_fd(const struct vfs *v);

#endif
