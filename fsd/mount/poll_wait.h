#ifndef ZABFS_MOUNT_POLL_WAIT_H
#define ZABFS_MOUNT_POLL_WAIT_H

#include "handle.h"

/* Who waits in poll(2), see op_poll.c. */
void poll_wake(struct mount *m, struct handle *h);     /* if anybody does */
void poll_on_change(struct mount *m, struct inode *i); /* of the value, or the node is gone */
void poll_on_missed(struct mount *m);                  /* anything may have changed */
void poll_on_read(struct handle *h, uint64_t version); /* the value was shown */
bool poll_wants_newest(const struct handle *h, uint64_t offset); /* this read begins anew */
void poll_handle_gone(struct handle *h);

#endif
