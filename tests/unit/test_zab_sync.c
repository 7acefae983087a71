#include <criterion/criterion.h>

#include "mem.h"
#include "zabnet.h"

/* A leader that took entries nobody else has, cut off, replaced, back again. */
Test(zab_sync, a_deposed_leader_cuts_what_it_could_not_commit)
{
    struct net *net = net_new(3, 1);

    net_start(net);
    uint32_t first = net_run_leader(net);

    net_isolate(net, first, true);
    net_propose(net, first, "lost 1");
    net_propose(net, first, "lost 2");
    net_run(net, 400);
    cr_assert_eq(net_view(net, first).last.index, 3);
    uint32_t second = net_run_leader(net);

    net_propose(net, second, "kept");
    net_run(net, 50);
    net_isolate(net, first, false);
    cr_assert(net_run_applied(net, 3, 2000));
    cr_assert_eq(net_member(net, first)->truncates, 1);
    cr_assert_eq(net_view(net, first).last.epoch, net_view(net, second).epoch);
    cr_assert(net_converged(net));
    net_free(net);
}

static uint64_t disk_add(struct net *net, uint32_t id, uint64_t epoch)
{
    struct net_disk *d = &net_member(net, id)->disk;
    struct hash128 prev = d->entry_count > 0 ? d->entries[d->entry_count - 1].chain : d->base.chain;
    struct zab_entry e = {.epoch = epoch, .index = d->entry_count + 1, .type = ZAB_ENTRY_EPOCH};

    e.chain = hash_chain(prev, e.epoch, e.index, (uint8_t)e.type, NULL, 0);
    d->entries = mem_realloc(d->entries, (d->entry_count + 1) * sizeof(e));
    d->entries[d->entry_count++] = e;
    d->promised_epoch = d->promised_epoch > epoch ? d->promised_epoch : epoch;
    return e.index;
}

static void disk_fill(struct net *net, uint32_t id, const char *epochs)
{
    for (; *epochs != '\0'; epochs++) {
        disk_add(net, id, (uint64_t)(*epochs - '0'));
    }
}

/* Raft's figure 7 in our terms: logs that took entries of several epochs which never committed. */
Test(zab_sync, logs_that_diverged_over_several_epochs_come_together)
{
    static const char *const logs[][3] = {
        {"1114455666", "1112223333", "1114455666"},
        {"1114455666", "1114444", "1114455666"},
        {"111445566677", "1114455666", "1112223"},
        {"1135799", "1224688", "1"},
        {"9", "1111111", "22222222"},
    };

    for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
        struct net *net = net_new(3, i + 1);

        for (uint32_t id = 1; id <= 3; id++) {
            disk_fill(net, id, logs[i][id - 1]);
        }
        net_start(net);
        uint64_t index = net_propose(net, net_run_leader(net), "x");

        cr_assert(net_run_applied(net, index, 1000), "case %zu", i);
        cr_assert(net_converged(net), "case %zu", i);
        net_free(net);
    }
}

/* Every third message is lost, so HELLO, TRUNC and PROPOSE all are at some time. */
Test(zab_sync, a_diverged_log_comes_together_over_a_bad_network)
{
    struct net *net = net_new(3, 8);

    net->conf.election_min_ms = 1000; /* twenty heartbeats, so that a leader stays */
    net->conf.election_max_ms = 2000;
    net->drop_percent = 33;
    disk_fill(net, 1, "1114455666");
    disk_fill(net, 2, "1112223333");
    disk_fill(net, 3, "1114");
    net_start(net);
    uint32_t leader = net_run_leader(net);

    cr_assert(net_run_applied(net, net_view(net, leader).last.index, 20000));
    net_free(net);
}

static struct net *small_window(uint64_t seed)
{
    struct net *net = net_new(3, seed);

    net->conf.window_entries_max = 4;
    net_start(net);
    net_run_leader(net);
    net_run(net, 20);
    return net;
}

static void propose_many(struct net *net, uint32_t id, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        net_propose(net, id, "x");
        net_run(net, 5);
    }
}

Test(zab_sync, a_follower_behind_the_window_gets_the_leaders_state_then_the_rest)
{
    struct net *net = small_window(1);
    uint32_t leader = net_leader(net);
    uint32_t late = leader % 3 + 1;

    net_crash(net, late);
    propose_many(net, leader, 20);
    net_restart(net, late);
    cr_assert(net_run_applied(net, 21, 1000));
    cr_assert_eq(net_member(net, late)->snaps_loaded, 1);
    propose_many(net, leader, 1);
    cr_assert(net_run_applied(net, 22, 100));
    cr_assert_eq(net_member(net, late)->snaps_loaded, 1);
    net_free(net);
}

Test(zab_sync, a_lost_snapshot_is_sent_again)
{
    struct net *net = small_window(2);
    uint32_t leader = net_leader(net);
    uint32_t late = leader % 3 + 1;

    net_crash(net, late);
    propose_many(net, leader, 20);
    net_restart(net, late);
    net->snaps_to_lose = 2;
    cr_assert(net_run_applied(net, 21, 3000));
    cr_assert_eq(net->snaps_to_lose, 0);
    cr_assert_eq(net_member(net, late)->snaps_loaded, 1);
    net_free(net);
}

Test(zab_sync, a_member_that_lost_part_of_its_log_is_given_no_less_than_it_once_held)
{
    struct net *net = net_new(3, 3);

    net_start(net);
    uint32_t leader = net_run_leader(net);
    uint32_t damaged = leader % 3 + 1;

    net_run(net, 20);
    propose_many(net, leader, 5);
    cr_assert(net_run_applied(net, 6, 100));
    net_crash(net, damaged);
    net_damage(net, damaged, 2);
    net_restart(net, damaged);
    cr_assert(net_run_applied(net, 6, 1000));
    cr_assert_eq(net_member(net, damaged)->snaps_loaded, 1);
    cr_assert_geq(net_member(net, damaged)->disk.base.index, 6);
    propose_many(net, leader, 1);
    cr_assert(net_run_applied(net, 7, 100));
    net_free(net);
}

/* Had the old TRUNC been obeyed, an acknowledged entry would be gone. */
Test(zab_sync, a_stale_trunc_cuts_nothing)
{
    struct net *net = net_new(3, 4);

    net_start(net);
    uint32_t leader = net_run_leader(net);
    uint32_t follower = leader % 3 + 1;

    net_run(net, 20);
    propose_many(net, leader, 3);
    struct zab_msg m = {.type = ZAB_TRUNC, .from = leader, .to = follower, .epoch = 1, .sync = 7};

    cr_assert(zab_pos_at(net_member(net, leader)->zab, 1, &m.last));
    net_event(net, follower, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &m});
    cr_assert_eq(net_view(net, follower).last.index, 4);
    cr_assert_eq(net_member(net, follower)->truncates, 0);
    net_free(net);
}

Test(zab_sync, a_snapshot_that_nobody_waits_for_is_refused)
{
    struct net *net = net_new(3, 5);
    struct zab_pos pos;
    uint64_t seq = 77;

    net_start(net);
    uint32_t leader = net_run_leader(net);
    uint32_t follower = leader % 3 + 1;

    net_run(net, 20);
    propose_many(net, leader, 3);
    cr_assert(zab_pos_at(net_member(net, leader)->zab, 4, &pos));
    cr_assert_not(zab_snap_accept(net_member(net, follower)->zab, leader, 1, 7, &pos, &seq));
    cr_assert_eq(seq, 77);
    net_free(net);
}

Test(zab_sync, a_repaired_link_resumes_without_waiting_for_heartbeats)
{
    struct net *net = net_new(3, 6);

    net_start(net);
    uint32_t leader = net_run_leader(net);
    uint32_t follower = leader % 3 + 1;

    net_run(net, 100);
    net_cut(net, leader, follower, true);
    net_propose(net, leader, "x");
    net_run(net, 10);
    net_cut(net, leader, follower, false);
    net_event(net, leader, &(struct zab_event){.type = ZAB_EV_LINK_UP, .u.peer = follower});
    net_event(net, follower, &(struct zab_event){.type = ZAB_EV_LINK_UP, .u.peer = leader});
    cr_assert(net_run_applied(net, 2, 6));
    net_free(net);
}

static struct zab *member_one(const struct zab_boot *boot)
{
    struct zab_conf conf;

    zab_conf_default(&conf);
    conf.self = 1;
    conf.member_count = 3;
    conf.members[0] = 1;
    conf.members[1] = 2;
    conf.members[2] = 3;
    return zab_new(&conf, boot, 1000);
}

/* First word of the leader of epoch 4: what the member answers stays in *out. */
static void hear_leader(struct zab *z, struct zab_out *out)
{
    struct zab_msg m = {.type = ZAB_HEARTBEAT, .from = 2, .to = 1, .epoch = 4, .round = 1};

    zab_step(z, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &m}, 1001, out);
    cr_assert_eq(out->effects[1].u.msg.type, ZAB_HELLO);
    cr_assert_eq(out->effects[2].u.msg.type, ZAB_HEARTBEAT_R);
}

/* They may be another history than the leader's, whose own entries would be counted by them. */
Test(zab_sync, entries_not_compared_with_the_leaders_are_not_acknowledged)
{
    struct net *net = net_new(1, 1);
    struct zab_out out = {0};

    disk_fill(net, 1, "1333");
    struct zab_boot boot = {
        .promised_epoch = 3, .entries = net_member(net, 1)->disk.entries, .entry_count = 4};
    struct zab *z = member_one(&boot);

    hear_leader(z, &out);
    cr_assert_eq(out.effects[1].u.msg.last.index, 4);
    cr_assert_eq(out.effects[2].u.msg.received, 0);
    cr_assert_eq(out.effects[2].u.msg.durable, 0);
    zab_out_done(&out);
    zab_free(z);
    net_free(net);
}

Test(zab_sync, a_state_before_what_a_faulty_member_once_held_is_refused)
{
    struct zab_boot boot = {.promised_epoch = 3,
                            .base = {.epoch = 2, .index = 4},
                            .faulty = true,
                            .claimed = {.epoch = 3, .index = 10}};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_pos pos = {.epoch = 3, .index = 9};
    uint64_t seq = 0;

    hear_leader(z, &out);
    uint64_t sync = out.effects[1].u.msg.sync;

    cr_assert(out.effects[1].u.msg.faulty);
    cr_assert_eq(out.effects[1].u.msg.last.index, 10);
    cr_assert_not(zab_snap_accept(z, 2, 4, sync, &pos, &seq));
    pos.index = 10;
    cr_assert_not(zab_snap_accept(z, 2, 4, sync - 1, &pos, &seq));
    cr_assert_not(zab_snap_accept(z, 3, 4, sync, &pos, &seq));
    cr_assert(zab_snap_accept(z, 2, 4, sync, &pos, &seq));
    cr_assert_eq(seq, 2);
    cr_assert_not(zab_snap_accept(z, 2, 4, sync, &pos, &seq));
    zab_out_done(&out);
    zab_free(z);
}

/* Its log ends before what it once held: more behind the gap would hide that. */
Test(zab_sync, a_faulty_member_takes_no_entries)
{
    struct zab_boot boot = {.promised_epoch = 3,
                            .base = {.epoch = 2, .index = 4},
                            .faulty = true,
                            .claimed = {.epoch = 3, .index = 10}};
    struct zab *z = member_one(&boot);
    struct zab_out out = {0};
    struct zab_view view;
    struct zab_entry e = {.epoch = 3, .index = 5, .type = ZAB_ENTRY_EPOCH};
    struct zab_msg m = {.type = ZAB_PROPOSE,
                        .from = 2,
                        .to = 1,
                        .epoch = 4,
                        .last = boot.base,
                        .entry_count = 1,
                        .entries = &e};

    e.chain = hash_chain(boot.base.chain, 3, 5, ZAB_ENTRY_EPOCH, NULL, 0);
    hear_leader(z, &out);
    zab_out_clear(&out);
    zab_step(z, &(struct zab_event){.type = ZAB_EV_MSG, .u.msg = &m}, 1002, &out);
    zab_view(z, &view);
    cr_assert_eq(view.last.index, 4);
    zab_out_done(&out);
    zab_free(z);
}
