#ifndef ZABFS_CALL_H
#define ZABFS_CALL_H

#include "client.h"
#include "handle.h"
#include "mount_int.h"

/* One FUSE request on its way to exactly one reply, and what it needs meanwhile. A handler makes a
 * call, submits requests to the ensemble through it or lets it wait for a commit, and ends it with
 * one of call_reply_*(), which frees it. It holds its inode, and ends by the client's deadline, or
 * with EINTR a moment after its caller was interrupted. */
struct call;
typedef void (*call_done_fn)(struct call *c, const struct reply *r);

enum call_wait {               /* of its inode */
                 WAIT_CUTS,    /* until no truncation is left that its caller believes to be done */
                 WAIT_COMMITS, /* until no commit is under way */
};

struct call {
    struct mount *m;
    fuse_req_t req;        /* NULL: nobody waits for a reply */
    struct inode *inode;   /* held; may be NULL */
    struct handle *handle; /* borrowed: the kernel releases it later */
    struct fuse_file_info fi;

    /* What an operation remembers between its steps. */
    char *name;               /* owned */
    struct inode *to_dir;     /* of a rename; held */
    char *to_name;            /* owned */
    struct local_file *local; /* held; see local_rename.c */
    struct lock lock;         /* waited for, on that */
    struct blob *data;        /* owned reference */
    uint64_t offset;
    size_t size;
    uint32_t flags;
    fuse_ino_t ino;    /* by which the kernel asks; the inode may be what that one has become */
    void *state;       /* the operation's own */
    bool foreign;      /* the kernel does not know what it is to change */
    bool kernel_knows; /* ... it does, and keeps no size or time of before */

    /* Private to call.c. */
    call_done_fn done;
    uint64_t sent_ns;    /* when the request was submitted */
    uint64_t xid;        /* in mount.calls while not 0 */
    bool abandoned;      /* its caller was told EINTR, or will be */
    bool told;           /* its change was taken for our own: it must not be abandoned now */
    bool outlives;       /* its caller, see ephemeral.h */
    uint64_t birth_ms;   /* while in mount.births: when its caller has waited long enough; else 0 */
    uint64_t give_up_ms; /* while in mount.interrupted: when that is; else 0 */
    void (*resume)(struct call *c);
    enum call_wait waits_for;
    void (*looked)(struct call *c); /* see linear.c */
    bool in_marker;                 /* the notify thread has its marker */
    uint64_t began_ms; /* of a read that had to wait for a barrier: its deadline counts from here */
    struct call **list; /* inode->waiters, or those of a barrier; NULL: in none */
    struct call *prev, *next;
    struct call *interrupted_prev, *interrupted_next;
    struct call *birth_prev, *birth_next;
    UT_hash_handle hh;
};

/* `i` may be NULL, `fi` too. */
struct call *call_new(struct mount *m, fuse_req_t req, struct inode *i,
                      const struct fuse_file_info *fi);
void call_set_name(struct call *c, const char *name);
struct name call_name(const struct call *c);

/* Sends a request; `done` gets its reply. */
void call_submit(struct call *c, const struct request *r, call_done_fn done);

/* Runs `resume` when what the call waits for is over for its inode: at once, or later. */
void call_wait(struct call *c, enum call_wait what, void (*resume)(struct call *c));
void call_wake(struct mount *m, struct inode *i); /* after `commits` or `cuts` fell */

/* Waits in a list of the caller's, until call_resume(), or until call_leave(), which leaves the
 * reply to the caller. An interrupted call leaves by itself. */
void call_join(struct call *c, struct call **list, void (*resume)(struct call *c));
void call_resume(struct call *c);
void call_leave(struct call *c);

/* Runs `resume` when the notify thread has done all that was queued before. */
void call_after_notifies(struct call *c, void (*resume)(struct call *c));
void call_marker_passed(struct call *c);

void call_on_interrupt_timer(uv_timer_t *t);

/* Tells the caller of one that outlives it; the change, if it comes, is nobody's here. */
void call_abandon(struct call *c, int err_no);

/* The call that waits for the answer to this request; NULL if it was given, or given up. */
struct call *call_find(struct mount *m, uint64_t xid);

void call_reply_errno(struct call *c, int err_no); /* 0: success without content */
void call_reply_err(struct call *c, int err);      /* an ERR_ code */
void call_reply_entry(struct call *c, struct inode *i);
void call_reply_create(struct call *c, struct inode *i, struct handle *h);
void call_reply_attr(struct call *c, const struct stat *st, double timeout);
void call_reply_open(struct call *c, struct handle *h);
void call_reply_bytes(struct call *c, const void *bytes, size_t size);
void call_end(struct call *c); /* the reply was sent, or there is none to send */

#endif
