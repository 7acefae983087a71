#ifndef ZABFS_NOTIFY_H
#define ZABFS_NOTIFY_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* The thread that tells the kernel to drop what it caches. The kernel may make it wait for the lock
 * of a directory, which a request that we have not answered yet may hold, so the loop must not do
 * it itself. Orders are carried out in turn; the loop never waits for them. An order that waits
 * already is not queued a second time: it will be carried out after what the second one is about.
 * So the queue is bounded by what the kernel holds, however long a lock is held and whatever
 * changes meanwhile. */
struct notify;
struct fuse_session;

/* on_marker and on_ended run on the loop. */
struct notify *notify_new(uv_loop_t *loop, struct fuse_session *fuse,
                          void (*on_marker)(void *ctx, void *arg), void (*on_ended)(void *ctx),
                          void *ctx);

void notify_inode(struct notify *n, uint64_t id); /* attributes */
void notify_entry(struct notify *n, uint64_t dir, const char *name, size_t size);
struct fuse_pollhandle;
void notify_poll(struct notify *n, struct fuse_pollhandle *p); /* wakes who polls; takes it over */
/* on_marker(arg) when all that was ordered before is done. */
void notify_marker(struct notify *n, void *arg);

size_t notify_queued(struct notify *n); /* orders that wait, without markers */

/* Ends the thread when all that was ordered is done, and then on_ended. Nothing may be ordered any
 * more. */
void notify_end(struct notify *n);
void notify_free(struct notify *n); /* after on_ended, when the loop has closed its handles */

#endif
