#include "node_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* Runs the broadcast: events in, and its effects carried out strictly in the order they came.
 *
 * An effect can cause the next event (COMMIT -> applied; a read that became possible), so effects
 * are queued, and each input works the queue off at its end. Storage effects gather in one batch
 * that leaves at the end of the loop's turn if none is in flight (group commit); messages that rest
 * on one of them are held until it is durable. */

/* --- storage --------------------------------------------------------------------------------- */

static struct store_op *batch_add(struct node_batch *b, enum store_op_type type, uint64_t seq)
{
    struct store_op *op;

    if (b->count == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 8;
        b->ops = mem_realloc(b->ops, b->cap * sizeof(*b->ops));
    }
    op = &b->ops[b->count++];
    *op = (struct store_op){.type = type};
    if (seq != 0) {
        CHECK(seq > b->seq);
        b->seq = seq;
    }
    return op;
}

void node_batch_done(struct node_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        struct store_op *op = &b->ops[i];

        if (op->type == STORE_OP_APPEND) {
            for (size_t k = 0; k < op->u.append.count; k++) {
                blob_unref(op->u.append.entries[k].body);
            }
            mem_free((void *)op->u.append.entries);
        }
    }
    mem_free(b->ops);
    *b = (struct node_batch){0};
}

static void batch_append(struct node *n, const struct zab_effect *fx)
{
    size_t count = fx->u.append.count;
    struct store_entry *entries = mem_alloc(count * sizeof(*entries));
    struct store_op *op = batch_add(&n->gather, STORE_OP_APPEND, fx->seq);

    for (size_t i = 0; i < count; i++) {
        const struct zab_entry *from = &fx->u.append.entries[i];

        entries[i] = (struct store_entry){
            .epoch = from->epoch,
            .index = from->index,
            .type = (uint8_t)from->type,
            .chain = from->chain,
            .body = blob_ref(from->body),
        };
    }
    op->u.append.entries = entries;
    op->u.append.count = count;
}

void node_batch_submit(struct node *n)
{
    struct store_batch batch;

    if (n->in_flight || n->gather.count == 0) {
        return;
    }
    n->flight = n->gather;
    n->gather = (struct node_batch){0};
    n->in_flight = true;
    batch = (struct store_batch){.ops = n->flight.ops, .count = n->flight.count};
    n->io.store(n->io.ctx, &batch);
}

/* --- messages -------------------------------------------------------------------------------- */

static void send_now(struct node *n, const struct zab_msg *msg)
{
    struct peer_msg m = {.type = PEER_ZAB, .u.zab = *msg};

    n->scratch.size = 0;
    wire_peer_encode(&n->scratch, &m);
    n->io.send_peer(n->io.ctx, msg->to, n->scratch.data, n->scratch.size);
}

static void send_or_hold(struct node *n, struct zab_effect *fx)
{
    if (fx->after_seq <= n->durable_seq) {
        send_now(n, &fx->u.msg);
        return;
    }
    if (n->held_count == n->held_cap) {
        n->held_cap = n->held_cap ? 2 * n->held_cap : 8;
        n->held = mem_realloc(n->held, n->held_cap * sizeof(*n->held));
    }
    n->held[n->held_count++] = (struct node_held){fx->after_seq, fx->u.msg};
    memset(&fx->u.msg, 0, sizeof(fx->u.msg)); /* the entries are the held message's now */
}

static void release_held(struct node *n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n->held_count; i++) {
        if (n->held[i].after_seq <= n->durable_seq) {
            send_now(n, &n->held[i].msg);
            zab_msg_done(&n->held[i].msg);
        } else {
            n->held[kept++] = n->held[i];
        }
    }
    n->held_count = kept;
}

/* --- a follower far behind: the whole state -------------------------------------------------- */

static void snap_send(struct node *n, uint32_t peer, uint64_t epoch, uint64_t sync)
{
    struct peer_msg m = {.type = PEER_SNAP, .u.snap = {.epoch = epoch, .sync = sync}};
    struct zab_event ev = {.type = ZAB_EV_SNAP_SENT,
                           .u.snap_sent = {.peer = peer, .granted = true}};
    struct tree_image it;
    struct buf image = {0};
    size_t got;

    CHECK(zab_pos_at(n->zab, tree_index(n->tree), &m.u.snap.pos));
    tree_image_begin(&it, n->tree);
    do {
        buf_reserve(&image, SNAPSHOT_CHUNK_SIZE);
        got = tree_image_read(&it, image.data + image.size, SNAPSHOT_CHUNK_SIZE);
        image.size += got;
    } while (got > 0);

    m.u.snap.total = image.size;
    for (size_t at = 0; at < image.size; at += SNAPSHOT_CHUNK_SIZE) {
        size_t left = image.size - at;

        m.u.snap.offset = at;
        m.u.snap.bytes = image.data + at;
        m.u.snap.size = (uint32_t)(left < SNAPSHOT_CHUNK_SIZE ? left : SNAPSHOT_CHUNK_SIZE);
        n->scratch.size = 0;
        wire_peer_encode(&n->scratch, &m);
        n->io.send_peer(n->io.ctx, peer, n->scratch.data, n->scratch.size);
    }
    node_log(n, LOG_INFO, "ev=snapshot_sent to=%u index=%" PRIu64 " bytes=%zu", peer,
             m.u.snap.pos.index, image.size);
    buf_done(&image);
    node_step(n, &ev);
}

/* The image is whole: load it beside the present tree, and have it stored in place of the log. */
static void snap_complete(struct node *n)
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
        op = batch_add(&n->gather, STORE_OP_INSTALL, in->seq);
        op->u.install.pos = (struct store_pos){in->pos.epoch, in->pos.index, in->pos.chain};
        op->u.install.image = in->image.data;
        op->u.install.size = in->image.size;
        return;
    }
    if (in->tree != NULL) {
        tree_free(in->tree);
        in->tree = NULL;
    }
    in->active = false;
    buf_done(&in->image);
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
        in->active = false; /* a piece of another transfer: the leader is asked again by HELLO */
        return;
    }
    buf_put(&in->image, m->u.snap.bytes, m->u.snap.size);
    if (in->image.size == in->total) {
        snap_complete(n);
    }
}

/* The peer's snapshot is on disk: it is the state now. Clients that are attached missed changes, so
 * their streams end; they come back and are told so by ERR_COMPACTED. */
static void snap_installed(struct node *n)
{
    struct node_install *in = &n->install;
    struct zab_event ev = {.type = ZAB_EV_SNAP_LOADED};
    struct node_conn *conn, *next;

    HASH_ITER (hh, n->conns, conn, next) {
        node_conn_close(n, conn, "state replaced by the leader's");
    }
    tree_free(n->tree);
    n->tree = in->tree;
    n->snapshot_index = in->pos.index;
    node_window_done(&n->window);
    node_window_init(&n->window, in->pos.index);
    n->digest_index = 0;
    ev.u.snap.pos = in->pos;
    ev.u.snap.seq = in->seq;
    node_log(n, LOG_INFO, "ev=snapshot_installed from=%u index=%" PRIu64, in->from, in->pos.index);
    buf_done(&in->image);
    *in = (struct node_install){0};
    node_step(n, &ev);
}

/* --- effects --------------------------------------------------------------------------------- */

static void role_changed(struct node *n)
{
    node_log(n, LOG_INFO,
             "ev=role role=%s epoch=%" PRIu64 " leader=%u last=%" PRIu64 " commit=%" PRIu64,
             zab_role_text(n->view.role), n->view.epoch, n->view.leader, n->view.last.index,
             n->view.commit);
    if (n->view.leader != 0) {
        n->leaderless_ms = 0;
    } else if (n->leaderless_ms == 0) {
        n->leaderless_ms = n->now.mono_ms;
    }
    if (n->view.serving && !n->was_serving) {
        node_session_on_serving(n);
    }
    n->was_serving = n->view.serving;
    node_pipeline_on_role(n);
    node_sync_on_role(n);
}

static void compare_digest(struct node *n, uint64_t index, uint64_t digest)
{
    if (index == n->digest_index && digest != n->digest) {
        char reason[160];

        snprintf(reason, sizeof(reason),
                 "state differs from the leader's at index %" PRIu64 " (%016" PRIx64
                 ", leader's %016" PRIx64 ")",
                 index, n->digest, digest);
        n->io.stop(n->io.ctx, reason);
    }
}

static void run_effect(struct node *n, struct zab_effect *fx)
{
    struct store_op *op;

    switch (fx->type) {
    case ZAB_FX_SAVE_VOTE:
        op = batch_add(&n->gather, STORE_OP_VOTE, fx->seq);
        op->u.vote.promised_epoch = fx->u.vote.promised_epoch;
        op->u.vote.voted_for = fx->u.vote.voted_for;
        break;
    case ZAB_FX_APPEND:
        batch_append(n, fx);
        break;
    case ZAB_FX_TRUNCATE:
        op = batch_add(&n->gather, STORE_OP_TRUNCATE, fx->seq);
        op->u.index = fx->u.index;
        break;
    case ZAB_FX_SEND:
        send_or_hold(n, fx);
        break;
    case ZAB_FX_COMMIT:
        node_apply(n, fx->u.index);
        break;
    case ZAB_FX_ROLE:
        role_changed(n);
        break;
    case ZAB_FX_READ_READY:
        node_sync_answer(n, fx->u.read.id, true, fx->u.read.index);
        break;
    case ZAB_FX_READ_FAILED:
        node_sync_answer(n, fx->u.read.id, false, 0);
        break;
    case ZAB_FX_SNAP_SEND:
        snap_send(n, fx->u.snap.peer, fx->u.snap.epoch, fx->u.snap.sync);
        break;
    case ZAB_FX_DIGEST:
        compare_digest(n, fx->u.digest.index, fx->u.digest.digest);
        break;
    }
}

static void queue_effects(struct node *n)
{
    struct zab_out *todo = &n->todo;

    if (todo->cap - todo->count < n->out.count) {
        todo->cap = 2 * (todo->count + n->out.count);
        todo->effects = mem_realloc(todo->effects, todo->cap * sizeof(*todo->effects));
    }
    if (n->out.count > 0) {
        memcpy(todo->effects + todo->count, n->out.effects, n->out.count * sizeof(*todo->effects));
        todo->count += n->out.count;
        n->out.count = 0; /* what they own moved along */
    }
}

void node_step(struct node *n, const struct zab_event *ev)
{
    zab_step(n->zab, ev, n->now.mono_ms, &n->out);
    zab_view(n->zab, &n->view);
    queue_effects(n);
}

void node_drain(struct node *n)
{
    for (size_t i = 0; i < n->todo.count; i++) {
        struct zab_effect fx = n->todo.effects[i]; /* a copy: the queue grows and may move */
        struct zab_out one = {.effects = &fx, .count = 1, .cap = 1};

        run_effect(n, &fx);
        zab_out_clear(&one);
    }
    n->todo.count = 0;
}

void node_stored(struct node *n, const struct node_time *now)
{
    bool purged = false;

    n->now = *now;
    CHECK(n->in_flight);
    if (n->flight.seq != 0) {
        CHECK(n->flight.seq > n->durable_seq);
        n->durable_seq = n->flight.seq;
    }
    for (size_t i = 0; i < n->flight.count; i++) {
        purged = purged || n->flight.ops[i].type == STORE_OP_PURGE;
    }
    n->in_flight = false;
    node_batch_done(&n->flight);
    release_held(n);
    node_step(n, &(struct zab_event){.type = ZAB_EV_DURABLE, .u.seq = n->durable_seq});
    if (n->install.seq != 0 && n->install.seq <= n->durable_seq) {
        snap_installed(n);
    }
    if (purged) {
        node_step(n, &(struct zab_event){.type = ZAB_EV_SNAPSHOT, .u.index = n->snapshot_index});
    }
    node_drain(n);
}

void node_snapshot_done(struct node *n, bool ok, const struct node_time *now)
{
    n->now = *now;
    CHECK(n->snapshotting);
    n->snapshotting = false;
    if (!ok) {
        node_log(n, LOG_ERROR, "ev=snapshot_failed index=%" PRIu64 " note=\"the log is kept\"",
                 n->snapshotting_index);
        n->snapshot_index = n->snapshotting_index;          /* try again after as many entries */
    } else if (n->snapshotting_index > n->snapshot_index) { /* else: a peer's, and newer, came */
        n->snapshot_index = n->snapshotting_index;
        batch_add(&n->gather, STORE_OP_PURGE, 0);
    }
}
