/* zabctl dev up|down|status.
 *
 * up: configuration if there is none, members, wait for a leader, mounts, wait for each. Every step
 * skips what is there, so that a second `up` repairs what a first one, or a kill, left half done.
 * It fails at the first step that does not succeed and leaves what runs running: its logs are what
 * one wants to see, and `down` cleans up. */
#include "dev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "print.h"
#include "probe.h"

enum {
    UP_MS = 30000,
    STOP_MS = 5000, /* from SIGTERM to SIGKILL */
    STATUS_MS = 1000,
    PORTS_MS = 5000,
};

/* One up or down at a time for a directory. Held until this process ends. */
static int lock_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return ctl_fail_errno(dir, errno);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        fprintf(stderr, "zabctl: %s: another dev up or down is at work there\n", dir);
        return CTL_FAILED;
    }
    return CTL_OK;
}

static int start(const struct dev *d, enum dev_kind kind, unsigned n, bool *ret_running)
{
    *ret_running = dev_pid(d, kind, n) != 0;
    if (*ret_running) {
        return CTL_OK;
    }
    if (kind == DEV_ZABD) {
        dev_wait_ports(d, n, dev_now_ms() + PORTS_MS);
    }
    return dev_spawn(d, kind, n) != 0 ? CTL_OK : CTL_FAILED;
}

static int start_members(const struct dev *d, uint64_t deadline_ms)
{
    unsigned leader = 0;

    for (unsigned n = 1; n <= d->count; n++) {
        bool running;

        if (start(d, DEV_ZABD, n, &running) != CTL_OK) {
            return CTL_FAILED;
        }
        printf("member %u: %s, pid %d, clients at 127.0.0.1:%u\n", n,
               running ? "running" : "started", (int)dev_pid(d, DEV_ZABD, n),
               d->members[n].client_port);
        fflush(stdout);
    }
    if (dev_wait_members(d, deadline_ms, &leader) != CTL_OK) {
        return CTL_FAILED;
    }
    printf("member %u leads\n", leader);
    fflush(stdout);
    return CTL_OK;
}

/* A mount whose process runs but does not answer any more stays as it is and is reported; one whose
 * process died is replaced by the new process. */
static int start_mounts(const struct dev *d, uint64_t deadline_ms)
{
    for (unsigned n = 1; n <= d->count; n++) {
        char path[DEV_PATH_SIZE];
        bool running;

        if (start(d, DEV_ZABFS, n, &running) != CTL_OK ||
            dev_wait_mount(d, n, deadline_ms) != CTL_OK) {
            return CTL_FAILED;
        }
        dev_path_mount(d, n, path);
        printf("mount %u: %s, pid %d, %s\n", n, running ? "running" : "mounted",
               (int)dev_pid(d, DEV_ZABFS, n), path);
        fflush(stdout);
    }
    return CTL_OK;
}

static int dev_up(const struct ctl_args *args)
{
    uint64_t timeout_ms = args->deadline_ms != 0 ? args->deadline_ms : UP_MS;
    uint64_t deadline_ms = dev_now_ms() + timeout_ms;
    struct dev d;
    bool made = mkdir(args->dir, 0755) == 0;

    if (!made && errno != EEXIST) {
        return ctl_fail_errno(args->dir, errno);
    }
    int code = lock_dir(args->dir);

    if (code == CTL_OK) {
        code = dev_create(args->dir, args->members, &d);
    }
    if (code == CTL_USAGE && made) {
        rmdir(args->dir); /* what was wrong leaves nothing behind */
    }
    if (code == CTL_OK) {
        code = start_members(&d, deadline_ms);
    }
    if (code == CTL_OK) {
        code = start_mounts(&d, deadline_ms);
    }
    return code;
}

static int dev_down(const struct ctl_args *args)
{
    uint64_t timeout_ms = args->deadline_ms != 0 ? args->deadline_ms : STOP_MS;
    struct dev d;
    int code = lock_dir(args->dir);

    if (code == CTL_OK) {
        code = dev_load(args->dir, &d);
    }
    if (code != CTL_OK) {
        return code;
    }
    for (unsigned n = 1; n <= d.count; n++) {
        bool was_there = dev_is_mounted(&d, n) || dev_pid(&d, DEV_ZABFS, n) != 0;

        if (!dev_unmount(&d, n)) {
            code = CTL_FAILED;
        }
        /* Its process ends by itself now, but perhaps not at once. */
        dev_stop(&d, DEV_ZABFS, n, timeout_ms);
        if (was_there) {
            printf("mount %u: stopped\n", n);
        }
    }
    for (unsigned n = 1; n <= d.count; n++) {
        if (dev_stop(&d, DEV_ZABD, n, timeout_ms)) {
            printf("member %u: stopped\n", n);
        }
    }
    return code;
}

/* --- status ----------------------------------------------------------------------------------- */

struct member_line {
    char role[24];
    char epoch[24];
    char commit[24];
    pid_t pid;
    const char *mount;
    pid_t mount_pid;
};

static void look_at(const struct dev *d, unsigned n, struct member_line *ret)
{
    char server[DEV_SERVERS_SIZE];
    struct probe_status status;
    struct member_line line = {
        .role = "down",
        .epoch = "-",
        .commit = "-",
        .pid = dev_pid(d, DEV_ZABD, n),
        .mount_pid = dev_pid(d, DEV_ZABFS, n),
    };

    dev_server(d, n, server);
    if (line.pid != 0 && probe_status_get(server, STATUS_MS, &status) == 0) {
        probe_status_text(&status, "role", line.role, sizeof(line.role));
        probe_status_text(&status, "epoch", line.epoch, sizeof(line.epoch));
        probe_status_text(&status, "commit", line.commit, sizeof(line.commit));
        probe_status_done(&status);
    } else if (line.pid != 0) {
        memcpy(line.role, "silent", sizeof("silent"));
    }
    if (!dev_is_mounted(d, n)) {
        line.mount = "none";
    } else if (line.mount_pid == 0) {
        line.mount = "dead";
    } else {
        line.mount = dev_is_live(d, n, STATUS_MS) ? "live" : "silent";
    }
    *ret = line;
}

static void print_json_number(const char *key, const char *text)
{
    struct name value = {.bytes = text, .size = (uint32_t)strlen(text)};

    printf(",\"%s\":", key);
    if (strcmp(text, "-") == 0) {
        fputs("null", stdout);
    } else {
        print_json_value(stdout, &value);
    }
}

static int dev_status(const struct ctl_args *args)
{
    bool json = ctl_wants_json(args);
    struct dev d;
    int code = dev_load(args->dir, &d);

    if (code != CTL_OK) {
        return code;
    }
    for (unsigned n = 1; n <= d.count; n++) {
        struct member_line l;

        look_at(&d, n, &l);
        if (!json) {
            printf("member=%u role=%s epoch=%s commit=%s pid=%d mount=%s mount_pid=%d\n", n, l.role,
                   l.epoch, l.commit, (int)l.pid, l.mount, (int)l.mount_pid);
            continue;
        }
        printf("%s{\"member\":%u,\"role\":\"%s\"", n == 1 ? "[" : ",\n", n, l.role);
        print_json_number("epoch", l.epoch);
        print_json_number("commit", l.commit);
        printf(",\"pid\":%d,\"mount\":\"%s\",\"mount_pid\":%d}", (int)l.pid, l.mount,
               (int)l.mount_pid);
    }
    fputs(json ? "]\n" : "", stdout);
    return CTL_OK;
}

int ctl_run_dev(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    (void)s;
    if (args->dir == NULL) {
        return ctl_usage("dev %s: --dir DIR is missing", words[0]);
    }
    if (strcmp(words[0], "up") == 0) {
        return dev_up(args);
    }
    if (args->members != 0) {
        return ctl_usage("dev %s: --members is for dev up", words[0]);
    }
    if (strcmp(words[0], "down") == 0) {
        return dev_down(args);
    }
    if (strcmp(words[0], "status") == 0) {
        return dev_status(args);
    }
    return ctl_usage("dev: '%s' is none of up, down, status", words[0]);
}
