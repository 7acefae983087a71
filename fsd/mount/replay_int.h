#ifndef ZABFS_REPLAY_INT_H
#define ZABFS_REPLAY_INT_H

#include <limits.h>

#include "replay.h"

/* What the mount writes to a helper, followed by path_size bytes of path, relative to the mount
 * ("." for its root), and to_size of the path it is moved to; the helper answers each with an
 * int32_t, 0 or an errno. Same host, same program: no byte order, no versions. */
struct replay_order {
    uint32_t kind;
    uint32_t type; /* enum node_type */
    uint64_t size; /* of the file */
    int64_t atime_ns, mtime_ns;
    uint32_t path_size, to_size;
    uint32_t exchange; /* bool */
    uint32_t zero;
};

#define REPLAY_HELPER_ARG "--replay-helper"

/* The helper's main: `zabfs --replay-helper MOUNTPOINT MAJOR:MINOR`, orders on descriptor 0. */
int replay_helper_main(int argc, char **argv);

struct replay_job {
    enum replay_kind kind;
    uint64_t number; /* they rise */
    struct replay_dir *dir;
    struct inode *node; /* held */
    char *name;         /* that it had then; owned */
    struct replay_job
        *twin;            /* of a move between two directories: its job in the other; else NULL */
    struct inode *to_dir; /* of a move; held */
    char *to_name;        /* owned */
    struct inode *other;  /* of an exchange: held; else NULL */
    bool answered;        /* the request that makes the event was answered */
    bool name_asked;      /* a move's helper was told what is under the old name, ... */
    bool to_asked;        /* ... under the new one */
    bool sent_back;       /* to ask for both */
    struct replay_job *prev, *next;
};

struct replay_name { /* one that jobs of a directory change */
    size_t uses;
    UT_hash_handle hh;
    char text[];
};

struct replay_dir { /* a directory with jobs; there is none without */
    uint64_t id;
    struct inode *inode;     /* held */
    struct replay_job *jobs; /* the first is at work if `helper` is set */
    size_t count;
    struct replay_name *names;
    size_t name_count;   /* of them change what a name in it is */
    size_t other_count;  /* of them are not REPLAY_SET */
    uint64_t other_last; /* number of the last such one that ever waited */
    struct helper *helper;

    /* See replay_pace.c. */
    uint64_t run_last; /* number of the last job of the run; 0: there is none */
    size_t run_size;
    size_t run_backlog; /* what waited on the mount when it began */
    uint64_t run_began_ns;
    uint64_t rest_until_ns; /* 0: it does not rest */

    /* In `ready`: jobs, and no helper; or in `resting`. */
    struct replay_dir *prev, *next;
    UT_hash_handle hh;
};

struct helper {
    struct replay *r;
    uv_process_t process;
    uv_pipe_t pipe;
    unsigned open_handles;
    bool alive;
    uint64_t started_ms;
    uv_timer_t restart;
    struct replay_dir *dir; /* whose first job it does; NULL: idle */
    struct {
        struct replay_order order;
        char path[2 * PATH_MAX];
    } out;
    uv_write_t write;
    bool writing;       /* its callback is to come, which may be behind the answer */
    int32_t answers[2]; /* the first; room for more tells libuv that nothing is left to be read */
    size_t answer_size; /* bytes of it that came */
};

struct replay {
    struct replay_conf conf;
    struct replay_dir *dirs;
    struct replay_dir *ready;
    struct replay_dir *resting;
    uv_timer_t rest_timer;
    uint64_t number_last; /* of a job */
    size_t queued;
    struct replay_info info;
    unsigned helper_count;
    struct helper *helpers;
    char dev_text[32];
    bool started, ending;
    unsigned ended_count;
    uv_timer_t kill_timer;
    void (*on_ended)(void *ctx);
    void *on_ended_ctx;
};

/* replay_queue.c */
/* The next directory whose first job can be done; NULL: none. */
struct replay_dir *queue_first_ready(const struct replay *r);
/* Its first job is at work; a helper is set if it is, else queue_release() follows. */
void queue_take(struct replay *r, struct replay_dir *d, struct helper *h);
/* The directory's first job is done, or its helper is lost. */
void queue_release(struct replay *r, struct replay_dir *d, bool done);
/* It neither rests nor has a helper: it waits for one, or is freed if it has no jobs. */
void queue_go_on(struct replay *r, struct replay_dir *d);
void queue_clear(struct replay *r);

/* replay_pace.c */
void pace_take(const struct replay *r, struct replay_dir *d); /* its first job is taken */
/* The job with this number is done; true if the directory rests now. */
bool pace_rest(struct replay *r, struct replay_dir *d, uint64_t done);
void pace_wake(struct replay *r, struct replay_dir *d); /* if it rests */

/* Gives ready directories to idle helpers (replay.c). */
const struct helper *helper_by_pid(const struct replay *r, pid_t pid); /* NULL: none of ours */
void helpers_dispatch(struct replay *r);

#endif
