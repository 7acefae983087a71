#ifndef ZABFS_MOUNT_LOCK_H
#define ZABFS_MOUNT_LOCK_H

#include "handle.h"
#include "mount_int.h"

/* Locks of the ensemble on behalf of the kernel's lock owners. See lock.c. */

/* A question of a caller: `req` is answered when it is decided, or its caller interrupted, or,
 * unless `wait`, at the deadline. */
void lock_ask(struct mount *m, fuse_req_t req, struct inode *i, const struct lock *l, bool wait);

/* The owner holds or wants nothing of that kind on the node: giving it back costs nothing. */
bool lock_is_unknown(const struct inode *i, enum lock_kind kind, uint64_t owner);
/* Gives back all that the owner has. `req`, if not NULL, is answered with err_no when that is done,
 * or at the deadline; it goes on in the background then. */
void lock_give_all(struct mount *m, fuse_req_t req, struct inode *i, enum lock_kind kind,
                   uint64_t owner, int err_no);
/* All that the process has locked is given back, so nothing of it ends with this open file. */
void lock_handle_flushed(struct handle *h, uint64_t owner);
/* The same for all that came through an open file that is released. */
void lock_handle_gone(struct mount *m, struct handle *h);

void lock_on_grant(struct mount *m, const struct event *e);
void lock_on_remove(struct mount *m, struct inode *i); /* with all locks on it */
void lock_on_attach(struct mount *m);                  /* to the session as it was */
void lock_on_session_lost(struct mount *m);
void lock_on_timer(uv_timer_t *t);
void lock_end(struct mount *m); /* nobody can be answered any more but with ENOTCONN */

#endif
