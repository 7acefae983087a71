#include <criterion/criterion.h>

#include "clientnet.h"

/* What the members say is never found wrong, whatever breaks. */

static struct world world;

Test(sim_clients, truth_is_not_found_wrong)
{
    struct clients_counts n, sum = {0};

    for (uint64_t seed = 1; seed <= 9; seed++) {
        const char *wrong;

        world_start(&world, seed, NULL);
        for (int i = 0; i < 9000; i++) {
            world_turn(&world);
            world_fault(&world);
            wrong = i % 3000 == 2999 ? clients_judge(world.clients, &world.ledger) : NULL;
            cr_assert_eq(NULL, wrong, "seed %d: %s", (int)seed, wrong);
        }
        world_finish(&world);
        wrong = clients_judge(world.clients, &world.ledger);
        cr_assert_eq(NULL, wrong, "seed %d: %s", (int)seed, wrong);
        clients_counts(world.clients, &n);
        sum.requests += n.requests;
        sum.reads_checked += n.reads_checked;
        sum.writes_checked += n.writes_checked;
        sum.sessions_resumed += n.sessions_resumed;
        sum.sessions_expired += n.sessions_expired;
        sum.events += n.events;
        sum.unknown += n.unknown;
        sum.retries += n.retries;
        world_end(&world);
    }
    cr_assert(sum.reads_checked > 3000 && sum.writes_checked > 3000);
    cr_assert(sum.sessions_resumed > 20 && sum.sessions_expired > 0);
    cr_assert(sum.events > 10000 && sum.unknown > 50 && sum.retries > 50);
}
