#include "client_int.h"

#include <string.h>

#include "err.h"

/* What the world calls: frames that came in, streams that ended, alarms.
 *
 * Happy path: a client connects, says HELLO, subscribes, and asks for one thing after the other;
 * every answer and event becomes a record, and clients_judge() holds the records against the
 * ledger. Failures: an answer that does not come in time ends the stream, and the session resumes
 * at another member; an error that leaves the outcome open is met by sending again, or by giving
 * up; the end of the session makes all that is under way unknown. */

uint32_t client_roll(struct client *c, uint32_t below)
{
    return (uint32_t)prng_below(&c->prng, below);
}

struct record *client_record(struct clients *cs, const struct record *r)
{
    if (cs->record_count == cs->record_cap) {
        cs->record_cap = 2 * cs->record_cap + 64;
        cs->records = mem_realloc(cs->records, cs->record_cap * sizeof(*cs->records));
    }
    cs->records[cs->record_count] = *r;
    return &cs->records[cs->record_count++];
}

void client_wrong(struct clients *cs, struct client *c, const char *what, uint64_t now_us)
{
    client_record(cs, &(struct record){.kind = RECORD_WRONG,
                                       .client = c->number,
                                       .at_us = now_us,
                                       .index = c->seen,
                                       .wrong = what});
}

/* Somebody was told of this index: it is committed by now. */
static void told(struct clients *cs, uint64_t index, uint64_t now_us)
{
    if (index <= cs->told_max) {
        return;
    }
    cs->told_max = index;
    if (cs->sighting_count == cs->sighting_cap) {
        cs->sighting_cap = 2 * cs->sighting_cap + 64;
        cs->sightings = mem_realloc(cs->sightings, cs->sighting_cap * sizeof(*cs->sightings));
    }
    cs->sightings[cs->sighting_count++] = (struct sighting){index, now_us};
}

/* --- answers --------------------------------------------------------------------------------- */

bool client_is_local(int err)
{
    return err == ERR_TIMEOUT || err == ERR_NO_QUORUM || err == ERR_OVERLOAD || err == ERR_NOSPACE;
}

/* The directories that an answer subscribes to. */
static void subscribed(const struct client_op *o, const struct reply *r, uint64_t dirs[2])
{
    const struct attr *a = NULL;
    struct message m;

    if (r->err != 0 || o->past != 0) {
        return;
    }
    if (r->op == OP_CREATE) {
        a = &r->u.create.attr;
    } else if (r->op == OP_XATTRS) {
        a = &r->u.xattrs.attr;
    } else if (r->op == OP_READ) {
        a = &r->u.read.attr;
    } else if (r->op == OP_LOOKUP || r->op == OP_GETATTR || r->op == OP_SET || r->op == OP_APPEND ||
               r->op == OP_SETATTR || r->op == OP_SETXATTR) {
        a = &r->u.attr;
    } else if (r->op == OP_READDIR || r->op == OP_RENAME) {
        CHECK(codec_decode(o->request->data, o->request->size, &m) == 0);
        if (r->op == OP_RENAME) {
            dirs[0] = m.u.request.u.rename.dir;
            dirs[1] = m.u.request.u.rename.to_dir;
        } else {
            dirs[0] = m.u.request.u.readdir.dir;
        }
        codec_message_done(&m);
    }
    if (a != NULL) {
        dirs[0] = a->parent;
        dirs[1] =
            (r->op == OP_LOOKUP || r->op == OP_GETATTR || r->op == OP_XATTRS) && a->type == NODE_DIR
                ? a->id
                : 0;
    }
}

static void remember_dir(struct client *c, uint64_t dir)
{
    for (uint32_t i = 0; i < c->dir_count; i++) {
        if (c->dirs[i] == dir) {
            return;
        }
    }
    if (dir != 0 && c->dir_count < CLIENT_DIRS_MAX) {
        c->dirs[c->dir_count++] = dir;
    }
}

static void record_reply(struct clients *cs, struct client *c, const struct client_op *o,
                         const struct reply *r, struct blob *bytes, uint64_t now_us)
{
    struct record rec = {
        .kind = RECORD_REPLY,
        .op = o->op,
        .client = c->number,
        .sends = o->sends,
        .err = r->err,
        .session = o->session,
        .xid = o->xid,
        .index = r->index,
        .floor = o->floor,
        .need = o->need,
        .past = o->past,
        .asked_us = o->asked_us,
        .at_us = now_us,
        .request = blob_ref(o->request),
        .bytes = blob_ref(bytes),
    };

    subscribed(o, r, rec.dirs);
    remember_dir(c, rec.dirs[0]);
    remember_dir(c, rec.dirs[1]);
    client_record(cs, &rec);
}

/* The member could not; try again later, or let it be. */
static void on_local_error(struct clients *cs, struct client *c, struct client_op *o, int err,
                           uint64_t now_us)
{
    cs->counts.unknown++;
    if (!cs->quiet && !o->probe && o->op != OP_INTEREST && o->op != OP_EVENTS &&
        client_roll(c, 4) == 0) {
        client_op_give_up(cs, c, o, o->sends == 1 && err != ERR_TIMEOUT && err != ERR_NOSPACE,
                          now_us);
        return;
    }
    o->again_us = now_us + 1000 * (20 + client_roll(c, 500));
}

static void on_answer(struct clients *cs, struct client *c, struct client_op *o,
                      const struct reply *r, uint64_t now_us)
{
    bool closes = o->op == OP_SESSION_CLOSE;
    uint64_t sync_floor = o->floor;

    if (r->err == 0) {
        cs->counts.replies_ok++;
    } else {
        cs->counts.replies_err++;
    }
    if ((o->op == OP_INTEREST || o->op == OP_EVENTS) && c->resubscribing) {
        c->resubscribing = false;
    }
    if (o->probe && o->op == OP_SYNC) {
        c->probe_sync = false;
    } else if (o->probe && op_is_write(o->op)) {
        c->probe_write = false;
    }
    client_learn(cs, c, o, r);
    if (o->op == OP_SYNC && r->err == 0 && !o->probe) {
        c->sync_need = sync_floor;
    }
    client_op_drop(c, o);
    if (closes) {
        client_leave(cs, c, now_us, 0);
        client_session_lost(cs, c, now_us);
    }
}

static void on_reply(struct clients *cs, struct client *c, const struct reply *r,
                     struct blob *bytes, uint64_t now_us)
{
    struct client_op *o;

    if (r->op == OP_HELLO) {
        client_on_hello(cs, c, r, bytes, now_us);
        told(cs, r->index, now_us);
        return;
    }
    o = client_op_find(c, r->xid);
    if (o == NULL || o->again_us != 0 || o->op != r->op) {
        client_wrong(cs, c, "a reply to what was not asked on this stream", now_us);
        return;
    }
    record_reply(cs, c, o, r, bytes, now_us);
    told(cs, r->index, now_us);
    c->seen = r->index > c->seen ? r->index : c->seen;
    if (!c->resubscribing || o->op == OP_INTEREST || o->op == OP_EVENTS) {
        c->heard = r->index > c->heard ? r->index : c->heard;
    }
    if (client_is_local(r->err)) {
        on_local_error(cs, c, o, r->err, now_us);
    } else if (r->err == ERR_EXPIRED) {
        client_leave(cs, c, now_us, 0);
        client_session_lost(cs, c, now_us);
    } else {
        on_answer(cs, c, o, r, now_us);
    }
}

static void on_event(struct clients *cs, struct client *c, const struct event *e,
                     struct blob *bytes, uint64_t now_us)
{
    cs->counts.events++;
    client_record(cs, &(struct record){.kind = RECORD_EVENT,
                                       .client = c->number,
                                       .index = e->index,
                                       .at_us = now_us,
                                       .bytes = blob_ref(bytes)});
    told(cs, e->index, now_us);
    c->seen = e->index > c->seen ? e->index : c->seen;
    if (!e->more && e->kind != CHANGE_GRANT) { /* of half an entry nothing was heard */
        c->heard = e->index > c->heard ? e->index : c->heard;
    }
}

/* --- alarms ---------------------------------------------------------------------------------- */

static uint64_t earliest(const struct client *c)
{
    uint64_t at = UINT64_MAX;

    if (c->conn == 0) {
        return c->connect_us;
    }
    if (!c->attached) {
        return c->hello_us;
    }
    for (uint32_t i = 0; i < c->op_count; i++) {
        uint64_t op_us = c->ops[i].again_us != 0 ? c->ops[i].again_us : c->ops[i].answer_us;

        at = op_us < at ? op_us : at;
    }
    at = c->work_us < at ? c->work_us : at;
    return c->ping_us < at ? c->ping_us : at;
}

static void set_alarm(struct clients *cs, struct client *c, uint64_t now_us)
{
    uint64_t at = earliest(c);

    at = at <= now_us ? now_us + 1 : at;
    if (at != c->wake_us) {
        c->wake_us = at;
        cs->io.wake(cs->io.ctx, c->number, at);
    }
}

static void turn_attached(struct clients *cs, struct client *c, uint64_t now_us)
{
    for (uint32_t i = 0; i < c->op_count; i++) {
        struct client_op *o = &c->ops[i];

        if (o->again_us != 0 ? o->again_us > now_us : o->answer_us > now_us) {
            continue;
        }
        if (o->again_us == 0) { /* silence */
            client_leave(cs, c, now_us, 1000 * client_roll(c, 100));
            return;
        }
        client_send_again(cs, c, o, now_us);
    }
    if (c->work_us <= now_us) {
        c->work_us = now_us + 1 + client_roll(c, 2 * cs->conf.think_us + 1);
        client_probe_work(cs, c, now_us);
        if (!cs->quiet) {
            client_work(cs, c, now_us);
        }
    }
    if (c->attached && c->ping_us <= now_us) {
        struct request r = {.op = OP_PING};

        c->ping_us = now_us + (uint64_t)cs->conf.session_timeout_ms * 300;
        if (c->op_count == 0) {
            client_ask(cs, c, &r, now_us);
        }
    }
}

static void turn(struct clients *cs, struct client *c, uint64_t now_us)
{
    if (c->conn == 0 && c->connect_us <= now_us) {
        client_connect(cs, c, now_us);
    } else if (c->conn != 0 && !c->attached && c->hello_us <= now_us) {
        client_leave(cs, c, now_us, 1000 * client_roll(c, 100));
    } else if (c->attached) {
        turn_attached(cs, c, now_us);
    }
    set_alarm(cs, c, now_us);
}

void clients_on_wake(struct clients *cs, uint32_t client, uint64_t now_us)
{
    struct client *c = &cs->all[client];

    if (c->wake_us <= now_us) {
        c->wake_us = 0;
        turn(cs, c, now_us);
    }
}

void clients_on_frame(struct clients *cs, uint32_t client, uint64_t conn, const void *bytes,
                      size_t size, uint64_t now_us)
{
    struct client *c = &cs->all[client];
    struct blob *frame;
    struct message m;

    if (conn != c->conn) {
        return; /* of a stream that was given up */
    }
    frame = blob_new(bytes, size);
    if (codec_decode(frame->data, frame->size, &m) != 0) {
        client_wrong(cs, c, "a frame that cannot be decoded", now_us);
    } else {
        if (m.kind == MESSAGE_REPLY) {
            on_reply(cs, c, &m.u.reply, frame, now_us);
        } else if (m.kind == MESSAGE_EVENT && c->attached) {
            on_event(cs, c, &m.u.event, frame, now_us);
        } else {
            client_wrong(cs, c, "a request, or an event before HELLO was answered", now_us);
        }
        codec_message_done(&m);
    }
    blob_unref(frame);
    set_alarm(cs, c, now_us);
}

void clients_on_closed(struct clients *cs, uint32_t client, uint64_t conn, uint64_t now_us)
{
    struct client *c = &cs->all[client];

    if (conn == c->conn) {
        client_closed(cs, c, now_us);
        set_alarm(cs, c, now_us);
    }
}

/* --- life ------------------------------------------------------------------------------------ */

struct clients *clients_new(const struct clients_conf *conf, const struct clients_io *io)
{
    struct clients *cs = mem_zalloc(sizeof(*cs));
    struct prng seeds = {conf->seed};

    CHECK(conf->count > 0 && conf->member_count > 0 && conf->inflight_max > 0);
    cs->conf = *conf;
    if (cs->conf.inflight_max > CLIENT_OPS_MAX - 8) {
        cs->conf.inflight_max = CLIENT_OPS_MAX - 8; /* room for pings, probes and subscriptions */
    }
    cs->io = *io;
    cs->model = model_new();
    cs->all = mem_zalloc(conf->count * sizeof(*cs->all));
    cs->known[0] = (struct known){.id = TREE_ROOT_ID, .dir = TREE_ROOT_ID, .type = NODE_DIR};
    cs->known_count = cs->known_at = 1;
    for (uint32_t i = 0; i < conf->count; i++) {
        struct client *c = &cs->all[i];

        c->number = i;
        c->prng.state = prng_next(&seeds);
        c->member = client_roll(c, conf->member_count);
        c->xid_next = 1;
        c->wants_all = client_has(cs, CLIENTS_EVENTS) && client_roll(c, 3) == 0;
    }
    return cs;
}

void client_record_done(struct record *r)
{
    blob_unref(r->request);
    blob_unref(r->bytes);
    r->request = r->bytes = NULL;
}

void clients_free(struct clients *cs)
{
    if (cs == NULL) {
        return;
    }
    for (uint32_t i = 0; i < cs->conf.count; i++) {
        struct client *c = &cs->all[i];

        while (c->op_count > 0) {
            client_op_drop(c, &c->ops[0]);
        }
        interest_set_done(&c->interest);
    }
    for (uint64_t i = 0; i < cs->record_count; i++) {
        client_record_done(&cs->records[i]);
    }
    model_free(cs->model);
    mem_free(cs->records);
    mem_free(cs->sightings);
    mem_free(cs->asked_us);
    mem_free(cs->all);
    buf_done(&cs->scratch);
    mem_free(cs);
}

void clients_start(struct clients *cs, uint64_t now_us)
{
    for (uint32_t i = 0; i < cs->conf.count; i++) {
        struct client *c = &cs->all[i];

        c->connect_us = now_us + client_roll(c, 100000);
        set_alarm(cs, c, now_us);
    }
}

void clients_quiesce(struct clients *cs, uint64_t now_us)
{
    (void)now_us;
    cs->quiet = true;
}

bool clients_idle(const struct clients *cs)
{
    for (uint32_t i = 0; i < cs->conf.count; i++) {
        if (cs->all[i].op_count > 0) {
            return false;
        }
    }
    return true;
}

void clients_probe(struct clients *cs, uint64_t now_us)
{
    for (uint32_t i = 0; i < cs->conf.count; i++) {
        struct client *c = &cs->all[i];

        c->probe_write = c->probe_sync = true;
        if (c->conn == 0 && c->connect_us > now_us + 1000000) {
            c->connect_us = now_us; /* one that wanted to stay away for long */
        }
        c->work_us = c->attached ? now_us : c->work_us;
        set_alarm(cs, c, now_us);
    }
}

bool clients_probed(const struct clients *cs)
{
    for (uint32_t i = 0; i < cs->conf.count; i++) {
        if (cs->all[i].probe_write || cs->all[i].probe_sync) {
            return false;
        }
    }
    return true;
}

void clients_counts(const struct clients *cs, struct clients_counts *ret)
{
    *ret = cs->counts;
}
