#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "node_int.h" /* zab's positions: to see what a member holds where */
#include "sim.h"

/* What must be true after every step, of one member and between members. Each is cheap: a few
 * comparisons, and work per entry only when an entry is committed for the first time. */

enum {
    AUDIT_STEPS_MIN = 64, /* between two node_audit() of a member, and 4 for each entry read */
    UNREAD_MS_MAX = 400,  /* shorter stalls are not forgiven */
};

bool inv_in_ledger(const struct world *w, uint64_t index, const struct hash128 *chain)
{
    static const struct hash128 zero;

    if (index == 0) {
        return hash128_equal(*chain, zero);
    }
    return index <= w->ledger.count && hash128_equal(ledger_at(&w->ledger, index)->chain, *chain);
}

/* --- commit ---------------------------------------------------------------------------------- */

static bool holds(const struct world *w, const struct sim_disk *d, uint64_t index,
                  const struct hash128 *chain)
{
    struct hash128 own;

    return disk_chain(w, d, index, &own) && hash128_equal(own, *chain);
}

/* A leader that has a lease may answer reads: nothing may be committed behind its back. */
static void check_leases(struct world *w, const struct sim_member *by, uint64_t epoch)
{
    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        const struct sim_member *m = &w->members[id];

        w->counts.checks++;
        if (m->node != NULL && m->view.role == ZAB_LEADER && m->view.epoch < epoch &&
            m->view.lease_until_ms > member_ms(m, w->now_us)) {
            sim_fail(w,
                     "member %u commits in epoch %" PRIu64 " while member %u has a lease in epoch "
                     "%" PRIu64,
                     by->id, epoch, id, m->view.epoch);
        }
    }
}

static void note_entry(struct world *w, const struct sim_entry *e)
{
    struct txn txn;

    if (!w->print || e->body == NULL || wire_txn_decode(e->body->data, e->body->size, &txn) != 0) {
        return;
    }
    sim_note(w,
             "committed %" PRIu64 " epoch=%" PRIu64 " session=%" PRIu64 " op=%d xid=%" PRIu64
             " xid_floor=%" PRIu64,
             w->ledger.count + 1, e->epoch, txn.session, txn.request.op, txn.request.xid,
             txn.request.xid_floor);
    codec_request_done(&txn.request);
}

static void ledger_extend(struct world *w, const struct sim_disk *from, uint64_t index)
{
    while (w->ledger.count < index) {
        const struct sim_entry *e = &from->entries[w->ledger.count - from->base];
        struct ledger_entry entry = {e->epoch, e->type, e->chain, e->body};

        note_entry(w, e);
        w->counts.entries++;
        w->counts.epochs += e->type == ZAB_ENTRY_EPOCH;
        ledger_push(&w->ledger, &entry);
    }
}

/* Epochs of commits only rise: this one is the first of its epoch, if it is. */
static void note_epoch(struct world *w, uint64_t epoch)
{
    if (w->commit_count > 0 && w->commits[w->commit_count - 1].epoch >= epoch) {
        return;
    }
    if (w->commit_count == w->commit_cap) {
        w->commit_cap = 2 * w->commit_cap + 16;
        w->commits = mem_realloc(w->commits, w->commit_cap * sizeof(*w->commits));
    }
    w->commits[w->commit_count++] = (struct sim_commit){epoch, w->ledger.count};
}

/* The first member that knows of a commit. A quorum of disks must hold it, and what the quorum
 * holds becomes the ledger. */
static void first_commit(struct world *w, struct sim_member *m, const struct zab_view *v,
                         const struct zab_pos *pos)
{
    const struct sim_disk *from = NULL;
    struct hash128 chain;
    uint32_t count = 0;

    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        const struct sim_member *k = &w->members[id];

        if (holds(w, &k->disk, pos->index, &pos->chain)) {
            from = from == NULL || k->disk.base <= w->ledger.count ? &k->disk : from;
            count++;
        } else if ((k->lost_told & (1u << m->id)) == 0 &&
                   holds(w, &k->lost, pos->index, &pos->chain)) {
            count++;
        }
    }
    if (count < sim_quorum(w) || from == NULL || from->base > w->ledger.count) {
        sim_fail(w, "member %u commits %" PRIu64 " of epoch %" PRIu64 ", which %u disks hold",
                 m->id, pos->index, pos->epoch, count);
        return;
    }
    if (!disk_chain(w, from, w->ledger.count, &chain) ||
        !inv_in_ledger(w, w->ledger.count, &chain)) {
        sim_fail(w, "member %u commits %" PRIu64 " on another history than was committed", m->id,
                 pos->index);
        return;
    }
    note_epoch(w, v->epoch);
    ledger_extend(w, from, pos->index);
    check_leases(w, m, v->epoch);
}

/* Entries of older epochs commit with a later one only, never by being on a quorum of disks. */
static void check_count(struct world *w, const struct sim_member *m, const struct zab_view *v,
                        const struct zab_pos *pos)
{
    bool counted = v->role == ZAB_LEADER && m->view.role == ZAB_LEADER && v->epoch == m->view.epoch;

    w->counts.checks++;
    if (counted && pos->epoch != v->epoch) {
        sim_fail(w, "member %u leads epoch %" PRIu64 " and commits %" PRIu64 " of epoch %" PRIu64,
                 m->id, v->epoch, pos->index, pos->epoch);
    }
}

static void check_commit(struct world *w, struct sim_member *m, const struct zab_view *v)
{
    struct zab_pos pos;

    if (v->commit < m->view.commit) {
        sim_fail(w, "member %u: commit falls from %" PRIu64 " to %" PRIu64, m->id, m->view.commit,
                 v->commit);
        return;
    }
    if (v->commit == m->view.commit) {
        return;
    }
    if (!zab_pos_at(m->node->zab, v->commit, &pos)) {
        sim_fail(w, "member %u does not hold its commit index %" PRIu64, m->id, v->commit);
    } else if (pos.index > w->ledger.count) {
        first_commit(w, m, v, &pos);
        check_count(w, m, v, &pos);
    } else if (!inv_in_ledger(w, pos.index, &pos.chain)) {
        sim_fail(w, "member %u commits another entry %" PRIu64 " than was committed", m->id,
                 pos.index);
    }
}

/* --- leaders --------------------------------------------------------------------------------- */

/* All that leaders of lower epochs committed. A leader of an old epoch may be late to hear of its
 * votes: it need not hold what came after it. */
static void check_leader_log(struct world *w, struct sim_member *m, const struct zab_view *v)
{
    uint64_t index = w->ledger.count;
    struct zab_pos pos;

    for (size_t i = w->commit_count; i-- > 0 && w->commits[i].epoch >= v->epoch;) {
        index = w->commits[i].before;
    }
    if (v->last.index < index) {
        sim_fail(w, "member %u leads with a log up to %" PRIu64 "; %" PRIu64 " are committed",
                 m->id, v->last.index, index);
    } else if (!zab_pos_at(m->node->zab, index, &pos) || !inv_in_ledger(w, index, &pos.chain)) {
        sim_fail(w, "member %u leads with another entry than was committed at %" PRIu64, m->id,
                 index);
    }
}

static void check_leader(struct world *w, struct sim_member *m, const struct zab_view *v)
{
    if (v->epoch >= w->leader_cap) {
        size_t cap = 2 * v->epoch + 64;

        w->leader_of = mem_realloc(w->leader_of, cap * sizeof(*w->leader_of));
        memset(w->leader_of + w->leader_cap, 0, (cap - w->leader_cap) * sizeof(*w->leader_of));
        w->leader_cap = cap;
    }
    if (w->leader_of[v->epoch] == m->id) {
        return;
    }
    w->counts.leaders++;
    w->counts.checks += 2;
    if (w->leader_of[v->epoch] != 0) {
        sim_fail(w, "members %u and %u both lead epoch %" PRIu64, w->leader_of[v->epoch], m->id,
                 v->epoch);
    }
    w->leader_of[v->epoch] = m->id;
    check_leader_log(w, m, v);
}

/* --- state ----------------------------------------------------------------------------------- */

static void check_digest(struct world *w, struct sim_member *m)
{
    const struct tree *tree = node_tree(m->node);
    uint64_t index = tree_index(tree);
    uint64_t digest;

    if (index == m->tree_seen) {
        return;
    }
    m->tree_seen = index;
    digest = tree_digest(tree) | 1; /* 0 means that nobody was seen there */
    if (index >= w->digest_cap) {
        size_t cap = 2 * index + 1024;

        w->digests = mem_realloc(w->digests, cap * sizeof(*w->digests));
        memset(w->digests + w->digest_cap, 0, (cap - w->digest_cap) * sizeof(*w->digests));
        w->digest_cap = cap;
    }
    if (w->digests[index] == 0) {
        w->digests[index] = digest;
        return;
    }
    w->counts.digests++;
    if (w->digests[index] != digest) {
        sim_fail(w, "member %u has another state at %" PRIu64 " than the first one there", m->id,
                 index);
    }
}

static void check_order(struct world *w, struct sim_member *m, const struct zab_view *v)
{
    if (v->applied > v->commit || v->applied > m->disk.last || v->durable > m->disk.last ||
        v->commit > v->last.index) {
        sim_fail(w,
                 "member %u: applied %" PRIu64 ", commit %" PRIu64 ", durable %" PRIu64
                 ", last %" PRIu64 ", on disk %" PRIu64,
                 m->id, v->applied, v->commit, v->durable, v->last.index, m->disk.last);
    }
    if (v->epoch < m->view.epoch) {
        sim_fail(w, "member %u: promise falls from %" PRIu64 " to %" PRIu64, m->id, m->view.epoch,
                 v->epoch);
    }
}

static void check_snapshot(struct world *w, struct sim_member *m)
{
    const struct store_pos *pos = &m->snap_pos;

    if (m->snapping && !inv_in_ledger(w, pos->index, &pos->chain)) {
        sim_fail(w, "member %u takes a snapshot at %" PRIu64 ", which is not committed", m->id,
                 pos->index);
    }
}

void inv_after(struct world *w, struct sim_member *m)
{
    struct zab_view v;

    node_view(m->node, &v);
    w->counts.checks += 6;
    check_order(w, m, &v);
    if (v.role == ZAB_LEADER && (m->view.role != ZAB_LEADER || m->view.epoch != v.epoch)) {
        check_leader(w, m, &v);
    }
    check_commit(w, m, &v);
    m->view = v;
    check_digest(w, m);
    check_snapshot(w, m);
    if (++m->steps >= m->audit_step) {
        uint64_t window = w->mix.window_entries_max;

        w->counts.audits++;
        node_audit(m->node);
        m->audit_step =
            m->steps + AUDIT_STEPS_MIN + 4 * (v.last.index < window ? v.last.index : window);
    }
    if (m->damaged) {
        damage_look_healed(m);
    }
}

/* A leader that stood still must not hold the silence against a client whose words it has only to
 * read. */
void inv_expired(struct world *w, struct sim_member *m, uint64_t session)
{
    const struct node_attached *a = node_attached_find(m->node, session);

    w->counts.checks++;
    for (size_t i = 0; a != NULL && i < m->deferred_count; i++) {
        const struct sim_event *ev = &m->deferred[i];

        if (ev->kind == EV_CL_REQUEST && ev->x == a->conn->id && ev->bytes != NULL &&
            ev->at_us + UNREAD_MS_MAX * SIM_MS < w->now_us) {
            sim_fail(w, "member %u ends session %" PRIu64 " and has not read what came from it",
                     m->id, session);
        }
    }
}

/* --- messages -------------------------------------------------------------------------------- */

static void check_vote_once(struct world *w, struct sim_member *m, uint64_t epoch,
                            uint32_t candidate)
{
    if (epoch == m->vote_epoch && candidate != m->vote_for) {
        sim_fail(w, "member %u votes for %u and for %u in epoch %" PRIu64, m->id, m->vote_for,
                 candidate, epoch);
    }
    if (epoch >= m->vote_epoch) {
        m->vote_epoch = epoch;
        m->vote_for = candidate;
    }
}

static void check_vote(struct world *w, struct sim_member *m, uint64_t epoch, uint32_t candidate)
{
    if (m->disk.promised < epoch || (m->disk.promised == epoch && m->disk.voted_for != candidate)) {
        sim_fail(w,
                 "member %u tells a vote for %u in epoch %" PRIu64
                 " that is not on its disk (promise %" PRIu64 ", vote %u)",
                 m->id, candidate, epoch, m->disk.promised, m->disk.voted_for);
    }
    check_vote_once(w, m, epoch, candidate);
}

/* What a follower acknowledges is on its disk, and is what its leader has there. */
static void check_ack(struct world *w, struct sim_member *m, const struct zab_msg *msg)
{
    const struct sim_member *leader = &w->members[msg->to];
    struct hash128 own;
    struct zab_pos pos;

    if (msg->durable > m->disk.last) {
        sim_fail(w, "member %u acknowledges %" PRIu64 ", its disk holds %" PRIu64, m->id,
                 msg->durable, m->disk.last);
        return;
    }
    if (leader->node == NULL || leader->view.role != ZAB_LEADER ||
        leader->view.epoch != msg->epoch || !disk_chain(w, &m->disk, msg->durable, &own)) {
        return;
    }
    if (msg->durable > leader->view.last.index ||
        (zab_pos_at(leader->node->zab, msg->durable, &pos) && !hash128_equal(own, pos.chain))) {
        sim_fail(w, "member %u acknowledges %" PRIu64 " to member %u, which has not that entry",
                 m->id, msg->durable, leader->id);
    }
}

static void check_zab(struct world *w, struct sim_member *m, const struct zab_msg *msg)
{
    switch (msg->type) {
    case ZAB_PREVOTE:
    case ZAB_PREVOTE_R:
        return;
    case ZAB_VOTE:
        check_vote(w, m, msg->epoch, m->id);
        return;
    case ZAB_VOTE_R:
        if (msg->granted) {
            check_vote(w, m, msg->epoch, msg->to);
        }
        return;
    case ZAB_ACK:
    case ZAB_HEARTBEAT_R:
        check_ack(w, m, msg);
        break;
    default:
        break;
    }
    if (msg->epoch > m->disk.promised && !(msg->type == ZAB_HELLO && msg->faulty)) {
        sim_fail(w, "member %u speaks in epoch %" PRIu64 " (type %d), its disk promises %" PRIu64,
                 m->id, msg->epoch, msg->type, m->disk.promised);
    }
}

void inv_sent(struct world *w, struct sim_member *m, uint32_t peer, const void *bytes, size_t size)
{
    struct peer_msg msg;

    (void)peer;
    w->counts.checks++;
    if (size > PEER_FRAME_SIZE_MAX) {
        sim_fail(w, "member %u sends a frame of %zu bytes", m->id, size);
        return;
    }
    if (wire_peer_decode(bytes, size, &msg) != 0) {
        sim_fail(w, "member %u sends what cannot be decoded", m->id);
        return;
    }
    if (msg.type == PEER_ZAB) {
        check_zab(w, m, &msg.u.zab);
    }
    peer_msg_done(&msg);
}

/* A leader hears from a follower that it lost its log. */
void inv_arrives(struct world *w, struct sim_member *m, uint32_t from, const void *bytes,
                 size_t size)
{
    struct peer_msg msg;

    if (!w->members[from].damaged || m->view.role != ZAB_LEADER ||
        wire_peer_decode(bytes, size, &msg) != 0) {
        return;
    }
    if (msg.type == PEER_ZAB && msg.u.zab.type == ZAB_HELLO && msg.u.zab.faulty &&
        msg.u.zab.epoch == m->view.epoch) {
        w->members[from].lost_told |= 1u << m->id;
    }
    peer_msg_done(&msg);
}
