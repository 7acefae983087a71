#include <criterion/criterion.h>

#include "blob.h"
#include "value_cache.h"

static struct value_cache c;
static struct inode nodes[8];

static void setup(void)
{
    value_cache_init(&c, 100);
    for (uint64_t n = 0; n < 8; n++) {
        nodes[n] = (struct inode){.id = n, .attr = {.version = 1}, .attr_fresh = true};
    }
}

static void teardown(void)
{
    for (int n = 0; n < 8; n++) {
        value_cache_drop(&c, &nodes[n]);
    }
    cr_assert_eq(c.size, 0);
}

TestSuite(value_cache, .init = setup, .fini = teardown);

static void put(int n, size_t size, uint64_t version)
{
    struct blob *b = blob_new_uninit(size);

    value_cache_put(&c, &nodes[n], b, version);
    blob_unref(b);
}

static bool has(int n)
{
    struct blob *b;

    return value_cache_get(&c, &nodes[n], &b);
}

Test(value_cache, the_least_recently_used_goes_first)
{
    put(0, 25, 1);
    put(1, 25, 1);
    put(2, 25, 1);
    put(3, 25, 1);
    cr_assert(has(0));
    put(4, 25, 1);
    cr_assert(has(0));
    cr_assert(!has(1));
    cr_assert_eq(c.size, 100);
}

Test(value_cache, a_value_serves_its_own_version_only)
{
    put(0, 10, 1);
    nodes[0].attr.version = 2;
    cr_assert(!has(0));
    put(0, 12, 2);
    cr_assert(has(0));
    cr_assert_eq(c.size, 12);
}

Test(value_cache, a_value_serves_only_while_the_version_is_known_to_be_the_newest)
{
    put(0, 10, 1);
    nodes[0].attr_fresh = false;
    cr_assert(!has(0));
}

Test(value_cache, an_empty_value_is_known_too)
{
    struct blob *b = NULL;

    value_cache_put(&c, &nodes[0], NULL, 1);
    cr_assert(value_cache_get(&c, &nodes[0], &b));
    cr_assert_null(b);
}

Test(value_cache, one_large_value_does_not_push_out_all_others)
{
    put(0, 20, 1);
    put(1, 26, 1);
    cr_assert(has(0));
    cr_assert(!has(1));
}
