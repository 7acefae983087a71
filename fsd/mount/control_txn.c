/* .zabfs/txn: a transaction is written as text (txn_text.h) and committed when the descriptor is
 * closed, synced or read; reading then gives the outcome, until something is written again. What is
 * made belongs to whoever opened the file. Only who made the mount, and root, may open it: the
 * paths are not looked up by the kernel, so nobody checks permissions on the way.
 *
 * Happy path: WRITE appends to the text. FLUSH, FSYNC or READ parses it and submits OP_TXN; this
 * kernel has not made the changes, so they are announced on this mount as another's; when it has
 * dropped what they make old, the caller goes on.
 *
 * Offsets mean little: the outcome begins where it is first read, because behind a write that is
 * where the descriptor stands. One operation at a time: EBUSY for others of the same open file. */
#include <errno.h>
#include <unistd.h>

#include "control_int.h"
#include "err.h"
#include "mem.h"
#include "txn_text.h"

struct txn_file {
    uid_t uid;
    gid_t gid;
    struct buf text;    /* written and not committed */
    struct buf outcome; /* of the last commit */
    bool placed;        /* the outcome was read, from this offset on */
    uint64_t at;
    struct call *commit; /* under way */
};

struct commit { /* state of its call */
    struct txn_text text;
    int err;
    void (*resume)(struct call *c, int err);
};

/* --- commit ---------------------------------------------------------------------------------- */

static void finish(struct call *c)
{
    struct commit k = *(struct commit *)c->state;

    mem_free(c->state);
    c->state = NULL;
    txn_text_done(&k.text);
    if (c->handle != NULL) {
        ((struct txn_file *)c->handle->control_state)->commit = NULL;
    }
    if (c->req == NULL) {
        call_end(c); /* interrupted */
    } else {
        k.resume(c, k.err);
    }
}

static void on_committed(struct call *c, const struct reply *r)
{
    struct txn_file *t = c->handle->control_state;
    struct commit *k = c->state;

    k->err = txn_text_err(r);
    txn_text_outcome(&k->text, r, &t->outcome);
    if (k->err == 0) {
        call_after_notifies(c, finish);
    } else {
        finish(c);
    }
}

/* Runs `resume` when nothing that was written is left to be committed. */
static void settle(struct call *c, void (*resume)(struct call *c, int err))
{
    struct txn_file *t = c->handle->control_state;
    struct txn_text_error where;
    struct txn_text text;
    struct commit *k;
    int err;

    if (t->commit != NULL) {
        call_reply_errno(c, EBUSY);
        return;
    }
    if (t->text.size == 0) {
        resume(c, 0);
        return;
    }
    t->outcome.size = 0;
    t->placed = false;
    err = txn_text_parse(t->text.data, t->text.size, &text, &where);
    buf_done(&t->text);
    if (err != 0) {
        txn_text_malformed(&where, &t->outcome);
        resume(c, err);
        return;
    }
    c->state = k = mem_alloc(sizeof(*k));
    *k = (struct commit){.text = text, .resume = resume};
    c->foreign = true;
    t->commit = c;
    call_submit(
        c,
        &(struct request){
            .op = OP_TXN,
            .u.txn = {.uid = t->uid, .gid = t->gid, .count = text.count, .steps = text.steps}},
        on_committed);
}

/* --- operations ------------------------------------------------------------------------------ */

static void serve(struct call *c, int err)
{
    struct txn_file *t = c->handle->control_state;
    size_t at;

    (void)err; /* the outcome says it */
    if (!t->placed || c->offset < t->at) {
        t->at = t->placed ? 0 : c->offset; /* rewound */
        t->placed = true;
    }
    at = (size_t)(c->offset - t->at);
    if (at >= t->outcome.size) {
        call_reply_bytes(c, NULL, 0);
    } else {
        size_t left = t->outcome.size - at;

        call_reply_bytes(c, t->outcome.data + at, left < c->size ? left : c->size);
    }
}

static void txn_read(struct call *c)
{
    settle(c, serve);
}

static void txn_write(struct call *c, const char *bytes)
{
    struct txn_file *t = c->handle->control_state;

    if (t->commit != NULL) {
        call_reply_errno(c, EBUSY);
    } else if (c->m->options->read_only) {
        call_reply_errno(c, EROFS);
    } else if (c->size > TXN_TEXT_SIZE_MAX - t->text.size) {
        call_reply_errno(c, EFBIG);
    } else {
        buf_put(&t->text, bytes, c->size);
        fuse_reply_write(c->req, c->size);
        call_end(c);
    }
}

static void txn_flush(struct call *c)
{
    settle(c, call_reply_err);
}

static void txn_open(struct call *c, struct control_node *n)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(c->req);
    struct txn_file *t;
    struct handle *h;

    (void)n;
    if (ctx->uid != 0 && ctx->uid != getuid()) {
        call_reply_errno(c, EACCES);
        return;
    }
    h = handle_new(c->m, HANDLE_CONTROL, NULL);
    t = mem_zalloc(sizeof(*t));
    t->uid = ctx->uid;
    t->gid = ctx->gid;
    h->control = &control_txn;
    h->control_state = t;
    c->fi.direct_io = 1;
    call_reply_open(c, h);
}

static void txn_release(struct mount *m, struct handle *h)
{
    struct txn_file *t = h->control_state;

    (void)m;
    if (t->commit != NULL) {
        t->commit->handle = NULL; /* its caller was interrupted while it waited for the kernel */
    }
    buf_done(&t->text);
    buf_done(&t->outcome);
    mem_free(t);
}

const struct control_file control_txn = {
    .name = "txn",
    .mode = 0600,
    .owned = true,
    .open = txn_open,
    .read = txn_read,
    .write = txn_write,
    .flush = txn_flush,
    .fsync = txn_flush,
    .release = txn_release,
};
