/* Names of nodes: what is one, and what the marks at the end of a new one ask for. */
#include <criterion/criterion.h>

#include <string.h>

#include "err.h"
#include "limits.h"
#include "name.h"

#define CHECK_NAME(literal) name_check((literal), sizeof(literal) - 1)

Test(base_name, any_bytes_but_slash_and_nul_make_a_name)
{
    cr_assert_eq(CHECK_NAME("a"), 0);
    cr_assert_eq(CHECK_NAME("..."), 0);
    cr_assert_eq(CHECK_NAME(".a"), 0);
    cr_assert_eq(CHECK_NAME(" \n\xff\x01"), 0);
    cr_assert_eq(CHECK_NAME("a/b"), ERR_INVAL);
    cr_assert_eq(CHECK_NAME("a\0b"), ERR_INVAL);
}

Test(base_name, empty_dot_and_dotdot_are_no_names)
{
    cr_assert_eq(CHECK_NAME(""), ERR_INVAL);
    cr_assert_eq(CHECK_NAME("."), ERR_INVAL);
    cr_assert_eq(CHECK_NAME(".."), ERR_INVAL);
}

Test(base_name, a_name_has_at_most_255_bytes)
{
    char name[256];

    memset(name, 'n', sizeof(name));
    cr_assert_eq(name_check(name, 255), 0);
    cr_assert_eq(name_check(name, 256), ERR_NAMETOOLONG);
}

static void assert_template(const char *name, size_t size, bool sequential, bool ephemeral)
{
    struct name_template t = name_template_parse(name, strlen(name));

    cr_assert_eq(t.size, size, "%s", name);
    cr_assert_eq(t.sequential, sequential, "%s", name);
    cr_assert_eq(t.ephemeral, ephemeral, "%s", name);
}

Test(base_name, marks_at_the_end_ask_for_a_number_and_a_life)
{
    assert_template("plain", 5, false, false);
    assert_template("job-#", 4, true, false);
    assert_template("web1@", 4, false, true);
    assert_template("lock-#@", 5, true, true);
}

Test(base_name, marks_elsewhere_or_in_another_order_are_ordinary_bytes)
{
    assert_template("a#b", 3, false, false);
    assert_template("@a", 2, false, false);
    assert_template("a@#", 2, true, false);
    assert_template("a##", 2, true, false);
    assert_template("a@@", 2, false, true);
}

Test(base_name, a_template_may_leave_nothing_of_the_name)
{
    assert_template("", 0, false, false);
    assert_template("#", 0, true, false);
    assert_template("@", 0, false, true);
    assert_template("#@", 0, true, true);
}

Test(base_name, a_number_has_ten_digits_and_more_when_it_needs_them)
{
    char name[NAME_SIZE_MAX + 1];
    size_t size;

    cr_assert_eq(name_make_sequential("job-", 4, 12, name, &size), 0);
    cr_assert_str_eq(name, "job-0000000012");
    cr_assert_eq(size, 14);
    cr_assert_eq(name_make_sequential("", 0, UINT64_MAX, name, &size), 0);
    cr_assert_str_eq(name, "18446744073709551615");
    cr_assert_eq(size, 20);
}

Test(base_name, a_number_that_makes_the_name_too_long_is_refused)
{
    char prefix[NAME_SIZE_MAX], name[NAME_SIZE_MAX + 1];
    size_t size = 7;

    memset(prefix, 'p', sizeof(prefix));
    cr_assert_eq(name_make_sequential(prefix, 246, 0, name, &size), ERR_NAMETOOLONG);
    cr_assert_eq(size, 7);
    cr_assert_eq(name_make_sequential(prefix, 245, 0, name, &size), 0);
    cr_assert_eq(size, 255);
    cr_assert_str_eq(name + 245, "0000000000");
}
