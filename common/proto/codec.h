#ifndef ZABFS_CODEC_H
#define ZABFS_CODEC_H

#include "bytes.h"
#include "msg.h"

/* msg.h to and from bytes: one msgpack array a message, fields by position, docs/PROTOCOL.md lists
 * them. Encoding appends to a buffer and cannot fail; a message that the other side would refuse is
 * our own bug, and CHECKed. Decoding is strict: a wrong type, an enum or flag out of range, a name
 * or value over its limit, an array with a count that the bytes left cannot hold, or bytes left
 * over, is ERR_MALFORMED, and nothing is kept. The names of nodes are bounded at 4096 bytes here,
 * so that the tree can answer ERR_NAMETOOLONG.
 *
 * A decoded message borrows names from the bytes it was decoded from, which must outlive it, and
 * owns what `codec_*_done` releases: references to blobs, and arrays. */

/* Entries in one READDIR reply: what READDIR_SIZE_MAX bytes can hold of the smallest ones. */
enum { READDIR_ENTRIES_MAX = READDIR_SIZE_MAX / 16 };

enum message_kind { MESSAGE_REQUEST = 0, MESSAGE_REPLY = 1, MESSAGE_EVENT = 2 };

struct message { /* what a stream carries; the first element of the array is the kind */
    enum message_kind kind;
    union {
        struct request request;
        struct reply reply;
        struct event event;
    } u;
};

void codec_encode_request(struct buf *b, const struct request *r);
void codec_encode_reply(struct buf *b, const struct reply *r);
void codec_encode_event(struct buf *b, const struct event *e);

/* Errors: ERR_MALFORMED. On error *ret is untouched and there is nothing to release. */
int codec_decode(const void *bytes, size_t size, struct message *ret);
/* The same for who keeps the bytes and passes them on: values are checked, and left NULL. */
int codec_decode_head(const void *bytes, size_t size, struct message *ret);

/* What the other side's decoder would refuse with the whole stream: ERR_NAMETOOLONG, ERR_TOOBIG,
 * ERR_INVAL. *ret_size is about what the request takes on the wire. */
int codec_request_check(const struct request *r, size_t *ret_size);

/* A copy that borrows nothing. *ret_text holds its names: mem_free() after codec_request_done(). */
void codec_request_copy(const struct request *r, struct request *ret, void **ret_text);

void codec_message_done(struct message *m);
void codec_request_done(struct request *r);
void codec_reply_done(struct reply *r);
void codec_event_done(struct event *e);

#endif
