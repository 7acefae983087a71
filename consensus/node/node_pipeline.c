#include "node_int.h"

#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* Writes from receipt to application. A write waits here, in order of arrival, until it is applied
 * at this member. It goes to the leader at once if there is one, and again to each new leader and
 * over each new stream to the old one: whatever was lost on the way is repeated, and what was not
 * is recognised by the session's reply slots. At its deadline it is refused: ERR_NO_QUORUM if it
 * never left this member, else ERR_TIMEOUT, because it may be in somebody's log. */

bool node_quorum_lost(const struct node *n)
{
    return n->leaderless_ms != 0 &&
           n->now.mono_ms - n->leaderless_ms > 3 * (uint64_t)n->conf.zab.election_max_ms;
}

struct node_pending *node_pipeline_find(struct node *n, uint64_t session, uint64_t xid)
{
    struct pending_key key = {session, xid};
    struct node_pending *p;

    HASH_FIND(hh, n->pending, &key, sizeof(key), p);
    return p;
}

struct node_pending *node_pipeline_find_open(struct node *n, const struct session_key *key)
{
    struct node_pending *p = NULL;
    struct node_conn *conn, *next;

    HASH_ITER (hh, n->conns, conn, next) {
        if (conn->session == 0 && conn->greeted && memcmp(&conn->key, key, sizeof(*key)) == 0) {
            p = node_pipeline_find(n, 0, conn->id); /* none: it resumes */
            if (p != NULL) {
                break;
            }
        }
    }
    return p;
}

void node_pipeline_drop(struct node *n, struct node_pending *p)
{
    HASH_DEL(n->pending, p);
    n->pending_bytes -= p->bytes->size;
    blob_unref(p->bytes);
    mem_free(p);
}

void node_pipeline_drop_all(struct node *n)
{
    struct node_pending *p, *next;

    HASH_ITER (hh, n->pending, p, next) {
        node_pipeline_drop(n, p);
    }
}

void node_pipeline_done(struct node *n)
{
    node_pipeline_drop_all(n);
    node_parked_drop(n);
    mem_free(n->parked);
}

/* --- to the leader --------------------------------------------------------------------------- */

/* The leader's part: stamp the request and have it logged. */
static void propose(struct node *n, uint64_t session, const void *bytes, size_t size)
{
    struct txn_stamp stamp = {
        .time_ns = n->now.wall_ns,
        .value_size_max = n->conf.value_size_max,
        .session = session,
    };
    struct blob *body;

    CHECK(n->view.serving);
    body = wire_txn_new(&stamp, bytes, size);
    node_step(n, &(struct zab_event){.type = ZAB_EV_PROPOSE, .u.body = body});
    blob_unref(body);
}

void node_propose_own(struct node *n, const struct request *r)
{
    struct buf bytes = {0};

    codec_encode_request(&bytes, r);
    propose(n, 0, bytes.data, bytes.size);
    buf_done(&bytes);
}

static void forward(struct node *n, struct node_pending *p)
{
    struct peer_msg m = {.type = PEER_FORWARD};

    if (n->view.role == ZAB_LEADER) {
        if (n->view.serving) {
            p->left = true;
            propose(n, p->key.session, p->bytes->data, p->bytes->size);
        }
        return; /* else: when the epoch is established */
    }
    if (n->view.leader == 0) {
        return; /* when there is a leader */
    }
    p->left = true;
    m.u.forward.session = p->key.session;
    m.u.forward.bytes = p->bytes->data;
    m.u.forward.size = p->bytes->size;
    n->scratch.size = 0;
    wire_peer_encode(&n->scratch, &m);
    n->io.send_peer(n->io.ctx, n->view.leader, n->scratch.data, n->scratch.size);
}

void node_pipeline_forward_all(struct node *n)
{
    struct node_pending *p, *next;

    HASH_ITER (hh, n->pending, p, next) {
        forward(n, p);
    }
}

void node_parked_drop(struct node *n)
{
    for (size_t i = 0; i < n->parked_count; i++) {
        blob_unref(n->parked[i].bytes);
    }
    n->parked_count = 0;
    n->parked_bytes = 0;
}

static void parked_propose(struct node *n)
{
    for (size_t i = 0; i < n->parked_count; i++) {
        propose(n, n->parked[i].session, n->parked[i].bytes->data, n->parked[i].bytes->size);
    }
    node_parked_drop(n);
}

void node_pipeline_on_role(struct node *n)
{
    if (n->view.role != ZAB_LEADER) {
        node_parked_drop(n);
    }
    if (n->view.leader == 0) {
        n->forwarded_leader = 0; /* the same one may come back: it lacks what comes in meanwhile */
        return;
    }
    if (n->view.role == ZAB_LEADER && !n->view.serving) {
        return;
    }
    if (n->forwarded_epoch == n->view.epoch && n->forwarded_leader == n->view.leader) {
        return;
    }
    n->forwarded_epoch = n->view.epoch;
    n->forwarded_leader = n->view.leader;
    node_pipeline_forward_all(n);
    if (n->view.serving) {
        parked_propose(n);
    }
}

void node_pipeline_on_forward(struct node *n, uint64_t session, const uint8_t *bytes, size_t size)
{
    struct message m;

    if (n->view.role != ZAB_LEADER) {
        return; /* the sender repeats it to whoever leads next */
    }
    if (size > CLIENT_FRAME_SIZE_MAX || codec_decode_head(bytes, size, &m) != 0) {
        node_log(n, LOG_WARN, "ev=forward_unreadable size=%zu", size);
        return;
    }
    if (m.kind != MESSAGE_REQUEST || !op_is_write(m.u.request.op)) {
        node_log(n, LOG_WARN, "ev=forward_refused kind=%d", (int)m.kind);
    } else if (n->view.serving) {
        propose(n, session, bytes, size);
    } else if (n->parked_count < PARKED_MAX && n->parked_bytes + size <= PARKED_BYTES_MAX) {
        if (n->parked_count == n->parked_cap) {
            n->parked_cap = n->parked_cap ? 2 * n->parked_cap : 16;
            n->parked = mem_realloc(n->parked, n->parked_cap * sizeof(*n->parked));
        }
        n->parked[n->parked_count++] = (struct node_parked){session, blob_new(bytes, size)};
        n->parked_bytes += size;
    }
    codec_message_done(&m);
}

/* --- from clients ---------------------------------------------------------------------------- */

static void pending_add(struct node *n, struct pending_key key, struct node_conn *conn, enum op op,
                        uint64_t deadline_ms, struct blob *bytes)
{
    struct node_pending *p = mem_zalloc(sizeof(*p));

    p->key = key;
    p->conn = conn->id;
    p->op = op;
    p->deadline_ms = deadline_ms;
    p->bytes = bytes;
    HASH_ADD(hh, n->pending, key, sizeof(p->key), p);
    n->pending_bytes += bytes->size;
    forward(n, p);
}

static int admit(struct node *n, size_t size)
{
    if (n->disk_full) {
        return ERR_NOSPACE;
    }
    if (node_quorum_lost(n)) {
        return ERR_NO_QUORUM;
    }
    if (HASH_COUNT(n->pending) >= PENDING_MAX || n->pending_bytes + size > PENDING_BYTES_MAX) {
        return ERR_OVERLOAD;
    }
    return 0;
}

void node_pipeline_submit(struct node *n, struct node_conn *conn, const struct request *r,
                          const void *bytes, size_t size)
{
    struct pending_key key = {conn->session, r->xid};
    struct node_pending *p = node_pipeline_find(n, key.session, key.xid);
    int err;

    if (p != NULL) { /* sent again over a new stream: the first one is still under way */
        p->conn = conn->id;
        p->deadline_ms = node_answer_by(n, r->deadline_ms);
        return;
    }
    err = admit(n, size);
    if (err != 0) {
        node_reply_err(n, conn, r->op, r->xid, err);
        return;
    }
    pending_add(n, key, conn, r->op, node_answer_by(n, r->deadline_ms), blob_new(bytes, size));
}

void node_pipeline_open(struct node *n, struct node_conn *conn, const struct request *hello)
{
    struct request r = {
        .op = OP_SESSION_OPEN,
        .u.session_open = {.key = hello->u.hello.key,
                           .timeout_ms = hello->u.hello.timeout_ms,
                           .label = hello->u.hello.label},
    };
    int err = admit(n, 0);

    if (err != 0) {
        node_session_refuse(n, conn, err);
        return;
    }
    n->scratch.size = 0;
    codec_encode_request(&n->scratch, &r);
    pending_add(n, (struct pending_key){0, conn->id}, conn, OP_HELLO, conn->hello_deadline_ms,
                blob_new(n->scratch.data, n->scratch.size));
}

static void fail(struct node *n, struct node_pending *p, int err)
{
    struct node_conn *conn = node_conn_find(n, p->conn);
    struct pending_key key = p->key;
    enum op op = p->op;

    node_pipeline_drop(n, p);
    if (conn == NULL) {
        return;
    }
    if (op == OP_HELLO) {
        node_session_refuse(n, conn, err);
    } else {
        node_reply_err(n, conn, op, key.xid, err);
    }
}

void node_pipeline_expire(struct node *n)
{
    bool lost = node_quorum_lost(n);
    struct node_pending *p, *next;

    HASH_ITER (hh, n->pending, p, next) {
        if (n->now.mono_ms >= p->deadline_ms) {
            fail(n, p, p->left ? ERR_TIMEOUT : ERR_NO_QUORUM);
        } else if (lost && !p->left) {
            fail(n, p, ERR_NO_QUORUM);
        }
    }
}

/* What has not left will not: it is refused now, not at its deadline. */
void node_pipeline_on_disk_full(struct node *n)
{
    struct node_pending *p, *next;

    HASH_ITER (hh, n->pending, p, next) {
        if (!p->left) {
            fail(n, p, ERR_NOSPACE);
        }
    }
}
