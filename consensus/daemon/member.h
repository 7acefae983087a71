#ifndef ZABFS_MEMBER_H
#define ZABFS_MEMBER_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "awake.h"
#include "conf.h"
#include "node.h"
#include "store.h"
#include "stream.h"

/* One running member: a replica (node) on a libuv loop, with its sockets, its clock, its storage
 * thread and its snapshot child. The loop's thread owns everything; the storage thread sees one
 * immutable batch at a time. */

struct peer_link;
struct peer_stream;
struct client_conn;

struct store_worker { /* store_worker.c */
    uv_thread_t thread;
    uv_sem_t ready;  /* the thread has something to do */
    int finished_fd; /* eventfd: ... and has done it */
    uv_poll_t finished;
    bool ending;              /* what it has to do is to end */
    uv_timer_t timer;         /* runs again what a full disk refused */
    bool busy;                /* the storage thread has the store and all below ... */
    bool preparing;           /* ... for the spare segment, not for the batch */
    bool has_batch;           /* one is in flight: node_stored() is owed */
    bool is_full;             /* and could not be carried out for want of space */
    struct store_batch batch; /* what of it is still to be done */
    int err;
    size_t done;    /* operations of the last run */
    bool has_spare; /* after the last run */
    char note[256];
};

struct snapshot_child { /* snapshot_child.c */
    pid_t pid;          /* 0: none */
    uint64_t index;
    uint64_t started_ms;
    uint8_t *buffer;
};

struct member {
    struct conf conf;
    char addresses[MEMBERS_MAX][sizeof(((struct conf_member *)0)->host) + 8]; /* for clients */
    uv_loop_t loop;
    struct vfs vfs;
    struct store *store;
    struct hash128 cluster, incarnation;
    struct node *node;
    uv_check_t check;   /* end of a turn's I/O: node_flush() */
    uv_timer_t timer;   /* node_deadline() */
    struct awake awake; /* from a client's frame, or a batch for the disk, for a while */
    uv_signal_t sigterm, sigint, sigchld;
    struct listener *listeners[3]; /* peers, clients, clients on the unix socket */
    struct peer_link *links[MEMBERS_MAX];
    uint32_t link_count;
    struct peer_stream *peer_streams; /* all of them, those of strangers too */
    uint32_t guest_count;             /* streams of peers that did not say who they are */
    struct client_conn *clients;
    uint32_t clients_paused; /* not read from until they take what they were sent */
    uint64_t conn_next;
    struct store_worker worker;
    struct snapshot_child snapshot;
    bool stopping;
    int exit_code;
};

/* Binds, recovers, and runs until a signal or a fatal error. Returns the exit status: 0, 1 after a
 * failure, 2 for configuration that cannot work (port taken, directory missing, in use or foreign);
 * then one line was printed to stderr and nothing was written. */
int member_run(const struct conf *conf);

struct node_time member_now(void);
void member_flush(struct member *m); /* after anything that was not I/O of this turn */
void member_stop(struct member *m, int exit_code);

/* restore.c: what conf.restore asks for. Returns 0, or 2 after one line on stderr; then the data
 * directory is as it was, or says that a restore was not finished. */
int member_restore(struct member *m, const struct store_conf *conf);

/* peer_link.c: one stream to each other member. Of two members the one with the lower id dials. */
void peer_links_start(struct member *m);
void peer_links_stop(struct member *m); /* closes all streams and timers */
void peer_links_free(struct member *m); /* once their last callbacks have run */
void peer_link_accept(void *member, struct stream *s, const char *peer_text);
void peer_link_send(struct member *m, uint32_t peer, const void *bytes, size_t size);
void peer_links_flush(struct member *m); /* what was sent leaves now, not at the end of the turn */
size_t peer_link_queued(struct member *m, uint32_t peer);

/* client_conn.c */
void client_conn_accept(void *member, struct stream *s, const char *peer_text);
void client_conn_send(struct member *m, uint64_t conn, const void *bytes, size_t size);
void client_conn_close(struct member *m, uint64_t conn, const char *reason);
void client_conns_resume(struct member *m); /* reads again from those that took what was sent */
void client_conns_stop(struct member *m);

/* store_worker.c */
void store_worker_start(struct member *m);
void store_worker_stop(struct member *m); /* ends the thread, closes the handles */
void store_worker_submit(struct member *m, const struct store_batch *batch);

/* snapshot_child.c */
void snapshot_child_start(struct member *m, const struct tree *tree, const struct store_pos *pos);
void snapshot_child_reap(struct member *m);
void snapshot_child_end(struct member *m); /* at once, unfinished */

#endif
