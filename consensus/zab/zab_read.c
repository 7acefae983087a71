#include "zab_int.h"

#include "mem.h"

/* Heartbeats, and what rests on them.
 *
 * The leader sends a numbered round of heartbeats every heartbeat_ms. From the answers it knows
 * that it leads still: check-quorum  no quorum heard for election_min_ms: it steps down
 * (zab_lead_tick); lease         a member that answered a round sent at time t, which asked for a
 * lease, gives no vote before t + lease_ms on its own clock, so until then, less the drift of two
 * clocks, no other leader can have committed anything; rounds ask while reads come, so that an
 * ensemble without any elects without waiting; ReadIndex     a round that began after a read came
 * in and was answered by a quorum proves the same without any clock (Raft 6.4).
 *
 * A read is answered with the leader's commit index of a moment after the read came in. A follower
 * sends all reads of one turn as one READ; the leader lets all that wait share a round. Reads never
 * outlive their leader, their epoch, or election_max_ms: they fail, and the caller may ask again.
 */

/* --- leader: heartbeats ---------------------------------------------------------------------- */

void zab_heartbeat_send(struct zab *z, struct zab_peer *p)
{
    struct zab_msg *m = zab_send(z, p->id, ZAB_HEARTBEAT);

    m->commit = z->commit;
    m->round = z->round;
    m->lease = z->round_lease_ms[z->round % ZAB_ROUNDS_KEPT] != 0;
    m->digest_index = z->digest_index;
    m->digest = z->digest;
    if (p->state == PEER_STREAM) {
        (void)zab_window_pos(&z->log, p->next - 1, &m->last);
    }
    if (p->state != PEER_UNKNOWN && p->state != PEER_PROBE) {
        m->sync = p->sync;
    }
    p->commit_sent = z->commit;
}

bool zab_round_complete(const struct zab *z, uint64_t round)
{
    uint64_t rounds[MEMBERS_MAX];

    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        const struct zab_peer *p = &z->peers[i];

        rounds[i] = zab_is_self(z, p) ? z->round : p->round;
    }
    return zab_quorum_reached(z, rounds) >= round;
}

void zab_round_start(struct zab *z)
{
    z->round++;
    z->round_lease_ms[z->round % ZAB_ROUNDS_KEPT] = z->now_ms < z->lease_wanted_ms ? z->now_ms : 0;
    z->heartbeat_at_ms = z->now_ms + z->conf.heartbeat_ms;
    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        if (!zab_is_self(z, &z->peers[i])) {
            zab_heartbeat_send(z, &z->peers[i]);
        }
    }
}

void zab_lead_tick(struct zab *z)
{
    uint64_t heard[MEMBERS_MAX];

    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        heard[i] = zab_is_self(z, &z->peers[i]) ? z->now_ms : z->peers[i].heard_ms;
    }
    if (z->now_ms - zab_quorum_reached(z, heard) >= z->conf.election_min_ms) {
        zab_become(z, ZAB_FOLLOWER, 0);
        return;
    }
    if (z->now_ms >= z->heartbeat_at_ms) {
        zab_round_start(z);
    }
}

uint64_t zab_lease_until(const struct zab *z)
{
    uint64_t sent[MEMBERS_MAX];
    uint64_t length_ms =
        (uint64_t)z->conf.lease_ms * (100 - 2 * (uint64_t)ZAB_CLOCK_DRIFT_PERCENT) / 100;

    /* Both clocks show whole milliseconds. */
    length_ms = length_ms > 2 ? length_ms - 2 : 0;
    if (BUG(X3_LEASE_WITHOUT_DRIFT)) {
        length_ms = z->conf.lease_ms;
    }

    if (z->role != ZAB_LEADER) {
        return 0;
    }
    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        sent[i] = zab_is_self(z, &z->peers[i]) ? z->now_ms : z->peers[i].lease_ms;
    }
    uint64_t from_ms = zab_quorum_reached(z, sent);

    return from_ms > 0 ? from_ms + length_ms : 0;
}

void zab_on_heartbeat_r(struct zab *z, struct zab_peer *p, const struct zab_msg *m)
{
    if (m->round > z->round) {
        return;
    }
    p->heard_ms = z->now_ms;
    if (m->round > p->round) {
        p->round = m->round;
        uint64_t sent_ms = z->round - m->round < ZAB_ROUNDS_KEPT
                               ? z->round_lease_ms[m->round % ZAB_ROUNDS_KEPT]
                               : 0;

        if (sent_ms != 0 && m->round >= p->round_min) {
            p->lease_ms = BUG(X2_LEASE_FROM_ANSWER) ? z->now_ms : sent_ms;
        }
    }
    zab_on_ack(z, p, m); /* makes up for lost ACKs */
}

/* --- follower: heartbeats -------------------------------------------------------------------- */

void zab_on_heartbeat(struct zab *z, const struct zab_msg *m)
{
    zab_commit_learn(z, m->commit);
    if (m->round > z->round_heard) {
        z->round_heard = m->round;
        /* A fresh member would answer for a promise that it may have forgotten. One whose disk is
         * full would keep a leader in office that cannot commit. */
        if (z->fresh == 0 && !z->full) {
            z->quiet_until_ms = m->lease ? z->now_ms + z->conf.lease_ms : z->quiet_until_ms;
            zab_ack_fill(z, zab_send(z, z->leader, ZAB_HEARTBEAT_R));
        }
    }
    if (m->digest_index > z->digest_heard) {
        struct zab_effect *fx = zab_emit(z, ZAB_FX_DIGEST);

        fx->u.digest.index = m->digest_index;
        fx->u.digest.digest = m->digest;
        z->digest_heard = m->digest_index;
    }
    zab_hello_if_lost(z, m);
}

/* --- reads ----------------------------------------------------------------------------------- */

static void read_answer(struct zab *z, const struct zab_read *r, uint64_t index)
{
    if (r->peer != 0) {
        struct zab_msg *m = zab_send(z, r->peer, ZAB_READ_R);

        m->read = r->id;
        m->commit = index;
    } else {
        struct zab_effect *fx = zab_emit(z, ZAB_FX_READ_READY);

        fx->u.read.id = r->id;
        fx->u.read.index = index;
    }
}

/* A follower whose READ gets no answer fails its reads by itself. */
static void read_fail(struct zab *z, uint32_t peer, uint64_t id)
{
    if (peer == 0) {
        zab_emit(z, ZAB_FX_READ_FAILED)->u.read.id = id;
    }
}

void zab_read_add(struct zab *z, uint32_t peer, uint64_t id, bool quorum)
{
    if (z->leader == 0 || z->read_count == ZAB_READS_MAX) {
        read_fail(z, peer, id);
        return;
    }
    if (z->read_count == z->read_cap) {
        z->read_cap = z->read_cap == 0 ? 16 : z->read_cap * 2;
        z->reads = mem_realloc(z->reads, z->read_cap * sizeof(*z->reads));
    }
    if (!quorum) {
        z->lease_wanted_ms = z->now_ms + z->conf.election_max_ms;
    }
    z->reads[z->read_count++] = (struct zab_read){
        .peer = peer,
        .id = id,
        .quorum = quorum,
        .deadline_ms = z->now_ms + z->conf.election_max_ms,
    };
}

static void reads_drop_first(struct zab *z, size_t count)
{
    z->read_count -= count;
    for (size_t i = 0; i < z->read_count; i++) {
        z->reads[i] = z->reads[i + count];
    }
}

void zab_read_expire(struct zab *z)
{
    size_t count = 0;

    for (; count < z->read_count && z->reads[count].deadline_ms <= z->now_ms; count++) {
        read_fail(z, z->reads[count].peer, z->reads[count].id);
    }
    if (count > 0) {
        reads_drop_first(z, count);
    }
}

void zab_read_fail_all(struct zab *z)
{
    for (size_t i = 0; i < z->read_count; i++) {
        read_fail(z, z->reads[i].peer, z->reads[i].id);
    }
    z->read_count = 0;
}

void zab_on_read_r(struct zab *z, const struct zab_msg *m)
{
    size_t kept = 0;

    if (z->role != ZAB_FOLLOWER || m->epoch != z->promised || m->from != z->leader) {
        return;
    }
    for (size_t i = 0; i < z->read_count; i++) {
        if (z->reads[i].wire != 0 && z->reads[i].wire == m->read) {
            read_answer(z, &z->reads[i], m->commit);
        } else {
            z->reads[kept++] = z->reads[i];
        }
    }
    z->read_count = kept;
}

/* All reads of this turn in one READ; those that a lease cannot answer in another. */
static void reads_send(struct zab *z, bool quorum)
{
    uint64_t wire = 0;

    for (size_t i = 0; i < z->read_count; i++) {
        struct zab_read *r = &z->reads[i];

        if (r->wire == 0 && r->quorum == quorum) {
            if (BUG(B13_READ_ID_REUSED)) {
                wire = z->read_wire;
            }
            wire = wire != 0 ? wire : ++z->read_wire;
            r->wire = wire;
        }
    }
    if (wire != 0) {
        struct zab_msg *m = zab_send(z, z->leader, ZAB_READ);

        m->read = wire;
        m->quorum = quorum;
    }
}

/* Reads that came since the last turn wait for the next round. One round is under way at a time:
 * the next one starts when a quorum answered it, or at the heartbeat interval. */
static void reads_assign_round(struct zab *z)
{
    bool waiting = false;

    for (size_t i = 0; i < z->read_count; i++) {
        struct zab_read *r = &z->reads[i];

        if (r->round == 0) {
            r->round = z->round + 1;
            r->index = z->commit;
        }
        waiting = waiting || r->round > z->round;
    }
    if (waiting && zab_round_complete(z, z->round)) {
        zab_round_start(z);
    }
}

static void reads_answer_ready(struct zab *z)
{
    bool leased = zab_lease_until(z) > z->now_ms || BUG(X4_LEASE_NEVER_ENDS);
    size_t kept = 0;

    for (size_t i = 0; i < z->read_count; i++) {
        struct zab_read *r = &z->reads[i];

        if ((leased && !r->quorum) || (r->round != 0 && zab_round_complete(z, r->round))) {
            read_answer(z, r, r->round != 0 ? r->index : z->commit);
        } else {
            z->reads[kept++] = *r;
        }
    }
    z->read_count = kept;
}

void zab_read_flush(struct zab *z)
{
    if (z->read_count == 0 || z->leader == 0 || z->fresh != 0) {
        return;
    }
    if (z->role != ZAB_LEADER) {
        reads_send(z, false);
        reads_send(z, true);
    } else if (zab_serving(z)) {
        reads_answer_ready(z); /* what the lease answers needs no round */
        reads_assign_round(z);
        reads_answer_ready(z); /* a single member has completed its round */
    }
}
