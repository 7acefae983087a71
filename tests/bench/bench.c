/* The parent forks the clients, each of which says on a pipe of its own that it is warm; the pipe's
 * end without a word means that the client has failed. They start together when the parent closes
 * the write end of a pipe that all of them read. Samples and the lock's words are in memory that is
 * shared with the parent. */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"

enum {
    CLIENTS_MAX = 512,
    COUNT_MAX = 100000000,
    SIZE_MAX_BYTES = 16 * 1024 * 1024,
    WARM_MIN = 20,
    NUMBER_DIGITS = 20,
    FAILED_PAUSE_NS = 1000000,
};

struct bench_lock {
    atomic_size_t holder; /* client's number + 1; 0: free */
    size_t last;          /* who held it before */
    uint64_t entered;     /* no atomic: two holders at once would lose counts */
    uint64_t handovers;
};

struct run {
    const struct bench_options *options;
    const struct bench_work *work;
    struct bench_lock *lock;
    uint64_t *samples_ns;
    uint64_t *ended_ns; /* of each client */
    pid_t *pids;
};

void bench_die(const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)fprintf(stderr, "%s: %s\n", program_invocation_short_name, text);
    _exit(1);
}

void bench_die_errno(const char *what)
{
    bench_die("%s: %s", what, strerror(errno));
}

uint64_t bench_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- options ---------------------------------------------------------------------------------- */

static bool parse_count(const char *text, size_t min, size_t max, size_t *ret)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0' || n < min || n > max) {
        return false;
    }
    *ret = n;
    return true;
}

static bool parse_seconds(const char *text, double *ret)
{
    char *end;
    double n = strtod(text, &end);

    if (end == text || *end != '\0' || !(n > 0) || n > 86400) {
        return false;
    }
    *ret = n;
    return true;
}

static bool parse_letter(int letter, struct bench_options *o, bool *ret_warm_given)
{
    switch (letter) {
    case 'c':
        return parse_count(optarg, 1, CLIENTS_MAX, &o->clients);
    case 'n':
        return parse_count(optarg, 1, COUNT_MAX, &o->count);
    case 'w':
        *ret_warm_given = true;
        return parse_count(optarg, 0, COUNT_MAX, &o->warm_count);
    case 's':
        return parse_count(optarg, 0, SIZE_MAX_BYTES, &o->size);
    case 'f':
        return parse_count(optarg, 1, COUNT_MAX, &o->in_flight);
    case 't':
        return parse_seconds(optarg, &o->seconds);
    case 'o':
        o->file = optarg;
        return true;
    default:
        return false;
    }
}

bool bench_parse(int argc, char **argv, bool has_work, struct bench_options *ret)
{
    struct bench_options o = {
        .clients = 1, .count = 1000, .size = 1024, .in_flight = 1000, .seconds = 10};
    bool warm_given = false;
    int letter;

    while ((letter = getopt(argc, argv, "c:n:w:s:f:t:o:")) != -1) {
        if (!parse_letter(letter, &o, &warm_given)) {
            return false;
        }
    }
    if (has_work && optind < argc) {
        o.work = argv[optind++];
    }
    if (optind == argc) {
        return false;
    }
    if (!warm_given) {
        o.warm_count = o.count / 10 > WARM_MIN ? o.count / 10 : WARM_MIN;
    }
    o.targets = argv + optind;
    o.target_count = (size_t)(argc - optind);
    o.run = (uint64_t)getpid();
    *ret = o;
    return true;
}

/* --- values ----------------------------------------------------------------------------------- */

void bench_value_fill(char *value, size_t size, uint64_t number)
{
    char digits[NUMBER_DIGITS + 1];
    size_t used = size < NUMBER_DIGITS ? size : NUMBER_DIGITS;

    (void)snprintf(digits, sizeof(digits), "%020llu", (unsigned long long)number);
    memcpy(value, digits + NUMBER_DIGITS - used, used);
    memset(value + used, (int)('a' + number % 26), size - used);
}

void bench_value_check(struct bench_client *c, const char *seen, size_t size, uint64_t number)
{
    bench_value_fill(c->value, c->options->size, number);
    if (size != c->options->size || memcmp(seen, c->value, size) != 0) {
        bench_die("client %zu has not read the value %llu that it should (%zu bytes: %.20s)",
                  c->number, (unsigned long long)number, size, seen);
    }
}

/* --- the lock under test ---------------------------------------------------------------------- */

void bench_lock_enter(struct bench_client *c)
{
    struct bench_lock *lock = c->lock;
    size_t holder = atomic_exchange(&lock->holder, c->number + 1);

    if (holder != 0) {
        bench_die("clients %zu and %zu hold the lock at once", holder - 1, c->number);
    }
    lock->entered++;
    lock->handovers += lock->last != c->number + 1 && !c->warming;
    lock->last = c->number + 1;
}

void bench_lock_leave(struct bench_client *c)
{
    size_t holder = atomic_exchange(&c->lock->holder, 0);

    if (holder != c->number + 1) {
        bench_die("client %zu held the lock as well as client %zu", holder - 1, c->number);
    }
}

/* --- results ---------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

void bench_print(const char *work, size_t clients, uint64_t *samples_ns, size_t count,
                 double ops_per_s)
{
    if (count == 0) {
        bench_die("%s: nothing was done", work);
    }
    qsort(samples_ns, count, sizeof(*samples_ns), compare);
    printf("{\"work\": \"%s\", \"clients\": %zu, \"count\": %zu, \"median_us\": %.2f, "
           "\"p99_us\": %.2f, \"ops_per_s\": %.1f}\n",
           work, clients, count, (double)samples_ns[count / 2] / 1e3,
           (double)samples_ns[count * 99 / 100] / 1e3, ops_per_s);
    (void)fflush(stdout);
}

/* --- clients ---------------------------------------------------------------------------------- */

static void *map_shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        bench_die_errno("memory");
    }
    memset(p, 0, size); /* the pages are there before they are written in the timed part */
    return p;
}

static void client_step(const struct run *r, struct bench_client *c, uint64_t n,
                        uint64_t *ret_took_ns)
{
    uint64_t begun_ns = bench_now_ns();

    c->ended_ns = 0;
    r->work->step(c, n);
    *ret_took_ns = (c->ended_ns != 0 ? c->ended_ns : bench_now_ns()) - begun_ns;
}

/* `ready` and `go` are ends of pipes. */
static void client_run(const struct run *r, size_t number, int ready, int go)
{
    const struct bench_options *o = r->options;
    struct bench_client c = {.options = o, .number = number, .lock = r->lock, .warming = true};
    uint64_t *samples_ns = r->samples_ns + number * o->count;
    uint64_t unused_ns;
    char byte = 'r';

    c.target = o->targets[number % o->target_count];
    c.value = mem_zalloc(o->size);
    c.seen = mem_zalloc(o->size + 1);
    if (r->work->open != NULL) {
        r->work->open(&c);
    }
    for (size_t n = 0; n < o->warm_count; n++) {
        client_step(r, &c, n, &unused_ns);
    }
    c.warming = false;
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 0) {
        bench_die_errno("pipe");
    }
    for (size_t n = 0; n < o->count; n++) {
        client_step(r, &c, o->warm_count + n, &samples_ns[n]);
    }
    r->ended_ns[number] = bench_now_ns();
    if (r->work->close != NULL) {
        r->work->close(&c);
    }
    mem_free(c.value);
    mem_free(c.seen);
}

static void fail_all(const struct run *r)
{
    for (size_t i = 0; i < r->options->clients; i++) {
        if (r->pids[i] > 0) {
            (void)kill(r->pids[i], SIGKILL);
        }
    }
    _exit(1); /* the client that failed has said why */
}

static void start_client(struct run *r, size_t number, const int go[2], int *ret_ready)
{
    int ready[2];

    if (pipe(ready) != 0) {
        bench_die_errno("pipe");
    }
    r->pids[number] = fork();
    if (r->pids[number] < 0) {
        bench_die_errno("fork");
    }
    if (r->pids[number] == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(go[1]);
        (void)close(ready[0]);
        client_run(r, number, ready[1], go[0]);
        _exit(0);
    }
    (void)close(ready[1]);
    *ret_ready = ready[0];
}

static void wait_for_all(struct run *r)
{
    for (size_t i = 0; i < r->options->clients; i++) {
        int status;
        pid_t pid = wait(&status);

        if (pid < 0 || status != 0) {
            fail_all(r);
        }
        for (size_t k = 0; k < r->options->clients; k++) {
            r->pids[k] = r->pids[k] == pid ? 0 : r->pids[k];
        }
    }
}

static void print_run(const struct run *r, uint64_t begun_ns)
{
    const struct bench_options *o = r->options;
    uint64_t entered = o->clients * (o->warm_count + o->count);
    uint64_t last_ns = begun_ns;
    uint64_t done = o->clients * o->count;

    for (size_t i = 0; i < o->clients; i++) {
        last_ns = r->ended_ns[i] > last_ns ? r->ended_ns[i] : last_ns;
    }
    if (r->work->handovers) {
        done = r->lock->handovers;
        if (r->lock->entered != entered) {
            bench_die("the lock was not exclusive: %llu of %llu holders counted",
                      (unsigned long long)r->lock->entered, (unsigned long long)entered);
        }
    }
    bench_print(o->work, o->clients, r->samples_ns, o->clients * o->count,
                (double)done * 1e9 / (double)(last_ns - begun_ns));
}

void bench_run(const struct bench_options *o, const struct bench_work *work)
{
    struct run r = {.options = o, .work = work};
    int *ready = mem_zalloc(o->clients * sizeof(*ready));
    uint64_t begun_ns;
    int go[2];
    char byte;

    if (o->clients * o->count > COUNT_MAX || pipe(go) != 0) {
        bench_die("too many operations");
    }
    r.lock = map_shared(sizeof(*r.lock));
    r.samples_ns = map_shared(o->clients * o->count * sizeof(uint64_t));
    r.ended_ns = map_shared(o->clients * sizeof(uint64_t));
    r.pids = mem_zalloc(o->clients * sizeof(*r.pids));
    for (size_t i = 0; i < o->clients; i++) {
        start_client(&r, i, go, &ready[i]);
    }
    for (size_t i = 0; i < o->clients; i++) {
        if (read(ready[i], &byte, 1) != 1) {
            fail_all(&r);
        }
        (void)close(ready[i]);
    }
    begun_ns = bench_now_ns();
    (void)close(go[1]);
    wait_for_all(&r);
    (void)close(go[0]);
    if (work->clean != NULL) {
        struct bench_client c = {.options = o, .target = o->targets[0]};

        work->clean(&c);
    }
    print_run(&r, begun_ns);
    mem_free(r.pids);
    mem_free(ready);
}

/* --- many unanswered operations on one connection --------------------------------------------- */

void bench_pump_open(struct bench_pump *p, const struct bench_options *o)
{
    if (o->clients != 1 || o->count + o->warm_count > COUNT_MAX) {
        bench_die("%s: one client, at most %d operations", o->work, COUNT_MAX);
    }
    *p = (struct bench_pump){.options = o, .total = o->count + o->warm_count};
    p->begun_ns = mem_zalloc(p->total * sizeof(*p->begun_ns));
    p->warm_ns = bench_now_ns(); /* without uncounted ones */
}

bool bench_pump_next(struct bench_pump *p, uint64_t *ret_n)
{
    if (p->submitted == p->total || p->submitted - p->done >= p->options->in_flight) {
        return false;
    }
    p->begun_ns[p->submitted] = bench_now_ns();
    *ret_n = p->submitted++;
    return true;
}

bool bench_pump_done(struct bench_pump *p, uint64_t n)
{
    uint64_t now_ns = bench_now_ns();

    p->begun_ns[n] = now_ns - p->begun_ns[n]; /* from here on, how long it took */
    p->done++;
    if (p->done == p->options->warm_count) {
        p->warm_ns = now_ns;
    }
    return p->done == p->total;
}

void bench_pump_print(struct bench_pump *p)
{
    double seconds = (double)(bench_now_ns() - p->warm_ns) / 1e9;

    bench_print(p->options->work, 1, p->begun_ns + p->options->warm_count, p->options->count,
                (double)p->options->count / seconds);
    mem_free(p->begun_ns);
}

/* --- outage ----------------------------------------------------------------------------------- */

struct samples {
    uint64_t *ns;
    size_t count, room;
};

static void add_sample(struct samples *s, uint64_t ns)
{
    if (s->count == s->room) {
        s->room = s->room == 0 ? 1024 : s->room * 2;
        s->ns = mem_realloc(s->ns, s->room * sizeof(*s->ns));
    }
    s->ns[s->count++] = ns;
}

void bench_run_outage(struct bench_client *c, bool (*step)(struct bench_client *c, uint64_t n))
{
    const struct bench_options *o = c->options;
    struct timespec pause = {.tv_nsec = FAILED_PAUSE_NS};
    struct samples s = {0};
    FILE *file = o->file == NULL ? NULL : fopen(o->file, "a");
    uint64_t started_ns = bench_now_ns();
    uint64_t ended_ns = started_ns;

    if (o->file != NULL && file == NULL) {
        bench_die_errno(o->file);
    }
    for (uint64_t n = 0; (double)(ended_ns - started_ns) < o->seconds * 1e9; n++) {
        uint64_t begun_ns = bench_now_ns();
        bool done = step(c, n);

        ended_ns = bench_now_ns();
        if (!done) {
            (void)nanosleep(&pause, NULL);
            continue;
        }
        add_sample(&s, ended_ns - begun_ns);
        if (file != NULL && (fprintf(file, "%llu %llu\n", (unsigned long long)begun_ns,
                                     (unsigned long long)ended_ns) < 0 ||
                             fflush(file) != 0)) {
            bench_die_errno(o->file);
        }
    }
    if (file != NULL && fclose(file) != 0) {
        bench_die_errno(o->file);
    }
    bench_print(o->work, 1, s.ns, s.count, (double)s.count * 1e9 / (double)(ended_ns - started_ns));
    mem_free(s.ns);
}
