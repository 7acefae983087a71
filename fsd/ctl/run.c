/* Happy path: signals are blocked and read from a descriptor in the loop; the child gets the mask
 * and the dispositions that we were started with.
 *
 * Failure modes: exec fails -> the child exits with 126 or 127, as a shell does. This process dies
 * -> the kernel sends the child SIGTERM. */
#include "run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "ctl.h"

static int exit_code(int status)
{
    return WIFSIGNALED(status) ? CTL_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

/* While it is not reaped, its number and that of its group are nobody else's. */
static void reap(struct run *r)
{
    siginfo_t info = {.si_pid = 0};
    int status;
    pid_t pid = r->child;

    if (pid == 0 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0) {
        return;
    }
    if (r->own_group && r->kill_rest) {
        kill(-pid, SIGKILL);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    r->child = 0;
    r->on_exit(r->ctx, exit_code(status));
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct run *r = poll->data;
    struct signalfd_siginfo info;

    (void)status;
    (void)events;
    while (read(r->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        int number = (int)info.ssi_signo;
        bool keyboard = info.ssi_code == SI_KERNEL && (number == SIGINT || number == SIGQUIT);

        if (number == SIGCHLD) {
            reap(r);
        } else if (!(keyboard && r->child != 0 && !r->own_group)) { /* else the child has it, too */
            r->on_signal(r->ctx, number);
        }
    }
}

void run_init(struct run *r, uv_loop_t *loop)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct sigaction action;

        sigaction(numbers[i], NULL, &action);
        if (action.sa_handler != SIG_IGN || numbers[i] == SIGCHLD) { /* nohup(1) stays nohup */
            sigaddset(&set, numbers[i]);
        }
    }
    sigprocmask(SIG_BLOCK, &set, &r->mask);
    r->child = 0;
    r->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(r->fd >= 0);
    CHECK(uv_poll_init(loop, &r->poll, r->fd) == 0);
    r->poll.data = r;
    uv_poll_start(&r->poll, UV_READABLE, on_readable);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct run *r = handle->data;

    close(r->fd);
    sigprocmask(SIG_SETMASK, &r->mask, NULL);
}

void run_close(struct run *r)
{
    CHECK(r->child == 0);
    uv_close((uv_handle_t *)&r->poll, on_poll_closed);
}

_Noreturn static void become(struct run *r, pid_t parent, char **command, char *const *variables)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        raise(SIGKILL); /* it died before it could be told */
    }
    if (r->own_group) {
        setpgid(0, 0);
    }
    for (; *variables != NULL; variables++) {
        putenv(*variables);
    }
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &r->mask, NULL);
    execvp(command[0], command);
    fprintf(stderr, "zabctl: %s: %s\n", command[0], strerror(errno));
    _exit(errno == ENOENT ? CTL_NO_PROGRAM : CTL_CANNOT_RUN);
}

int run_start(struct run *r, char **command, char *const *variables)
{
    pid_t self = getpid();
    pid_t pid;

    CHECK(r->child == 0);
    r->own_group = isatty(STDIN_FILENO) == 0;
    fflush(NULL); /* or the child might print it again */
    pid = fork();
    if (pid < 0) {
        return errno;
    }
    if (pid == 0) {
        become(r, self, command, variables);
    }
    if (r->own_group) {
        setpgid(pid, pid); /* whoever of both comes first */
    }
    r->child = pid;
    return 0;
}

void run_signal(const struct run *r, int number)
{
    if (r->child != 0) {
        kill(r->own_group ? -r->child : r->child, number);
    }
}
