#include <criterion/criterion.h>
#include <string.h>

#include "bug.h"

/* What is built for use has no seeded bug, and that is a constant for the compiler. */
enum { BUILT_WITH = ZABFS_BUG };

Test(bug, none_is_switched_on)
{
    cr_assert_eq(BUILT_WITH, BUG_NONE);
}

#define BUG_NAME(id, what, source) {#id, what, source},
static const char *const bugs[][3] = {BUG_LIST(BUG_NAME)};

Test(bug, each_has_a_name_a_text_and_a_source)
{
    cr_assert_eq(sizeof(bugs) / sizeof(bugs[0]), BUG_COUNT - 1);
    for (size_t i = 0; i < BUG_COUNT - 1; i++) {
        cr_assert(bugs[i][0][0] == 'B' || bugs[i][0][0] == 'X');
        cr_assert_gt(strlen(bugs[i][1]), 0);
        cr_assert_gt(strlen(bugs[i][2]), 0);
    }
}
