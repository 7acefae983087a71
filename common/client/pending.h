#ifndef ZABFS_PENDING_H
#define ZABFS_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "hashtable.h"

/* The requests of a session that have not ended: found by xid, ordered by deadline, and by xid
 * those that wait to be sent. Private to client; no I/O and no clock, time comes as an argument.
 *
 * What may be on its way at once is bounded, so that the member's own bounds are never reached: so
 * many reads; writes that lie within a window behind the oldest unanswered one, because the
 * ensemble keeps a reply slot for each number from there on; and bytes. */
enum {
    PENDING_WRITES_MAX = CLIENT_REQUESTS_MAX / 2,
    PENDING_READS_MAX = CLIENT_REQUESTS_MAX / 2 - 64, /* the rest: pings, HELLO */
    PENDING_SENT_SIZE_MAX = 32 << 20,                 /* one request goes out in any case */
};

struct pending {
    struct request r; /* a copy, with its xid */
    void *text;       /* that its names are in */
    size_t size;      /* about how many bytes it is on the wire */
    client_done_fn done;
    void *arg;
    uint64_t deadline_ms; /* on the clock of the caller */
    int end_err;          /* when the deadline comes; 0: as for any request out of time */
    uint32_t sends;       /* on so many streams, but for those whose member refused it */
    bool refused;         /* by a member without a quorum */
    bool held;            /* by the one of now; another is sought */
    bool sent;            /* on the stream of now */
    bool unsent;          /* waits in its class's queue; neither: given up */

    uint64_t write_seq; /* counts the session's writes; 0 for a read */
    size_t heap_at;
    struct pending *prev, *next;             /* in the queue of unsent ones */
    struct pending *write_prev, *write_next; /* among the unanswered writes */
    UT_hash_handle hh;
};

struct pending_class {
    struct pending *unsent; /* in order of xid */
    uint32_t sent;
};

struct pending_table {
    struct pending *by_xid; /* iterates in order of xid, as they were added */
    struct pending_class reads;
    struct pending_class writes;
    struct pending *unanswered; /* writes, in order of xid */
    size_t sent_size;
    struct pending **heap; /* the earliest deadline first */
    size_t heap_size;
    size_t heap_cap;
    uint64_t xid_next;
    uint64_t write_seq_next;
};

void pending_init(struct pending_table *t);
void pending_done(struct pending_table *t); /* of an empty one */

/* Copies the request, gives it the next xid and queues it. */
struct pending *pending_add(struct pending_table *t, const struct request *r, uint64_t deadline_ms,
                            client_done_fn done, void *arg);
struct pending *pending_find(const struct pending_table *t, uint64_t xid);
void pending_remove(struct pending_table *t, struct pending *p); /* frees p */
uint32_t pending_count(const struct pending_table *t);

/* p is not sent any more, and its deadline is past: it ends with err. */
void pending_give_up(struct pending_table *t, struct pending *p, int err);
struct pending *pending_earliest(const struct pending_table *t); /* NULL: none */

/* Below it no write awaits an answer. */
uint64_t pending_xid_floor(const struct pending_table *t);

bool pending_may_send(const struct pending_table *t, const struct pending *p);
struct pending *
pending_next_unsent(const struct pending_table *t); /* that may be sent, lowest xid first */
void pending_mark_sent(struct pending_table *t, struct pending *p);
void pending_mark_all_unsent(struct pending_table *t); /* the stream is gone */

#endif
