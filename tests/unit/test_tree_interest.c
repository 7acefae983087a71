#include <criterion/criterion.h>

#include "interest.h"
#include "prng.h"

struct seen {
    uint64_t sessions[64];
    size_t count;
};

static void see(void *ctx, uint64_t session)
{
    struct seen *s = ctx;

    s->sessions[s->count++] = session;
}

static struct seen each(const struct interest *in, uint64_t dir)
{
    struct seen s = {.count = 0};

    interest_each(in, dir, see, &s);
    return s;
}

/* The sessions of a directory come in the order in which they subscribed; a second subscription
 * changes nothing, one after a removal goes to the end. */
Test(tree_interest, order_of_subscription)
{
    struct interest *in = interest_new();
    struct seen s;

    interest_add(in, 30, 1);
    interest_add(in, 10, 1);
    interest_add(in, 20, 1);
    interest_add(in, 10, 1);
    interest_add(in, 10, 2);
    s = each(in, 1);
    cr_assert_eq(s.count, 3);
    cr_assert_eq(s.sessions[0], 30);
    cr_assert_eq(s.sessions[1], 10);
    cr_assert_eq(s.sessions[2], 20);
    interest_remove(in, 30, 1);
    interest_add(in, 30, 1);
    s = each(in, 1);
    cr_assert_eq(s.sessions[0], 10);
    cr_assert_eq(s.sessions[1], 20);
    cr_assert_eq(s.sessions[2], 30);
    cr_assert_eq(interest_count(in), 4);
    interest_free(in);
}

/* Dropping a session ends all of its subscriptions and none of another's. */
Test(tree_interest, drop_ends_all_of_a_session)
{
    struct interest *in = interest_new();

    for (uint64_t dir = 1; dir <= 1000; dir++) {
        interest_add(in, 5, dir);
        interest_add(in, 6, dir);
    }
    interest_drop(in, 5);
    interest_drop(in, 5);
    interest_drop(in, 7);
    cr_assert_eq(interest_count(in), 1000);
    cr_assert(!interest_has(in, 5, 999));
    cr_assert(interest_has(in, 6, 999));
    cr_assert_eq(each(in, 999).count, 1);
    cr_assert_eq(each(in, 5000).count, 0);
    interest_free(in);
}

/* Any mix of additions, removals and drops gives what a plain matrix gives. */
Test(tree_interest, agrees_with_a_matrix)
{
    struct interest *in = interest_new();
    bool matrix[20][30] = {{false}};
    struct prng p = {3};

    for (int round = 0; round < 20000; round++) {
        uint64_t session = prng_below(&p, 20), dir = prng_below(&p, 30);
        size_t count = 0;

        switch (prng_below(&p, 40)) {
        case 0:
            interest_drop(in, session);
            memset(matrix[session], 0, sizeof(matrix[session]));
            break;
        case 1 ... 15:
            interest_remove(in, session, dir);
            matrix[session][dir] = false;
            break;
        default:
            interest_add(in, session, dir);
            matrix[session][dir] = true;
        }
        cr_assert_eq(interest_has(in, session, dir), matrix[session][dir]);
        for (size_t i = 0; i < 20; i++) {
            count += matrix[i][dir];
        }
        cr_assert_eq(each(in, dir).count, count);
    }
    interest_free(in);
}

Test(tree_interest, a_directory_that_is_gone)
{
    struct interest *in = interest_new();

    interest_add(in, 10, 1);
    interest_add(in, 10, 2);
    interest_add(in, 20, 2);
    interest_drop_dir(in, 2);
    interest_drop_dir(in, 2);
    interest_drop_dir(in, 3);
    cr_assert_eq(interest_count(in), 1);
    cr_assert(interest_has(in, 10, 1));
    cr_assert_eq(each(in, 2).count, 0);
    interest_drop(in, 20);
    interest_drop(in, 10);
    cr_assert_eq(interest_count(in), 0);
    interest_free(in);
}
