#include "client_int.h"

#include <string.h>

#include "err.h"

/* Streams and sessions of one client, by the rules of docs/PROTOCOL.md. */

enum { HELLO_DEADLINE_MS = 3000, PATIENCE_US = 2000000 };

static void send_blob(struct clients *cs, struct client *c, const struct blob *b)
{
    cs->io.send(cs->io.ctx, c->conn, b->data, b->size);
}

static void alive(struct clients *cs, struct client *c, uint64_t now_us)
{
    c->ping_us = now_us + (uint64_t)cs->conf.session_timeout_ms * 300;
}

/* --- requests -------------------------------------------------------------------------------- */

struct client_op *client_op_find(struct client *c, uint64_t xid)
{
    for (uint32_t i = 0; i < c->op_count; i++) {
        if (c->ops[i].xid == xid) {
            return &c->ops[i];
        }
    }
    return NULL;
}

void client_op_drop(struct client *c, struct client_op *o)
{
    uint32_t at = (uint32_t)(o - c->ops);

    blob_unref(o->request);
    c->op_count--;
    memmove(o, o + 1, (c->op_count - at) * sizeof(*o));
    if (c->op_count == 0) {
        c->exclusive = false;
    }
}

void client_op_give_up(struct clients *cs, struct client *c, struct client_op *o, bool never,
                       uint64_t now_us)
{
    if (op_is_write(o->op)) {
        client_record(cs, &(struct record){.kind = RECORD_LOOSE,
                                           .op = o->op,
                                           .client = c->number,
                                           .session = o->session,
                                           .xid = o->xid,
                                           .never = never,
                                           .floor = o->floor,
                                           .asked_us = o->asked_us,
                                           .at_us = now_us,
                                           .request = blob_ref(o->request)});
    }
    client_op_drop(c, o);
}

static void op_sent(struct clients *cs, struct client *c, struct client_op *o, uint64_t now_us)
{
    o->sends++;
    o->again_us = 0;
    o->answer_us = now_us + PATIENCE_US + 1000 * (500 + (uint64_t)client_roll(c, 2000));
    if (o->op == OP_SYNC) {
        o->floor = cs->told_max; /* the answer can only be to this sending */
    }
    send_blob(cs, c, o->request);
    alive(cs, c, now_us);
}

/* The index that a read names; 0: none. */
static uint64_t past_of(const struct request *r)
{
    switch (r->op) {
    case OP_LOOKUP:
        return r->u.lookup.at;
    case OP_GETATTR:
        return r->u.getattr.at;
    case OP_READ:
        return r->u.read.at;
    case OP_READDIR:
        return r->u.readdir.at;
    default:
        return 0;
    }
}

static uint64_t node_of(const struct request *r)
{
    switch (r->op) {
    case OP_SET:
        return r->u.set.id;
    case OP_APPEND:
        return r->u.append.id;
    case OP_LOCK:
        return r->u.lock.id;
    case OP_SETXATTR:
        return r->u.setxattr.id;
    default:
        return 0;
    }
}

struct client_op *client_ask(struct clients *cs, struct client *c, struct request *r,
                             uint64_t now_us)
{
    struct client_op *o = &c->ops[c->op_count];

    CHECK(c->attached && c->op_count < CLIENT_OPS_MAX);
    r->xid = c->xid_next++;
    r->xid_floor = c->op_count > 0 ? c->ops[0].xid : r->xid;
    r->deadline_ms = 500 + client_roll(c, 2000);
    cs->scratch.size = 0;
    codec_encode_request(&cs->scratch, r);
    *o = (struct client_op){
        .op = r->op,
        .xid = r->xid,
        .session = c->session,
        .floor = cs->told_max,
        .past = past_of(r),
        .node = node_of(r),
        .asked_us = now_us,
        .request = blob_new(cs->scratch.data, cs->scratch.size),
    };
    c->op_count++;
    cs->counts.requests++;
    op_sent(cs, c, o, now_us);
    return o;
}

void client_send_again(struct clients *cs, struct client *c, struct client_op *o, uint64_t now_us)
{
    cs->counts.retries++;
    op_sent(cs, c, o, now_us);
}

/* --- streams --------------------------------------------------------------------------------- */

static void say_hello(struct clients *cs, struct client *c, uint64_t now_us)
{
    struct request r = {.op = OP_HELLO, .xid = c->xid_next++, .deadline_ms = HELLO_DEADLINE_MS};
    static const char label[] = "sim";

    if (!c->opened && c->open_us == 0) {
        bytes_set_u64(c->key.bytes, prng_next(&c->prng));
        bytes_set_u64(c->key.bytes + 8, prng_next(&c->prng));
        c->open_floor = cs->told_max;
        c->open_us = now_us;
    }
    c->hello_xid = r.xid;
    c->hello_resume = c->opened;
    c->greeting = true;
    c->hello_us = now_us + PATIENCE_US + 1000 * (uint64_t)HELLO_DEADLINE_MS;
    r.u.hello.version = CLIENT_PROTOCOL_VERSION;
    r.u.hello.key = c->key;
    r.u.hello.resume = c->opened;
    r.u.hello.index_seen = c->seen;
    r.u.hello.timeout_ms = cs->conf.session_timeout_ms;
    r.u.hello.label = (struct name){label, sizeof(label) - 1};
    cs->scratch.size = 0;
    codec_encode_request(&cs->scratch, &r);
    cs->io.send(cs->io.ctx, c->conn, cs->scratch.data, cs->scratch.size);
}

void client_connect(struct clients *cs, struct client *c, uint64_t now_us)
{
    CHECK(c->conn == 0);
    c->conn = cs->io.connect(cs->io.ctx, c->number, cs->conf.members[c->member]);
    CHECK(c->conn != 0);
    c->attached = false;
    say_hello(cs, c, now_us);
}

void client_closed(struct clients *cs, struct client *c, uint64_t now_us)
{
    c->conn = 0;
    c->greeting = c->attached = c->resubscribing = c->exclusive = false;
    c->connect_us = now_us + 1000 * (uint64_t)(1 + client_roll(c, 200));
    /* By chance alone a client that has to be served soon may ask a dead member again and again. */
    c->member = c->probe_write || c->probe_sync || cs->quiet
                    ? (c->member + 1) % cs->conf.member_count
                    : client_roll(c, cs->conf.member_count);
    for (uint32_t i = 0; i < c->op_count; i++) { /* what only that stream awaited */
        enum op op = c->ops[i].op;

        if (op == OP_PING || op == OP_INTEREST || op == OP_FORGET || op == OP_EVENTS) {
            client_op_drop(c, &c->ops[i--]);
        }
    }
}

void client_leave(struct clients *cs, struct client *c, uint64_t now_us, uint64_t later_us)
{
    if (c->conn != 0) {
        cs->io.close(cs->io.ctx, c->conn);
    }
    client_closed(cs, c, now_us);
    c->connect_us = now_us + 1 + later_us;
}

/* --- sessions -------------------------------------------------------------------------------- */

void client_session_lost(struct clients *cs, struct client *c, uint64_t now_us)
{
    while (c->op_count > 0) {
        client_op_give_up(cs, c, &c->ops[0], false, now_us);
    }
    c->opened = false;
    c->session = 0;
    c->open_us = 0;
    c->dir_count = 0;
    c->sync_need = 0;
    c->own_count = 0;
    memset(c->locks, 0, sizeof(c->locks));
}

static void hello_record(struct clients *cs, struct client *c, const struct reply *r,
                         struct blob *bytes, uint64_t now_us)
{
    client_record(cs, &(struct record){.kind = RECORD_HELLO,
                                       .op = OP_HELLO,
                                       .client = c->number,
                                       .err = r->err,
                                       .resume = c->hello_resume,
                                       .session = r->err == 0 ? r->u.hello.session : c->session,
                                       .xid = r->xid,
                                       .index = r->index,
                                       .floor = c->open_floor,
                                       .need = cs->conf.members[c->member],
                                       .asked_us = c->open_us,
                                       .at_us = now_us,
                                       .key = c->key,
                                       .bytes = blob_ref(bytes)});
}

/* Everything, and what was missed of it. */
static void ask_all(struct clients *cs, struct client *c, struct record *rec, uint64_t index,
                    uint64_t now_us)
{
    struct request r = {.op = OP_EVENTS};
    const struct client_op *o;

    r.u.events.on = true;
    r.u.events.index_from = c->heard_all && client_roll(c, 8) != 0 ? c->heard : 0;
    if (r.u.events.index_from == 0) {
        c->heard = index > c->heard ? index : c->heard;
    }
    c->dir_count = 0;
    c->heard_all = true;
    c->resubscribing = true;
    rec->heard = r.u.events.index_from;
    rec->asks_all = true;
    o = client_ask(cs, c, &r, now_us);
    rec->request = blob_ref(o->request);
}

/* The session goes on here: hear what was missed, then ask again for what was not answered. */
static void attached(struct clients *cs, struct client *c, uint64_t index, uint64_t now_us)
{
    struct request r = {.op = OP_INTEREST};
    uint64_t again_upto = c->xid_next;
    struct record *rec = &cs->records[cs->record_count - 1];
    const struct client_op *o;

    c->attached = true;
    c->greeting = false;
    c->seen = index > c->seen ? index : c->seen;
    alive(cs, c, now_us);
    c->work_us = now_us + client_roll(c, cs->conf.think_us + 1);
    if (c->wants_all) {
        ask_all(cs, c, rec, index, now_us);
    } else if (c->dir_count > 0 && client_roll(c, 8) != 0) {
        r.u.interest.index_from = c->heard;
        r.u.interest.count = c->dir_count;
        r.u.interest.ids = c->dirs;
        c->resubscribing = true;
        rec->heard = c->heard;
        o = client_ask(cs, c, &r, now_us);
        rec->request = blob_ref(o->request);
    } else {
        c->dir_count = 0;
        c->heard = index > c->heard ? index : c->heard;
    }
    for (uint32_t i = 0; i < c->op_count; i++) {
        if (c->ops[i].xid < again_upto) {
            client_send_again(cs, c, &c->ops[i], now_us);
        }
    }
}

void client_on_hello(struct clients *cs, struct client *c, const struct reply *r,
                     struct blob *bytes, uint64_t now_us)
{
    if (!c->greeting || r->xid != c->hello_xid) {
        client_wrong(cs, c, "a HELLO answered that was not sent", now_us);
        return;
    }
    hello_record(cs, c, r, bytes, now_us);
    if (r->err == 0) {
        if (c->hello_resume) {
            cs->counts.sessions_resumed++;
        } else {
            cs->counts.sessions_opened++;
        }
        c->opened = true;
        c->session = r->u.hello.session;
        attached(cs, c, r->index, now_us);
        return;
    }
    if (r->err == ERR_EXPIRED && c->hello_resume) {
        cs->counts.sessions_expired++;
        client_session_lost(cs, c, now_us);
        if (client_roll(c, 2) == 0) {
            say_hello(cs, c, now_us); /* a new session on the same stream */
            return;
        }
    }
    client_leave(cs, c, now_us, 1000 * (uint64_t)client_roll(c, 300));
}
