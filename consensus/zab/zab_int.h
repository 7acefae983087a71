#ifndef ZABFS_ZAB_INT_H
#define ZABFS_ZAB_INT_H

#include "bug.h"
#include "check.h"
#include "zab.h"

/* Shared by the files of this folder only. Who does what:
 *   zab.c         the step: dispatch, adoption of epochs, the only place where the role changes
 *   zab_elect.c   prevote and vote
 *   zab_sync.c    HELLO, TRUNC, SNAP: brings a follower's log to the leader's
 *   zab_bcast.c   PROPOSE, ACK, commit
 *   zab_read.c    heartbeats, check-quorum, lease, reads
 *   zab_window.c  the newest entries of the log, in memory
 *   zab_out.c     effects */

/* --- window: entries base.index + 1 .. last.index -------------------------------------------- */

struct zab_slot {
    struct zab_entry entry;
    uint64_t seq; /* storage number of its APPEND; 0: recovered, or not handed to storage yet */
};

struct zab_window {
    struct zab_pos base;
    struct zab_pos last;
    struct zab_slot *slots; /* the entry at index i is in i & (cap - 1) */
    uint64_t cap;           /* power of two */
    size_t size;            /* bytes of all bodies */
};

void zab_window_init(struct zab_window *w, const struct zab_pos *base);
void zab_window_done(struct zab_window *w);
struct zab_slot *zab_window_at(const struct zab_window *w, uint64_t index); /* must be inside */
bool zab_window_pos(const struct zab_window *w, uint64_t index, struct zab_pos *ret);
bool zab_window_has(const struct zab_window *w, const struct zab_pos *pos); /* same entry there */
void zab_window_push(struct zab_window *w, const struct zab_entry *entry);  /* takes a reference */
void zab_window_cut(struct zab_window *w, uint64_t index);                  /* drops all after */
void zab_window_drop_first(struct zab_window *w);                           /* base moves up */

struct zab_pos zab_entry_pos(const struct zab_entry *entry);
bool zab_pos_before(const struct zab_pos *a, const struct zab_pos *b); /* by (epoch, index) */
bool zab_pos_equal(const struct zab_pos *a, const struct zab_pos *b);

/* --- what a leader knows of each member ------------------------------------------------------ */

enum zab_peer_state {
    PEER_UNKNOWN,      /* no HELLO in this epoch, or the link broke since */
    PEER_PROBE,        /* was told where to cut; its next HELLO goes on from there */
    PEER_STREAM,       /* its log equals ours up to next - 1, or that is under way */
    PEER_SNAP_WANTED,  /* behind the window: gets the applied state once that reaches `floor` */
    PEER_SNAP_SENDING, /* until ZAB_EV_SNAP_SENT */
};

struct zab_peer { /* the slot of the member itself only has its votes */
    uint32_t id;
    bool up;              /* there is a stream */
    bool prevoted, voted; /* for us, in this campaign */
    uint64_t fresh;       /* number that it told with its last PREVOTE_R; 0: not fresh ... */
    uint64_t fresh_round; /* ... and the prevote round in which it was heard first */

    enum zab_peer_state state;
    uint64_t sync;        /* of the HELLO being served */
    uint64_t next;        /* STREAM: first index not yet sent */
    bool greet;           /* STREAM: one PROPOSE is due even if empty: it answers the HELLO */
    struct zab_pos floor; /* SNAP_WANTED: no older state will do */
    uint64_t durable;     /* equal to our log and on disk there; void when it lost its log */
    uint64_t round_min;   /* what it says counts from this heartbeat round on: it lost its log */
    uint64_t commit_sent;
    uint64_t inflight[ZAB_INFLIGHT_MAX]; /* last indexes of PROPOSEs not on its disk, rising */
    uint32_t inflight_count;

    uint64_t heard_ms; /* last HEARTBEAT_R or ACK came in */
    uint64_t round;    /* newest heartbeat round it answered */
    uint64_t lease_ms; /* when the newest one was sent that asked for a lease; 0: none */
};

/* A read that waits. Own ones have peer 0; a leader also keeps those of its followers. */
struct zab_read {
    uint32_t peer;
    uint64_t id; /* the caller's, or the follower's */
    bool quorum;
    uint64_t wire;  /* follower: id of the READ it was sent in; 0: not sent yet */
    uint64_t round; /* leader: answered when a quorum answered this round; 0: not set yet */
    uint64_t index; /* leader: commit index when `round` was set */
    uint64_t deadline_ms;
};

enum { ZAB_ROUNDS_KEPT = 64 };

struct zab {
    struct zab_conf conf;
    struct zab_peer peers[MEMBERS_MAX]; /* in the order of conf.members, self among them */
    struct prng prng;

    /* For the length of one step. */
    uint64_t now_ms;
    struct zab_out *out;

    /* Durable, or on its way there under the storage number beside it. */
    uint64_t promised;
    uint32_t voted_for;
    uint64_t vote_seq;
    bool promise_owed; /* it follows from the log, and was not saved yet */
    struct zab_window log;
    uint64_t stored;  /* entries up to here were handed to storage */
    uint64_t durable; /* and are on disk up to here */
    uint64_t seq;     /* last storage number given out */
    uint64_t seq_durable;
    uint64_t snapshot; /* index of the newest durable snapshot */

    uint64_t commit; /* known committed; at least base.index */
    uint64_t handed; /* last ZAB_FX_COMMIT */
    uint64_t applied;

    bool faulty;
    struct zab_pos claimed; /* while faulty: what a state must hold to heal it ... */
    uint64_t claimed_vote;  /* ... and the index behind which a candidate's log must be, in the
                               claimed epoch: UINT64_MAX when the end is not known */
    uint64_t fresh;         /* random number of a life that began with an empty disk; 0: not fresh.
                               While fresh, `promised` is kept in memory only */
    bool full;              /* the disk is: storage effects wait */
    uint64_t restored;      /* index of a restored state that the log begins with; 0: none */
    bool loading;           /* a peer's snapshot was accepted under loading_seq */
    struct zab_pos loading_pos;
    uint64_t loading_seq;

    enum zab_role role;
    uint32_t leader;     /* of epoch `promised`; 0: not known */
    uint64_t epoch_seen; /* highest promise heard of: a campaign goes above it */
    uint64_t heard_ms;   /* last word of a leader, or own start */
    bool parted;         /* the stream to that leader ended since, or none was heard in this life */
    uint64_t quiet_until_ms; /* no vote before: a leader may have a lease that rests on it */
    uint64_t patience_ms;    /* random: silence that starts a campaign */
    uint64_t elect_at_ms;
    uint32_t hurries;        /* campaigns that may still begin early ... */
    uint64_t hurry_after_ms; /* ... and when there may be more of them */
    uint64_t prevote_round;  /* counts own PREVOTEs: an old assent may no longer hold */
    bool forming;            /* this campaign founds the ensemble: all members are for it */

    /* Follower. */
    uint64_t sync; /* number of the last HELLO */
    uint64_t hello_ms;
    uint64_t hello_not_before_ms; /* the disk had no space for this leader's state */
    uint64_t match; /* own log equals the leader's up to here; never falls within an epoch */
    uint64_t acked; /* durable index of the last ACK */
    bool ack_due;
    uint64_t match_seen; /* match at the heartbeat before: did anything come since? */
    uint64_t round_heard;
    uint64_t digest_heard;

    /* Leader. */
    uint64_t epoch_index; /* of this epoch's EPOCH entry; 0: not leader */
    uint64_t round;
    uint64_t round_lease_ms[ZAB_ROUNDS_KEPT]; /* when it was sent; 0: it asks for no lease */
    uint64_t lease_wanted_ms;                 /* rounds ask for one until then */
    uint64_t heartbeat_at_ms;
    uint64_t gather_until_ms; /* entries above `stored` wait until then at most */
    uint64_t digest_index, digest;

    struct zab_read *reads; /* oldest first */
    size_t read_count, read_cap;
    uint64_t read_wire;
};

/* --- zab_out.c: effects of this step --------------------------------------------------------- */

struct zab_effect *zab_emit(struct zab *z, enum zab_effect_type type);
/* The message is addressed, has epoch and durability filled in; valid until the next effect. */
struct zab_msg *zab_send(struct zab *z, uint32_t to, enum zab_msg_type type);
struct zab_entry *zab_entries_copy(const struct zab_window *w, uint64_t first, uint32_t count);

/* --- zab.c ----------------------------------------------------------------------------------- */

struct zab_peer *zab_peer_find(struct zab *z, uint32_t id); /* NULL: not a member, or self */
uint32_t zab_quorum(const struct zab *z);
/* The largest value that a quorum reaches; values[i] belongs to peers[i]. */
uint64_t zab_quorum_reached(const struct zab *z, const uint64_t *values);
bool zab_is_self(const struct zab *z, const struct zab_peer *p);
bool zab_serving(const struct zab *z);
/* No leader has given this log anything: it is empty, or a restored state alone. */
bool zab_unformed(const struct zab *z);
uint64_t zab_match_least(const struct zab *z); /* of a follower, at the start of an epoch */
bool zab_sound(const struct zab *z);           /* holds all it ever acknowledged, and knows that */
void zab_save_vote(struct zab *z, uint64_t epoch, uint32_t voted_for);
/* Every change of role, and of the leader a follower knows, goes through here. */
void zab_become(struct zab *z, enum zab_role role, uint32_t leader);

/* --- zab_elect.c ----------------------------------------------------------------------------- */

void zab_elect_begin(struct zab *z, uint64_t start_ms);
void zab_elect_heard(struct zab *z); /* the leader spoke */
void zab_elect_rearm(struct zab *z); /* a new wait from now */
void zab_elect_tick(struct zab *z);
void zab_elect_parted(struct zab *z); /* the stream to the leader ended */
void zab_elect_link_up(struct zab *z, struct zab_peer *p);
void zab_elect_durable(struct zab *z); /* the own vote may count now */
void zab_on_prevote(struct zab *z, const struct zab_msg *m);
void zab_on_prevote_r(struct zab *z, struct zab_peer *p, const struct zab_msg *m);
void zab_on_vote(struct zab *z, const struct zab_msg *m);
void zab_on_vote_r(struct zab *z, struct zab_peer *p, const struct zab_msg *m);

/* --- zab_sync.c ------------------------------------------------------------------------------ */

void zab_hello(struct zab *z); /* follower: ask the leader to bring this log to its own */
void zab_hello_if_lost(struct zab *z, const struct zab_msg *heartbeat);
void zab_on_hello(struct zab *z, struct zab_peer *p, const struct zab_msg *m);
void zab_on_trunc(struct zab *z, const struct zab_msg *m);
void zab_sync_snapshots(struct zab *z); /* leader: start those that can be */
void zab_on_snap_failed(struct zab *z);
void zab_on_snap_loaded(struct zab *z, const struct zab_pos *pos, uint64_t seq);

/* --- zab_bcast.c ----------------------------------------------------------------------------- */

void zab_append(struct zab *z, enum zab_entry_type type, struct blob *body);
void zab_store(struct zab *z);          /* hands what was appended to storage */
void zab_store_gathered(struct zab *z); /* ... unless it still gathers */
void zab_on_propose(struct zab *z, const struct zab_msg *m);
void zab_on_ack(struct zab *z, struct zab_peer *p, const struct zab_msg *m);
void zab_ack_fill(const struct zab *z, struct zab_msg *m);
void zab_commit_learn(struct zab *z, uint64_t commit); /* follower: from the leader */
void zab_commit_count(struct zab *z);                  /* leader: from the quorum */
void zab_durable_advance(struct zab *z);
void zab_bcast_flush(struct zab *z);

/* --- zab_read.c ------------------------------------------------------------------------------ */

void zab_heartbeat_send(struct zab *z, struct zab_peer *p);
void zab_round_start(struct zab *z);
bool zab_round_complete(const struct zab *z, uint64_t round); /* answered by a quorum */
void zab_lead_tick(struct zab *z);                            /* heartbeats and check-quorum */
uint64_t zab_lease_until(const struct zab *z);
void zab_on_heartbeat(struct zab *z, const struct zab_msg *m);
void zab_on_heartbeat_r(struct zab *z, struct zab_peer *p, const struct zab_msg *m);
void zab_read_add(struct zab *z, uint32_t peer, uint64_t id, bool quorum);
void zab_on_read_r(struct zab *z, const struct zab_msg *m);
void zab_read_expire(struct zab *z);
void zab_read_fail_all(struct zab *z);
void zab_read_flush(struct zab *z);

#endif
