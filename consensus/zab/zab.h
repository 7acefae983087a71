#ifndef ZABFS_ZAB_H
#define ZABFS_ZAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blob.h"
#include "hash.h"
#include "limits.h"
#include "prng.h"

/* Atomic broadcast: one total order of entries, agreed by a quorum of members.
 *
 * Zab in its guarantees (Junqueira, Reed, Serafini: "Zab: High-performance broadcast for
 * primary-backup systems", DSN 2011): a leader brings its followers to its own history before it
 * broadcasts, by DIFF, TRUNC or SNAP. In its mechanics it takes what Raft (Ongaro, "Consensus:
 * Bridging theory and practice", 2014) does with less state: contiguous indexes, one durable vote
 * that is also the promise of the epoch (3.4), pre-vote (9.6), check-quorum (6.2), ReadIndex (6.4).
 * docs/PROTOCOL.md has the messages and what must be durable before each.
 *
 * A pure step function: events go in, effects come out as data, in the order in which they must be
 * carried out. No I/O, clock, random source, thread, or global. The caller
 *   1. calls zab_step() with an event and the time,
 *   2. carries out every effect in the order given: storage effects in their order, each one has
 *      its number (`seq`); SENDs as soon as their `after_seq` is durable,
 *   3. reports each storage effect done with ZAB_EV_DURABLE,
 *   4. ends every turn of its loop in which it stepped anything with one ZAB_EV_FLUSH: appends,
 *      proposals, acknowledgements, commit news and reads gather until then and leave together,
 *   5. calls again with ZAB_EV_TICK no later than zab_deadline().
 * Messages may be lost, repeated, delayed and reordered.
 *
 * Time is in milliseconds of a clock that does not fall and counts suspended time; members' clocks
 * need not agree, and may drift by ZAB_CLOCK_DRIFT_PERCENT. */

enum {
    ZAB_CLOCK_DRIFT_PERCENT = 1,
    ZAB_INFLIGHT_MAX = 64, /* bound of zab_conf.inflight_max */
    ZAB_READS_MAX = 65536, /* reads waiting in one member; more fail at once */
};

struct zab;

struct zab_pos { /* a place in the log; index 0 is before the first entry */
    uint64_t epoch;
    uint64_t index;
    struct hash128 chain; /* of the entry there */
};

enum zab_entry_type {
    ZAB_ENTRY_DATA = 1,
    ZAB_ENTRY_EPOCH = 2, /* first of every leader, empty; nothing is served before it commits */
};

struct zab_entry {
    uint64_t epoch;
    uint64_t index;
    enum zab_entry_type type;
    struct hash128 chain;
    struct blob *body; /* NULL is empty */
};

struct zab_conf {
    uint32_t self; /* member id, above 0 */
    uint32_t member_count;
    uint32_t members[MEMBERS_MAX]; /* all ids, self among them */
    uint32_t heartbeat_ms;
    uint32_t election_min_ms; /* no vote is given for this long after a leader was heard, unless the
                                 stream to it ended */
    uint32_t election_max_ms; /* candidates wait a random time between the two */
    uint32_t lease_ms; /* and in no case for this long after a lease was granted: <= election_min */
    uint64_t seed;
    uint32_t window_entries_max; /* entries kept in memory behind the commit index for DIFF ... */
    size_t window_size_max;      /* ... and their bytes; followers further behind get SNAP */
    uint32_t inflight_max;       /* PROPOSE messages to one follower that are not on its disk */
    uint32_t gather_entries;     /* while so many are not committed, what is proposed gathers ... */
    uint32_t gather_ms;          /* ... but for no longer than this */
};

void zab_conf_default(struct zab_conf *conf); /* all but self and members */

struct zab_boot { /* what the store recovered */
    uint64_t promised_epoch;
    uint32_t voted_for;              /* in promised_epoch; 0: nobody */
    struct zab_pos base;             /* last entry inside the snapshot */
    const struct zab_entry *entries; /* after base, contiguous; borrowed, bodies are referenced */
    size_t entry_count;
    /* Part of what the log once held cannot be read: the member votes with all of it, never leads,
     * and takes the leader's state (SNAP) before anything else. `claimed` is the last position the
     * log is known to have held, without a chain; epoch 0: its end is not known, there may have
     * been more, of any epoch up to the promise. */
    bool faulty;
    struct zab_pos claimed;
    /* Nothing was ever stored here: no promise, no log, no snapshot, and `faulty` means nothing. It
     * may be a new ensemble, or a member of an old one whose disk was replaced, so the member does
     * not vote on this empty log until all others show that theirs are empty too, or a leader has
     * given it a state (docs/PROTOCOL.md, "Damage"). */
    bool fresh;
    /* `base` was put here by an operator, from a backup, and nothing came after it: no leader's
     * entry, no leader's state. It is where a new ensemble begins, and nothing else. */
    bool restored;
    /* A moment at which the life before this one was certainly over, by the clock of zab_step():
     * its promises to a leader's lease count from there. 0: now. */
    uint64_t start_ms;
};

/* --- messages -------------------------------------------------------------------------------- */

enum zab_msg_type {
    ZAB_PREVOTE = 1, /* epoch it would campaign for, last, round */
    ZAB_PREVOTE_R,   /* epoch asked about, granted, promised, round, fresh */
    ZAB_VOTE,        /* last, fresh */
    ZAB_VOTE_R,      /* epoch asked about, granted, promised */
    ZAB_HELLO,       /* follower to leader: last, received, commit, sync, faulty */
    ZAB_TRUNC,       /* leader to follower: cut the log to `last`, sync; answered by a HELLO */
    ZAB_PROPOSE,     /* prev = last, entries, commit, sync */
    ZAB_ACK,         /* received, durable, sync, round */
    ZAB_HEARTBEAT,   /* commit, round, sync, last, lease; the digest of the state at an index */
    ZAB_HEARTBEAT_R, /* round, and what ACK has; with a higher epoch: the leader is deposed */
    ZAB_READ,        /* follower asks for a read index: read id, quorum */
    ZAB_READ_R,      /* read id, commit */
    ZAB_MSG_TYPE_MAX = ZAB_READ_R,
};

struct zab_msg {
    enum zab_msg_type type;
    uint32_t from, to;
    uint64_t epoch;      /* promised by the sender; in PREVOTE, PREVOTE_R, VOTE_R: asked about */
    uint64_t promised;   /* PREVOTE_R, VOTE_R: by the voter */
    struct zab_pos last; /* HELLO: place to compare; HEARTBEAT: end of what was sent to this
                            follower, index 0 while nothing is streamed */
    uint64_t commit;
    uint64_t sync;     /* the follower's number of its HELLO; the leader repeats the one it serves,
                          0: it awaits a HELLO */
    uint64_t received; /* ACK: equal to the leader's log up to here; HELLO: last index in the log */
    uint64_t durable;  /* ACK: and on disk up to here */
    uint64_t round;    /* of heartbeats, counts up per leader: ACK has the last one that came in;
                          of PREVOTEs, per candidate */
    uint64_t read;     /* id of a read, of the requesting zab and not of its caller */
    uint64_t digest_index, digest; /* HEARTBEAT: the leader's state digest; index 0: none */
    uint64_t fresh; /* PREVOTE_R: the voter is fresh, this number is its life's; VOTE: of a forming
                       campaign, the number that this voter told; else 0 */
    bool granted;
    bool quorum;   /* READ: a lease is not enough */
    bool faulty;   /* HELLO: faulty or fresh, only SNAP at or after `last` helps */
    bool unformed; /* PREVOTE, VOTE: the candidate's log has nothing that a leader gave it */
    bool lease;    /* HEARTBEAT: whoever answers this round gives no vote for lease_ms */
    uint32_t entry_count;
    struct zab_entry *entries; /* PROPOSE; owned by the message, see zab_msg_done() */
};

/* --- events ---------------------------------------------------------------------------------- */

enum zab_event_type {
    ZAB_EV_TICK,
    ZAB_EV_MSG,
    ZAB_EV_LINK_UP,   /* the stream to a peer was (re)opened: what was under way may be lost */
    ZAB_EV_LINK_DOWN, /* it ended. Of the leader's this is a hint that the leader died, no more */
    ZAB_EV_PROPOSE,   /* append one entry; only while zab_view().serving. Its index is
                         zab_view().last.index after the step; it leaves with the next FLUSH */
    ZAB_EV_FLUSH,     /* end of a turn of the caller's loop */
    ZAB_EV_DURABLE,   /* all storage work up to seq is on disk, zab_snap_accept()'s included */
    ZAB_EV_APPLIED,   /* the caller applied up to index; entries up to there may leave the window */
    ZAB_EV_SNAPSHOT,  /* a snapshot at index is durable here */
    ZAB_EV_READ,      /* wants a read index; READ_READY or READ_FAILED follows, the latter after
                         election_max_ms at most */
    ZAB_EV_SNAP_LOADED, /* a peer's state is durable and applied here (zab_snap_accept()) */
    ZAB_EV_SNAP_FAILED, /* follower: what the leader sent found no space on the disk; this leader is
                           asked again after a while */
    ZAB_EV_SNAP_SENT,   /* leader: the state asked for by SNAP_SEND was handed to the link, or was
                           given up (granted = false) */
    ZAB_EV_DIGEST,      /* leader: state digest at an applied index, to ride on the heartbeats */
    ZAB_EV_STORAGE,     /* the disk is full, or has space again. While it is full storage effects
                           wait, none may be lost: the member leads nobody, gives no vote and takes
                           no entries in */
};

struct zab_event {
    enum zab_event_type type;
    union {
        struct zab_msg *msg; /* borrowed; entries are referenced as needed */
        uint32_t peer;       /* LINK_* */
        struct blob *body;   /* PROPOSE, borrowed */
        uint64_t seq;        /* DURABLE */
        uint64_t index;      /* APPLIED, SNAPSHOT */
        struct {
            uint64_t id; /* chosen by the caller, unique among its waiting reads */
            bool quorum;
        } read;
        struct {
            struct zab_pos pos;
            uint64_t seq; /* storage number it was given by zab_snap_accept() */
        } snap;
        struct {
            uint32_t peer;
            bool granted;
        } snap_sent;
        struct {
            uint64_t index, digest;
        } digest;
        bool full; /* STORAGE */
    } u;
};

enum zab_role { ZAB_FOLLOWER, ZAB_PRECANDIDATE, ZAB_CANDIDATE, ZAB_LEADER };

/* --- effects --------------------------------------------------------------------------------- */

enum zab_effect_type {
    ZAB_FX_SAVE_VOTE,   /* storage: promised epoch and vote */
    ZAB_FX_APPEND,      /* storage: entries, each one after the last */
    ZAB_FX_TRUNCATE,    /* storage: drop all entries after index */
    ZAB_FX_SEND,        /* message, once after_seq is durable (0: at once); not kept for a link that
                           is down */
    ZAB_FX_COMMIT,      /* apply up to index: committed and durable here */
    ZAB_FX_ROLE,        /* role, epoch, leader or serving changed; last effect of its step */
    ZAB_FX_READ_READY,  /* read id may be answered from state at or after index */
    ZAB_FX_READ_FAILED, /* read id will get no answer; a new one may be asked for */
    ZAB_FX_SNAP_SEND,   /* leader: send peer the applied state (it is behind the window), under this
                           epoch and sync number, then report ZAB_EV_SNAP_SENT */
    ZAB_FX_DIGEST,      /* follower: the leader's state digest at index; a replica whose own differs
                           there must stop */
};

struct zab_effect {
    enum zab_effect_type type;
    uint64_t seq;       /* storage effects: rises by one */
    uint64_t after_seq; /* SEND */
    union {
        struct {
            uint64_t promised_epoch;
            uint32_t voted_for;
        } vote;
        struct {
            uint32_t count;
            struct zab_entry *entries; /* owned by the effect, bodies referenced */
        } append;
        uint64_t index;     /* TRUNCATE, COMMIT */
        struct zab_msg msg; /* SEND */
        struct {
            uint64_t id, index;
        } read;
        struct {
            uint32_t peer;
            uint64_t epoch, sync;
        } snap;
        struct {
            uint64_t index, digest;
        } digest;
        struct {
            enum zab_role role;
            uint64_t epoch;
            uint32_t leader;
            bool serving;
        } role;
    } u;
};

struct zab_out { /* zero-initialised by the caller once, reused from step to step */
    struct zab_effect *effects;
    size_t count;
    size_t cap;
};

void zab_out_clear(struct zab_out *out); /* releases what the effects own, keeps the array */
void zab_out_done(struct zab_out *out);
void zab_msg_done(struct zab_msg *msg); /* releases entries */

/* --- the machine ----------------------------------------------------------------------------- */

struct zab_view {
    enum zab_role role;
    uint64_t epoch;  /* promised */
    uint32_t leader; /* of that epoch, 0: none known */
    bool serving;    /* leader whose EPOCH entry is committed: PROPOSE is allowed */
    struct zab_pos last;
    uint64_t durable; /* own log */
    uint64_t commit;
    uint64_t applied;
    uint64_t lease_until_ms; /* leader: reads need no round before; 0: none */
    bool unformed; /* nothing of a leader's is in the log: empty, or a restored state alone */
};

struct zab *zab_new(const struct zab_conf *conf, const struct zab_boot *boot, uint64_t now_ms);
void zab_free(struct zab *z);

/* `out` must be empty. Malformed or stale messages have no effect. A broken invariant stops the
 * process (CHECK). */
void zab_step(struct zab *z, const struct zab_event *ev, uint64_t now_ms, struct zab_out *out);

uint64_t zab_deadline(const struct zab *z); /* time of the next TICK that does something */
void zab_view(const struct zab *z, struct zab_view *ret);

/* This member leads, and has heard from that one within election_min_ms, or is that one. */
bool zab_hears(const struct zab *z, uint32_t member);

/* Position of the entry at index, for a snapshot taken there. False when it is neither in the
 * window nor its base. */
bool zab_pos_at(const struct zab *z, uint64_t index, struct zab_pos *ret);

/* The entry at index, borrowed until the next zab_step(); NULL when it is not in the window. Every
 * entry above ZAB_EV_APPLIED's index is there: the caller applies from it on ZAB_FX_COMMIT. */
const struct zab_entry *zab_entry_at(const struct zab *z, uint64_t index);

/* A follower was sent the leader's state (SNAP, on the link and outside zab), and has it complete
 * and verified: is it wanted now, under this epoch and sync number? Then the caller installs it;
 * *ret_seq is the storage number that this work takes, and later storage effects come after it.
 * When it is durable and loaded, the caller reports ZAB_EV_SNAP_LOADED. */
bool zab_snap_accept(struct zab *z, uint32_t from, uint64_t epoch, uint64_t sync,
                     const struct zab_pos *pos, uint64_t *ret_seq);

/* CHECKs every invariant of docs/PROTOCOL.md that one member can see. */
void zab_audit(const struct zab *z);

/* One-line stable text of an event and of an effect, NUL-terminated, cut at cap: the form that
 * golden traces and debug logs use. */
void zab_event_text(const struct zab_event *ev, char *ret, size_t cap);
void zab_effect_text(const struct zab_effect *fx, char *ret, size_t cap);
const char *zab_role_text(enum zab_role role);

#endif
