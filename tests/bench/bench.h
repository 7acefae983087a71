#ifndef ZABFS_BENCH_H
#define ZABFS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the programs of the comparison share: one call does one piece of work once and prints one
 * line of JSON, {"work": "write", "clients": 1, "count": 2000, "median_us": ..., "p99_us": ...,
 * "ops_per_s": ...}. `count` is of all clients, the times are of single operations of all clients,
 * ops_per_s is over the time from the common start to the last client's end.
 *
 * Each client is a process: it makes what it works on, does some operations that are not counted,
 * and waits for the common start. Any failure ends the program with a line on stderr and exit code
 * 1, so that a failed operation is never counted. */
struct bench_options {
    const char *work;
    size_t clients;    /* -c, 1 */
    size_t count;      /* -n, of each client, 1000 */
    size_t warm_count; /* -w, operations before that which are not counted; a tenth of count */
    size_t size;       /* -s, bytes of a value, 1024; 0: empty */
    size_t in_flight;  /* -f, 1000 */
    double seconds;    /* -t, 10 */
    const char *file;  /* -o */
    char **targets;    /* mounts or servers, one per client in turn */
    size_t target_count;
    uint64_t run; /* a number for names that no other run has */
};

/* A lock that clients hold in turn, in memory that all of them see. */
struct bench_lock;

struct bench_client {
    const struct bench_options *options;
    size_t number;
    const char *target;
    bool warming;      /* this operation is not counted */
    uint64_t ended_ns; /* set by a step that ends at another time than its return */
    struct bench_lock *lock;
    char *value; /* options->size bytes */
    char *seen;  /* one byte more */
    void *state; /* of the work */
};

struct bench_work {
    const char *name;
    void (*open)(struct bench_client *c);             /* makes what it works on; may be NULL */
    void (*step)(struct bench_client *c, uint64_t n); /* one operation; n counts from 0 */
    void (*close)(struct bench_client *c);            /* looks at it and removes it; may be NULL */
    void (*clean)(struct bench_client *c);            /* when all have ended; may be NULL */
    bool handovers; /* counts how often the lock went to another client, not operations */
};

/* Says what failed and ends the program. */
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* ... with the meaning of errno. */
_Noreturn void bench_die_errno(const char *what);

uint64_t bench_now_ns(void); /* CLOCK_MONOTONIC */

/* False if the command line is wrong. `has_work`: its first word is the work, the others are the
 * targets. */
bool bench_parse(int argc, char **argv, bool has_work, struct bench_options *ret);

/* A value that says which one it is: the number's last digits, then a letter that depends on it. */
void bench_value_fill(char *value, size_t size, uint64_t number);
/* Fails unless `seen` is that value. */
void bench_value_check(struct bench_client *c, const char *seen, size_t size, uint64_t number);

/* Between taking the lock under test and giving it back: fails if two clients are in between. */
void bench_lock_enter(struct bench_client *c);
void bench_lock_leave(struct bench_client *c);

void bench_run(const struct bench_options *o, const struct bench_work *work);

/* For a work that does not run in clients like that. Sorts the samples. */
void bench_print(const char *work, size_t clients, uint64_t *samples_ns, size_t count,
                 double ops_per_s);

/* A work that keeps options->in_flight operations unanswered on one connection. Operations have
 * numbers from 0; the first options->warm_count are not counted. */
struct bench_pump {
    const struct bench_options *options;
    uint64_t total, submitted, done;
    uint64_t warm_ns; /* when the last uncounted one was done */
    uint64_t *begun_ns;
};

void bench_pump_open(struct bench_pump *p, const struct bench_options *o);
/* True if one more is to be submitted: the one with number *ret_n. */
bool bench_pump_next(struct bench_pump *p, uint64_t *ret_n);
/* Number n is answered. True if it was the last. */
bool bench_pump_done(struct bench_pump *p, uint64_t n);
void bench_pump_print(struct bench_pump *p);

/* Does step again and again for options->seconds, 1 ms after one that failed, appends when each
 * that succeeded began and ended to options->file ("BEGIN_NS END_NS"), and prints the line. */
void bench_run_outage(struct bench_client *c, bool (*step)(struct bench_client *c, uint64_t n));

#endif
