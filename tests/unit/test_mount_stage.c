#include <criterion/criterion.h>
#include <string.h>

#include "stage.h"

static void holds(const struct stage *s, const char *bytes, size_t size)
{
    cr_assert_eq(s->bytes.size, size);
    cr_assert_eq(memcmp(s->bytes.data, bytes, size), 0);
}

Test(stage, begins_with_what_the_file_was)
{
    struct stage s = {0};

    stage_begin(&s, "abc", 3);
    holds(&s, "abc", 3);
    stage_done(&s);
    cr_assert(!s.active);
}

Test(stage, a_write_replaces_in_place_and_extends)
{
    struct stage s = {0};

    stage_begin(&s, "abcdef", 6);
    stage_write(&s, 1, "XY", 2);
    holds(&s, "aXYdef", 6);
    stage_write(&s, 5, "123", 3);
    holds(&s, "aXYde123", 8);
    stage_done(&s);
}

Test(stage, a_gap_reads_as_zeros)
{
    struct stage s = {0};

    stage_begin(&s, NULL, 0);
    stage_write(&s, 3, "z", 1);
    holds(&s, "\0\0\0z", 4);
    stage_done(&s);
}

Test(stage, what_was_cut_off_does_not_come_back)
{
    struct stage s = {0};

    stage_begin(&s, "secret", 6);
    stage_resize(&s, 2);
    stage_resize(&s, 5);
    holds(&s, "se\0\0\0", 5);
    stage_done(&s);
}

Test(stage, writing_nothing_changes_nothing)
{
    struct stage s = {0};

    stage_begin(&s, "ab", 2);
    stage_write(&s, 100, "", 0);
    holds(&s, "ab", 2);
    stage_done(&s);
}
