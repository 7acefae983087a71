#include <criterion/criterion.h>

#include <string.h>

#include "zabnet.h"

/* Members that begin with a state restored from a backup: alone, beside empty ones, beside others
 * with another state, and beside an ensemble that is alive. */

static const struct zab_pos old = {.epoch = 7, .index = 40, .chain = {1, 2}};
static const struct zab_pos newer = {.epoch = 9, .index = 30, .chain = {3, 4}};

/* `kinds`: for each member what it begins with: '.' nothing, 'o' the old state, 'n' the newer one.
 * `first` is what the ensemble is expected to begin with. */
static struct net *net_begin(const char *kinds, uint64_t seed, const struct zab_pos *first)
{
    struct net *net = net_new((uint32_t)strlen(kinds), seed);

    for (uint32_t id = 1; id <= net->count; id++) {
        if (kinds[id - 1] != '.') {
            net_restore(net, id, kinds[id - 1] == 'o' ? &old : &newer);
        }
    }
    net->committed = first->index;
    net->history[first->index] = *first;
    return net;
}

static bool comes_together(struct net *net)
{
    for (int ms = 0; ms < 20000 && !net_converged(net); ms += 20) {
        net_run(net, 20);
    }
    return net_converged(net);
}

static void assert_forms(const char *kinds, const struct zab_pos *first)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct net *net = net_begin(kinds, seed, first);

        net_start(net);
        cr_assert(comes_together(net), "%s, seed %llu", kinds, (unsigned long long)seed);
        cr_assert_eq(net->history[first->index + 1].epoch, net_view(net, net_leader(net)).epoch);
        cr_assert_gt(net->history[first->index + 1].epoch, first->epoch);
        net_propose(net, net_leader(net), "goes on");
        net_run(net, 100);
        cr_assert(net_converged(net));
        cr_assert_eq(net->committed, first->index + 2);
        for (uint32_t id = 1; id <= net->count; id++) { /* and restarts as any other */
            net_crash(net, id);
        }
        net_start(net);
        cr_assert(comes_together(net));
        net_free(net);
    }
}

Test(zab_restored, one_member_is_restored_and_the_others_are_empty)
{
    assert_forms("o..", &old);
    assert_forms(".n.", &newer);
    assert_forms("..o..", &old);
    assert_forms("o", &old);
}

Test(zab_restored, all_members_are_restored_alike)
{
    struct net *net = net_begin("ooo", 1, &old);

    net_start(net);
    cr_assert(comes_together(net));
    for (uint32_t id = 1; id <= 3; id++) {
        cr_assert_eq(net_member(net, id)->snaps_loaded, 0); /* they have it already */
    }
    net_free(net);
    assert_forms("ooo", &old);
}

/* By epoch, then by index: the older state is given up although its index is higher. */
Test(zab_restored, of_different_states_the_newest_one_wins)
{
    assert_forms("on.", &newer);
    assert_forms("ono", &newer);
    assert_forms("ooonn", &newer);
}

Test(zab_restored, of_two_states_at_one_index_the_later_epoch_wins)
{
    struct zab_pos twin = old;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct net *net = net_begin("ooo", seed, &old);

        twin.epoch = old.epoch - 1;
        twin.chain.lo = 99;
        for (uint32_t id = 2; id <= 3; id++) {
            net_wipe(net, id);
            net_restore(net, id, &twin);
        }
        net_start(net);
        cr_assert(comes_together(net), "seed %llu", (unsigned long long)seed);
        net_free(net);
    }
}

/* Its entry stands where the older states end: what they hold there must not count for it. */
Test(zab_restored, an_older_state_that_reaches_further_does_not_acknowledge_the_newer_ones_entries)
{
    struct zab_pos further = {.epoch = newer.epoch - 1, .index = newer.index + 1, .chain = {5, 6}};

    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct net *net = net_begin("n..", seed, &newer);

        for (uint32_t id = 2; id <= 3; id++) {
            net_restore(net, id, &further);
        }
        net_start(net);
        cr_assert(comes_together(net), "seed %llu", (unsigned long long)seed);
        net_free(net);
    }
}

Test(zab_restored, the_first_start_needs_all_members)
{
    struct net *net = net_begin("o..", 3, &old);

    net_start(net);
    net_crash(net, 3);
    net_run(net, 10000);
    cr_assert_eq(net_leader(net), 0);
    cr_assert(net_disk_fresh(&net_member(net, 1)->disk));
    net_restart(net, 3);
    cr_assert(comes_together(net));
    net_free(net);
}

Test(zab_restored, a_first_start_that_was_interrupted_anywhere_is_completed)
{
    static const char *const kinds[] = {"o..", "on.", "ooo"};

    for (uint64_t ms = 0; ms < 20; ms++) {
        for (uint32_t written = 0; written < 16; written += 2) {
            const char *kind = kinds[ms % 3];
            struct net *net = net_begin(kind, 1 + ms % 5, kind[1] == 'n' ? &newer : &old);

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
            net_start(net);
            cr_assert(comes_together(net), "%s, ms %llu, written %x", kind, (unsigned long long)ms,
                      written);
            net_free(net);
        }
    }
}

/* --- beside an ensemble that is alive -------------------------------------------------------- */

static struct net *net_formed(uint64_t seed, uint32_t *ret_leader)
{
    struct net *net = net_new(3, seed);

    net_start(net);
    *ret_leader = net_run_leader(net);
    for (int i = 0; i < 5; i++) {
        net_propose(net, *ret_leader, "acknowledged");
    }
    net_run(net, 60);
    cr_assert(net_converged(net));
    return net;
}

Test(zab_restored, a_member_restored_beside_a_leader_takes_its_state_though_its_own_index_is_higher)
{
    uint32_t leader;
    struct net *net = net_formed(1, &leader);
    uint32_t id = leader % 3 + 1;

    net_crash(net, id);
    net_restore(net, id, &old);
    net_restart(net, id);
    net_run(net, 500);
    cr_assert(net_converged(net));
    cr_assert_eq(net_member(net, id)->snaps_loaded, 1);
    cr_assert_eq(net_member(net, id)->applied, 6);
    cr_assert_eq(net_view(net, id).last.index, 6);
    net_free(net);
}

/* The numbers of the restored state are above all of theirs, and it asks them again and again. */
Test(zab_restored, nobody_who_has_an_entry_votes_for_a_restored_state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint32_t leader;
        struct net *net = net_formed(seed, &leader);
        uint32_t restored = leader % 3 + 1;

        for (uint32_t id = 1; id <= 3; id++) {
            net_crash(net, id);
        }
        net_restore(net, restored, &old);
        net_restart(net, restored);
        net_restart(net, restored % 3 + 1); /* one that knows, and cannot lead alone */
        net_run(net, 10000);
        cr_assert_eq(net_leader(net), 0);
        cr_assert(net_disk_fresh(&net_member(net, restored)->disk));
        net_restart(net, (restored + 1) % 3 + 1);
        cr_assert(comes_together(net), "seed %llu", (unsigned long long)seed);
        cr_assert_lt(net_view(net, restored).last.index, old.index);
        net_free(net);
    }
}

Test(zab_restored, two_restored_members_do_not_outvote_one_that_has_an_entry)
{
    uint32_t leader;
    struct net *net = net_formed(2, &leader);

    for (uint32_t id = 1; id <= 3; id++) {
        net_crash(net, id);
        if (id != leader) {
            net_restore(net, id, &old);
        }
        net_restart(net, id);
    }
    net_run(net, 20000);
    cr_assert_eq(net_leader(net), 0); /* nobody can tell, so nobody leads, and nothing is lost */
    cr_assert_eq(net_view(net, leader).last.index, 6);
    net_free(net);
}
