#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "zabnet.h"

/* Random faults, then none. While messages are lost, doubled and overtake each other, links break,
 * members crash with the loss of what was not on disk, disks stall, damage is found, and disks are
 * replaced by empty ones, one at a time, the net checks after every step that committed history is
 * one and is kept, that an epoch has one leader, that reads are not stale (see zabnet.h). After the
 * faults stop the ensemble must come together and take writes. ZAB_RANDOM_SEED runs one seed,
 * ZAB_RANDOM_COUNT that many. */

enum { FAULTY_MS = 12000, HEALED_MS = 20000 };

/* All disks but this one are as their members left them. */
static bool others_intact(struct net *net, uint32_t id)
{
    for (uint32_t other = 1; other <= net->count; other++) {
        const struct net_disk *d = &net_member(net, other)->disk;

        if (other != id && (d->faulty || net_disk_fresh(d))) {
            return false;
        }
    }
    return true;
}

static void break_something(struct net *net, struct prng *p)
{
    uint32_t id = (uint32_t)prng_below(p, net->count) + 1;
    uint32_t other = (uint32_t)prng_below(p, net->count) + 1;

    if (prng_below(p, 3) == 0 && net_leader(net) != 0) {
        id = net_leader(net);
    }
    struct net_member *m = net_member(net, id);

    switch (prng_below(p, 12)) {
    case 0:
    case 1:
        if (m->zab != NULL) {
            net_disk_do(net, id, prng_below(p, m->job_count + 1));
            net_crash(net, id);
        }
        break;
    case 2:
        net_isolate(net, id, true);
        break;
    case 3:
        net->cut[id][other] = true; /* one way */
        break;
    case 4:
    case 5:
        net_isolate(net, id, false);
        break;
    case 6:
        m->disk_stuck = true;
        break;
    case 7:
        m->disk_stuck = false;
        break;
    case 8:
        if (m->zab != NULL) {
            net_snapshot(net, id);
        }
        break;
    case 9:
        net->drop_percent = prng_below(p, 3) == 0 ? prng_below(p, 30) : 0;
        net->dup_percent = prng_below(p, 20);
        net->jitter_ms = prng_below(p, 2) == 0 ? prng_below(p, 60) : 0;
        break;
    case 10:
        if (m->zab != NULL && id != other) {
            enum zab_event_type type = prng_below(p, 2) ? ZAB_EV_LINK_UP : ZAB_EV_LINK_DOWN;

            net_event(net, id, &(struct zab_event){.type = type, .u.peer = other});
        }
        break;
    case 11:
        if (m->zab != NULL && net->committed > 0 && others_intact(net, id)) {
            net_crash(net, id);
            net_wipe(net, id);
            if (prng_below(p, 2) == 0) {
                net_restart(net, id);
            }
        }
        break;
    default:
        break;
    }
}

static void mend_something(struct net *net, struct prng *p)
{
    for (uint32_t id = 1; id <= net->count; id++) {
        struct net_member *m = net_member(net, id);

        if (m->zab != NULL || prng_below(p, 8) != 0) {
            continue;
        }
        if (others_intact(net, id) && m->disk.entry_count > 1 && prng_below(p, 10) == 0) {
            net_damage(net, id, m->disk.base.index + prng_below(p, m->disk.entry_count));
        }
        net_restart(net, id);
    }
}

static void work(struct net *net, struct prng *p, uint64_t *read)
{
    for (uint32_t id = 1; id <= net->count; id++) {
        if (net_member(net, id)->zab == NULL) {
            continue;
        }
        for (uint64_t i = prng_below(p, 4); i > 0 && net_view(net, id).serving; i--) {
            net_propose(net, id, "some bytes");
        }
        if (prng_below(p, 4) == 0 && *read < NET_READS_MAX) {
            net_read(net, id, (*read)++, prng_below(p, 2) == 0);
        }
    }
}

static void heal(struct net *net)
{
    net->drop_percent = net->dup_percent = net->jitter_ms = 0;
    for (uint32_t id = 1; id <= net->count; id++) {
        net_isolate(net, id, false);
        net->cut[id][id] = false;
        net_member(net, id)->disk_stuck = false;
        if (net_member(net, id)->zab == NULL) {
            net_restart(net, id);
        }
    }
}

static void run_seed(uint64_t seed)
{
    struct prng p = {seed};
    uint32_t count = prng_below(&p, 2) == 0 ? 3 : 5;
    struct net *net = net_new(count, seed);
    uint64_t read = 1;
    uint64_t ms = 0;

    net->conf.window_entries_max = prng_below(&p, 2) == 0 ? 8 : 1000;
    net->conf.inflight_max = 1 + (uint32_t)prng_below(&p, 8);
    net->conf.gather_entries = 1 + (uint32_t)prng_below(&p, 4);
    net->conf.gather_ms = (uint32_t)prng_below(&p, 20);
    net->delay_ms = 1 + prng_below(&p, 10);
    net->disk_ms = 1 + prng_below(&p, 10);
    for (uint32_t id = 1; id <= count; id++) {
        net_member(net, id)->drift = prng_below(&p, 21); /* one in a hundred either way */
    }
    net_start(net);
    if (prng_below(&p, 4) != 0) { /* a first start needs all members, which faults delay */
        net_run_leader(net);
    }
    for (; ms < FAULTY_MS; ms += 20) {
        if (prng_below(&p, 10) == 0) {
            break_something(net, &p);
        }
        if (prng_below(&p, 20) == 0) {
            mend_something(net, &p);
        }
        work(net, &p, &read);
        net_run(net, 20);
    }
    uint64_t before = net->committed;

    heal(net);
    for (ms = 0; ms < HEALED_MS && !net_converged(net); ms += 20) {
        net_run(net, 20);
    }
    cr_assert(net_converged(net), "seed %llu does not come together", (unsigned long long)seed);
    uint64_t index = net_propose(net, net_leader(net), "after");

    cr_assert(net_run_applied(net, index, 1000), "seed %llu takes no write",
              (unsigned long long)seed);
    if (getenv("ZAB_RANDOM_VERBOSE") != NULL) {
        uint64_t snaps = 0, truncates = 0;

        for (uint32_t id = 1; id <= count; id++) {
            snaps += net_member(net, id)->snaps_loaded;
            truncates += net_member(net, id)->truncates;
        }
        fprintf(
            stderr,
            "seed=%llu members=%u committed=%llu healed_ms=%llu epoch=%llu lost=%llu snaps=%llu "
            "truncates=%llu reads=%llu\n",
            (unsigned long long)seed, count, (unsigned long long)before, (unsigned long long)ms,
            (unsigned long long)net_view(net, net_leader(net)).epoch,
            (unsigned long long)net->dropped, (unsigned long long)snaps,
            (unsigned long long)truncates, (unsigned long long)read);
    }
    net_free(net);
}

Test(zab_random, faults_then_none, .timeout = 110)
{
    const char *one = getenv("ZAB_RANDOM_SEED");
    const char *many = getenv("ZAB_RANDOM_COUNT");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t count = many != NULL ? strtoull(many, NULL, 10) : one != NULL ? 1 : 12;

    for (uint64_t seed = first; seed < first + count; seed++) {
        fprintf(stderr, "zab_random seed=%llu\n", (unsigned long long)seed);
        run_seed(seed);
    }
}
