/* Happy path: fork, wait for the signal by which the kernel tells of the parent's end, or for
 * SIGKILL from an orderly one. The signal comes when the parent's main thread has ended, whatever
 * its other threads still wait for.
 *
 * The connection is ended through fusectl where that is mounted: its file belongs to whoever
 * mounted. Else by a forced umount, which only root may do; it ends the connection first, and then
 * fails, as the mount is in use by the descriptor that names it. So the dead mount stays and says
 * ENOTCONN until the next start replaces it. */
#include "watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

static void end_connection(const char *mountpoint, dev_t dev)
{
    char path[64];
    int root, fd;

    snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", minor(dev));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "1", 1) == 1) {
        return;
    }
    root = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", root);
    (void)umount2(path, MNT_FORCE);
}

/* Keeps nothing open: neither the shell's files, nor /dev/fuse, nor the mount, which would be in
 * use. */
static void let_go(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int fd = 0; null >= 0 && fd < 3; fd++) {
        dup2(null, fd);
    }
    close_range(3, ~0U, 0);
}

static _Noreturn void watch(const char *mountpoint, dev_t dev, pid_t parent)
{
    sigset_t ended;

    let_go();
    prctl(PR_SET_NAME, "zabfs-watchdog");
    setsid();
    sigemptyset(&ended);
    sigaddset(&ended, SIGUSR1);
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    while (getppid() == parent) {
        siginfo_t info;

        if (sigwaitinfo(&ended, &info) == SIGUSR1 || errno != EINTR) {
            break;
        }
    }
    end_connection(mountpoint, dev);
    _exit(0);
}

pid_t watchdog_start(const char *mountpoint, dev_t dev)
{
    sigset_t all, before;
    pid_t parent = getpid();
    pid_t pid;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before); /* the child keeps that: nothing else may end it */
    pid = fork();
    if (pid == 0) {
        watch(mountpoint, dev, parent);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        LOG_WARN("mount", "ev=no_watchdog errno=%d", errno);
        return 0;
    }
    return pid;
}

void watchdog_end(pid_t pid)
{
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}
