/* Locks. The ensemble decides; here is who asked for what, until it is certain.
 *
 * Happy path: a caller's question goes out as OP_LOCK. It is granted, or refused, or it is in the
 * ensemble's queue: then the caller waits, without a deadline, for CHANGE_GRANT.
 *
 * The ensemble knows one question of an owner at a time, another one takes it back. So an owner's
 * questions go out one after the other, and what was taken back by one is asked again behind it.
 * Threads of a process that wait for different ranges at a time take turns in the queue.
 *
 * Failures:
 * - The caller is interrupted: it is told EINTR at once, and what was asked for is taken back, be
 * it granted meanwhile or not: what the owner held of the range before is what it holds then.
 * - The outcome of a question that does not wait is unknown: taken back likewise.
 * - What is given back is given back: that is repeated while the session lives, and what the owner
 *   asks for next goes out behind it.
 * - Another member is attached to: grants may have gone unheard, so all that wait ask again.
 * - The session is lost: whoever waits gets ESTALE. The locks ended with the session. */
#include "lock.h"

#include <errno.h>
#include <utlist.h>

#include "err.h"
#include "lock_range.h"
#include "mem.h"

enum { TICK_MS = 200, RETRY_MS = 500, TURN_MS = 1000 };

enum ask_state {
    ASK_NEW,    /* was never sent */
    ASK_SENT,   /* its answer is due */
    ASK_QUEUED, /* waits in the ensemble */
    ASK_IDLE,   /* to be asked again */
};

struct lock_ask {
    struct lock_owner *owner;
    fuse_req_t req; /* NULL: nobody waits for it */
    bool flush;     /* req is a FLUSH, to be answered with flush_errno */
    int flush_errno;
    struct lock lock;
    bool wait;   /* until granted */
    bool insist; /* gives something back: until that is certain */
    bool gone;   /* its caller was answered before it was decided: to be taken back */
    enum ask_state state;
    uint64_t attaches;    /* of the mount, when it was sent */
    uint64_t since_ms;    /* in this state */
    uint64_t retry_ms;    /* ASK_IDLE: not before */
    uint64_t give_up_ms;  /* interrupted; 0: not */
    uint64_t deadline_ms; /* for req; 0: none */
    struct lock_ask *prev, *next;
};

struct lock_owner { /* of one kind of lock on one node; there while it has or wants something */
    struct {
        uint64_t owner;
        uint64_t kind;
    } key;
    struct mount *m;
    struct inode *inode; /* pinned */
    struct lock_ranges held;
    struct lock_ask *asks; /* in order */
    struct lock_ask *sent, *queued;
    UT_hash_handle hh;              /* in inode->lock_owners */
    struct lock_owner *prev, *next; /* in mount.locks.owners */
};

static void pump(struct lock_owner *o);

/* --- owners ---------------------------------------------------------------------------------- */

static struct lock_owner *owner_find(const struct inode *i, enum lock_kind kind, uint64_t owner)
{
    struct lock_owner *o = NULL;
    struct lock_owner key = {.key = {.owner = owner, .kind = kind}};

    if (i->lock_owners != NULL) {
        HASH_FIND(hh, i->lock_owners, &key.key, sizeof(key.key), o);
    }
    return o;
}

static struct lock_owner *owner_get(struct mount *m, struct inode *i, const struct lock *l)
{
    struct lock_owner *o = owner_find(i, l->kind, l->owner);

    if (o == NULL) {
        o = mem_zalloc(sizeof(*o));
        o->key.owner = l->owner;
        o->key.kind = l->kind;
        o->m = m;
        o->inode = i;
        inode_pin(i);
        HASH_ADD(hh, i->lock_owners, key, sizeof(o->key), o);
        DL_APPEND(m->locks.owners, o);
    }
    return o;
}

static void owner_free(struct lock_owner *o)
{
    HASH_DELETE(hh, o->inode->lock_owners, o);
    DL_DELETE(o->m->locks.owners, o);
    inode_unpin(&o->m->inodes, o->inode);
    lock_ranges_done(&o->held);
    mem_free(o);
}

bool lock_is_unknown(const struct inode *i, enum lock_kind kind, uint64_t owner)
{
    return owner_find(i, kind, owner) == NULL;
}

/* --- questions ------------------------------------------------------------------------------- */

static void watch_clock(struct mount *m, uint64_t first_ms)
{
    bool active = uv_is_active((uv_handle_t *)&m->locks.timer);

    if (!m->ending && (!active || first_ms == 0)) {
        uv_timer_start(&m->locks.timer, lock_on_timer, first_ms, TICK_MS);
    }
}

static struct lock_ask *ask_new(struct lock_owner *o, const struct lock *l)
{
    struct lock_ask *a = mem_zalloc(sizeof(*a));

    a->owner = o;
    a->lock = *l;
    DL_APPEND(o->asks, a);
    return a;
}

static void answer(struct lock_ask *a, int err_no)
{
    fuse_req_t req = a->req;

    a->req = NULL;
    if (req != NULL) {
        fuse_reply_err(req, a->flush ? a->flush_errno : err_no);
    }
}

static void ask_end(struct lock_ask *a, int err_no)
{
    struct lock_owner *o = a->owner;

    answer(a, err_no);
    if (o->queued == a) {
        o->queued = NULL;
    }
    DL_DELETE(o->asks, a);
    mem_free(a);
}

static void set_state(struct lock_ask *a, enum ask_state state)
{
    a->state = state;
    a->since_ms = uv_now(a->owner->m->loop);
    if (a->owner->queued == a) {
        a->owner->queued = NULL;
    }
    if (state == ASK_QUEUED) {
        a->owner->queued = a;
    } else if (state == ASK_IDLE) {
        watch_clock(a->owner->m, TICK_MS);
    }
}

/* Ahead of what was not sent: its caller may have come again already, with the same question. */
static void insist(struct lock_owner *o, struct lock l, struct lock_piece p)
{
    struct lock_ask *a;

    l.start = p.start;
    l.end = p.end;
    l.type = p.type;
    a = ask_new(o, &l);
    a->insist = true;
    DL_DELETE(o->asks, a);
    DL_PREPEND(o->asks, a);
}

/* Makes the range what it was before a question, whatever became of that. */
static void take_back(struct lock_owner *o, const struct lock *l)
{
    uint64_t at = l->start;

    if (l->kind == LOCK_KIND_FLOCK) { /* it held nothing while it asked for something else */
        insist(o, *l, (struct lock_piece){l->start, l->end, LOCK_TYPE_NONE});
        lock_ranges_set(&o->held, l->start, l->end, LOCK_TYPE_NONE);
        return;
    }
    for (;;) {
        struct lock_piece p = lock_ranges_at(&o->held, at, l->end);

        insist(o, *l, p);
        if (p.end == l->end) {
            return;
        }
        at = p.end + 1;
    }
}

/* Its caller need not wait any longer. */
static void give_up(struct lock_ask *a, int err_no)
{
    struct lock_owner *o = a->owner;
    struct lock l = a->lock;

    if (a->insist) {
        answer(a, err_no);
        a->give_up_ms = a->deadline_ms = 0;
    } else if (a->state == ASK_SENT) {
        answer(a, err_no);
        a->gone = true; /* taken back when it is answered */
    } else if (a->state == ASK_NEW) {
        ask_end(a, err_no);
    } else {
        ask_end(a, err_no);
        take_back(o, &l);
    }
}

/* The kernel tells of every signal. Waiting for a lock is what a signal is meant to end, and the
 * kernel starts it again for handlers with SA_RESTART; anything else ends in a moment. The request
 * must not be answered in here. */
static void on_interrupt(fuse_req_t req, void *data)
{
    struct lock_ask *a = data;
    struct mount *m = a->owner->m;

    (void)req;
    if (a->give_up_ms == 0) {
        a->give_up_ms = uv_now(m->loop) + (a->wait ? 0 : INTERRUPT_WAIT_MS);
        watch_clock(m, a->wait ? 0 : TICK_MS);
    }
}

/* --- asking ---------------------------------------------------------------------------------- */

static bool is_worth_repeating(int err)
{
    return err == ERR_TIMEOUT || err == ERR_NO_QUORUM || err == ERR_OVERLOAD ||
           err == ERR_ABANDONED;
}

static void on_failed(struct lock_ask *a, int err)
{
    struct lock_owner *o = a->owner;
    struct lock l = a->lock;

    if (is_worth_repeating(err) && (a->insist || (a->wait && !a->gone))) {
        set_state(a, ASK_IDLE);
        a->retry_ms = a->since_ms + (err == ERR_TIMEOUT ? 0 : RETRY_MS);
        if (a->insist) {
            answer(a, err_to_errno(err));
        }
        watch_clock(o->m, TICK_MS);
    } else if ((err == ERR_TIMEOUT || a->gone) && !a->insist) {
        ask_end(a, err_to_errno(err));
        take_back(o, &l);
    } else {
        if (a->insist && err != ERR_NOLOCKS) {
            /* There is nothing to give back, or to have again: the node is gone. Or others have
             * come in: then the weaker lock may be there, and is to be given back some time. */
            lock_ranges_set(&o->held, l.start, l.end,
                            err == ERR_WOULD_BLOCK ? LOCK_TYPE_SHARED : LOCK_TYPE_NONE);
        }
        ask_end(a, err_to_errno(err));
    }
}

static void on_decided(struct lock_ask *a, bool granted)
{
    struct lock_owner *o = a->owner;
    struct lock l = a->lock;

    if (a->gone) {
        ask_end(a, 0);
        take_back(o, &l);
    } else if (granted || a->insist) {
        lock_ranges_set(&o->held, l.start, l.end, l.type);
        o->m->locks.granted += l.type != LOCK_TYPE_NONE;
        ask_end(a, 0);
    } else if (a->attaches != o->m->locks.attaches) {
        set_state(a, ASK_IDLE); /* it may have been granted since, and the event gone elsewhere */
    } else {
        if (l.kind == LOCK_KIND_FLOCK) {
            lock_ranges_set(&o->held, l.start, l.end, LOCK_TYPE_NONE);
        }
        set_state(a, ASK_QUEUED);
    }
}

static void on_reply(void *ctx, void *arg, const struct reply *r)
{
    struct lock_ask *a = arg;
    struct lock_owner *o = a->owner;

    (void)ctx;
    o->sent = NULL;
    a->state = ASK_IDLE;
    if (o->queued != NULL) {
        set_state(o->queued, ASK_IDLE); /* this question has taken it back */
    }
    if (r->err != 0) {
        on_failed(a, r->err);
    } else {
        on_decided(a, r->u.lock.granted || a->lock.type == LOCK_TYPE_NONE);
    }
    pump(o);
}

static void ask_send(struct lock_ask *a)
{
    struct lock_owner *o = a->owner;
    struct mount *m = o->m;
    uint64_t now = uv_now(m->loop);
    struct request r = {.op = OP_LOCK,
                        .u.lock = {.id = o->inode->id, .lock = a->lock, .wait = a->wait}};

    if (a->deadline_ms > now && !a->insist) {
        r.deadline_ms = (uint32_t)(a->deadline_ms - now);
    }
    set_state(a, ASK_SENT);
    a->attaches = m->locks.attaches;
    o->sent = a;
    m->locks.asked++;
    client_submit(m->client, &r, on_reply, a);
}

static struct lock_ask *next_to_send(const struct lock_owner *o)
{
    uint64_t now = uv_now(o->m->loop);
    struct lock_ask *a, *again = NULL;

    DL_FOREACH (o->asks, a) {
        if (a->insist) {
            return a->state == ASK_NEW || a->retry_ms <= now ? a : NULL;
        }
        if (a->state == ASK_NEW) {
            return a;
        }
        if (a->state == ASK_IDLE && a->retry_ms <= now && again == NULL) {
            again = a;
        }
    }
    return o->queued == NULL ? again : NULL;
}

/* Does what is next for the owner, and frees it when there is nothing left of it. */
static void pump(struct lock_owner *o)
{
    struct lock_ask *a;

    if (o->sent != NULL) {
        return;
    }
    while (o->m->client == NULL && o->asks != NULL) {
        ask_end(o->asks, ENOTCONN);
    }
    a = next_to_send(o);
    if (a != NULL) {
        ask_send(a);
    } else if (o->asks == NULL && o->held.count == 0) {
        owner_free(o);
    }
}

/* --- what others call ------------------------------------------------------------------------ */

static void begin(struct lock_ask *a, fuse_req_t req)
{
    struct mount *m = a->owner->m;

    a->req = req;
    if (req != NULL && !a->wait) {
        a->deadline_ms = uv_now(m->loop) + m->options->deadline_ms;
        watch_clock(m, TICK_MS);
    }
    pump(a->owner);
    if (req != NULL) {
        fuse_req_interrupt_func(req, on_interrupt, a);
    }
}

void lock_ask(struct mount *m, fuse_req_t req, struct inode *i, const struct lock *l, bool wait)
{
    struct lock_ask *a;

    if (m->client == NULL) {
        fuse_reply_err(req, ENOTCONN);
        return;
    }
    a = ask_new(owner_get(m, i, l), l);
    a->insist = l->type == LOCK_TYPE_NONE;
    a->wait = wait && !a->insist;
    begin(a, req);
}

void lock_give_all(struct mount *m, fuse_req_t req, struct inode *i, enum lock_kind kind,
                   uint64_t owner, int err_no)
{
    struct lock_owner *o = owner_find(i, kind, owner);
    struct lock all = {.kind = kind, .owner = owner, .end = UINT64_MAX};
    struct lock_ask *a;

    if (o == NULL || m->client == NULL) {
        if (req != NULL) {
            fuse_reply_err(req, err_no);
        }
        return;
    }
    a = ask_new(o, &all);
    a->insist = true;
    a->flush = true;
    a->flush_errno = err_no;
    begin(a, req);
}

void lock_handle_flushed(struct handle *h, uint64_t owner)
{
    struct inode_ids *l = &h->posix_owners;

    for (size_t n = 0; n < l->count; n++) {
        if (l->ids[n] == owner) {
            l->ids[n] = l->ids[--l->count];
            return;
        }
    }
}

void lock_handle_gone(struct mount *m, struct handle *h)
{
    if (h->flocked) {
        lock_give_all(m, NULL, h->inode, LOCK_KIND_FLOCK, h->flock_owner, 0);
    }
    for (size_t n = 0; n < h->posix_owners.count; n++) {
        lock_give_all(m, NULL, h->inode, LOCK_KIND_POSIX, h->posix_owners.ids[n], 0);
    }
    inode_ids_done(&h->posix_owners);
}

void lock_on_grant(struct mount *m, const struct event *e)
{
    struct inode *i = inode_find(&m->inodes, e->attr.id);
    struct lock_owner *o;
    struct lock_ask *a;

    if (i == NULL || e->session != m->session) {
        return;
    }
    o = owner_find(i, (enum lock_kind)e->lock_kind, e->xid);
    if (o == NULL || o->queued == NULL) {
        return; /* it is being taken back, or asked for again */
    }
    a = o->queued;
    lock_ranges_set(&o->held, a->lock.start, a->lock.end, a->lock.type);
    m->locks.granted++;
    ask_end(a, 0);
    pump(o);
}

static void ask_again(struct lock_owner *o)
{
    if (o->queued != NULL) {
        set_state(o->queued, ASK_IDLE);
    }
    pump(o);
}

void lock_on_remove(struct mount *m, struct inode *i)
{
    struct lock_owner *o, *next;

    inode_pin(i);
    HASH_ITER (hh, i->lock_owners, o, next) {
        lock_ranges_done(&o->held);
        ask_again(o); /* and hear that it is not there */
    }
    inode_unpin(&m->inodes, i);
}

void lock_on_attach(struct mount *m)
{
    struct lock_owner *o, *next;

    m->locks.attaches++;
    DL_FOREACH_SAFE(m->locks.owners, o, next)
    {
        ask_again(o);
    }
}

static void end_all(struct lock_owner *o, int err_no)
{
    struct lock_ask *a, *next;

    DL_FOREACH_SAFE(o->asks, a, next)
    {
        if (a == o->sent) {
            answer(a, err_no);
            a->insist = false;
            a->gone = true;
        } else {
            ask_end(a, err_no);
        }
    }
}

void lock_on_session_lost(struct mount *m)
{
    struct lock_owner *o, *next;

    m->locks.attaches++;
    DL_FOREACH_SAFE(m->locks.owners, o, next)
    {
        end_all(o, ESTALE);
        lock_ranges_done(&o->held);
        pump(o);
    }
}

void lock_end(struct mount *m)
{
    struct lock_owner *o, *next;

    uv_timer_stop(&m->locks.timer);
    DL_FOREACH_SAFE(m->locks.owners, o, next)
    {
        end_all(o, ENOTCONN);
        lock_ranges_done(&o->held);
        pump(o);
    }
}

/* --- time ------------------------------------------------------------------------------------ */

/* Of several threads of a process that wait, the one in the queue makes way for the next. */
static void take_turns(struct lock_owner *o, uint64_t now)
{
    struct lock_ask *a = o->queued;

    if (a != NULL && o->sent == NULL && o->asks->next != NULL && now - a->since_ms >= TURN_MS) {
        set_state(a, ASK_IDLE);
        DL_DELETE(o->asks, a);
        DL_APPEND(o->asks, a);
    }
}

/* True while the owner has to be looked at again. */
static bool look_at(struct lock_owner *o, uint64_t now)
{
    struct lock_ask *a, *next;
    bool busy = false;

    DL_FOREACH_SAFE(o->asks, a, next)
    {
        if (a->give_up_ms != 0 && a->give_up_ms <= now) {
            give_up(a, EINTR);
        } else if (a->req != NULL && a->deadline_ms != 0 && a->deadline_ms <= now) {
            give_up(a, ETIMEDOUT);
        }
    }
    take_turns(o, now);
    DL_FOREACH (o->asks, a) {
        busy |= a->state == ASK_IDLE || a->give_up_ms != 0 || (a->req != NULL && !a->wait);
    }
    pump(o);
    return busy;
}

void lock_on_timer(uv_timer_t *t)
{
    struct mount *m = t->data;
    struct lock_owner *o, *next;
    bool busy = false;

    DL_FOREACH_SAFE(m->locks.owners, o, next)
    {
        busy |= look_at(o, uv_now(m->loop));
    }
    if (!busy) {
        uv_timer_stop(t);
    }
}
