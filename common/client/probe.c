/* One question to one member: connect, OP_STATUS, its answer, close. A timer over the whole ends it
 * early. */
#include "probe.h"

#include <string.h>
#include <uv.h>

#include "bytes.h"
#include "check.h"
#include "codec.h"
#include "err.h"
#include "mem.h"
#include "stream.h"

struct probe {
    struct stream *stream; /* NULL after its last callback */
    uv_timer_t timer;
    uint32_t timeout_ms;
    int err;     /* ERR_CLOSED until something better is known */
    void *frame; /* the answer */
    size_t frame_size;
};

static void probe_finish(struct probe *p, int err)
{
    if (p->err == ERR_CLOSED) {
        p->err = err;
    }
    if (p->stream != NULL) {
        stream_close(p->stream);
    }
    if (!uv_is_closing((uv_handle_t *)&p->timer)) {
        uv_close((uv_handle_t *)&p->timer, NULL);
    }
}

static void on_frame(void *ctx, const uint8_t *bytes, size_t size)
{
    struct probe *p = ctx;

    if (p->frame == NULL) {
        p->frame = mem_dup(bytes, size);
        p->frame_size = size;
        probe_finish(p, 0);
    }
}

static void on_close(void *ctx, int err)
{
    struct probe *p = ctx;

    p->stream = NULL;
    probe_finish(p, err != 0 ? err : ERR_CLOSED);
}

static void on_connect(void *ctx, int err)
{
    struct probe *p = ctx;

    if (err != 0) {
        p->stream = NULL;
        probe_finish(p, err);
        return;
    }
    struct request request = {.op = OP_STATUS, .xid = 1, .deadline_ms = p->timeout_ms};
    struct buf b = {0};

    codec_encode_request(&b, &request);
    stream_send(p->stream, b.data, b.size);
    buf_done(&b);
}

static void on_timer(uv_timer_t *timer)
{
    probe_finish(timer->data, ERR_TIMEOUT);
}

static int decode_status(const struct probe *p, struct reply *ret)
{
    struct message message;

    if (codec_decode(p->frame, p->frame_size, &message) != 0) {
        return ERR_MALFORMED;
    }
    if (message.kind != MESSAGE_REPLY || message.u.reply.op != OP_STATUS ||
        message.u.reply.err != 0) {
        int err = message.kind == MESSAGE_REPLY ? message.u.reply.err : 0;

        codec_message_done(&message);
        return err != 0 ? err : ERR_MALFORMED;
    }
    *ret = message.u.reply;
    return 0;
}

int probe_status_get(const char *server, uint64_t timeout_ms, struct probe_status *ret)
{
    static const struct stream_ops ops = {.on_frame = on_frame, .on_close = on_close};
    struct stream_conf conf = {
        .frame_size_max = CLIENT_FRAME_SIZE_MAX,
        .send_queue_max = 1 << 20,
    };
    struct probe p = {.err = ERR_CLOSED, .timeout_ms = (uint32_t)timeout_ms};
    struct net_addr addr;
    uv_loop_t loop;

    if (net_addr_parse(server, &addr) != 0) {
        return ERR_INVAL;
    }
    CHECK(uv_loop_init(&loop) == 0);
    uv_timer_init(&loop, &p.timer);
    p.timer.data = &p;
    uv_timer_start(&p.timer, on_timer, timeout_ms, 0);
    stream_connect(&loop, &addr, &conf, &ops, timeout_ms, on_connect, &p, &p.stream);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
    if (p.frame == NULL) {
        return p.err;
    }
    int err = decode_status(&p, &ret->reply);
    if (err != 0) {
        mem_free(p.frame);
        return err;
    }
    ret->frame = p.frame;
    return 0;
}

void probe_status_done(struct probe_status *s)
{
    codec_reply_done(&s->reply);
    mem_free(s->frame);
}

const struct name *probe_status_field(const struct probe_status *s, const char *key)
{
    size_t size = strlen(key);

    for (uint32_t i = 0; i < s->reply.u.status.count; i++) {
        const struct status_field *field = &s->reply.u.status.fields[i];

        if (field->key.size == size && memcmp(field->key.bytes, key, size) == 0) {
            return &field->value;
        }
    }
    return NULL;
}

void probe_status_text(const struct probe_status *s, const char *key, char *ret, size_t cap)
{
    const struct name *value = probe_status_field(s, key);
    size_t size = 1;
    const char *bytes = "-";

    if (value != NULL) {
        bytes = value->bytes;
        size = value->size < cap ? value->size : cap - 1;
    }
    memcpy(ret, bytes, size);
    ret[size] = '\0';
}
