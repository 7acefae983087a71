/* -o reads=linearizable: a request that reads first learns that this mount shows all that was
 * committed before it began.
 *
 * Happy path: the requests of one turn of the loop gather; at its end one OP_SYNC is sent for all
 * of them, which is thus younger than each. Its answer comes behind the events of all that was
 * committed before it was asked for, so the table and the member may be believed again, and each
 * request goes on. The kernel keeps nothing that it could answer from by itself (inode_stat() and
 * inode_entry() say so), hence no invalidation has to be waited for: it could not be, because
 * lookups and listings hold their directory's lock.
 *
 * One system call makes several requests, and its first barrier is young enough for all of them.
 * Which belong together the kernel does not say. But it looks up no name in a directory, and open()
 * opens no file, before it has checked permissions in the same call; it checks them by the
 * attributes of that directory or file, which it may not keep and thus asks for. So the last
 * GETATTR of that inode by that thread is of the same call, and a LOOKUP or OPEN behind it needs no
 * barrier. A GETATTR behind a LOOKUP does: it may be the fstat() of what was opened with O_PATH. A
 * GETATTR counts once and for LOOK_MS, because the kernel opens what it reports by fanotify without
 * such a check.
 *
 * An open() that creates looks at the attributes of the new file before it returns, since the
 * kernel may not keep those that came with it. By then the file is there for everybody, so the call
 * must not be refused any more: that one look is answered from what the creation said, which is of
 * a moment within the call.
 *
 * Failures: no answer of the ensemble fails the request, with the error of the barrier. What is
 * known is never shown instead. */
#include "call.h"

#include <utlist.h>

#include "err.h"
#include "mem.h"

enum { LOOK_MS = 10 };

struct linear_batch {
    struct call *calls; /* those that were interrupted have left */
};

static void on_synced(void *ctx, void *arg, const struct reply *r)
{
    struct linear_batch *b = arg;
    struct call *c;

    (void)ctx;
    while ((c = b->calls) != NULL) {
        if (r->err != 0) {
            call_leave(c);
            call_reply_err(c, r->err);
        } else {
            call_resume(c);
        }
    }
    mem_free(b);
}

void linear_begin(struct call *c, void (*resume)(struct call *c))
{
    struct mount *m = c->m;

    if (!m->options->linearizable) {
        resume(c);
        return;
    }
    if (m->linear_gather == NULL) {
        m->linear_gather = mem_zalloc(sizeof(*m->linear_gather));
    }
    c->began_ms = uv_now(m->loop);
    call_join(c, &m->linear_gather->calls, resume);
}

/* --- requests of one system call ------------------------------------------------------------- */

static struct linear_look *look_of(struct mount *m, pid_t thread)
{
    return &m->linear_looks[(unsigned)thread % LINEAR_LOOKS];
}

/* Whether the thread's last look was at `ino`; it has none any more. */
static bool look_take(struct mount *m, pid_t thread, fuse_ino_t ino)
{
    struct linear_look *l = look_of(m, thread);
    struct linear_look last = *l;

    if (thread == 0 || last.thread != thread) {
        return false;
    }
    *l = (struct linear_look){0};
    return last.ino == ino && uv_now(m->loop) - last.ms <= LOOK_MS;
}

static void look_done(struct call *c)
{
    pid_t thread = fuse_req_ctx(c->req)->pid;

    *look_of(c->m, thread) =
        (struct linear_look){.thread = thread, .ino = c->ino, .ms = uv_now(c->m->loop)};
    c->looked(c);
}

void linear_begin_look(struct call *c, void (*resume)(struct call *c))
{
    (void)look_take(c->m, fuse_req_ctx(c->req)->pid, c->ino); /* this one is newer */
    c->looked = resume;
    linear_begin(c, c->m->options->linearizable ? look_done : resume);
}

void linear_begin_behind_look(struct call *c, void (*resume)(struct call *c))
{
    if (look_take(c->m, fuse_req_ctx(c->req)->pid, c->ino)) {
        resume(c);
    } else {
        linear_begin(c, resume);
    }
}

bool linear_is_opener(fuse_req_t req, struct inode *i)
{
    pid_t pid = fuse_req_ctx(req)->pid;

    if (pid == 0 || i->opener != pid) {
        return false;
    }
    (void)look_take(fuse_req_userdata(req), pid, i->id);
    i->opener = 0;
    return true;
}

void linear_send(struct mount *m)
{
    struct linear_batch *b = m->linear_gather;

    m->linear_gather = NULL;
    if (b == NULL) {
        return;
    }
    if (m->client == NULL) {
        on_synced(NULL, b, &(struct reply){.op = OP_SYNC, .err = ERR_CLOSED});
    } else {
        client_submit(m->client, &(struct request){.op = OP_SYNC}, on_synced, b);
    }
}
