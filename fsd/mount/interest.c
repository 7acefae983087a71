/* Which directories the member tells us of (inode.h, rule 3).
 *
 * Answers subscribe the session to what they are about, but not to all that they let into the table
 * (a new directory, one seen in a listing, the way up to them), so each directory that enters is
 * also asked for, with all changes since what is known of it. Those that left are given up in
 * batches. A subscription is dropped and renewed in the order of the stream: if a directory came
 * back before the answer to its FORGET, that answer is when it was lost. */
#include "call.h"
#include "err.h"
#include "limits.h"
#include "mem.h"

#include <string.h>
#include <utlist.h>

enum { FORGET_DELAY_MS = 200 };

struct interest_batch { /* one request, until its answer */
    struct mount *m;
    uint64_t index;                     /* changes up to this one are known; 0: nothing is */
    struct interest_batch *prev, *next; /* in mount.interest_batches */
    size_t count;
    uint64_t ids[];
};

static struct interest_batch *batch_new(struct mount *m, const uint64_t *ids, size_t count,
                                        uint64_t index)
{
    struct interest_batch *b = mem_alloc(sizeof(*b) + count * sizeof(*ids));

    *b = (struct interest_batch){.m = m, .index = index, .count = count};
    memcpy(b->ids, ids, count * sizeof(*ids));
    DL_APPEND(m->interest_batches, b);
    return b;
}

static void batch_free(struct interest_batch *b)
{
    DL_DELETE(b->m->interest_batches, b);
    mem_free(b);
}

static void want_again(struct interest_batch *b, uint64_t index)
{
    struct inodes *t = &b->m->inodes;

    for (size_t n = 0; n < b->count; n++) {
        const struct inode *i = inode_find(t, b->ids[n]);

        if (i != NULL && i->told) {
            inodes_want(t, b->ids[n], index);
        }
    }
    interest_update(b->m);
}

/* --- declaring ------------------------------------------------------------------------------- */

static void on_declared(void *ctx, void *arg, const struct reply *r)
{
    struct interest_batch *b = arg;

    (void)ctx;
    if (r->err != 0 && b->m->attached) { /* else all is declared again by interest_attach() */
        event_missed(b->m, b->ids, b->count);
        if (r->err != ERR_COMPACTED) {
            want_again(b, b->index);
        }
    }
    batch_free(b);
}

static void declare(struct mount *m, const uint64_t *ids, size_t count, uint64_t index_from)
{
    for (size_t at = 0; at < count; at += INTEREST_IDS_MAX) {
        size_t n = count - at < INTEREST_IDS_MAX ? count - at : INTEREST_IDS_MAX;
        struct interest_batch *b = batch_new(m, ids + at, n, index_from);

        client_submit(
            m->client,
            &(struct request){
                .op = OP_INTEREST,
                .u.interest = {.index_from = index_from, .count = (uint32_t)n, .ids = b->ids}},
            on_declared, b);
    }
}

void interest_attach(struct mount *m, bool fresh)
{
    struct inode_ids dirs = {0};
    struct inode *i, *next;

    HASH_ITER (hh, m->inodes.by_id, i, next) {
        if (i->told) {
            inode_ids_add(&dirs, i->id);
        }
    }
    m->inodes.wanted.count = 0;
    m->inodes.left.count = 0;
    declare(m, dirs.ids, dirs.count, fresh ? 0 : m->detached_index);
    inode_ids_done(&dirs);
}

void interest_detach(struct mount *m, uint64_t index_seen)
{
    const struct interest_batch *b;

    /* What an unanswered declaration was to bring may not have come. */
    m->detached_index = index_seen;
    DL_FOREACH (m->interest_batches, b) {
        if (b->index != 0 && b->index < m->detached_index) {
            m->detached_index = b->index;
        }
    }
}

/* --- giving up ------------------------------------------------------------------------------- */

static void on_forgotten(void *ctx, void *arg, const struct reply *r)
{
    struct interest_batch *b = arg;

    (void)ctx;
    if (b->m->attached) {
        want_again(b, r->err == 0 ? r->index : b->index);
    }
    batch_free(b);
}

void interest_on_timer(uv_timer_t *t)
{
    struct mount *m = t->data;
    struct inode_ids *left = &m->inodes.left;
    struct inode_ids gone = {0};
    struct client_info info;

    for (size_t n = 0; n < left->count; n++) {
        const struct inode *i = inode_find(&m->inodes, left->ids[n]);

        if (i == NULL || !i->told) {
            inode_ids_add(&gone, left->ids[n]);
        }
    }
    left->count = 0;
    if (m->client != NULL && m->attached) { /* another member will not hear of them at all */
        client_info(m->client, &info);
        for (size_t at = 0; at < gone.count; at += INTEREST_IDS_MAX) {
            size_t n = gone.count - at < INTEREST_IDS_MAX ? gone.count - at : INTEREST_IDS_MAX;
            struct interest_batch *b = batch_new(m, gone.ids + at, n, info.index_seen);

            client_submit(m->client,
                          &(struct request){.op = OP_FORGET,
                                            .u.interest = {.count = (uint32_t)n, .ids = b->ids}},
                          on_forgotten, b);
        }
    }
    inode_ids_done(&gone);
}

void interest_update(struct mount *m)
{
    struct inodes *t = &m->inodes;

    if (m->client == NULL) {
        return;
    }
    if (t->wanted.count > 0) {
        size_t count = t->wanted.count;

        t->wanted.count = 0;
        declare(m, t->wanted.ids, count, t->wanted_index);
    }
    if (t->left.count > 0 && !uv_is_active((uv_handle_t *)&m->interest_timer)) {
        uv_timer_start(&m->interest_timer, interest_on_timer, FORGET_DELAY_MS, 0);
    }
}
