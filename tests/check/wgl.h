#ifndef ZABFS_WGL_H
#define ZABFS_WGL_H

#include "history.h"

/* Is there any order of the calls, in which each lies between its call and its return, that gives
 * every answer? Searched for without a word from the log, so that a log that lies is caught.
 *
 * The search is that of Wing and Gong (1993) with Lowe's cache of configurations (2017): calls and
 * returns in one list by time; the first call that the state allows is taken out, with its return;
 * at a return whose call is still in the list the last one taken is put back. A configuration, the
 * set of calls taken and the state, that was met before is not entered again.
 *
 * What is searched apart: each path, since no call but a listing is about two. A listing is a
 * stream of pages, so it stands for one look at each name: there, or not there. The numbers of a
 * directory are held against time directly: of two calls one after the other the later gets the
 * higher number.
 *
 * Left out: reads with default reads (they may be old) and refusals there (the kernel's names may
 * be old, too); paths whose files one call both makes and writes (two changes, so no single
 * moment). A file that is there when the history begins is empty. A change of unknown outcome may
 * come at any time later, or never. */

struct wgl_conf {
    uint64_t steps_max; /* of one search; then its verdict is `unknown` */
};

struct wgl_counts {
    uint64_t partitions, ops, steps;
    uint64_t left_out;     /* calls that no search has */
    uint64_t linearizable; /* partitions, by verdict */
    uint64_t anomalies;
    uint64_t unknown;
};

void wgl_check(const struct history *h, const struct wgl_conf *conf, struct findings *f,
               struct wgl_counts *ret);

/* --- one search, for itself ------------------------------------------------------------------ */

enum wgl_do {
    WGL_WRITE,  /* the value becomes `value`; needs a file */
    WGL_APPEND, /* `value` goes behind it; needs a file */
    WGL_READ,   /* the value is `value` */
    WGL_MAKE,   /* there is no file; then an empty one */
    WGL_DELETE, /* there is a file; then none */
    WGL_THERE,  /* there is a file */
    WGL_GONE,   /* there is none */
};

struct wgl_value { /* a text by its hash, such that texts can be joined */
    uint64_t hash;
    uint64_t shift; /* what a text of this length moves another one by */
};

struct wgl_op {
    enum wgl_do what;
    uint64_t call_ns, ret_ns; /* HISTORY_NEVER: at any time later, or never */
    struct wgl_value value;
    const struct history_op *from;
};

enum wgl_verdict { WGL_OK, WGL_ANOMALY, WGL_UNKNOWN };

struct wgl_value wgl_value_of(const char *bytes, uint32_t size);

/* Starts with no file or an empty one: the first call to look decides. Sorts the ops. *ret_stuck is
 * the call that nothing could be done about at the furthest point. */
enum wgl_verdict wgl_search(struct wgl_op *ops, uint64_t count, uint64_t steps_max,
                            uint64_t *ret_steps, const struct wgl_op **ret_stuck);

#endif
