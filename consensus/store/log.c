/* The log over its segments: append, cut, purge. What is where on disk is in segment.c; how it is
 * read back in recover.c. */

#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"
#include "sector.h"
#include "store_int.h"

uint64_t log_limit(const struct store *s, size_t i)
{
    uint64_t limit = UINT64_MAX;

    for (size_t j = i + 1; j < s->segment_count; j++) {
        const struct segment *g = &s->segments[j];

        if (g->readable && g->before.index < limit) {
            limit = g->before.index;
        }
    }
    return limit;
}

/* A disk that is too full for the segment after this one is no failure yet: it is asked for again
 * when it is needed. */
int log_begin(struct store *s, const struct store_pos *before, const struct store_pos *claimed)
{
    int rc = segment_begin(s, before, claimed);

    if (rc == 0) {
        rc = segment_prepare(s, 0);
    }
    return rc == ERR_NOSPACE ? 0 : rc;
}

static int log_write(struct store *s, const struct store_entry *const *entries, size_t count,
                     uint64_t payload_size)
{
    uint64_t size = sector_blocks_size(payload_size);
    int rc;

    if (s->active_fd < 0 || s->segments[s->segment_count - 1].size - s->active_offset < size) {
        struct store_pos before = s->last, claimed = s->claimed;

        rc = segment_prepare(s, BLOCK_SIZE + size);
        if (rc != 0) {
            return rc;
        }
        rc = log_begin(s, &before, &claimed);
        if (rc != 0) {
            return rc;
        }
    }
    rc = segment_append(s, entries, count, payload_size);
    if (rc == 0 && s->claimed.index <= s->last.index) {
        s->claimed = s->last;
    }
    return rc;
}

/* A caller that leaves a gap, or hands over an entry under a wrong chain, is wrong. */
static void check_follows(const struct store_pos *before, const struct store_entry *e)
{
    struct hash128 chain =
        hash_chain(before->chain, e->epoch, e->index, e->type,
                   e->body != NULL ? e->body->data : NULL, e->body != NULL ? e->body->size : 0);

    CHECK(e->index == before->index + 1);
    CHECK(e->epoch >= before->epoch);
    CHECK(hash128_equal(e->chain, chain));
}

static uint64_t op_payload_size(const struct store_op *op)
{
    uint64_t size = 0;

    for (size_t i = 0; i < op->u.append.count; i++) {
        size += segment_payload_size(&op->u.append.entries[i]);
    }
    return size;
}

/* As many operations as fit one batch; an operation is never split. */
int log_append(struct store *s, const struct store_op *ops, size_t count, size_t *ret_done)
{
    const struct store_entry **entries;
    struct store_pos at = s->last;
    uint64_t size = BATCH_HEADER_SIZE;
    size_t entry_count = 0, taken = 0, used = 0;
    int rc = 0;

    for (taken = 0; taken < count; taken++) {
        uint64_t more = op_payload_size(&ops[taken]);

        CHECK(BATCH_HEADER_SIZE + more <= LOG_BATCH_SIZE_MAX);
        if (size + more > LOG_BATCH_SIZE_MAX) {
            break;
        }
        size += more;
        entry_count += ops[taken].u.append.count;
    }
    entries = mem_alloc((entry_count + 1) * sizeof(*entries));
    for (size_t i = 0; i < taken; i++) {
        for (size_t k = 0; k < ops[i].u.append.count; k++) {
            const struct store_entry *e = &ops[i].u.append.entries[k];

            check_follows(&at, e);
            at = (struct store_pos){e->epoch, e->index, e->chain};
            entries[used++] = e;
        }
    }
    if (entry_count > 0) {
        rc = log_write(s, entries, entry_count, size);
    }
    mem_free(entries);
    if (rc == 0) {
        *ret_done = taken;
    }
    return rc;
}

/* Where entry `index`, at most the last one, stands. */
static int log_find(struct store *s, uint64_t index, struct store_pos *ret)
{
    for (size_t i = s->segment_count; i-- > 0;) {
        const struct segment *g = &s->segments[i];
        struct segment_scan scan;
        int rc;

        if (!g->readable || g->before.index > index) {
            continue;
        }
        rc = segment_scan(s, g, index, NULL, NULL, &scan);
        if (rc == 0 && scan.end != SEGMENT_REACHED) {
            store_note(s, "log: entry %llu can no longer be read", (unsigned long long)index);
            rc = ERR_IO;
        }
        if (rc == 0) {
            *ret = scan.last;
        }
        return rc;
    }
    CHECK(index == s->base.index);
    *ret = s->base;
    return 0;
}

int log_truncate(struct store *s, uint64_t index)
{
    struct store_pos pos;
    int rc;

    CHECK(index <= s->last.index);
    CHECK(index >= s->base.index);
    if (index == s->last.index) {
        return 0;
    }
    rc = segment_prepare(s, 0);
    if (rc == 0) {
        rc = log_find(s, index, &pos);
    }
    if (rc == 0 && BUG(B6_CUT_COMES_BACK)) {
        s->last = pos;
        return 0;
    }
    return rc != 0 ? rc : log_begin(s, &pos, &pos);
}

static int segment_remove_first(struct store *s)
{
    const struct vfs *v = &s->conf.vfs;
    char name[FILE_NAME_SIZE];
    int rc;

    segment_name(name, s->segments[0].sequence);
    rc = v->unlink(v->ctx, name);
    if (rc != 0) {
        return store_fail(s, ERR_IO, name, "remove", rc);
    }
    s->segment_count--;
    memmove(s->segments, s->segments + 1, s->segment_count * sizeof(*s->segments));
    return 0;
}

/* From the front, and each removal on disk before the next, so that no crash leaves a hole. */
int log_purge(struct store *s, uint64_t floor_index)
{
    while (s->segment_count > 1 && log_limit(s, 0) <= floor_index) {
        int rc = segment_remove_first(s);

        if (rc != 0) {
            return rc;
        }
        rc = s->conf.vfs.sync_dir(s->conf.vfs.ctx);
        if (rc != 0) {
            return store_fail(s, ERR_IO, "directory", "sync", rc);
        }
    }
    return 0;
}

int log_drop_before(struct store *s, uint64_t sequence)
{
    int rc;

    if (s->segment_count == 0 || s->segments[0].sequence >= sequence) {
        return 0;
    }
    while (s->segment_count > 0 && s->segments[0].sequence < sequence) {
        rc = segment_remove_first(s);
        if (rc != 0) {
            return rc;
        }
    }
    rc = s->conf.vfs.sync_dir(s->conf.vfs.ctx);
    return rc == 0 ? 0 : store_fail(s, ERR_IO, "directory", "sync", rc);
}
