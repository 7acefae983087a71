#include "nodenet.h"

#include <criterion/criterion.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"

struct place { /* ctx of one replica's io */
    struct net *net;
    uint32_t id;
};

static struct place places[NET_NODES_MAX + 1];

static void send_peer(void *ctx, uint32_t peer, const void *bytes, size_t size)
{
    struct place *p = ctx;

    if (p->net->cut[p->id] || p->net->cut[peer]) {
        return;
    }
    CHECK(p->net->frame_count < NET_FRAMES_MAX);
    p->net->frames[p->net->frame_count++] = (struct net_frame){p->id, peer, blob_new(bytes, size)};
}

static size_t peer_queued(void *ctx, uint32_t peer)
{
    struct place *p = ctx;
    size_t size = 0;

    for (uint32_t i = 0; i < p->net->frame_count; i++) {
        const struct net_frame *f = &p->net->frames[i];

        size += f->from == p->id && f->to == peer ? f->bytes->size : 0;
    }
    return p->net->link_bytes_per_ms != 0 ? size : 0;
}

static struct net_client *client_of(struct net *net, uint32_t node, uint64_t conn)
{
    for (uint32_t i = 0; i < 8; i++) {
        if (net->clients[i].conn == conn && net->clients[i].node == node) {
            return &net->clients[i];
        }
    }
    return NULL;
}

static void send_client(void *ctx, uint64_t conn, const void *bytes, size_t size)
{
    struct place *p = ctx;
    struct net_client *c = client_of(p->net, p->id, conn);

    if (c != NULL) {
        CHECK(c->in_count < NET_FRAMES_MAX);
        c->inbox[c->in_count++] = blob_new(bytes, size);
    }
}

static void close_client(void *ctx, uint64_t conn, const char *reason)
{
    struct place *p = ctx;
    struct net_client *c = client_of(p->net, p->id, conn);

    (void)reason;
    if (c != NULL) {
        c->conn = 0;
    }
}

static void store(void *ctx, const struct store_batch *batch)
{
    struct place *p = ctx;

    CHECK(p->net->batch[p->id] == NULL);
    p->net->batch[p->id] = batch;
}

static void snapshot(void *ctx, const struct tree *tree, const struct store_pos *pos)
{
    struct place *p = ctx;

    CHECK(tree_index(tree) == pos->index);
    p->net->snapshots = true;
}

static void log_text(void *ctx, enum log_level level, const char *mod, const char *text)
{
    (void)ctx;
    (void)level;
    (void)mod;
    (void)text;
}

static void stop(void *ctx, const char *reason)
{
    struct place *p = ctx;

    (void)reason;
    p->net->stopped = true;
}

static void start_node(struct net *net, uint32_t id)
{
    struct node_io io = {
        .ctx = &places[id],
        .send_peer = send_peer,
        .peer_queued = peer_queued,
        .send_client = send_client,
        .close_client = close_client,
        .store = store,
        .snapshot = snapshot,
        .log = log_text,
        .stop = stop,
    };
    struct node_conf conf = {
        .value_size_max = VALUE_SIZE_DEFAULT,
        .snapshot_entries = net->snapshot_entries,
        .request_deadline_ms_max = 60000,
        .history_changes = net->history_changes,
        .history_bytes = 1 << 20,
        .apply_entries_max = net->apply_entries_max,
    };
    struct zab_boot boot = {.fresh = true};

    places[id] = (struct place){net, id};
    zab_conf_default(&conf.zab);
    conf.zab.self = id;
    conf.zab.member_count = net->count;
    for (uint32_t i = 0; i < net->count; i++) {
        conf.zab.members[i] = i + 1;
    }
    conf.zab.seed = id;
    if (net->window_entries_max != 0) {
        conf.zab.window_entries_max = net->window_entries_max;
    }
    net->nodes[id] = node_new(&conf, &io, &boot, tree_new(), &net->now);
}

static void link_all(struct net *net, uint32_t id)
{
    for (uint32_t i = 1; i <= net->count; i++) {
        if (i != id && net->nodes[i] != NULL && net->nodes[id] != NULL) {
            if (net->cut[id] || net->cut[i]) {
                node_peer_down(net->nodes[i], id, &net->now);
                node_peer_down(net->nodes[id], i, &net->now);
            } else {
                node_peer_up(net->nodes[i], id, &net->now);
                node_peer_up(net->nodes[id], i, &net->now);
            }
        }
    }
}

void net_start(struct net *net, uint32_t count)
{
    net->count = count;
    net->now = (struct node_time){1000, 1700000000000000000};
    if (net->snapshot_entries == 0) {
        net->snapshot_entries = 1000000;
    }
    for (uint32_t id = 1; id <= count; id++) {
        start_node(net, id);
    }
    for (uint32_t id = 1; id <= count; id++) {
        for (uint32_t peer = 1; peer <= count; peer++) {
            if (peer != id) {
                node_peer_up(net->nodes[id], peer, &net->now);
            }
        }
    }
}

static void drop_frames(struct net *net, uint32_t id)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < net->frame_count; i++) {
        if (net->frames[i].from == id || net->frames[i].to == id) {
            blob_unref(net->frames[i].bytes);
        } else {
            net->frames[kept++] = net->frames[i];
        }
    }
    net->frame_count = kept;
}

void net_done(struct net *net)
{
    for (uint32_t id = 1; id <= net->count; id++) {
        drop_frames(net, id);
        if (net->nodes[id] != NULL) {
            node_free(net->nodes[id]);
        }
    }
    for (uint32_t i = 0; i < 8; i++) {
        for (uint32_t k = 0; k < net->clients[i].in_count; k++) {
            blob_unref(net->clients[i].inbox[k]);
        }
    }
}

/* Takes the oldest frame that its link lets through, behind none of the same link. */
static bool take_frame(struct net *net, struct net_frame *ret)
{
    bool full[NET_NODES_MAX + 1][NET_NODES_MAX + 1] = {0};

    for (uint32_t i = 0; i < net->frame_count; i++) {
        struct net_frame f = net->frames[i];

        if (net->link_bytes_per_ms == 0 ||
            (!full[f.from][f.to] && net->link_budget[f.from][f.to] > 0)) {
            if (net->link_bytes_per_ms != 0) {
                net->link_budget[f.from][f.to] -= (int64_t)f.bytes->size;
            }
            net->frame_count--;
            memmove(net->frames + i, net->frames + i + 1, (net->frame_count - i) * sizeof(f));
            *ret = f;
            return true;
        }
        full[f.from][f.to] = true;
    }
    return false;
}

bool net_deliver(struct net *net, uint32_t count)
{
    struct net_frame f;
    uint32_t done = 0;

    for (; done < count && take_frame(net, &f); done++) {
        struct node *to = net->nodes[f.to];

        if (to != NULL) {
            cr_assert_eq(0, node_peer_frame(to, f.from, f.bytes->data, f.bytes->size, &net->now));
        }
        blob_unref(f.bytes);
    }
    return done > 0;
}

void net_disk_turn(struct net *net, uint32_t id)
{
    node_flush(net->nodes[id], &net->now);
    if (net->batch[id] != NULL) {
        net->batch[id] = NULL;
        node_stored(net->nodes[id], &net->now);
        node_flush(net->nodes[id], &net->now);
    }
    node_audit(net->nodes[id]);
}

void net_settle(struct net *net)
{
    bool moved = true;

    while (moved) {
        moved = false;
        for (uint32_t id = 1; id <= net->count; id++) {
            if (net->nodes[id] == NULL) {
                continue;
            }
            node_flush(net->nodes[id], &net->now);
            if (net->batch[id] != NULL && !net->disk_slow[id]) {
                net_disk_turn(net, id);
                moved = true;
            }
        }
        moved = net_deliver(net, 64) || moved;
    }
}

static void refill_links(struct net *net, uint64_t ms)
{
    int64_t more = (int64_t)(net->link_bytes_per_ms * ms);

    for (uint32_t from = 1; from <= net->count; from++) {
        for (uint32_t to = 1; to <= net->count; to++) {
            int64_t *left = &net->link_budget[from][to];

            *left = *left + more < more ? *left + more : more;
        }
    }
}

void net_run(struct net *net, uint64_t ms)
{
    for (uint64_t t = 0; t < ms; t += 10) {
        net_tick(net, 10);
        net_settle(net);
    }
}

void net_tick(struct net *net, uint64_t ms)
{
    net->now.mono_ms += ms;
    net->now.wall_ns += (int64_t)ms * 1000000;
    refill_links(net, ms);
    for (uint32_t id = 1; id <= net->count; id++) {
        if (net->nodes[id] != NULL && node_deadline(net->nodes[id]) <= net->now.mono_ms) {
            node_tick(net->nodes[id], &net->now);
        }
    }
}

uint32_t net_leader(const struct net *net)
{
    uint32_t leader = 0;
    uint64_t epoch = 0;

    for (uint32_t id = 1; id <= net->count; id++) {
        struct zab_view v;

        if (net->nodes[id] == NULL || net->cut[id]) {
            continue;
        }
        node_view(net->nodes[id], &v);
        if (v.serving && v.epoch > epoch) {
            leader = id;
            epoch = v.epoch;
        }
    }
    return leader;
}

void net_await_leader(struct net *net)
{
    for (int i = 0; i < 200 && net_leader(net) == 0; i++) {
        net_run(net, 50);
    }
    cr_assert_neq(0, net_leader(net));
    net_run(net, 200); /* the others hear of it */
}

void net_cut(struct net *net, uint32_t id, bool cut)
{
    net->cut[id] = cut;
    drop_frames(net, id);
    link_all(net, id);
}

void net_break(struct net *net, uint32_t a, uint32_t b)
{
    uint32_t kept = 0;

    if (net->cut[a] || net->cut[b]) {
        return;
    }
    for (uint32_t i = 0; i < net->frame_count; i++) {
        struct net_frame f = net->frames[i];

        if ((f.from == a && f.to == b) || (f.from == b && f.to == a)) {
            blob_unref(f.bytes);
        } else {
            net->frames[kept++] = f;
        }
    }
    net->frame_count = kept;
    node_peer_down(net->nodes[a], b, &net->now);
    node_peer_down(net->nodes[b], a, &net->now);
    node_peer_up(net->nodes[a], b, &net->now);
    node_peer_up(net->nodes[b], a, &net->now);
}

void net_crash(struct net *net, uint32_t id)
{
    struct node *n = net->nodes[id];

    drop_frames(net, id);
    for (uint32_t i = 0; i < 8; i++) {
        if (net->clients[i].node == id) {
            net->clients[i].conn = 0;
        }
    }
    net->nodes[id] = NULL;
    net->batch[id] = NULL;
    node_free(n);
    for (uint32_t i = 1; i <= net->count; i++) {
        if (net->nodes[i] != NULL) {
            node_peer_down(net->nodes[i], id, &net->now);
        }
    }
}

void net_restart_empty(struct net *net, uint32_t id)
{
    start_node(net, id);
    link_all(net, id);
}

/* --- clients --------------------------------------------------------------------------------- */

void net_connect(struct net *net, uint32_t client, uint32_t node)
{
    struct net_client *c = &net->clients[client];

    c->conn = ++net->conn_next;
    c->node = node;
    node_client_open(net->nodes[node], c->conn);
}

void net_disconnect(struct net *net, uint32_t client)
{
    struct net_client *c = &net->clients[client];

    node_client_closed(net->nodes[c->node], c->conn);
    c->conn = 0;
}

uint64_t net_send(struct net *net, uint32_t client, struct request *r)
{
    struct net_client *c = &net->clients[client];
    struct buf b = {0};

    cr_assert_neq(0, c->conn);
    if (r->xid == 0) {
        r->xid = ++net->xid_next;
    }
    if (r->deadline_ms == 0) {
        r->deadline_ms = 5000;
    }
    codec_encode_request(&b, r);
    cr_assert_eq(0, node_client_frame(net->nodes[c->node], c->conn, b.data, b.size, &net->now));
    buf_done(&b);
    return r->xid;
}

bool net_recv(struct net *net, uint32_t client, struct message *ret)
{
    struct net_client *c = &net->clients[client];
    struct blob *bytes;

    if (c->in_read == c->in_count) {
        return false;
    }
    bytes = c->inbox[c->in_read++];
    cr_assert_eq(0, codec_decode(bytes->data, bytes->size, ret));
    return true;
}

uint32_t net_answers(struct net *net, uint32_t client)
{
    uint32_t count = 0;
    struct message m;

    while (net_recv(net, client, &m)) {
        if (m.kind == MESSAGE_REPLY) {
            cr_assert_eq(0, m.u.reply.err);
            count++;
        }
        codec_message_done(&m);
    }
    return count;
}

int net_call(struct net *net, uint32_t client, struct request *r, struct reply *ret)
{
    uint64_t xid = net_send(net, client, r);
    struct message m;

    for (int turn = 0; turn < 2000; turn++) {
        net_settle(net);
        while (net_recv(net, client, &m)) {
            if (m.kind == MESSAGE_REPLY && m.u.reply.xid == xid) {
                *ret = m.u.reply;
                return ret->err;
            }
            codec_message_done(&m);
        }
        net_run(net, 10);
    }
    cr_assert_fail("no reply in 20 s");
    return ERR_TIMEOUT;
}

int net_hello(struct net *net, uint32_t client, uint8_t key, bool resume, uint64_t index_seen)
{
    struct request r = {.op = OP_HELLO};
    struct reply reply;

    r.u.hello.version = CLIENT_PROTOCOL_VERSION;
    memset(r.u.hello.key.bytes, key, sizeof(r.u.hello.key.bytes));
    r.u.hello.resume = resume;
    r.u.hello.index_seen = index_seen;
    r.u.hello.timeout_ms = 2000;
    r.u.hello.label = net_name("test");
    if (net_call(net, client, &r, &reply) == 0) {
        net->clients[client].session = reply.u.hello.session;
    }
    return reply.err;
}

struct name net_name(const char *text)
{
    return (struct name){text, (uint32_t)strlen(text)};
}

int net_create(struct net *net, uint32_t client, const char *name, struct reply *ret)
{
    struct request r = {.op = OP_CREATE};

    r.u.create.dir = TREE_ROOT_ID;
    r.u.create.name = net_name(name);
    r.u.create.type = NODE_FILE;
    r.u.create.mode = 0644;
    return net_call(net, client, &r, ret);
}
