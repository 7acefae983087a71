#include <criterion/criterion.h>

#include "pending.h"

static struct pending *add(struct pending_table *t, enum op op, uint64_t deadline_ms)
{
    struct request r = {.op = op};

    return pending_add(t, &r, deadline_ms, NULL, NULL);
}

static void drain(struct pending_table *t)
{
    while (t->by_xid != NULL) {
        pending_remove(t, t->by_xid);
    }
    pending_done(t);
}

Test(client_pending, xids_rise_by_one)
{
    struct pending_table t;

    pending_init(&t);
    cr_assert_eq(add(&t, OP_SET, 5)->r.xid, 1);
    cr_assert_eq(add(&t, OP_READ, 5)->r.xid, 2);
    cr_assert_eq(pending_find(&t, 2)->r.op, OP_READ);
    cr_assert_null(pending_find(&t, 3));
    drain(&t);
}

Test(client_pending, the_floor_is_the_oldest_unanswered_write)
{
    struct pending_table t;
    struct pending *w;

    pending_init(&t);
    add(&t, OP_READ, 5);
    cr_assert_eq(pending_xid_floor(&t), 2);
    w = add(&t, OP_SET, 5);
    add(&t, OP_SET, 5);
    cr_assert_eq(pending_xid_floor(&t), 2);
    pending_remove(&t, w);
    cr_assert_eq(pending_xid_floor(&t), 3);
    drain(&t);
}

Test(client_pending, the_earliest_deadline_comes_first_whatever_the_order)
{
    struct pending_table t;
    uint64_t last = 0;

    pending_init(&t);
    for (uint64_t i = 0; i < 1000; i++) {
        add(&t, OP_READ, i * 7919 % 1009);
    }
    for (uint64_t xid = 1; xid <= 1000; xid += 3) {
        pending_remove(&t, pending_find(&t, xid));
    }
    for (int i = 0; i < 666; i++) {
        struct pending *p = pending_earliest(&t);

        cr_assert_geq(p->deadline_ms, last);
        last = p->deadline_ms;
        pending_remove(&t, p);
    }
    cr_assert_null(pending_earliest(&t));
    drain(&t);
}

Test(client_pending, a_request_given_up_is_the_earliest_and_not_sent)
{
    struct pending_table t;
    struct pending *p;

    pending_init(&t);
    add(&t, OP_SET, 5);
    p = add(&t, OP_READ, 6);
    pending_mark_sent(&t, pending_next_unsent(&t));
    pending_give_up(&t, p, -16);
    cr_assert_eq(pending_earliest(&t), p);
    cr_assert_null(pending_next_unsent(&t));
    pending_mark_all_unsent(&t);
    cr_assert_eq(pending_next_unsent(&t)->r.xid, 1);
    drain(&t);
}

Test(client_pending, what_is_sent_again_goes_in_order_of_xid)
{
    struct pending_table t;
    static const enum op ops[] = {OP_SET, OP_READ, OP_READ, OP_APPEND, OP_SYNC};

    pending_init(&t);
    for (int i = 0; i < 5; i++) {
        add(&t, ops[i], 5);
    }
    for (int i = 0; i < 3; i++) {
        pending_mark_sent(&t, pending_next_unsent(&t));
    }
    pending_mark_all_unsent(&t);
    for (uint64_t xid = 1; xid <= 5; xid++) {
        cr_assert_eq(pending_next_unsent(&t)->r.xid, xid);
        pending_mark_sent(&t, pending_next_unsent(&t));
    }
    cr_assert_eq(pending_find(&t, 1)->sends, 2);
    cr_assert_eq(pending_find(&t, 5)->sends, 1);
    drain(&t);
}

Test(client_pending, writes_stay_within_a_window_behind_the_oldest)
{
    struct pending_table t;

    pending_init(&t);
    for (int i = 0; i < 2050; i++) {
        add(&t, OP_SET, 5);
    }
    for (int i = 0; i < 2048; i++) {
        pending_mark_sent(&t, pending_next_unsent(&t));
    }
    cr_assert_null(pending_next_unsent(&t));
    pending_remove(&t, pending_find(&t, 2)); /* the first still holds the window */
    cr_assert_null(pending_next_unsent(&t));
    pending_remove(&t, pending_find(&t, 1));
    cr_assert_eq(pending_next_unsent(&t)->r.xid, 2049);
    drain(&t);
}

Test(client_pending, reads_pass_writes_that_wait)
{
    struct pending_table t;

    pending_init(&t);
    for (int i = 0; i < 2049; i++) {
        add(&t, OP_SET, 5);
    }
    add(&t, OP_READ, 5);
    for (int i = 0; i < 2048; i++) {
        pending_mark_sent(&t, pending_next_unsent(&t));
    }
    cr_assert_eq(pending_next_unsent(&t)->r.xid, 2050);
    drain(&t);
}

Test(client_pending, bytes_on_the_way_are_bounded_but_one_request_always_goes)
{
    struct pending_table t;
    struct blob *b = blob_new_uninit(8 << 20);
    struct request r = {.op = OP_SET, .u.set = {.id = 1, .value = b}};

    pending_init(&t);
    for (int i = 0; i < 5; i++) {
        pending_add(&t, &r, 5, NULL, NULL);
    }
    blob_unref(b);
    for (int i = 0; i < 3; i++) {
        pending_mark_sent(&t, pending_next_unsent(&t));
    }
    cr_assert_null(pending_next_unsent(&t));
    for (uint64_t xid = 1; xid <= 3; xid++) {
        pending_remove(&t, pending_find(&t, xid));
    }
    cr_assert_eq(pending_next_unsent(&t)->r.xid, 4);
    drain(&t);
}

Test(client_pending, names_and_ids_are_copied)
{
    struct pending_table t;
    char name[] = "abc";
    uint64_t ids[] = {7, 8};
    struct request lookup = {.op = OP_LOOKUP, .u.lookup = {1, {name, 3}}};
    struct request interest = {.op = OP_INTEREST, .u.interest = {0, 2, ids}};

    pending_init(&t);
    pending_add(&t, &lookup, 5, NULL, NULL);
    pending_add(&t, &interest, 5, NULL, NULL);
    name[0] = 'x';
    ids[1] = 0;
    cr_assert_arr_eq(pending_find(&t, 1)->r.u.lookup.name.bytes, "abc", 3);
    cr_assert_eq(pending_find(&t, 2)->r.u.interest.ids[1], 8);
    drain(&t);
}
