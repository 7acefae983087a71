#ifndef ZABFS_CONTROL_H
#define ZABFS_CONTROL_H

#include "call.h"
#include "mount_int.h"

/* The unlisted directory .zabfs at the root, and what is in it: nodes of this mount alone, that the
 * ensemble knows nothing of. Their ids are the ones from CONTROL_ID_MIN on. */
#define CONTROL_ID_MIN (UINT64_C(1) << 63)

static inline bool control_has(fuse_ino_t ino)
{
    return ino >= CONTROL_ID_MIN;
}

bool control_is_name(const char *name); /* of the directory, in the root */
/* The errno of a change that is refused there: the past is read-only, the rest not the user's. */
int control_refusal(struct mount *m, fuse_ino_t ino);

/* Requests about these nodes, and about handles of the kind HANDLE_CONTROL. control_lookup() is
 * true if the name is the directory or in it; the request is answered then. */
bool control_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
void control_forget(struct mount *m, fuse_ino_t ino, uint64_t count);
void control_getattr(struct mount *m, fuse_req_t req, fuse_ino_t ino);
void control_setattr(struct mount *m, fuse_req_t req, fuse_ino_t ino, int set);
void control_readlink(struct mount *m, fuse_req_t req, fuse_ino_t ino);
void control_open(struct mount *m, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void control_opendir(struct mount *m, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void control_readdir(struct mount *m, fuse_req_t req, size_t size, off_t offset,
                     struct fuse_file_info *fi, bool plus);

/* An open file: the call has handle, offset and size. */
void control_read(struct call *c);
void control_write(struct call *c, const char *bytes);
void control_flush(struct call *c);
void control_fsync(struct call *c);
void control_release(struct mount *m, struct handle *h); /* by handle_free() */
void control_done(struct mount *m);                      /* at the very end */
unsigned control_poll(const struct handle *h);           /* what it is ready for */

#endif
