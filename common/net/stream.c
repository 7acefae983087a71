/* A stream that is open: bytes in become frames for the owner, frames out become bytes.
 *
 * Happy path out: stream_send() appends to `out` and starts the idle handle `turn`; before the loop
 * polls again, turn_run() gives all of `out` to the kernel with one call. Happy path in: libuv
 * reads into the frame reader's buffer and stream_deliver() hands over what is whole.
 *
 * Failure modes: the kernel takes only part -> the rest goes to uv_write, and `out` gathers until
 * that is done. Too much gathered, a bad frame, a reset, no first frame -> stream_fail() closes the
 * handles; when the last close callback has run the owner hears of it and the memory goes. */
#include <signal.h>

#include "stream.h"
#include "stream_int.h"

#include "check.h"
#include "err.h"
#include "mem.h"

enum {
    OUT_SIZE_FLUSH = 256 << 10, /* so much is not held back until the loop comes round ... */
    OUT_SIZE_KEEP = 256 << 10,  /* ... and a buffer larger than this is not kept empty */
    TCP_KEEPALIVE_S = 15,
    TCP_UNACKED_MS = 10000,
};

static void turn_run(uv_idle_t *handle);

/* A write to a peer that is gone must return an error. A process that chose its own action keeps
 * it. */
static void sigpipe_ignore(void)
{
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
        action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
    }
}

struct stream *stream_new(uv_loop_t *loop, enum stream_state state, bool is_tcp)
{
    struct stream *s = mem_zalloc(sizeof(*s));

    sigpipe_ignore();
    s->loop = loop;
    s->state = state;
    s->is_tcp = is_tcp;
    s->pending = 3;
    stream_init_socket(s);
    uv_timer_init(loop, &s->timer);
    uv_idle_init(loop, &s->turn);
    s->timer.data = s;
    s->turn.data = s;
    s->write.data = s;
    return s;
}

void stream_init_socket(struct stream *s)
{
    int rc = s->is_tcp ? uv_tcp_init(s->loop, &s->h.tcp) : uv_pipe_init(s->loop, &s->h.pipe, 0);

    CHECK(rc == 0); /* takes no resource that could be lacking */
    s->h.any.data = s;
}

/* --- the end ---------------------------------------------------------------------------------- */

void stream_unpend(struct stream *s)
{
    CHECK(s->pending > 0);
    if (--s->pending > 0) {
        return;
    }
    CHECK(s->state == STREAM_CLOSING);
    if (!connecting_done(s) && s->ops != NULL) {
        s->ops->on_close(s->ctx, s->err);
    }
    frame_reader_done(&s->in);
    buf_done(&s->out);
    buf_done(&s->writing);
    mem_free(s);
}

static void on_handle_closed(uv_handle_t *handle)
{
    stream_unpend(handle->data);
}

void stream_fail(struct stream *s, int err)
{
    if (s->state == STREAM_CLOSING) {
        return;
    }
    s->state = STREAM_CLOSING;
    s->err = err;
    if (!uv_is_closing(&s->h.any)) { /* else connect.c is between two addresses */
        uv_close(&s->h.any, on_handle_closed);
    }
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
    uv_close((uv_handle_t *)&s->turn, on_handle_closed);
    connecting_cancel(s);
}

void stream_close(struct stream *s)
{
    if (s->state == STREAM_OPEN && s->out.size > 0) {
        uv_buf_t bytes = {.base = (char *)s->out.data, .len = s->out.size};

        uv_try_write(&s->h.stream, &bytes, 1); /* a last word; whether it arrives is not known */
    }
    stream_fail(s, s->state == STREAM_CONNECTING ? ERR_CLOSED : 0);
}

void stream_on_timeout(uv_timer_t *timer)
{
    stream_fail(timer->data, ERR_TIMEOUT);
}

/* --- in --------------------------------------------------------------------------------------- */

static void stream_deliver(struct stream *s)
{
    while (s->state == STREAM_OPEN && !s->paused) {
        const uint8_t *payload;
        size_t size;
        int rc = frame_reader_next(&s->in, s->conf.frame_size_max, &payload, &size);

        if (rc < 0) {
            stream_fail(s, rc);
        } else if (rc == 0) {
            return;
        } else {
            uv_timer_stop(&s->timer);
            s->ops->on_frame(s->ctx, payload, size);
        }
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct stream *s = handle->data;
    uint8_t *at;
    size_t size;

    (void)suggested;
    frame_reader_room(&s->in, &at, &size);
    *ret = (uv_buf_t){.base = (char *)at, .len = size};
}

static void on_read(uv_stream_t *handle, ssize_t got, const uv_buf_t *buf)
{
    struct stream *s = handle->data;

    (void)buf;
    if (got > 0) {
        s->progress += (uint64_t)got;
        frame_reader_advance(&s->in, (size_t)got);
        stream_deliver(s);
    } else if (got < 0) {
        bool orderly = got == UV_EOF && s->in.begin == s->in.end;

        stream_fail(s, orderly ? 0 : ERR_CLOSED);
    }
}

static void reading_start(struct stream *s)
{
    if (uv_read_start(&s->h.stream, on_alloc, on_read) != 0) {
        stream_fail(s, ERR_CLOSED);
    } else {
        s->reading = true;
    }
}

/* What is not acknowledged ends the stream after TCP_UNACKED_MS: a network that healed is used
 * again by a new stream at once, instead of when the kernel's own attempts, minutes apart by then,
 * get through. */
static void tcp_tune(struct stream *s)
{
    unsigned unacked_ms = TCP_UNACKED_MS;
    uv_os_fd_t fd;

    uv_tcp_nodelay(&s->h.tcp, 1); /* frames are gathered here, the kernel need not wait */
    uv_tcp_keepalive(&s->h.tcp, 1, TCP_KEEPALIVE_S);
    if (uv_fileno((uv_handle_t *)&s->h.tcp, &fd) == 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof(unacked_ms));
    }
}

void stream_open(struct stream *s)
{
    s->state = STREAM_OPEN;
    if (s->is_tcp) {
        tcp_tune(s);
    }
    if (s->conf.first_frame_ms > 0) {
        uv_timer_start(&s->timer, stream_on_timeout, s->conf.first_frame_ms, 0);
    }
    reading_start(s);
}

void stream_accept_start(struct stream *s, const struct stream_conf *conf,
                         const struct stream_ops *ops, void *ctx)
{
    CHECK(s->state == STREAM_ACCEPTED);
    s->conf = *conf;
    s->ops = ops;
    s->ctx = ctx;
    stream_open(s);
}

void stream_pause(struct stream *s, bool paused)
{
    if (s->state != STREAM_OPEN || s->paused == paused) {
        return;
    }
    s->paused = paused;
    if (paused) {
        uv_read_stop(&s->h.stream);
        s->reading = false;
    } else {
        uv_idle_start(&s->turn, turn_run); /* whole frames may lie in the buffer */
    }
}

/* --- out -------------------------------------------------------------------------------------- */

static void on_written(uv_write_t *write, int status)
{
    struct stream *s = write->data;

    s->write_pending = false;
    s->progress += s->write_size;
    buf_done(&s->writing);
    if (status < 0) {
        stream_fail(s, ERR_CLOSED);
    } else {
        stream_flush(s);
    }
}

/* The kernel took the first `taken` bytes of what was gathered, not all. */
static void write_rest(struct stream *s, size_t taken)
{
    uv_buf_t bytes;

    s->writing = s->out;
    s->out = (struct buf){0};
    s->write_size = s->writing.size - taken;
    bytes = (uv_buf_t){.base = (char *)s->writing.data + taken, .len = s->write_size};
    s->write_pending = true;
    if (uv_write(&s->write, &s->h.stream, &bytes, 1, on_written) != 0) {
        s->write_pending = false;
        stream_fail(s, ERR_CLOSED);
    }
}

void stream_flush(struct stream *s)
{
    uv_buf_t bytes = {.base = (char *)s->out.data, .len = s->out.size};
    int taken;

    if (s->state != STREAM_OPEN || s->write_pending || s->out.size == 0) {
        return;
    }
    taken = uv_try_write(&s->h.stream, &bytes, 1);
    if (taken < 0 && taken != UV_EAGAIN) {
        stream_fail(s, ERR_CLOSED);
    } else if (taken < 0 || (size_t)taken < s->out.size) {
        write_rest(s, taken < 0 ? 0 : (size_t)taken);
    } else if (s->out.cap > OUT_SIZE_KEEP) {
        buf_done(&s->out);
    } else {
        s->out.size = 0;
    }
}

size_t stream_queued(const struct stream *s)
{
    return s->out.size + uv_stream_get_write_queue_size(&s->h.stream);
}

uint64_t stream_progress(const struct stream *s)
{
    uint64_t taken = 0;

    if (s->write_pending) {
        taken = s->write_size - uv_stream_get_write_queue_size(&s->h.stream);
    }
    return s->progress + taken;
}

void stream_send(struct stream *s, const void *payload, size_t size)
{
    size_t frame_size = FRAME_HEADER_SIZE + size;

    if (stream_queued(s) + frame_size > s->conf.send_queue_max) {
        stream_flush(s); /* what this turn gathered is not the peer's fault */
        if (stream_queued(s) + frame_size > s->conf.send_queue_max) {
            stream_fail(s, ERR_OVERLOAD);
        }
    }
    if (s->state != STREAM_OPEN) {
        return;
    }
    frame_put(&s->out, payload, size);
    if (s->out.size >= OUT_SIZE_FLUSH) {
        stream_flush(s);
    } else if (!s->write_pending) { /* else on_written() goes on with it */
        uv_idle_start(&s->turn, turn_run);
    }
}

/* An active idle handle keeps the loop from sleeping, and runs before it polls. */
static void turn_run(uv_idle_t *handle)
{
    struct stream *s = handle->data;

    uv_idle_stop(&s->turn);
    if (!s->reading && !s->paused) {
        stream_deliver(s);
        if (s->state == STREAM_OPEN && !s->paused) {
            reading_start(s);
        }
    }
    stream_flush(s);
}
