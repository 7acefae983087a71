#ifndef ZABFS_TXN_TEXT_H
#define ZABFS_TXN_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "msg.h"

/* A transaction as text: what is written to .zabfs/txn and read by `zabctl txn`.
 *
 *     check PATH [VERSION]       the node is there, and has this version
 *     absent PATH                nothing is there
 *     create PATH [VALUE]        a file
 *     mkdir PATH
 *     symlink PATH TARGET
 *     set PATH VALUE [if VERSION]
 *     append PATH VALUE
 *     delete PATH [VERSION]      a file, a link or an empty directory
 *     rename PATH PATH
 *
 * One step a line; empty lines and lines that begin with '#' are passed over. Words are separated
 * by spaces and tabs. A word in double quotes may hold any byte: \n, \t, \r, \\, \" and \xHH stand
 * for one, everything else for itself, but a line break must be written as \n. Outside quotes a
 * backslash is an ordinary byte, and a quote may only begin a word. Paths begin with '/' and hold
 * no NUL. Versions are decimal and count from 1. The last line need not end in a line break.
 *
 * The outcome, also text, is "ok INDEX" and then one line a step: its verb, its path with the real
 * name (for `rename` both paths) and the version that the node has now, or for `delete` had (none
 * for `absent`). Or it is one line, and nothing was done: "error LINE:COLUMN: REASON" for what
 * cannot be understood, "error LINE: REASON" for a step that was refused, and "error: REASON" for a
 * failure of the whole; only there, REASON may be that the outcome is unknown. */

enum { TXN_TEXT_SIZE_MAX = 16 << 20 };

struct txn_text { /* owns all that the steps point to */
    uint32_t count;
    struct txn_step *steps;
    uint32_t *lines; /* of each step, from 1 */
};

struct txn_text_error {
    uint32_t line, column; /* in bytes, from 1 */
    const char *reason;    /* static */
};

/* Errors: ERR_INVAL, with where and why in *ret_error; ERR_TOOBIG for more than TXN_STEPS_MAX
 * steps, a value above VALUE_SIZE_MAX, or more text than TXN_TEXT_SIZE_MAX, likewise. No steps are
 * fine. */
int txn_text_parse(const void *bytes, size_t size, struct txn_text *ret,
                   struct txn_text_error *ret_error);
void txn_text_done(struct txn_text *t); /* all zero again */

/* Append the outcome. `r` is the reply to OP_TXN, or an error of the client. */
void txn_text_outcome(const struct txn_text *t, const struct reply *r, struct buf *ret);
void txn_text_malformed(const struct txn_text_error *e, struct buf *ret);

/* What went wrong, if anything, as an ERR_ code. */
int txn_text_err(const struct reply *r);

/* Appends a word, quoted if it has to be. */
void txn_text_quote(const void *bytes, size_t size, struct buf *ret);

#endif
