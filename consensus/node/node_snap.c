#include "node_int.h"

#include <inttypes.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* Whole states: written to this member's disk, so that the log can be short; sent to a follower
 * that is behind the leader's window; received from a leader.
 *
 * A state is sent a few pieces at a time, as the link takes them, because heartbeats travel on the
 * same stream: a follower that hears none for the length of a transfer would campaign, and the
 * transfer would be of no use. A state that is received is loaded beside the present tree and
 * replaces it once it is on disk. */

void node_snap_init(struct node *n)
{
    n->snapshot_index = tree_index(n->tree);
    n->snapshot_due = n->snapshot_index + n->conf.snapshot_entries;
}

static void install_drop(struct node_install *in)
{
    if (in->tree != NULL) {
        tree_free(in->tree);
    }
    buf_done(&in->image);
    *in = (struct node_install){0};
}

void node_snap_done(struct node *n)
{
    install_drop(&n->install);
    for (uint32_t i = 0; i < n->export_count; i++) {
        buf_done(&n->exports[i].image);
    }
}

/* --- for the own disk ------------------------------------------------------------------------ */

void node_snap_maybe_take(struct node *n)
{
    struct store_pos at;
    struct zab_pos pos;
    uint64_t index = tree_index(n->tree);

    bool again = n->snapshot_retry_ms != 0 && n->now.mono_ms >= n->snapshot_retry_ms;

    if (n->snapshotting || n->install.seq != 0 || (index < n->snapshot_due && !again)) {
        return;
    }
    n->snapshot_retry_ms = 0;
    if (index == n->snapshot_index) { /* a leader's came meanwhile */
        return;
    }
    CHECK(zab_pos_at(n->zab, index, &pos));
    at = (struct store_pos){pos.epoch, pos.index, pos.chain};
    n->snapshotting = true;
    n->snapshotting_index = index;
    n->io.snapshot(n->io.ctx, n->tree, &at);
}

void node_snapshot_done(struct node *n, bool ok, const struct node_time *now)
{
    uint64_t next = n->snapshotting_index + n->conf.snapshot_entries;

    n->now = *now;
    CHECK(n->snapshotting);
    n->snapshotting = false;
    n->snapshot_due = next > n->snapshot_due ? next : n->snapshot_due;
    if (!ok) {
        node_log(n, LOG_ERROR, "ev=snapshot_failed index=%" PRIu64 " note=\"the log is kept\"",
                 n->snapshotting_index);
        if (n->install.seq == 0 && n->snapshotting_index > n->snapshot_index) {
            n->snapshot_retry_ms = n->now.mono_ms + SNAPSHOT_RETRY_MS;
        } /* else: it was ended in favour of a leader's */
    } else if (n->snapshotting_index > n->snapshot_index) { /* else: a leader's, and newer, came */
        n->snapshot_index = n->snapshotting_index;
        node_batch_add(n, STORE_OP_PURGE, 0);
    }
}

/* --- to a follower --------------------------------------------------------------------------- */

/* The transfer is over, complete or given up, and the broadcast goes on with this follower. */
static void export_end(struct node *n, uint32_t at, bool complete)
{
    struct node_export *e = &n->exports[at];
    struct zab_event ev = {.type = ZAB_EV_SNAP_SENT,
                           .u.snap_sent = {.peer = e->peer, .granted = complete}};

    node_log(n, LOG_INFO, "ev=%s to=%u index=%" PRIu64 " bytes=%zu",
             complete ? "snapshot_sent" : "snapshot_given_up", e->peer, e->pos.index, e->at);
    buf_done(&e->image);
    *e = n->exports[--n->export_count];
    node_step(n, &ev);
}

void node_snap_send(struct node *n, uint32_t peer, uint64_t epoch, uint64_t sync)
{
    struct node_export *e = &n->exports[n->export_count++];
    struct tree_image it;
    size_t got;

    CHECK(n->export_count <= MEMBERS_MAX); /* one per follower */
    *e = (struct node_export){.peer = peer, .epoch = epoch, .sync = sync};
    CHECK(zab_pos_at(n->zab, tree_index(n->tree), &e->pos));
    tree_image_begin(&it, n->tree);
    do {
        buf_reserve(&e->image, SNAPSHOT_CHUNK_SIZE);
        got = tree_image_read(&it, e->image.data + e->image.size, SNAPSHOT_CHUNK_SIZE);
        e->image.size += got;
    } while (got > 0);
    node_snap_pump(n);
}

static void export_piece(struct node *n, struct node_export *e)
{
    size_t left = e->image.size - e->at;
    struct peer_msg m = {
        .type = PEER_SNAP,
        .u.snap = {.epoch = e->epoch,
                   .sync = e->sync,
                   .pos = e->pos,
                   .total = e->image.size,
                   .offset = e->at,
                   .bytes = e->image.data + e->at,
                   .size = (uint32_t)(left < EXPORT_PIECE_SIZE ? left : EXPORT_PIECE_SIZE)},
    };

    n->scratch.size = 0;
    wire_peer_encode(&n->scratch, &m);
    n->io.send_peer(n->io.ctx, e->peer, n->scratch.data, n->scratch.size);
    e->at += m.u.snap.size;
}

void node_snap_pump(struct node *n)
{
    for (uint32_t i = n->export_count; i-- > 0;) { /* from the end: an ended one leaves its place */
        struct node_export *e = &n->exports[i];

        while (e->at < e->image.size && n->io.peer_queued(n->io.ctx, e->peer) < EXPORT_QUEUED_MAX) {
            export_piece(n, e);
        }
        if (e->at == e->image.size) {
            export_end(n, i, true);
        }
    }
}

void node_snap_on_role(struct node *n)
{
    for (uint32_t i = n->export_count; i-- > 0;) {
        if (n->view.role != ZAB_LEADER || n->exports[i].epoch != n->view.epoch) {
            export_end(n, i, false);
        }
    }
    if (n->install.seq == 0 && n->install.epoch != n->view.epoch) {
        install_drop(&n->install); /* its sender leads no more: the rest would be refused */
    }
}

void node_snap_on_link_down(struct node *n, uint32_t peer)
{
    for (uint32_t i = n->export_count; i-- > 0;) {
        if (n->exports[i].peer == peer) {
            export_end(n, i, false);
        }
    }
}

/* --- from a leader --------------------------------------------------------------------------- */

/* The image is whole: load it beside the present tree, and have it stored in place of the log. */
static void install_begin(struct node *n)
{
    struct node_install *in = &n->install;
    struct tree_loader *loader = tree_loader_new();
    struct store_op *op;
    int err = tree_loader_feed(loader, in->image.data, in->image.size);

    if (err == 0) {
        err = tree_loader_finish(loader, &in->tree);
    } else {
        tree_loader_free(loader);
    }
    if (err != 0 || tree_index(in->tree) != in->pos.index) {
        node_log(n, LOG_WARN, "ev=snapshot_refused from=%u err=\"%s\"", in->from, err_text(err));
    } else if (zab_snap_accept(n->zab, in->from, in->epoch, in->sync, &in->pos, &in->seq)) {
        op = node_batch_add(n, STORE_OP_INSTALL, in->seq);
        op->u.install.pos = (struct store_pos){in->pos.epoch, in->pos.index, in->pos.chain};
        op->u.install.image = in->image.data;
        op->u.install.size = in->image.size;
        return;
    }
    install_drop(in);
}

void node_snap_piece(struct node *n, uint32_t peer, const struct peer_msg *m)
{
    struct node_install *in = &n->install;

    if (in->seq != 0) {
        return; /* one is being stored */
    }
    if (m->u.snap.offset == 0) {
        in->active = true;
        in->from = peer;
        in->epoch = m->u.snap.epoch;
        in->sync = m->u.snap.sync;
        in->pos = m->u.snap.pos;
        in->total = m->u.snap.total;
        in->image.size = 0;
    }
    if (!in->active || in->from != peer || in->epoch != m->u.snap.epoch ||
        in->sync != m->u.snap.sync || in->image.size != m->u.snap.offset ||
        m->u.snap.size > in->total - in->image.size) {
        install_drop(in); /* a piece of another transfer: the leader is asked again by HELLO */
        return;
    }
    buf_put(&in->image, m->u.snap.bytes, m->u.snap.size);
    if (in->image.size == in->total) {
        install_begin(n);
    }
}

/* The leader's state is on disk: it is the state now. Clients that are attached missed changes, so
 * their streams end; they come back and are told so by ERR_COMPACTED. What they asked for may have
 * been applied inside that state, so that it would wait here for ever: they send it again. */
static void installed(struct node *n)
{
    struct node_install *in = &n->install;
    struct zab_event ev = {.type = ZAB_EV_SNAP_LOADED, .u.snap = {in->pos, in->seq}};
    struct node_conn *conn, *next;

    HASH_ITER (hh, n->conns, conn, next) {
        node_conn_close(n, conn, "state replaced by the leader's");
    }
    node_pipeline_drop_all(n);
    tree_free(n->tree);
    n->tree = in->tree;
    in->tree = NULL;
    n->snapshot_index = in->pos.index;
    n->snapshot_due = in->pos.index + n->conf.snapshot_entries;
    node_window_done(&n->window);
    node_window_init(&n->window, in->pos.index);
    n->digest_index = 0;
    node_log(n, LOG_INFO, "ev=snapshot_installed from=%u index=%" PRIu64, in->from, in->pos.index);
    install_drop(in);
    node_step(n, &ev);
}

void node_snap_on_stored(struct node *n)
{
    if (n->install.seq != 0 && n->install.seq <= n->durable_seq) {
        installed(n);
    }
}
