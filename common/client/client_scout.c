/* Who has a quorum? Each server but the one of the session is asked for its status, all at once, on
 * streams without a session. The first that says that it follows or leads ends the search; so does
 * the last one that says it does not, cannot be reached, or says nothing for SCOUT_TIMEOUT_MS.
 *
 * A scout lives until its stream's last callback. When the session's own stream ends, or the client
 * does, the scouts that are out are closed and what they find does not count. */
#include <string.h>
#include <utlist.h>

#include "client_int.h"

#include "mem.h"
#include "probe.h"

struct scout {
    struct client *c;
    struct stream *stream;
    uint32_t server;
    bool counts;
    struct scout *prev, *next;
};

static void scout_end(struct scout *s)
{
    struct client *c = s->c;
    bool last = s->counts && --c->scouts_asked == 0;

    DL_DELETE(c->scouts, s);
    mem_free(s);
    if (last) {
        move_found_none(c);
    }
    client_handle_gone(c);
}

static bool has_quorum(const uint8_t *bytes, size_t size)
{
    struct message m;
    bool yes = false;

    if (codec_decode(bytes, size, &m) != 0) {
        return false;
    }
    if (m.kind == MESSAGE_REPLY && m.u.reply.op == OP_STATUS && m.u.reply.err == 0) {
        struct probe_status status = {.reply = m.u.reply};
        const struct name *value = probe_status_field(&status, "quorum");

        yes = value != NULL && value->size == 3 && memcmp(value->bytes, "yes", 3) == 0;
    }
    codec_message_done(&m);
    return yes;
}

static void on_frame(void *ctx, const uint8_t *bytes, size_t size)
{
    struct scout *s = ctx;

    stream_close(s->stream);
    if (s->counts && has_quorum(bytes, size)) {
        scouts_call_off(s->c);
        move_found(s->c, s->server);
    }
}

static void on_close(void *ctx, int err)
{
    (void)err;
    scout_end(ctx);
}

static void on_connect(void *ctx, int err)
{
    struct request question = {.op = OP_STATUS, .xid = 1, .deadline_ms = SCOUT_TIMEOUT_MS};
    struct scout *s = ctx;
    struct buf b = {0};

    if (err != 0) {
        scout_end(s);
        return;
    }
    codec_encode_request(&b, &question);
    stream_send(s->stream, b.data, b.size);
    buf_done(&b);
}

static void scout_start(struct client *c, uint32_t server)
{
    static const struct stream_ops ops = {.on_frame = on_frame, .on_close = on_close};
    struct stream_conf conf = {
        .frame_size_max = CLIENT_FRAME_SIZE_MAX,
        .send_queue_max = SCOUT_SEND_SIZE_MAX,
        .first_frame_ms = SCOUT_TIMEOUT_MS,
    };
    struct scout *s = mem_zalloc(sizeof(*s));

    s->c = c;
    s->server = server;
    s->counts = true;
    c->scouts_asked++;
    DL_APPEND(c->scouts, s);
    stream_connect(c->loop, &c->servers[server], &conf, &ops, SCOUT_TIMEOUT_MS, on_connect, s,
                   &s->stream);
}

void scout_ask(struct client *c)
{
    for (uint32_t i = 1; i < c->server_count; i++) {
        scout_start(c, (c->server_at + i) % c->server_count);
    }
}

void scouts_call_off(struct client *c)
{
    struct scout *s;

    c->scouts_asked = 0;
    DL_FOREACH (c->scouts, s) {
        s->counts = false;
        stream_close(s->stream);
    }
}

unsigned scouts_out(const struct client *c)
{
    const struct scout *s;
    unsigned count = 0;

    DL_COUNT(c->scouts, s, count);
    return count;
}
