/* A message is one array: its kind, the fields of its head, the fields of its body. Which body
 * follows, and with it the length of the array, depends on the op in the head; an event has one
 * body and no head; a reply with an error has no body.
 *
 * Failure mode: there is one, ERR_MALFORMED. What was taken until then is released, and the
 * caller's message was never touched. */
#include "codec.h"

#include <string.h>

#include "check.h"
#include "codec_int.h"
#include "mem.h"
#include "err.h"
#include "mp.h"

static void put_message(struct buf *b, enum message_kind kind, const struct layout *head,
                        const struct layout *body, const void *object)
{
    CHECK(body != NULL);
    mp_put_array(b, 1 + head->count + body->count);
    mp_put_uint(b, kind);
    layout_put(b, head, object);
    layout_put(b, body, object);
}

static const struct layout *reply_body(const struct reply *r)
{
    return r->err == 0 ? codec_reply_body(r->op) : &layout_none;
}

void codec_encode_request(struct buf *b, const struct request *r)
{
    put_message(b, MESSAGE_REQUEST, &codec_request_head, codec_request_body(r->op), r);
}

void codec_encode_reply(struct buf *b, const struct reply *r)
{
    put_message(b, MESSAGE_REPLY, &codec_reply_head, reply_body(r), r);
}

void codec_encode_event(struct buf *b, const struct event *e)
{
    put_message(b, MESSAGE_EVENT, &layout_none, &codec_event, e);
}

/* The rest of a message whose array has `count` items and whose head was read: it told the body. */
static bool get_body(struct cursor *c, size_t count, const struct layout *head,
                     const struct layout *body, bool keep_values, void *object)
{
    if (body == NULL || count != 1 + head->count + body->count) {
        return false;
    }
    if (!layout_get(c, body, keep_values, object) || cur_left(c) > 0) {
        layout_release(body, object);
        return false;
    }
    return true;
}

static bool get_message(struct cursor *c, bool keep_values, struct message *m)
{
    struct request *r = &m->u.request;
    struct reply *p = &m->u.reply;
    struct event *e = &m->u.event;
    uint64_t kind;
    size_t count;

    if (!mp_get_array(c, &count) || !mp_get_uint(c, &kind)) {
        return false;
    }
    switch (kind) {
    case MESSAGE_REQUEST:
        m->kind = MESSAGE_REQUEST;
        return layout_get(c, &codec_request_head, keep_values, r) &&
               get_body(c, count, &codec_request_head, codec_request_body(r->op), keep_values, r);
    case MESSAGE_REPLY:
        m->kind = MESSAGE_REPLY;
        return layout_get(c, &codec_reply_head, keep_values, p) &&
               get_body(c, count, &codec_reply_head, reply_body(p), keep_values, p);
    case MESSAGE_EVENT:
        m->kind = MESSAGE_EVENT;
        return get_body(c, count, &layout_none, &codec_event, keep_values, e);
    default:
        return false;
    }
}

static int decode(const void *bytes, size_t size, bool keep_values, struct message *ret)
{
    struct cursor c = cur_make(bytes, size);
    struct message m;

    memset(&m, 0, sizeof(m)); /* every member of the union, not only the first */
    if (!get_message(&c, keep_values, &m)) {
        return ERR_MALFORMED;
    }
    *ret = m;
    return 0;
}

int codec_decode(const void *bytes, size_t size, struct message *ret)
{
    return decode(bytes, size, true, ret);
}

int codec_decode_head(const void *bytes, size_t size, struct message *ret)
{
    return decode(bytes, size, false, ret);
}

int codec_request_check(const struct request *r, size_t *ret_size)
{
    size_t size = 0;
    int err = layout_measure(codec_request_body(r->op), r, &size);

    *ret_size = size;
    return err == 0 && size > CLIENT_FRAME_SIZE_MAX - (32 << 10) ? ERR_TOOBIG : err;
}

void codec_request_copy(const struct request *r, struct request *ret, void **ret_text)
{
    const struct layout *body = codec_request_body(r->op);
    size_t size = 0;
    char *text;

    CHECK(body != NULL && layout_measure(body, r, &size) == 0);
    *ret_text = text = mem_alloc(size + 1);
    *ret = *r;
    layout_own(body, ret, &text);
}

void codec_message_done(struct message *m)
{
    switch (m->kind) {
    case MESSAGE_REQUEST:
        codec_request_done(&m->u.request);
        return;
    case MESSAGE_REPLY:
        codec_reply_done(&m->u.reply);
        return;
    case MESSAGE_EVENT:
        codec_event_done(&m->u.event);
        return;
    }
    CHECK(false);
}

void codec_request_done(struct request *r)
{
    const struct layout *body = codec_request_body(r->op);

    if (body != NULL) {
        layout_release(body, r);
    }
}

void codec_reply_done(struct reply *r)
{
    const struct layout *body = reply_body(r);

    if (body != NULL) {
        layout_release(body, r);
    }
}

void codec_event_done(struct event *e)
{
    layout_release(&codec_event, e);
}
