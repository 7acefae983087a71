#include "test_tree_help.h"

/* Two trees that apply the same transactions agree in every reply, event and digest, and the digest
 * that is kept up to date is the one that is computed from nothing. */
Test(tree_digest, replicas_agree)
{
    struct random_txns x = {.prng = {42}};
    struct tree *a = tree_new();
    struct tree *b = tree_new();
    int applied = 0, refused = 0, duplicates = 0, abandoned = 0, left = 0, ephemerals = 0;
    int granted = 0, waiting = 0, moved = 0, multi_done = 0, multi_undone = 0;

    for (int i = 1; i <= 40000; i++) {
        struct txn txn = random_txn(&x);
        struct txn_result ra, rb;

        txn.index = (uint64_t)i;
        tree_apply(a, &txn, &ra);
        tree_apply(b, &txn, &rb);
        random_txn_heard(&x, &txn, &ra);
        cr_assert_eq(ra.reply.err, rb.reply.err);
        cr_assert_eq(ra.session, rb.session);
        cr_assert_eq(ra.session_gone, rb.session_gone);
        cr_assert_eq(ra.change_count, rb.change_count);
        cr_assert(ra.reply.err == 0 || ra.change_count == 0);
        for (uint32_t k = 0; k < ra.change_count; k++) {
            cr_assert_eq(ra.changes[k].kind, rb.changes[k].kind);
            cr_assert_eq(ra.changes[k].attr.id, rb.changes[k].attr.id);
            cr_assert_eq(ra.changes[k].more, k + 1 < ra.change_count);
        }
        cr_assert_eq(ra.grant_count, rb.grant_count);
        for (uint32_t k = 0; k < ra.grant_count; k++) {
            cr_assert_eq(ra.grants[k].session, rb.grants[k].session);
            cr_assert_eq(ra.grants[k].node, rb.grants[k].node);
        }
        cr_assert_eq(tree_digest(a), tree_digest(b), "txn %d", i);
        if (i % 1000 == 0) {
            cr_assert_eq(tree_audit(a), tree_digest(a), "txn %d", i);
        }
        applied += ra.change_count > 0;
        left += ra.session_gone != 0 && ra.change_count > 0;
        ephemerals += ra.change_count > 0 && ra.changes[0].attr.life != LIFE_PERMANENT;
        granted += (int)ra.grant_count;
        moved += ra.change_count > 0 && txn.request.op == OP_RENAME;
        if (!ra.duplicate && ra.reply.err == 0 && txn.request.op == OP_LOCK) {
            waiting += txn.request.u.lock.lock.type != LOCK_TYPE_NONE && !ra.reply.u.lock.granted;
        }
        if (!ra.duplicate && ra.reply.err == 0 && txn.request.op == OP_TXN) {
            multi_done += ra.reply.u.txn.err == 0;
            multi_undone += ra.reply.u.txn.failed > 1;
        }
        refused += ra.reply.err != 0;
        duplicates += ra.duplicate;
        abandoned += ra.reply.err == ERR_ABANDONED;
        txn_result_done(&ra);
        txn_result_done(&rb);
        random_txn_done(&txn);
    }
    /* The mix is worth its time only while all of it comes up. */
    cr_assert_gt(applied, 2000, "%d", applied);
    cr_assert_gt(refused, 2000, "%d", refused);
    cr_assert_gt(duplicates, 100, "%d", duplicates);
    cr_assert_gt(abandoned, 20, "%d", abandoned);
    cr_assert_gt(left, 20, "%d", left);
    cr_assert_gt(ephemerals, 100, "%d", ephemerals);
    cr_assert_gt(x.errors[-ERR_QUOTA], 50, "%u", x.errors[-ERR_QUOTA]);
    cr_assert_gt(x.errors[-ERR_NODATA], 20, "%u", x.errors[-ERR_NODATA]);
    cr_assert_gt(x.errors[-ERR_UNSUPPORTED], 20, "%u", x.errors[-ERR_UNSUPPORTED]);
    cr_assert_gt(x.errors[-ERR_PERM], 100, "%u", x.errors[-ERR_PERM]);
    cr_assert_gt(granted, 20, "%d", granted);
    cr_assert_gt(waiting, 50, "%d", waiting);
    cr_assert_gt(moved, 100, "%d", moved);
    cr_assert_gt(multi_done, 100, "%d", multi_done);
    cr_assert_gt(multi_undone, 50, "%d", multi_undone);
    tree_free(a);
    tree_free(b);
}

/* Trees with the same history and one different byte have different digests. */
Test(tree_digest, one_byte_of_a_value_changes_it)
{
    struct world a = world_new();
    struct world b = world_new();

    cr_assert_eq(tree_digest(a.tree), tree_digest(b.tree));
    world_create(&a, TREE_ROOT_ID, "f", "one");
    world_create(&b, TREE_ROOT_ID, "f", "onE");
    cr_assert_neq(tree_digest(a.tree), tree_digest(b.tree));
    world_done(&a);
    world_done(&b);
}

/* A refused transaction changes the digest too: its reply is part of the state. */
Test(tree_digest, covers_reply_slots)
{
    struct world a = world_new();
    struct world b = world_new();

    cr_assert_eq(world_remove(&a, TREE_ROOT_ID, "x", 0), ERR_NOENT);
    cr_assert_eq(world_remove(&b, TREE_ROOT_ID, "", 0), ERR_BUSY);
    cr_assert_neq(tree_digest(a.tree), tree_digest(b.tree));
    world_done(&a);
    world_done(&b);
}

/* An entry without a request moves the index, and nothing else. */
Test(tree_digest, skip_moves_the_index_only)
{
    struct world w = world_new();

    tree_skip(w.tree, 2);
    cr_assert_eq(tree_index(w.tree), 2);
    cr_assert_eq(tree_node_count(w.tree), 1);
    cr_assert_eq(tree_session_count(w.tree), 1);
    cr_assert_eq(tree_audit(w.tree), tree_digest(w.tree));
    world_done(&w);
}
