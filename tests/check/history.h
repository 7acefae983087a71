#ifndef ZABFS_HISTORY_H
#define ZABFS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "hashtable.h"

/* What processes on real mounts asked for and were told, one call a line, fields apart by tabs:
 *
 *   PROC MOUNT MODE KIND CALL_NS RET_NS ERRNO PATH RESULT
 *
 * PROC     a sequential process: an integer
 * MOUNT    the member beside its mount: an integer
 * MODE     `d` default reads, `l` reads=linearizable
 * KIND     write, append, read, excl, number, delete, list, sync: see enum history_kind
 * CALL_NS  CLOCK_MONOTONIC, of one machine
 * RET_NS   the same, or `-`: the process ended in the call
 * ERRNO    0, or the name of the errno; `-` beside RET_NS `-`
 * PATH     below the mount; `-` for sync
 * RESULT   by KIND; `-` for none, nothing at all for an empty value or list
 *
 * A token ends with a semicolon and has no other. Files that are there at the start are empty. */

enum history_kind {
    HISTORY_WRITE,  /* open(O_TRUNC), write one token, close. RESULT: the token, never used twice */
    HISTORY_APPEND, /* open(O_APPEND), write one token, close. RESULT: the token */
    HISTORY_READ,   /* the whole value. RESULT: the value */
    HISTORY_EXCL,   /* open(O_CREAT | O_EXCL). RESULT: st_ino, if that could be asked for */
    HISTORY_NUMBER, /* creates a numbered name. PATH: the template. RESULT: the name it got */
    HISTORY_DELETE, /* unlink */
    HISTORY_LIST,   /* a directory. RESULT: names apart by commas */
    HISTORY_SYNC,   /* the barrier */
    HISTORY_KINDS,
};

enum history_outcome {
    HISTORY_DONE,
    HISTORY_REFUSED, /* certainly without effect */
    HISTORY_UNKNOWN, /* with effect or without */
};

#define HISTORY_NEVER UINT64_MAX

struct history_path {
    UT_hash_handle hh;
    uint32_t number;
    char *text;
};

struct history_op {
    enum history_kind kind;
    enum history_outcome outcome;
    bool linear;         /* MODE l */
    bool exists, absent; /* refused because the name was, or was not, there */
    uint32_t proc, mount;
    uint32_t path;            /* number */
    uint64_t call_ns, ret_ns; /* HISTORY_NEVER: it did not return */
    char err[24];
    const char *result; /* not NUL-terminated */
    uint32_t result_size;
    bool has_result; /* false: "-" */
};

struct history {
    struct history_op *ops; /* in no order */
    uint64_t count, cap;
    struct history_path *paths; /* by text */
    struct history_path **by_number;
    uint64_t path_count, path_cap;
    char **texts; /* that results point into */
    uint64_t text_count, text_cap;
};

/* Adds the lines of one text. Returns 0, or the number of the line that is not like that. */
uint64_t history_add(struct history *h, const char *text, size_t size);
/* The same with a file. -1: it cannot be read. */
int64_t history_read(struct history *h, const char *path);
void history_done(struct history *h);

const char *history_kind_text(enum history_kind kind);
const char *history_path_text(const struct history *h, const struct history_op *op);
/* One call in words, for verdicts. */
void history_describe(const struct history *h, const struct history_op *op, char *to, size_t cap);

/* --- what checkers say ----------------------------------------------------------------------- */

enum { FINDINGS_SHOWN_MAX = 20 };

struct findings {
    uint64_t count;
    struct buf text; /* lines, of the first ones */
};

__attribute__((format(printf, 2, 3))) void findings_add(struct findings *f, const char *fmt, ...);
void findings_done(struct findings *f);

#endif
