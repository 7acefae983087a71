/* Hashes are in frames, logs and snapshots: they never change. */
#include <criterion/criterion.h>

#include "hash.h"

/* The published values of XXH3 for no bytes. */
Test(base_hash, the_hash_of_nothing_is_that_of_xxh3)
{
    struct hash128 h = hash128("", 0);

    cr_assert_eq(hash64("", 0, 0), 0x2d06800538d394c2u);
    cr_assert_eq(h.hi, 0x99aa06d3014798d8u);
    cr_assert_eq(h.lo, 0x6001c324468d497fu);
}

/* Computed apart from hash_chain(): XXH3-128 over the 56 bytes that it documents. */
Test(base_hash, the_chain_of_a_first_and_a_second_entry_is_known)
{
    struct hash128 none = {0, 0};
    struct hash128 first = hash_chain(none, 1, 1, 2, "", 0);
    struct hash128 second = hash_chain(first, 1, 2, 1, "body", 4);

    cr_assert_eq(first.lo, 0x0b8e69132c5c8ab7u);
    cr_assert_eq(first.hi, 0x51b4904a463fd974u);
    cr_assert_eq(second.lo, 0x37bfd75f2da963f2u);
    cr_assert_eq(second.hi, 0x79f14f5c5a280c56u);
}

Test(base_hash, the_chain_depends_on_everything_that_goes_in)
{
    struct hash128 none = {0, 0}, other = {0, 1};
    struct hash128 h = hash_chain(none, 1, 2, 1, "body", 4);

    cr_assert(hash128_equal(h, hash_chain(none, 1, 2, 1, "body", 4)));
    cr_assert_not(hash128_equal(h, hash_chain(other, 1, 2, 1, "body", 4)));
    cr_assert_not(hash128_equal(h, hash_chain(none, 2, 2, 1, "body", 4)));
    cr_assert_not(hash128_equal(h, hash_chain(none, 1, 3, 1, "body", 4)));
    cr_assert_not(hash128_equal(h, hash_chain(none, 1, 2, 2, "body", 4)));
    cr_assert_not(hash128_equal(h, hash_chain(none, 1, 2, 1, "bodx", 4)));
    cr_assert_not(hash128_equal(h, hash_chain(none, 1, 2, 1, "bod", 3)));
}
