#ifndef ZABFS_STREAM_INT_H
#define ZABFS_STREAM_INT_H

#include <netdb.h>

#include "frame.h"
#include "stream.h"

/* States: CONNECTING -> OPEN -> CLOSING, or ACCEPTED -> OPEN -> CLOSING; any may go to CLOSING. The
 * struct is freed when `pending` falls to 0: each handle and each look-up of a name counts one
 * until its last callback, and only in CLOSING do the handles end. */
enum stream_state { STREAM_CONNECTING, STREAM_ACCEPTED, STREAM_OPEN, STREAM_CLOSING };

struct connecting; /* what only connecting needs, connect.c */

struct stream {
    uv_loop_t *loop;
    union {
        uv_handle_t any;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    uv_timer_t timer; /* CONNECTING: its limit; OPEN: the first frame's */
    uv_idle_t turn;   /* active when something is due in the next turn of the loop */
    unsigned pending;
    enum stream_state state;
    int err; /* for the last callback */
    bool is_tcp;

    struct connecting *connecting; /* NULL for an accepted stream */
    struct stream_conf conf;
    const struct stream_ops *ops; /* NULL until an accepted stream is started */
    void *ctx;

    struct frame_reader in;
    bool paused;
    bool reading; /* libuv reads; with neither, turn_run() delivers what is buffered, then reads */

    struct buf out;     /* gathered since the last flush */
    struct buf writing; /* given to uv_write, which borrows it until its callback */
    uv_write_t write;
    size_t write_size; /* of the uv_write, a tail of `writing` */
    bool write_pending;
    uint64_t progress; /* bytes read, and bytes of finished uv_writes */
};

/* A stream in `state` with no socket yet; init_socket makes the handle h. */
struct stream *stream_new(uv_loop_t *loop, enum stream_state state, bool is_tcp);
void stream_init_socket(struct stream *s);
void stream_open(struct stream *s);          /* the socket is connected, ops are set: begin */
void stream_fail(struct stream *s, int err); /* to CLOSING; the last callback follows */
void stream_on_timeout(uv_timer_t *timer);   /* of s->timer */
void stream_unpend(struct stream *s);        /* one of `pending` is over; may free s */

/* connect.c: if the stream never opened, tells its owner and frees `connecting`; else false. */
bool connecting_done(struct stream *s);
void connecting_cancel(struct stream *s); /* to CLOSING: stop looking up a name */

#endif
