#include <criterion/criterion.h>

#include "zabnet.h"

/* Members that begin with an empty disk: the first start of an ensemble, and a disk that was
 * replaced. */

static struct net *net_formed(uint32_t count, uint64_t seed, uint32_t *ret_leader)
{
    struct net *net = net_new(count, seed);

    net_start(net);
    *ret_leader = net_run_leader(net);
    net_run(net, 60);
    cr_assert(net_converged(net));
    return net;
}

static void lose_disk(struct net *net, uint32_t id)
{
    net_crash(net, id);
    net_wipe(net, id);
    net_restart(net, id);
}

/* --- a disk that was replaced ---------------------------------------------------------------- */

/* One of two copies of a committed entry is lost with its disk; the member that never had it and
 * the one that lost it are a quorum by number. */
Test(zab_fresh, a_member_that_lost_its_disk_does_not_elect_one_that_lacks_a_committed_entry)
{
    uint32_t leader;
    struct net *net = net_formed(3, 1, &leader);
    uint32_t wiped = leader % 3 + 1;
    uint32_t behind = wiped % 3 + 1;

    net_isolate(net, behind, true);
    net_propose(net, leader, "committed");
    net_run(net, 10);
    cr_assert_eq(net_view(net, leader).commit, 2);
    cr_assert_eq(net_view(net, behind).last.index, 1);
    lose_disk(net, wiped);
    net_crash(net, leader);
    net_isolate(net, behind, false);
    net_run(net, 10000);
    cr_assert_eq(net_leader(net), 0);
    cr_assert(net_disk_fresh(&net_member(net, wiped)->disk));
    net_restart(net, leader);
    cr_assert_eq(net_run_leader(net), leader);
    cr_assert(net_run_applied(net, 3, 1000));
    cr_assert_eq(net_member(net, wiped)->snaps_loaded, 1);
    net_free(net);
}

Test(zab_fresh, a_member_that_was_given_the_state_votes_again)
{
    uint32_t leader;
    struct net *net = net_formed(3, 2, &leader);
    uint32_t wiped = leader % 3 + 1;

    lose_disk(net, wiped);
    net_run(net, 200);
    cr_assert_eq(net_member(net, wiped)->snaps_loaded, 1);
    cr_assert_eq(net_member(net, wiped)->disk.promised_epoch, 1);
    net_crash(net, leader);
    cr_assert_neq(net_run_leader(net), leader);
    net_free(net);
}

static struct zab_msg heard; /* the last HELLO of a member that lost its log */

static bool drop_acks(struct net *net, const struct zab_msg *m)
{
    (void)net;
    if (m->type == ZAB_HELLO && m->faulty) {
        heard = *m;
    }
    return m->type == ZAB_ACK || (m->type == ZAB_HEARTBEAT_R && m->durable > 1);
}

/* The leader would count a copy that is gone. */
Test(zab_fresh, what_a_former_life_acknowledged_counts_no_more_once_the_new_one_was_heard)
{
    uint32_t leader;
    struct net *net = net_formed(3, 3, &leader);
    uint32_t wiped = leader % 3 + 1;

    net->drop = drop_acks;
    heard.sync = 0;
    net_member(net, wiped % 3 + 1)->disk_stuck = true;
    net_propose(net, leader, "on two disks");
    net_run(net, 10);
    cr_assert_eq(net_view(net, wiped).durable, 2);
    cr_assert_eq(net_view(net, leader).durable, 2);
    cr_assert_eq(net_view(net, leader).commit, 1);
    struct zab_msg late = {.type = ZAB_ACK, .from = wiped, .to = leader, .epoch = 1};
    struct zab_event ev = {.type = ZAB_EV_MSG, .u.msg = &late};

    lose_disk(net, wiped);
    for (int ms = 0; ms < 1000 && heard.sync == 0; ms++) {
        net_run(net, 1);
    }
    net_run(net, 1); /* it arrived */
    late.sync = heard.sync;
    late.received = late.durable = 2;
    late.round = 1;
    net_event(net, leader, &ev);
    late.type = ZAB_HEARTBEAT_R;
    net_event(net, leader, &ev);
    cr_assert_eq(net_view(net, leader).commit, 1);
    net->drop = NULL;
    net_run(net, 300);
    cr_assert_eq(net_view(net, leader).commit, 2);
    cr_assert_geq(net_view(net, wiped).durable, 2);
    net_free(net);
}

Test(zab_fresh, what_a_former_life_acknowledged_before_is_forgotten)
{
    uint32_t leader;
    struct net *net = net_formed(3, 7, &leader);
    uint32_t wiped = leader % 3 + 1;

    net_member(net, leader)->disk_stuck = true;
    net_member(net, wiped % 3 + 1)->disk_stuck = true;
    net_propose(net, leader, "on one disk");
    net_run(net, 10);
    cr_assert_eq(net_view(net, leader).commit, 1);
    lose_disk(net, wiped);
    net_member(net, wiped)->disk_stuck = true;
    net_run(net, 100);
    net_member(net, leader)->disk_stuck = false;
    net_run(net, 100);
    cr_assert_eq(net_view(net, leader).durable, 2);
    cr_assert_eq(net_view(net, leader).commit, 1);
    net_member(net, wiped)->disk_stuck = false;
    net_run(net, 200);
    cr_assert_eq(net_view(net, leader).commit, 2);
    net_free(net);
}

/* Committed by the disks of both followers, one of which is gone; the leader's has it not yet. */
Test(zab_fresh, the_state_given_holds_what_is_committed_though_the_leaders_disk_lags)
{
    uint32_t leader;
    struct net *net = net_formed(3, 4, &leader);
    uint32_t wiped = leader % 3 + 1;

    net_member(net, leader)->disk_stuck = true;
    net_propose(net, leader, "x");
    net_run(net, 10);
    cr_assert_eq(net_view(net, leader).commit, 2);
    cr_assert_eq(net_member(net, leader)->applied, 1);
    lose_disk(net, wiped);
    net_run(net, 500);
    cr_assert_eq(net_member(net, wiped)->snaps_loaded, 0);
    net_member(net, leader)->disk_stuck = false;
    net_run(net, 100);
    cr_assert_eq(net_member(net, wiped)->snaps_loaded, 1);
    cr_assert_geq(net_member(net, wiped)->disk.base.index, 2);
    net_free(net);
}

/* The member may have forgotten that it promised a later epoch. */
Test(zab_fresh, a_leader_that_no_quorum_of_others_confirms_gives_no_state)
{
    uint32_t leader;
    struct net *net = net_formed(3, 5, &leader);
    uint32_t wiped = leader % 3 + 1;

    net_cut(net, leader, wiped % 3 + 1, true);
    lose_disk(net, wiped);
    net_run(net, 400);
    cr_assert_eq(net_view(net, leader).role == ZAB_LEADER, false);
    cr_assert_eq(net_member(net, wiped)->snaps_loaded, 0);
    cr_assert(net_disk_fresh(&net_member(net, wiped)->disk));
    net_free(net);
}

Test(zab_fresh, a_crash_between_the_state_and_the_promise_leaves_a_member_of_that_states_epoch)
{
    uint32_t leader;
    struct net *net = net_formed(3, 6, &leader);
    uint32_t wiped = leader % 3 + 1;
    struct net_member *m = net_member(net, wiped);

    lose_disk(net, wiped);
    m->disk_stuck = true;
    net_run(net, 200);
    cr_assert_eq(m->job_count, 1);
    cr_assert_eq(m->jobs[0].type, NET_JOB_INSTALL);
    net_disk_do(net, wiped, 1);
    net_crash(net, wiped);
    cr_assert_eq(m->disk.promised_epoch, 0);
    m->disk_stuck = false;
    net_restart(net, wiped);
    cr_assert_eq(net_view(net, wiped).epoch, 1);
    net_run(net, 100);
    cr_assert(net_converged(net));
    cr_assert_eq(m->snaps_loaded, 0);
    net_free(net);
}

/* --- the first start ------------------------------------------------------------------------- */

Test(zab_fresh, an_ensemble_begins_with_all_its_members)
{
    struct net *net = net_new(3, 1);

    net_start(net);
    net_crash(net, 3);
    net_run(net, 10000);
    for (uint32_t id = 1; id <= 3; id++) {
        cr_assert(net_disk_fresh(&net_member(net, id)->disk));
    }
    net_restart(net, 3);
    net_run_leader(net);
    net_run(net, 60);
    cr_assert(net_converged(net));
    cr_assert_eq(net_member(net, 1)->snaps_loaded, 0);
    net_free(net);
}

static bool drop_third(struct net *net, const struct zab_msg *m)
{
    (void)net;
    return m->type == ZAB_VOTE && m->to == 3;
}

Test(zab_fresh, the_member_whose_vote_was_not_needed_gets_the_first_state)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct net *net = net_new(3, seed);

        net->drop = drop_third;
        net_start(net);
        if (net_run_leader(net) != 3) {
            net_run(net, 200);
            cr_assert(net_converged(net));
            cr_assert_eq(net_member(net, 3)->snaps_loaded, 1);
            cr_assert_eq(net_member(net, 3)->disk.promised_epoch, 1);
        }
        net_free(net);
    }
}

/* Seed, and milliseconds into the first campaign: then all crash, and the members in `written` have
 * on disk what was on its way there. */
static struct net *net_interrupted(uint64_t seed, uint64_t ms, uint32_t written)
{
    struct net *net = net_new(3, seed);

    net_start(net);
    for (int at = 0; at < 1000 && net->sent[ZAB_PREVOTE] == 0; at++) {
        net_run(net, 1);
    }
    net_run(net, ms);
    for (uint32_t id = 1; id <= 3; id++) {
        if ((written & (1u << id)) != 0) {
            net_disk_do(net, id, net_member(net, id)->job_count);
        }
        net_crash(net, id);
    }
    return net;
}

static bool comes_together(struct net *net)
{
    for (int ms = 0; ms < 10000 && !net_converged(net); ms += 20) {
        net_run(net, 20);
    }
    return net_converged(net);
}

Test(zab_fresh, a_first_start_that_was_interrupted_anywhere_is_completed_by_all_members)
{
    for (uint64_t ms = 0; ms < 20; ms++) {
        for (uint32_t written = 0; written < 16; written += 2) {
            struct net *net = net_interrupted(1 + ms % 3, ms, written);

            net_start(net);
            cr_assert(comes_together(net), "ms %llu", (unsigned long long)ms);
            net_free(net);
        }
    }
}

Test(zab_fresh, promises_without_an_entry_do_not_complete_a_first_start_without_all_members)
{
    int count = 0;

    for (uint64_t ms = 0; ms < 20; ms++) {
        for (uint32_t written = 0; written < 16; written += 2) {
            struct net *net = net_interrupted(1, ms, written);
            uint32_t absent = 0, fresh = 0;

            for (uint32_t id = 1; id <= 3; id++) {
                bool is_fresh = net_disk_fresh(&net_member(net, id)->disk);

                fresh += is_fresh;
                absent = is_fresh ? id : absent;
            }
            if (fresh == 1) {
                net_restart(net, absent % 3 + 1);
                net_restart(net, (absent + 1) % 3 + 1);
                net_run(net, 5000);
                cr_assert_eq(net_leader(net), 0); /* the third may hold a restored state */
                net_restart(net, absent);
                cr_assert(comes_together(net));
                count++;
            }
            net_free(net);
        }
    }
    cr_assert_geq(count, 2);
}

Test(zab_fresh, a_quorum_of_which_one_has_an_entry_needs_nobody_else)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct net *net = net_new(3, seed);

        net->drop = drop_third;
        net_start(net);
        if (net_run_leader(net) != 3) {
            for (uint32_t id = 1; id <= 3; id++) {
                net_crash(net, id);
            }
            cr_assert(net_disk_fresh(&net_member(net, 3)->disk));
            net_restart(net, 1);
            net_restart(net, 2);
            net_run_leader(net);
            net_restart(net, 3);
            cr_assert(comes_together(net));
        }
        net_free(net);
    }
}

/* --- one member alone ------------------------------------------------------------------------ */

static struct zab *member_one(void)
{
    struct zab_boot boot = {.fresh = true};
    struct zab_conf conf;

    zab_conf_default(&conf);
    conf.self = 1;
    conf.member_count = 3;
    conf.members[0] = 1;
    conf.members[1] = 2;
    conf.members[2] = 3;
    conf.election_min_ms = 300;
    conf.election_max_ms = 600;
    return zab_new(&conf, &boot, 1000);
}

static void step_msg(struct zab *z, struct zab_out *out, uint64_t now_ms, struct zab_msg *m)
{
    zab_out_clear(out);
    zab_step(z, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = m}, now_ms, out);
    zab_audit(z);
}

static const struct zab_msg *find_send(const struct zab_out *out, enum zab_msg_type type)
{
    for (size_t i = 0; i < out->count; i++) {
        if (out->effects[i].type == ZAB_FX_SEND && out->effects[i].u.msg.type == type) {
            return &out->effects[i].u.msg;
        }
    }
    return NULL;
}

Test(zab_fresh, a_fresh_voter_votes_only_for_who_names_its_present_life)
{
    struct zab *z = member_one();
    struct zab_out out = {0};
    struct zab_msg m = {.type = ZAB_PREVOTE, .from = 2, .to = 1, .epoch = 1};

    step_msg(z, &out, 1300, &m);
    cr_assert(find_send(&out, ZAB_PREVOTE_R)->granted);
    uint64_t life = find_send(&out, ZAB_PREVOTE_R)->fresh;

    cr_assert_neq(life, 0);
    m.type = ZAB_VOTE;
    step_msg(z, &out, 1300, &m);
    cr_assert_not(find_send(&out, ZAB_VOTE_R)->granted);
    m.fresh = life + 1;
    step_msg(z, &out, 1300, &m);
    cr_assert_not(find_send(&out, ZAB_VOTE_R)->granted);
    m.fresh = life;
    step_msg(z, &out, 1300, &m);
    cr_assert(find_send(&out, ZAB_VOTE_R)->granted);
    m = (struct zab_msg){.type = ZAB_PREVOTE, .from = 3, .to = 1, .epoch = 2};
    step_msg(z, &out, 1300, &m);
    cr_assert_eq(find_send(&out, ZAB_PREVOTE_R)->fresh, 0);
    zab_out_done(&out);
    zab_free(z);
}

static void assent(struct zab *z, struct zab_out *out, uint32_t from, uint64_t round, uint64_t life)
{
    struct zab_msg m = {.type = ZAB_PREVOTE_R,
                        .from = from,
                        .to = 1,
                        .epoch = 1,
                        .granted = true,
                        .round = round,
                        .fresh = life};

    step_msg(z, out, 1600, &m);
}

/* Between the assent of one and that of another, the other may have begun a new life. */
Test(zab_fresh, all_are_asked_again_when_the_lives_of_the_fresh_among_them_are_known)
{
    struct zab *z = member_one();
    struct zab_out out = {0};

    zab_step(z, &(struct zab_event){.type = ZAB_EV_TICK}, 1600, &out);
    uint64_t round = find_send(&out, ZAB_PREVOTE)->round;

    assent(z, &out, 2, round, 22);
    assent(z, &out, 3, round, 33);
    cr_assert_eq(find_send(&out, ZAB_PREVOTE)->round, round + 1);
    assent(z, &out, 2, round + 1, 22);
    cr_assert_eq(out.count, 0);
    assent(z, &out, 3, round + 1, 34);
    cr_assert_eq(find_send(&out, ZAB_PREVOTE)->round, round + 2);
    assent(z, &out, 2, round + 2, 22);
    assent(z, &out, 3, round + 2, 34);
    cr_assert_eq(out.effects[0].type, ZAB_FX_SAVE_VOTE);
    cr_assert_eq(out.effects[1].u.msg.fresh, 22);
    cr_assert_eq(out.effects[2].u.msg.fresh, 34);
    zab_out_done(&out);
    zab_free(z);
}

Test(zab_fresh, a_fresh_follower_promises_and_takes_nothing_before_it_has_the_leaders_state)
{
    struct zab *z = member_one();
    struct zab_out out = {0};
    struct zab_entry e = {.epoch = 4, .index = 1, .type = ZAB_ENTRY_EPOCH};
    struct zab_msg m = {.type = ZAB_HEARTBEAT, .from = 2, .to = 1, .epoch = 4, .round = 1};
    struct zab_pos pos = {.epoch = 3, .index = 9};
    uint64_t seq = 0;

    step_msg(z, &out, 1001, &m);
    cr_assert_eq(out.count, 2); /* HELLO and the change of role */
    cr_assert(find_send(&out, ZAB_HELLO)->faulty);
    cr_assert_eq(find_send(&out, ZAB_HELLO)->last.epoch, 4);
    cr_assert_eq(find_send(&out, ZAB_HELLO)->last.index, 0);
    uint64_t sync = find_send(&out, ZAB_HELLO)->sync;

    e.chain = hash_chain((struct hash128){0}, 4, 1, ZAB_ENTRY_EPOCH, NULL, 0);
    m = (struct zab_msg){.type = ZAB_PROPOSE, .from = 2, .to = 1, .epoch = 4, .sync = sync};
    m.entry_count = 1;
    m.entries = &e;
    step_msg(z, &out, 1002, &m);
    cr_assert_eq(out.count, 0);
    cr_assert_not(
        zab_snap_accept(z, 2, 4, sync, &pos, &seq)); /* without the leader's first entry */
    pos.epoch = 4;
    cr_assert(zab_snap_accept(z, 2, 4, sync, &pos, &seq));
    cr_assert_eq(seq, 1);
    zab_step(z, &(struct zab_event){.type = ZAB_EV_DURABLE, .u.seq = 1}, 1003, &out);
    cr_assert_eq(out.count, 0);
    zab_step(z, &(struct zab_event){.type = ZAB_EV_SNAP_LOADED, .u.snap = {pos, 1}}, 1003, &out);
    zab_audit(z);
    cr_assert_eq(out.effects[0].type, ZAB_FX_SAVE_VOTE);
    cr_assert_eq(out.effects[0].u.vote.promised_epoch, 4);
    cr_assert_eq(out.effects[0].u.vote.voted_for, 0);
    cr_assert_eq(out.effects[1].u.msg.type, ZAB_HELLO);
    cr_assert_eq(out.effects[1].after_seq, 2);
    cr_assert_not(out.effects[1].u.msg.faulty);
    zab_out_done(&out);
    zab_free(z);
}
