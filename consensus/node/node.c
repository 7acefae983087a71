#include "node_int.h"

#include <stdarg.h>
#include <stdio.h>

#include "check.h"
#include "err.h"
#include "mem.h"

void node_boot_from_store(const struct store_recovered *rec, struct zab_boot *ret)
{
    struct zab_entry *entries = mem_alloc(rec->entry_count * sizeof(*entries));

    for (size_t i = 0; i < rec->entry_count; i++) {
        const struct store_entry *from = &rec->entries[i];

        entries[i] = (struct zab_entry){
            .epoch = from->epoch,
            .index = from->index,
            .type = (enum zab_entry_type)from->type,
            .chain = from->chain,
            .body = from->body,
        };
    }
    *ret = (struct zab_boot){
        .promised_epoch = rec->promised_epoch,
        .voted_for = rec->voted_for,
        .base = {rec->snapshot.epoch, rec->snapshot.index, rec->snapshot.chain},
        .entries = entries,
        .entry_count = rec->entry_count,
        .faulty = rec->faulty,
        .claimed = {.epoch = rec->claimed_epoch, .index = rec->claimed_index},
        .restored = rec->restored,
        .fresh = rec->is_new && !BUG(B9_EMPTY_DISK_VOTES),
    };
}

void node_boot_done(struct zab_boot *boot)
{
    mem_free((void *)boot->entries);
    boot->entries = NULL;
}

struct node *node_new(const struct node_conf *conf, const struct node_io *io,
                      const struct zab_boot *boot, struct tree *tree, const struct node_time *now)
{
    struct node *n = mem_zalloc(sizeof(*n));

    CHECK(tree_index(tree) == boot->base.index);
    n->conf = *conf;
    if (n->conf.apply_entries_max == 0) {
        n->conf.apply_entries_max = APPLY_ENTRIES_MAX;
    }
    n->io = *io;
    n->now = *now;
    n->tree = tree;
    tree_history_keep(tree, conf->history_changes, conf->history_bytes);
    n->interest = interest_new();
    n->zab = zab_new(&conf->zab, boot, now->mono_ms);
    zab_view(n->zab, &n->view);
    node_snap_init(n);
    n->read_next = (conf->zab.seed << 20) + 1; /* answers to an earlier life must not match */
    n->started_ms = now->mono_ms;
    n->leaderless_ms = now->mono_ms;
    n->housekeeping_ms = now->mono_ms;
    node_window_init(&n->window, boot->base.index);
    return n;
}

void node_free(struct node *n)
{
    struct node_conn *conn, *conn_next;
    struct node_lease *lease, *lease_next;
    struct node_waiter *waiter, *waiter_next;

    HASH_ITER (hh, n->conns, conn, conn_next) {
        node_client_closed(n, conn->id);
    }
    HASH_ITER (hh, n->leases, lease, lease_next) {
        HASH_DEL(n->leases, lease);
        mem_free(lease);
    }
    HASH_ITER (hh, n->waiters, waiter, waiter_next) {
        HASH_DEL(n->waiters, waiter);
        mem_free(waiter);
    }
    node_pipeline_done(n);
    node_batch_done(&n->gather);
    node_batch_done(&n->flight);
    for (size_t i = 0; i < n->held_count; i++) {
        zab_msg_done(&n->held[i].msg);
    }
    mem_free(n->held);
    node_snap_done(n);
    node_backup_done(n);
    node_window_done(&n->window);
    node_events_done(n);
    zab_out_clear(&n->todo);
    zab_out_done(&n->todo);
    zab_out_done(&n->out);
    buf_done(&n->scratch);
    interest_free(n->interest);
    zab_free(n->zab);
    tree_free(n->tree);
    mem_free(n);
}

uint64_t node_answer_by(const struct node *n, uint32_t deadline_ms)
{
    uint32_t max_ms = n->conf.request_deadline_ms_max;

    return n->now.mono_ms + (deadline_ms < max_ms ? deadline_ms : max_ms);
}

void node_log(struct node *n, enum log_level level, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    n->io.log(n->io.ctx, level, "node", text);
}

/* Deadlines, touches and expiry run on a coarse beat, so that they cost nothing per request. */
static void housekeep(struct node *n)
{
    uint64_t gap_ms = n->now.mono_ms - n->housekeeping_ms;

    if (gap_ms < HOUSEKEEPING_MS) {
        return;
    }
    n->housekeeping_ms = n->now.mono_ms;
    node_pipeline_expire(n);
    node_sync_housekeep(n);
    node_backup_housekeep(n);
    node_session_housekeep(n, gap_ms);
    node_snap_housekeep(n);
}

void node_tick(struct node *n, const struct node_time *now)
{
    n->now = *now;
    node_step(n, &(struct zab_event){.type = ZAB_EV_TICK});
    node_snap_pump(n);
    housekeep(n);
    node_drain(n);
}

uint64_t node_deadline(const struct node *n)
{
    uint64_t of_zab = zab_deadline(n->zab);
    uint64_t of_node = n->housekeeping_ms + HOUSEKEEPING_MS;

    if (node_snap_holds_tree(n)) {
        of_node = n->now.mono_ms + 1; /* not at once: sockets have their turn in between */
    } else if (tree_index(n->tree) < n->apply_to) {
        of_node = n->now.mono_ms;
    } else if (n->export_count > 0 && n->now.mono_ms + EXPORT_MS < of_node) {
        of_node = n->now.mono_ms + EXPORT_MS;
    }
    return of_zab < of_node ? of_zab : of_node;
}

void node_flush(struct node *n, const struct node_time *now)
{
    n->now = *now;
    node_step(n, &(struct zab_event){.type = ZAB_EV_FLUSH});
    node_snap_pump(n);
    node_drain(n);
    node_batch_submit(n);
}

void node_peer_up(struct node *n, uint32_t peer, const struct node_time *now)
{
    n->now = *now;
    node_step(n, &(struct zab_event){.type = ZAB_EV_LINK_UP, .u.peer = peer});
    if (peer == n->view.leader) {
        node_pipeline_forward_all(n); /* what was under way on the old stream may be lost */
    }
    node_drain(n);
}

void node_peer_down(struct node *n, uint32_t peer, const struct node_time *now)
{
    n->now = *now;
    node_step(n, &(struct zab_event){.type = ZAB_EV_LINK_DOWN, .u.peer = peer});
    node_snap_on_link_down(n, peer);
    node_drain(n);
}

int node_peer_frame(struct node *n, uint32_t peer, const void *bytes, size_t size,
                    const struct node_time *now)
{
    struct peer_msg m;
    int err;

    n->now = *now;
    err = wire_peer_decode(bytes, size, &m);
    if (err != 0) {
        return err;
    }
    switch (m.type) {
    case PEER_ZAB:
        if (m.u.zab.from != peer || m.u.zab.to != n->conf.zab.self) {
            err = ERR_MALFORMED;
            break;
        }
        node_step(n, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &m.u.zab});
        break;
    case PEER_FORWARD:
        node_pipeline_on_forward(n, m.u.forward.session, m.u.forward.bytes, m.u.forward.size);
        break;
    case PEER_TOUCH:
        for (uint32_t i = 0; i < m.u.touch.count; i++) {
            node_session_touch(n, m.u.touch.sessions[i]);
        }
        break;
    case PEER_SNAP:
        node_snap_piece(n, peer, &m);
        break;
    case PEER_SNAP_R:
        node_snap_piece_stored(n, peer, &m);
        break;
    default:
        err = ERR_MALFORMED; /* IDENT comes once, and the link has taken it */
        break;
    }
    node_drain(n);
    peer_msg_done(&m);
    return err;
}

void node_view(const struct node *n, struct zab_view *ret)
{
    *ret = n->view;
}

const struct tree *node_tree(const struct node *n)
{
    return n->tree;
}

void node_audit(const struct node *n)
{
    zab_audit(n->zab);
    CHECK(tree_index(n->tree) <= n->view.commit);
    CHECK(n->in_flight || n->flight.count == 0);
    CHECK(n->in_flight || !n->disk_full);
    CHECK(n->held_count <= HELD_MAX);
    CHECK(n->install.received - n->install.stored <= EXPORT_AHEAD_MAX + SNAPSHOT_CHUNK_SIZE);
    CHECK(n->snapshot_index <= tree_index(n->tree));
    CHECK(HASH_COUNT(n->pending) <= PENDING_MAX);
}
