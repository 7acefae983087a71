#ifndef ZABFS_EPHEMERAL_H
#define ZABFS_EPHEMERAL_H

#include "call.h"

/* Nodes that end with the open file that made them, or with this mount's session.
 *
 * 1. The ensemble removes them when the session ends; before that it is this mount that does, when
 *    the open file is closed for good.
 * 2. A node that nobody was told of must not stay either: its creation was interrupted, or took too
 *    long, or the answer could not be delivered. So its request outlives its caller. */

/* Removes the node, now or later: it is tried again until it is gone or the session is. */
void ephemeral_remove(struct mount *m, uint64_t id);

/* As call_submit(), for a creation: when the caller is interrupted or its deadline passes, it is
 * told so, and the request goes on. `done` gets the true reply; c->req is NULL if the caller is
 * gone. */
void ephemeral_submit(struct call *c, const struct request *r, call_done_fn done);

/* The call has left its caller, or ends. */
void ephemeral_leave(struct call *c);

void ephemeral_start(struct mount *m); /* timers */
void ephemeral_end(struct mount *m);   /* closes them */
void ephemeral_done(struct mount *m);  /* frees what waits, when the loop has ended */

#endif
