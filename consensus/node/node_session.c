#include "node_int.h"

#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* Sessions live in the replicated tree; here is what a single member knows of them.
 *
 * At the member a client is attached to: which stream speaks for which session, and whether it was
 * heard of since the last TOUCH. At the leader: when each session was last heard of. Only the
 * leader ends a silent session, by an entry of its own epoch that is never forwarded (etcd#15247).
 * After an election every session has its full time again, and a stall of the leader's own loop is
 * not held against anyone. */

struct node_attached *node_attached_find(struct node *n, uint64_t session)
{
    struct node_attached *a;

    HASH_FIND(hh, n->attached, &session, sizeof(session), a);
    return a;
}

/* --- attach ---------------------------------------------------------------------------------- */

void node_session_refuse(struct node *n, struct node_conn *conn, int err)
{
    conn->greeted = false; /* it may try again, with another key for instance */
    node_reply_err(n, conn, OP_HELLO, conn->hello_xid, err);
}

void node_session_attach(struct node *n, struct node_conn *conn, uint64_t session)
{
    struct node_attached *a = node_attached_find(n, session);
    struct reply r = {.op = OP_HELLO, .xid = conn->hello_xid};
    struct tree_session s;

    CHECK(tree_session_get(n->tree, session, &s));
    if (a != NULL) {
        node_conn_close(n, a->conn, "session attached by another stream");
    }
    a = mem_zalloc(sizeof(*a));
    a->session = session;
    a->conn = conn;
    a->touched = true;
    HASH_ADD(hh, n->attached, session, sizeof(a->session), a);
    conn->session = session;
    r.u.hello.session = session;
    r.u.hello.member = n->conf.zab.self;
    r.u.hello.timeout_ms = s.timeout_ms;
    r.u.hello.value_size_max = n->conf.value_size_max;
    node_reply(n, conn, &r);
}

void node_session_detach(struct node *n, struct node_conn *conn)
{
    struct node_attached *a;

    if (conn->session == 0) {
        return;
    }
    a = node_attached_find(n, conn->session);
    CHECK(a != NULL && a->conn == conn);
    node_events_attached_done(n, a);
    HASH_DEL(n->attached, a);
    mem_free(a);
    interest_drop(n->interest, conn->session);
    conn->session = 0;
}

/* The client has seen state up to an index that is applied here now. Its session is in the tree, or
 * it came to be after that index, or it does not exist: only the leader can tell the last two
 * apart. A session that is younger than what the client has seen of its own is another one under
 * the same key: its HELLO was under way until the first had expired. The replies to what the client
 * sends again are not in it. */
void node_session_resume(struct node *n, struct node_conn *conn)
{
    struct tree_session s;

    if (n->view.unformed) {
        node_session_refuse(n, conn, ERR_NO_QUORUM); /* what is here is no ensemble's state yet */
    } else if (tree_session_find(n->tree, &conn->key, &s)) {
        if (s.id <= conn->index_seen) {
            node_session_attach(n, conn, s.id);
        } else {
            node_session_refuse(n, conn, ERR_EXPIRED);
        }
    } else if (conn->last_word) {
        node_session_refuse(n, conn, ERR_EXPIRED);
    } else {
        conn->last_word = true;
        node_sync_hello(n, conn, 0, true);
    }
}

int node_session_hello(struct node *n, struct node_conn *conn, const struct request *r)
{
    if (conn->greeted) {
        return ERR_MALFORMED;
    }
    conn->greeted = true;
    conn->hello_xid = r->xid;
    conn->hello_deadline_ms = node_answer_by(n, r->deadline_ms);
    conn->key = r->u.hello.key;
    conn->index_seen = r->u.hello.index_seen;
    conn->last_word = false;
    if (r->u.hello.version != CLIENT_PROTOCOL_VERSION) {
        node_session_refuse(n, conn, ERR_PROTO_VERSION);
    } else if (!r->u.hello.resume) {
        node_pipeline_open(n, conn, r);
    } else if (r->u.hello.index_seen > tree_index(n->tree) && !BUG(X16_RESUMES_BEHIND)) {
        node_sync_hello(n, conn, r->u.hello.index_seen, false);
    } else {
        node_session_resume(n, conn);
    }
    return 0;
}

void node_session_gone(struct node *n, uint64_t session)
{
    struct node_attached *a = node_attached_find(n, session);
    struct node_lease *l;

    node_log(n, LOG_INFO, "ev=session_closed session=%" PRIu64, session);
    if (a != NULL) {
        node_conn_close(n, a->conn, "session closed");
    }
    HASH_FIND(hh, n->leases, &session, sizeof(session), l);
    if (l != NULL) {
        HASH_DEL(n->leases, l);
        mem_free(l);
    }
}

/* --- alive or not ---------------------------------------------------------------------------- */

static struct node_lease *lease_of(struct node *n, uint64_t session)
{
    struct node_lease *l;

    HASH_FIND(hh, n->leases, &session, sizeof(session), l);
    if (l == NULL) {
        l = mem_zalloc(sizeof(*l));
        l->session = session;
        l->heard_ms = n->now.mono_ms;
        HASH_ADD(hh, n->leases, session, sizeof(l->session), l);
    }
    return l;
}

void node_session_touch(struct node *n, uint64_t session)
{
    struct tree_session s;

    if (n->view.serving && tree_session_get(n->tree, session, &s)) {
        lease_of(n, session)->heard_ms = n->now.mono_ms;
    }
}

void node_session_on_serving(struct node *n)
{
    struct node_lease *l, *next;

    if (BUG(B19_OLD_DEADLINES)) {
        return;
    }
    HASH_ITER (hh, n->leases, l, next) {
        HASH_DEL(n->leases, l);
        mem_free(l);
    }
}

static void send_touches(struct node *n)
{
    uint64_t sessions[PEER_TOUCH_MAX];
    struct peer_msg m = {.type = PEER_TOUCH, .u.touch = {.sessions = sessions}};
    struct node_attached *a, *next;

    if (n->view.leader == 0) {
        return; /* what was heard stays noted for the next leader */
    }
    HASH_ITER (hh, n->attached, a, next) {
        if (a->touched && m.u.touch.count < PEER_TOUCH_MAX) {
            a->touched = false;
            sessions[m.u.touch.count++] = a->session;
        }
    }
    if (m.u.touch.count == 0) {
        return;
    }
    if (n->view.role == ZAB_LEADER) {
        for (uint32_t i = 0; i < m.u.touch.count; i++) {
            node_session_touch(n, sessions[i]);
        }
        return;
    }
    n->scratch.size = 0;
    wire_peer_encode(&n->scratch, &m);
    n->io.send_peer(n->io.ctx, n->view.leader, n->scratch.data, n->scratch.size);
}

/* Clients choose their labels: what could pass for another field of the log line is not printed. */
static void label_for_log(char *label)
{
    for (; *label != '\0'; label++) {
        if (*label < ' ' || *label > '~' || *label == '"') {
            *label = '?';
        }
    }
}

static void expire(struct node *n)
{
    struct request r = {.op = OP_SESSION_CLOSE};
    struct tree_session s = {0};

    while (tree_session_next(n->tree, s.id, &s)) {
        struct node_lease *l = lease_of(n, s.id);

        if (n->now.mono_ms - l->heard_ms < s.timeout_ms || l->closing_epoch == n->view.epoch) {
            continue;
        }
        l->closing_epoch = n->view.epoch;
        r.u.session_close.session = s.id;
        label_for_log(s.label);
        node_log(n, LOG_INFO, "ev=session_expired session=%" PRIu64 " label=\"%s\"", s.id, s.label);
        node_propose_own(n, &r);
    }
}

static void close_strangers(struct node *n)
{
    struct node_conn *conn, *next;

    HASH_ITER (hh, n->conns, conn, next) {
        if (conn->session == 0 && !conn->greeted &&
            n->now.mono_ms - conn->opened_ms > STRANGER_MS) {
            node_conn_close(n, conn, "no session");
        }
    }
}

/* This process stood still for gap_ms: what was said to it meanwhile is not read yet. */
static void forgive_stall(struct node *n, uint64_t gap_ms)
{
    struct node_lease *l, *next;

    HASH_ITER (hh, n->leases, l, next) {
        uint64_t silent_ms = n->now.mono_ms - l->heard_ms;

        l->heard_ms += silent_ms < gap_ms ? silent_ms : gap_ms;
    }
}

void node_session_housekeep(struct node *n, uint64_t gap_ms)
{
    if (gap_ms > STALL_MS && !BUG(X15_STALL_HELD_AGAINST)) {
        forgive_stall(n, gap_ms);
    }
    close_strangers(n);
    send_touches(n);
    if (n->view.serving) {
        expire(n);
    }
}
