#include "call.h"

#include <string.h>
#include <utlist.h>

#include "blob.h"
#include "check.h"
#include "ephemeral.h"
#include "err.h"
#include "mem.h"

struct call *call_new(struct mount *m, fuse_req_t req, struct inode *i,
                      const struct fuse_file_info *fi)
{
    struct call *c = mem_zalloc(sizeof(*c));

    c->m = m;
    c->req = req;
    c->inode = i;
    if (i != NULL) {
        inode_pin(i);
    }
    if (fi != NULL) {
        c->fi = *fi;
        c->handle = handle_of(fi);
    }
    return c;
}

void call_end(struct call *c)
{
    struct mount *m = c->m;

    CHECK(c->xid == 0);
    ephemeral_leave(c);
    if (c->give_up_ms != 0) {
        DL_DELETE2(m->interrupted, c, interrupted_prev, interrupted_next);
    }
    if (c->inode != NULL) {
        inode_unpin(&m->inodes, c->inode);
    }
    if (c->to_dir != NULL) {
        inode_unpin(&m->inodes, c->to_dir);
    }
    if (c->local != NULL) {
        local_unpin(&m->locals, c->local);
    }
    mem_free(c->name);
    mem_free(c->to_name);
    blob_unref(c->data);
    mem_free(c);
    interest_update(m);
}

void call_set_name(struct call *c, const char *name)
{
    c->name = mem_strdup(name);
}

struct name call_name(const struct call *c)
{
    return (struct name){.bytes = c->name, .size = (uint32_t)strlen(c->name)};
}

/* --- waiting --------------------------------------------------------------------------------- */

void call_abandon(struct call *c, int err_no)
{
    if (c->req != NULL) {
        fuse_reply_err(c->req, err_no);
        c->req = NULL;
    }
    c->abandoned = true;
}

static void give_up(struct call *c)
{
    fuse_req_t req = c->req;

    if (c->told) {
        return; /* its answer is next on the stream */
    }
    c->abandoned = true;
    if (c->outlives) {
        call_abandon(c, EINTR);
    } else if (c->xid != 0) {
        if (c->m->client != NULL) {
            client_cancel(c->m->client, c->xid); /* its end tells the caller EINTR */
        }
    } else if (c->in_marker) {
        c->req = NULL; /* the marker cannot be taken back */
        fuse_reply_err(req, EINTR);
    } else if (c->list != NULL) {
        call_leave(c);
        call_reply_errno(c, EINTR);
    }
}

void call_on_interrupt_timer(uv_timer_t *t)
{
    struct mount *m = t->data;
    uint64_t now = uv_now(m->loop);
    struct call *c;

    while ((c = m->interrupted) != NULL && c->give_up_ms <= now) {
        DL_DELETE2(m->interrupted, c, interrupted_prev, interrupted_next);
        c->give_up_ms = 0;
        give_up(c);
    }
    if (c != NULL) {
        uv_timer_start(t, call_on_interrupt_timer, c->give_up_ms - now, 0);
    }
}

/* The kernel passes on signals that the caller handles and goes on from, and programs do not expect
 * EINTR of a file system: what ends in a moment is not given up. Runs inside
 * fuse_session_process_buf() or watch_interrupt(). */
static void on_interrupt(fuse_req_t req, void *data)
{
    struct call *c = data;
    struct mount *m = c->m;

    (void)req;
    if (c->give_up_ms != 0 || c->abandoned) {
        return;
    }
    c->give_up_ms = uv_now(m->loop) + INTERRUPT_WAIT_MS;
    DL_APPEND2(m->interrupted, c, interrupted_prev, interrupted_next);
    if (!uv_is_active((uv_handle_t *)&m->interrupt_timer)) {
        uv_timer_start(&m->interrupt_timer, call_on_interrupt_timer, INTERRUPT_WAIT_MS, 0);
    }
}

static void watch_interrupt(struct call *c)
{
    if (c->req != NULL) {
        fuse_req_interrupt_func(c->req, on_interrupt, c);
    }
}

/* What is left of the time that the client gives to one request. */
static uint32_t deadline_left(const struct call *c, const struct request *r)
{
    uint64_t spent_ms = c->began_ms != 0 ? uv_now(c->m->loop) - c->began_ms : 0;

    if (spent_ms == 0 || r->deadline_ms != 0) {
        return r->deadline_ms;
    }
    return spent_ms < c->m->options->deadline_ms ? c->m->options->deadline_ms - (uint32_t)spent_ms
                                                 : 1;
}

static void count(struct mount *m, const struct call *c, const struct reply *r)
{
    if ((int)r->op < MOUNT_OPS_MAX) {
        m->op_stats[r->op].count++;
        m->op_stats[r->op].failed += r->err != 0;
        m->op_stats[r->op].ns += uv_hrtime() - c->sent_ns;
    }
}

static void on_done(void *ctx, void *arg, const struct reply *r)
{
    struct mount *m = ctx;
    struct call *c = arg;
    struct reply given_up = {.op = r->op, .xid = r->xid, .err = ERR_INTR};

    HASH_DELETE(hh, m->calls, c);
    c->xid = 0;
    count(m, c, r);
    /* event.c went by it: so it must be EINTR */
    c->done(c, c->abandoned && !c->outlives ? &given_up : r);
}

void call_submit(struct call *c, const struct request *r, call_done_fn done)
{
    struct mount *m = c->m;
    struct request request = *r;

    if (m->client == NULL) {
        done(c, &(struct reply){.op = r->op, .err = ERR_CLOSED});
        return;
    }
    c->done = done;
    request.deadline_ms = deadline_left(c, r);
    c->sent_ns = m->submitted_ns = uv_hrtime();
    c->xid = client_submit(m->client, &request, on_done, c);
    HASH_ADD(hh, m->calls, xid, sizeof(c->xid), c);
    watch_interrupt(c);
}

struct call *call_find(struct mount *m, uint64_t xid)
{
    struct call *c;

    HASH_FIND(hh, m->calls, &xid, sizeof(xid), c);
    return c;
}

static bool is_over(const struct inode *i, enum call_wait what)
{
    return what == WAIT_CUTS ? i->cuts == 0 : i->commits == 0;
}

void call_join(struct call *c, struct call **list, void (*resume)(struct call *c))
{
    c->resume = resume;
    c->list = list;
    DL_APPEND(*list, c);
    watch_interrupt(c);
}

void call_leave(struct call *c)
{
    DL_DELETE(*c->list, c);
    c->list = NULL;
    c->resume = NULL;
}

void call_resume(struct call *c)
{
    void (*resume)(struct call * c) = c->resume;

    call_leave(c);
    resume(c);
}

void call_wait(struct call *c, enum call_wait what, void (*resume)(struct call *c))
{
    if (is_over(c->inode, what)) {
        resume(c);
        return;
    }
    c->waits_for = what;
    call_join(c, &c->inode->waiters, resume);
}

static struct call *first_ready(const struct inode *i)
{
    struct call *c;

    DL_FOREACH (i->waiters, c) {
        if (is_over(i, c->waits_for)) {
            return c;
        }
    }
    return NULL;
}

void call_wake(struct mount *m, struct inode *i)
{
    struct call *c;

    inode_pin(i);
    while ((c = first_ready(i)) != NULL) { /* one that goes on may commit again */
        call_resume(c);
    }
    inode_unpin(&m->inodes, i);
}

void call_after_notifies(struct call *c, void (*resume)(struct call *c))
{
    c->resume = resume;
    c->in_marker = true;
    notify_marker(c->m->notify, c);
    watch_interrupt(c);
}

void call_marker_passed(struct call *c)
{
    void (*resume)(struct call * c) = c->resume;

    c->in_marker = false;
    c->resume = NULL;
    resume(c);
}

/* --- replies --------------------------------------------------------------------------------- */

/* A name that is not the node's own is a template's, and must be asked for each time. */
static void entry_of(const struct call *c, struct inode *i, struct fuse_entry_param *ret)
{
    inode_entry(c->m, i, ret);
    inode_show(&c->m->inodes, i);
    if (strcmp(c->name, i->name) != 0) {
        ret->entry_timeout = 0;
    }
}

void call_reply_errno(struct call *c, int err_no)
{
    if (c->req != NULL) {
        fuse_reply_err(c->req, err_no);
    }
    call_end(c);
}

void call_reply_err(struct call *c, int err)
{
    call_reply_errno(c, err_to_errno(err));
}

void call_reply_entry(struct call *c, struct inode *i)
{
    struct fuse_entry_param e;

    entry_of(c, i, &e);
    if (fuse_reply_entry(c->req, &e) != 0) {
        if (c->outlives) {
            ephemeral_remove(c->m, i->id);
        }
        inode_kernel_forget(&c->m->inodes, i, 1);
    }
    call_end(c);
}

void call_reply_create(struct call *c, struct inode *i, struct handle *h)
{
    struct fuse_entry_param e;

    entry_of(c, i, &e);
    c->fi.fh = (uintptr_t)h;
    if (fuse_reply_create(c->req, &e, &c->fi) != 0) {
        handle_end(c->m, h);
        inode_kernel_forget(&c->m->inodes, i, 1);
    }
    call_end(c);
}

void call_reply_attr(struct call *c, const struct stat *st, double timeout)
{
    fuse_reply_attr(c->req, st, timeout);
    call_end(c);
}

void call_reply_open(struct call *c, struct handle *h)
{
    c->fi.fh = (uintptr_t)h;
    if (fuse_reply_open(c->req, &c->fi) != 0) {
        handle_free(c->m, h);
    }
    call_end(c);
}

void call_reply_bytes(struct call *c, const void *bytes, size_t size)
{
    fuse_reply_buf(c->req, bytes, size);
    call_end(c);
}
