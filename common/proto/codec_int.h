#ifndef ZABFS_CODEC_INT_H
#define ZABFS_CODEC_INT_H

#include "codec.h"
#include "layout.h"

/* Private to proto: the layout of every message, see codec.c for how they make one array. */

extern const struct layout codec_request_head; /* op, xid, ... */
extern const struct layout codec_reply_head;
extern const struct layout codec_event;

/* What follows the head. NULL: no such op. */
const struct layout *codec_request_body(enum op op);
const struct layout *codec_reply_body(enum op op);

#endif
