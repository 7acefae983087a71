#ifndef ZABFS_LOCAL_H
#define ZABFS_LOCAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "bytes.h"
#include "inode.h"

/* Files that only this mount has, in its memory: what programs leave beside a file while they work
 * on it, told by patterns of names (-o local=). They are files or symbolic links in directories of
 * the tree; they are listed with what is there, and hide a node of the same name.
 *
 * 1. One is freed when it has no name, the kernel has forgotten it, and no open file or request
 *    holds it.
 * 2. One with a name holds its directory.
 * 3. All together are bounded: LOCAL_BYTES_MAX and LOCAL_FILES_MAX. */
enum { LOCAL_BYTES_MAX = 64 << 20, LOCAL_FILES_MAX = 4096 };

#define LOCAL_ID_MIN (UINT64_C(1) << 62)

static inline bool local_has(uint64_t ino)
{
    return ino >= LOCAL_ID_MIN && ino < 2 * LOCAL_ID_MIN;
}

struct local_place {
    uint64_t dir;
    char name[256]; /* NUL-padded */
};

struct local_file {
    uint64_t id;
    struct inode *dir; /* held; NULL: it has no name any more */
    struct local_place place;
    bool is_link;
    uint32_t mode, uid, gid;
    struct timespec atime, mtime, ctime;
    struct buf bytes; /* a link's target */
    uint64_t kernel_refs;
    uint32_t pins;
    struct local_lock *locks;  /* see op_local_lock.c */
    struct call *lock_waiters; /* requests that wait for one */
    struct inode *became;      /* held: it was renamed to a name that is replicated */
    UT_hash_handle hh;         /* in locals.by_id */
    UT_hash_handle hh_place;
};

struct locals {
    const char *patterns; /* of names, with colons between */
    struct inodes *inodes;
    void (*on_free)(struct local_file *f); /* last call for one; may be NULL */
    struct local_file *by_id, *by_place;
    size_t count, bytes;
    uint64_t last_id;
};

bool local_matches(const struct locals *l, const char *name);
struct local_file *local_find(const struct locals *l, uint64_t id); /* or NULL */
struct local_file *local_child(const struct locals *l, uint64_t dir,
                               const char *name); /* or NULL */
/* The file in `dir` with the lowest id above `after`; NULL: none. */
struct local_file *local_next(const struct locals *l, uint64_t dir, uint64_t after);

/* Without a name, pinned for the caller; NULL if there are too many. */
struct local_file *local_new(struct locals *l, bool is_link);
/* Takes the name from whoever has it. */
void local_place(struct locals *l, struct local_file *f, struct inode *dir, const char *name);
void local_unlink(struct locals *l, struct local_file *f);
/* The directory is gone: so are the names in it. */
void local_drop_dir(struct locals *l, uint64_t dir);

void local_pin(struct local_file *f);
void local_unpin(struct locals *l, struct local_file *f);
void local_kernel_forget(struct locals *l, struct local_file *f, uint64_t count);

/* Cuts, or extends with zeros. False: no room. */
bool local_resize(struct locals *l, struct local_file *f, uint64_t size);

void local_stat(const struct local_file *f, struct stat *ret);
void locals_done(struct locals *l);

#endif
