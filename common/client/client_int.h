#ifndef ZABFS_CLIENT_INT_H
#define ZABFS_CLIENT_INT_H

#include "bytes.h"
#include "client.h"
#include "prng.h"
#include "stream.h"
#include "pending.h"

/* States of the connection and what ends each:
 *
 *   WAITING    no stream        conn_timer: back-off is over          -> CONNECTING
 *   CONNECTING a stream         on_connect                            -> HELLO or WAITING
 *   HELLO      sent             the reply, or move_hello_timeout_ms() -> ATTACHED or CLOSING
 *   ATTACHED   session is live  broken, silent, malformed             -> CLOSING or WAITING
 *   CLOSING    stream_close()   the stream's last callback            -> WAITING
 *   ENDED      client_close()   handles close, then the client is freed
 *
 * Timers (uv):
 *   conn_timer     back-off in WAITING, the tick that looks for silence in ATTACHED
 *   request_timer  the earliest deadline of a request; the first step of client_close()
 *   the stream's   connecting, and its first frame, the reply to HELLO */
enum conn_state {
    CONN_WAITING,
    CONN_CONNECTING,
    CONN_HELLO,
    CONN_ATTACHED,
    CONN_CLOSING,
    CONN_ENDED,
};

enum {
    CONNECT_TIMEOUT_MS = 2000,
    HELLO_TIMEOUT_MS = 5000,
    MOVE_HELLO_TIMEOUT_MS = 2000, /* of a session that is open, which takes no log entry */
    BACKOFF_MS_MIN = 20,
    BACKOFF_MS_MAX = 1000,
    PING_MS_MAX = 1000,    /* or a sixth of the session timeout: at most so long without a word */
    SILENCE_MS_MAX = 3000, /* or a third: then the member is taken for dead */
    OUT_SIZE_KEEP = 256 << 10, /* a larger buffer for encoding is not kept */
    MOVE_WAIT_MS_MIN = 1000,   /* at a member without a quorum, when no other has one either */
    MOVE_WAIT_MS_MAX = 8 * 1000,
};

struct client {
    uv_loop_t *loop;
    struct client_ops ops;
    void *ctx;
    struct net_addr *servers;
    uint32_t server_count;
    char label[CLIENT_LABEL_SIZE_MAX]; /* not terminated */
    uint32_t label_size;
    uint32_t session_timeout_ms;
    uint32_t deadline_ms;
    struct prng prng;

    /* The session. */
    struct session_key key;
    bool opened; /* a member has said that the session `key` exists */
    uint64_t session;
    uint32_t member;
    uint32_t timeout_ms; /* as granted */
    uint32_t value_size_max;
    uint64_t index_seen;
    uint64_t attaches;
    uint64_t sessions_lost;

    /* The connection, client_conn.c. */
    enum conn_state conn;
    struct stream *stream; /* not in WAITING and ENDED */
    uv_timer_t conn_timer;
    uint32_t server_at;
    uint32_t failures; /* in a row */
    bool same_server;  /* is the next to connect to, at once */
    bool was_attached; /* on this stream */
    bool attaching;    /* inside on_attach */
    uint64_t hello_xid;
    uint64_t attached_ms; /* when; all times are client_now() */
    uint64_t heard_ms;    /* the last byte, as far as a tick has seen */
    uint64_t spoke_ms;    /* the last request or ping */
    uint64_t tick_ms;     /* the last tick */
    uint64_t progress;    /* stream_progress() then */

    /* Leaving a member without a quorum, client_move.c. */
    bool leaving;            /* nothing more is sent on this stream, which ends in this turn */
    uint32_t tried;          /* servers, since one refused, until a write or barrier goes well */
    uint32_t move_laps;      /* so often were all tried in vain */
    uint64_t move_after_ms;  /* not before */
    uint64_t probe_xid;      /* of the newest probe */
    uint64_t probed_write;   /* the oldest write without an answer at the last tick; 0: none */
    uint64_t probe_after_ms; /* the next probe, if that one has none yet */

    /* Events of a group that is not complete, client_group.c. */
    struct buf group;
    uint64_t group_index;

    /* Requests. */
    struct pending_table table;
    uv_timer_t request_timer;
    uint64_t request_timer_ms; /* fires then, while active */
    struct buf out;            /* reused by each encoding */
    const uint8_t *frame;      /* that the reply being handed over came in, or NULL */
    size_t frame_size;
    struct buf call_frame; /* client_call(): what its last reply borrows from */

    /* The end. */
    bool closing;
    bool close_begun; /* all requests have ended */
    uint32_t close_wait_ms;
    unsigned handles; /* not yet closed */
    void (*on_closed)(void *ctx);
    void *closed_ctx;
};

/* client.c */
uint64_t
client_now(void); /* monotonic ms; unlike the loop's, right after a pause of the loop too */
void client_finish(struct client *c, struct pending *p, const struct reply *r); /* frees p */
void client_fail(struct client *c, struct pending *p, int err);                 /* frees p */
void client_end_handles(struct client *c); /* the last step of client_close(); there is no stream */

/* client_conn.c */
void conn_new_key(struct client *c);
void conn_start(struct client *c);
void conn_send(struct client *c, struct pending *p); /* ATTACHED, and pending_may_send() */
void conn_pump(struct client *c);                    /* sends what may be sent, if ATTACHED */
void conn_end(struct client *c);  /* client_end_handles() follows, if not this very call */
void conn_drop(struct client *c); /* ends the stream; another is sought */
uint64_t conn_idle_ms(const struct client *c); /* since the last byte from a member */
void conn_index_learn(struct client *c, uint64_t index);

/* client_group.c */
bool group_event(struct client *c, const struct event *e); /* false: not what a member sends */
bool group_is_open(const struct client *c);
void group_drop(struct client *c);

/* client_move.c */
/* True: the member is left, and the request that it refused waits for the next one. */
bool move_on_reply(struct client *c, struct pending *p, const struct reply *r);
bool move_probe_is_due(struct client *c, uint64_t now, uint64_t wait_ms); /* once a tick */
void move_on_probe(struct client *c, const struct reply *r);
void move_on_gone(struct client *c); /* the server of now; the next one is tried */
uint32_t move_hello_timeout_ms(const struct client *c);

#endif
