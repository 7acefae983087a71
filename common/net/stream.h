#ifndef ZABFS_STREAM_H
#define ZABFS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* Framed messages over a TCP or unix-socket stream. A frame is
 *   u32 size of the payload, u32 checksum (low 32 bits of hash64(payload, size, 0)), payload
 * little-endian. A frame that is too long, empty or damaged ends the stream: bytes from outside
 * never reach a decoder unless their checksum holds, and memory is taken only as bytes arrive.
 *
 * Rules of ownership:
 * 1. A stream is freed after its last callback (on_close, or an on_connect with an error); its
 *    owner forgets the pointer there. Until then every call is allowed.
 * 2. Callbacks come from the loop, never inside a call of the owner.
 * 3. After stream_close() the last callback is the only one that still comes.
 * 4. A stream may be closed inside any of its callbacks.
 * The first stream of a process makes it ignore SIGPIPE, if that still had its default action: a
 * peer that is gone is an error code. */
struct stream;

struct stream_ops { /* not copied: outlives the streams that use it */
    /* One whole frame; bytes are borrowed for the call. */
    void (*on_frame)(void *ctx, const uint8_t *bytes, size_t size);
    /* The last call ever for this stream. err: 0 closed by the owner or orderly by the peer,
     * ERR_MALFORMED bad frame, ERR_OVERLOAD send queue over its bound, ERR_CLOSED reset,
     * ERR_TIMEOUT no whole first frame in time. */
    void (*on_close)(void *ctx, int err);
};

struct stream_conf {
    size_t frame_size_max;   /* of a received payload */
    size_t send_queue_max;   /* bytes; above, the stream is closed with ERR_OVERLOAD */
    uint64_t first_frame_ms; /* close unless a whole frame came by then; 0: no limit */
};

/* An address as users write it: "unix:/path" or "host:port" ("[v6]:port"). Numeric hosts are used
 * at once; names are resolved when connecting, without holding up the loop, and all their addresses
 * are tried in turn. Port 0 is for listening on any free one. */
struct net_addr {
    bool is_unix;
    char path[108];
    char host[256];
    uint16_t port;
};
int net_addr_parse(const char *text, struct net_addr *ret); /* 0 or ERR_INVAL */
void net_addr_text(const struct net_addr *addr, char *ret, size_t cap);

/* "A+B+...", at least one address; *ret is the caller's, for mem_free(). 0 or ERR_INVAL. */
int net_addr_list_parse(const char *text, struct net_addr **ret, uint32_t *ret_count);

/* Starts connecting. on_connect runs once: err 0 and the stream is ready; or ERR_CLOSED (refused,
 * unreachable, unknown host, closed by the owner meanwhile) or ERR_TIMEOUT, and that is the last
 * callback: no on_close. */
typedef void (*stream_connect_fn)(void *ctx, int err);
void stream_connect(uv_loop_t *loop, const struct net_addr *addr, const struct stream_conf *conf,
                    const struct stream_ops *ops, uint64_t timeout_ms, stream_connect_fn on_connect,
                    void *ctx, struct stream **ret);

/* Frames are gathered and written together when the loop comes round, or by stream_flush(). The
 * payload is copied; it is not empty. Nothing happens on a stream that is not open. */
void stream_send(struct stream *s, const void *payload, size_t size);
void stream_flush(struct stream *s);
size_t stream_queued(const struct stream *s);     /* bytes not yet handed to the kernel */
void stream_pause(struct stream *s, bool paused); /* stop and go on reading: back-pressure */
/* What is gathered is offered to the kernel once. Closing twice is fine. */
void stream_close(struct stream *s);

/* A number that rises when bytes arrive, and when a kernel that had refused bytes takes more of
 * them, which it does as the peer reads: while it rises the peer lives, even amid a long frame. */
uint64_t stream_progress(const struct stream *s);

/* Listening. on_accept hands over a stream that has no ops yet: call stream_accept_start() with
 * them in the same call, or stream_close(), after which it is forgotten. peer_text:
 * "10.0.0.7:40312", "unix:uid=1000,pid=4711". When descriptors run out, accepting pauses for a
 * moment. */
struct listener;
typedef void (*listener_accept_fn)(void *ctx, struct stream *s, const char *peer_text);
/* Errors: negative errno of bind or listen (-EADDRINUSE, -EACCES, ...; -EADDRNOTAVAIL for a host
 * name that cannot be resolved, which may block). A unix socket's file that no process listens on
 * is replaced; mode is its permission bits. */
int listener_open(uv_loop_t *loop, const struct net_addr *addr, int mode,
                  listener_accept_fn on_accept, void *ctx, struct listener **ret);
uint16_t listener_port(const struct listener *l); /* bound to; 0 for a unix socket */
/* The address is free again on return, a unix socket's file removed; no on_accept follows. Freed
 * from the loop. */
void listener_close(struct listener *l);
void stream_accept_start(struct stream *s, const struct stream_conf *conf,
                         const struct stream_ops *ops, void *ctx);

#endif
