/* When is it up? A member when it answers OP_STATUS, the ensemble when one of them leads a quorum,
 * a mount when a statfs(2) on it comes back, which its member has answered. */
#include "dev.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "err.h"
#include "probe.h"

enum {
    POLL_MS = 50,
    ANSWER_MS = 1000, /* for one question */
};

uint64_t dev_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void dev_pause_ms(unsigned ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&pause, NULL);
}

bool dev_is_mounted(const struct dev *d, unsigned n)
{
    char path[DEV_PATH_SIZE];
    char *line = NULL;
    size_t cap = 0;
    bool found = false;
    FILE *f = fopen("/proc/self/mountinfo", "re");

    if (f == NULL) {
        return false;
    }
    dev_path_mount(d, n, path);
    while (!found && getline(&line, &cap, f) > 0) {
        char *rest = line;
        const char *field = NULL;

        for (int i = 0; i < 5; i++) { /* the fifth is the mount point */
            field = strsep(&rest, " ");
        }
        found = field != NULL && strcmp(field, path) == 0;
    }
    free(line);
    fclose(f);
    return found;
}

bool dev_is_live(const struct dev *d, unsigned n, uint64_t timeout_ms)
{
    char path[DEV_PATH_SIZE];
    struct statfs fs;
    uint64_t deadline_ms = dev_now_ms() + timeout_ms;
    int status;

    if (!dev_is_mounted(d, n)) {
        return false;
    }
    dev_path_mount(d, n, path);
    pid_t pid = fork();

    if (pid == 0) {
        close_range(3, ~0u, 0); /* if it hangs, it must not hold our lock */
        _exit(statfs(path, &fs) == 0 ? 0 : 1);
    }
    if (pid < 0) {
        return false;
    }
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (dev_now_ms() >= deadline_ms) {
            kill(pid, SIGKILL); /* takes effect when the mount answers or goes */
            return false;
        }
        dev_pause_ms(2);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int say_not_up(const struct dev *d, enum dev_kind kind, unsigned n, const char *what)
{
    fprintf(stderr, "zabctl: %s %u: %s\n", kind == DEV_ZABD ? "member" : "mount", n, what);
    dev_print_log_tail(d, kind, n);
    return CTL_FAILED;
}

/* True if member n answers; notes it as the leader if it has a quorum. */
static bool ask_member(const struct dev *d, unsigned n, unsigned *leader)
{
    char server[DEV_SERVERS_SIZE];
    char role[16];
    char quorum[8];
    struct probe_status status;

    dev_server(d, n, server);
    if (probe_status_get(server, ANSWER_MS, &status) != 0) {
        return false;
    }
    probe_status_text(&status, "role", role, sizeof(role));
    probe_status_text(&status, "quorum", quorum, sizeof(quorum));
    probe_status_done(&status);
    if (strcmp(role, "leader") == 0 && strcmp(quorum, "yes") == 0) {
        *leader = n;
    }
    return true;
}

int dev_wait_members(const struct dev *d, uint64_t deadline_ms, unsigned *ret_leader)
{
    for (;;) {
        unsigned leader = 0;
        unsigned silent = 0;

        for (unsigned n = 1; n <= d->count; n++) {
            if (dev_pid(d, DEV_ZABD, n) == 0) {
                return say_not_up(d, DEV_ZABD, n, "ended");
            }
            silent = ask_member(d, n, &leader) ? silent : n;
        }
        if (leader != 0 && silent == 0) {
            *ret_leader = leader;
            return CTL_OK;
        }
        if (dev_now_ms() >= deadline_ms) {
            unsigned n = silent != 0 ? silent : 1;

            return say_not_up(d, DEV_ZABD, n,
                              silent != 0 ? "does not answer" : "no leader was elected in time");
        }
        dev_pause_ms(POLL_MS);
    }
}

int dev_wait_mount(const struct dev *d, unsigned n, uint64_t deadline_ms)
{
    while (!dev_is_live(d, n, ANSWER_MS)) {
        if (dev_pid(d, DEV_ZABFS, n) == 0) {
            return say_not_up(d, DEV_ZABFS, n, "ended");
        }
        if (dev_now_ms() >= deadline_ms) {
            return say_not_up(d, DEV_ZABFS, n, "does not answer");
        }
        dev_pause_ms(POLL_MS);
    }
    return CTL_OK;
}
