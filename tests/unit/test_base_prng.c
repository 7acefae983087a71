/* The seeded generator: simulator runs and election timeouts repeat only if it never changes. */
#include <criterion/criterion.h>

#include "prng.h"

/* The published sequence of splitmix64 for this seed. */
Test(base_prng, a_seed_gives_the_known_sequence)
{
    struct prng p = {1234567};

    cr_assert_eq(prng_next(&p), 6457827717110365317u);
    cr_assert_eq(prng_next(&p), 3203168211198807973u);
    cr_assert_eq(prng_next(&p), 9817491932198370423u);
    cr_assert_eq(prng_next(&p), 4593380528125082431u);
    cr_assert_eq(prng_next(&p), 16408922859458223821u);
}

Test(base_prng, a_number_below_a_bound_is_below_it_and_every_one_comes)
{
    struct prng p = {0};
    int seen[7] = {0};

    for (int i = 0; i < 1000; i++) {
        uint64_t n = prng_below(&p, 7);

        cr_assert_lt(n, 7);
        seen[n]++;
    }
    for (int i = 0; i < 7; i++) {
        cr_assert_gt(seen[i], 0);
    }
    cr_assert_eq(prng_below(&p, 1), 0);
}
