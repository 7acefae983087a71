#include <criterion/criterion.h>

#include "zabnet.h"

/* Three members, leader elected, everybody in step. */
static struct net *net_ready(uint64_t seed, uint32_t *ret_leader)
{
    struct net *net = net_new(3, seed);

    net_start(net);
    *ret_leader = net_run_leader(net);
    net_run(net, 60);
    cr_assert(net_converged(net));
    return net;
}

/* Entry 2: PROPOSE 1 ms, disk 1 ms, ACK 1 ms, commit heartbeat 1 ms; heartbeats come every 50. */
Test(zab_bcast, followers_hear_of_a_commit_at_once)
{
    uint32_t leader;
    struct net *net = net_ready(1, &leader);

    net_propose(net, leader, "x");
    cr_assert(net_run_applied(net, 2, 6));
    net_free(net);
}

Test(zab_bcast, the_proposals_of_one_turn_share_one_append_and_one_message_per_follower)
{
    uint32_t leader;
    struct net *net = net_ready(2, &leader);
    uint64_t proposes = net->sent[ZAB_PROPOSE];
    uint64_t acks = net->sent[ZAB_ACK];

    for (int i = 0; i < 100; i++) {
        net_propose(net, leader, "x");
    }
    net_run(net, 1);
    cr_assert_eq(net_member(net, leader)->job_count, 1);
    cr_assert(net_run_applied(net, 101, 10));
    cr_assert_eq(net->sent[ZAB_PROPOSE], proposes + 2);
    cr_assert_eq(net->sent[ZAB_ACK], acks + 2);
    net_free(net);
}

Test(zab_bcast, a_batch_is_bounded)
{
    uint32_t leader;
    struct net *net = net_ready(3, &leader);
    uint64_t proposes = net->sent[ZAB_PROPOSE];

    for (int i = 0; i < 2500; i++) {
        net_propose(net, leader, "x");
    }
    net_run(net, 1);
    cr_assert_eq(net_member(net, leader)->job_count, 3);
    cr_assert_eq(net->sent[ZAB_PROPOSE], proposes + 6);
    cr_assert(net_run_applied(net, 2501, 20));
    net_free(net);
}

Test(zab_bcast, a_leader_with_a_slow_disk_commits_by_its_followers_but_does_not_apply)
{
    uint32_t leader;
    struct net *net = net_ready(4, &leader);

    net_member(net, leader)->disk_stuck = true;
    net_propose(net, leader, "x");
    net_run(net, 100);
    cr_assert_eq(net_view(net, leader).commit, 2);
    cr_assert_eq(net_view(net, leader).durable, 1);
    cr_assert_eq(net_member(net, leader)->applied, 1);
    cr_assert_eq(net_member(net, leader % 3 + 1)->applied, 2);
    net_member(net, leader)->disk_stuck = false;
    net_run(net, 2);
    cr_assert_eq(net_member(net, leader)->applied, 2);
    net_free(net);
}

Test(zab_bcast, what_is_not_on_the_disks_of_a_quorum_is_not_committed)
{
    uint32_t leader;
    struct net *net = net_ready(5, &leader);

    for (uint32_t id = 1; id <= 3; id++) {
        net_member(net, id)->disk_stuck = id != leader;
    }
    net_propose(net, leader, "x");
    net_run(net, 1000);
    cr_assert_eq(net_view(net, leader).commit, 1);
    net_member(net, leader % 3 + 1)->disk_stuck = false;
    net_run(net, 10);
    cr_assert_eq(net_view(net, leader).commit, 2);
    net_free(net);
}

static bool drop_one_type(struct net *net, const struct zab_msg *m, enum zab_msg_type type)
{
    return m->type == type && net->dropped < 2; /* one to each follower, or from each */
}

static bool drop_ack(struct net *net, const struct zab_msg *m)
{
    return drop_one_type(net, m, ZAB_ACK);
}

static bool drop_acks(struct net *net, const struct zab_msg *m)
{
    (void)net;
    return m->type == ZAB_ACK;
}

static bool drop_propose(struct net *net, const struct zab_msg *m)
{
    return drop_one_type(net, m, ZAB_PROPOSE);
}

/* The answer to the next heartbeat says the same. */
Test(zab_bcast, a_lost_ack_delays_a_commit_to_the_next_heartbeat)
{
    uint32_t leader;
    struct net *net = net_ready(6, &leader);

    net->drop = drop_ack;
    net_propose(net, leader, "x");
    cr_assert(net_run_applied(net, 2, 60));
    cr_assert_eq(net->dropped, 2);
    net_free(net);
}

Test(zab_bcast, a_lost_propose_is_noticed_by_the_gap_it_leaves)
{
    uint32_t leader;
    struct net *net = net_ready(7, &leader);

    net->drop = drop_propose;
    net_propose(net, leader, "lost");
    net_run(net, 1);
    net_propose(net, leader, "shows the gap");
    cr_assert(net_run_applied(net, 3, 12));
    cr_assert_eq(net->dropped, 2);
    net_free(net);
}

Test(zab_bcast, a_lost_propose_with_nothing_behind_it_is_noticed_at_heartbeats)
{
    uint32_t leader;
    struct net *net = net_ready(8, &leader);

    net->drop = drop_propose;
    net_propose(net, leader, "lost");
    cr_assert(net_run_applied(net, 2, 250));
    cr_assert_eq(net->dropped, 2);
    net_free(net);
}

Test(zab_bcast, doubled_and_overtaking_messages_do_no_harm)
{
    uint32_t leader;
    struct net *net = net_ready(9, &leader);

    net->dup_percent = 50;
    net->jitter_ms = 20;
    for (int i = 0; i < 200; i++) {
        net_propose(net, leader, "x");
        net_run(net, 2);
    }
    cr_assert(net_run_applied(net, 201, 2000));
    cr_assert_eq(net_leader(net), leader);
    net_free(net);
}

/* What a follower has taken in but not on its disk counts: it may be slow for long. */
Test(zab_bcast, no_more_messages_than_configured_are_sent_to_a_slow_disk)
{
    struct net *net = net_new(3, 10);

    net->conf.inflight_max = 2;
    net_start(net);
    uint32_t leader = net_run_leader(net);

    net_run(net, 60);
    uint64_t proposes = net->sent[ZAB_PROPOSE];

    for (uint32_t id = 1; id <= 3; id++) {
        net_member(net, id)->disk_stuck = id != leader;
    }
    for (int i = 0; i < 50; i++) {
        net_propose(net, leader, "x");
        net_run(net, 1);
    }
    cr_assert_eq(net->sent[ZAB_PROPOSE], proposes + 2 * net->conf.inflight_max);
    for (uint32_t id = 1; id <= 3; id++) {
        net_member(net, id)->disk_stuck = false;
    }
    cr_assert(net_run_applied(net, 51, 100));
    net_free(net);
}

static uint32_t net_ready_gathering(struct net *net, uint32_t gather_ms)
{
    net->conf.gather_ms = gather_ms;
    net_start(net);
    uint32_t leader = net_run_leader(net);

    net_run(net, 60);
    return leader;
}

static void propose_together(struct net *net, uint32_t leader, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        net_propose(net, leader, "x");
    }
    net_run(net, 1);
}

Test(zab_bcast, behind_enough_entries_under_way_others_gather_until_these_are_committed)
{
    struct net *net = net_new(3, 15);
    uint32_t leader = net_ready_gathering(net, 20);
    uint64_t proposes = net->sent[ZAB_PROPOSE];

    propose_together(net, leader, net->conf.gather_entries);
    propose_together(net, leader, 1);
    propose_together(net, leader, 1);
    cr_assert_eq(net->sent[ZAB_PROPOSE], proposes + 2);
    cr_assert_eq(net_member(net, leader)->job_count, 0);
    cr_assert(net_run_applied(net, 1 + net->conf.gather_entries + 2, 8));
    cr_assert_eq(net->sent[ZAB_PROPOSE], proposes + 4);
    net_free(net);
}

Test(zab_bcast, behind_few_entries_others_leave_at_once)
{
    struct net *net = net_new(3, 16);
    uint32_t leader = net_ready_gathering(net, 20);
    uint64_t proposes = net->sent[ZAB_PROPOSE];

    propose_together(net, leader, net->conf.gather_entries - 1);
    propose_together(net, leader, 1);
    cr_assert_eq(net->sent[ZAB_PROPOSE], proposes + 4);
    net_free(net);
}

/* Nothing can be committed here, and whoever is slow must not make it slower. */
Test(zab_bcast, entries_gather_for_no_longer_than_configured)
{
    struct net *net = net_new(3, 17);
    uint32_t leader = net_ready_gathering(net, 5);
    uint64_t proposes = net->sent[ZAB_PROPOSE];

    net->drop = drop_acks;
    propose_together(net, leader, net->conf.gather_entries);
    propose_together(net, leader, 1);
    cr_assert_eq(net->sent[ZAB_PROPOSE], proposes + 2);
    net_run(net, 5);
    cr_assert_eq(net->sent[ZAB_PROPOSE], proposes + 4);
    net_free(net);
}

/* What a follower would have to store is checked against what it has, whatever the sender says. */
Test(zab_bcast, an_entry_that_does_not_continue_the_chain_is_not_taken)
{
    uint32_t leader;
    struct net *net = net_ready(11, &leader);
    uint32_t follower = leader % 3 + 1;
    struct zab_entry e = {.epoch = 1, .index = 2, .type = ZAB_ENTRY_DATA, .chain = {1, 2}};
    struct zab_msg m = {.type = ZAB_PROPOSE,
                        .from = leader,
                        .to = follower,
                        .epoch = 1,
                        .entry_count = 1,
                        .entries = &e};

    m.last = net_view(net, follower).last;
    net_event(net, follower, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &m});
    cr_assert_eq(net_view(net, follower).last.index, 1);
    net_free(net);
}

/* Raft's figure 8: an entry of an older epoch that a quorum holds can still lose an election. It is
 * committed only together with one of the leader's own epoch. */
Test(zab_bcast, entries_of_an_older_epoch_commit_with_the_leaders_first)
{
    uint32_t leader;
    struct net *net = net_ready(12, &leader);
    uint32_t other = leader % 3 + 1;
    uint32_t third = other % 3 + 1;
    uint32_t second = 0;

    /* Entry 2 of epoch 1 is on both disks that live on, and nobody knows. */
    net_member(net, leader)->disk_stuck = true;
    net->drop = drop_acks;
    net_propose(net, leader, "of epoch 1");
    net_run(net, 3);
    net_crash(net, leader);
    net->drop = NULL;
    cr_assert_eq(net_view(net, other).durable, 2);
    cr_assert_eq(net_view(net, third).durable, 2);
    while (second == 0) {
        net_run(net, 1);
        second = net_view(net, other).role == ZAB_LEADER ? other : second;
        second = net_view(net, third).role == ZAB_LEADER ? third : second;
    }
    net_member(net, other)->disk_stuck = true;
    net_member(net, third)->disk_stuck = true;
    net_run(net, 100);
    cr_assert_eq(net_view(net, second).last.index, 3);
    cr_assert_eq(net_view(net, second).commit, 1);
    net_member(net, other)->disk_stuck = false;
    net_member(net, third)->disk_stuck = false;
    net_run(net, 20);
    cr_assert_eq(net_view(net, second).commit, 3);
    net_free(net);
}
