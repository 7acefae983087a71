/* zabfs: mounts the tree of an ensemble. The program checks its command line and the mount point,
 * goes into the background, and returns to the shell when the mount is live. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mount_int.h"
#include "mountpoint.h"
#include "options.h"
#include "replay_int.h"

enum { EXIT_USAGE = 2 };

static const char help[] =
    "zabfs [-f] [-o OPTIONS] [SERVERS] MOUNTPOINT\n"
    "Mounts the tree that an ensemble of zabd keeps.\n\n"
    "  -f                        stay in the foreground\n"
    "  -o servers=LIST           members to talk to: unix:PATH+HOST:PORT+...\n"
    "  -o deadline=SECONDS       for an operation to end (10)\n"
    "  -o session_timeout=SECONDS  until the ensemble takes a silent mount for dead (10)\n"
    "  -o reads=local|linearizable  what this mount's member knows (local), or all that was\n"
    "                            committed anywhere before; an error if that cannot be known\n"
    "  -o local=GLOB:GLOB:...    files that stay in this mount's memory, and are nobody else's;\n"
    "                            empty for none (.*.sw?:.*.sw?x:*~:4913:.#*:#*#)\n"
    "  -o helpers=N              processes that repeat remote changes for inotify (4)\n"
    "  -o awake=0|1              keep the machine's processors from sleeping while somebody waits\n"
    "                            for this mount (1)\n"
    "  -o log=FILE, log_level=error|warn|info|debug, pidfile=FILE\n"
    "  -o ro, noexec, noatime, ...  as for mount(8)\n";

struct start {
    const struct options *options;
    int ready; /* pipe to the waiting parent, or -1 */
    bool is_live;
};

static void write_pid(const struct options *o)
{
    FILE *f;

    if (o->pid_path[0] == '\0') {
        return;
    }
    f = fopen(o->pid_path, "we");
    if (f == NULL) {
        LOG_ERR("mount", "ev=no_pidfile path=%s errno=%d", o->pid_path, errno);
        return;
    }
    fprintf(f, "%d\n", (int)getpid());
    fclose(f);
}

/* Lets go of what belongs to the shell: from here on errors go to the log. */
static void leave_shell(int ready)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    char ok = 0;

    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        close(null);
    }
    if (write(ready, &ok, 1) != 1) {
        LOG_WARN("mount", "ev=starter_gone");
    }
    close(ready);
}

static void on_live(void *ctx)
{
    struct start *s = ctx;

    write_pid(s->options);
    s->is_live = true;
    LOG_INFO("mount", "ev=live mountpoint=%s", s->options->mountpoint);
    if (s->ready >= 0) {
        leave_shell(s->ready);
        s->ready = -1;
    }
}

/* The starting process: exits when the mount is live, or with the code of what went wrong. */
static int wait_live(pid_t pid, int ready)
{
    char byte;
    int status;
    ssize_t n;

    do {
        n = read(ready, &byte, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 1) {
        return 0;
    }
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        return WEXITSTATUS(status);
    }
    fprintf(stderr, "zabfs: ended before the mount was live\n");
    return 1;
}

static int run(struct start *s)
{
    int code = session_run(s->options, on_live, s);

    if (s->is_live && s->options->pid_path[0] != '\0') {
        unlink(s->options->pid_path);
    }
    return code;
}

static int run_in_background(struct start *s)
{
    int ready[2];
    pid_t pid;

    if (pipe2(ready, O_CLOEXEC) != 0) {
        perror("zabfs: pipe");
        return 1;
    }
    pid = fork();
    if (pid < 0) {
        perror("zabfs: fork");
        return 1;
    }
    if (pid > 0) {
        close(ready[1]);
        return wait_live(pid, ready[0]);
    }
    close(ready[0]);
    s->ready = ready[1];
    if (setsid() < 0 || chdir("/") != 0) {
        perror("zabfs: background");
        return 1;
    }
    return run(s);
}

static int open_log(const struct options *o)
{
    const char *path = o->log_path;
    int fd;

    log_set_level(o->log_level);
    if (path[0] == '\0' && o->foreground) {
        return 0; /* to stderr */
    }
    if (path[0] == '\0') {
        path = "/dev/null";
    }
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        fprintf(stderr, "zabfs: log %s: %s\n", path, strerror(errno));
        return -1;
    }
    log_set_fd(fd);
    return 0;
}

/* In the background paths must not depend on where the program was started. */
static bool make_absolute(char *path)
{
    char text[OPTION_TEXT_SIZE];
    char *dir;
    int n;

    if (path[0] == '\0' || path[0] == '/') {
        return true;
    }
    dir = getcwd(NULL, 0);
    n = snprintf(text, sizeof(text), "%s/%s", dir != NULL ? dir : "", path);
    free(dir);
    if (n < 0 || (size_t)n >= sizeof(text)) {
        return false;
    }
    memcpy(path, text, (size_t)n + 1);
    return true;
}

int main(int argc, char **argv)
{
    static struct options o;
    struct start s = {.options = &o, .ready = -1};
    char mountpoint[OPTION_TEXT_SIZE] = "";
    char why[512];

    if (argc > 1 && strcmp(argv[1], REPLAY_HELPER_ARG) == 0) {
        return replay_helper_main(argc, argv);
    }
    if (options_parse(argc, argv, geteuid() == 0, &o, why, sizeof(why)) != 0) {
        fprintf(stderr, "zabfs: %s\n", why);
        return EXIT_USAGE;
    }
    if (o.help) {
        fputs(help, stdout);
        return 0;
    }
    close_range(3, ~0U, 0); /* what the shell had open is not ours to keep open */
    if (!make_absolute(o.log_path) || !make_absolute(o.pid_path)) {
        fprintf(stderr, "zabfs: path too long\n");
        return EXIT_USAGE;
    }
    if (mountpoint_prepare(o.mountpoint, mountpoint, sizeof(mountpoint), why, sizeof(why)) != 0) {
        fprintf(stderr, "zabfs: %s\n", why);
        return EXIT_USAGE;
    }
    memcpy(o.mountpoint, mountpoint, sizeof(mountpoint));
    if (open_log(&o) != 0) {
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    return o.foreground ? run(&s) : run_in_background(&s);
}
