#ifndef ZABFS_OP_LOCAL_H
#define ZABFS_OP_LOCAL_H

#include "call.h"

/* Requests about files that only this mount has (local.h). Each function returns false if the
 * request is not about one; else it is answered. */
bool op_local_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
bool op_local_forget(struct mount *m, fuse_ino_t ino, uint64_t count); /* answers nothing */
bool op_local_getattr(struct mount *m, fuse_req_t req, fuse_ino_t ino);
bool op_local_setattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, const struct stat *st,
                      int set);
bool op_local_readlink(struct mount *m, fuse_req_t req, fuse_ino_t ino);
/* `target` of a symbolic link, `fi` of an open(); either may be NULL. */
bool op_local_make(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name,
                   mode_t mode, const char *target, struct fuse_file_info *fi);
bool op_local_unlink(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
/* ENOTEMPTY for a directory with such files. */
bool op_local_rmdir(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
bool op_local_open(struct mount *m, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
bool op_local_read(fuse_req_t req, size_t size, off_t offset, const struct fuse_file_info *fi);
bool op_local_write(fuse_req_t req, const char *bytes, size_t size, off_t offset,
                    const struct fuse_file_info *fi);
/* Also between the two kinds of files (local_rename.c). */
bool op_local_rename(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name,
                     fuse_ino_t to_parent, const char *to_name, unsigned flags);

/* Locks of flock() and fcntl() (op_local_lock.c). */
bool op_local_lock(struct mount *m, fuse_req_t req, const struct handle *h, const struct lock *l,
                   bool wait);
bool op_local_getlk(fuse_req_t req, const struct handle *h, const struct lock *l);
void op_local_give_all(struct local_file *f, enum lock_kind kind, uint64_t owner);
void op_local_locks_done(struct local_file *f); /* frees what is held; nobody waits any more */

/* What the kernel is told of one; counts the reference that it gets. */
void op_local_entry(struct local_file *f, struct fuse_entry_param *ret);

#endif
