#ifndef ZABFS_CTL_PRINT_H
#define ZABFS_CTL_PRINT_H

#include <stddef.h>
#include <stdio.h>

#include "msg.h"

/* As json_text.h puts them. */
void print_json_text(FILE *out, const void *bytes, size_t size); /* "..." with quotes */
void print_json_field(FILE *out, const char *key, const void *bytes, size_t size); /* "key":"..." */

/* One node as a JSON object; `name` may be empty for the root. */
void print_json_node(FILE *out, const struct name *name, const struct attr *attr);

/* A status field's value: up to 15 decimal digits as a number, which every JSON reader keeps
 * exactly, all else as text. */
void print_json_value(FILE *out, const struct name *value);

/* A name for a person: on a terminal control bytes become '?', otherwise the bytes as they are. */
void print_name(FILE *out, const struct name *name);

void print_mode(const struct attr *attr, char ret[11]); /* drwxr-xr-x */
const char *print_life(enum node_life life);            /* permanent, session, open */
const char *print_type(enum node_type type);            /* file, directory, symlink */

#endif
