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
 *   HELLO      sent             the reply, or hello_timeout_ms()      -> ATTACHED or CLOSING
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
    RESUME_TIMEOUT_MS = 2000, /* the same, of an open session: that takes no entry of the log */
    SCOUT_TIMEOUT_MS = 2000,  /* to connect, and again to answer */
    SCOUT_SEND_SIZE_MAX = 4096,
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
    uint32_t moves;          /* since a write or a barrier went well, or all servers were tried */
    uint32_t move_laps;      /* so often was no other found */
    uint64_t move_after_ms;  /* not before */
    uint64_t probe_xid;      /* of the newest probe */
    uint64_t probed_write;   /* the oldest write without an answer at the last tick; 0: none */
    uint64_t probe_after_ms; /* the next probe, if that one has none yet */

    /* The search for a member with a quorum, client_scout.c. */
    struct scout *scouts;  /* each until its stream's last callback */
    uint32_t scouts_asked; /* of these, those whose word counts; 0: no search */

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
int client_end_err(const struct pending *p); /* of one that is not asked about any more */
void client_end_handles(struct client *c); /* the last step of client_close(); there is no stream */
void client_handle_gone(struct client *c); /* of those it waits for; before, it does nothing */

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
/* True: a member with a quorum is sought, and the request is held until that is over. */
bool move_on_reply(struct client *c, struct pending *p, const struct reply *r);
bool move_probe_is_due(struct client *c, uint64_t now, uint64_t wait_ms); /* once a tick */
void move_on_probe(struct client *c, const struct reply *r);
void move_found(struct client *c, uint32_t server);
void move_found_none(struct client *c);

/* client_scout.c; move_found() or move_found_none() follows once, from the loop */
void scout_ask(struct client *c);
void scouts_call_off(struct client *c); /* neither follows */
unsigned scouts_out(const struct client *c);

#endif
