#include "zab_int.h"

/* Election.
 *
 * A member that hears no leader for a random time asks all others whether they would vote for it
 * (PREVOTE). That changes nothing anywhere, so a member that was cut off and returns cannot disturb
 * a leader that the others hear. With a quorum of assents it takes the next epoch, makes that and
 * the vote for itself durable, and asks for votes (VOTE). A vote is also the promise to hear no
 * leader of an older epoch any more, and is durable before it is told. A quorum of votes makes the
 * leader.
 *
 * Assent and vote are given only to a log at least as new as the voter's own, so the winner's log
 * holds every committed entry; only by a voter that has heard no leader for election_min_ms, or
 * whose stream to it has ended; and in no case for lease_ms after the voter answered a heartbeat
 * that asked for a lease (zab_read.c).
 *
 * A stream that ends is a hint: a process that is killed ends all of its streams at once. Whoever
 * sees that of its leader, or is new and sees enough of the others to elect, campaigns soon. If it
 * was only the link, the others hear the leader and refuse.
 *
 * A fresh member's log is empty because the ensemble is new, or because its disk is. Its assent
 * does not make a quorum, and it has no vote, except in a campaign that founds the ensemble
 * (forming): all members assent, to a log that is empty or a restored state alone, none of them
 * having more than that, and each in answer to a question that was asked
 * when the fresh members' present lives were known. Then no member holds or leads with anything
 * that a former life of another helped to commit. The vote names the fresh voter's life, so that
 * no later one is meant. With its first durable vote a member is not fresh any more. */

enum {
    HURRIES = 3,    /* early campaigns in a row, at most, and in any election_min_ms */
    HURRY_PART = 8, /* of heartbeat_ms: what two of them are apart, at least */
};

void zab_elect_rearm(struct zab *z)
{
    uint64_t min = z->conf.election_min_ms;
    uint64_t spread = z->conf.election_max_ms - min;

    z->patience_ms = min + prng_below(&z->prng, spread + 1);
    z->elect_at_ms = z->now_ms + z->patience_ms;
    if (z->conf.member_count == 1 && !z->faulty && !z->full) {
        z->elect_at_ms = z->now_ms; /* nobody else can be leading */
    }
}

void zab_elect_heard(struct zab *z)
{
    z->heard_ms = z->now_ms;
    z->parted = false;
    z->elect_at_ms = z->now_ms + z->patience_ms;
}

/* The next campaign begins between `least_ms` and twice that from now, or from the end of what was
 * promised to a lease. Random, so that those who saw the same do not all campaign at once. */
static void hurry_arm(struct zab *z, uint64_t least_ms)
{
    uint64_t from = z->quiet_until_ms > z->now_ms ? z->quiet_until_ms : z->now_ms;
    uint64_t at = from + least_ms + prng_below(&z->prng, least_ms + 1);

    z->elect_at_ms = at < z->elect_at_ms ? at : z->elect_at_ms;
}

static uint64_t hurry_ms(const struct zab *z)
{
    return 1 + z->conf.heartbeat_ms / HURRY_PART;
}

/* However often streams end, early campaigns are few: HURRIES in any election_min. */
static void hurry(struct zab *z)
{
    if (z->now_ms >= z->hurry_after_ms) {
        z->hurries = HURRIES;
        z->hurry_after_ms = z->now_ms + z->conf.election_min_ms;
    }
    if (z->hurries > 0) {
        z->hurries--;
        hurry_arm(z, hurry_ms(z));
    }
}

/* A campaign that was not decided is repeated after a shorter random time; when it began early, a
 * few times very soon: the others may see only now what began it, and two may have had the same
 * thought. */
static void retry_arm(struct zab *z)
{
    uint64_t half = z->conf.election_min_ms / 2;

    z->elect_at_ms = z->now_ms + half + prng_below(&z->prng, half + 1);
    if (z->hurries > 0 && z->role == ZAB_PRECANDIDATE) {
        z->hurries--;
        hurry_arm(z, 2 * hurry_ms(z));
    } else if (z->hurries > 0) {
        hurry_arm(z, z->conf.heartbeat_ms); /* votes wait for disks */
    }
}

void zab_elect_begin(struct zab *z, uint64_t start_ms)
{
    /* Promises to a lease are kept in memory only: the life before may have given one at its very
     * end. A fresh member's vote counts only where no member can have a lease, and who is alone
     * owes nobody anything. */
    bool bound = z->fresh == 0 && z->conf.member_count > 1 && !BUG(B15_RESTART_FORGETS_LEASE);

    CHECK(start_ms <= z->now_ms);
    z->quiet_until_ms = bound ? start_ms + z->conf.lease_ms : 0;
    z->heard_ms = z->now_ms;
    z->parted = true;
    zab_elect_rearm(z);
}

/* The leader may be dead, or only the link. Assent is asked for early and given early: those that
 * still hear the leader refuse. What was promised to its lease holds in any case. */
void zab_elect_parted(struct zab *z)
{
    z->parted = true;
    if (BUG(X41_STREAM_ENDS_LEASE)) {
        z->quiet_until_ms = 0;
    }
    hurry(z);
}

/* Enough are there to elect, and who leads would have spoken before the short wait is over. */
static bool complete(const struct zab *z)
{
    uint32_t up = 1;

    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        up += z->peers[i].up;
    }
    return up >= (zab_unformed(z) ? z->conf.member_count : zab_quorum(z));
}

/* The place in the log that elections compare: a member that cannot read part of its log answers
 * for all that it once held. */
static struct zab_pos position(const struct zab *z)
{
    struct zab_pos at = z->faulty ? z->claimed : z->log.last;

    at.index = z->faulty ? z->claimed_vote : at.index;
    return at;
}

/* --- candidate ------------------------------------------------------------------------------- */

static void ask(struct zab *z, const struct zab_peer *p)
{
    bool pre = z->role == ZAB_PRECANDIDATE;
    struct zab_msg *m = zab_send(z, p->id, pre ? ZAB_PREVOTE : ZAB_VOTE);

    m->epoch = pre ? z->epoch_seen + 1 : z->promised;
    m->last = z->log.last;
    if (BUG(B2_EPOCH_BEFORE_HISTORY)) {
        m->last.epoch = m->epoch - 1;
    }
    m->round = pre ? z->prevote_round : 0;
    m->fresh = z->forming ? p->fresh : 0;
    m->unformed = zab_unformed(z);
}

static void campaign(struct zab *z, enum zab_role role)
{
    CHECK(z->now_ms >= z->quiet_until_ms); /* it counts its own assent and vote */
    zab_become(z, role, 0);
    z->epoch_seen = z->promised > z->epoch_seen ? z->promised : z->epoch_seen;
    if (role == ZAB_PRECANDIDATE) {
        z->prevote_round++;
        z->forming = false;
    }
    if (role == ZAB_CANDIDATE) {
        zab_save_vote(z, z->epoch_seen + 1, z->conf.self);
        z->epoch_seen = z->promised;
    }
    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        struct zab_peer *p = &z->peers[i];

        /* The own assent is at once; the own vote counts when it is durable. */
        p->prevoted = role == ZAB_PRECANDIDATE && zab_is_self(z, p);
        p->voted = false;
        if (!zab_is_self(z, p)) {
            ask(z, p);
        }
    }
    retry_arm(z);
}

static void prevotes_count(struct zab *z)
{
    uint32_t all = 0;
    uint32_t sound = 0;
    bool lives_known = true; /* before this round was asked */

    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        const struct zab_peer *p = &z->peers[i];
        bool fresh = zab_is_self(z, p) ? z->fresh != 0 : p->fresh != 0;

        all += p->prevoted;
        sound += p->prevoted && !fresh;
        lives_known = lives_known && (p->fresh == 0 || p->fresh_round < z->prevote_round);
    }
    /* Without an entry nobody can tell whether a member that is silent holds a restored state: then
     * only all of them together found the ensemble, with the newest of what they have. */
    if (!zab_unformed(z) && sound >= zab_quorum(z)) {
        campaign(z, ZAB_CANDIDATE);
    } else if (zab_unformed(z) && all == z->conf.member_count) {
        z->forming = lives_known;
        campaign(z, lives_known ? ZAB_CANDIDATE : ZAB_PRECANDIDATE);
    }
}

static void votes_count(struct zab *z)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        count += z->peers[i].voted;
    }
    if (count >= zab_quorum(z)) {
        zab_become(z, ZAB_LEADER, z->conf.self);
    }
}

void zab_elect_tick(struct zab *z)
{
    if (z->now_ms < z->elect_at_ms) {
        return;
    }
    if (z->faulty || z->loading || z->full) {
        zab_become(z, ZAB_FOLLOWER, 0);
        return;
    }
    campaign(z, ZAB_PRECANDIDATE);
    prevotes_count(z);
}

void zab_elect_durable(struct zab *z)
{
    if (z->role != ZAB_CANDIDATE || z->seq_durable < z->vote_seq) {
        return;
    }
    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        z->peers[i].voted = z->peers[i].voted || zab_is_self(z, &z->peers[i]);
    }
    votes_count(z);
}

void zab_elect_link_up(struct zab *z, struct zab_peer *p)
{
    bool asking = z->role == ZAB_PRECANDIDATE || z->role == ZAB_CANDIDATE;

    if (asking && !p->prevoted && !p->voted) {
        ask(z, p);
    } else if (!asking && z->leader == 0 && complete(z)) {
        hurry(z);
    }
}

void zab_on_prevote_r(struct zab *z, struct zab_peer *p, const struct zab_msg *m)
{
    if (z->role != ZAB_PRECANDIDATE || m->round != z->prevote_round) {
        return;
    }
    if (m->fresh != p->fresh) {
        p->fresh = m->fresh;
        p->fresh_round = m->round;
    }
    if (m->granted) {
        p->prevoted = true;
        prevotes_count(z);
    }
}

void zab_on_vote_r(struct zab *z, struct zab_peer *p, const struct zab_msg *m)
{
    if (z->role == ZAB_CANDIDATE && m->epoch == z->promised && m->granted) {
        p->voted = true;
        votes_count(z);
    }
}

/* --- voter ----------------------------------------------------------------------------------- */

/* Positions compare within one history. A restored state is of another one, whose numbers may be
 * higher than any here: nobody who has something of a leader's votes for it. */
static bool would_vote(const struct zab *z, const struct zab_msg *m)
{
    const struct zab_pos *candidate = &m->last;
    bool stranger = m->unformed && !zab_unformed(z);
    struct zab_pos own = position(z);
    bool older =
        BUG(X7_LONGEST_LOG_WINS) ? candidate->index < own.index : zab_pos_before(candidate, &own);
    bool hears = !z->parted && z->now_ms - z->heard_ms < z->conf.election_min_ms;
    bool led = (hears || z->now_ms < z->quiet_until_ms) && !BUG(X8_VOTE_UNDER_LEADER);

    /* On a full disk no vote could become durable. */
    return z->role != ZAB_LEADER && !z->loading && !z->full && !led && !older && !stranger;
}

/* The epoch asked about is no reason to refuse: the answer tells the own promise, and the campaign
 * goes above the highest of them. */
void zab_on_prevote(struct zab *z, const struct zab_msg *m)
{
    bool granted = would_vote(z, m);
    struct zab_msg *answer = zab_send(z, m->from, ZAB_PREVOTE_R);

    answer->epoch = m->epoch;
    answer->round = m->round;
    answer->promised = z->promised;
    answer->granted = granted;
    answer->fresh = z->fresh;
}

void zab_on_vote(struct zab *z, const struct zab_msg *m)
{
    bool again = m->epoch == z->promised && z->voted_for == m->from;
    bool asked = z->fresh == 0 || m->fresh == z->fresh;
    bool granted = asked && (m->epoch > z->promised || again) && would_vote(z, m);

    if (granted && !again) {
        zab_save_vote(z, m->epoch, m->from);
        zab_become(z, ZAB_FOLLOWER, 0);
    }
    struct zab_msg *answer = zab_send(z, m->from, ZAB_VOTE_R);

    answer->epoch = m->epoch;
    answer->promised = z->promised;
    answer->granted = granted;
}
