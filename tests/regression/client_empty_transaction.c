#include <criterion/criterion.h>

#include "txn_text.h"

/* A transaction without any text.
 *
 * What was read of an empty file may be no memory at all, and its end was computed from that: an
 * offset of a null pointer, which C does not define. Clang's sanitizer says so, gcc's does not; the
 * fuzzer of that parser found it with its first input. */

Test(regression, no_text_has_no_steps)
{
    struct txn_text t = {0};
    struct txn_text_error e;

    cr_assert_eq(0, txn_text_parse(NULL, 0, &t, &e));
    cr_assert_eq(0, t.count);
    txn_text_done(&t);
}
