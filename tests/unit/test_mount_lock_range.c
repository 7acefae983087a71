/* What an owner holds of a file, against a table with one entry a byte. */
#include <criterion/criterion.h>
#include <string.h>

#include "lock_range.h"
#include "prng.h"

enum { BYTES = 24, ROUNDS = 20000 };

static void compare(const struct lock_ranges *r, const enum lock_type *model, int round)
{
    for (uint64_t at = 0; at < BYTES; at++) {
        struct lock_piece p = lock_ranges_at(r, at, BYTES - 1);
        uint64_t end = at;

        while (end + 1 < BYTES && model[end + 1] == model[at]) {
            end++;
        }
        cr_assert_eq(p.type, model[at], "round %d, byte %d", round, (int)at);
        cr_assert(p.start == at && p.end >= at && p.end <= end, "round %d, byte %d", round,
                  (int)at);
    }
    for (size_t n = 1; n < r->count; n++) {
        cr_assert(r->pieces[n - 1].end < r->pieces[n].start);
    }
}

Test(mount_lock_range, random_against_a_table)
{
    struct lock_ranges r = {0};
    enum lock_type model[BYTES] = {LOCK_TYPE_NONE};
    struct prng prng = {1};

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = prng_below(&prng, BYTES);
        uint64_t end = start + prng_below(&prng, BYTES - start);
        enum lock_type type = (enum lock_type)prng_below(&prng, 3);

        lock_ranges_set(&r, start, end, type);
        for (uint64_t at = start; at <= end; at++) {
            model[at] = type;
        }
        compare(&r, model, round);
    }
    lock_ranges_set(&r, 0, BYTES, LOCK_TYPE_NONE);
    cr_assert_eq(r.count, 0);
    lock_ranges_done(&r);
}

Test(mount_lock_range, ends_of_the_world)
{
    struct lock_ranges r = {0};

    lock_ranges_set(&r, 0, UINT64_MAX, LOCK_TYPE_EXCLUSIVE);
    cr_assert_eq(lock_ranges_at(&r, 0, UINT64_MAX).end, UINT64_MAX);
    lock_ranges_set(&r, 5, UINT64_MAX, LOCK_TYPE_NONE);
    cr_assert_eq(lock_ranges_at(&r, 0, UINT64_MAX).end, 4);
    cr_assert_eq(lock_ranges_at(&r, 5, UINT64_MAX).type, LOCK_TYPE_NONE);
    lock_ranges_set(&r, UINT64_MAX, UINT64_MAX, LOCK_TYPE_SHARED);
    cr_assert_eq(lock_ranges_at(&r, 5, UINT64_MAX).end, UINT64_MAX - 1);
    lock_ranges_set(&r, 0, UINT64_MAX, LOCK_TYPE_NONE);
    cr_assert_eq(r.count, 0);
    lock_ranges_done(&r);
}
