#ifndef ZABFS_MOUNT_INT_H
#define ZABFS_MOUNT_INT_H

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "awake.h"
#include "client.h"
#include "inode.h"
#include "local.h"
#include "notify.h"
#include "options.h"
#include "replay.h"
#include "value_cache.h"

/* The mount: one loop thread that owns all of this, the notify thread, and the replay helpers.
 *
 *   session.c       the FUSE descriptor, the client session, start and end
 *   call.c          one FUSE request until its reply
 *   op_*.c          what each request does
 *   event*.c        changes that the member tells of
 *   lock.c          locks, until the ensemble has decided
 *   local*.c        files that only this mount has
 *   linear.c        reads that must not be old
 *   interest.c      which directories it tells of
 *   notify.c        the thread that drops what the kernel cached
 *   ephemeral.c     nodes that end with an open file
 *   replay*.c       changes of others, repeated on the mount so that inotify fires
 *   control*.c      the files under .zabfs
 *   watchdog.c      the process that ends the mount for good when this one is killed */

enum {
    CACHE_TIMEOUT_S = 3600, /* of names and attributes in the kernel; events end it */
    VALUE_CACHE_SIZE_MAX = 64 << 20,
    SIGNAL_COUNT = 3,              /* that end the mount */
    CLOSE_WAIT_MS = 1000,          /* for the session to end, when the mount ends */
    CUT_OFF_MS = 1000,             /* without a member, before what is known is shown as it is */
    CONTROL_STATUS_WAIT_MS = 1000, /* for the member's part of .zabfs/status */
    INTERRUPT_WAIT_MS = 500,       /* for an interrupted request to end by itself */
};

struct call;

struct locks { /* see lock.c */
    struct lock_owner *owners;
    uv_timer_t timer;
    uint64_t attaches;       /* times that a member was attached to */
    uint64_t asked, granted; /* questions sent, locks had */
};

/* A thread's last GETATTR, answered behind a barrier. Threads that share a place forget. */
enum { LINEAR_LOOKS = 64 };
struct linear_look {
    pid_t thread; /* 0: none */
    fuse_ino_t ino;
    uint64_t ms;
};

/* Requests to the ensemble of one kind that have ended. */
enum { MOUNT_OPS_MAX = OP_TXN + 1 };
struct op_stat {
    uint64_t count, failed, ns;
};

struct control { /* see control.c */
    struct control_node *nodes, *past;
    uint64_t node_count; /* made so far */
    struct event_stream *streams;
    bool marker; /* lines of streams wait for the notify thread */
    bool subscribed;
};

struct mount {
    const struct options *options;
    uv_loop_t *loop;
    struct fuse_session *fuse;
    struct fuse_buf request; /* the request being read */
    uv_poll_t fuse_poll;
    struct awake awake;
    bool initialised;      /* the kernel's INIT was answered */
    uint32_t asker;        /* the thread that asked last ... */
    bool asker_is_alone;   /* ... and before that */
    uint64_t asked_ns;     /* when the kernel asked last, on uv_hrtime()'s clock ... */
    uint64_t submitted_ns; /* ... and when the ensemble was asked */

    struct client *client;    /* NULL when its session was closed */
    uint64_t session;         /* of the client; 0 before the first */
    int64_t session_since_ns; /* wall clock */
    uint32_t session_count;   /* how many it had; handles of an earlier one are void */
    uint32_t value_size_max;
    uint64_t detached_index; /* all changes up to this one were told */
    bool attached;
    uint64_t detached_ms; /* when it last was not, on the loop's clock */

    struct inodes inodes;
    struct value_cache values;
    struct locals locals;
    struct call *calls;       /* that wait for the ensemble, by xid */
    struct call *interrupted; /* earliest first */
    uv_timer_t interrupt_timer;
    struct call *births; /* creations that outlive their callers, earliest first */
    uv_timer_t birth_timer;
    struct removal *removals; /* that wait to be sent again, see ephemeral.c */
    uint32_t removal_count;   /* of all that are not done */
    uv_timer_t removal_timer;
    struct linear_batch *linear_gather; /* reads that began in this turn, see linear.c */
    struct linear_look linear_looks[LINEAR_LOOKS];

    uint64_t event_group;        /* that comes now, or next */
    struct move_kept *move_kept; /* see event_move.c */

    struct notify *notify;
    struct replay *replay;
    pid_t watchdog; /* 0: none */
    uv_timer_t interest_timer;
    struct interest_batch *interest_batches; /* see interest.c */
    struct handle *handles;
    struct locks locks;
    struct control control;
    struct op_stat op_stats[MOUNT_OPS_MAX];

    void (*on_live)(void *ctx); /* once, when the mount can be used; then NULL */
    void *live_ctx;
    uv_timer_t live_timer;
    uv_signal_t signals[SIGNAL_COUNT];
    uv_timer_t end_timer;
    bool ending;
    bool client_ended, replay_ended, notify_ended;

    struct statvfs statfs_last; /* shown when no member answers */
};

/* --- answers about nodes (op_lookup.c) ------------------------------------------------------- */

void attr_to_stat(const struct attr *a, struct stat *ret);
/* Attributes as they are shown, for the kernel; returns how long it may keep them. */
double inode_stat(const struct mount *m, struct inode *i, struct stat *ret);
/* They are others now: what the kernel may have kept is dropped. `value`: only size and times of
 * the value are others. */
void inode_stat_drop(struct mount *m, struct inode *i, bool value);
/* Counts the reference that the kernel gets: undo with inode_kernel_forget() if the answer fails.
 * inode_show() is the caller's, unless the answer is for a replay helper. */
void inode_entry(struct mount *m, struct inode *i, struct fuse_entry_param *ret);

/* The inode that a request of the kernel is about; NULL: none. */
struct inode *inode_of(struct mount *m, fuse_ino_t ino);

/* --- operations ------------------------------------------------------------------------------ */

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set,
                struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
               const char *to_name, unsigned flags);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
              struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t cap);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t cap);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
              int sleep);
void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph);
extern const struct fuse_lowlevel_ops op_table; /* op_misc.c */

/* Ends a request that made no call. */
void op_refuse(fuse_req_t req, int err_no);

/* Opens inode of the call for c->fi.flags and answers (op_open.c). */
void open_begin(struct call *c);
/* Truncation staged by an open handle; true if the handle took it (op_write.c). */
bool write_truncate(struct mount *m, struct handle *h, uint64_t size);
/* The time of the file is set: what open handles of it commit later leaves it so (op_write.c). */
void write_keep_mtime(struct mount *m, const struct inode *i, int64_t mtime_ns);

/* --- the rest -------------------------------------------------------------------------------- */

void event_handle(struct mount *m, const struct event *e);
void event_forget_all(struct mount *m); /* another session: nothing known before holds */
/* Events of these directories were missed. */
void event_missed(struct mount *m, const uint64_t *dirs, size_t count);

void interest_update(struct mount *m);             /* after the table may have changed */
void interest_attach(struct mount *m, bool fresh); /* tells a new member all of it */
void interest_detach(struct mount *m, uint64_t index_seen);
void interest_on_timer(uv_timer_t *t);

void barrier_begin(struct call *c); /* ends the call when this mount shows all that is committed */

/* Runs `resume` when this mount shows all that was committed before now: at once, unless it was
 * told reads=linearizable. To be called from a request's handler only. */
void linear_begin(struct call *c, void (*resume)(struct call *c));
/* The same for a GETATTR of c->ino, and for a request that the kernel makes only in a system call
 * in which it has made one. */
void linear_begin_look(struct call *c, void (*resume)(struct call *c));
void linear_begin_behind_look(struct call *c, void (*resume)(struct call *c));
/* True, once, for the GETATTR by which open() looks at the file that it has just made. */
bool linear_is_opener(fuse_req_t req, struct inode *i);
void linear_send(struct mount *m); /* at the end of the turn in which requests were handled */

void session_on_init(void *userdata, struct fuse_conn_info *conn);
/* Mounts, serves until the mount ends, and cleans up. on_live is called once, when the mount can be
 * used. Returns the exit code of the program; what failed was said on stderr or in the log. */
int session_run(const struct options *o, void (*on_live)(void *ctx), void *ctx);

#endif
