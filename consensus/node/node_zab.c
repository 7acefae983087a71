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

struct store_op *node_batch_add(struct node *n, enum store_op_type type, uint64_t seq)
{
    struct node_batch *b = &n->gather;
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
        } else if (op->type == STORE_OP_SNAP_PIECE) {
            blob_unref(op->u.piece.bytes);
        }
    }
    mem_free(b->ops);
    *b = (struct node_batch){0};
}

static void batch_append(struct node *n, const struct zab_effect *fx)
{
    size_t count = fx->u.append.count;
    struct store_entry *entries = mem_alloc(count * sizeof(*entries));
    struct store_op *op = node_batch_add(n, STORE_OP_APPEND, fx->seq);

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
    if (n->in_flight || n->gather.count == 0) {
        return;
    }
    n->flight = n->gather;
    n->gather = (struct node_batch){0};
    n->in_flight = true;
    n->submitted = (struct store_batch){.ops = n->flight.ops, .count = n->flight.count};
    n->io.store(n->io.ctx, &n->submitted);
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
    if (n->held_count == HELD_MAX) { /* a disk that is full for long: messages may be lost */
        zab_msg_done(&n->held[0].msg);
        memmove(n->held, n->held + 1, --n->held_count * sizeof(*n->held));
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
    node_snap_on_role(n);
    node_pipeline_on_role(n);
    node_sync_on_role(n);
}

static void run_effect(struct node *n, struct zab_effect *fx)
{
    struct store_op *op;

    switch (fx->type) {
    case ZAB_FX_SAVE_VOTE:
        op = node_batch_add(n, STORE_OP_VOTE, fx->seq);
        op->u.vote.promised_epoch = fx->u.vote.promised_epoch;
        op->u.vote.voted_for = fx->u.vote.voted_for;
        break;
    case ZAB_FX_APPEND:
        batch_append(n, fx);
        break;
    case ZAB_FX_TRUNCATE:
        op = node_batch_add(n, STORE_OP_TRUNCATE, fx->seq);
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
        node_snap_send(n, fx->u.snap.peer, fx->u.snap.epoch, fx->u.snap.sync);
        break;
    case ZAB_FX_DIGEST:
        node_digest_compare(n, fx->u.digest.index, fx->u.digest.digest);
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

static void run_effects(struct node *n)
{
    for (size_t i = 0; i < n->todo.count; i++) {
        struct zab_effect fx = n->todo.effects[i]; /* a copy: the queue grows and may move */
        struct zab_out one = {.effects = &fx, .count = 1, .cap = 1};

        run_effect(n, &fx);
        zab_out_clear(&one);
    }
    n->todo.count = 0;
}

void node_drain(struct node *n)
{
    n->apply_left = n->conf.apply_entries_max;
    run_effects(n);
    while (node_may_apply(n)) {
        node_apply(n, n->apply_to);
        run_effects(n);
    }
}

void node_disk_full(struct node *n, bool is_full, const struct node_time *now)
{
    n->now = *now;
    CHECK(n->in_flight);
    if (is_full == n->disk_full) {
        return;
    }
    n->disk_full = is_full;
    node_step(n, &(struct zab_event){.type = ZAB_EV_STORAGE, .u.full = is_full});
    node_drain(n);
    if (is_full) {
        node_pipeline_on_disk_full(n);
    }
}

void node_stored(struct node *n, const struct node_time *now)
{
    bool purged = false;

    n->now = *now;
    CHECK(n->in_flight && !n->disk_full);
    if (n->flight.seq != 0) {
        CHECK(n->flight.seq > n->durable_seq);
        n->durable_seq = n->flight.seq;
    }
    for (size_t i = 0; i < n->flight.count; i++) {
        purged = purged || n->flight.ops[i].type == STORE_OP_PURGE;
    }
    n->in_flight = false;
    node_snap_note_ops(n, &n->flight);
    node_batch_done(&n->flight);
    release_held(n);
    node_step(n, &(struct zab_event){.type = ZAB_EV_DURABLE, .u.seq = n->durable_seq});
    node_snap_on_stored(n);
    if (purged) {
        node_step(n, &(struct zab_event){.type = ZAB_EV_SNAPSHOT, .u.index = n->snapshot_index});
    }
    node_drain(n);
}
