#ifndef ZABFS_SIM_CLIENTS_H
#define ZABFS_SIM_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger.h"

/* The clients of a simulated ensemble: each speaks the real client protocol over streams that the
 * world carries, does random work, and writes down what it asked, when, and what it was told.
 * Deterministic: the same seed and the same calls give the same work. Times are microseconds of the
 * world's own true clock (members' clocks drift from it, clients' do not).
 *
 * A client has one session and at most one stream. It follows the rules of docs/PROTOCOL.md:
 * resumes its session at another member when a stream ends or no answer comes in time, sends
 * unanswered writes again unchanged, keeps xid_floor, pings; it opens a new session after
 * ERR_EXPIRED. */
struct clients;

struct clients_io { /* calls only queue; none may call back into the clients */
    void *ctx;
    /* Opens a stream to a member; frames may be sent at once. If the member is down or cut off the
     * stream ends later, with clients_on_closed(). Returns its number, above 0, never used twice.
     */
    uint64_t (*connect)(void *ctx, uint32_t client, uint32_t member);
    void (*send)(void *ctx, uint64_t conn, const void *bytes, size_t size); /* one frame */
    void (*close)(void *ctx, uint64_t conn); /* clients_on_closed() is not called for it */
    void (*wake)(void *ctx, uint32_t client,
                 uint64_t at_us); /* clients_on_wake(), once; the
                                     newest call replaces earlier ones */
};

enum clients_feature { /* of zabfs that the clients use */
                       CLIENTS_EPHEMERALS,
                       CLIENTS_RENAMES,
                       CLIENTS_XATTRS,
                       CLIENTS_LOCKS,
                       CLIENTS_TXNS,
                       CLIENTS_EVENTS, /* the changes of all directories, and the log of a name */
                       CLIENTS_PAST,   /* reads as of an earlier index */
                       CLIENTS_FEATURES,
};

enum { CLIENTS_FEATURES_ALL = (1 << CLIENTS_FEATURES) - 1 };

struct clients_conf {
    uint64_t seed;
    uint32_t count;
    uint32_t member_count;
    uint32_t members[16];    /* ids */
    uint32_t think_us;       /* mean pause between two requests of one client */
    uint32_t inflight_max;   /* requests of one client under way at a time */
    uint32_t value_size_max; /* of values written */
    uint32_t names;          /* names that all clients fight over; small: more conflicts */
    uint32_t session_timeout_ms;
    uint32_t features; /* bits 1 << CLIENTS_..., of those above */
};

struct clients_counts { /* for the report at the end of a run */
    uint64_t requests, replies_ok, replies_err, unknown, reads_checked, writes_checked;
    uint64_t sessions_opened, sessions_resumed, sessions_expired, events, retries;
};

struct clients *clients_new(const struct clients_conf *conf, const struct clients_io *io);
void clients_free(struct clients *c);
void clients_start(struct clients *c, uint64_t now_us);

void clients_on_wake(struct clients *c, uint32_t client, uint64_t now_us);
void clients_on_frame(struct clients *c, uint32_t client, uint64_t conn, const void *bytes,
                      size_t size, uint64_t now_us);
void clients_on_closed(struct clients *c, uint32_t client, uint64_t conn, uint64_t now_us);

/* No new work from now on; what is under way goes on being repeated until answered. */
void clients_quiesce(struct clients *c, uint64_t now_us);
bool clients_idle(const struct clients *c); /* nothing is under way */

/* For the liveness phase: each client is to finish one more write and one more barrier, asked for
 * after now. True from clients_probed() when all have. */
void clients_probe(struct clients *c, uint64_t now_us);
bool clients_probed(const struct clients *c);

/* Judges everything that was written down by the ledger. Returns NULL, or a text (valid until
 * clients_free()) that says what is wrong: which rule, which operation, what was expected. May be
 * called again later in the run; what was judged before is not judged twice. */
const char *clients_judge(struct clients *c, const struct ledger *ledger);

void clients_counts(const struct clients *c, struct clients_counts *ret);

#endif
