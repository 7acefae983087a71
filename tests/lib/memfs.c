#include "memfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "memfs_inode.h"
#include "prng.h"

enum { NAME_MAX_SIZE = 64 };

struct entry {
    char name[NAME_MAX_SIZE];
    struct inode *inode;
};

struct dir {
    struct entry *entries;
    size_t count;
};

struct pending {                /* of the directory, since its last sync */
    char remove[NAME_MAX_SIZE]; /* "" is none */
    char set[NAME_MAX_SIZE];
    struct inode *inode; /* of set */
};

struct memfs {
    struct dir now, disk;
    struct pending *pending;
    size_t pending_count;
    struct inode **handles; /* NULL is closed */
    size_t handle_count;
    uint64_t space;
    uint64_t calls_left; /* 0: does not die */
    bool is_dead;
    uint64_t fail_left[MEMFS_CALL_COUNT]; /* 0: does not fail */
    struct memfs_counts counts;
};

/* --- directories ----------------------------------------------------------------------------- */

static struct entry *dir_find(const struct dir *d, const char *name)
{
    for (size_t i = 0; i < d->count; i++) {
        if (strcmp(d->entries[i].name, name) == 0) {
            return &d->entries[i];
        }
    }
    return NULL;
}

static void dir_remove(struct dir *d, const char *name)
{
    struct entry *e = dir_find(d, name);

    if (e != NULL) {
        inode_unref(e->inode);
        d->count--;
        memmove(e, e + 1, (size_t)(d->entries + d->count - e) * sizeof(*e));
    }
}

static void dir_set(struct dir *d, const char *name, struct inode *i)
{
    inode_ref(i);
    dir_remove(d, name);
    d->entries = mem_realloc(d->entries, (d->count + 1) * sizeof(*d->entries));
    (void)snprintf(d->entries[d->count].name, NAME_MAX_SIZE, "%s", name);
    d->entries[d->count++].inode = i;
}

static void dir_clear(struct dir *d)
{
    for (size_t i = 0; i < d->count; i++) {
        inode_unref(d->entries[i].inode);
    }
    mem_free(d->entries);
    *d = (struct dir){0};
}

static void dir_assign(struct dir *to, const struct dir *from)
{
    dir_clear(to);
    for (size_t i = 0; i < from->count; i++) {
        dir_set(to, from->entries[i].name, from->entries[i].inode);
    }
}

static void pending_apply(struct dir *d, const struct pending *p)
{
    if (p->remove[0] != '\0') {
        dir_remove(d, p->remove);
    }
    if (p->inode != NULL) {
        dir_set(d, p->set, p->inode);
    }
}

static void pending_clear(struct memfs *fs)
{
    for (size_t i = 0; i < fs->pending_count; i++) {
        if (fs->pending[i].inode != NULL) {
            inode_unref(fs->pending[i].inode);
        }
    }
    fs->pending_count = 0;
}

static void dir_change(struct memfs *fs, const char *remove, const char *set, struct inode *i)
{
    struct pending p = {.inode = i != NULL ? inode_ref(i) : NULL};

    (void)snprintf(p.remove, sizeof(p.remove), "%s", remove);
    (void)snprintf(p.set, sizeof(p.set), "%s", set);
    fs->pending = mem_realloc(fs->pending, (fs->pending_count + 1) * sizeof(*fs->pending));
    fs->pending[fs->pending_count++] = p;
    pending_apply(&fs->now, &p);
}

/* --- vfs ------------------------------------------------------------------------------------- */

static bool dies(struct memfs *fs)
{
    if (fs->calls_left > 0 && --fs->calls_left == 0) {
        fs->is_dead = true;
    }
    return fs->is_dead;
}

static bool fails(struct memfs *fs, enum memfs_call call)
{
    if (fs->fail_left[call] > 0 && --fs->fail_left[call] == 0) {
        fs->counts.failed[call]++;
        return true;
    }
    return false;
}

static struct inode *handle_inode(struct memfs *fs, int fd)
{
    CHECK(fd >= 0);
    CHECK((size_t)fd < fs->handle_count);
    CHECK(fs->handles[fd] != NULL);
    return fs->handles[fd];
}

static bool has_space(struct memfs *fs, const struct inode *i, uint64_t size)
{
    if (size <= i->now_size || memfs_used(fs) - i->now_size + size <= fs->space) {
        return true;
    }
    fs->counts.no_space++;
    return false;
}

static int mem_open(void *ctx, const char *name, int flags, int mode)
{
    struct memfs *fs = ctx;
    struct entry *e = dir_find(&fs->now, name);
    struct inode *i;

    (void)mode;
    if (dies(fs)) {
        return -EIO;
    }
    if (e == NULL && !(flags & O_CREAT)) {
        return -ENOENT;
    }
    if (e == NULL) {
        i = inode_new();
        dir_change(fs, "", name, i);
    } else {
        i = inode_ref(e->inode);
        if (flags & O_TRUNC) {
            i->is_spoiled = false; /* the block is given back */
        }
        if ((flags & O_TRUNC) && i->now_size > 0) {
            memset(i->now, 0, i->now_size);
            inode_touch(i, 0, i->now_size);
            i->now_size = 0;
        }
    }
    fs->handles = mem_realloc(fs->handles, (fs->handle_count + 1) * sizeof(*fs->handles));
    fs->handles[fs->handle_count] = i;
    return (int)fs->handle_count++;
}

static int mem_close(void *ctx, int fd)
{
    struct memfs *fs = ctx;
    struct inode *i = handle_inode(fs, fd);

    if (i->locked_by == fd) {
        i->locked_by = -1;
    }
    inode_unref(i);
    fs->handles[fd] = NULL;
    return 0;
}

static ssize_t mem_pread(void *ctx, int fd, void *to, size_t size, uint64_t offset)
{
    struct memfs *fs = ctx;
    const struct inode *i = handle_inode(fs, fd);

    if (dies(fs) || fails(fs, MEMFS_READ)) {
        return -EIO;
    }
    if (offset >= i->now_size) {
        return 0;
    }
    size = size < i->now_size - offset ? size : i->now_size - offset;
    if (i->is_spoiled && offset < (i->spoiled_block + 1) * BLOCK &&
        offset + size > i->spoiled_block * BLOCK) {
        return -EIO;
    }
    memcpy(to, i->now + offset, size);
    return (ssize_t)size;
}

static ssize_t mem_pwrite(void *ctx, int fd, const void *from, size_t size, uint64_t offset)
{
    struct memfs *fs = ctx;
    struct inode *i = handle_inode(fs, fd);

    if (dies(fs) || fails(fs, MEMFS_WRITE)) {
        return -EIO;
    }
    if (!has_space(fs, i, offset + size)) {
        return -ENOSPC;
    }
    inode_reserve(i, offset + size);
    memcpy(i->now + offset, from, size);
    inode_touch(i, offset, offset + size);
    i->now_size = offset + size > i->now_size ? offset + size : i->now_size;
    return (ssize_t)size;
}

static int mem_allocate(void *ctx, int fd, uint64_t size)
{
    struct memfs *fs = ctx;
    struct inode *i = handle_inode(fs, fd);

    if (dies(fs)) {
        return -EIO;
    }
    if (!has_space(fs, i, size)) {
        return -ENOSPC;
    }
    inode_reserve(i, size);
    i->now_size = size > i->now_size ? size : i->now_size;
    return 0;
}

static int mem_sync(void *ctx, int fd)
{
    struct memfs *fs = ctx;
    struct inode *i = handle_inode(fs, fd);

    if (dies(fs)) {
        return -EIO;
    }
    if (fails(fs, MEMFS_SYNC)) {
        inode_drop(i);
        return -EIO;
    }
    inode_sync(i);
    return 0;
}

static int mem_size(void *ctx, int fd, uint64_t *ret)
{
    struct memfs *fs = ctx;
    const struct inode *i = handle_inode(fs, fd);

    if (dies(fs)) {
        return -EIO;
    }
    *ret = i->now_size;
    return 0;
}

static int mem_rename(void *ctx, const char *from, const char *to)
{
    struct memfs *fs = ctx;
    struct entry *e = dir_find(&fs->now, from);

    if (dies(fs)) {
        return -EIO;
    }
    if (e == NULL) {
        return -ENOENT;
    }
    dir_change(fs, from, to, e->inode);
    return 0;
}

static int mem_unlink(void *ctx, const char *name)
{
    struct memfs *fs = ctx;

    if (dies(fs)) {
        return -EIO;
    }
    if (dir_find(&fs->now, name) == NULL) {
        return -ENOENT;
    }
    dir_change(fs, name, "", NULL);
    return 0;
}

static int mem_sync_dir(void *ctx)
{
    struct memfs *fs = ctx;

    if (dies(fs)) {
        return -EIO;
    }
    dir_assign(&fs->disk, &fs->now);
    pending_clear(fs);
    return 0;
}

static int mem_list(void *ctx, void (*fn)(void *arg, const char *name), void *arg)
{
    struct memfs *fs = ctx;

    if (dies(fs)) {
        return -EIO;
    }
    fn(arg, ".");
    fn(arg, "..");
    for (size_t i = 0; i < fs->now.count; i++) {
        fn(arg, fs->now.entries[i].name);
    }
    return 0;
}

static int mem_lock(void *ctx, int fd)
{
    struct memfs *fs = ctx;
    struct inode *i = handle_inode(fs, fd);

    if (dies(fs)) {
        return -EIO;
    }
    if (i->locked_by >= 0 && i->locked_by != fd) {
        return -EWOULDBLOCK;
    }
    i->locked_by = fd;
    return 0;
}

void memfs_vfs(struct memfs *fs, struct vfs *ret)
{
    *ret = (struct vfs){
        .ctx = fs,
        .open = mem_open,
        .close = mem_close,
        .pread = mem_pread,
        .pwrite = mem_pwrite,
        .allocate = mem_allocate,
        .sync = mem_sync,
        .size = mem_size,
        .rename = mem_rename,
        .unlink = mem_unlink,
        .sync_dir = mem_sync_dir,
        .list = mem_list,
        .lock = mem_lock,
    };
}

/* --- life ------------------------------------------------------------------------------------ */

struct memfs *memfs_new(void)
{
    struct memfs *fs = mem_zalloc(sizeof(*fs));

    fs->space = UINT64_MAX;
    return fs;
}

void memfs_kill(struct memfs *fs)
{
    for (size_t i = 0; i < fs->handle_count; i++) {
        if (fs->handles[i] != NULL) {
            mem_close(fs, (int)i);
        }
    }
    for (size_t i = 0; i < fs->now.count; i++) {
        inode_forget(fs->now.entries[i].inode);
    }
    memset(fs->fail_left, 0, sizeof(fs->fail_left));
    fs->handle_count = 0;
    fs->is_dead = false;
    fs->calls_left = 0;
}

void memfs_crash(struct memfs *fs, uint64_t seed)
{
    struct prng p = {seed};

    memfs_kill(fs);
    for (size_t i = 0; i < fs->pending_count; i++) {
        if (prng_below(&p, 2) == 0) {
            pending_apply(&fs->disk, &fs->pending[i]);
        }
    }
    pending_clear(fs);
    dir_assign(&fs->now, &fs->disk);
    for (size_t i = 0; i < fs->now.count; i++) {
        uint64_t lost = fs->counts.sectors_lost;
        uint64_t kept = fs->counts.sectors_kept;

        inode_crash(fs->now.entries[i].inode, &p, &fs->counts);
        fs->counts.torn += fs->counts.sectors_lost > lost && fs->counts.sectors_kept > kept;
    }
}

void memfs_free(struct memfs *fs)
{
    memfs_kill(fs);
    pending_clear(fs);
    dir_clear(&fs->now);
    dir_clear(&fs->disk);
    mem_free(fs->pending);
    mem_free(fs->handles);
    mem_free(fs);
}

static void dir_clone(struct inode_clones *c, const struct dir *from, struct dir *to)
{
    for (size_t i = 0; i < from->count; i++) {
        dir_set(to, from->entries[i].name, inode_clone(c, from->entries[i].inode));
    }
}

struct memfs *memfs_clone(const struct memfs *fs)
{
    struct memfs *clone = memfs_new();
    struct inode_clones c = {.count = 0};

    dir_clone(&c, &fs->now, &clone->now);
    dir_clone(&c, &fs->disk, &clone->disk);
    clone->pending = mem_dup(fs->pending, fs->pending_count * sizeof(*fs->pending));
    clone->pending_count = fs->pending_count;
    for (size_t i = 0; i < fs->pending_count; i++) {
        if (fs->pending[i].inode != NULL) {
            clone->pending[i].inode = inode_ref(inode_clone(&c, fs->pending[i].inode));
        }
    }
    for (size_t i = 0; i < c.count; i++) {
        inode_forget(c.to[i]); /* as memfs_kill() does */
        inode_unref(c.to[i]);
    }
    return clone;
}

/* The copy is as after a sync of everything. */
struct memfs *memfs_copy(const struct memfs *fs)
{
    struct memfs *copy = memfs_clone(fs);

    copy->space = fs->space;
    pending_clear(copy);
    for (size_t i = 0; i < copy->now.count; i++) {
        inode_sync(copy->now.entries[i].inode);
    }
    dir_assign(&copy->disk, &copy->now);
    return copy;
}

void memfs_die_at(struct memfs *fs, uint64_t calls)
{
    fs->calls_left = calls;
}

void memfs_fail_at(struct memfs *fs, enum memfs_call call, uint64_t calls)
{
    fs->fail_left[call] = calls;
}

void memfs_counts(const struct memfs *fs, struct memfs_counts *ret)
{
    *ret = fs->counts;
}

bool memfs_is_dead(const struct memfs *fs)
{
    return fs->is_dead;
}

void memfs_revive(struct memfs *fs)
{
    fs->is_dead = false;
    fs->calls_left = 0;
}

void memfs_set_space(struct memfs *fs, uint64_t size)
{
    fs->space = size;
}

uint64_t memfs_used(const struct memfs *fs)
{
    uint64_t used = 0;

    for (size_t i = 0; i < fs->now.count; i++) {
        used += fs->now.entries[i].inode->now_size;
    }
    return used;
}

/* --- damage ---------------------------------------------------------------------------------- */

static struct inode *named(const struct memfs *fs, const char *name)
{
    const struct entry *e = dir_find(&fs->now, name);

    CHECK(e != NULL);
    return e->inode;
}

const uint8_t *memfs_bytes(const struct memfs *fs, const char *name, size_t *ret_size)
{
    const struct entry *e = dir_find(&fs->now, name);

    if (e == NULL) {
        return NULL;
    }
    *ret_size = e->inode->now_size;
    return e->inode->now;
}

void memfs_set(struct memfs *fs, const char *name, size_t offset, const void *bytes, size_t size)
{
    struct inode *i = named(fs, name);

    CHECK(offset + size <= i->now_size);
    memcpy(i->now + offset, bytes, size);
    memcpy(i->disk + offset, bytes, size);
}

void memfs_flip(struct memfs *fs, const char *name, size_t offset)
{
    uint8_t byte = named(fs, name)->now[offset] ^ 0x10;

    memfs_set(fs, name, offset, &byte, 1);
}

void memfs_shorten(struct memfs *fs, const char *name, size_t size)
{
    struct inode *i = named(fs, name);

    CHECK(size <= i->now_size);
    memset(i->now + size, 0, i->cap - size);
    memset(i->disk + size, 0, i->cap - size);
    i->now_size = i->disk_size = size;
    i->dirty_from = i->dirty_to = 0;
}

void memfs_spoil(struct memfs *fs, const char *name, size_t block)
{
    struct inode *i = named(fs, name);

    i->is_spoiled = true;
    i->spoiled_block = block;
}

void memfs_remove(struct memfs *fs, const char *name)
{
    dir_remove(&fs->now, name);
    dir_remove(&fs->disk, name);
}

bool memfs_has(const struct memfs *fs, const char *name)
{
    return dir_find(&fs->now, name) != NULL;
}

const char *memfs_name(const struct memfs *fs, size_t n)
{
    return n < fs->now.count ? fs->now.entries[n].name : NULL;
}
