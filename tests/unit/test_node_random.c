#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "nodenet.h"
#include "prng.h"

/* Sessions that write, move between three members and watch the root, while members are cut off,
 * streams between them break, disks lag and clocks jump; then all is healed and judged:
 * every create took effect once, its answers are all the same, the replicas are equal, and each
 * session was told of every change of the root, once and in order. At last one session leaves, and
 * all others are told of what it takes along. */

enum {
    NODES = 3,
    ACTORS = 5,
    STEPS = 4000,
    REQUESTS_MAX = 1024, /* of one session */
    UNANSWERED_MAX = 12,
    CHANGES_MAX = ACTORS * REQUESTS_MAX,
    DEADLINE_MS = 3000,
};

struct wish { /* a write of a session */
    struct request r;
    char name[24];
    bool answered;
    struct reply reply;
};

struct gap { /* changes that the session was told it would not hear of */
    uint64_t from, to;
};

struct actor { /* a session, on stream `client` of the net */
    uint32_t client;
    bool opened, greeting, attached;
    bool subscribed; /* INTEREST was answered on this stream */
    uint64_t hello_xid, interest_xid, interest_from;
    uint64_t xid_next;
    uint64_t index_seen; /* of any reply or event */
    uint64_t heard_upto; /* all changes of the root up to here were heard */
    struct wish wishes[REQUESTS_MAX];
    uint32_t wish_count;
    uint64_t events[CHANGES_MAX];
    uint32_t event_count;
    struct gap gaps[64];
    uint32_t gap_count;
};

static struct net net;
static struct actor actors[ACTORS];
static struct prng prng;
static uint64_t seed_now;

#define EXPECT(what) cr_assert(what, "seed %llu: %s", (unsigned long long)seed_now, #what)

static uint32_t roll(uint32_t below)
{
    return (uint32_t)prng_below(&prng, below);
}

static bool is_open(const struct actor *a)
{
    return net.clients[a->client].conn != 0;
}

static bool is_idle(const struct actor *a)
{
    for (uint32_t i = 0; i < a->wish_count; i++) {
        if (!a->wishes[i].answered) {
            return false;
        }
    }
    return a->subscribed && is_open(a);
}

/* --- what sessions do ------------------------------------------------------------------------ */

static void inbox_clear(struct actor *a)
{
    struct net_client *c = &net.clients[a->client];

    for (uint32_t k = 0; k < c->in_count; k++) {
        blob_unref(c->inbox[k]);
    }
    c->in_count = c->in_read = 0;
}

static void move_to(struct actor *a, uint32_t node)
{
    struct request r = {.op = OP_HELLO, .xid = ++a->xid_next, .deadline_ms = DEADLINE_MS};

    if (is_open(a)) {
        net_disconnect(&net, a->client);
    }
    inbox_clear(a); /* what was not read is lost with the stream */
    a->attached = a->subscribed = false;
    a->greeting = true;
    net_connect(&net, a->client, node);
    r.u.hello.version = CLIENT_PROTOCOL_VERSION;
    memset(r.u.hello.key.bytes, (int)a->client + 1, sizeof(r.u.hello.key.bytes));
    r.u.hello.resume = a->opened;
    r.u.hello.index_seen = a->index_seen;
    r.u.hello.timeout_ms = SESSION_TIMEOUT_MS_MAX;
    r.u.hello.label = net_name("random");
    a->hello_xid = net_send(&net, a->client, &r);
}

static void send_unanswered(struct actor *a)
{
    for (uint32_t i = 0; i < a->wish_count && is_open(a); i++) {
        if (!a->wishes[i].answered) {
            net_send(&net, a->client, &a->wishes[i].r);
        }
    }
}

static void on_attached(struct actor *a)
{
    const uint64_t root = TREE_ROOT_ID;
    struct request r = {.op = OP_INTEREST, .xid = ++a->xid_next};

    a->opened = a->attached = true;
    a->greeting = false;
    a->interest_from = a->heard_upto;
    if (!is_open(a)) {
        return; /* closed right behind the reply */
    }
    r.u.interest.index_from = a->interest_from;
    r.u.interest.count = 1;
    r.u.interest.ids = &root;
    a->interest_xid = net_send(&net, a->client, &r);
    send_unanswered(a);
}

static void wish(struct actor *a)
{
    struct wish *w = &a->wishes[a->wish_count];
    uint32_t waiting = 0;

    for (uint32_t i = 0; i < a->wish_count; i++) {
        waiting += !a->wishes[i].answered;
    }
    if (!a->attached || !is_open(a) || waiting >= UNANSWERED_MAX || a->wish_count == REQUESTS_MAX) {
        return;
    }
    a->wish_count++;
    snprintf(w->name, sizeof(w->name), "%u-%u", a->client, a->wish_count);
    w->r = (struct request){.op = OP_CREATE, .xid = ++a->xid_next, .deadline_ms = DEADLINE_MS};
    w->r.u.create.dir = TREE_ROOT_ID;
    w->r.u.create.name = net_name(w->name);
    w->r.u.create.type = NODE_FILE;
    w->r.u.create.life = roll(4) == 0 ? LIFE_SESSION : LIFE_PERMANENT;
    net_send(&net, a->client, &w->r);
}

static void repeat(struct actor *a)
{
    if (a->attached && is_open(a) && a->wish_count > 0) {
        net_send(&net, a->client, &a->wishes[roll(a->wish_count)].r);
    }
}

/* --- what they hear -------------------------------------------------------------------------- */

static void on_event(struct actor *a, const struct event *e)
{
    EXPECT(e->dir == TREE_ROOT_ID && e->kind == CHANGE_CREATE);
    EXPECT(a->event_count == 0 || a->events[a->event_count - 1] < e->index);
    EXPECT(e->index > a->heard_upto);
    EXPECT(a->event_count < CHANGES_MAX);
    a->events[a->event_count++] = e->index;
    a->heard_upto = e->index;
}

static void on_interest(struct actor *a, const struct reply *r)
{
    if (r->err != 0) {
        EXPECT(r->err == ERR_COMPACTED && a->gap_count < 64);
        a->gaps[a->gap_count++] = (struct gap){a->interest_from, r->index};
    }
    a->subscribed = true;
}

static bool same_answer(const struct reply *a, const struct reply *b)
{
    return a->err == b->err && a->index == b->index && a->u.create.attr.id == b->u.create.attr.id &&
           a->u.create.attr.owner == b->u.create.attr.owner &&
           a->u.create.attr.czxid == b->u.create.attr.czxid &&
           a->u.create.attr.ctime_ns == b->u.create.attr.ctime_ns;
}

static void on_write(struct actor *a, const struct reply *r)
{
    for (uint32_t i = 0; i < a->wish_count; i++) {
        struct wish *w = &a->wishes[i];

        if (w->r.xid != r->xid) {
            continue;
        }
        if (r->err == ERR_TIMEOUT || r->err == ERR_NO_QUORUM) {
            return; /* sent again some day */
        }
        EXPECT(r->err == 0);
        EXPECT(r->u.create.attr.czxid == r->index);
        EXPECT(r->u.create.attr.life == w->r.u.create.life);
        EXPECT((r->u.create.attr.owner != 0) == (w->r.u.create.life != LIFE_PERMANENT));
        EXPECT(!w->answered || same_answer(&w->reply, r));
        w->answered = true;
        w->reply = *r;
        return;
    }
    EXPECT(!"a reply to something that was never asked");
}

static void on_hello(struct actor *a, const struct reply *r)
{
    if (r->err == 0) {
        on_attached(a);
    } else {
        EXPECT(r->err == ERR_TIMEOUT || r->err == ERR_NO_QUORUM);
        a->greeting = false;
        net_disconnect(&net, a->client);
    }
}

static void listen(struct actor *a)
{
    struct message m;

    while (net_recv(&net, a->client, &m)) {
        if (m.kind == MESSAGE_EVENT) {
            on_event(a, &m.u.event);
            a->index_seen = m.u.event.index > a->index_seen ? m.u.event.index : a->index_seen;
        } else {
            const struct reply *r = &m.u.reply;

            EXPECT(m.kind == MESSAGE_REPLY);
            a->index_seen = r->index > a->index_seen ? r->index : a->index_seen;
            if (r->op == OP_HELLO) {
                on_hello(a, r);
            } else if (r->op == OP_INTEREST) {
                on_interest(a, r);
            } else {
                on_write(a, r);
            }
            if (a->subscribed && r->index > a->heard_upto) {
                a->heard_upto = r->index;
            }
        }
        codec_message_done(&m);
        if (!is_open(a)) {
            return;
        }
    }
    inbox_clear(a);
}

/* --- the world ------------------------------------------------------------------------------- */

static void toggle_cut(uint32_t id)
{
    uint32_t others = 0;

    for (uint32_t i = 1; i <= NODES; i++) {
        others += i != id && net.cut[i];
    }
    if (net.cut[id] || others == 0 || roll(4) == 0) { /* seldom more than one */
        net_cut(&net, id, !net.cut[id]);
    }
}

static void step(void)
{
    struct actor *a = &actors[roll(ACTORS)];
    uint32_t node = 1 + roll(NODES);
    uint32_t kind = roll(1000);

    if (kind < 250) {
        wish(a);
    } else if (kind < 270) {
        repeat(a);
    } else if (kind < 285) {
        move_to(a, node);
    } else if (kind < 290) {
        toggle_cut(node);
    } else if (kind < 294) {
        toggle_cut(net_leader(&net) != 0 ? net_leader(&net) : node);
    } else if (kind < 300) {
        net_break(&net, node, node % NODES + 1);
    } else if (kind < 304) {
        net.disk_slow[node] = !net.disk_slow[node];
    } else if (kind < 306) {
        net_tick(&net, 10 + roll(1500));
    } else if (kind < 500) {
        net_deliver(&net, 1 + roll(6));
    } else if (kind < 700) {
        net_disk_turn(&net, node);
    } else if (kind < 800) {
        net_settle(&net);
    } else {
        net_tick(&net, 1 + roll(20));
    }
    for (uint32_t i = 0; i < ACTORS; i++) {
        listen(&actors[i]);
        if (!is_open(&actors[i]) && roll(20) == 0) {
            move_to(&actors[i], 1 + roll(NODES));
        }
    }
}

static bool heal_until_idle(void)
{
    for (uint32_t id = 1; id <= NODES; id++) {
        net.disk_slow[id] = false;
        if (net.cut[id]) {
            net_cut(&net, id, false);
        }
    }
    for (int turn = 0; turn < 1000; turn++) {
        bool idle = true;

        net_run(&net, 50);
        for (uint32_t i = 0; i < ACTORS; i++) {
            listen(&actors[i]);
            if (!is_open(&actors[i])) {
                move_to(&actors[i], 1 + roll(NODES));
            } else if (actors[i].attached) {
                send_unanswered(&actors[i]);
            }
            idle = idle && is_idle(&actors[i]);
        }
        if (idle) {
            net_run(&net, 1000); /* all apply the last of it, and tell */
            for (uint32_t i = 0; i < ACTORS; i++) {
                listen(&actors[i]);
            }
            return true;
        }
    }
    return false;
}

/* --- judgement ------------------------------------------------------------------------------- */

static void check_creates(void)
{
    uint64_t nodes = 1;

    for (uint32_t i = 0; i < ACTORS; i++) {
        nodes += actors[i].wish_count;
        for (uint32_t k = 0; k < actors[i].wish_count; k++) {
            const struct wish *w = &actors[i].wishes[k];

            for (uint32_t id = 1; id <= NODES; id++) {
                const struct tree_node *node;
                struct attr attr;

                EXPECT(tree_lookup(node_tree(net.nodes[id]), TREE_ROOT_ID, net_name(w->name),
                                   &node) == 0);
                tree_node_attr(node, &attr);
                EXPECT(attr.id == w->reply.u.create.attr.id);
                EXPECT(attr.czxid == w->reply.index);
            }
        }
    }
    for (uint32_t id = 1; id <= NODES; id++) {
        EXPECT(tree_node_count(node_tree(net.nodes[id])) == nodes);
        EXPECT(tree_digest(node_tree(net.nodes[id])) == tree_digest(node_tree(net.nodes[1])));
        EXPECT(tree_audit(node_tree(net.nodes[id])) == tree_digest(node_tree(net.nodes[id])));
    }
    EXPECT(!net.stopped);
}

struct told {
    const struct actor *actor;
    uint32_t at;
};

static bool check_told(void *ctx, uint64_t cookie, const struct tree_node *child)
{
    struct told *t = ctx;
    struct attr attr;

    (void)cookie;
    tree_node_attr(child, &attr);
    if (t->at < t->actor->event_count && t->actor->events[t->at] == attr.czxid) {
        t->at++;
        return true;
    }
    for (uint32_t i = 0; i < t->actor->gap_count; i++) {
        const struct gap *g = &t->actor->gaps[i];

        if (attr.czxid > g->from && attr.czxid <= g->to) {
            return true;
        }
    }
    EXPECT(!"a change of which the session was not told");
    return false;
}

static void check_events(const struct actor *a)
{
    const struct tree *t = node_tree(net.nodes[1]);
    struct told told = {.actor = a};

    tree_readdir(t, tree_node(t, TREE_ROOT_ID), 0, check_told, &told); /* in commit order */
    EXPECT(told.at == a->event_count);
}

/* The removals that a session is told of, as one group by rising id. */
static uint32_t count_removals(struct actor *a)
{
    struct message m;
    uint32_t count = 0;
    uint64_t index = 0, last = 0;
    bool more = true;

    while (net_recv(&net, a->client, &m)) {
        if (m.kind == MESSAGE_EVENT && m.u.event.kind == CHANGE_REMOVE) {
            EXPECT(more);
            EXPECT(index == 0 || m.u.event.index == index);
            EXPECT(m.u.event.attr.id > last);
            index = m.u.event.index;
            last = m.u.event.attr.id;
            more = m.u.event.more;
            count++;
        }
        codec_message_done(&m);
    }
    EXPECT(count == 0 || !more);
    return count;
}

static void check_leaving(struct actor *leaves)
{
    struct request close = {.op = OP_SESSION_CLOSE, .xid = ++leaves->xid_next};
    uint64_t before = tree_node_count(node_tree(net.nodes[1]));
    uint32_t owned = 0;

    for (uint32_t i = 0; i < leaves->wish_count; i++) {
        owned += leaves->wishes[i].r.u.create.life != LIFE_PERMANENT;
    }
    close.deadline_ms = DEADLINE_MS;
    net_send(&net, leaves->client, &close);
    net_run(&net, 1000);
    for (uint32_t i = 0; i < ACTORS; i++) {
        EXPECT(&actors[i] == leaves || count_removals(&actors[i]) == owned);
    }
    for (uint32_t id = 1; id <= NODES; id++) {
        const struct tree *t = node_tree(net.nodes[id]);

        EXPECT(tree_node_count(t) == before - owned);
        EXPECT(tree_audit(t) == tree_digest(node_tree(net.nodes[1])));
    }
}

static void run_seed(uint64_t seed, uint32_t window_entries_max)
{
    memset(&net, 0, sizeof(net));
    memset(actors, 0, sizeof(actors));
    seed_now = seed;
    prng.state = seed;
    net.window_entries_max = window_entries_max;
    net_start(&net, NODES);
    net_await_leader(&net);
    for (uint32_t i = 0; i < ACTORS; i++) {
        actors[i].client = i;
        actors[i].heard_upto = 1; /* what came before is no change of the root */
        move_to(&actors[i], 1 + i % NODES);
    }
    for (uint32_t i = 0; i < STEPS; i++) {
        step();
    }
    EXPECT(heal_until_idle());
    check_creates();
    for (uint32_t i = 0; i < ACTORS; i++) {
        check_events(&actors[i]);
    }
    check_leaving(&actors[roll(ACTORS)]);
    net_done(&net);
}

/* Followers catch up from the leader's window. */
Test(node_random, faults_lose_and_double_nothing)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        run_seed(seed, 0);
    }
}

/* Followers fall behind the window, too, and take whole states. */
Test(node_random, faults_and_whole_states_lose_and_double_nothing)
{
    for (uint64_t seed = 101; seed <= 112; seed++) {
        run_seed(seed, 20);
    }
}
