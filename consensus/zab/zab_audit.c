#include "zab_int.h"

/* The invariants of docs/PROTOCOL.md that one member can see, by their names there. The cheap ones
 * are also CHECKed where they could break; this walks everything, for tests. */

static void audit_log(const struct zab *z)
{
    const struct zab_window *w = &z->log;
    struct zab_pos at = w->base;

    /* log: contiguous, epochs never fall, every chain continues the one before. */
    for (uint64_t i = w->base.index + 1; i <= w->last.index; i++) {
        const struct zab_slot *slot = zab_window_at(w, i);
        const struct zab_entry *e = &slot->entry;
        struct hash128 chain =
            hash_chain(at.chain, e->epoch, e->index, (uint8_t)e->type,
                       e->body != NULL ? e->body->data : NULL, e->body != NULL ? e->body->size : 0);

        CHECK(e->index == i);
        CHECK(e->epoch >= at.epoch);
        CHECK(hash128_equal(chain, e->chain));
        CHECK(i > z->durable || slot->seq <= z->seq_durable);
        at = zab_entry_pos(e);
    }
    CHECK(zab_pos_equal(&at, &w->last));
    CHECK(z->fresh != 0 || w->last.epoch <= z->promised);
}

static void audit_indexes(const struct zab *z)
{
    /* order: snapshot <= applied <= handed <= commit; handed <= durable <= stored <= last. */
    CHECK(z->log.base.index <= z->applied);
    CHECK(z->snapshot <= z->applied);
    CHECK(z->applied <= z->handed);
    CHECK(z->handed <= z->commit);
    CHECK(z->handed <= z->durable);
    CHECK(z->durable <= z->stored);
    CHECK(z->stored <= z->log.last.index);
    CHECK(z->commit <= z->log.last.index);
    CHECK(z->seq_durable <= z->seq);
    CHECK(z->vote_seq <= z->seq);
}

static void audit_leader(const struct zab *z)
{
    CHECK(z->leader == z->conf.self);
    CHECK(z->voted_for == z->conf.self);
    CHECK(z->vote_seq <= z->seq_durable); /* elected by durable votes only, its own among them */
    CHECK(z->epoch_index > 0);
    /* epoch entry: it begins this epoch's part of the log. */
    if (z->epoch_index > z->log.base.index) {
        const struct zab_entry *e = &zab_window_at(&z->log, z->epoch_index)->entry;

        CHECK(e->type == ZAB_ENTRY_EPOCH);
        CHECK(e->epoch == z->promised);
    }
    for (uint32_t i = 0; i < z->conf.member_count; i++) {
        const struct zab_peer *p = &z->peers[i];

        CHECK(p->durable <= z->log.last.index);
        CHECK(p->commit_sent <= z->commit);
        CHECK(p->round_min <= z->round + 1);
        CHECK(p->round <= z->round);
        CHECK(p->inflight_count <= z->conf.inflight_max);
        CHECK(p->state != PEER_STREAM || p->next <= z->log.last.index + 1);
        CHECK(p->state == PEER_UNKNOWN || !zab_is_self(z, p));
    }
}

static void audit_follower(const struct zab *z)
{
    CHECK(z->leader != z->conf.self);
    CHECK(z->epoch_index == 0);
    CHECK(z->stored == z->log.last.index); /* only a leader gathers entries */
    CHECK(z->match <= z->log.last.index);
    CHECK(z->leader == 0 || z->commit <= z->match || zab_unformed(z));
    CHECK(z->acked <= z->durable);
    /* promise: a fresh member made none that is on disk, and holds nothing. */
    CHECK(z->fresh == 0 || (z->vote_seq == 0 && z->voted_for == 0 && zab_unformed(z)));
    CHECK(z->fresh == 0 || z->role != ZAB_CANDIDATE);
}

void zab_audit(const struct zab *z)
{
    audit_log(z);
    audit_indexes(z);
    if (z->role == ZAB_LEADER) {
        audit_leader(z);
    } else {
        audit_follower(z);
    }
    CHECK(z->role == ZAB_FOLLOWER || (!z->faulty && !z->loading));
    CHECK(z->read_count == 0 || z->leader != 0);
    CHECK(z->read_count <= ZAB_READS_MAX);
    for (size_t i = 1; i < z->read_count; i++) {
        CHECK(z->reads[i - 1].deadline_ms <= z->reads[i].deadline_ms);
    }
}
