#ifndef ZABFS_WATCHDOG_H
#define ZABFS_WATCHDOG_H

#include <stdbool.h>
#include <sys/types.h>

/* A process that does nothing until zabfs dies, and then ends the mount's connection with the
 * kernel, so that whoever waits for an answer gets ENOTCONN.
 *
 * Usually the kernel does that itself, when the last thread of a killed zabfs is gone. But the
 * thread that drops names may be in the kernel then, waiting for the lock of a directory, without a
 * way to be interrupted; the lock is held by a caller that waits for an answer of zabfs; and while
 * the thread is there, /dev/fuse stays open, so nobody tells the caller that no answer will come.
 */

/* Starts it for a mount whose root is at `mountpoint`, device `dev`. 0 if it could not be started,
 * which only costs its service. */
pid_t watchdog_start(const char *mountpoint, dev_t dev);

/* Ends it without a trace, before the mount is taken down in order. */
void watchdog_end(pid_t pid);

#endif
