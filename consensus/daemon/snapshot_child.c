#include "member.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "err.h"
#include "log.h"
#include "mem.h"

/* Snapshots are written by a forked child: it sees the tree frozen at the moment of the fork, while
 * the parent goes on. The child allocates nothing and takes no lock, because another thread of the
 * parent may have held one when the process was copied. It dies with its parent, and keeps none of
 * its descriptors: neither the sockets, whose peers would not see the parent's end, nor the lock on
 * the data directory. */

/* Exit statuses of the child: 0, this one, or anything else for one that may be tried again. */
enum { EXIT_DISK_FAILED = 3 };

static size_t produce(void *ctx, uint8_t *to, size_t cap)
{
    return tree_image_read(ctx, to, cap);
}

static void close_inherited(const struct vfs *vfs)
{
    unsigned dir_fd = (unsigned)vfs_posix_dir_fd(vfs);

    if (dir_fd > STDERR_FILENO + 1) {
        close_range(STDERR_FILENO + 1, dir_fd - 1, 0);
    }
    close_range(dir_fd + 1, ~0U, 0);
}

/* The handlers of the parent's loop would write to descriptors that are closed here, or, worse, are
 * now the snapshot's. Whoever stops the process group stops the child as well. */
static void signals_default(const sigset_t *mask)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
}

static _Noreturn void child(struct member *m, pid_t parent, const struct tree *tree,
                            const struct store_pos *pos, const sigset_t *mask)
{
    struct tree_image image;
    int err;

    signals_default(mask);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1); /* it died before the line above */
    }
    close_inherited(&m->vfs);
    setpriority(PRIO_PROCESS, 0, 10);
    tree_image_begin(&image, tree);
    err = store_snapshot_write(&m->vfs, m->cluster, pos, produce, &image, m->snapshot.buffer);
    _exit(err == 0 ? 0 : err == ERR_IO ? EXIT_DISK_FAILED : 1);
}

void snapshot_child_start(struct member *m, const struct tree *tree, const struct store_pos *pos)
{
    pid_t parent = getpid();
    uint64_t before_ns = uv_hrtime();
    sigset_t all, before;
    pid_t pid;

    CHECK(m->snapshot.pid == 0);
    if (m->snapshot.buffer == NULL) {
        m->snapshot.buffer = mem_alloc(STORE_SNAPSHOT_BUFFER_SIZE);
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        child(m, parent, tree, pos, &before);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        LOG_ERR("snapshot", "ev=fork_failed err=\"%s\"", strerror(errno));
        pid = -1; /* reported from the next reap, not from inside the node's call */
        kill(getpid(), SIGCHLD);
    }
    m->snapshot.pid = pid;
    m->snapshot.index = pos->index;
    m->snapshot.started_ms = member_now().mono_ms;
    LOG_INFO("snapshot", "ev=started index=%" PRIu64 " fork_us=%" PRIu64, pos->index,
             (uv_hrtime() - before_ns) / 1000);
}

void snapshot_child_reap(struct member *m)
{
    struct node_time now = member_now();
    int status = 1;
    bool ok;

    if (m->snapshot.pid == 0) {
        return;
    }
    if (m->snapshot.pid > 0 && waitpid(m->snapshot.pid, &status, WNOHANG) != m->snapshot.pid) {
        return;
    }
    ok = m->snapshot.pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    LOG_INFO("snapshot", "ev=%s index=%" PRIu64 " ms=%" PRIu64, ok ? "written" : "failed",
             m->snapshot.index, now.mono_ms - m->snapshot.started_ms);
    if (m->snapshot.pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DISK_FAILED) {
        LOG_ERR("snapshot", "ev=write_failed note=\"the disk is not written to again\"");
        member_stop(m, 1);
    }
    m->snapshot.pid = 0;
    if (!ok) {
        store_snapshot_drop(&m->vfs, m->snapshot.index); /* of a child that was ended */
    }
    if (!m->stopping) {
        node_snapshot_done(m->node, ok, &now);
        member_flush(m);
    }
}

void snapshot_child_end(struct member *m)
{
    if (m->snapshot.pid > 0) {
        kill(m->snapshot.pid, SIGKILL);
        waitpid(m->snapshot.pid, NULL, 0);
        m->snapshot.pid = -1; /* the signal that follows reports the failure */
    }
}
