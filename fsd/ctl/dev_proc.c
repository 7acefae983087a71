/* Processes of a development ensemble. A pid file alone proves nothing (the machine may have been
 * restarted since), so a process counts only if its command line names this ensemble's file or
 * mount. Nothing is ever found, or killed, by a program's name. */
#include "dev.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"

/* The argument by which a process is known. */
static void identity(const struct dev *d, enum dev_kind kind, unsigned n, char *ret)
{
    if (kind == DEV_ZABD) {
        dev_path_conf(d, n, ret);
    } else {
        dev_path_mount(d, n, ret);
    }
}

static bool has_argument(pid_t pid, const char *argument)
{
    char path[64];
    char args[4096];

    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return false;
    }
    ssize_t size = read(fd, args, sizeof(args) - 1);

    close(fd);
    if (size <= 0) { /* a zombie has no command line any more */
        return false;
    }
    args[size] = '\0';
    for (const char *at = args; at < args + size; at += strlen(at) + 1) {
        if (strcmp(at, argument) == 0) {
            return true;
        }
    }
    return false;
}

pid_t dev_pid(const struct dev *d, enum dev_kind kind, unsigned n)
{
    char path[DEV_PATH_SIZE];
    char argument[DEV_PATH_SIZE];
    int pid = 0;

    dev_path_pid(d, kind, n, path);
    FILE *f = fopen(path, "re");

    if (f == NULL) {
        return 0;
    }
    if (fscanf(f, "%d", &pid) != 1 || pid <= 0) {
        pid = 0;
    }
    fclose(f);
    identity(d, kind, n, argument);
    return pid > 0 && has_argument(pid, argument) ? pid : 0;
}

/* --- starting --------------------------------------------------------------------------------- */

/* zabd and zabfs are looked for beside this program, so that a build directory uses its own. */
static void find_program(const char *name, char ret[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (size > 0) {
        self[size] = '\0';
        snprintf(ret, PATH_MAX, "%.*s/%s", PATH_MAX - 16, dirname(self), name);
        if (access(ret, X_OK) == 0) {
            return;
        }
    }
    snprintf(ret, PATH_MAX, "%s", name); /* execvp looks along PATH */
}

/* The child's part: never returns. `report` closes with a successful exec, or carries an errno. */
static _Noreturn void exec_detached(char *const *argv, const char *log_path, int report)
{
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (log >= 0 && null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 &&
        dup2(log, STDERR_FILENO) >= 0) {
        setsid();
        signal(SIGPIPE, SIG_DFL);
        execvp(argv[0], argv);
    }
    int err_no = errno;
    ssize_t n = write(report, &err_no, sizeof(err_no));

    _exit(n == (ssize_t)sizeof(err_no) ? 127 : 126);
}

/* Returns when the child is the program; 0 after a line on stderr if it could not be. */
static pid_t spawn(char *const *argv, const char *log_path)
{
    int report[2];
    int err_no = 0;

    if (pipe2(report, O_CLOEXEC) != 0) {
        ctl_fail_errno(argv[0], errno);
        return 0;
    }
    fflush(NULL); /* or the child could print it again */
    pid_t pid = fork();

    if (pid == 0) {
        exec_detached(argv, log_path, report[1]);
    }
    err_no = pid < 0 ? errno : 0;
    close(report[1]);
    ssize_t n = read(report[0], &err_no, sizeof(err_no));

    close(report[0]);
    if (pid < 0 || n > 0) {
        ctl_fail_errno(argv[0], err_no);
        return 0;
    }
    return pid;
}

static bool write_pid(const struct dev *d, enum dev_kind kind, unsigned n, pid_t pid)
{
    char path[DEV_PATH_SIZE];

    dev_path_pid(d, kind, n, path);
    FILE *f = fopen(path, "we");

    if (f == NULL) {
        ctl_fail_errno(path, errno);
        return false;
    }
    fprintf(f, "%d\n", (int)pid);
    if (fclose(f) != 0) {
        ctl_fail_errno(path, errno);
        return false;
    }
    return true;
}

/* For an instant a new program has no command line, and could be taken for one that has ended. */
static void wait_for_argument(pid_t pid, const char *argument)
{
    siginfo_t ended = {0};

    while (!has_argument(pid, argument) &&
           waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           ended.si_pid == 0) {
        dev_pause_ms(1);
    }
}

pid_t dev_spawn(const struct dev *d, enum dev_kind kind, unsigned n)
{
    char program[PATH_MAX];
    char argument[DEV_PATH_SIZE];
    char log_path[DEV_PATH_SIZE];
    char options[DEV_SERVERS_SIZE + 16];
    char servers[DEV_SERVERS_SIZE];

    find_program(kind == DEV_ZABD ? "zabd" : "zabfs", program);
    identity(d, kind, n, argument);
    dev_path_log(d, kind, n, log_path);
    dev_servers(d, n, servers);
    snprintf(options, sizeof(options), "servers=%s", servers);
    char *zabd_argv[] = {program, "--config", argument, NULL};
    char *zabfs_argv[] = {program, "-f", "-o", options, argument, NULL};

    pid_t pid = spawn(kind == DEV_ZABD ? zabd_argv : zabfs_argv, log_path);

    if (pid == 0) {
        return 0;
    }
    if (!write_pid(d, kind, n, pid)) {
        kill(pid, SIGKILL); /* nobody could stop it later */
        return 0;
    }
    wait_for_argument(pid, argument);
    return pid;
}

/* --- stopping --------------------------------------------------------------------------------- */

static bool wait_gone(const struct dev *d, enum dev_kind kind, unsigned n, uint64_t timeout_ms)
{
    uint64_t deadline_ms = dev_now_ms() + timeout_ms;

    while (dev_pid(d, kind, n) != 0) {
        if (dev_now_ms() >= deadline_ms) {
            return false;
        }
        dev_pause_ms(20);
    }
    return true;
}

bool dev_stop(const struct dev *d, enum dev_kind kind, unsigned n, uint64_t timeout_ms)
{
    enum { KILL_MS = 5000 }; /* for the kernel to end it */
    char path[DEV_PATH_SIZE];
    pid_t pid = dev_pid(d, kind, n);

    if (pid != 0) {
        kill(pid, SIGTERM);
        if (!wait_gone(d, kind, n, timeout_ms)) {
            kill(pid, SIGKILL);
            wait_gone(d, kind, n, KILL_MS);
        }
    }
    dev_path_pid(d, kind, n, path);
    unlink(path);
    return pid != 0;
}

static bool run_fusermount(const char *path, const char *flags)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        dup2(null, STDERR_FILENO);
        execlp("fusermount3", "fusermount3", flags, path, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

bool dev_unmount(const struct dev *d, unsigned n)
{
    enum { STACKED_MAX = 8 }; /* mounts over mounts, left by processes that were killed */
    char path[DEV_PATH_SIZE];

    dev_path_mount(d, n, path);
    for (int i = 0; dev_is_mounted(d, n); i++) {
        if (i == STACKED_MAX || (!run_fusermount(path, "-u") && !run_fusermount(path, "-uz") &&
                                 umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)) {
            fprintf(stderr, "zabctl: %s: could not be unmounted\n", path);
            return false;
        }
    }
    return true;
}

/* --- log -------------------------------------------------------------------------------------- */

void dev_print_log_tail(const struct dev *d, enum dev_kind kind, unsigned n)
{
    enum { LINES = 8 };
    char path[DEV_PATH_SIZE];
    char tail[4096 + 1];

    dev_path_log(d, kind, n, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return;
    }
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > 4096 ? size - 4096 : 0;
    ssize_t got = pread(fd, tail, 4096, from);

    close(fd);
    if (got <= 0) {
        return;
    }
    tail[got] = '\0';
    char *at = tail + got - 1; /* the last byte ends the last line */
    int lines = 0;

    while (at > tail && (at[-1] != '\n' || ++lines < LINES)) {
        at--;
    }
    fprintf(stderr, "--- end of %s\n%s", path, at);
}
