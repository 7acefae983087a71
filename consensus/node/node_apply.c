#include "node_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* Committed entries become state. For each entry: apply it, tell the sessions that are subscribed
 * to the directory it changed, then answer whoever waits for it here. In that order, so that on one
 * stream an event is never behind a reply that shows its change. The end of a session is the other
 * way round for that session: its stream ends before anything shows what ended with it. */

/* Answering about a node subscribes the session to the directory it is in. */
static void subscribe_to_result(struct node *n, uint64_t session, const struct txn *txn,
                                const struct reply *r)
{
    if (r->err != 0) {
        return;
    }
    switch (txn->request.op) {
    case OP_CREATE:
        interest_add(n->interest, session, r->u.create.attr.parent);
        break;
    case OP_RENAME:
        interest_add(n->interest, session, txn->request.u.rename.dir);
        interest_add(n->interest, session, txn->request.u.rename.to_dir);
        break;
    case OP_SET:
    case OP_APPEND:
    case OP_SETATTR:
    case OP_SETXATTR:
        interest_add(n->interest, session, r->u.attr.parent);
        break;
    default:
        break;
    }
}

static void answer(struct node *n, const struct txn *txn, struct txn_result *result)
{
    bool is_open = txn->request.op == OP_SESSION_OPEN;
    struct node_pending *p = NULL;
    struct node_conn *conn;

    if (is_open) {
        p = node_pipeline_find_open(n, &txn->request.u.session_open.key);
    } else if (result->session != 0) {
        p = node_pipeline_find(n, result->session, txn->request.xid);
    }
    if (p == NULL) {
        return;
    }
    conn = node_conn_find(n, p->conn);
    node_pipeline_drop(n, p);
    if (conn == NULL) {
        return;
    }
    if (is_open) {
        if (result->reply.err == 0) {
            node_session_attach(n, conn, result->session);
        } else {
            node_session_refuse(n, conn, result->reply.err);
        }
        return;
    }
    subscribe_to_result(n, result->session, txn, &result->reply);
    node_reply(n, conn, &result->reply);
}

static void apply_data(struct node *n, const struct zab_entry *entry)
{
    struct txn_result result;
    struct txn txn;
    bool answered;

    if (wire_txn_decode(entry->body ? entry->body->data : NULL, entry->body ? entry->body->size : 0,
                        &txn) != 0) {
        /* The same bytes are as unreadable on every member, so skipping keeps them equal. */
        node_log(n, LOG_ERROR, "ev=entry_unreadable index=%" PRIu64, entry->index);
        tree_skip(n->tree, entry->index);
        return;
    }
    txn.index = entry->index;
    if (BUG(B22_LOCAL_LIMIT)) {
        txn.value_size_max = n->conf.value_size_max;
    }
    if (BUG(X19_LOCAL_CLOCK)) {
        txn.time_ns = n->now.wall_ns;
    }
    tree_apply(n->tree, &txn, &result);
    answered = result.session_gone != 0 || BUG(X18_EVENT_AFTER_REPLY);
    if (answered) {
        answer(n, &txn, &result);
    }
    if (result.session_gone != 0) { /* it learns that it ended, not that its ephemerals are gone */
        node_session_gone(n, result.session_gone);
    }
    node_publish(n, result.changes, result.change_count);
    node_lock_granted(n, result.grants, result.grant_count);
    if (!answered) {
        answer(n, &txn, &result);
    }
    txn_result_done(&result);
    codec_request_done(&txn.request);
}

/* Replicas that applied the same log are in the same state, or one of them must not go on. */
static void digests_compare(struct node *n)
{
    char reason[160];

    if (n->leader_digest_index != n->digest_index || n->leader_digest == n->digest) {
        return;
    }
    snprintf(reason, sizeof(reason),
             "state differs from the leader's at index %" PRIu64 " (%016" PRIx64
             ", leader's %016" PRIx64 ")",
             n->digest_index, n->digest, n->leader_digest);
    n->io.stop(n->io.ctx, reason);
}

void node_digest_compare(struct node *n, uint64_t index, uint64_t digest)
{
    n->leader_digest_index = index;
    n->leader_digest = digest;
    digests_compare(n);
}

static void after_entry(struct node *n, uint64_t index)
{
    if (index % DIGEST_INTERVAL != 0) {
        return;
    }
    n->digest_index = index;
    n->digest = tree_digest(n->tree);
    if (n->view.role == ZAB_LEADER) {
        node_step(n, &(struct zab_event){.type = ZAB_EV_DIGEST,
                                         .u.digest = {.index = index, .digest = n->digest}});
    } else {
        digests_compare(n);
    }
}

bool node_may_apply(const struct node *n)
{
    return tree_index(n->tree) < n->apply_to && n->apply_left > 0 && !node_snap_holds_tree(n);
}

/* A start has up to a whole log to apply as soon as it knows that it is committed. In one piece
 * that is longer than an election takes: a leader that does nothing else is deposed. */
void node_apply(struct node *n, uint64_t index)
{
    n->apply_to = index > n->apply_to ? index : n->apply_to;
    if (!node_may_apply(n)) {
        return; /* node_drain() comes back to it */
    }
    while (node_may_apply(n)) {
        uint64_t next = tree_index(n->tree) + 1;
        const struct zab_entry *entry = zab_entry_at(n->zab, next);
        uint32_t cost;

        CHECK(entry != NULL);
        cost = 1 + (entry->body != NULL ? entry->body->size / APPLY_BYTES_AS_ONE : 0);
        if (entry->type == ZAB_ENTRY_EPOCH) {
            tree_skip(n->tree, next);
        } else {
            apply_data(n, entry);
        }
        after_entry(n, next);
        n->apply_left -= cost < n->apply_left ? cost : n->apply_left;
    }
    node_snap_maybe_take(n);
    node_step(n, &(struct zab_event){.type = ZAB_EV_APPLIED, .u.index = tree_index(n->tree)});
    node_sync_on_apply(n);
}
