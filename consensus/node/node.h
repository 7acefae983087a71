#ifndef ZABFS_NODE_H
#define ZABFS_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hash.h"
#include "log.h"
#include "store.h"
#include "tree.h"
#include "zab.h"

/* One replica: it feeds the broadcast (zab), carries out its effects in order, applies what is
 * committed to the tree, and answers the clients whose streams end here.
 *
 * Pure: the disk, the network and the clocks are behind struct node_io and the `struct node_time`
 * that every call brings. The daemon and the tests run the same code. The path of a write:
 *
 *   node_client_frame()  decode, remember as pending, forward to the leader
 *   leader               stamp, ZAB_EV_PROPOSE; node_flush() sends and logs the batch
 *   node_stored()        durable here; zab acknowledges, the quorum commits
 *   apply                tree_apply() on every replica: events to subscribed sessions, then the
 *                        reply from the member that holds the pending request
 *
 * A request is pending at the member its client is attached to until it is applied there, refused,
 * or late. A new leader gets all pending requests again: the session's reply slots make each take
 * effect once. */
struct node;

struct node_time {
    uint64_t mono_ms; /* never falls, counts suspended time */
    int64_t wall_ns;  /* since 1970; stamps transactions when this member leads */
};

/* What the replica does to the world. Calls only queue: none may call back into the node. Bytes are
 * borrowed for the call. */
struct node_io {
    void *ctx;
    /* One frame to a peer; dropped when its link is down. */
    void (*send_peer)(void *ctx, uint32_t peer, const void *bytes, size_t size);
    /* Bytes that send_peer() took and that have not left yet. */
    size_t (*peer_queued)(void *ctx, uint32_t peer);
    void (*send_client)(void *ctx, uint64_t conn, const void *bytes, size_t size);
    /* Ends a client's stream: node_client_closed() is not called for it. */
    void (*close_client)(void *ctx, uint64_t conn, const char *reason);
    /* Runs a batch on the storage thread; node_stored() when it is durable. At most one is in
     * flight; the batch stays valid until then. */
    void (*store)(void *ctx, const struct store_batch *batch);
    /* Begins to write the tree, which stands at `pos`, as a snapshot (a forked child sees it
     * frozen); node_snapshot_done() later. */
    void (*snapshot)(void *ctx, const struct tree *tree, const struct store_pos *pos);
    /* One log line, as log_line(). */
    void (*log)(void *ctx, enum log_level level, const char *mod, const char *text);
    /* The replica must not go on (its state differs from the leader's): the process ends. */
    void (*stop)(void *ctx, const char *reason);
};

struct node_conf {
    struct zab_conf zab;
    struct hash128 cluster;    /* the ensemble's id, told with backups */
    uint32_t value_size_max;   /* stamped on transactions when this member leads */
    uint64_t snapshot_entries; /* a snapshot after this many entries */
    uint32_t request_deadline_ms_max;
    uint32_t history_changes; /* for reads of the past, see tree_history_keep(); 0: none */
    size_t history_bytes;
    uint32_t apply_entries_max; /* that one call applies, large ones count as more; 0: a default */
    /* "HOST:PORT" for clients, of each of zab.members; NULL: not known. For OP_STATUS alone;
     * borrowed for the life of the node. */
    const char *addresses[MEMBERS_MAX];
};

/* What the store recovered, as the broadcast wants it; bodies stay those of `rec`. Release with
 * node_boot_done(). */
void node_boot_from_store(const struct store_recovered *rec, struct zab_boot *ret);
void node_boot_done(struct zab_boot *boot);

/* Takes over `tree` (at boot->base.index). now is the time of the call. */
struct node *node_new(const struct node_conf *conf, const struct node_io *io,
                      const struct zab_boot *boot, struct tree *tree, const struct node_time *now);
void node_free(struct node *n);

/* --- inputs ---------------------------------------------------------------------------------- */

void node_tick(struct node *n, const struct node_time *now);
uint64_t node_deadline(const struct node *n); /* mono_ms of the next tick that does something; now
                                                 while committed entries wait to be applied */

/* End of a turn of the loop: everything that the turn gathered leaves as one batch. */
void node_flush(struct node *n, const struct node_time *now);

void node_peer_up(struct node *n, uint32_t peer, const struct node_time *now);
void node_peer_down(struct node *n, uint32_t peer, const struct node_time *now);
/* Errors: ERR_MALFORMED: the caller closes the link. */
int node_peer_frame(struct node *n, uint32_t peer, const void *bytes, size_t size,
                    const struct node_time *now);

/* conn: chosen by the caller, above 0, never used twice. */
void node_client_open(struct node *n, uint64_t conn);
void node_client_closed(struct node *n, uint64_t conn);
/* Errors: ERR_MALFORMED: the caller closes the stream and tells with node_client_closed(). */
int node_client_frame(struct node *n, uint64_t conn, const void *bytes, size_t size,
                      const struct node_time *now);

void node_stored(struct node *n, const struct node_time *now); /* the batch in flight is durable */

/* The disk has no space for the batch in flight, which is run again until it has (is_full = false,
 * before node_stored()). Meanwhile this member leads nobody, and refuses writes with ERR_NOSPACE.
 */
void node_disk_full(struct node *n, bool is_full, const struct node_time *now);

void node_snapshot_done(struct node *n, bool ok, const struct node_time *now);

/* --- views ----------------------------------------------------------------------------------- */

void node_view(const struct node *n, struct zab_view *ret);
const struct tree *node_tree(const struct node *n); /* for checkers */

/* CHECKs what one replica can see of the invariants; for tests. */
void node_audit(const struct node *n);

#endif
