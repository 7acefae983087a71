#ifndef ZABFS_WIRE_H
#define ZABFS_WIRE_H

#include "bytes.h"
#include "codec.h"
#include "tree.h"
#include "zab.h"

/* What members say to each other, and what a log entry holds, to and from bytes. Little-endian,
 * fixed fields, docs/PROTOCOL.md lists them. Decoding is strict, as in codec.h: every count is
 * compared with its limit and with the bytes left before memory is taken; bytes left over are
 * ERR_MALFORMED. */

enum { PEER_PROTOCOL_VERSION = 4 };

enum peer_msg_type {
    PEER_IDENT = 1,   /* first on a stream, both ways: who is there */
    PEER_ZAB = 2,     /* a message of the broadcast */
    PEER_FORWARD = 3, /* a client's write, from the member that holds its session to the leader */
    PEER_TOUCH = 4,   /* sessions heard of at this member since its last TOUCH, to the leader */
    PEER_SNAP = 5,    /* a piece of the leader's state, to a follower behind its window */
    PEER_SNAP_R = 6,  /* how much of it the follower has stored: more may come */
};

enum { PEER_TOUCH_MAX = 4096 };

struct peer_msg {
    enum peer_msg_type type;
    union {
        struct {
            uint32_t version; /* PEER_PROTOCOL_VERSION */
            struct hash128 cluster, incarnation;
            uint32_t from, to;
        } ident;
        struct zab_msg zab; /* entries owned: peer_msg_done() */
        struct {
            uint64_t session;     /* 0: the request is a SESSION_OPEN */
            const uint8_t *bytes; /* encoded request, borrowed */
            uint32_t size;
        } forward;
        struct {
            uint32_t count;
            uint64_t *sessions; /* owned by a decoded message */
        } touch;
        struct {
            uint64_t epoch, sync;
            struct zab_pos pos;   /* the state's place in the log */
            uint64_t total;       /* bytes of the image */
            uint64_t offset;      /* of this piece */
            const uint8_t *bytes; /* borrowed */
            uint32_t size;        /* at most SNAPSHOT_CHUNK_SIZE */
        } snap;
        struct {
            uint64_t epoch, sync; /* of the pieces */
            uint64_t stored;      /* bytes from the start; all of them: the state is taken */
        } snap_r;
    } u;
};

void wire_peer_encode(struct buf *b, const struct peer_msg *m);
int wire_peer_decode(const void *bytes, size_t size, struct peer_msg *ret); /* ERR_MALFORMED */
void peer_msg_done(struct peer_msg *m); /* releases what a decoded message owns */

/* The body of a DATA entry: what the leader stamps, then the client's request as it was encoded. */
struct txn_stamp {
    int64_t time_ns;
    uint32_t value_size_max;
    uint64_t session;
};

struct blob *wire_txn_new(const struct txn_stamp *stamp, const void *request, size_t size);
/* *ret borrows names from the bytes; its index is 0 for the caller to set; release its request with
 * codec_request_done(). Errors: ERR_MALFORMED (also for a request that is not a write). */
int wire_txn_decode(const void *bytes, size_t size, struct txn *ret);

#endif
