#ifndef ZABFS_REPLAY_H
#define ZABFS_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "inode.h"

/* Changes of others, repeated as ordinary system calls on the mount by helper processes, so that
 * the kernel reports them to whoever watches with inotify. The calls come back to us as requests;
 * those of a helper are recognised by its process id and answered from its job alone
 * (replay_serve.h).
 *
 * 1. Jobs of one directory are done in order, one at a time; directories side by side, but for the
 *    removal of a directory, which waits for the jobs in it, and for a move between two, which is a
 *    job of both. It enters both queues at once, so the oldest of all jobs can always be done.
 * 2. Nothing waits for a job: not a reply, not the table, not the barrier. A helper may be held up
 *    by a directory's lock for as long as another request there is unanswered.
 * 3. The queue is bounded. When it overflows for a directory, its jobs are dropped and one change
 *    of the directory's attributes is reported instead.
 *    Long before, with a backlog of REPLAY_MERGE_COUNT, a change of a file's value joins one that
 *    waits, if nothing but values changed in the directory since; see replay_pace.c.
 * 4. A job is done at most once in effect: a helper that dies is replaced, and its job is repeated
 *    only if the kernel had not asked the question that makes the event. */
enum replay_kind {
    REPLAY_CREATE,
    REPLAY_SET,
    REPLAY_SETATTR,
    REPLAY_REMOVE,
    REPLAY_MOVE,   /* or an exchange */
    REPLAY_ARRIVE, /* the same in the queue of the other directory; waits for that to be done */
    REPLAY_TOUCH,  /* the directory itself: something in it changed */
};

struct replay;

struct replay_info {
    uint64_t done, failed, merged, overflows, restarts;
    size_t queued;
};

enum {
    REPLAY_JOBS_MAX = 65536,
    REPLAY_DIR_JOBS_MAX = 8192,
    REPLAY_MERGE_COUNT =
        8, /* with so many waiting on the mount, changes of one value are told as one */
};

struct replay_conf {
    uv_loop_t *loop;
    struct inodes *inodes;
    unsigned helpers;
    const char *mountpoint; /* absolute */
    dev_t dev;              /* of the mount: a helper does nothing anywhere else */
};

struct replay *replay_new(const struct replay_conf *conf);
void replay_start(struct replay *r); /* the helpers; before, jobs wait */

struct replay_place {
    struct inode *dir;
    struct name name;
};

/* `node` is the one that changed, `at` where it is, or was. */
void replay_add(struct replay *r, enum replay_kind kind, struct replay_place at,
                struct inode *node);
/* `other` went the other way; NULL: none did. */
void replay_move(struct replay *r, struct replay_place from, struct replay_place to,
                 struct inode *node, struct inode *other);
void replay_overflow(struct replay *r, struct inode *dir);

bool replay_is_busy(const struct replay *r, const struct inode *dir); /* jobs wait or run */
/* Jobs that change what a name in the directory is wait or run. */
bool replay_renames(const struct replay *r, const struct inode *dir);
bool replay_has_name(const struct replay *r, const struct inode *dir, struct name name);
void replay_info(const struct replay *r, struct replay_info *ret);
bool replay_is_helper(const struct replay *r, pid_t pid);

/* Drops the jobs, ends the helpers when they have done the one at hand, then calls on_ended from
 * the loop. Requests must be answered until then. */
void replay_end(struct replay *r, void (*on_ended)(void *ctx), void *ctx);
void replay_free(struct replay *r); /* after on_ended */

#endif
