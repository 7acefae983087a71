#ifndef ZABFS_CTL_RUN_H
#define ZABFS_CTL_RUN_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

/* A command as a child of this process, and the signals that come for either.
 *
 * The child dies with this process (PR_SET_PDEATHSIG). It is the leader of a process group of its
 * own, which signals go to, unless standard input is a terminal: then it stays in ours, so that it
 * may read and is stopped and interrupted from the keyboard like any other. */
struct run {
    void *ctx;
    /* A signal for us: SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2. */
    void (*on_signal)(void *ctx, int number);
    void (*on_exit)(void *ctx, int code); /* of the child, as a shell tells it */
    bool kill_rest; /* when the child has ended: SIGKILL to what is left of its own group */

    /* private */
    int fd;
    uv_poll_t poll;
    sigset_t mask; /* as it was before */
    pid_t child;   /* 0: none */
    bool own_group;
};

/* Takes over signals, of which none gets lost from here on. Fill ctx and callbacks first. */
void run_init(struct run *r, uv_loop_t *loop);
void run_close(struct run *r); /* the loop has to run once more; there must be no child */

/* `variables` are "NAME=VALUE" and NULL, added to the environment. Errors: an errno. */
int run_start(struct run *r, char **command, char *const *variables);
/* To the child. A signal that came from the keyboard it has got already, if it is in our group. */
void run_signal(const struct run *r, int number);

#endif
