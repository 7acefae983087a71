#ifndef ZABFS_NODE_INT_H
#define ZABFS_NODE_INT_H

#include "bug.h"
#include "bytes.h"
#include "hashtable.h"
#include "interest.h"
#include "node.h"
#include "wire.h"

/* A client's stream. */
struct node_conn {
    uint64_t id;
    uint64_t session; /* attached to; 0 before HELLO was answered */
    uint64_t opened_ms;
    bool greeted; /* HELLO was received and not refused */
    uint64_t hello_xid;
    uint64_t hello_deadline_ms;
    uint64_t index_seen; /* by the client that resumes */
    bool last_word;      /* the leader was asked: a session that is not known now does not exist */
    struct session_key key;
    UT_hash_handle hh;
};

/* A session that is attached to this member. */
struct node_attached {
    uint64_t session;
    struct node_conn *conn;
    bool touched;            /* heard of since the last TOUCH */
    bool hears_all;          /* OP_EVENTS: in node->publish.all */
    uint64_t hears_all_from; /* it was told everything behind this index */
    /* Indexes, rising, of groups that it was told, behind `repeated_from`, and that another
     * request of it may concern as well. */
    uint64_t *repeated;
    size_t repeated_count, repeated_cap;
    uint64_t repeated_from;
    uint64_t told_group; /* number of the last group of changes that it was told */
    struct node_attached *all_prev, *all_next;
    UT_hash_handle hh;
};

/* A write that a client awaits, from receipt to its application here. A SESSION_OPEN has session 0
 * and the id of its stream as xid. */
struct pending_key {
    uint64_t session;
    uint64_t xid;
};

struct node_pending {
    struct pending_key key;
    uint64_t conn;
    enum op op;
    uint64_t deadline_ms;
    bool left;          /* it may be in somebody's log: its outcome is not known until applied */
    struct blob *bytes; /* encoded request */
    UT_hash_handle hh;  /* in order of arrival: the order in which it is forwarded again */
};

/* Something that waits for the leader's word on the commit index, and then for that index to be
 * applied: OP_SYNC, and a HELLO for a session that is not known here yet. */
struct node_waiter {
    uint64_t id; /* of the read at zab; renewed when zab gives it up */
    bool asked;  /* zab has the id now */
    bool quorum;
    bool ready;     /* index is known */
    uint64_t index; /* that must be applied */
    uint64_t conn;
    uint64_t xid;
    bool hello; /* else OP_SYNC */
    uint64_t deadline_ms;
    UT_hash_handle hh;
};

/* When the leader last heard of a session. */
struct node_lease {
    uint64_t session;
    uint64_t heard_ms;
    uint64_t closing_epoch; /* its end was proposed in this epoch */
    UT_hash_handle hh;
};

/* A change that was applied, kept for sessions that resume here, and for OP_LOG. Those with the
 * same index are a group. */
struct node_change {
    uint64_t index;
    uint64_t dir, from_dir;     /* the same, but for a move */
    uint64_t place, from_place; /* hashes of directory and name; 0: not moved */
    struct blob *bytes;         /* encoded event */
};

struct node_window { /* ring of changes, oldest first, groups whole */
    struct node_change *ring;
    uint32_t head, count;
    size_t size;    /* bytes of events */
    uint64_t floor; /* changes up to this index are no longer here */
};

struct node_publish {          /* who is told, node_events.c */
    struct node_attached *all; /* sessions that hear of everything */
    uint64_t group;            /* counts the groups of changes */
    uint64_t index;            /* of this one */
    bool spans;                /* it concerns more than one directory */
    struct node_conn **told;   /* streams that this one goes to */
    size_t told_count, told_cap;
};

/* A storage batch that is gathered or in flight; it owns all that its operations point to. */
struct node_batch {
    struct store_op *ops;
    size_t count, cap;
    uint64_t seq; /* of the last storage effect in it; 0: none of zab's */
};

struct node_held { /* a message that waits for storage effect `after_seq` */
    uint64_t after_seq;
    struct zab_msg msg;
};

enum install_stage {
    INSTALL_NONE,
    INSTALL_PIECES,  /* come in, are loaded and stored */
    INSTALL_SEALING, /* all are here and the tree is sound; the file is completed and verified */
    INSTALL_LAST,    /* it takes the place of the log: storage effect `seq` */
};

struct node_install { /* a snapshot that is being received, then installed */
    enum install_stage stage;
    uint64_t transfer; /* number of it at the store; the last one's while there is none */
    uint32_t from;
    uint64_t epoch, sync;
    struct zab_pos pos;
    uint64_t total, received, stored;
    uint64_t told_ms; /* when the sender was last told how much is stored */
    bool failed;      /* the disk has no space for it */
    bool sealed;
    struct tree_loader *loader; /* PIECES */
    struct tree *tree;          /* SEALING and after: waits to be durable */
    uint64_t seq;               /* LAST; else 0 */
};

struct node_export { /* a state that is being sent to a follower, a few pieces at a time */
    uint32_t peer;
    uint64_t epoch, sync;
    struct zab_pos pos;
    struct tree_image source; /* where the image goes on */
    bool is_whole;            /* it is all in `image`; until then the tree must not change */
    struct buf image;
    size_t at;         /* sent up to here */
    uint64_t stored;   /* the follower said so */
    uint64_t heard_ms; /* when it said anything */
};

struct node_backup { /* the state as of `pos`, for the client of one stream */
    uint64_t conn;
    struct zab_pos pos;
    struct buf image;
    size_t at;         /* handed out up to here */
    uint64_t asked_ms; /* last time */
};

struct node_parked { /* a forwarded request that came before this leader could serve */
    uint64_t session;
    struct blob *bytes;
};

struct node {
    struct node_conf conf;
    struct node_io io;
    struct node_time now;
    struct zab *zab;
    struct zab_out out;   /* of one step */
    struct zab_out todo;  /* effects not carried out yet */
    struct zab_view view; /* as of the last step */
    struct tree *tree;
    uint64_t apply_to;   /* entries to here are handed over; they wait while the tree must not
                            change, or are too many for one call */
    uint32_t apply_left; /* of them this call may apply so many more */
    struct interest *interest;
    struct buf scratch; /* for encoding one message */

    /* Storage. */
    struct node_batch gather, flight;
    struct store_batch submitted; /* the caller's view of flight */
    bool in_flight;
    bool disk_full;
    uint64_t durable_seq;
    struct node_held *held;
    size_t held_count, held_cap;
    uint64_t snapshot_index;    /* of the newest snapshot that is complete */
    uint64_t snapshot_due;      /* the next one is begun at this index ... */
    uint64_t snapshot_retry_ms; /* ... or at this time: the last one failed; 0: it did not */
    bool snapshotting;
    uint64_t snapshotting_index;
    struct node_install install;
    struct node_export exports[MEMBERS_MAX];
    uint32_t export_count;
    struct node_backup backups[BACKUPS_MAX];
    uint32_t backup_count;

    /* Clients. */
    struct node_conn *conns;
    struct node_attached *attached;
    struct node_pending *pending;
    size_t pending_bytes;
    struct node_waiter *waiters;
    uint64_t read_next; /* id of the next read */
    struct node_window window;
    struct node_publish publish;

    /* As a leader. */
    struct node_lease *leases;
    bool was_serving;
    struct node_parked *parked;
    size_t parked_count, parked_cap;
    size_t parked_bytes;

    /* Timers. */
    uint64_t started_ms;
    uint64_t leaderless_ms;   /* since when no leader is known; 0: one is */
    uint64_t housekeeping_ms; /* last time */
    uint64_t digest_index;    /* own digest at the last multiple of DIGEST_INTERVAL, to compare */
    uint64_t digest;
    uint64_t leader_digest_index; /* the leader's, which it may tell before we are there */
    uint64_t leader_digest;
    uint64_t forwarded_epoch; /* the leader of this epoch has all pending requests */
    uint32_t forwarded_leader;
};

enum {
    HOUSEKEEPING_MS = 100,         /* deadlines, touches, expiry */
    STRANGER_MS = 30000,           /* a stream may live this long without a session */
    STALL_MS = 300,                /* a longer gap between two beats is a stall of this process */
    SNAPSHOT_RETRY_MS = 10000,     /* after one that failed */
    HELD_MAX = 1024,               /* messages that wait for the disk; the oldest are given up */
    APPLY_ENTRIES_MAX = 1024,      /* applied in one call: some ms */
    APPLY_BYTES_AS_ONE = 16 << 10, /* of a large entry, that count as one more */
    DIGEST_INTERVAL = 1024,        /* entries between two comparisons of the replicas' digests */
    PENDING_MAX = 65536,
    PENDING_BYTES_MAX = 256 << 20,
    WAITERS_MAX = 65536,
    PARKED_MAX = 65536,
    PARKED_BYTES_MAX = 256 << 20,
    BACKUP_IDLE_MS = 60000,        /* an image that nobody asks for is dropped */
    EXPORT_MS = 10,                /* between two looks at a link that takes a state */
    EXPORT_BUILD_SIZE = 1 << 20,   /* of an image at a time: about as many ms as MiB */
    EXPORT_PIECE_SIZE = 128 << 10, /* a heartbeat waits behind few of these */
    EXPORT_QUEUED_MAX = 256 << 10, /* no piece is added while so many bytes wait on the link */
    EXPORT_AHEAD_MAX = 4 << 20,    /* ... or are sent and not stored by the follower */
    EXPORT_SILENCE_MS = 5000,      /* the follower has given up */
    INSTALL_TELL_MS = 1000,        /* it says so often that it has not */
};

/* node_zab.c: the only place that calls zab_step(). node_step() queues the effects; every input
 * ends with node_drain(), which carries them out. So no effect runs in the middle of a loop over
 * the tables it may change. */
void node_step(struct node *n, const struct zab_event *ev);
void node_drain(struct node *n);
/* Adds a storage operation to the batch that is gathered; seq: zab's number of it, or 0. */
struct store_op *node_batch_add(struct node *n, enum store_op_type type, uint64_t seq);
void node_batch_submit(struct node *n);
void node_batch_done(struct node_batch *b);

/* node_snap.c: whole states, taken for this member's disk, sent to a follower, or received. */
void node_snap_init(struct node *n);
void node_snap_done(struct node *n);
void node_snap_maybe_take(struct node *n);
void node_snap_send(struct node *n, uint32_t peer, uint64_t epoch, uint64_t sync);
void node_snap_pump(struct node *n); /* sends more pieces where the link has taken the last */
bool node_snap_holds_tree(const struct node *n); /* an image is being made: nothing is applied */
void node_snap_on_role(struct node *n);
void node_snap_on_link_down(struct node *n, uint32_t peer);
void node_snap_piece(struct node *n, uint32_t peer, const struct peer_msg *m);
void node_snap_piece_stored(struct node *n, uint32_t peer, const struct peer_msg *m);
/* Notes how the operations of a batch that is done ended; node_snap_on_stored() goes on from there.
 */
void node_snap_note_ops(struct node *n, const struct node_batch *b);
void node_snap_on_stored(struct node *n);
void node_snap_housekeep(struct node *n);

/* node_backup.c: whole states for clients. */
void node_backup_piece(struct node *n, struct node_conn *conn, const struct request *q);
void node_backup_drop(struct node *n, uint64_t conn);
void node_backup_housekeep(struct node *n);
void node_backup_done(struct node *n);

/* node_apply.c */
void node_apply(struct node *n, uint64_t index); /* to there, now or in later calls */
bool node_may_apply(const struct node *n);       /* there is something to apply, in this call */
void node_digest_compare(struct node *n, uint64_t index, uint64_t digest); /* the leader's */

/* node_events.c: changes on their way to clients. */
void node_window_init(struct node_window *w, uint64_t floor);
void node_window_done(struct node_window *w);
/* Sends the stream all changes after `index` in `dirs`. ERR_COMPACTED: some are no longer here. */
int node_window_repeat(struct node *n, struct node_conn *conn, uint64_t index, const uint64_t *dirs,
                       size_t count);
void node_publish(struct node *n, const struct event *changes, uint32_t count); /* of one entry */
void node_events_all(struct node *n, struct node_conn *conn, const struct request *q,
                     struct reply *r);
void node_events_log(struct node *n, struct node_conn *conn, const struct request *q);
void node_events_attached_done(struct node *n, struct node_attached *a); /* before it is freed */
void node_events_done(struct node *n);

/* node_lock.c */
void node_lock_granted(struct node *n, const struct tree_grant *grants, uint32_t count);
int node_lock_test(struct node *n, struct node_conn *conn, const struct request *q,
                   struct reply *r);
void node_lock_list(struct node *n, struct node_conn *conn, const struct request *q);

/* node_pipeline.c: writes on their way to the leader. */
void node_pipeline_submit(struct node *n, struct node_conn *conn, const struct request *r,
                          const void *bytes, size_t size);
void node_pipeline_open(struct node *n, struct node_conn *conn, const struct request *hello);
void node_pipeline_forward_all(struct node *n);
void node_pipeline_on_forward(struct node *n, uint64_t session, const uint8_t *bytes, size_t size);
void node_pipeline_on_role(struct node *n);
void node_pipeline_expire(struct node *n);
void node_pipeline_on_disk_full(struct node *n);
struct node_pending *node_pipeline_find(struct node *n, uint64_t session, uint64_t xid);
struct node_pending *node_pipeline_find_open(struct node *n, const struct session_key *key);
void node_pipeline_drop(struct node *n, struct node_pending *p);
void node_pipeline_drop_all(struct node *n); /* answers nobody */
void node_pipeline_done(struct node *n);
void node_parked_drop(struct node *n);
void node_propose_own(struct node *n, const struct request *r); /* leader only */
bool node_quorum_lost(const struct node *n); /* and for so long that waiting is no use */

/* node_read.c: barriers. */
void node_sync_begin(struct node *n, struct node_conn *conn, const struct request *r);
/* Calls node_session_resume() when `index` is applied here, and, with leader_asked, all that was
 * committed before now. */
void node_sync_hello(struct node *n, struct node_conn *conn, uint64_t index, bool leader_asked);
void node_sync_answer(struct node *n, uint64_t read, bool ok, uint64_t index);
void node_sync_on_role(struct node *n);
void node_sync_on_apply(struct node *n);
void node_sync_housekeep(struct node *n);
void node_sync_drop(struct node *n, uint64_t conn);

/* node_client.c: what one stream asks for. */
/* The index of a reply that has none is that of the state here. */
void node_reply(struct node *n, struct node_conn *conn, struct reply *r);
void node_reply_err(struct node *n, struct node_conn *conn, enum op op, uint64_t xid, int err);
struct node_conn *node_conn_find(struct node *n, uint64_t conn);
struct node_listing {            /* of a READDIR reply */
    struct dirent_plus *entries; /* the caller frees them; names are borrowed */
    uint32_t count, cap;
    size_t size, size_max;
};
/* False when it is full. */
bool node_listing_add(struct node_listing *l, uint64_t cookie, struct name name,
                      const struct attr *attr);
void node_conn_close(struct node *n, struct node_conn *conn, const char *reason);

/* node_past.c: reads as of an index. */
uint64_t node_past_index(const struct request *q); /* 0: of now */
int node_past_read(struct node *n, const struct request *q, struct reply *r);

/* node_session.c: sessions that are attached here, and, at the leader, which are alive. */
int node_session_hello(struct node *n, struct node_conn *conn, const struct request *r);
void node_session_attach(struct node *n, struct node_conn *conn, uint64_t session);
void node_session_refuse(struct node *n, struct node_conn *conn, int err);
void node_session_resume(struct node *n, struct node_conn *conn);
void node_session_detach(struct node *n, struct node_conn *conn);
void node_session_gone(struct node *n, uint64_t session);
void node_session_touch(struct node *n, uint64_t session);
void node_session_housekeep(struct node *n, uint64_t gap_ms);
void node_session_on_serving(struct node *n);
struct node_attached *node_attached_find(struct node *n, uint64_t session);

/* node.c. Time of an answer that a client wants within deadline_ms from now. */
uint64_t node_answer_by(const struct node *n, uint32_t deadline_ms);
void node_log(struct node *n, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
