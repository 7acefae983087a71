/* The barrier: fsync on a descriptor that is only read. The ensemble says when this member has
 * applied all that was committed before; the events of that came before its answer, and a marker
 * behind the invalidations they ordered says when the kernel has dropped what it cached. The replay
 * helpers are not waited for: they tell watchers, not readers.
 *
 * What a close on this mount has ended is part of "before": while such a removal is on its way, the
 * ensemble is asked again. */
#include "call.h"

static void on_marker_passed(struct call *c)
{
    call_reply_errno(c, 0);
}

static void ask(struct call *c);

static void on_synced(struct call *c, const struct reply *r)
{
    if (r->err != 0) {
        call_reply_err(c, r->err);
    } else if (c->m->removal_count > 0) { /* the deadline is that of the call */
        ask(c);
    } else {
        call_after_notifies(c, on_marker_passed);
    }
}

static void ask(struct call *c)
{
    call_submit(c, &(struct request){.op = OP_SYNC}, on_synced);
}

void barrier_begin(struct call *c)
{
    c->began_ms = uv_now(c->m->loop);
    ask(c);
}
