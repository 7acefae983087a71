#ifndef ZABFS_SIM_H
#define ZABFS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "clients.h"
#include "hashtable.h"
#include "ledger.h"
#include "memfs.h"
#include "node.h"
#include "prng.h"
#include "store.h"
#include "wire.h"

/* A whole ensemble in one thread: the production node, zab, tree and store of each member, over a
 * simulated clock, network and disk, and clients that speak the real protocol. One seed decides
 * everything, so a run that failed can be repeated exactly.
 *
 *   main.c        arguments, one seed after the other
 *   swarm.c       what a seed draws: sizes, timeouts, speeds, which faults there are
 *   world.c       the event heap and the run loop
 *   net.c         streams between members: delay, loss, partitions
 *   streams.c     streams between clients and members
 *   member.c      one member: its machine, clock, pauses, turns
 *   member_io.c   ... what it does to network and disk: storage, snapshots
 *   member_start.c  ... start and crash
 *   nemesis.c     when which fault strikes
 *   damage.c      what happens to disks, and how much of it zabfs promises to survive
 *   disk_model.c  what each disk must hold, by what its store said
 *   invariants.c  what must be true after every step
 *   phases.c      safety with faults, then service by a quorum, then everybody alike
 *   report.c      counts, and the line that repeats a failure
 *
 * Time is in microseconds of the world's own clock, from 0. */

enum {
    SIM_MEMBERS_MAX = 7,
    SIM_CLIENTS_MAX = 8,
    SIM_PARTITIONS_MAX = 16,
    SIM_PROMISE_US = 30 * 1000000, /* a quorum without faults serves and converges in this time */
    SIM_MS = 1000,
    SIM_SECOND = 1000000,
};

/* --- faults and what a seed draws ------------------------------------------------------------ */

#define SIM_FAULTS(X)                                                                              \
    X(KILL, "kill")           /* the process dies, at any effect or call to the disk */            \
    X(POWER, "power")         /* so does the machine: what was not synced is lost or torn */       \
    X(PAUSE, "pause")         /* the process stands still */                                       \
    X(PARTITION, "partition") /* symmetric, partial, one-way; of clients */                        \
    X(LINK, "link")           /* a stream breaks */                                                \
    X(LOSS, "loss")           /* of single messages */                                             \
    X(DUP, "dup")             /* of single messages */                                             \
    X(REORDER, "reorder")     /* of single messages */                                             \
    X(DELAY, "delay")         /* a link is slow for a while */                                     \
    X(CLOCK, "clock")         /* drift changes, the wall clock jumps */                            \
    X(SLOW, "slow")           /* a disk is slow for a while */                                     \
    X(EIO, "eio")             /* a write, sync or read fails */                                    \
    X(FULL, "full")           /* a disk is full for a while */                                     \
    X(ROT, "rot")             /* a bit of what was stored flips, a block cannot be read */         \
    X(LOST, "lost")           /* a write that was synced never got to the disk */                  \
    X(MISDIRECT, "misdirect") /* ... or got to another place */                                    \
    X(EMPTY, "empty")         /* a disk is replaced by an empty one */

enum sim_fault {
#define X(name, text) SIM_##name,
    SIM_FAULTS(X)
#undef X
        SIM_FAULT_COUNT
};

struct sim_mix { /* swarm.c */
    bool faults[SIM_FAULT_COUNT];
    uint32_t member_count;
    uint32_t heartbeat_ms, election_min_ms, election_max_ms, lease_ms;
    uint32_t window_entries_max, inflight_max, gather_entries, gather_ms;
    uint64_t window_size_max;
    uint64_t snapshot_entries;
    uint32_t history_changes;
    size_t history_bytes;
    uint32_t apply_entries_max;
    uint32_t segment_size;
    uint32_t turn_us; /* a turn of a member's loop gathers for so long */
    uint32_t delay_us, delay_spread_us;
    uint32_t bytes_per_ms; /* of a link */
    uint32_t loss_ppm, dup_ppm, reorder_ppm;
    uint32_t disk_us, disk_spread_us;
    uint32_t gap_ms;      /* mean time between two faults */
    uint32_t down_ms_max; /* a member that died is back by then */
    uint32_t drift_ppm_max;
    uint32_t rounds; /* of safety, then service */
    struct clients_conf clients;
};

void swarm_draw(uint64_t seed, const bool *allowed, struct sim_mix *ret);
void swarm_print(const struct sim_mix *mix);

/* --- counts: printed at the end, added up over all seeds ------------------------------------- */

#define SIM_COUNTS(X)                                                                              \
    X(seeds, "seeds")                                                                              \
    X(events, "events")                                                                            \
    X(simulated_us, "simulated time, us")                                                          \
    X(kills, "processes killed")                                                                   \
    X(kills_in_effects, "... between two effects")                                                 \
    X(kills_in_batch, "... with a batch half on disk")                                             \
    X(kills_in_recovery, "... in recovery")                                                        \
    X(kills_in_snapshot, "... while writing a snapshot")                                           \
    X(powers, "power failures")                                                                    \
    X(outages, "... of all members at once")                                                       \
    X(sectors_lost, "sectors lost by power failures")                                              \
    X(files_torn, "files torn by power failures")                                                  \
    X(restarts, "recoveries")                                                                      \
    X(torn_tails, "... that cut a torn batch")                                                     \
    X(faulty, "... of a faulty log")                                                               \
    X(pauses, "pauses")                                                                            \
    X(part_symmetric, "partitions, symmetric")                                                     \
    X(part_one_way, "partitions, one-way")                                                         \
    X(part_partial, "partitions, partial")                                                         \
    X(part_clients, "partitions between clients and a member")                                     \
    X(links_broken, "streams broken")                                                              \
    X(frames, "frames between members")                                                            \
    X(frames_lost, "... lost")                                                                     \
    X(frames_dup, "... repeated")                                                                  \
    X(frames_late, "... out of order")                                                             \
    X(delays, "slow links")                                                                        \
    X(drifts, "changes of clock drift")                                                            \
    X(wall_jumps, "jumps of wall clocks")                                                          \
    X(slow_disks, "slow disks")                                                                    \
    X(eio_read, "reads failed")                                                                    \
    X(eio_write, "writes failed")                                                                  \
    X(eio_sync, "syncs failed")                                                                    \
    X(full, "full disks")                                                                          \
    X(no_space, "... calls that found no space")                                                   \
    X(full_retries, "... batches tried again")                                                     \
    X(rots, "bits flipped or blocks unreadable")                                                   \
    X(lost_writes, "writes lost")                                                                  \
    X(misdirects, "writes misdirected")                                                            \
    X(empties, "disks replaced")                                                                   \
    X(heals, "damaged members healed")                                                             \
    X(snapshots, "snapshots written")                                                              \
    X(snapshots_failed, "snapshots failed or interrupted")                                         \
    X(installs, "states installed (SNAP)")                                                         \
    X(installs_cut, "... interrupted by a crash")                                                  \
    X(truncates, "logs cut (TRUNC)")                                                               \
    X(leaders, "leaders elected")                                                                  \
    X(epochs, "epochs in the ledger")                                                              \
    X(entries, "entries committed")                                                                \
    X(services, "quorums that served after the faults stopped")                                    \
    X(judgements, "histories judged")                                                              \
    X(checks, "invariants evaluated")                                                              \
    X(audits, "node_audit() runs")                                                                 \
    X(digests, "digests compared")                                                                 \
    X(requests, "client requests")                                                                 \
    X(replies_ok, "client replies")                                                                \
    X(replies_err, "client refusals")                                                              \
    X(unknown, "client requests with unknown outcome")                                             \
    X(reads_checked, "client reads checked")                                                       \
    X(writes_checked, "client writes checked")                                                     \
    X(sessions_opened, "sessions opened")                                                          \
    X(sessions_resumed, "sessions resumed")                                                        \
    X(sessions_expired, "sessions expired")

struct sim_counts {
#define X(name, text) uint64_t name;
    SIM_COUNTS(X)
#undef X
};

/* --- what a disk must hold (disk_model.c) ---------------------------------------------------- */

struct sim_entry {
    uint64_t epoch;
    struct hash128 chain;
    struct blob *body;
    uint8_t type;
};

struct sim_disk { /* as the store confirmed it: durable */
    uint64_t promised;
    uint32_t voted_for;
    uint64_t base; /* at and below it the log is the ledger's */
    uint64_t last;
    struct sim_entry *entries; /* base + 1 .. last */
    size_t cap;
};

struct world;
struct sim_member;

void disk_done(struct sim_disk *d);
bool disk_chain(const struct world *w, const struct sim_disk *d, uint64_t index,
                struct hash128 *ret); /* false: it holds no such entry */
void disk_apply(struct world *w, struct sim_member *m, const struct store_op *op);
/* Deep copies of the operations of a batch whose outcome is not known, until the next recovery. */
void disk_keep_pending(struct sim_member *m, const struct store_batch *batch);
void disk_drop_pending(struct sim_member *m);
/* Compares what was recovered with what the disk must hold, and takes it over. */
void disk_recovered(struct world *w, struct sim_member *m, const struct store_recovered *rec);

/* --- one member (member.c) ------------------------------------------------------------------- */

struct sim_event;

struct sim_member {
    struct world *w;
    uint32_t id;
    uint64_t life; /* counts starts; events of an older life mean nothing */

    /* The machine. */
    struct memfs *fs;
    struct store_conf store_conf;
    uint64_t clock_base_us, clock_local_us; /* local time at true time */
    int32_t drift_ppm;
    int64_t wall_offset_ns;
    uint64_t slow_disk_us; /* added to each batch */

    /* The process. */
    struct store *store;
    struct node *node; /* NULL: down */
    bool held;         /* down, and is not to be started */
    bool paused;
    struct sim_event *deferred; /* while paused */
    size_t deferred_count, deferred_cap;
    bool flush_due;
    uint64_t timer_us; /* the earliest timer event there is; UINT64_MAX: none */
    uint32_t die_in;   /* effects until it dies; 0: it does not */
    bool die_in_batch; /* with the next batch half on disk */
    bool die_power;
    bool doomed;                     /* dead as of this call: no effect any more */
    const struct store_batch *batch; /* in flight, or NULL */
    struct store_batch rest;         /* of it, after ERR_NOSPACE */
    bool is_full;                    /* the node was told so */
    bool spare_due;
    bool store_failed; /* no call of it any more */

    /* The snapshot child. */
    bool snapping;
    uint64_t snap_number; /* events of an older one mean nothing */
    struct store_pos snap_pos;
    struct buf snap_image;
    size_t snap_at; /* produced up to here */

    /* Damage. */
    bool damaged;       /* until healed */
    bool damage_seen;   /* it started again since */
    bool replaced;      /* by the empty disk */
    bool unread;        /* a read is to fail in the recovery that begins */
    bool meta_hit;      /* one copy of the vote is damaged */
    uint64_t installed; /* of this life: index of the state it was given; 0: none */

    /* What it must hold, and what was seen of it. */
    struct sim_disk disk;
    struct store_op *pending; /* of the batch that was in flight at its end */
    size_t pending_count;
    struct sim_disk lost; /* of the disk before it was damaged: a leader may still count on it */
    uint64_t owed;        /* committed when it came back without it */
    bool lost_unread;     /* it was only that a read failed: it may come back */
    uint32_t lost_told;   /* leaders, by bit: they know that it lost it, and must not count on it */
    struct zab_view view; /* after its last step */
    uint64_t tree_seen;
    uint64_t vote_epoch; /* newest vote that left it, over its lives */
    uint32_t vote_for;
    uint64_t steps;
    uint64_t audit_step; /* of the next node_audit() */
};

void member_init(struct world *w, uint32_t id);
void member_done(struct sim_member *m);
bool member_up(const struct sim_member *m);                       /* runs, and is not paused */
uint64_t member_ms(const struct sim_member *m, uint64_t true_us); /* its clock */
void member_set_drift(struct sim_member *m, int32_t ppm);
void member_draw_drift(struct sim_member *m);
void member_start_at(struct sim_member *m, uint64_t at_us);
void member_crash(struct sim_member *m, bool power); /* and starts again, unless held */
void member_pause(struct sim_member *m, uint64_t us);
void member_resume(struct sim_member *m);
void member_replace_disk(struct sim_member *m); /* down */
void member_count_disk(struct sim_member *m);   /* what was done to it, once */
void member_on_event(struct sim_member *m, struct sim_event *ev);
struct node_time member_now(const struct sim_member *m);
/* member_io.c */
void member_io(struct sim_member *m, struct node_io *ret);
void member_on_disk(struct sim_member *m);
void member_on_spare(struct sim_member *m);
void member_spare_later(struct sim_member *m);
void member_on_snapshot(struct sim_member *m);
uint64_t member_disk_calls(struct sim_member *m); /* until a crash inside a batch or a snapshot */
void member_snapshot_cut(struct sim_member *m);   /* the child dies, the parent need not */
/* member_start.c */
void member_start(struct sim_member *m);
void member_drop_deferred(struct sim_member *m);

/* --- events (world.c) ------------------------------------------------------------------------ */

#define SIM_EVENTS(X)                                                                              \
    X(START)  /* of a member */                                                                    \
    X(RESUME) /* a pause ends */                                                                   \
    X(TIMER)  /* these have a member as a, its life as x */                                        \
    X(FLUSH)                                                                                       \
    X(DISK)     /* the batch in flight is done */                                                  \
    X(SPARE)    /* a segment is to be made ready */                                                \
    X(SNAPSHOT) /* the child is done; y: its number */                                             \
    X(LINK_UP)  /* a: side, b: peer, x: stream */                                                  \
    X(LINK_DOWN)                                                                                   \
    X(FRAME)      /* a: to, b: from, x: stream */                                                  \
    X(DIAL)       /* a: lower id, b: higher */                                                     \
    X(CL_OPEN)    /* a: member, x: stream */                                                       \
    X(CL_REQUEST) /* a: member, x: stream */                                                       \
    X(CL_GONE)    /* a: member, x: stream: the client closed it */                                 \
    X(CL_ANSWER)  /* b: client, x: stream */                                                       \
    X(CL_CLOSED)  /* b: client, x: stream: the member closed it */                                 \
    X(CL_WAKE)    /* b: client, x: number of the alarm */                                          \
    X(FAULT)      /* x: number of the storm */                                                     \
    X(HEAL)       /* a: kind of fault, b: member or place, x: number of the storm */               \
    X(PHASE)

enum sim_event_kind {
#define X(name) EV_##name,
    SIM_EVENTS(X)
#undef X
};

struct sim_event {
    uint64_t at_us;
    uint64_t order; /* of events at the same time */
    enum sim_event_kind kind;
    uint32_t a, b;
    uint64_t x, y;
    struct blob *bytes;
};

/* --- the network ----------------------------------------------------------------------------- */

struct sim_stalled { /* a frame that waits for a partition to end */
    struct blob *bytes;
    uint64_t stream;
};

struct sim_dir {        /* from one member to another */
    uint32_t cuts;      /* partitions that cut it */
    uint64_t busy_us;   /* the last byte has left by then */
    uint64_t arrive_us; /* the last frame arrives then: the order is kept */
    uint64_t slow_us;   /* added to each frame */
    uint64_t up;        /* stream that `from` believes to have to `to`; 0: none */
    uint64_t ended;     /* newest stream that one of the two has ended */
    struct sim_stalled *stalled;
    size_t stalled_count, stalled_cap, stalled_bytes;
};

struct sim_partition {
    bool active;
    uint8_t cut[SIM_MEMBERS_MAX + 1][SIM_MEMBERS_MAX + 1];
};

struct sim_commit { /* leaders of this epoch committed what comes after `before` */
    uint64_t epoch, before;
};

struct sim_stream { /* of a client */
    uint64_t id;
    uint32_t client, member;
    uint64_t life;          /* of the member */
    bool at_client;         /* the client considers it open */
    bool at_member;         /* the node does */
    bool opening;           /* EV_CL_OPEN is under way */
    bool broken;            /* nothing gets through any more */
    uint64_t in_us, out_us; /* last arrival: the order is kept */
    UT_hash_handle hh;
};

enum sim_phase { PHASE_STORM, PHASE_CORE, PHASE_ALL, PHASE_END }; /* phases.c */

struct world {
    uint64_t seed;
    struct sim_mix mix;
    struct prng prng;
    uint64_t now_us, end_us;
    uint64_t steps, steps_max;
    uint64_t order;
    struct sim_event *heap;
    size_t heap_count, heap_cap;
    uint64_t same_time; /* events since time moved on */
    uint64_t trace;     /* hash over all events */
    bool print;
    char failure[512]; /* "" while all is well */
    struct sim_counts counts;

    struct sim_member members[SIM_MEMBERS_MAX + 1]; /* by id */
    struct sim_dir dirs[SIM_MEMBERS_MAX + 1][SIM_MEMBERS_MAX + 1];
    uint64_t stream_next;
    struct sim_partition partitions[SIM_PARTITIONS_MAX];
    uint32_t client_cuts[SIM_MEMBERS_MAX + 1];
    bool lossy; /* messages are lost, repeated, reordered now */

    struct clients *clients;
    struct sim_stream *streams;
    uint64_t alarm[SIM_CLIENTS_MAX]; /* number of the newest */

    struct ledger ledger;
    uint64_t *digests; /* of the state at each index; 0: nobody was seen there */
    size_t digest_cap;
    struct sim_commit *commits; /* by rising epoch */
    size_t commit_count, commit_cap;
    uint32_t *leader_of; /* by epoch */
    size_t leader_cap;

    uint64_t storm; /* number of the present run of faults; events of an older one mean nothing */
    bool in_core[SIM_MEMBERS_MAX + 1]; /* phases.c: the quorum that must serve */
    enum sim_phase phase;
    uint32_t round;
    uint64_t phase_until_us;
    uint64_t target; /* index that the core is to reach; 0: not known yet */
    bool done;
};

struct world *world_new(uint64_t seed, const struct sim_mix *mix, uint64_t us, uint64_t steps_max,
                        bool print);
void world_run(struct world *w);
void world_free(struct world *w);
struct sim_event *world_post(struct world *w, uint64_t at_us, enum sim_event_kind kind, uint32_t a,
                             uint32_t b, uint64_t x);
void world_event_done(struct sim_event *ev);
/* The first failure counts; the run ends before the next event. */
void sim_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void sim_note(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

uint64_t sim_below(struct world *w, uint64_t bound); /* 0 .. bound - 1 */
uint64_t sim_between(struct world *w, uint64_t from, uint64_t to);
uint64_t sim_spread(struct world *w, uint64_t from, uint64_t to); /* as many short as long */
bool sim_chance(struct world *w, uint32_t percent);
uint32_t sim_quorum(const struct world *w);

/* net.c */
void net_send(struct world *w, uint32_t from, uint32_t to, const void *bytes, size_t size);
size_t net_queued(struct world *w, uint32_t from, uint32_t to);
void net_member_up(struct world *w, uint32_t id);
void net_member_down(struct world *w, uint32_t id, bool power);
void net_break(struct world *w, uint32_t a, uint32_t b);
void net_dial(struct world *w, uint32_t a, uint32_t b);
bool net_is_current(struct world *w, const struct sim_event *ev); /* FRAME: its stream is up */
/* EV_LINK_UP and EV_LINK_DOWN at a member: what to tell its node, in this order. */
void net_link_event(struct world *w, const struct sim_event *ev, bool *ret_down, bool *ret_up);
void net_cut(struct world *w, uint32_t from, uint32_t to);
void net_uncut(struct world *w, uint32_t from, uint32_t to);
void net_done(struct world *w);

/* streams.c */
void streams_init(struct world *w);
void streams_done(struct world *w);
void streams_on_event(struct world *w, struct sim_event *ev);
void streams_from_member(struct world *w, uint32_t id, uint64_t conn, const void *bytes,
                         size_t size);
void streams_closed_by_member(struct world *w, uint32_t id, uint64_t conn);
void streams_member_down(struct world *w, uint32_t id, bool power);
void streams_cut(struct world *w, uint32_t id);
/* What an event at a member is about; NULL: the stream is gone. */
struct sim_stream *streams_find(struct world *w, uint64_t id);
void streams_release(struct world *w, struct sim_stream *s); /* if neither side has it */

/* nemesis.c */
void nemesis_start(struct world *w);
void nemesis_strike(struct world *w);
void nemesis_heal(struct world *w, const struct sim_event *ev);
void nemesis_calm(struct world *w, uint32_t id); /* ends all that is wrong with one member */
void nemesis_calm_network(struct world *w);
void nemesis_trouble(struct world *w, uint32_t id); /* outside the core: down, cut or paused */

/* damage.c */
bool damage_allowed(const struct world *w, const struct sim_member *m);
bool damage_may_replace(const struct world *w, const struct sim_member *m);
void damage_mark(struct sim_member *m);
void damage_recovered(struct sim_member *m, const struct store_recovered *rec);
void damage_look_healed(struct sim_member *m);
bool damage_rot(struct sim_member *m);
bool damage_lose(struct sim_member *m, bool misdirected);
bool damage_sound(const struct sim_member *m); /* votes for all it ever acknowledged */

/* invariants.c */
void inv_after(struct world *w, struct sim_member *m); /* every call of its node */
void inv_sent(struct world *w, struct sim_member *m, uint32_t peer, const void *bytes, size_t size);
void inv_arrives(struct world *w, struct sim_member *m, uint32_t from, const void *bytes,
                 size_t size);
void inv_expired(struct world *w, struct sim_member *m, uint64_t session); /* it will end it */
bool inv_in_ledger(const struct world *w, uint64_t index, const struct hash128 *chain);

/* phases.c */
void phases_start(struct world *w);
void phases_step(struct world *w);
void phases_judge(struct world *w);

/* report.c */
void report_add(struct sim_counts *to, const struct sim_counts *from);
void report_table(const struct sim_counts *c, double seconds, double processor_seconds);
const char *sim_event_name(enum sim_event_kind kind);

#endif
