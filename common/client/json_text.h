#ifndef ZABFS_JSON_TEXT_H
#define ZABFS_JSON_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

/* Pieces of JSON, appended to a buffer.
 *
 * JSON text is UTF-8; names and values of the tree are any bytes. A string whose bytes are not
 * UTF-8 gets U+FFFD in place of each wrong byte, and as a field it is followed by a second one,
 * KEY_base64, that has them exactly. */
void json_put_text(struct buf *b, const void *bytes, size_t size); /* "..." with quotes */
void json_put_field(struct buf *b, const char *key, const void *bytes, size_t size); /* "k":"..." */
void json_put_number(struct buf *b, const char *key, uint64_t value);                /* "k":7 */

/* 2026-01-31T12:00:00.000000000Z; ret is NUL-terminated. */
enum { JSON_TIME_SIZE = 48 };
void json_time(int64_t time_ns, char ret[JSON_TIME_SIZE]);

#endif
