/* Found by the simulator (seed 15 of its 100 seeds with torn batches, --seconds 360). A member with
 * a new disk was given the leader's state and died before the promise that goes with it was on
 * disk. It came back with the promise that the state implies, followed the same leader,
 * acknowledged entries, and never saved that promise: it was no new one. Then the state was
 * damaged, and with it the promise was gone: the member could have voted in epochs it had
 * acknowledged entries against. Now the first word of a leader makes such a promise durable, before
 * it is answered. */

#include <criterion/criterion.h>

#include "zab.h"

static struct zab *start(void)
{
    struct zab_conf conf = {0};
    struct zab_boot boot = {.base = {.epoch = 22, .index = 747, .chain = {1, 2}}};

    zab_conf_default(&conf);
    conf.self = 3;
    conf.member_count = 3;
    for (uint32_t i = 0; i < 3; i++) {
        conf.members[i] = i + 1;
    }
    return zab_new(&conf, &boot, 1000);
}

Test(regression, promise_that_a_state_implies_is_saved_before_its_leader_is_answered)
{
    struct zab *z = start();
    struct zab_msg heartbeat = {.type = ZAB_HEARTBEAT, .from = 2, .to = 3, .epoch = 22, .round = 1};
    struct zab_event ev = {.type = ZAB_EV_LINK_UP, .u.peer = 2};
    struct zab_out out = {0};
    uint64_t saved = 0;

    zab_step(z, &ev, 1000, &out);
    zab_out_clear(&out);
    ev = (struct zab_event){.type = ZAB_EV_MSG, .u.msg = &heartbeat};
    zab_step(z, &ev, 1001, &out);
    for (size_t i = 0; i < out.count; i++) {
        const struct zab_effect *fx = &out.effects[i];

        if (fx->type == ZAB_FX_SAVE_VOTE) {
            cr_assert_eq(fx->u.vote.promised_epoch, 22);
            saved = fx->seq;
        }
        if (fx->type == ZAB_FX_SEND) {
            cr_assert_neq(saved, 0);
            cr_assert_geq(fx->after_seq, saved);
        }
    }
    cr_assert_neq(saved, 0);
    zab_out_clear(&out);
    zab_out_done(&out);
    zab_free(z);
}
