#include <criterion/criterion.h>

#include "zabnet.h"

/* Steps one member alone; the effects stay in *out until the next call. */
static void step_one(struct zab *z, struct zab_out *out, uint64_t now_ms,
                     const struct zab_event *ev)
{
    zab_out_clear(out);
    zab_step(z, ev, now_ms, out);
    zab_audit(z);
}

static const struct zab_effect *find_send(const struct zab_out *out, enum zab_msg_type type)
{
    for (size_t i = 0; i < out->count; i++) {
        if (out->effects[i].type == ZAB_FX_SEND && out->effects[i].u.msg.type == type) {
            return &out->effects[i];
        }
    }
    return NULL;
}

/* Member 1 of three, election_min 300 ms, started at 1000 ms. */
static struct zab *member_one(const struct zab_boot *boot)
{
    struct zab_conf conf;

    zab_conf_default(&conf);
    conf.self = 1;
    conf.member_count = 3;
    conf.members[0] = 1;
    conf.members[1] = 2;
    conf.members[2] = 3;
    conf.election_min_ms = 300;
    conf.election_max_ms = 600;
    return zab_new(&conf, boot, 1000);
}

static struct zab_event vote_request(struct zab_msg *m, enum zab_msg_type type, uint64_t epoch,
                                     uint64_t last_epoch, uint64_t last_index)
{
    *m = (struct zab_msg){.type = type, .from = 2, .to = 1, .epoch = epoch};
    m->last.epoch = last_epoch;
    m->last.index = last_index;
    return (struct zab_event){.type = ZAB_EV_MSG, .u.msg = m};
}

Test(zab_elect, three_members_elect_one_leader_in_epoch_1)
{
    struct net *net = net_new(3, 1);

    net_start(net);
    uint32_t leader = net_run_leader(net);

    net_run(net, 100);
    for (uint32_t id = 1; id <= 3; id++) {
        cr_assert_eq(net_view(net, id).epoch, 1);
        cr_assert_eq(net_view(net, id).leader, leader);
        cr_assert_eq(net_view(net, id).role, id == leader ? ZAB_LEADER : ZAB_FOLLOWER);
        cr_assert_eq(net_view(net, id).commit, 1);
    }
    net_free(net);
}

Test(zab_elect, five_members_without_two_elect_and_commit)
{
    struct net *net = net_new(5, 1);

    net_start(net);
    uint32_t first = net_run_leader(net);

    net_run(net, 100);
    net_crash(net, first);
    net_crash(net, first % 5 + 1);
    uint64_t index = net_propose(net, net_run_leader(net), "x");

    cr_assert_eq(index, 3);
    cr_assert(net_run_applied(net, 3, 100));
    net_free(net);
}

Test(zab_elect, a_single_member_leads_and_commits_on_its_own_disk)
{
    struct net *net = net_new(1, 1);

    net_start(net);
    net_run(net, 10);
    cr_assert_eq(net_leader(net), 1);
    cr_assert_eq(net_propose(net, 1, "x"), 2);
    net_read(net, 1, 1, true);
    net_run(net, 10);
    cr_assert_eq(net_member(net, 1)->applied, 2);
    cr_assert_eq(net_member(net, 1)->reads[1].state, NET_READ_READY);
    net_crash(net, 1);
    net_restart(net, 1);
    net_run(net, 10);
    cr_assert_eq(net_leader(net), 1);
    cr_assert_eq(net_view(net, 1).epoch, 2);
    cr_assert_eq(net_member(net, 1)->applied, 3);
    net_free(net);
}

Test(zab_elect, a_crashed_leader_is_replaced_and_nothing_committed_is_lost)
{
    struct net *net = net_new(3, 2);

    net_start(net);
    uint32_t first = net_run_leader(net);
    uint64_t index = net_propose(net, first, "x");

    cr_assert(net_run_applied(net, index, 100));
    net_crash(net, first);
    uint32_t second = net_run_leader(net);

    cr_assert_neq(second, first);
    cr_assert_eq(net_view(net, second).epoch, 2);
    cr_assert_eq(net_view(net, second).commit, 3);
    net_restart(net, first);
    cr_assert(net_run_applied(net, 3, 1000));
    net_free(net);
}

/* The leader's lease rests on it, and the promise was kept in memory only. */
Test(zab_elect, a_restarted_voter_gives_no_vote_for_the_time_of_a_lease)
{
    struct zab_boot boot = {.promised_epoch = 4};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_msg m;
    struct zab_event ev = vote_request(&m, ZAB_VOTE, 5, 4, 9);

    step_one(z, &out, 1199, &ev);
    cr_assert_not(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    ev = vote_request(&m, ZAB_PREVOTE, 5, 4, 9);
    step_one(z, &out, 1199, &ev);
    cr_assert_not(find_send(&out, ZAB_PREVOTE_R)->u.msg.granted);
    step_one(z, &out, 1200, &ev);
    cr_assert(find_send(&out, ZAB_PREVOTE_R)->u.msg.granted);
    ev = vote_request(&m, ZAB_VOTE, 5, 4, 9);
    step_one(z, &out, 1200, &ev);
    cr_assert(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    zab_out_done(&out);
    zab_free(z);
}

/* What was promised ends with a life that ended long ago: recovery can take longer than a lease. */
Test(zab_elect, a_restarted_voter_counts_from_the_end_of_its_former_life)
{
    struct zab_boot boot = {.promised_epoch = 4, .start_ms = 700};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_msg m;
    struct zab_event ev = vote_request(&m, ZAB_VOTE, 5, 4, 9);

    step_one(z, &out, 1000, &ev);
    cr_assert(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    zab_out_done(&out);
    zab_free(z);
}

Test(zab_elect, a_vote_leaves_only_after_it_is_durable)
{
    struct zab_boot boot = {0};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_msg m;
    struct zab_event ev = vote_request(&m, ZAB_VOTE, 1, 0, 0);

    step_one(z, &out, 1300, &ev);
    cr_assert_eq(out.effects[0].type, ZAB_FX_SAVE_VOTE);
    cr_assert_eq(out.effects[0].seq, 1);
    cr_assert_eq(out.effects[0].u.vote.voted_for, 2);
    cr_assert_eq(find_send(&out, ZAB_VOTE_R)->after_seq, 1);
    /* Asked again before it is on disk, it must wait just so. */
    step_one(z, &out, 1301, &ev);
    cr_assert_eq(find_send(&out, ZAB_VOTE_R)->after_seq, 1);
    ev = (struct zab_event){.type = ZAB_EV_DURABLE, .u.seq = 1};
    step_one(z, &out, 1302, &ev);
    ev = vote_request(&m, ZAB_VOTE, 1, 0, 0);
    step_one(z, &out, 1303, &ev);
    cr_assert(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    cr_assert_eq(find_send(&out, ZAB_VOTE_R)->after_seq, 0);
    zab_out_done(&out);
    zab_free(z);
}

Test(zab_elect, one_vote_per_epoch_even_after_a_restart)
{
    struct zab_boot boot = {.promised_epoch = 1, .voted_for = 3};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_msg m;
    struct zab_event ev = vote_request(&m, ZAB_VOTE, 1, 0, 0);

    step_one(z, &out, 1300, &ev);
    cr_assert_not(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    m.from = 3;
    step_one(z, &out, 1300, &ev);
    cr_assert(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    zab_out_done(&out);
    zab_free(z);
}

Test(zab_elect, no_vote_for_a_log_older_than_the_own)
{
    struct zab_boot boot = {.promised_epoch = 3, .base = {.epoch = 3, .index = 10}};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_msg m;
    struct zab_event ev = vote_request(&m, ZAB_VOTE, 4, 3, 9);

    step_one(z, &out, 1300, &ev);
    cr_assert_not(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    ev = vote_request(&m, ZAB_VOTE, 4, 2, 99); /* longer, but of an older epoch */
    step_one(z, &out, 1300, &ev);
    cr_assert_not(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    ev = vote_request(&m, ZAB_VOTE, 4, 3, 10);
    step_one(z, &out, 1300, &ev);
    cr_assert(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    zab_out_done(&out);
    zab_free(z);
}

Test(zab_elect, a_member_that_cannot_read_its_log_votes_for_what_it_once_held_and_never_campaigns)
{
    struct zab_boot boot = {.promised_epoch = 3,
                            .base = {.epoch = 2, .index = 4},
                            .faulty = true,
                            .claimed = {.epoch = 3, .index = 10}};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_msg m;
    struct zab_event ev = vote_request(&m, ZAB_VOTE, 4, 3, 9);

    step_one(z, &out, 1300, &ev);
    cr_assert_not(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    for (uint64_t now = 1300; now < 9000; now += 100) {
        step_one(z, &out, now, &(struct zab_event){.type = ZAB_EV_TICK});
        cr_assert_null(find_send(&out, ZAB_PREVOTE));
    }
    zab_out_done(&out);
    zab_free(z);
}

/* Mid-log damage: the place is known, so it votes for whoever holds as much, and for no one else.
 */
Test(zab_elect, a_member_with_a_damaged_log_elects_a_candidate_that_holds_what_it_held)
{
    struct zab_boot boot = {
        .promised_epoch = 8, .faulty = true, .claimed = {.epoch = 3, .index = 10}};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_msg m;
    struct zab_event ev = vote_request(&m, ZAB_VOTE, 9, 3, 9);

    step_one(z, &out, 1300, &ev);
    cr_assert_not(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    ev = vote_request(&m, ZAB_VOTE, 9, 2, 99);
    step_one(z, &out, 1300, &ev);
    cr_assert_not(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    ev = vote_request(&m, ZAB_VOTE, 9, 3, 10);
    step_one(z, &out, 1300, &ev);
    cr_assert(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    zab_out_done(&out);
    zab_free(z);
}

/* The end is not known: behind the last trace there may have been any number of entries of any
 * epoch that was promised. A candidate with one more than the trace may still lack what was
 * committed. */
Test(zab_elect, a_member_whose_log_has_no_readable_end_elects_nobody_of_the_epochs_it_promised)
{
    struct zab_boot boot = {.promised_epoch = 3, .faulty = true, .claimed = {.index = 10}};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_msg m;
    struct zab_event ev = vote_request(&m, ZAB_VOTE, 4, 3, 1000);

    step_one(z, &out, 1300, &ev);
    cr_assert_not(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    ev = vote_request(&m, ZAB_VOTE, 5, 4, 11);
    step_one(z, &out, 1300, &ev);
    cr_assert(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    zab_out_done(&out);
    zab_free(z);
}

/* It took a state before its first promise, and lost it: the state's epoch is as good as a promise.
 */
Test(zab_elect, a_claimed_epoch_above_the_promise_is_promised)
{
    struct zab_boot boot = {.faulty = true, .claimed = {.epoch = 7, .index = 50}};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_view v;
    struct zab_msg m;
    struct zab_event ev = vote_request(&m, ZAB_VOTE, 6, 5, 60);

    zab_view(z, &v);
    cr_assert_eq(v.epoch, 7);
    step_one(z, &out, 1300, &ev);
    cr_assert_not(find_send(&out, ZAB_VOTE_R)->u.msg.granted);
    zab_out_done(&out);
    zab_free(z);
}

Test(zab_elect, a_member_that_was_cut_off_does_not_disturb_the_leader_when_it_returns)
{
    struct net *net = net_new(3, 3);

    net_start(net);
    uint32_t leader = net_run_leader(net);
    uint32_t lonely = leader % 3 + 1;

    net_isolate(net, lonely, true);
    net_run(net, 5000);
    cr_assert_eq(net_view(net, lonely).epoch, 1);
    net_isolate(net, lonely, false);
    net_run(net, 2000);
    cr_assert_eq(net_leader(net), leader);
    cr_assert_eq(net_view(net, leader).epoch, 1);
    cr_assert_eq(net_view(net, lonely).leader, leader);
    net_free(net);
}

Test(zab_elect, a_leader_without_a_quorum_steps_down_and_the_rest_goes_on)
{
    struct net *net = net_new(5, 4);

    net_start(net);
    uint32_t first = net_run_leader(net);

    net_isolate(net, first, true);
    net_run(net, 360); /* election_min and a heartbeat */
    cr_assert_eq(net_view(net, first).role == ZAB_LEADER, false);
    uint32_t second = net_run_leader(net);

    cr_assert_neq(second, first);
    net_isolate(net, first, false);
    net_run(net, 1000);
    cr_assert_eq(net_view(net, first).leader, second);
    cr_assert(net_converged(net));
    net_free(net);
}

/* One direction of one link is dead: leader to follower. The follower asks the others, who hear the
 * leader, and stays quiet; the others go on. */
Test(zab_elect, a_follower_deaf_to_the_leader_cannot_depose_it)
{
    struct net *net = net_new(3, 5);

    net_start(net);
    uint32_t leader = net_run_leader(net);

    net_run(net, 100);
    net->cut[leader][leader % 3 + 1] = true;
    net_run(net, 5000);
    cr_assert_eq(net_leader(net), leader);
    cr_assert_eq(net_view(net, leader).epoch, 1);
    net_free(net);
}

/* A voter promised epoch 2 to a candidate that did not win. It hears the leader of epoch 1 no more;
 * without the answer that deposes that leader it would stay outside for ever. */
Test(zab_elect, a_voter_ahead_of_the_leader_brings_about_a_later_epoch)
{
    struct net *net = net_new(3, 6);

    net_start(net);
    uint32_t leader = net_run_leader(net);
    uint32_t voter = leader % 3 + 1;
    struct zab_msg m = {
        .type = ZAB_VOTE, .from = leader % 3 == 2 ? 1 : voter % 3 + 1, .to = voter, .epoch = 2};

    net_run(net, 100);
    m.last = net_view(net, leader).last;
    net_cut(net, leader, voter, true);
    net_run(net, 290);
    net_event(net, voter, &(struct zab_event){.type = ZAB_EV_LINK_DOWN, .u.peer = leader});
    net_run(net, 20);
    net_event(net, voter, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &m});
    net_cut(net, leader, voter, false);
    net_run(net, 3000);
    cr_assert(net_converged(net));
    cr_assert_geq(net_view(net, voter).epoch, 2);
    net_free(net);
}

/* Member 1, a follower of 2 that heard one heartbeat at 2000 ms. */
static struct zab *follower_of_two(struct zab_out *out, bool lease)
{
    struct zab_boot boot = {.promised_epoch = 1};
    struct zab *z = member_one(&boot);
    struct zab_msg m = {
        .type = ZAB_HEARTBEAT, .from = 2, .to = 1, .epoch = 1, .round = 1, .lease = lease};

    step_one(z, out, 2000, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &m});
    cr_assert_not_null(find_send(out, ZAB_HEARTBEAT_R));
    return z;
}

static bool votes_at(struct zab *z, struct zab_out *out, uint64_t now_ms)
{
    struct zab_msg m;
    struct zab_event ev = vote_request(&m, ZAB_PREVOTE, 2, 1, 9);
    bool assents;

    m.from = 3;
    step_one(z, out, now_ms, &ev);
    assents = find_send(out, ZAB_PREVOTE_R)->u.msg.granted;
    ev = vote_request(&m, ZAB_VOTE, 2, 1, 9);
    m.from = 3;
    step_one(z, out, now_ms, &ev);
    cr_assert_eq(find_send(out, ZAB_VOTE_R)->u.msg.granted, assents);
    return assents;
}

static const struct zab_event two_lost = {.type = ZAB_EV_LINK_DOWN, .u.peer = 2};

Test(zab_elect, the_end_of_the_leaders_stream_begins_a_campaign_soon)
{
    struct zab_out out = {0};
    struct zab *z = follower_of_two(&out, false);

    step_one(z, &out, 2010, &two_lost);
    cr_assert_gt(zab_deadline(z), 2010);
    cr_assert_leq(zab_deadline(z), 2036); /* a quarter of a heartbeat */
    step_one(z, &out, zab_deadline(z), &(struct zab_event){.type = ZAB_EV_TICK});
    cr_assert_not_null(find_send(&out, ZAB_PREVOTE));
    zab_out_done(&out);
    zab_free(z);
}

Test(zab_elect, the_end_of_the_leaders_stream_does_not_end_its_lease)
{
    struct zab_out out = {0};
    struct zab *z = follower_of_two(&out, true);

    step_one(z, &out, 2010, &two_lost);
    cr_assert_gt(zab_deadline(z), 2200);
    cr_assert_leq(zab_deadline(z), 2226);
    cr_assert_not(votes_at(z, &out, 2199));
    cr_assert(votes_at(z, &out, 2200));
    zab_out_done(&out);
    zab_free(z);
}

/* If only a link broke, the others still hear the leader. */
Test(zab_elect, a_voter_whose_stream_to_the_leader_ended_votes_and_another_does_not)
{
    struct zab_out out = {0};
    struct zab *z = follower_of_two(&out, false);

    step_one(z, &out, 2010, &(struct zab_event){.type = ZAB_EV_LINK_DOWN, .u.peer = 3});
    cr_assert_not(votes_at(z, &out, 2011));
    step_one(z, &out, 2012, &two_lost);
    cr_assert(votes_at(z, &out, 2012));
    zab_out_done(&out);
    zab_free(z);
}

/* The link breaks every 10 ms, and the leader is heard in between. Each campaign asks both others.
 */
Test(zab_elect, a_link_that_flaps_makes_no_storm_of_campaigns)
{
    struct zab_out out = {0};
    struct zab *z = follower_of_two(&out, false);
    struct zab_msg m = {.type = ZAB_HEARTBEAT, .from = 2, .to = 1, .epoch = 1, .round = 1};
    uint64_t asked = 0;

    for (uint64_t now = 2001; now < 5000; now++) {
        if (now % 40 == 0) {
            m.round++;
            step_one(z, &out, now, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &m});
        } else if (now % 10 == 0) {
            step_one(z, &out, now, &two_lost);
        }
        if (zab_deadline(z) <= now) {
            step_one(z, &out, now, &(struct zab_event){.type = ZAB_EV_TICK});
            asked += find_send(&out, ZAB_PREVOTE) != NULL;
        }
    }
    cr_assert_geq(asked, 3);
    cr_assert_leq(asked, 30); /* three in 300 ms */
    zab_out_done(&out);
    zab_free(z);
}

/* Three times early, then like anybody who hears no leader. */
Test(zab_elect, a_campaign_that_began_early_and_is_refused_falls_back_to_the_usual_pace)
{
    struct zab_out out = {0};
    struct zab *z = follower_of_two(&out, false);
    uint32_t early = 0;

    step_one(z, &out, 2010, &two_lost);
    while (zab_deadline(z) < 2150) {
        step_one(z, &out, zab_deadline(z), &(struct zab_event){.type = ZAB_EV_TICK});
        early += find_send(&out, ZAB_PREVOTE) != NULL;
    }
    cr_assert_eq(early, 3);
    zab_out_done(&out);
    zab_free(z);
}

/* A start waits for no silence: who leads would have spoken to whom it is connected. */
Test(zab_elect, a_member_that_starts_campaigns_soon_once_a_quorum_is_connected)
{
    struct zab_boot boot = {
        .promised_epoch = 4, .base = {.epoch = 3, .index = 10}, .start_ms = 500};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};

    cr_assert_geq(zab_deadline(z), 1300);
    step_one(z, &out, 1010, &(struct zab_event){.type = ZAB_EV_LINK_UP, .u.peer = 3});
    cr_assert_leq(zab_deadline(z), 1036);
    zab_out_done(&out);
    zab_free(z);
}

/* Together they found the ensemble, or not at all. */
Test(zab_elect, an_empty_member_campaigns_soon_once_all_are_connected)
{
    struct zab_boot boot = {.fresh = true};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};

    step_one(z, &out, 1010, &(struct zab_event){.type = ZAB_EV_LINK_UP, .u.peer = 3});
    cr_assert_geq(zab_deadline(z), 1300);
    step_one(z, &out, 1020, &(struct zab_event){.type = ZAB_EV_LINK_UP, .u.peer = 2});
    cr_assert_leq(zab_deadline(z), 1046);
    zab_out_done(&out);
    zab_free(z);
}

Test(zab_elect, strangers_and_the_past_change_nothing)
{
    struct zab_boot boot = {.promised_epoch = 5};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_msg m = {.type = ZAB_PROPOSE, .from = 9, .to = 1, .epoch = 9};
    struct zab_event ev = {.type = ZAB_EV_MSG, .u.msg = &m};

    step_one(z, &out, 1001, &ev);
    cr_assert_eq(out.count, 0);
    m.from = 2;
    m.to = 3;
    step_one(z, &out, 1001, &ev);
    cr_assert_eq(out.count, 0);
    m.to = 1;
    m.epoch = 4;
    step_one(z, &out, 1001, &ev);
    cr_assert_eq(out.count, 0);
    zab_out_done(&out);
    zab_free(z);
}

/* It was given before the leader was heard again, perhaps. */
Test(zab_elect, an_assent_to_an_earlier_question_does_not_count)
{
    struct zab_boot boot = {0};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_view view;
    struct zab_msg m = {.type = ZAB_PREVOTE_R, .from = 2, .to = 1, .epoch = 1, .granted = true};
    struct zab_event ev = {.type = ZAB_EV_MSG, .u.msg = &m};

    step_one(z, &out, 1600, &(struct zab_event){.type = ZAB_EV_TICK});
    m.round = find_send(&out, ZAB_PREVOTE)->u.msg.round;
    step_one(z, &out, 1900, &(struct zab_event){.type = ZAB_EV_TICK});
    cr_assert_eq(find_send(&out, ZAB_PREVOTE)->u.msg.round, m.round + 1);
    step_one(z, &out, 1901, &ev);
    zab_view(z, &view);
    cr_assert_eq(view.role, ZAB_PRECANDIDATE);
    m.round++;
    step_one(z, &out, 1902, &ev);
    m.from = 3; /* all of them: no log has an entry yet */
    step_one(z, &out, 1902, &ev);
    zab_view(z, &view);
    cr_assert_eq(view.role, ZAB_CANDIDATE);
    zab_out_done(&out);
    zab_free(z);
}
