#include "zab_int.h"

/* Synchronisation: a follower's log is brought to the leader's before anything else.
 *
 * The follower says with HELLO where its log ends. The leader has the same entry there: it streams
 * what comes after (DIFF). It has not: it names the newest place of its own that can be common, and
 * the follower cuts there (TRUNC) and says HELLO again, or, if it has another entry there, names in
 * turn its newest place that can be common. Each of these lies before the last one by (epoch,
 * index), so it ends. The place is before the leader's window: the leader's whole applied state is
 * sent (SNAP).
 *
 * What a stale or repeated message could destroy is guarded twice. TRUNC and SNAP count only under
 * the number of the last HELLO; and nothing up to `match`, the part of the log known to equal the
 * leader's, is ever cut, since it may have been acknowledged.
 *
 * A follower that lost part of its log or all of it (faulty, fresh) takes a SNAP before anything
 * else. It may once have acknowledged what it lost. So the state must hold all that is committed,
 * acknowledgements that were sent before do not count any more, and the leader first makes sure
 * that it leads still: the follower may have lost its promise to a later one. */

static void hello_at(struct zab *z, const struct zab_pos *at)
{
    struct zab_msg *m = zab_send(z, z->leader, ZAB_HELLO);

    m->last = *at;
    m->received = z->log.last.index;
    m->commit = z->commit;
    m->sync = ++z->sync;
    m->faulty = !zab_sound(z);
    z->hello_ms = z->now_ms;
}

/* What a state must hold to take the place of the own log. Of a faulty member: all that it once
 * held. Of a fresh one, which cannot know: the first entry of the leader, and so all that was
 * committed before; what was later, the leader knows. */
static struct zab_pos owed(const struct zab *z)
{
    if (BUG(X10_DAMAGE_FORGOTTEN)) {
        return z->log.last;
    }
    return z->faulty ? z->claimed : (struct zab_pos){.epoch = z->promised};
}

void zab_hello(struct zab *z)
{
    struct zab_pos at = zab_sound(z) ? z->log.last : owed(z);

    if (!z->loading && z->now_ms >= z->hello_not_before_ms) {
        hello_at(z, &at);
    }
}

/* The leader would send all of it again, at once, as often as it is asked. */
void zab_on_snap_failed(struct zab *z)
{
    z->hello_not_before_ms = z->now_ms + 10 * (uint64_t)z->conf.election_max_ms;
}

/* At a heartbeat: the leader waits for a HELLO, so ours or its answer was lost; or it has sent more
 * than we know to have of its log, and nothing came since the heartbeat before. */
void zab_hello_if_lost(struct zab *z, const struct zab_msg *heartbeat)
{
    bool unheard = heartbeat->sync != z->sync;
    bool tail_lost = heartbeat->last.index > z->match && z->match_seen == z->match;

    z->match_seen = z->match;
    if ((unheard || (tail_lost && !z->full)) &&
        z->now_ms - z->hello_ms >= z->conf.election_min_ms / 2) {
        zab_hello(z);
    }
}

/* --- leader ---------------------------------------------------------------------------------- */

/* The newest own place that may also be in the follower's log, whose entry `at` is not in ours. */
static bool common_place(const struct zab_window *w, const struct zab_pos *at, struct zab_pos *ret)
{
    uint64_t index = at->index < w->last.index ? at->index : w->last.index;
    struct zab_pos pos;

    for (; zab_window_pos(w, index, &pos); index--) {
        if (pos.epoch <= at->epoch && zab_pos_before(&pos, at)) {
            *ret = pos;
            return true;
        }
        if (index == 0) {
            break;
        }
    }
    return false;
}

static void trunc_send(struct zab *z, struct zab_peer *p, const struct zab_pos *at)
{
    struct zab_msg *m = zab_send(z, p->id, ZAB_TRUNC);

    m->last = *at;
    m->sync = p->sync;
    p->state = PEER_PROBE;
}

/* The follower lost its log. Of what it says, only what it cannot have said before counts: a round
 * that starts from now on tells. Of its promise to a lease it may know nothing, too: when it has
 * the state it may vote. */
static void forget(struct zab *z, struct zab_peer *p)
{
    if (BUG(X11_OLD_ACKS_COUNT)) {
        return;
    }
    p->durable = 0;
    p->lease_ms = 0;
    p->round_min = z->round + 1;
}

void zab_on_hello(struct zab *z, struct zab_peer *p, const struct zab_msg *m)
{
    struct zab_pos at;

    if (m->faulty) {
        forget(z, p);
    } else {
        p->heard_ms = z->now_ms;
    }
    if (p->state == PEER_SNAP_SENDING || (p->state != PEER_UNKNOWN && m->sync == p->sync)) {
        return;
    }
    p->sync = m->sync;
    p->inflight_count = 0;
    if (m->faulty) {
        CHECK(zab_window_pos(&z->log, z->commit, &at));
        p->state = PEER_SNAP_WANTED;
        p->floor = zab_pos_before(&at, &m->last) ? m->last : at;
    } else if (zab_window_has(&z->log, &m->last)) {
        if (m->received > m->last.index) {
            trunc_send(z, p, &m->last);
            return;
        }
        p->state = PEER_STREAM;
        p->next = m->last.index + 1;
        p->greet = true;
        if (BUG(B7_COUNTS_WHILE_SYNCED)) {
            p->durable = z->log.last.index;
        }
    } else if (common_place(&z->log, &m->last, &at)) {
        trunc_send(z, p, &at);
    } else {
        p->state = PEER_SNAP_WANTED;
        p->floor = z->log.base;
    }
}

void zab_sync_snapshots(struct zab *z)
{
    struct zab_pos applied;

    CHECK(zab_window_pos(&z->log, z->applied, &applied));
    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        struct zab_peer *p = &z->peers[i];

        if (p->state == PEER_SNAP_WANTED && !zab_pos_before(&applied, &p->floor) &&
            zab_round_complete(z, p->round_min)) {
            struct zab_effect *fx = zab_emit(z, ZAB_FX_SNAP_SEND);

            fx->u.snap.peer = p->id;
            fx->u.snap.epoch = z->promised;
            fx->u.snap.sync = p->sync;
            p->state = PEER_SNAP_SENDING;
        }
    }
}

/* --- follower -------------------------------------------------------------------------------- */

static void truncate(struct zab *z, const struct zab_pos *at)
{
    CHECK(at->index >= z->commit); /* committed entries are in every leader's log */
    CHECK(at->index >= z->match);
    if (at->index < z->log.last.index) {
        zab_emit(z, ZAB_FX_TRUNCATE)->u.index = at->index;
        zab_window_cut(&z->log, at->index);
        z->stored = at->index;
        z->durable = z->durable < at->index ? z->durable : at->index;
    }
    z->match = at->index;
}

/* The newest own place at or before `at`: it cannot lie before the committed part, which is common.
 */
static struct zab_pos place_before(const struct zab *z, const struct zab_pos *at)
{
    struct zab_pos pos;

    for (uint64_t index = at->index;; index--) {
        CHECK(index >= z->commit);
        CHECK(zab_window_pos(&z->log, index, &pos));
        if (pos.epoch <= at->epoch) {
            return pos;
        }
    }
}

void zab_on_trunc(struct zab *z, const struct zab_msg *m)
{
    if (m->sync != z->sync || z->loading || !zab_sound(z) || m->last.index > z->log.last.index) {
        return;
    }
    if (z->restored != 0 && zab_unformed(z)) {
        return; /* as one piece: kept as it is, or replaced */
    }
    CHECK(m->last.index >= z->commit);
    if (m->last.index < z->match) {
        return;
    }
    if (zab_window_has(&z->log, &m->last)) {
        truncate(z, &m->last);
        zab_hello(z);
    } else {
        struct zab_pos at = place_before(z, &m->last);

        hello_at(z, &at);
    }
}

bool zab_snap_accept(struct zab *z, uint32_t from, uint64_t epoch, uint64_t sync,
                     const struct zab_pos *pos, uint64_t *ret_seq)
{
    struct zab_pos least = owed(z);

    if (z->role != ZAB_FOLLOWER || z->leader != from || z->promised != epoch || z->sync != sync ||
        z->loading || pos->epoch > epoch || pos->index < z->match) {
        return false;
    }
    /* A lost log must not be replaced by less than it may have held: the member would then vote as
     * if it never had acknowledged the rest. A sound one has no use for what it has. */
    if (zab_sound(z) ? pos->index == z->match : zab_pos_before(pos, &least)) {
        return false;
    }
    z->loading = true;
    z->loading_pos = *pos;
    z->loading_seq = ++z->seq;
    *ret_seq = z->loading_seq;
    return true;
}

void zab_on_snap_loaded(struct zab *z, const struct zab_pos *pos, uint64_t seq)
{
    CHECK(z->loading);
    CHECK(z->loading_seq == seq);
    CHECK(zab_pos_equal(&z->loading_pos, pos));
    CHECK(z->seq_durable >= seq);
    CHECK(pos->index >= z->handed || zab_unformed(z)); /* a restored state is given up */
    z->loading = false;
    z->faulty = false;
    z->restored = 0;
    zab_window_done(&z->log);
    zab_window_init(&z->log, pos);
    z->stored = z->durable = z->match = pos->index;
    z->snapshot = z->commit = z->handed = z->applied = pos->index;
    if (z->fresh != 0) {
        zab_save_vote(z, z->promised, 0);
    }
    if (z->leader != 0) {
        zab_hello(z);
    }
}
