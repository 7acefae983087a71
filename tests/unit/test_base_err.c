/* Error codes are stored and sent: their numbers never change. */
#include <criterion/criterion.h>

#include <errno.h>

#include "err.h"

Test(base_err, codes_have_the_numbers_that_are_on_the_wire)
{
    cr_assert_eq(ERR_NOENT, -1);
    cr_assert_eq(ERR_EXISTS, -2);
    cr_assert_eq(ERR_VERSION, -12);
    cr_assert_eq(ERR_EXPIRED, -13);
    cr_assert_eq(ERR_NO_QUORUM, -14);
    cr_assert_eq(ERR_TIMEOUT, -15);
    cr_assert_eq(ERR_MALFORMED, -19);
    cr_assert_eq(ERR_COMPACTED, -26);
    cr_assert_eq(ERR_ABANDONED, -27);
    cr_assert_eq(ERR_PROTO_VERSION, -28);
    cr_assert_eq(ERR_NODATA, -29);
    cr_assert_eq(ERR_WOULD_BLOCK, -30);
    cr_assert_eq(ERR_NOLOCKS, -31);
    cr_assert_eq(ERR_FORMAT, -32);
}

Test(base_err, users_see_the_documented_errno)
{
    cr_assert_eq(err_to_errno(0), 0);
    cr_assert_eq(err_to_errno(ERR_NOENT), ENOENT);
    cr_assert_eq(err_to_errno(ERR_TOOBIG), EFBIG);
    cr_assert_eq(err_to_errno(ERR_QUOTA), EDQUOT);
    cr_assert_eq(err_to_errno(ERR_NAMETOOLONG), ENAMETOOLONG);
    cr_assert_eq(err_to_errno(ERR_VERSION), ESTALE);
    cr_assert_eq(err_to_errno(ERR_EXPIRED), ESTALE);
    cr_assert_eq(err_to_errno(ERR_NO_QUORUM), EROFS);
    cr_assert_eq(err_to_errno(ERR_TIMEOUT), ETIMEDOUT);
    cr_assert_eq(err_to_errno(ERR_UNSUPPORTED), EOPNOTSUPP);
    cr_assert_eq(err_to_errno(ERR_NODATA), ENODATA);
    cr_assert_eq(err_to_errno(ERR_WOULD_BLOCK), EAGAIN);
    cr_assert_eq(err_to_errno(ERR_NOLOCKS), ENOLCK);
}

/* ENOSYS would make the kernel stop sending that operation for the whole mount. */
Test(base_err, no_code_becomes_enosys)
{
    for (int err = -100; err <= 0; err++) {
        cr_assert_neq(err_to_errno(err), ENOSYS);
    }
}

Test(base_err, what_is_not_a_code_is_an_io_error_of_unknown_text)
{
    cr_assert_eq(err_to_errno(-1000), EIO);
    cr_assert_eq(err_to_errno(1), EIO);
    cr_assert_str_eq(err_text(-1000), "unknown error");
    cr_assert_str_eq(err_text(1), "unknown error");
}

Test(base_err, every_code_has_a_text)
{
    cr_assert_str_eq(err_text(0), "success");
    cr_assert_str_eq(err_text(ERR_NOENT), "no such file or directory");
    cr_assert_str_eq(err_text(ERR_TIMEOUT), "no answer in time, outcome unknown");
}

Test(base_err, a_decoder_may_accept_success_and_the_codes_only)
{
    cr_assert(err_is_known(0));
    cr_assert(err_is_known(-1));
    cr_assert(err_is_known(-28));
    cr_assert_not(err_is_known(1));
    cr_assert_not(err_is_known(-1000));
}
