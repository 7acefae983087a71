#include "node_int.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"

/* What one client's stream asks for. Reads are answered at once from the applied state; barriers
 * and writes wait elsewhere (node_read.c, node_pipeline.c). */

struct node_conn *node_conn_find(struct node *n, uint64_t conn)
{
    struct node_conn *c;

    HASH_FIND(hh, n->conns, &conn, sizeof(conn), c);
    return c;
}

void node_client_open(struct node *n, uint64_t conn)
{
    struct node_conn *c = mem_zalloc(sizeof(*c));

    CHECK(conn != 0 && node_conn_find(n, conn) == NULL);
    c->id = conn;
    c->opened_ms = n->now.mono_ms;
    HASH_ADD(hh, n->conns, id, sizeof(c->id), c);
}

void node_client_closed(struct node *n, uint64_t conn)
{
    struct node_conn *c = node_conn_find(n, conn);
    struct node_pending *opening = node_pipeline_find(n, 0, conn);

    if (c == NULL) {
        return; /* closed from here */
    }
    if (opening != NULL) {
        node_pipeline_drop(n, opening); /* only this stream awaits it */
    }
    node_session_detach(n, c);
    node_sync_drop(n, conn);
    node_backup_drop(n, conn);
    HASH_DEL(n->conns, c);
    mem_free(c);
}

void node_conn_close(struct node *n, struct node_conn *conn, const char *reason)
{
    n->io.close_client(n->io.ctx, conn->id, reason);
    node_client_closed(n, conn->id);
}

void node_reply(struct node *n, struct node_conn *conn, struct reply *r)
{
    if (r->index == 0) {
        r->index = tree_index(n->tree);
    }
    n->scratch.size = 0;
    codec_encode_reply(&n->scratch, r);
    n->io.send_client(n->io.ctx, conn->id, n->scratch.data, n->scratch.size);
}

void node_reply_err(struct node *n, struct node_conn *conn, enum op op, uint64_t xid, int err)
{
    struct reply r = {.op = op, .xid = xid, .err = err};

    node_reply(n, conn, &r);
}

/* --- reads ----------------------------------------------------------------------------------- */

/* Who was told about a node hears of changes of it; of a directory, also of those in it. */
static void subscribe(struct node *n, struct node_conn *conn, const struct attr *attr)
{
    interest_add(n->interest, conn->session, attr->parent);
    if (attr->type == NODE_DIR) {
        interest_add(n->interest, conn->session, attr->id);
    }
}

static int lookup(struct node *n, struct node_conn *conn, const struct request *q, struct reply *r)
{
    const struct tree_node *node;
    int err = tree_lookup(n->tree, q->u.lookup.dir, q->u.lookup.name, &node);

    if (err == 0) {
        tree_node_attr(node, &r->u.attr);
        subscribe(n, conn, &r->u.attr);
    }
    return err;
}

static int getattr(struct node *n, struct node_conn *conn, const struct request *q, struct reply *r)
{
    const struct tree_node *node = tree_node(n->tree, q->u.getattr.id);
    struct tree_past before;

    if (node == NULL) {
        return ERR_NOENT;
    }
    tree_node_attr(node, &r->u.attr);
    if (BUG(X40_EVENT_AHEAD) &&
        tree_past_get(n->tree, tree_index(n->tree) - 1, q->u.getattr.id, &before) == 0) {
        r->index = tree_index(n->tree) - 1;
        r->u.attr = before.attr;
        blob_unref(before.value);
    }
    subscribe(n, conn, &r->u.attr);
    return 0;
}

static int read_value(struct node *n, struct node_conn *conn, const struct request *q,
                      struct reply *r)
{
    const struct tree_node *node = tree_node(n->tree, q->u.read.id);
    struct attr attr;

    if (node == NULL) {
        return ERR_NOENT;
    }
    tree_node_attr(node, &attr);
    if (attr.type == NODE_DIR) {
        return ERR_ISDIR;
    }
    subscribe(n, conn, &attr);
    r->u.read.attr = attr;
    r->u.read.value = tree_node_value(node);
    return 0;
}

bool node_listing_add(struct node_listing *l, uint64_t cookie, struct name name,
                      const struct attr *attr)
{
    enum { ENTRY_OVERHEAD = 160 }; /* bytes of attributes and framing, roughly */

    if (l->count > 0 && l->size >= l->size_max) {
        return false;
    }
    if (l->count == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->entries = mem_realloc(l->entries, l->cap * sizeof(*l->entries));
    }
    l->entries[l->count++] = (struct dirent_plus){cookie, name, *attr};
    l->size += name.size + ENTRY_OVERHEAD;
    return true;
}

static bool list_child(void *ctx, uint64_t cookie, const struct tree_node *child)
{
    struct attr attr;

    tree_node_attr(child, &attr);
    return node_listing_add(ctx, cookie, tree_node_name(child), &attr);
}

static int readdir(struct node *n, struct node_conn *conn, const struct request *q, struct reply *r)
{
    const struct tree_node *dir = tree_node(n->tree, q->u.readdir.dir);
    struct node_listing l = {.size_max = q->u.readdir.size_max};
    struct attr attr;

    if (dir == NULL) {
        return ERR_NOENT;
    }
    tree_node_attr(dir, &attr);
    if (attr.type != NODE_DIR) {
        return ERR_NOTDIR;
    }
    subscribe(n, conn, &attr);
    r->u.readdir.end = tree_readdir(n->tree, dir, q->u.readdir.after, list_child, &l);
    r->u.readdir.count = l.count;
    r->u.readdir.entries = l.entries;
    return 0;
}

static int xattrs(struct node *n, struct node_conn *conn, const struct request *q, struct reply *r)
{
    const struct tree_node *node = tree_node(n->tree, q->u.xattrs.id);

    if (node == NULL) {
        return ERR_NOENT;
    }
    tree_node_xattrs(node, r);
    subscribe(n, conn, &r->u.xattrs.attr);
    return 0;
}

static int statfs(struct node *n, const struct request *q, struct reply *r)
{
    uint64_t id = q->u.statfs.id != 0 ? q->u.statfs.id : TREE_ROOT_ID;
    const struct tree_node *node = tree_node(n->tree, id);

    if (node == NULL) {
        return ERR_NOENT;
    }
    tree_node_usage(node, r);
    return 0;
}

static bool is_directory(const struct node *n, uint64_t id)
{
    const struct tree_node *node = tree_node(n->tree, id);
    struct attr attr;

    if (node == NULL) {
        return false;
    }
    tree_node_attr(node, &attr);
    return attr.type == NODE_DIR;
}

/* Nothing will happen in what is not there: what a session has seen is applied here, so an id that
 * it knows and the tree does not is gone for good. So subscriptions are bounded by the directories
 * there are, whatever a client asks for. */
static int interest(struct node *n, struct node_conn *conn, const struct request *q)
{
    for (uint32_t i = 0; i < q->u.interest.count; i++) {
        if (is_directory(n, q->u.interest.ids[i])) {
            interest_add(n->interest, conn->session, q->u.interest.ids[i]);
        }
    }
    if (q->u.interest.index_from == 0) {
        return 0;
    }
    return node_window_repeat(n, conn, q->u.interest.index_from, q->u.interest.ids,
                              q->u.interest.count);
}

static int forget(struct node *n, struct node_conn *conn, const struct request *q)
{
    for (uint32_t i = 0; i < q->u.interest.count; i++) {
        interest_remove(n->interest, conn->session, q->u.interest.ids[i]);
    }
    return 0;
}

/* --- status ---------------------------------------------------------------------------------- */

enum { STATUS_TEXT_SIZE = 8192 }; /* a host name is at most 255 bytes */

struct status_text {
    struct status_field fields[STATUS_FIELDS_MAX];
    uint32_t count;
    char text[STATUS_TEXT_SIZE];
    size_t used;
};

__attribute__((format(printf, 3, 4))) static void status_add(struct status_text *s, const char *key,
                                                             const char *fmt, ...)
{
    char *at = s->text + s->used;
    size_t left = sizeof(s->text) - s->used;
    va_list ap;
    int size;

    va_start(ap, fmt);
    size = vsnprintf(at, left, fmt, ap);
    va_end(ap);
    CHECK(size >= 0 && (size_t)size < left && s->count < STATUS_FIELDS_MAX);
    s->fields[s->count].key = (struct name){key, (uint32_t)strlen(key)};
    s->fields[s->count].value = (struct name){at, (uint32_t)size};
    s->count++;
    s->used += (size_t)size + 1;
}

/* One field for each member: its address, and whether the leader hears it, which only the leader
 * knows. */
static void status_add_peers(const struct node *n, struct status_text *s)
{
    enum { PEER_KEY_SIZE = 16 };

    for (uint32_t i = 0; i < n->conf.zab.member_count; i++) {
        const char *address = n->conf.addresses[i];
        char *key = s->text + s->used; /* as long as the fields are there */
        int key_size;
        uint32_t id = n->conf.zab.members[i];

        key_size = snprintf(key, PEER_KEY_SIZE, "peer_%u", i + 1);
        s->used += PEER_KEY_SIZE;
        CHECK(key_size > 0 && key_size < PEER_KEY_SIZE);
        status_add(s, key, "%u %s %s", id, address != NULL ? address : "-",
                   n->view.role != ZAB_LEADER ? "unknown"
                   : zab_hears(n->zab, id)    ? "heard"
                                              : "silent");
    }
}

static void status_fill(const struct node *n, struct status_text *s)
{
    const struct zab_view *v = &n->view;

    status_add(s, "member", "%u", n->conf.zab.self);
    status_add(s, "role", "%s", zab_role_text(v->role));
    status_add(s, "epoch", "%" PRIu64, v->epoch);
    status_add(s, "leader", "%u", v->leader);
    status_add(s, "quorum", "%s", v->leader != 0 ? "yes" : "no");
    status_add(s, "serving", "%s", v->serving ? "yes" : "no");
    status_add(s, "last", "%" PRIu64, v->last.index);
    status_add(s, "durable", "%" PRIu64, v->durable);
    status_add(s, "commit", "%" PRIu64, v->commit);
    status_add(s, "applied", "%" PRIu64, tree_index(n->tree));
    status_add(s, "disk", "%s", n->disk_full ? "full" : "ok");
    status_add(s, "snapshot", "%" PRIu64, n->snapshot_index);
    status_add(s, "digest", "%016" PRIx64, tree_digest(n->tree));
    status_add(s, "nodes", "%" PRIu64, tree_node_count(n->tree));
    status_add(s, "value_bytes", "%" PRIu64, tree_value_bytes(n->tree));
    status_add(s, "sessions", "%" PRIu64, tree_session_count(n->tree));
    status_add(s, "attached", "%u", HASH_COUNT(n->attached));
    status_add(s, "connections", "%u", HASH_COUNT(n->conns));
    status_add(s, "pending", "%u", HASH_COUNT(n->pending));
    status_add(s, "subscriptions", "%zu", interest_count(n->interest));
    status_add(s, "event_window_from", "%" PRIu64, n->window.floor);
    status_add(s, "history_from", "%" PRIu64, tree_history_floor(n->tree));
    status_add(s, "uptime_ms", "%" PRIu64, n->now.mono_ms - n->started_ms);
    status_add_peers(n, s);
}

/* --- dispatch -------------------------------------------------------------------------------- */

static void read_now(struct node *n, struct node_conn *conn, const struct request *q,
                     struct reply *r)
{
    switch (q->op) {
    case OP_LOOKUP:
        r->err = lookup(n, conn, q, r);
        break;
    case OP_GETATTR:
        r->err = getattr(n, conn, q, r);
        break;
    case OP_READ:
        r->err = read_value(n, conn, q, r);
        break;
    case OP_READDIR:
        r->err = readdir(n, conn, q, r);
        break;
    case OP_STATFS:
        r->err = statfs(n, q, r);
        break;
    case OP_XATTRS:
        r->err = xattrs(n, conn, q, r);
        break;
    case OP_INTEREST:
        r->err = interest(n, conn, q);
        break;
    case OP_FORGET:
        r->err = forget(n, conn, q);
        break;
    case OP_EVENTS:
        node_events_all(n, conn, q, r);
        break;
    case OP_LOCK_TEST:
        r->err = node_lock_test(n, conn, q, r);
        break;
    default:
        CHECK(q->op == OP_PING);
        break;
    }
}

static void read_request(struct node *n, struct node_conn *conn, const struct request *q)
{
    struct reply r = {.op = q->op, .xid = q->xid};
    struct status_text status;

    if (q->op == OP_STATUS) {
        status.count = 0;
        status.used = 0;
        status_fill(n, &status);
        r.u.status.count = status.count;
        r.u.status.fields = status.fields;
    } else if (node_past_index(q) != 0) {
        r.err = node_past_read(n, q, &r);
    } else {
        read_now(n, conn, q, &r);
    }
    node_reply(n, conn, &r);
    if (q->op == OP_READDIR && r.err == 0) {
        mem_free(r.u.readdir.entries); /* the names in it were borrowed */
    } else if (q->op == OP_XATTRS && r.err == 0) {
        mem_free(r.u.xattrs.list);
    } else if (q->op == OP_READ && r.err == 0) {
        blob_unref(r.u.read.value);
    }
}

static int request(struct node *n, struct node_conn *conn, const struct request *q,
                   const void *bytes, size_t size)
{
    if (q->op == OP_HELLO) {
        return node_session_hello(n, conn, q);
    }
    if (q->op == OP_STATUS) { /* also without a session: it must work when there is no quorum */
        read_request(n, conn, q);
        return 0;
    }
    if (conn->session == 0 || q->op == OP_SESSION_OPEN) {
        return ERR_MALFORMED; /* HELLO comes first, and is answered first */
    }
    if (q->op == OP_SESSION_CLOSE && q->u.session_close.session != 0) {
        return ERR_MALFORMED; /* a client closes its own */
    }
    node_attached_find(n, conn->session)->touched = true;
    if (op_is_write(q->op)) {
        node_pipeline_submit(n, conn, q, bytes, size);
    } else if (q->op == OP_SYNC) {
        node_sync_begin(n, conn, q);
    } else if (q->op == OP_BACKUP) {
        node_backup_piece(n, conn, q);
    } else if (q->op == OP_LOG) {
        node_events_log(n, conn, q);
    } else if (q->op == OP_LOCKS) {
        node_lock_list(n, conn, q);
    } else {
        read_request(n, conn, q);
    }
    return 0;
}

int node_client_frame(struct node *n, uint64_t conn, const void *bytes, size_t size,
                      const struct node_time *now)
{
    struct node_conn *c = node_conn_find(n, conn);
    struct message m;
    int err;

    n->now = *now;
    if (c == NULL) {
        return 0; /* closed from here; its last frames no longer matter */
    }
    err = codec_decode_head(bytes, size, &m); /* only writes have values, and they go on as bytes */
    if (err != 0) {
        return err;
    }
    err = m.kind == MESSAGE_REQUEST ? request(n, c, &m.u.request, bytes, size) : ERR_MALFORMED;
    codec_message_done(&m);
    node_drain(n);
    return err;
}
