#ifndef ZABFS_CTL_PRINT_H
#define ZABFS_CTL_PRINT_H

#include <stddef.h>
#include <stdio.h>

#include "msg.h"

/* JSON text is UTF-8; names and values of the tree are any bytes. A string field whose bytes are
 * not UTF-8 is printed with U+FFFD in place of each wrong byte, followed by a second field
 * KEY_base64 that has them exactly. */
void print_json_text(FILE *out, const void *bytes, size_t size); /* "..." with quotes */
void print_json_field(FILE *out, const char *key, const void *bytes, size_t size); /* "key":"..." */

/* One node as a JSON object; `name` may be empty for the root. */
void print_json_node(FILE *out, const struct name *name, const struct attr *attr);

/* A status field's value: up to 15 decimal digits as a number, which every JSON reader keeps
 * exactly, all else as text. */
void print_json_value(FILE *out, const struct name *value);

/* A name for a person: on a terminal control bytes become '?', otherwise the bytes as they are. */
void print_name(FILE *out, const struct name *name);

void print_mode(const struct attr *attr, char ret[11]);  /* drwxr-xr-x */
void print_time(int64_t time_ns, char *ret, size_t cap); /* 2026-01-31T12:00:00.000000000Z */
const char *print_type(enum node_type type);             /* file, directory, symlink */

#endif
