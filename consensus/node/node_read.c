#include "node_int.h"

#include "err.h"
#include "mem.h"

/* Barriers: OP_SYNC, and a HELLO that names a session or an index that is not known here yet. Each
 * asks zab for a read index (a commit index that the leader vouched for after the question was
 * asked), waits until that index is applied here, and is answered. A read that zab gives up,
 * because the leader changed, is asked again under a new id until the deadline: an id is never used
 * twice (etcd#20418). */

static void ask(struct node *n, struct node_waiter *w)
{
    if (w->asked || w->ready || n->view.leader == 0) {
        return;
    }
    HASH_DEL(n->waiters, w);
    w->id = n->read_next++;
    HASH_ADD(hh, n->waiters, id, sizeof(w->id), w);
    w->asked = true;
    node_step(
        n, &(struct zab_event){.type = ZAB_EV_READ, .u.read = {.id = w->id, .quorum = w->quorum}});
}

static void drop(struct node *n, struct node_waiter *w)
{
    HASH_DEL(n->waiters, w);
    mem_free(w);
}

static void finish(struct node *n, struct node_waiter *w, int err)
{
    struct node_conn *conn = node_conn_find(n, w->conn);
    struct node_waiter was = *w;

    drop(n, w);
    if (conn == NULL) {
        return;
    }
    if (!was.hello) {
        struct reply r = {.op = OP_SYNC, .xid = was.xid, .err = err};

        node_reply(n, conn, &r);
    } else if (err != 0) {
        node_session_refuse(n, conn, err);
    } else {
        node_session_resume(n, conn);
    }
}

static struct node_waiter *wait_add(struct node *n, struct node_conn *conn, uint64_t xid,
                                    uint64_t deadline_ms)
{
    struct node_waiter *w = mem_zalloc(sizeof(*w));

    w->id = n->read_next++;
    w->conn = conn->id;
    w->xid = xid;
    w->deadline_ms = deadline_ms;
    HASH_ADD(hh, n->waiters, id, sizeof(w->id), w);
    return w;
}

static int admit(const struct node *n)
{
    if (node_quorum_lost(n)) {
        return ERR_NO_QUORUM;
    }
    return HASH_COUNT(n->waiters) >= WAITERS_MAX ? ERR_OVERLOAD : 0;
}

void node_sync_begin(struct node *n, struct node_conn *conn, const struct request *r)
{
    int err = n->disk_full && r->u.sync.quorum ? ERR_NOSPACE : admit(n); /* asked before a write */
    struct node_waiter *w;

    if (err != 0) {
        node_reply_err(n, conn, OP_SYNC, r->xid, err);
        return;
    }
    w = wait_add(n, conn, r->xid, node_answer_by(n, r->deadline_ms));
    w->quorum = r->u.sync.quorum;
    ask(n, w);
}

void node_sync_hello(struct node *n, struct node_conn *conn, uint64_t index, bool leader_asked)
{
    int err = leader_asked ? admit(n) : 0;
    struct node_waiter *w;

    if (err != 0) {
        node_session_refuse(n, conn, err);
        return;
    }
    w = wait_add(n, conn, conn->hello_xid, conn->hello_deadline_ms);
    w->hello = true;
    w->index = index;
    w->ready = !leader_asked;
    ask(n, w);
}

void node_sync_answer(struct node *n, uint64_t read, bool ok, uint64_t index)
{
    struct node_waiter *w;

    HASH_FIND(hh, n->waiters, &read, sizeof(read), w);
    if (w == NULL) {
        return; /* its client has gone, or it was late */
    }
    w->asked = false;
    if (!ok) {
        return; /* asked again on the next beat, or when there is another leader */
    }
    w->ready = true;
    if (index > w->index) {
        w->index = index;
    }
    if (w->index <= tree_index(n->tree) || BUG(X14_BARRIER_NOT_APPLIED)) {
        finish(n, w, 0);
    }
}

void node_sync_on_role(struct node *n)
{
    struct node_waiter *w, *next;

    HASH_ITER (hh, n->waiters, w, next) {
        ask(n, w);
    }
}

void node_sync_on_apply(struct node *n)
{
    uint64_t applied = tree_index(n->tree);
    struct node_waiter *w, *next;

    HASH_ITER (hh, n->waiters, w, next) {
        if (w->ready && w->index <= applied) {
            finish(n, w, 0);
        }
    }
}

void node_sync_housekeep(struct node *n)
{
    bool lost = node_quorum_lost(n);
    struct node_waiter *w, *next;

    HASH_ITER (hh, n->waiters, w, next) {
        if (w->conn == 0) {
            drop(n, w);
        } else if (n->now.mono_ms >= w->deadline_ms || (lost && !w->ready)) {
            finish(n, w, lost ? ERR_NO_QUORUM : ERR_TIMEOUT);
        } else if (n->disk_full && w->ready && w->index > n->view.durable) {
            finish(n, w, ERR_NOSPACE); /* what it waits for cannot be stored here */
        } else {
            ask(n, w);
        }
    }
}

/* Only orphaned here, because this may run in the middle of a loop over the waiters; the next beat
 * removes them. */
void node_sync_drop(struct node *n, uint64_t conn)
{
    struct node_waiter *w, *next;

    HASH_ITER (hh, n->waiters, w, next) {
        if (w->conn == conn) {
            w->conn = 0;
        }
    }
}
