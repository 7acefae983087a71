#include "zab_int.h"

/* Broadcast: the leader's entries go to the followers, acknowledgements come back, the commit index
 * moves.
 *
 * The leader sends when it hands its own append to storage, before that is durable, and keeps up to
 * inflight_max PROPOSE messages per follower under way. Exactly one function takes entries in on a
 * follower, on_propose(): whether they bring it up to date or are new makes no difference. It
 * rejects gaps and anything whose chain does not continue its own log, so a repeated, reordered or
 * stale PROPOSE can do no harm. */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* --- own log --------------------------------------------------------------------------------- */

void zab_append(struct zab *z, enum zab_entry_type type, struct blob *body)
{
    const struct zab_pos *last = &z->log.last;
    struct zab_entry entry = {
        .epoch = z->promised, .index = last->index + 1, .type = type, .body = body};

    CHECK(z->role == ZAB_LEADER);
    CHECK(body == NULL || body->size <= ENTRY_SIZE_MAX);
    entry.chain = hash_chain(last->chain, entry.epoch, entry.index, (uint8_t)type,
                             body != NULL ? body->data : NULL, body != NULL ? body->size : 0);
    zab_window_push(&z->log, &entry);
}

/* How many entries from `first` to `last` make one batch. */
static uint32_t batch_count(const struct zab_window *w, uint64_t first, uint64_t last)
{
    uint32_t count = 0;
    size_t size = 0;

    while (first + count <= last && count < BATCH_ENTRIES_MAX && size < BATCH_SIZE_MAX) {
        const struct blob *body = zab_window_at(w, first + count)->entry.body;

        size += body != NULL ? body->size : 0;
        count++;
    }
    return count;
}

void zab_store(struct zab *z)
{
    while (z->stored < z->log.last.index) {
        struct zab_effect *fx = zab_emit(z, ZAB_FX_APPEND);
        uint64_t first = z->stored + 1;
        uint32_t count = batch_count(&z->log, first, z->log.last.index);

        fx->u.append.count = count;
        fx->u.append.entries = zab_entries_copy(&z->log, first, count);
        for (uint32_t i = 0; i < count; i++) {
            zab_window_at(&z->log, first + i)->seq = fx->seq;
        }
        z->stored += count;
    }
}

/* An entry that leaves behind others waits behind them on every disk, and costs each member a sync
 * and several wake-ups of its own when its turn comes. So while there are enough under way to keep
 * the disks busy, the next ones gather and leave together. Not for long: where the others are far
 * away, or a disk is slow, several batches under way are faster than one. */
static bool gathers(const struct zab *z)
{
    return z->stored >= z->commit + z->conf.gather_entries && z->now_ms < z->gather_until_ms;
}

void zab_store_gathered(struct zab *z)
{
    if (z->stored < z->log.last.index && !gathers(z)) {
        z->gather_until_ms = z->now_ms + z->conf.gather_ms;
        zab_store(z);
    }
}

/* --- commit ---------------------------------------------------------------------------------- */

/* Committed, and on disk here: whoever applies more would after a crash have shown what its own log
 * does not hold. */
static void commit_hand(struct zab *z)
{
    uint64_t upto = BUG(B3_APPLY_BEFORE_DURABLE) ? z->commit : min_u64(z->commit, z->durable);

    if (upto > z->handed) {
        zab_emit(z, ZAB_FX_COMMIT)->u.index = upto;
        z->handed = upto;
    }
}

void zab_commit_learn(struct zab *z, uint64_t commit)
{
    uint64_t upto = BUG(X6_COMMIT_BEYOND_MATCH) ? commit : min_u64(commit, z->match);

    z->commit = upto > z->commit ? upto : z->commit;
    commit_hand(z);
}

/* An entry is committed when a quorum has it on disk and it is of this epoch, or before one that
 * is: an older epoch's entry on a quorum can still lose an election (Raft 5.4.2). */
void zab_commit_count(struct zab *z)
{
    uint64_t durable[MEMBERS_MAX];

    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        const struct zab_peer *p = &z->peers[i];

        durable[i] = zab_is_self(z, p) ? z->durable : p->durable;
    }
    uint64_t index = zab_quorum_reached(z, durable);

    if ((index >= z->epoch_index || BUG(X5_OLD_EPOCH_COUNTED)) && index > z->commit) {
        z->commit = index;
    }
    commit_hand(z);
}

void zab_durable_advance(struct zab *z)
{
    while (z->durable < z->stored &&
           zab_window_at(&z->log, z->durable + 1)->seq <= z->seq_durable) {
        z->durable++;
    }
    if (z->role == ZAB_LEADER) {
        zab_commit_count(z);
    } else {
        commit_hand(z);
    }
}

/* --- leader to followers --------------------------------------------------------------------- */

static void propose_send(struct zab *z, struct zab_peer *p)
{
    uint32_t count = batch_count(&z->log, p->next, z->stored);
    struct zab_msg *m = zab_send(z, p->id, ZAB_PROPOSE);

    CHECK(zab_window_pos(&z->log, p->next - 1, &m->last));
    m->sync = p->sync;
    m->commit = z->commit;
    m->entry_count = count;
    m->entries = zab_entries_copy(&z->log, p->next, count);
    p->commit_sent = z->commit;
    p->next += count;
    if (count > 0) {
        p->inflight[p->inflight_count++] = p->next - 1;
    }
}

static void stream(struct zab *z, struct zab_peer *p)
{
    if (p->next <= z->log.base.index) {
        p->state = PEER_SNAP_WANTED; /* it was so slow that the window moved past it */
        p->floor = z->log.base;
        return;
    }
    while (p->greet || (p->next <= z->stored && p->inflight_count < z->conf.inflight_max)) {
        p->greet = false;
        propose_send(z, p);
    }
    /* Writers that wait at a follower wait for this: not until the next heartbeat. */
    if (p->commit_sent < z->commit) {
        zab_heartbeat_send(z, p);
    }
}

static void ack_send(struct zab *z)
{
    uint64_t durable = min_u64(z->durable, z->match);

    if (z->leader != 0 && !z->loading && (z->ack_due || durable > z->acked)) {
        zab_ack_fill(z, zab_send(z, z->leader, ZAB_ACK));
        z->ack_due = false;
        z->acked = durable;
    }
}

void zab_bcast_flush(struct zab *z)
{
    if (BUG(B26_SOLO_ANSWERS_EARLY) && z->conf.member_count == 1) {
        z->durable = z->stored;
        zab_durable_advance(z);
    }
    if (z->role != ZAB_LEADER) {
        ack_send(z);
        return;
    }
    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        if (z->peers[i].state == PEER_STREAM) {
            stream(z, &z->peers[i]);
        }
    }
    zab_sync_snapshots(z);
}

/* Entries of this very epoch's log, once durable there, stay so: an ACK is true however late it
 * comes, unless the follower lost its log since. Only the flow control needs to know which stream
 * it belongs to; it counts what is on disk there, so a follower with a slow disk is not sent more
 * than it can hold. */
void zab_on_ack(struct zab *z, struct zab_peer *p, const struct zab_msg *m)
{
    uint32_t done = 0;

    if (m->durable > m->received || m->received > z->log.last.index) {
        return;
    }
    p->heard_ms = z->now_ms;
    if (m->sync == p->sync) {
        while (done < p->inflight_count && p->inflight[done] <= m->durable) {
            done++;
        }
        p->inflight_count -= done;
        for (uint32_t i = 0; i < p->inflight_count; i++) {
            p->inflight[i] = p->inflight[i + done];
        }
    }
    if (m->durable > p->durable && m->round >= p->round_min) {
        p->durable = m->durable;
        zab_commit_count(z);
    }
}

/* --- follower -------------------------------------------------------------------------------- */

void zab_ack_fill(const struct zab *z, struct zab_msg *m)
{
    m->received = z->match;
    m->durable = BUG(B1_ACK_BEFORE_SYNC) ? z->match : min_u64(z->durable, z->match);
    m->sync = z->sync;
    m->round = z->round_heard;
}

/* Do the entries continue `prev` and each other? The leader's numbers are not believed: each chain
 * is computed again. */
static bool entries_sound(const struct zab_msg *m)
{
    struct zab_pos at = m->last;

    for (uint32_t i = 0; i < m->entry_count; i++) {
        const struct zab_entry *e = &m->entries[i];
        struct hash128 chain =
            hash_chain(at.chain, e->epoch, e->index, (uint8_t)e->type,
                       e->body != NULL ? e->body->data : NULL, e->body != NULL ? e->body->size : 0);

        if (e->index != at.index + 1 || e->epoch < at.epoch || e->epoch > m->epoch ||
            (e->type != ZAB_ENTRY_DATA && e->type != ZAB_ENTRY_EPOCH) ||
            !hash128_equal(chain, e->chain)) {
            return false;
        }
        at = zab_entry_pos(e);
    }
    return true;
}

/* Number of leading entries that the own log holds, or its snapshot covers. False: one of them
 * differs from the own entry there, or the entries do not connect. */
static bool entries_known(const struct zab *z, const struct zab_msg *m, uint32_t *ret_known)
{
    uint32_t known = 0;

    if (m->last.index >= z->log.base.index && !zab_window_has(&z->log, &m->last)) {
        return false;
    }
    for (; known < m->entry_count && m->entries[known].index <= z->log.last.index; known++) {
        struct zab_pos at = zab_entry_pos(&m->entries[known]);

        if (at.index >= z->log.base.index && !zab_window_has(&z->log, &at)) {
            return false;
        }
    }
    *ret_known = known;
    return true;
}

void zab_on_propose(struct zab *z, const struct zab_msg *m)
{
    uint64_t end = m->last.index + m->entry_count;
    uint32_t known = 0;
    bool connects;

    /* What a full disk cannot take in would only fill the memory: it is asked for again later. */
    if (z->loading || z->full || !zab_sound(z) || !entries_sound(m)) {
        return;
    }
    connects = entries_known(z, m, &known);
    if (!connects && BUG(B4_GAP_ACCEPTED)) {
        known = m->entry_count;
    } else if (!connects) {
        if (m->sync == z->sync) {
            zab_hello(z); /* a gap, or another history; later ones of this stream say nothing new */
        }
        return;
    }
    for (uint32_t i = known; i < m->entry_count; i++) {
        zab_window_push(&z->log, &m->entries[i]);
    }
    zab_store(z);
    z->match = end > z->match ? end : z->match;
    z->ack_due = z->ack_due || known == m->entry_count;
    zab_commit_learn(z, m->commit);
}
