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
 * transfer would be of no use. The follower says what it has stored, so the sender is never far
 * ahead of its disk.
 *
 * A state that is received is loaded beside the present tree, piece by piece, and each piece goes
 * on to the disk; the image is nowhere whole in memory. When all is loaded and found sound, and the
 * file is complete, synced and verified, the broadcast is asked whether it is still wanted; then it
 * takes the place of the log, and the new tree that of the old.
 *
 * Failure modes: whatever breaks a transfer before that, a piece that does not follow, a tree that
 * is not sound, another leader, a full disk, gives it up. The sender hears nothing more of it,
 * gives up too, and is asked again by HELLO. */

void node_snap_init(struct node *n)
{
    n->snapshot_index = tree_index(n->tree);
    n->snapshot_due = n->snapshot_index + n->conf.snapshot_entries;
}

static void install_end(struct node_install *in)
{
    uint64_t transfer = in->transfer;

    if (in->loader != NULL) {
        tree_loader_free(in->loader);
    }
    if (in->tree != NULL) {
        tree_free(in->tree);
    }
    *in = (struct node_install){.transfer = transfer};
}

/* Nothing is left of a transfer that is not complete. */
static void install_drop(struct node *n)
{
    if (n->install.stage == INSTALL_PIECES || n->install.stage == INSTALL_SEALING) {
        install_end(&n->install);
        node_batch_add(n, STORE_OP_SNAP_DROP, 0);
    }
}

void node_snap_done(struct node *n)
{
    install_end(&n->install);
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

/* The image is made a piece a turn, for a leader that stood still over a large one would be
 * deposed, and so would the next. Meanwhile it goes on in everything but applying, so that the
 * image is that of one index. */
void node_snap_send(struct node *n, uint32_t peer, uint64_t epoch, uint64_t sync)
{
    struct node_export *e = &n->exports[n->export_count++];

    CHECK(n->export_count <= MEMBERS_MAX); /* one per follower */
    *e = (struct node_export){.peer = peer, .epoch = epoch, .sync = sync};
    CHECK(zab_pos_at(n->zab, tree_index(n->tree), &e->pos));
    tree_image_begin(&e->source, n->tree);
    node_snap_pump(n);
}

static void export_build(struct node *n, struct node_export *e)
{
    size_t got;

    buf_reserve(&e->image, EXPORT_BUILD_SIZE);
    got = tree_image_read(&e->source, e->image.data + e->image.size, EXPORT_BUILD_SIZE);
    e->image.size += got;
    e->is_whole = got < EXPORT_BUILD_SIZE;
    e->heard_ms = n->now.mono_ms;
}

bool node_snap_holds_tree(const struct node *n)
{
    for (uint32_t i = 0; i < n->export_count; i++) {
        if (!n->exports[i].is_whole) {
            return true;
        }
    }
    return false;
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

        if (!e->is_whole) {
            export_build(n, e);
        }
        if (!e->is_whole) {
            continue;
        }
        while (e->at < e->image.size && e->at - e->stored < EXPORT_AHEAD_MAX &&
               n->io.peer_queued(n->io.ctx, e->peer) < EXPORT_QUEUED_MAX) {
            export_piece(n, e);
        }
        if (n->io.peer_queued(n->io.ctx, e->peer) >= EXPORT_PIECE_SIZE) {
            e->heard_ms = n->now.mono_ms; /* not its silence: the link has not taken this yet */
        }
        if (e->stored == e->image.size) {
            export_end(n, i, true);
        } else if (n->now.mono_ms - e->heard_ms > EXPORT_SILENCE_MS) {
            export_end(n, i, false);
        }
    }
}

void node_snap_piece_stored(struct node *n, uint32_t peer, const struct peer_msg *m)
{
    for (uint32_t i = 0; i < n->export_count; i++) {
        struct node_export *e = &n->exports[i];

        if (e->peer == peer && e->epoch == m->u.snap_r.epoch && e->sync == m->u.snap_r.sync &&
            m->u.snap_r.stored >= e->stored && m->u.snap_r.stored <= e->at) {
            e->stored = m->u.snap_r.stored;
            e->heard_ms = n->now.mono_ms;
        }
    }
    node_snap_pump(n);
}

void node_snap_on_role(struct node *n)
{
    for (uint32_t i = n->export_count; i-- > 0;) {
        if (n->view.role != ZAB_LEADER || n->exports[i].epoch != n->view.epoch) {
            export_end(n, i, false);
        }
    }
    if (n->install.epoch != n->view.epoch) {
        install_drop(n); /* its sender leads no more: the rest would be refused */
    }
}

void node_snap_on_link_down(struct node *n, uint32_t peer)
{
    for (uint32_t i = n->export_count; i-- > 0;) {
        if (n->exports[i].peer == peer) {
            export_end(n, i, false);
        }
    }
    if (n->install.from == peer) {
        install_drop(n);
    }
}

/* --- from a leader --------------------------------------------------------------------------- */

static bool install_is(const struct node_install *in, uint32_t peer, const struct peer_msg *m)
{
    return in->stage != INSTALL_NONE && in->from == peer && in->epoch == m->u.snap.epoch &&
           in->sync == m->u.snap.sync && in->pos.index == m->u.snap.pos.index &&
           in->total == m->u.snap.total;
}

static void install_begin(struct node *n, uint32_t peer, const struct peer_msg *m)
{
    struct node_install *in = &n->install;

    install_end(in); /* what the disk has of it is written over */
    *in = (struct node_install){
        .stage = INSTALL_PIECES,
        .transfer = in->transfer + 1,
        .from = peer,
        .epoch = m->u.snap.epoch,
        .sync = m->u.snap.sync,
        .pos = m->u.snap.pos,
        .total = m->u.snap.total,
        .loader = tree_loader_new(),
    };
}

/* The loader is used up, whatever it says. */
static int install_load_end(struct node_install *in)
{
    int err = tree_loader_finish(in->loader, &in->tree);

    in->loader = NULL;
    return err == 0 && tree_index(in->tree) != in->pos.index ? ERR_CORRUPT : err;
}

static void install_take(struct node *n, const struct peer_msg *m)
{
    struct node_install *in = &n->install;
    int err = tree_loader_feed(in->loader, m->u.snap.bytes, m->u.snap.size);
    struct store_op *op;

    if (err == 0) {
        op = node_batch_add(n, STORE_OP_SNAP_PIECE, 0);
        op->u.piece.transfer = in->transfer;
        op->u.piece.pos = (struct store_pos){in->pos.epoch, in->pos.index, in->pos.chain};
        op->u.piece.offset = in->received;
        op->u.piece.bytes = blob_new(m->u.snap.bytes, m->u.snap.size);
        in->received += m->u.snap.size;
    }
    if (err == 0 && in->received == in->total) {
        err = install_load_end(in);
        in->stage = INSTALL_SEALING;
    }
    if (err != 0) {
        node_log(n, LOG_WARN, "ev=snapshot_refused from=%u err=\"%s\"", in->from, err_text(err));
        install_drop(n);
    } else if (in->stage == INSTALL_SEALING) {
        op = node_batch_add(n, STORE_OP_SNAP_SEAL, 0);
        op->u.seal.transfer = in->transfer;
        op->u.seal.size = in->total;
    }
}

void node_snap_piece(struct node *n, uint32_t peer, const struct peer_msg *m)
{
    struct node_install *in = &n->install;

    if (in->stage == INSTALL_LAST || n->disk_full || m->u.snap.size == 0 ||
        (install_is(in, peer, m) && m->u.snap.offset < in->received)) {
        return; /* one is being installed, none can be stored, or it came before */
    }
    if (m->u.snap.offset == 0) {
        install_begin(n, peer, m);
    }
    if (!install_is(in, peer, m) || m->u.snap.offset != in->received ||
        in->received - in->stored > EXPORT_AHEAD_MAX) {
        install_drop(n); /* a piece of another transfer, or from one who does not wait */
        return;
    }
    install_take(n, m);
}

/* --- what the disk says ----------------------------------------------------------------------- */

void node_snap_note_ops(struct node *n, const struct node_batch *b)
{
    struct node_install *in = &n->install;

    for (size_t i = 0; i < b->count && in->stage != INSTALL_NONE; i++) {
        const struct store_op *op = &b->ops[i];

        if (op->type == STORE_OP_SNAP_PIECE && op->u.piece.transfer == in->transfer) {
            in->failed = in->failed || op->err != 0;
            in->stored = op->u.piece.offset + op->u.piece.bytes->size;
        } else if (op->type == STORE_OP_SNAP_SEAL && op->u.seal.transfer == in->transfer) {
            in->failed = in->failed || op->err != 0;
            in->sealed = true;
        }
    }
}

/* Once all is taken the sender is told so, and not before: until then its heartbeats must name this
 * transfer, or another HELLO would make it void. */
static void install_tell(struct node *n)
{
    struct node_install *in = &n->install;
    bool all = in->stage == INSTALL_LAST;
    struct peer_msg m = {
        .type = PEER_SNAP_R,
        .u.snap_r = {.epoch = in->epoch,
                     .sync = in->sync,
                     .stored = !all && in->stored == in->total ? in->stored - 1 : in->stored},
    };

    in->told_ms = n->now.mono_ms;
    n->scratch.size = 0;
    wire_peer_encode(&n->scratch, &m);
    n->io.send_peer(n->io.ctx, in->from, n->scratch.data, n->scratch.size);
}

static void install_last(struct node *n)
{
    struct node_install *in = &n->install;

    if (zab_snap_accept(n->zab, in->from, in->epoch, in->sync, &in->pos, &in->seq)) {
        struct store_op *op = node_batch_add(n, STORE_OP_INSTALL, in->seq);

        op->u.install = (struct store_pos){in->pos.epoch, in->pos.index, in->pos.chain};
        in->stage = INSTALL_LAST;
        install_tell(n);
    } else {
        install_drop(n);
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
    CHECK(!node_snap_holds_tree(n)); /* who leads takes no state */
    n->tree = in->tree;
    in->tree = NULL;
    tree_history_keep(n->tree, n->conf.history_changes, n->conf.history_bytes);
    n->snapshot_index = in->pos.index;
    n->snapshot_due = in->pos.index + n->conf.snapshot_entries;
    node_window_done(&n->window);
    node_window_init(&n->window, in->pos.index);
    n->digest_index = 0;
    node_log(n, LOG_INFO, "ev=snapshot_installed from=%u index=%" PRIu64, in->from, in->pos.index);
    install_end(in);
    node_step(n, &ev);
}

void node_snap_on_stored(struct node *n)
{
    struct node_install *in = &n->install;

    if (in->stage == INSTALL_NONE) {
        return;
    }
    if (in->stage == INSTALL_LAST) {
        if (in->seq <= n->durable_seq) {
            installed(n);
        }
    } else if (in->failed) {
        node_log(n, LOG_ERROR, "ev=snapshot_given_up from=%u index=%" PRIu64 " note=\"disk full\"",
                 in->from, in->pos.index);
        install_end(in); /* the store has removed what it had */
        node_step(n, &(struct zab_event){.type = ZAB_EV_SNAP_FAILED});
    } else if (in->sealed) {
        install_last(n);
    } else {
        install_tell(n);
    }
}

void node_snap_housekeep(struct node *n)
{
    if (n->install.stage != INSTALL_NONE &&
        n->now.mono_ms - n->install.told_ms >= INSTALL_TELL_MS) {
        install_tell(n);
    }
    node_snap_maybe_take(n);
}
