#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "sim.h"

/* What each member's disk must hold, by what its store said: an operation counts when store_run()
 * has returned for it. After a crash with a batch in flight the disk holds what was confirmed and
 * the effect of some first part of that batch; what recovery finds must be one of these states,
 * unless the disk was damaged, and then recovery must say so. */

void disk_done(struct sim_disk *d)
{
    for (uint64_t i = d->base; i < d->last; i++) {
        blob_unref(d->entries[i - d->base].body);
    }
    mem_free(d->entries);
    *d = (struct sim_disk){0};
}

static struct sim_entry *at(const struct sim_disk *d, uint64_t index)
{
    return &d->entries[index - d->base - 1];
}

bool disk_chain(const struct world *w, const struct sim_disk *d, uint64_t index,
                struct hash128 *ret)
{
    if (index > d->last) {
        return false;
    }
    if (index == 0) {
        *ret = (struct hash128){0};
    } else if (index > d->base) {
        *ret = at(d, index)->chain;
    } else if (index <= w->ledger.count) {
        *ret = ledger_at(&w->ledger, index)->chain;
    } else {
        return false;
    }
    return true;
}

static void push(struct sim_disk *d, const struct store_entry *e)
{
    size_t count = d->last - d->base;

    if (count == d->cap) {
        d->cap = d->cap > 0 ? 2 * d->cap : 256;
        d->entries = mem_realloc(d->entries, d->cap * sizeof(*d->entries));
    }
    d->entries[count] = (struct sim_entry){e->epoch, e->chain, blob_ref(e->body), (uint8_t)e->type};
    d->last++;
}

static void cut(struct sim_disk *d, uint64_t index)
{
    while (d->last > index) {
        blob_unref(at(d, d->last)->body);
        d->last--;
    }
}

static void begin(struct sim_disk *d, uint64_t index)
{
    cut(d, d->base);
    d->base = d->last = index;
}

/* --- operations ------------------------------------------------------------------------------ */

static void apply_append(struct world *w, struct sim_member *m, const struct store_op *op)
{
    for (size_t i = 0; i < op->u.append.count; i++) {
        const struct store_entry *e = &op->u.append.entries[i];

        if (e->index != m->disk.last + 1) {
            sim_fail(w, "member %u stores entry %" PRIu64 " behind %" PRIu64, m->id, e->index,
                     m->disk.last);
            return;
        }
        push(&m->disk, e);
    }
}

static void apply_truncate(struct world *w, struct sim_member *m, uint64_t index)
{
    w->counts.truncates++;
    if (index < m->disk.base) {
        sim_fail(w, "member %u cuts its log at %" PRIu64 ", inside its snapshot", m->id, index);
        return;
    }
    for (uint64_t i = index + 1; i <= m->disk.last && i <= w->ledger.count; i++) {
        if (hash128_equal(at(&m->disk, i)->chain, ledger_at(&w->ledger, i)->chain)) {
            sim_fail(w, "member %u cuts committed entry %" PRIu64, m->id, i);
            return;
        }
    }
    cut(&m->disk, index);
}

static void apply_install(struct world *w, struct sim_member *m, const struct store_pos *pos)
{
    uint64_t held = m->lost.last < m->owed ? m->lost.last : m->owed;
    struct hash128 chain;

    w->counts.installs++;
    if (!inv_in_ledger(w, pos->index, &pos->chain)) {
        sim_fail(w, "member %u installs a state at %" PRIu64 " that was not committed", m->id,
                 pos->index);
        return;
    }
    /* It votes from now on as if it had never acknowledged anything above. What is committed since
     * it came back does not rest on what its former life acknowledged. */
    if (m->damaged && held > pos->index && disk_chain(w, &m->lost, held, &chain) &&
        inv_in_ledger(w, held, &chain)) {
        sim_fail(w, "member %u installs a state at %" PRIu64 ", and had acknowledged %" PRIu64,
                 m->id, pos->index, held);
        return;
    }
    begin(&m->disk, pos->index);
    m->installed = pos->index;
}

void disk_apply(struct world *w, struct sim_member *m, const struct store_op *op)
{
    w->counts.checks++;
    switch (op->type) {
    case STORE_OP_VOTE:
        if (op->u.vote.promised_epoch < m->disk.promised) {
            sim_fail(w, "member %u promises epoch %" PRIu64 " after %" PRIu64, m->id,
                     op->u.vote.promised_epoch, m->disk.promised);
        }
        m->disk.promised = op->u.vote.promised_epoch;
        m->disk.voted_for = op->u.vote.voted_for;
        break;
    case STORE_OP_APPEND:
        apply_append(w, m, op);
        break;
    case STORE_OP_TRUNCATE:
        apply_truncate(w, m, op->u.index);
        break;
    case STORE_OP_INSTALL:
        apply_install(w, m, &op->u.install);
        break;
    case STORE_OP_SNAP_PIECE: /* nothing of a transfer counts before INSTALL */
    case STORE_OP_SNAP_SEAL:
    case STORE_OP_SNAP_DROP:
    case STORE_OP_PURGE:
        break;
    }
}

/* --- what was under way ---------------------------------------------------------------------- */

void disk_keep_pending(struct sim_member *m, const struct store_batch *batch)
{
    disk_drop_pending(m);
    m->pending_count = batch->count;
    m->pending = mem_dup(batch->ops, batch->count * sizeof(*batch->ops));
    for (size_t i = 0; i < batch->count; i++) {
        struct store_op *op = &m->pending[i];
        struct store_entry *entries;

        if (op->type != STORE_OP_APPEND) {
            continue;
        }
        entries = mem_dup(op->u.append.entries, op->u.append.count * sizeof(*entries));
        for (size_t k = 0; k < op->u.append.count; k++) {
            blob_ref(entries[k].body);
        }
        op->u.append.entries = entries;
    }
}

void disk_drop_pending(struct sim_member *m)
{
    for (size_t i = 0; i < m->pending_count; i++) {
        const struct store_op *op = &m->pending[i];

        if (op->type == STORE_OP_APPEND) {
            for (size_t k = 0; k < op->u.append.count; k++) {
                blob_unref(op->u.append.entries[k].body);
            }
            mem_free((void *)op->u.append.entries);
        }
    }
    mem_free(m->pending);
    m->pending = NULL;
    m->pending_count = 0;
}

/* --- recovery -------------------------------------------------------------------------------- */

static struct store_pos last_of(const struct store_recovered *rec)
{
    const struct store_entry *e;

    if (rec->entry_count == 0) {
        return rec->snapshot;
    }
    e = &rec->entries[rec->entry_count - 1];
    return (struct store_pos){e->epoch, e->index, e->chain};
}

static bool matches(const struct world *w, const struct sim_disk *d,
                    const struct store_recovered *rec)
{
    struct store_pos last = last_of(rec);
    struct hash128 chain;

    return d->promised == rec->promised_epoch && d->voted_for == rec->voted_for &&
           d->last == last.index && disk_chain(w, d, last.index, &chain) &&
           hash128_equal(chain, last.chain);
}

/* The disk lost a part: what there is now counts, and what there was is kept for a leader that was
 * told of it. */
static void take_over(struct world *w, struct sim_member *m, const struct store_recovered *rec)
{
    struct sim_disk now = {.promised = rec->promised_epoch, .voted_for = rec->voted_for};

    if (!m->replaced && rec->promised_epoch < m->disk.promised) {
        sim_fail(w, "member %u recovers promise %" PRIu64 " after %" PRIu64, m->id,
                 rec->promised_epoch, m->disk.promised);
    }
    m->owed = w->ledger.count;
    m->lost_told = 0;
    now.base = now.last = rec->snapshot.index;
    for (size_t i = 0; i < rec->entry_count; i++) {
        push(&now, &rec->entries[i]);
    }
    if (m->disk.last > m->lost.last) {
        disk_done(&m->lost);
        m->lost = m->disk;
    } else {
        disk_done(&m->disk);
    }
    m->disk = now;
}

/* A read failed in the recovery before, and not in this one: what was missing is there again, or a
 * state that was being installed before and covers it. */
static bool came_back(const struct world *w, const struct sim_member *m,
                      const struct store_recovered *rec)
{
    uint64_t index = m->lost.last;
    struct hash128 chain;

    return rec->promised_epoch == m->disk.promised && disk_chain(w, &m->lost, index, &chain) &&
           (index <= rec->snapshot.index ||
            (index <= last_of(rec).index &&
             hash128_equal(rec->entries[index - rec->snapshot.index - 1].chain, chain)));
}

static bool accounted_for(struct world *w, struct sim_member *m, const struct store_recovered *rec)
{
    bool is_back = m->lost_unread && came_back(w, m, rec);

    if (is_back) {
        take_over(w, m, rec);
    }
    return is_back || matches(w, &m->disk, rec);
}

void disk_recovered(struct world *w, struct sim_member *m, const struct store_recovered *rec)
{
    size_t next = 0;
    bool found = accounted_for(w, m, rec);

    w->counts.checks++;
    if (rec->has_snapshot && !inv_in_ledger(w, rec->snapshot.index, &rec->snapshot.chain)) {
        sim_fail(w, "member %u recovers a snapshot at %" PRIu64 " that was not committed", m->id,
                 rec->snapshot.index);
        return;
    }
    if (rec->faulty || m->replaced) {
        if (!m->damaged) {
            sim_fail(w, "member %u finds its sound disk faulty: %s", m->id, rec->note);
        }
        m->lost_unread = m->unread;
        take_over(w, m, rec);
        m->replaced = false;
        disk_drop_pending(m);
        return;
    }
    while (!found && next < m->pending_count) {
        disk_apply(w, m, &m->pending[next++]);
        found = accounted_for(w, m, rec);
    }
    if (!found) {
        struct store_pos last = last_of(rec);

        sim_fail(w,
                 "member %u recovers promise %" PRIu64 " vote %u last %" PRIu64
                 ", but its store confirmed promise %" PRIu64 " vote %u last %" PRIu64 "; %s",
                 m->id, rec->promised_epoch, rec->voted_for, last.index, m->disk.promised,
                 m->disk.voted_for, m->disk.last, rec->note);
    }
    disk_drop_pending(m);
}
