#ifndef ZABFS_REPLAY_SERVE_H
#define ZABFS_REPLAY_SERVE_H

#include "mount_int.h"

/* Answers to the requests that the helpers' system calls cause. Each function returns false if the
 * request is not a helper's; else it is answered, at once, from the helper's job and the table. To
 * the helper alone a name is not there before it is created and still there when it is removed. */
bool replay_serve_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
bool replay_serve_getattr(struct mount *m, fuse_req_t req, fuse_ino_t ino);
bool replay_serve_setattr(struct mount *m, fuse_req_t req, fuse_ino_t ino);
bool replay_serve_make(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
bool replay_serve_remove(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
bool replay_serve_rename(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name,
                         fuse_ino_t to_parent, const char *to_name);
bool replay_serve_open(struct mount *m, fuse_req_t req, struct fuse_file_info *fi);
bool replay_serve_write(struct mount *m, fuse_req_t req, size_t size);

#endif
