#include <criterion/criterion.h>

#include "zab.h"

/* The only member of an ensemble, with a damaged log, took a whole processor and did nothing.
 *
 * A single member waits for nobody, so its election timer is zero. One that may not campaign,
 * because its log is faulty, set it again to zero each time it ran out. */

Test(regression, timer_of_a_single_member_that_may_not_campaign_is_not_zero)
{
    struct zab_boot boot = {
        .promised_epoch = 3, .faulty = true, .claimed = {.epoch = 3, .index = 10}};
    struct zab_conf conf;
    struct zab_out out = {0};
    struct zab *z;

    zab_conf_default(&conf);
    conf.self = conf.members[0] = conf.member_count = 1;
    z = zab_new(&conf, &boot, 1000);
    for (uint64_t now = 1000; now < 20000;) {
        zab_step(z, &(struct zab_event){.type = ZAB_EV_TICK}, now, &out);
        cr_assert_eq(out.count, 0);
        cr_assert_gt(zab_deadline(z), now);
        now = zab_deadline(z);
    }
    zab_out_done(&out);
    zab_free(z);
}
