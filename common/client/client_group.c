/* The changes of one log entry are shown together: what comes with `more` is kept until the last of
 * its group is here, and then the owner is told of all of them without a return to the loop.
 *
 * Failure modes: the stream breaks inside a group -> it is forgotten, and its index was not taken
 * for seen, so that the owner asks for it again; something else comes inside a group, or more than
 * a member would ever queue -> the stream ends. */
#include <string.h>

#include "client_int.h"

#include "check.h"

void group_drop(struct client *c)
{
    c->group.size = 0;
    if (c->group.cap > OUT_SIZE_KEEP) {
        buf_done(&c->group);
    }
}

bool group_is_open(const struct client *c)
{
    return c->group.size > 0;
}

static void show(struct client *c, const struct event *e)
{
    if (c->ops.on_event != NULL && !c->closing) {
        c->ops.on_event(c->ctx, e);
    }
}

/* What is kept is a size before each frame. The owner does not see the bytes change: nothing is
 * added while it is called. */
static void show_kept(struct client *c)
{
    struct cursor at = cur_make(c->group.data, c->group.size);
    struct message m;
    const uint8_t *bytes;
    uint32_t size;
    int err;

    while (cur_u32(&at, &size)) {
        bool whole = cur_bytes(&at, size, &bytes);

        CHECK(whole);
        err = codec_decode(bytes, size, &m);
        CHECK(err == 0); /* it was decoded when it came */
        show(c, &m.u.event);
        codec_message_done(&m);
    }
}

bool group_event(struct client *c, const struct event *e)
{
    if (group_is_open(c) && e->index != c->group_index) {
        return false;
    }
    if (e->more) {
        c->group_index = e->index;
        buf_put_u32(&c->group, (uint32_t)c->frame_size);
        buf_put(&c->group, c->frame, c->frame_size);
        return c->group.size <= SEND_QUEUE_SIZE_MAX;
    }
    conn_index_learn(c, e->index);
    show_kept(c);
    show(c, e);
    group_drop(c);
    return true;
}
