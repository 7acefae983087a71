#ifndef ZABFS_CLIENT_H
#define ZABFS_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "codec.h"
#include "msg.h"

/* A session with the ensemble, over one stream at a time.
 *
 * Requests are submitted at any time, connected or not. When the stream breaks or goes silent, the
 * client connects to the next server of its list, attaches to its session there and sends again
 * what has no answer; writes carry numbers by which the ensemble recognises a repetition, so each
 * takes effect once. When a member says that it has no quorum, the session goes on at one that has
 * it; if no server of the list says so within seconds, the refusal is the answer. When the session
 * has expired, the unanswered writes end with ERR_EXPIRED and a new session is opened.
 *
 * Every request ends exactly once: with its reply, or ERR_TIMEOUT at its deadline (a write's
 * outcome is then unknown; ERR_NO_QUORUM instead if it certainly never left this process or the
 * member said so), ERR_INTR after client_cancel(), ERR_EXPIRED, ERR_CLOSED after client_close().
 * Callbacks run from the loop, never inside a call of the owner. */
struct client;

enum client_state {
    CLIENT_CONNECTING, /* no stream; requests wait */
    CLIENT_ATTACHED,   /* the session is live */
    CLIENT_CLOSED,
};

struct client_info { /* a view of the session for status */
    enum client_state state;
    uint64_t session; /* 0 before the first */
    uint32_t member;  /* attached to, or last */
    char server[300]; /* address in use */
    uint32_t value_size_max;
    uint64_t index_seen; /* highest index of any reply or event */
    uint32_t in_flight;
    uint64_t reconnects;
    uint64_t sessions_lost;
    uint64_t idle_ms; /* since the last byte from the member */
};

struct client_conf {
    const char *servers;         /* "unix:PATH+HOST:PORT+...", tried in this order, then round */
    const char *label;           /* for the ensemble's status */
    uint32_t session_timeout_ms; /* 0: default */
    uint32_t deadline_ms;        /* of a request that names none; 0: default */
    uint64_t seed;               /* for back-off; the session key is from getrandom(2) */
};

struct client_ops { /* any may be NULL */
    /* Borrowed for the call. The changes of one log entry come in one go, when the last has come:
     * no other callback between them, and no reply before. */
    void (*on_event)(void *ctx, const struct event *e);
    /* Attached to a member: `fresh` for a new session (then nothing that was learnt before holds),
     * else the old one, resumed. Requests submitted inside this call go out before the ones that
     * are sent again: the place to declare interest. */
    void (*on_attach)(void *ctx, bool fresh);
    void (*on_detach)(void *ctx); /* the stream is gone, another is sought */
};

typedef void (*client_done_fn)(void *ctx, void *arg, const struct reply *r); /* r borrowed */

/* Errors: ERR_INVAL for a server list that does not parse. */
int client_new(uv_loop_t *loop, const struct client_conf *conf, const struct client_ops *ops,
               void *ctx, struct client **ret);

/* Takes a copy of the request (names copied, blobs referenced); xid and xid_floor are filled in.
 * deadline_ms 0: the configured one; at most OPERATION_DEADLINE_MS_MAX. Any op but OP_HELLO and
 * OP_SESSION_OPEN. Writes are sent in the order of this call, behind at most CLIENT_REQUESTS_MAX /
 * 2 unanswered ones; more wait here. Returns the xid, for client_cancel() and to recognise own
 * events (struct event .session .xid). done may be NULL. */
uint64_t client_submit(struct client *c, const struct request *r, client_done_fn done, void *arg);

/* Ends a request with ERR_INTR, from the loop. A write may still take effect. No effect when it has
 * ended. */
void client_cancel(struct client *c, uint64_t xid);

/* True while the request has not ended: an event with this xid is the caller's own change. */
bool client_is_pending(const struct client *c, uint64_t xid);

void client_info(const struct client *c, struct client_info *ret);

/* Ends all requests with ERR_CLOSED, closes the session (best effort, at most wait_ms) and the
 * stream, then frees the client and calls on_closed from the loop. */
void client_close(struct client *c, uint32_t wait_ms, void (*on_closed)(void *ctx), void *ctx);

/* Blocking form for command-line programs, not for use inside a callback: runs the loop until the
 * request has ended. The caller releases *ret with codec_reply_done(); names in it point into the
 * client and hold until the next client_call() or client_close(). Returns ret->err. */
int client_call(struct client *c, const struct request *r, struct reply *ret);

/* Walks an absolute path ("/a/b") by lookups, with client_call(). A trailing slash asks for a
 * directory. Errors: of the lookups, ERR_INVAL for a path that is not absolute. */
int client_walk(struct client *c, const char *path, struct attr *ret);
/* ... as of the index `at`; 0: now. */
int client_walk_at(struct client *c, const char *path, uint64_t at, struct attr *ret);
/* The directory that holds the last name of `path`, and that name (into `path`). */
int client_walk_parent(struct client *c, const char *path, struct attr *ret_dir,
                       struct name *ret_name);

#endif
