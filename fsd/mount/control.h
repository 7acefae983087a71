#ifndef ZABFS_CONTROL_H
#define ZABFS_CONTROL_H

#include "mount_int.h"

/* The unlisted directory .zabfs at the root, and its files: nodes of this mount alone. */
#define CONTROL_ID_MIN (UINT64_C(1) << 63)

static inline bool control_has(fuse_ino_t ino)
{
    return ino >= CONTROL_ID_MIN;
}

/* True if the name is the control directory, or in it; the request is answered then. */
bool control_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
void control_getattr(fuse_req_t req, fuse_ino_t ino);
void control_open(struct mount *m, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void control_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus);
bool control_is_name(const char *name);

#endif
