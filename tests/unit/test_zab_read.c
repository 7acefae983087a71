#include <criterion/criterion.h>

#include "zabnet.h"

static struct net *net_ready(uint32_t count, uint64_t seed, uint32_t *ret_leader)
{
    struct net *net = net_new(count, seed);

    net_start(net);
    *ret_leader = net_run_leader(net);
    net_run(net, 60);
    cr_assert(net_converged(net));
    return net;
}

static enum net_read_state read_state(struct net *net, uint32_t id, uint64_t read)
{
    return net_member(net, id)->reads[read].state;
}

Test(zab_read, a_leased_leader_answers_in_the_same_turn_without_a_message)
{
    uint32_t leader;
    struct net *net = net_ready(3, 1, &leader);
    uint64_t sent = net->sent[ZAB_HEARTBEAT];

    net_propose(net, leader, "x");
    net_read(net, leader, 2, false); /* from now on the rounds ask for a lease */
    cr_assert(net_run_applied(net, 2, 10));
    cr_assert_eq(read_state(net, leader, 2), NET_READ_READY);
    sent = net->sent[ZAB_HEARTBEAT];
    net_read(net, leader, 1, false);
    net_event(net, leader, &(struct zab_event){.type = ZAB_EV_FLUSH});
    cr_assert_eq(read_state(net, leader, 1), NET_READ_READY);
    cr_assert_eq(net_member(net, leader)->reads[1].index, 2);
    cr_assert_eq(net->sent[ZAB_HEARTBEAT], sent);
    net_free(net);
}

Test(zab_read, a_read_that_wants_a_quorum_waits_for_one_round_shared_by_many)
{
    uint32_t leader;
    struct net *net = net_ready(3, 2, &leader);
    uint64_t sent = net->sent[ZAB_HEARTBEAT];

    for (uint64_t read = 1; read <= 50; read++) {
        net_read(net, leader, read, true);
    }
    net_event(net, leader, &(struct zab_event){.type = ZAB_EV_FLUSH});
    cr_assert_eq(read_state(net, leader, 1), NET_READ_WAITS);
    cr_assert_eq(net->sent[ZAB_HEARTBEAT], sent + 2);
    net_run(net, 3);
    for (uint64_t read = 1; read <= 50; read++) {
        cr_assert_eq(read_state(net, leader, read), NET_READ_READY);
    }
    net_free(net);
}

Test(zab_read, a_followers_reads_of_one_turn_share_one_message)
{
    uint32_t leader;
    struct net *net = net_ready(3, 3, &leader);
    uint32_t follower = leader % 3 + 1;

    for (uint64_t read = 1; read <= 50; read++) {
        net_read(net, follower, read, false);
    }
    net_read(net, follower, 51, true);
    net_run(net, 6);
    cr_assert_eq(net->sent[ZAB_READ], 2);
    for (uint64_t read = 1; read <= 51; read++) {
        cr_assert_eq(read_state(net, follower, read), NET_READ_READY);
        cr_assert_eq(net_member(net, follower)->reads[read].index, 1);
    }
    net_free(net);
}

Test(zab_read, without_a_leader_reads_fail_at_once)
{
    struct net *net = net_new(3, 4);

    net_start(net);
    net_read(net, 1, 1, false);
    cr_assert_eq(read_state(net, 1, 1), NET_READ_FAILED);
    net_free(net);
}

Test(zab_read, a_cut_off_leader_fails_its_reads_when_it_steps_down)
{
    uint32_t leader;
    struct net *net = net_ready(3, 5, &leader);

    net_isolate(net, leader, true);
    net_read(net, leader, 1, true);
    net_run(net, 100);
    cr_assert_eq(read_state(net, leader, 1), NET_READ_WAITS);
    net_run(net, 260);
    cr_assert_eq(read_state(net, leader, 1), NET_READ_FAILED);
    net_free(net);
}

/* Nobody has to wait for the end of a lease that nobody asked for. */
Test(zab_read, without_reads_there_is_no_lease_and_it_ends_when_they_do)
{
    uint32_t leader;
    struct net *net = net_ready(3, 6, &leader);

    cr_assert_eq(net_view(net, leader).lease_until_ms, 0);
    net_read(net, leader, 1, false);
    cr_assert_eq(read_state(net, leader, 1), NET_READ_WAITS); /* it takes a round */
    net_run(net, 10);
    cr_assert_eq(read_state(net, leader, 1), NET_READ_READY);
    cr_assert_gt(net_view(net, leader).lease_until_ms, net->now_ms);
    net_run(net, 500);
    cr_assert_gt(net_view(net, leader).lease_until_ms, net->now_ms);
    net_run(net, 500);
    cr_assert_leq(net_view(net, leader).lease_until_ms, net->now_ms);
    net_free(net);
}

/* The voter's promise begins when it answers, at the latest; the leader counts from what it knows
 * to be earlier. */
Test(zab_read, a_lease_counts_from_the_question_and_not_from_the_answer)
{
    uint32_t leader;
    struct net *net = net_ready(3, 6, &leader);
    uint64_t asked = net->now_ms;

    net->delay_ms = 40;
    net_read(net, leader, 1, false);
    net_run(net, 100);
    cr_assert_gt(net_view(net, leader).lease_until_ms, asked);
    cr_assert_leq(net_view(net, leader).lease_until_ms, asked + 5 + 194);
    net_free(net);
}

/* Whoever comes back with a new disk knows of no lease, and gives votes as soon as it has the
 * leader's state: what it promised in its former life is not counted on. */
Test(zab_read, a_lease_does_not_rest_on_a_follower_that_lost_its_disk)
{
    uint32_t leader;
    struct net *net = net_ready(3, 6, &leader);
    uint32_t other = leader % 3 + 1;
    struct zab_msg hello = {.type = ZAB_HELLO,
                            .from = other,
                            .to = leader,
                            .epoch = net_view(net, leader).epoch,
                            .sync = 1,
                            .faulty = true};
    struct zab_msg late = {.type = ZAB_HEARTBEAT_R, .from = other, .to = leader};

    net_isolate(net, other % 3 + 1, true);
    net_read(net, leader, 1, false);
    net_run(net, 20);
    cr_assert_gt(net_view(net, leader).lease_until_ms, net->now_ms);
    net_isolate(net, other, true);
    net_run(net, 120); /* rounds that it did not answer */
    cr_assert_gt(net_view(net, leader).lease_until_ms, net->now_ms);
    net_event(net, leader, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &hello});
    cr_assert_leq(net_view(net, leader).lease_until_ms, net->now_ms);
    late.epoch = hello.epoch;
    for (late.round = 1; late.round < 1000; late.round++) { /* all that were ever sent */
        net_event(net, leader, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &late});
    }
    cr_assert_leq(net_view(net, leader).lease_until_ms, net->now_ms);
    net_free(net);
}

/* 200 ms, less twice the drift and two milliseconds: 194 ms from the sending of a round that a
 * quorum answered. No other member can lead before 200 ms from its receipt. */
Test(zab_read, the_lease_ends_before_another_leader_can_be_elected)
{
    uint32_t leader;
    struct net *net = net_ready(3, 6, &leader);
    uint64_t lease;

    net_read(net, leader, 2, false);
    net_run(net, 20);
    lease = net_view(net, leader).lease_until_ms;
    cr_assert_leq(lease, net->now_ms + 194);
    cr_assert_gt(lease, net->now_ms + 130);
    net_isolate(net, leader, true);
    while (net->now_ms < lease) {
        cr_assert(net_leader(net) == leader);
        net_run(net, 1);
    }
    net_read(net, leader, 1, false);
    net_event(net, leader, &(struct zab_event){.type = ZAB_EV_FLUSH});
    cr_assert_neq(read_state(net, leader, 1), NET_READ_READY);
    net_free(net);
}

Test(zab_read, a_new_leader_answers_only_after_its_epoch_entry_is_committed)
{
    struct net *net = net_new(3, 7);
    uint32_t leader = 0;

    net_start(net);
    for (uint32_t id = 1; id <= 3; id++) {
        net_member(net, id)->disk_stuck = false;
    }
    while (leader == 0) { /* elected, and its epoch entry not on a quorum yet */
        net_run(net, 1);
        for (uint32_t id = 1; id <= 3; id++) {
            leader = net_view(net, id).role == ZAB_LEADER ? id : leader;
        }
    }
    for (uint32_t id = 1; id <= 3; id++) {
        net_member(net, id)->disk_stuck = true;
    }
    net_run(net, 200);
    cr_assert_not(net_view(net, leader).serving);
    net_read(net, leader, 1, false);
    net_run(net, 100);
    cr_assert_eq(read_state(net, leader, 1), NET_READ_WAITS);
    for (uint32_t id = 1; id <= 3; id++) {
        net_member(net, id)->disk_stuck = false;
    }
    net_run(net, 60);
    cr_assert(net_view(net, leader).serving);
    cr_assert_eq(read_state(net, leader, 1), NET_READ_READY);
    cr_assert_eq(net_member(net, leader)->reads[1].index, 1);
    net_free(net);
}

static bool drop_reads(struct net *net, const struct zab_msg *m)
{
    (void)net;
    return m->type == ZAB_READ || m->type == ZAB_READ_R;
}

Test(zab_read, a_lost_read_fails_after_the_longest_election_time)
{
    uint32_t leader;
    struct net *net = net_ready(3, 8, &leader);
    uint32_t follower = leader % 3 + 1;

    net->drop = drop_reads;
    net_read(net, follower, 1, false);
    net_run(net, 599);
    cr_assert_eq(read_state(net, follower, 1), NET_READ_WAITS);
    net_run(net, 1);
    cr_assert_eq(read_state(net, follower, 1), NET_READ_FAILED);
    net_free(net);
}

Test(zab_read, a_followers_reads_fail_when_its_link_to_the_leader_breaks)
{
    uint32_t leader;
    struct net *net = net_ready(3, 9, &leader);
    uint32_t follower = leader % 3 + 1;

    net->drop = drop_reads;
    net_read(net, follower, 1, false);
    net_run(net, 5);
    net_event(net, follower, &(struct zab_event){.type = ZAB_EV_LINK_DOWN, .u.peer = leader});
    cr_assert_eq(read_state(net, follower, 1), NET_READ_FAILED);
    net_free(net);
}

/* The answer of a former leader, or to a former life of this member, is none. */
Test(zab_read, an_answer_of_another_epoch_or_to_another_read_changes_nothing)
{
    uint32_t leader;
    struct net *net = net_ready(3, 10, &leader);
    uint32_t follower = leader % 3 + 1;
    struct zab_msg m = {.type = ZAB_READ_R, .from = leader, .to = follower, .epoch = 1, .read = 1};

    net->drop = drop_reads;
    net_read(net, follower, 1, false);
    net_run(net, 2);
    net_event(net, follower, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &m});
    cr_assert_eq(read_state(net, follower, 1), NET_READ_WAITS);
    net_free(net);
}

Test(zab_read, the_leaders_digest_reaches_a_follower_once)
{
    uint32_t leader;
    struct net *net = net_ready(3, 11, &leader);
    struct zab_event ev = {.type = ZAB_EV_DIGEST};

    ev.u.digest.index = 1;
    ev.u.digest.digest = 99;
    net_event(net, leader, &ev);
    net_run(net, 300);
    for (uint32_t id = 1; id <= 3; id++) {
        cr_assert_eq(net_member(net, id)->digests, id == leader ? 0 : 1);
    }
    net_free(net);
}

Test(zab_read, an_answer_to_a_round_that_was_never_sent_changes_nothing)
{
    uint32_t leader;
    struct net *net = net_ready(3, 12, &leader);
    uint64_t lease = net_view(net, leader).lease_until_ms;
    struct zab_msg m = {
        .type = ZAB_HEARTBEAT_R, .from = leader % 3 + 1, .to = leader, .epoch = 1, .round = 1000};

    net_event(net, leader, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &m});
    cr_assert_eq(net_view(net, leader).lease_until_ms, lease);
    net_free(net);
}
