#include "zab_int.h"

#include "mem.h"

/* One step: event in, effects out.
 *
 * Happy path of a write. The leader's caller steps PROPOSE for each request and FLUSH at the end of
 * its turn; out come an APPEND for the own log and a PROPOSE to each follower. A follower takes the
 * entries in with an APPEND of its own, and its DURABLE turns into an ACK. When a quorum, the
 * leader counted by its own DURABLE, has the entries on disk, the leader's commit index moves:
 * COMMIT here, and there with the next PROPOSE or HEARTBEAT.
 *
 * Failure modes. The leader dies or is cut off: the others hear nothing, and one campaigns
 * (zab_elect.c). A leader that hears no quorum steps down by itself (zab_read.c). A message is
 * lost: the next PROPOSE leaves a gap, or a HEARTBEAT tells of more than has come, and the follower
 * asks again with HELLO (zab_sync.c). A follower holds entries that lost an election: HELLO finds
 * the common place and TRUNC cuts there. It is behind the window: SNAP. Bad bytes, strangers and
 * the past: no effect. */

void zab_conf_default(struct zab_conf *conf)
{
    *conf = (struct zab_conf){
        .heartbeat_ms = 100,
        .election_min_ms = 1000,
        .election_max_ms = 2000,
        .lease_ms = 200,
        .window_entries_max = 60000, /* with what is under way they fit 65,536 slots */
        .window_size_max = 64 << 20,
        .inflight_max = 32,
        .gather_entries = 4,
        .gather_ms = 2,
    };
}

static void conf_check(const struct zab_conf *conf)
{
    bool has_self = false;

    CHECK(conf->self != 0);
    CHECK(conf->member_count >= 1 && conf->member_count <= MEMBERS_MAX);
    CHECK(conf->heartbeat_ms > 0);
    CHECK(conf->election_min_ms > conf->heartbeat_ms);
    CHECK(conf->election_max_ms >= conf->election_min_ms);
    CHECK(conf->lease_ms > 0 && conf->lease_ms <= conf->election_min_ms);
    CHECK(conf->inflight_max >= 1 && conf->inflight_max <= ZAB_INFLIGHT_MAX);
    for (uint32_t i = 0; i < conf->member_count; i++) {
        CHECK(conf->members[i] != 0);
        has_self = has_self || conf->members[i] == conf->self;
        for (uint32_t j = 0; j < i; j++) {
            CHECK(conf->members[j] != conf->members[i]);
        }
    }
    CHECK(has_self);
}

struct zab *zab_new(const struct zab_conf *conf, const struct zab_boot *boot, uint64_t now_ms)
{
    struct zab *z = mem_zalloc(sizeof(*z));

    conf_check(conf);
    z->conf = *conf;
    z->prng.state = conf->seed;
    z->now_ms = now_ms;
    for (uint32_t i = 0; i < conf->member_count; i++) {
        z->peers[i].id = conf->members[i];
    }
    z->promised = boot->promised_epoch;
    z->voted_for = boot->voted_for;
    zab_window_init(&z->log, &boot->base);
    for (size_t i = 0; i < boot->entry_count; i++) {
        zab_window_push(&z->log, &boot->entries[i]);
    }
    if (!boot->fresh &&
        boot->base.epoch >
            z->promised) { /* crashed between a fresh member's SNAP and its promise */
        z->promised = boot->base.epoch;
        z->voted_for = 0;
        z->promise_owed = true;
    }
    CHECK(boot->fresh || z->log.last.epoch <= z->promised);
    z->stored = z->durable = z->log.last.index;
    z->snapshot = z->commit = z->handed = z->applied = boot->base.index;
    z->restored = boot->restored ? boot->base.index : 0;
    z->match = zab_match_least(z);
    if (BUG(B8_UNCOMMITTED_SERVED)) {
        z->commit = z->match = z->log.last.index;
    }
    z->faulty = boot->faulty && !boot->fresh;
    if (z->faulty) {
        z->claimed = boot->claimed;
        z->claimed.epoch = boot->claimed.epoch != 0 ? boot->claimed.epoch : z->promised;
        if (zab_pos_before(&z->claimed, &z->log.last)) {
            z->claimed = z->log.last;
        }
        if (z->claimed.epoch > z->promised) { /* as above, and that state is damaged since */
            z->promised = z->claimed.epoch;
            z->voted_for = 0;
            z->promise_owed = true;
        }
        z->claimed_vote = boot->claimed.epoch != 0 ? z->claimed.index : UINT64_MAX;
    }
    /* Numbers of HELLOs, READs and PREVOTEs start anywhere, so that what is still under way for
     * this member's former life is not taken for an answer. */
    z->sync = prng_next(&z->prng) >> 32;
    z->read_wire = prng_next(&z->prng) >> 32;
    z->prevote_round = prng_next(&z->prng) >> 32;
    if (boot->fresh) {
        CHECK(z->promised == 0 && zab_unformed(z));
        z->fresh = prng_next(&z->prng) | 1;
    }
    /* The first epoch of an ensemble that begins with a restored state is above that state's. */
    z->epoch_seen = z->promised > boot->base.epoch ? z->promised : boot->base.epoch;
    zab_elect_begin(z, boot->start_ms != 0 ? boot->start_ms : now_ms);
    return z;
}

void zab_free(struct zab *z)
{
    if (z == NULL) {
        return;
    }
    zab_window_done(&z->log);
    mem_free(z->reads);
    mem_free(z);
}

/* --- shared by the parts --------------------------------------------------------------------- */

bool zab_is_self(const struct zab *z, const struct zab_peer *p)
{
    return p->id == z->conf.self;
}

struct zab_peer *zab_peer_find(struct zab *z, uint32_t id)
{
    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        if (z->peers[i].id == id && id != z->conf.self) {
            return &z->peers[i];
        }
    }
    return NULL;
}

uint32_t zab_quorum(const struct zab *z)
{
    uint32_t count = z->conf.member_count;

    for (uint32_t i = 0; BUG(B18_QUORUM_IN_SIGHT) && i < z->conf.member_count; i++) {
        count -= z->role == ZAB_LEADER && z->peers[i].state == PEER_UNKNOWN &&
                 z->peers[i].id != z->conf.self;
    }
    return count / 2 + 1;
}

uint64_t zab_quorum_reached(const struct zab *z, const uint64_t *values)
{
    uint64_t sorted[MEMBERS_MAX]; /* falling */
    uint32_t count = 0;

    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        uint32_t at = count++;

        for (; at > 0 && sorted[at - 1] < values[i]; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = values[i];
    }
    return sorted[zab_quorum(z) - 1];
}

bool zab_serving(const struct zab *z)
{
    return z->role == ZAB_LEADER && (z->commit >= z->epoch_index || BUG(B14_SERVES_BEFORE_EPOCH));
}

bool zab_unformed(const struct zab *z)
{
    return !z->faulty && z->log.last.index == z->restored;
}

/* Of another leader's log only the committed part is known to be the same, and of a restored state
 * not even that. */
uint64_t zab_match_least(const struct zab *z)
{
    return zab_unformed(z) ? 0 : z->commit;
}

bool zab_sound(const struct zab *z)
{
    return !z->faulty && z->fresh == 0;
}

/* Whoever makes a promise that outlives it is not fresh any more. */
void zab_save_vote(struct zab *z, uint64_t epoch, uint32_t voted_for)
{
    /* One vote per epoch, and promises never fall. */
    CHECK(epoch > z->promised || ((z->fresh != 0 || z->promise_owed) && epoch == z->promised));
    struct zab_effect *fx = zab_emit(z, ZAB_FX_SAVE_VOTE);

    fx->u.vote.promised_epoch = epoch;
    fx->u.vote.voted_for = voted_for;
    z->promised = epoch;
    z->voted_for = voted_for;
    z->vote_seq = fx->seq;
    z->promise_owed = false;
    z->fresh = 0;
    z->match = zab_match_least(z);
    z->acked = z->match < z->durable ? z->match : z->durable;
}

static void lead_begin(struct zab *z)
{
    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        z->peers[i] =
            (struct zab_peer){.id = z->peers[i].id, .up = z->peers[i].up, .heard_ms = z->now_ms};
    }
    z->round = 0;
    z->lease_wanted_ms = 0;
    z->digest_index = 0;
    /* First entry of every leader: committing it commits all before it, which entries of older
     * epochs cannot do for themselves. */
    zab_append(z, ZAB_ENTRY_EPOCH, NULL);
    z->epoch_index = z->log.last.index;
    zab_store(z);
    zab_round_start(z);
}

void zab_become(struct zab *z, enum zab_role role, uint32_t leader)
{
    CHECK((role == ZAB_LEADER) == (leader == z->conf.self));
    CHECK(leader == 0 || role == ZAB_LEADER || role == ZAB_FOLLOWER);
    CHECK(role == ZAB_FOLLOWER || (!z->faulty && !z->loading && !z->full));
    CHECK(role != ZAB_LEADER || z->role == ZAB_CANDIDATE);
    zab_store(z);
    zab_read_fail_all(z);
    z->role = role;
    z->leader = leader;
    z->epoch_index = 0;
    z->ack_due = false;
    z->match_seen = 0;
    z->hello_not_before_ms = 0;
    z->round_heard = 0;
    z->digest_heard = 0;
    zab_elect_rearm(z);
    if (role == ZAB_LEADER) {
        lead_begin(z);
    }
}

/* --- messages -------------------------------------------------------------------------------- */

/* The sender of `m` leads epoch m->epoch: true when that is this member's leader now. The first
 * word of a leader makes this member its follower, under a promise: durable, unless it is fresh. */
static bool follow(struct zab *z, const struct zab_msg *m)
{
    bool is_new = m->epoch > z->promised || z->leader != m->from;

    if (m->epoch < z->promised) {
        if (m->type == ZAB_HEARTBEAT && z->fresh == 0) {
            zab_send(z, m->from, ZAB_HEARTBEAT_R); /* our epoch tells it that it is deposed */
        }
        return false;
    }
    if (m->epoch > z->promised && z->fresh == 0) {
        zab_save_vote(z, m->epoch, m->from);
    } else if (m->epoch > z->promised) {
        z->promised = m->epoch; /* on disk it would be a voter's, with an empty log */
    } else {
        CHECK(z->role != ZAB_LEADER); /* one leader per epoch */
        CHECK(z->leader == 0 || z->leader == m->from);
        if (z->promise_owed) {
            zab_save_vote(z, m->epoch, m->from); /* it must not rest on the log alone */
        }
    }
    if (is_new) {
        zab_become(z, ZAB_FOLLOWER, m->from);
        zab_hello(z);
    }
    zab_elect_heard(z);
    return true;
}

/* Somebody promised a later epoch than ours: as a leader or candidate we are history. */
static void outrun(struct zab *z, uint64_t epoch)
{
    if (epoch > z->epoch_seen) {
        z->epoch_seen = epoch;
    }
    if (epoch > z->promised && (z->role == ZAB_LEADER || z->role == ZAB_CANDIDATE)) {
        zab_become(z, ZAB_FOLLOWER, 0);
    }
}

static void on_leader_msg(struct zab *z, const struct zab_msg *m)
{
    if (!follow(z, m) && !(BUG(B5_OLD_WRITER) && m->type == ZAB_PROPOSE)) {
        return;
    }
    if (m->type == ZAB_HEARTBEAT) {
        zab_on_heartbeat(z, m);
    } else if (m->type == ZAB_PROPOSE) {
        zab_on_propose(z, m);
    } else {
        zab_on_trunc(z, m);
    }
}

static void on_follower_msg(struct zab *z, struct zab_peer *p, const struct zab_msg *m)
{
    outrun(z, m->epoch);
    if (z->role != ZAB_LEADER || m->epoch != z->promised) {
        return;
    }
    if (m->type == ZAB_HELLO) {
        zab_on_hello(z, p, m);
    } else if (m->type == ZAB_ACK) {
        zab_on_ack(z, p, m);
    } else if (m->type == ZAB_HEARTBEAT_R) {
        zab_on_heartbeat_r(z, p, m);
    } else {
        zab_read_add(z, p->id, m->read, m->quorum);
    }
}

static void on_msg(struct zab *z, const struct zab_msg *m)
{
    struct zab_peer *p = zab_peer_find(z, m->from);

    if (p == NULL || m->to != z->conf.self) {
        return;
    }
    switch (m->type) {
    case ZAB_PREVOTE:
        zab_on_prevote(z, m);
        break;
    case ZAB_PREVOTE_R:
        outrun(z, m->promised);
        zab_on_prevote_r(z, p, m);
        break;
    case ZAB_VOTE:
        zab_on_vote(z, m);
        break;
    case ZAB_VOTE_R:
        outrun(z, m->promised);
        zab_on_vote_r(z, p, m);
        break;
    case ZAB_HEARTBEAT:
    case ZAB_PROPOSE:
    case ZAB_TRUNC:
        on_leader_msg(z, m);
        break;
    case ZAB_HELLO:
    case ZAB_ACK:
    case ZAB_HEARTBEAT_R:
    case ZAB_READ:
        on_follower_msg(z, p, m);
        break;
    case ZAB_READ_R:
        zab_on_read_r(z, m);
        break;
    }
}

/* --- the other events ------------------------------------------------------------------------ */

static void on_tick(struct zab *z)
{
    zab_store_gathered(z); /* what waited long enough leaves at the end of the turn */
    if (z->role == ZAB_LEADER) {
        zab_lead_tick(z);
    } else {
        zab_elect_tick(z);
    }
    zab_read_expire(z);
}

static void on_link(struct zab *z, uint32_t id, bool up)
{
    struct zab_peer *p = zab_peer_find(z, id);

    if (p == NULL) {
        return;
    }
    p->up = up;
    if (z->role == ZAB_LEADER) {
        /* What was under way may be lost. The follower says where it stands when it sees a
         * heartbeat without its sync number. */
        p->state = p->state == PEER_SNAP_SENDING ? p->state : PEER_UNKNOWN;
        if (up) {
            zab_heartbeat_send(z, p);
        }
    } else if (z->leader == id && up) {
        zab_hello(z);
    } else if (z->leader == id) {
        zab_elect_parted(z);
        zab_read_fail_all(z);
    } else if (up) {
        zab_elect_link_up(z, p);
    }
}

static void on_durable(struct zab *z, uint64_t seq)
{
    CHECK(seq <= z->seq);
    if (seq > z->seq_durable) {
        z->seq_durable = seq;
        zab_durable_advance(z);
        zab_elect_durable(z);
    }
}

static void on_applied(struct zab *z, uint64_t index)
{
    struct zab_window *w = &z->log;

    CHECK(index >= z->applied);
    CHECK(index <= z->handed);
    z->applied = index;
    while (w->base.index < index && (w->last.index - w->base.index > z->conf.window_entries_max ||
                                     w->size > z->conf.window_size_max)) {
        zab_window_drop_first(w);
    }
}

static void on_snapshot(struct zab *z, uint64_t index)
{
    CHECK(index <= z->applied);
    z->snapshot = index > z->snapshot ? index : z->snapshot;
}

static void on_snap_sent(struct zab *z, uint32_t id)
{
    struct zab_peer *p = zab_peer_find(z, id);

    /* Arrived or not, the follower's next HELLO says. */
    if (p != NULL && p->state == PEER_SNAP_SENDING) {
        p->state = PEER_UNKNOWN;
    }
}

/* A full disk makes no leader: others may have space. What is in the log already stays there, and
 * is theirs to commit. */
static void on_storage(struct zab *z, bool full)
{
    z->full = full;
    if (full && z->role != ZAB_FOLLOWER) {
        zab_become(z, ZAB_FOLLOWER, 0);
    } else if (!full && z->leader == 0) {
        zab_elect_rearm(z);
    }
}

static void on_flush(struct zab *z)
{
    zab_store_gathered(z);
    zab_bcast_flush(z);
    zab_read_flush(z);
}

static void dispatch(struct zab *z, const struct zab_event *ev)
{
    switch (ev->type) {
    case ZAB_EV_TICK:
        on_tick(z);
        break;
    case ZAB_EV_MSG:
        on_msg(z, ev->u.msg);
        break;
    case ZAB_EV_LINK_UP:
    case ZAB_EV_LINK_DOWN:
        on_link(z, ev->u.peer, ev->type == ZAB_EV_LINK_UP);
        break;
    case ZAB_EV_PROPOSE:
        CHECK(zab_serving(z));
        zab_append(z, ZAB_ENTRY_DATA, ev->u.body);
        break;
    case ZAB_EV_FLUSH:
        on_flush(z);
        break;
    case ZAB_EV_DURABLE:
        on_durable(z, ev->u.seq);
        break;
    case ZAB_EV_APPLIED:
        on_applied(z, ev->u.index);
        break;
    case ZAB_EV_SNAPSHOT:
        on_snapshot(z, ev->u.index);
        break;
    case ZAB_EV_READ:
        zab_read_add(z, 0, ev->u.read.id, ev->u.read.quorum);
        break;
    case ZAB_EV_SNAP_LOADED:
        zab_on_snap_loaded(z, &ev->u.snap.pos, ev->u.snap.seq);
        break;
    case ZAB_EV_SNAP_FAILED:
        zab_on_snap_failed(z);
        break;
    case ZAB_EV_SNAP_SENT:
        on_snap_sent(z, ev->u.snap_sent.peer);
        break;
    case ZAB_EV_DIGEST:
        z->digest_index = ev->u.digest.index;
        z->digest = ev->u.digest.digest;
        break;
    case ZAB_EV_STORAGE:
        on_storage(z, ev->u.full);
        break;
    }
}

void zab_step(struct zab *z, const struct zab_event *ev, uint64_t now_ms, struct zab_out *out)
{
    enum zab_role role = z->role;
    uint64_t promised = z->promised;
    uint32_t leader = z->leader;
    bool serving = zab_serving(z);

    CHECK(out->count == 0);
    CHECK(now_ms >= z->now_ms);
    z->now_ms = now_ms;
    z->out = out;
    dispatch(z, ev);
    if (z->role != role || z->promised != promised || z->leader != leader ||
        zab_serving(z) != serving) {
        struct zab_effect *fx = zab_emit(z, ZAB_FX_ROLE);

        fx->u.role.role = z->role;
        fx->u.role.epoch = z->promised;
        fx->u.role.leader = z->leader;
        fx->u.role.serving = zab_serving(z);
    }
    z->out = NULL;
}

/* --- questions ------------------------------------------------------------------------------- */

uint64_t zab_deadline(const struct zab *z)
{
    uint64_t at = z->role == ZAB_LEADER ? z->heartbeat_at_ms : z->elect_at_ms;

    if (z->stored < z->log.last.index && z->gather_until_ms > z->now_ms &&
        z->gather_until_ms < at) {
        at = z->gather_until_ms; /* else: they leave with the next flush */
    }
    if (z->read_count > 0 && z->reads[0].deadline_ms < at) {
        at = z->reads[0].deadline_ms;
    }
    return at;
}

void zab_view(const struct zab *z, struct zab_view *ret)
{
    *ret = (struct zab_view){
        .role = z->role,
        .epoch = z->promised,
        .leader = z->leader,
        .serving = zab_serving(z),
        .last = z->log.last,
        .durable = z->durable,
        .commit = z->commit,
        .applied = z->applied,
        .lease_until_ms = zab_lease_until(z),
        .unformed = zab_unformed(z),
    };
}

bool zab_hears(const struct zab *z, uint32_t member)
{
    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        const struct zab_peer *p = &z->peers[i];

        if (p->id == member && z->role == ZAB_LEADER) {
            return zab_is_self(z, p) || z->now_ms - p->heard_ms < z->conf.election_min_ms;
        }
    }
    return false;
}

bool zab_pos_at(const struct zab *z, uint64_t index, struct zab_pos *ret)
{
    return zab_window_pos(&z->log, index, ret);
}

const struct zab_entry *zab_entry_at(const struct zab *z, uint64_t index)
{
    if (index <= z->log.base.index || index > z->log.last.index) {
        return NULL;
    }
    return &zab_window_at(&z->log, index)->entry;
}
