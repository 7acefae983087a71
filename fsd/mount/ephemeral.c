/* Happy path: the last close of an open file sends one REMOVE by id.
 * Closing does not wait for that; but on this mount the name is not shown from then on, so that
 * whoever makes it anew at once is not told that it is there.
 *
 * Failures: no quorum or no answer in time has it sent again a moment later, for as long as the
 * session lives; when that ends, the ensemble removes the node itself. */
#include "ephemeral.h"

#include <errno.h>
#include <utlist.h>

#include "err.h"
#include "mem.h"

enum { RETRY_MS = 500 };

struct removal {
    struct mount *m;
    uint64_t id;
    struct inode *inode;         /* held; NULL if it was not in the table */
    uint32_t session_count;      /* of the mount's session that the node belongs to */
    struct removal *prev, *next; /* in mount.removals, while it waits to be sent again */
};

/* --- removing -------------------------------------------------------------------------------- */

static void send_removal(struct removal *r);

/* The node is gone, or is to stay. */
static void removal_free(struct removal *r)
{
    if (r->inode != NULL) {
        r->inode->ending = false;
        inode_unpin(&r->m->inodes, r->inode);
    }
    r->m->removal_count--;
    mem_free(r);
}

static void on_retry_timer(uv_timer_t *t)
{
    struct mount *m = t->data;
    struct removal *all = m->removals;
    struct removal *r, *next;

    m->removals = NULL;
    DL_FOREACH_SAFE(all, r, next)
    {
        send_removal(r);
    }
}

static bool is_final(int err)
{
    return err == 0 || err == ERR_NOENT || err == ERR_EXPIRED || err == ERR_CLOSED ||
           err == ERR_PERM;
}

static void on_removed(void *ctx, void *arg, const struct reply *reply)
{
    struct mount *m = ctx;
    struct removal *r = arg;

    if (is_final(reply->err)) {
        removal_free(r);
        interest_update(m);
        return;
    }
    DL_APPEND(m->removals, r);
    if (!uv_is_active((uv_handle_t *)&m->removal_timer)) {
        uv_timer_start(&m->removal_timer, on_retry_timer, RETRY_MS, 0);
    }
}

static void send_removal(struct removal *r)
{
    struct mount *m = r->m;

    if (m->client == NULL || r->session_count != m->session_count) {
        removal_free(r); /* it went with its session */
        return;
    }
    client_submit(m->client,
                  &(struct request){.op = OP_REMOVE,
                                    .deadline_ms = OPERATION_DEADLINE_MS_MAX,
                                    .u.remove = {.flags = REMOVE_EPHEMERAL, .id = r->id}},
                  on_removed, r);
}

void ephemeral_remove(struct mount *m, uint64_t id)
{
    struct removal *r = mem_zalloc(sizeof(*r));

    m->removal_count++;
    *r = (struct removal){
        .m = m, .id = id, .inode = inode_find(&m->inodes, id), .session_count = m->session_count};
    if (r->inode != NULL) {
        inode_pin(r->inode);
        r->inode->ending = true;
        if (r->inode->linked && r->inode->kernel_refs > 0) {
            notify_entry(m->notify, r->inode->parent->id, r->inode->name, r->inode->name_size);
        }
    }
    send_removal(r);
}

/* --- creating -------------------------------------------------------------------------------- */

static void on_birth_timer(uv_timer_t *t)
{
    struct mount *m = t->data;
    uint64_t now = uv_now(m->loop);
    struct call *c;

    while ((c = m->births) != NULL && c->birth_ms <= now) {
        ephemeral_leave(c);
        if (!c->told) { /* else its answer is next on the stream */
            call_abandon(c, ETIMEDOUT);
        }
    }
    if (c != NULL) {
        uv_timer_start(t, on_birth_timer, c->birth_ms - now, 0);
    }
}

void ephemeral_submit(struct call *c, const struct request *r, call_done_fn done)
{
    struct mount *m = c->m;
    struct request request = *r;

    request.deadline_ms = OPERATION_DEADLINE_MS_MAX;
    if (m->client != NULL) {
        c->birth_ms = uv_now(m->loop) + m->options->deadline_ms;
        DL_APPEND2(m->births, c, birth_prev, birth_next);
        if (!uv_is_active((uv_handle_t *)&m->birth_timer)) {
            uv_timer_start(&m->birth_timer, on_birth_timer, m->options->deadline_ms, 0);
        }
    }
    c->outlives = true;
    call_submit(c, &request, done);
}

void ephemeral_leave(struct call *c)
{
    if (c->birth_ms != 0) {
        DL_DELETE2(c->m->births, c, birth_prev, birth_next);
        c->birth_ms = 0;
    }
}

/* --- start and end --------------------------------------------------------------------------- */

void ephemeral_start(struct mount *m)
{
    uv_timer_init(m->loop, &m->removal_timer);
    uv_timer_init(m->loop, &m->birth_timer);
    m->removal_timer.data = m->birth_timer.data = m;
}

void ephemeral_end(struct mount *m)
{
    uv_close((uv_handle_t *)&m->removal_timer, NULL);
    uv_close((uv_handle_t *)&m->birth_timer, NULL);
}

void ephemeral_done(struct mount *m)
{
    struct removal *r, *next;

    DL_FOREACH_SAFE(m->removals, r, next)
    {
        removal_free(r);
    }
    m->removals = NULL;
}
