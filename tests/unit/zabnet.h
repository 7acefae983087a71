#ifndef ZABFS_TEST_ZABNET_H
#define ZABFS_TEST_ZABNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "zab.h"

/* Three or five members of consensus/zab with a network, disks and clocks between them, in one
 * process and one thread. Everything that happens follows from the seed. Time moves in
 * milliseconds: a message takes `delay_ms` and more, a disk write `disk_ms`; each member gets one
 * FLUSH at the end of a millisecond in which it was stepped.
 *
 * After every step the net audits the member and compares what it did with its own record of the
 * ensemble: one leader per epoch, one history of committed entries, no leader without it, no read
 * older than what was committed when it began, nothing sent before what it rests on is on disk. */

enum {
    NET_MEMBERS_MAX = 5,
    NET_INDEX_MAX = 1 << 16,
    NET_EPOCH_MAX = 1 << 12,
    NET_READS_MAX = 4096
};

struct net_packet {
    struct zab_msg msg;
    bool is_snap;            /* the leader's state, which travels outside zab */
    struct zab_pos snap_pos; /* with msg.epoch and msg.sync */
    bool is_lost;            /* is_snap: only its sender will hear of it */
    uint64_t at_ms;
};

enum net_job_type { NET_JOB_VOTE, NET_JOB_APPEND, NET_JOB_TRUNCATE, NET_JOB_INSTALL };

struct net_job {
    enum net_job_type type;
    uint64_t seq;
    uint64_t at_ms;
    uint64_t promised_epoch;
    uint32_t voted_for;
    struct zab_entry *entries;
    uint32_t entry_count;
    uint64_t index;
    struct zab_pos pos;
};

struct net_disk { /* what a crash leaves */
    uint64_t promised_epoch;
    uint32_t voted_for;
    struct zab_pos base;
    bool restored; /* base is from a backup, and no leader's state took its place since */
    struct zab_entry *entries;
    size_t entry_count;
    bool faulty;
    struct zab_pos claimed;
};

enum net_read_state { NET_READ_NONE, NET_READ_WAITS, NET_READ_READY, NET_READ_FAILED };

struct net_read {
    enum net_read_state state;
    uint64_t index;
    uint64_t floor; /* newest index applied anywhere when it began */
};

struct net_member {
    uint32_t id;
    struct zab *zab; /* NULL: down */
    struct zab_out out;
    struct net_disk disk;
    struct net_job *jobs; /* oldest first */
    size_t job_count;
    struct zab_effect *held; /* SENDs that wait for the disk */
    size_t held_count;
    uint64_t seq_durable;
    uint64_t applied;
    bool dirty;      /* was stepped since its last FLUSH */
    bool disk_stuck; /* jobs do not complete */
    uint64_t drift;  /* its clock runs 1000 + drift - 10 thousandths */
    struct net_read reads[NET_READS_MAX];
    uint64_t snaps_loaded, truncates, digests;
};

struct net {
    struct zab_conf conf; /* of all; edit before net_start() */
    struct net_member members[NET_MEMBERS_MAX];
    uint32_t count;
    uint64_t now_ms;
    struct prng prng;
    struct net_packet *packets;
    size_t packet_count, packet_cap;
    bool cut[NET_MEMBERS_MAX + 1][NET_MEMBERS_MAX + 1]; /* from, to */

    uint64_t delay_ms, disk_ms;
    uint64_t jitter_ms; /* messages take up to this much longer, so they overtake each other */
    uint64_t drop_percent, dup_percent;
    bool (*drop)(struct net *net, const struct zab_msg *m); /* true: lose this one */
    uint32_t snaps_to_lose;
    uint64_t dropped;
    uint64_t restarts;

    /* The record. */
    uint64_t committed; /* newest index applied anywhere */
    struct zab_pos history[NET_INDEX_MAX];
    uint32_t leader_of[NET_EPOCH_MAX];
    uint64_t sent[ZAB_MSG_TYPE_MAX + 1];

    bool tracing;
    struct buf trace;
};

struct net *net_new(uint32_t count, uint64_t seed); /* quiet network, nothing started */
void net_free(struct net *net);
void net_start(struct net *net); /* all members */

void net_run(struct net *net, uint64_t ms);
/* Runs until one member serves, at most 60 s; its id. */
uint32_t net_run_leader(struct net *net);
/* Runs until all members that are up have applied up to index; false after ms. */
bool net_run_applied(struct net *net, uint64_t index, uint64_t ms);

struct net_member *net_member(struct net *net, uint32_t id);
struct zab_view net_view(struct net *net, uint32_t id);
uint32_t net_leader(struct net *net); /* one that serves, of the highest epoch; 0: none */

uint64_t net_propose(struct net *net, uint32_t id, const char *text); /* its index */
void net_read(struct net *net, uint32_t id, uint64_t read, bool quorum);
void net_event(struct net *net, uint32_t id, const struct zab_event *ev);

void net_cut(struct net *net, uint32_t a, uint32_t b, bool cut); /* both ways */
void net_isolate(struct net *net, uint32_t id, bool cut);
void net_crash(struct net *net, uint32_t id); /* jobs not done are lost */
void net_restart(struct net *net, uint32_t id);
/* A member that is down forgets all after index; it knows what it once held. */
void net_damage(struct net *net, uint32_t id, uint64_t index);
/* A member that is down gets an empty disk. What it sent before is still under way. */
void net_wipe(struct net *net, uint32_t id);
/* A member that is down gets a disk with a restored state alone. */
void net_restore(struct net *net, uint32_t id, const struct zab_pos *pos);
void net_snapshot(struct net *net, uint32_t id);             /* at its applied index */
void net_disk_do(struct net *net, uint32_t id, size_t jobs); /* on disk, nobody was told */

/* zabnet_check.c, for zabnet.c: stop the test when something is not as promised above. */
void net_check_commit(struct net *net, const struct zab_pos *pos); /* a member applies it */
void net_check_leader(struct net *net, struct net_member *m, uint64_t epoch);
void net_check_send(const struct net_member *m, const struct zab_effect *fx);

/* zabnet_disk.c, for zabnet.c. */
void net_entries_free(struct zab_entry *entries, size_t count);
void net_disk_cut(struct net_disk *d, uint64_t index);
bool net_disk_fresh(const struct net_disk *d); /* nothing was ever stored */
void net_disk_run(struct net_disk *d, const struct net_job *job);
void net_disk_snapshot(struct net_disk *d, uint64_t index);
struct net_job *net_job_add(struct net *net, struct net_member *m, enum net_job_type type,
                            uint64_t seq);
void net_jobs_drop_first(struct net_member *m, size_t count);

/* All up with the same log end and everything applied. */
bool net_converged(struct net *net);

#endif
