#include "clientnet.h"

#include <criterion/criterion.h>

enum { LIE_AFTER = 400 }; /* frames */

uint64_t world_now_us(const struct world *w)
{
    return w->net.now.mono_ms * 1000;
}

/* --- the clients' io ------------------------------------------------------------------------- */

static void to_member(struct world *w, uint32_t client, uint64_t conn, struct blob *bytes)
{
    struct message m;

    cr_assert_eq(0, codec_decode(bytes->data, bytes->size, &m));
    if (m.u.request.op == OP_SYNC) {
        w->sync_told[client] = w->told;
        w->sync_xid[client] = m.u.request.xid;
    }
    codec_message_done(&m);
    cr_assert(w->queue_count < QUEUE_MAX);
    w->queue[w->queue_count++] = (struct pipe_frame){client, conn, bytes};
}

static uint64_t io_connect(void *ctx, uint32_t client, uint32_t member)
{
    struct world *w = ctx;

    net_connect(&w->net, client, member);
    w->conns[client] = w->net.clients[client].conn;
    return w->conns[client];
}

static void io_send(void *ctx, uint64_t conn, const void *bytes, size_t size)
{
    struct world *w = ctx;

    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (w->conns[i] == conn) {
            to_member(w, i, conn, blob_new(bytes, size));
        }
    }
}

static void inbox_clear(struct net_client *c)
{
    while (c->in_read < c->in_count) {
        blob_unref(c->inbox[c->in_read++]);
    }
    c->in_count = c->in_read = 0;
}

static void io_close(void *ctx, uint64_t conn)
{
    struct world *w = ctx;

    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (w->conns[i] == conn) {
            w->conns[i] = 0;
            if (w->net.clients[i].conn != 0) {
                net_disconnect(&w->net, i);
            }
            inbox_clear(&w->net.clients[i]);
        }
    }
}

static void io_wake(void *ctx, uint32_t client, uint64_t at_us)
{
    struct world *w = ctx;

    w->wake_us[client] = at_us;
}

/* --- the world ------------------------------------------------------------------------------- */

static void send_queued(struct world *w)
{
    for (uint32_t i = 0; i < w->queue_count; i++) {
        struct pipe_frame *f = &w->queue[i];
        struct net_client *c = &w->net.clients[f->client];

        if (c->conn == f->conn) {
            cr_assert_eq(0, node_client_frame(w->net.nodes[c->node], c->conn, f->bytes->data,
                                              f->bytes->size, &w->net.now));
        }
        blob_unref(f->bytes);
    }
    w->queue_count = 0;
}

/* Hands a frame to its client, as it is or as the lie has it. */
static void hand_over(struct world *w, uint32_t client, struct blob *bytes)
{
    struct message m;
    struct buf b = {0};

    cr_assert_eq(0, codec_decode(bytes->data, bytes->size, &m));
    w->frames++;
    if (w->lie != NULL && w->lies == 0 && w->frames > LIE_AFTER && w->lie(w, &m, client)) {
        w->lies++;
        if (!w->lie_drops) {
            if (m.kind == MESSAGE_REPLY) {
                codec_encode_reply(&b, &m.u.reply);
            } else {
                codec_encode_event(&b, &m.u.event);
            }
            clients_on_frame(w->clients, client, w->conns[client], b.data, b.size, world_now_us(w));
        }
    } else {
        clients_on_frame(w->clients, client, w->conns[client], bytes->data, bytes->size,
                         world_now_us(w));
    }
    if (m.kind == MESSAGE_REPLY ? m.u.reply.index > w->told : m.u.event.index > w->told) {
        w->told = m.kind == MESSAGE_REPLY ? m.u.reply.index : m.u.event.index;
    }
    w->seen[client] = w->told > w->seen[client] ? w->told : w->seen[client];
    codec_message_done(&m);
    buf_done(&b);
}

static void hear(struct world *w, uint32_t client)
{
    struct net_client *c = &w->net.clients[client];
    uint64_t conn = w->conns[client];

    while (w->conns[client] == conn && conn != 0 && c->in_read < c->in_count) {
        struct blob *bytes = c->inbox[c->in_read++];

        hand_over(w, client, bytes);
        blob_unref(bytes);
    }
    if (w->conns[client] == conn && conn != 0) {
        inbox_clear(c);
        if (c->conn == 0) { /* ended by the member */
            w->conns[client] = 0;
            clients_on_closed(w->clients, client, conn, world_now_us(w));
        }
    }
}

static void ledger_fill(struct world *w)
{
    for (uint32_t id = 1; id <= NODES; id++) {
        uint64_t applied = tree_index(node_tree(w->net.nodes[id]));

        while (w->ledger.count < applied) {
            const struct zab_entry *e = zab_entry_at(w->net.nodes[id]->zab, w->ledger.count + 1);

            cr_assert_neq(NULL, e);
            ledger_push(&w->ledger,
                        &(struct ledger_entry){e->epoch, (uint8_t)e->type, e->chain, e->body});
        }
    }
}

void world_fault(struct world *w)
{
    uint32_t node = 1 + (uint32_t)prng_below(&w->prng, NODES);
    uint64_t kind = prng_below(&w->prng, 400);

    if (kind < 3 && net_leader(&w->net) != 0) {
        for (uint32_t id = 1; id <= NODES; id++) {
            if (id != node && w->net.cut[id]) {
                return; /* one at a time */
            }
        }
        net_cut(&w->net, node, !w->net.cut[node]);
    } else if (kind < 6) {
        if (w->net.cut[node]) {
            net_cut(&w->net, node, false);
        }
    } else if (kind < 9) {
        net_break(&w->net, node, node % NODES + 1);
    } else if (kind < 12) {
        w->net.disk_slow[node] = !w->net.disk_slow[node];
    } else if (kind < 15) {
        net_tick(&w->net, 10 + prng_below(&w->prng, 500));
    }
}

void world_turn(struct world *w)
{
    net_tick(&w->net, 1 + prng_below(&w->prng, 4));
    send_queued(w);
    net_deliver(&w->net, 10 + (uint32_t)prng_below(&w->prng, 40));
    for (uint32_t id = 1; id <= NODES; id++) {
        if (!w->net.disk_slow[id]) {
            net_disk_turn(&w->net, id);
        }
    }
    ledger_fill(w);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        hear(w, i);
        if (w->wake_us[i] != 0 && w->wake_us[i] <= world_now_us(w)) {
            w->wake_us[i] = 0;
            clients_on_wake(w->clients, i, world_now_us(w));
        }
    }
}

void world_start(struct world *w, uint64_t seed, world_lie lie)
{
    struct clients_conf conf = {
        .seed = seed,
        .count = CLIENTS,
        .member_count = NODES,
        .members = {1, 2, 3},
        .think_us = 20000,
        .inflight_max = 6,
        .value_size_max = 9000,
        .names = 6,
        .session_timeout_ms = 4000,
        .features = CLIENTS_FEATURES_ALL,
    };
    struct clients_io io = {w, io_connect, io_send, io_close, io_wake};

    *w = (struct world){.prng = {seed}, .lie = lie};
    w->net.history_changes = 200;
    net_start(&w->net, NODES);
    net_await_leader(&w->net);
    w->clients = clients_new(&conf, &io);
    clients_start(w->clients, world_now_us(w));
}

void world_end(struct world *w)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        inbox_clear(&w->net.clients[i]);
    }
    for (uint32_t i = 0; i < w->queue_count; i++) {
        blob_unref(w->queue[i].bytes);
    }
    clients_free(w->clients);
    ledger_done(&w->ledger);
    net_done(&w->net);
}

static void heal(struct world *w)
{
    for (uint32_t id = 1; id <= NODES; id++) {
        w->net.disk_slow[id] = false;
        if (w->net.cut[id]) {
            net_cut(&w->net, id, false);
        }
    }
}

/* All that is under way gets its answer, and everybody gets a write and a barrier through. */
void world_finish(struct world *w)
{
    uint64_t until = world_now_us(w) + 60000000;

    heal(w);
    clients_quiesce(w->clients, world_now_us(w));
    clients_probe(w->clients, world_now_us(w));
    while (world_now_us(w) < until && !(clients_idle(w->clients) && clients_probed(w->clients))) {
        world_turn(w);
    }
    cr_assert(clients_idle(w->clients) && clients_probed(w->clients));
}
