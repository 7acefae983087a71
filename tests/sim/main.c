#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "sim.h"

/* Runs seeds one after the other, and prints what was done and found. The first seed that fails
 * ends the program with status 1 and the command that repeats it; --keep-going runs each seed in a
 * process of its own and goes on. SIGTERM and SIGINT end it behind the present seed. A CHECK that
 * fails anywhere is a failing seed, too. */

struct options {
    uint64_t first, seeds, steps, seconds;
    bool faults[SIM_FAULT_COUNT];
    char fault_list[512]; /* as given */
    uint64_t check_every; /* each so many-th seed is run twice; 0: none */
    bool trace, keep_going, quiet;
};

static const char *const fault_names[] = {
#define X(name, text) text,
    SIM_FAULTS(X)
#undef X
};

static volatile uint64_t seed_now; /* for the handler */
static char command_rest[700];

static void print_command(FILE *to, uint64_t seed)
{
    fprintf(to, "repeat with: sim --first %" PRIu64 " --seeds 1%s --trace\n", seed, command_rest);
}

static volatile sig_atomic_t is_stopping;

static void on_stop(int signum)
{
    (void)signum;
    is_stopping = 1;
}

static void on_abort(int signum)
{
    char text[1200];
    int size = snprintf(text, sizeof(text),
                        "seed %" PRIu64 " FAILED: %s (the line above says where)\n"
                        "repeat with: sim --first %" PRIu64 " --seeds 1%s --trace\n",
                        seed_now, signum == SIGABRT ? "a check failed" : "a fault of memory",
                        seed_now, command_rest);
    ssize_t written = write(STDERR_FILENO, text, (size_t)size);

    (void)written;
    _exit(1);
}

/* --- one seed -------------------------------------------------------------------------------- */

static void client_counts(struct world *w)
{
    struct clients_counts c;

    clients_counts(w->clients, &c);
    w->counts.requests = c.requests;
    w->counts.replies_ok = c.replies_ok;
    w->counts.replies_err = c.replies_err;
    w->counts.unknown = c.unknown;
    w->counts.reads_checked = c.reads_checked;
    w->counts.writes_checked = c.writes_checked;
    w->counts.sessions_opened = c.sessions_opened;
    w->counts.sessions_resumed = c.sessions_resumed;
    w->counts.sessions_expired = c.sessions_expired;
}

static uint64_t run_once(const struct options *o, uint64_t seed, struct sim_counts *counts,
                         char *ret_failure, size_t cap)
{
    struct sim_mix mix;
    struct world *w;
    uint64_t trace;

    swarm_draw(seed, o->faults, &mix);
    if (o->trace) {
        swarm_print(&mix);
    }
    w = world_new(seed, &mix, o->seconds * SIM_SECOND, o->steps, o->trace);
    world_run(w);
    client_counts(w);
    report_add(counts, &w->counts);
    snprintf(ret_failure, cap, "%s", w->failure);
    trace = w->trace;
    world_free(w);
    return trace;
}

/* Returns whether all is well. */
static bool run_seed(const struct options *o, uint64_t seed, struct sim_counts *counts)
{
    char failure[512];
    uint64_t trace;

    seed_now = seed;
    trace = run_once(o, seed, counts, failure, sizeof(failure));
    if (failure[0] == '\0' && o->check_every > 0 && seed % o->check_every == 0) {
        struct sim_counts again = {0};
        uint64_t second = run_once(o, seed, &again, failure, sizeof(failure));

        if (second != trace) {
            snprintf(failure, sizeof(failure),
                     "two runs differ: trace %016" PRIx64 " and %016" PRIx64, trace, second);
        }
    }
    if (o->trace || (o->seeds == 1 && !o->quiet)) {
        printf("seed %" PRIu64 " trace %016" PRIx64 "\n", seed, trace);
    }
    if (failure[0] == '\0') {
        return true;
    }
    fflush(stdout);
    fprintf(stderr, "seed %" PRIu64 " FAILED: %s\n", seed, failure);
    print_command(stderr, seed);
    return false;
}

static bool run_apart(const struct options *o, uint64_t seed, struct sim_counts *counts)
{
    int status = 1;
    pid_t pid;

    fflush(stdout);
    fflush(stderr);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        bool ok = run_seed(o, seed, counts);

        fflush(stdout);
        _exit(ok ? 0 : 1);
    }
    while (waitpid(pid, &status, 0) != pid) { /* a signal came */
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* --- arguments ------------------------------------------------------------------------------- */

static int usage(void)
{
    fprintf(stderr, "usage: sim [--seeds N] [--first S] [--seconds SIMULATED] [--steps EVENTS]\n"
                    "           [--faults LIST] [--trace] [--keep-going] [--check-determinism]\n"
                    "           [--no-check-determinism] [--quiet]\n"
                    "LIST: faults that may happen, with commas: all, none,");
    for (int i = 0; i < SIM_FAULT_COUNT; i++) {
        fprintf(stderr, " %s", fault_names[i]);
    }
    fprintf(stderr, "\n");
    return 2;
}

static bool parse_faults(struct options *o, const char *list)
{
    char copy[512];
    char *save = NULL;

    snprintf(copy, sizeof(copy), "%s", list);
    snprintf(o->fault_list, sizeof(o->fault_list), "%s", list);
    memset(o->faults, 0, sizeof(o->faults));
    for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        bool known = strcmp(word, "none") == 0 || strcmp(word, "all") == 0;

        for (int i = 0; i < SIM_FAULT_COUNT; i++) {
            if (strcmp(word, fault_names[i]) == 0 || strcmp(word, "all") == 0) {
                o->faults[i] = known = true;
            }
        }
        if (!known) {
            fprintf(stderr, "sim: no such fault: %s\n", word);
            return false;
        }
    }
    return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"seeds", required_argument, NULL, 'n'},
        {"first", required_argument, NULL, 's'},
        {"steps", required_argument, NULL, 'k'},
        {"seconds", required_argument, NULL, 't'},
        {"faults", required_argument, NULL, 'f'},
        {"trace", no_argument, NULL, 'v'},
        {"keep-going", no_argument, NULL, 'g'},
        {"check-determinism", no_argument, NULL, 'd'},
        {"no-check-determinism", no_argument, NULL, 'D'},
        {"quiet", no_argument, NULL, 'q'},
        {NULL, 0, NULL, 0},
    };
    bool ok = true;
    int c;

    while (ok && (c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'n':
            o->seeds = strtoull(optarg, NULL, 10);
            break;
        case 's':
            o->first = strtoull(optarg, NULL, 10);
            break;
        case 'k':
            o->steps = strtoull(optarg, NULL, 10);
            break;
        case 't':
            o->seconds = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            ok = parse_faults(o, optarg);
            break;
        case 'v':
            o->trace = true;
            break;
        case 'g':
            o->keep_going = true;
            break;
        case 'd':
            o->check_every = 1;
            break;
        case 'D':
            o->check_every = 0;
            break;
        case 'q':
            o->quiet = true;
            break;
        default:
            ok = false;
            break;
        }
    }
    return ok && optind == argc && o->seeds > 0 && o->seconds > 0;
}

static void remember_command(const struct options *o)
{
    int at = snprintf(command_rest, sizeof(command_rest), " --seconds %" PRIu64, o->seconds);

    if (o->steps != UINT64_MAX) {
        at += snprintf(command_rest + at, sizeof(command_rest) - (size_t)at, " --steps %" PRIu64,
                       o->steps);
    }
    if (o->fault_list[0] != '\0') {
        snprintf(command_rest + at, sizeof(command_rest) - (size_t)at, " --faults %s",
                 o->fault_list);
    }
}

/* Of this process and of those it started: what the work cost, whoever else uses the machine. */
static double processor_seconds(void)
{
    double sum = 0;

    for (int i = 0; i < 2; i++) {
        struct rusage u;

        CHECK(getrusage(i == 0 ? RUSAGE_SELF : RUSAGE_CHILDREN, &u) == 0);
        sum += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    }
    return sum;
}

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct options o = {
        .first = 1, .seeds = 1, .steps = UINT64_MAX, .seconds = 360, .check_every = 16};
    struct sim_counts *counts =
        mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double begun = seconds_now();
    uint64_t failed = 0;

    CHECK(counts != MAP_FAILED);
    /* What one seed gave back serves the next: a seventh of the time was the kernel's. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    memset(o.faults, true, sizeof(o.faults));
    if (!parse(argc, argv, &o)) {
        return usage();
    }
    remember_command(&o);
    mallopt(M_MMAP_THRESHOLD, 1 << 20); /* a node's large rings are mapped, and never cleared */
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    signal(SIGTERM, on_stop);
    signal(SIGINT, on_stop);
    for (uint64_t i = 0; i < o.seeds && !is_stopping && (failed == 0 || o.keep_going); i++) {
        bool ok =
            o.keep_going ? run_apart(&o, o.first + i, counts) : run_seed(&o, o.first + i, counts);

        failed += !ok;
    }
    if (!o.quiet) {
        report_table(counts, seconds_now() - begun, processor_seconds());
    }
    if (failed > 0) {
        fprintf(stderr, "%" PRIu64 " of %" PRIu64 " seeds failed\n", failed, o.seeds);
    }
    munmap(counts, sizeof(*counts));
    return failed == 0 ? 0 : 1;
}
