/* The loop: requests of the kernel come in from the FUSE descriptor, answers and events from the
 * client session, and nothing here blocks.
 *
 * Start: open the client session, mount, serve. The mount is live when the kernel's INIT was
 * answered and a member was reached, or some seconds have passed without one: then it serves what
 * it can, and operations fail by their deadlines.
 *
 * End, by a signal or because someone unmounted: the client session is closed, which ends all
 * requests that wait for it; helpers and the notify thread finish what they do, which may need
 * answers, so the descriptor is served until they are gone; then the mount is taken down. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "check.h"
#include "control.h"
#include "ephemeral.h"
#include "err.h"
#include "event_int.h"
#include "events.h"
#include "limits.h"
#include "lock.h"
#include "log.h"
#include "mem.h"
#include "mountpoint.h"
#include "op_local.h"
#include "watchdog.h"

enum {
    REQUESTS_PER_TURN = 64, /* then other descriptors get their turn */
    LINGER_NS = 60000,      /* awake after the last thing was done, while somebody is asking ... */
    ASKING_NS = 1000000,    /* ... which he is so long after a request */
    LIVE_WAIT_MS = 3000,    /* for a member, at the start */
    END_WAIT_MS = 6000,     /* for an orderly end */
};

/* --- going live ------------------------------------------------------------------------------ */

static void live(struct mount *m)
{
    void (*on_live)(void *ctx) = m->on_live;

    if (on_live != NULL && m->initialised) {
        m->on_live = NULL;
        uv_timer_stop(&m->live_timer);
        on_live(m->live_ctx);
    }
}

static void on_live_timer(uv_timer_t *t)
{
    live(t->data);
}

void session_on_init(void *userdata, struct fuse_conn_info *conn)
{
    struct mount *m = userdata;

    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                              FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA |
                              FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_POSIX_ACL);
    conn->want |= conn->capable & (FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_PARALLEL_DIROPS);
    if (m->options->linearizable) { /* then the kernel may keep no attributes of a listing */
        conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
    } else {
        conn->want |= conn->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
    }
    conn->time_gran = 1;
    m->initialised = true;
    replay_start(m->replay);
    if (m->attached) {
        live(m);
    }
}

/* --- the end --------------------------------------------------------------------------------- */

static void finish_when_all_ended(struct mount *m)
{
    if (!m->client_ended || !m->replay_ended || !m->notify_ended) {
        return;
    }
    awake_done(&m->awake);
    uv_close((uv_handle_t *)&m->fuse_poll, NULL);
    uv_close((uv_handle_t *)&m->interest_timer, NULL);
    uv_close((uv_handle_t *)&m->interrupt_timer, NULL);
    uv_close((uv_handle_t *)&m->locks.timer, NULL);
    uv_close((uv_handle_t *)&m->live_timer, NULL);
    ephemeral_end(m);
    uv_close((uv_handle_t *)&m->end_timer, NULL);
    for (int n = 0; n < SIGNAL_COUNT; n++) {
        uv_close((uv_handle_t *)&m->signals[n], NULL);
    }
}

static void on_client_closed(void *ctx)
{
    struct mount *m = ctx;

    m->client_ended = true;
    notify_end(m->notify); /* no call is left that could order anything */
    finish_when_all_ended(m);
}

static void on_replay_ended(void *ctx)
{
    struct mount *m = ctx;

    m->replay_ended = true;
    finish_when_all_ended(m);
}

static void on_notify_ended(void *ctx)
{
    struct mount *m = ctx;

    m->notify_ended = true;
    finish_when_all_ended(m);
}

static void on_end_timer(uv_timer_t *t)
{
    struct mount *m = t->data;

    LOG_ERR("mount", "ev=end_forced client=%d helpers=%d notify=%d", m->client_ended,
            m->replay_ended, m->notify_ended);
    fuse_session_unmount(m->fuse);
    _exit(1);
}

static void end(struct mount *m, const char *why)
{
    struct client *client = m->client;

    if (m->ending) {
        return;
    }
    LOG_INFO("mount", "ev=ending why=%s", why);
    m->ending = true;
    m->attached = false;
    m->client = NULL;
    lock_end(m);
    events_end(m);
    uv_timer_start(&m->end_timer, on_end_timer, END_WAIT_MS, 0);
    replay_end(m->replay, on_replay_ended, m);
    client_close(client, CLOSE_WAIT_MS, on_client_closed, m);
}

static void on_signal(uv_signal_t *s, int number)
{
    end(s->data, number == SIGTERM ? "SIGTERM" : number == SIGINT ? "SIGINT" : "SIGHUP");
}

/* --- requests -------------------------------------------------------------------------------- */

static void note_request(struct mount *m)
{
    const struct fuse_in_header *h = m->request.mem;

    awake_use(&m->awake);
    if (h->pid == 0 || replay_is_helper(m->replay, (pid_t)h->pid)) {
        return; /* the kernel for itself, or we ourselves: nobody who reads */
    }
    m->asked_ns = uv_hrtime();
    m->asker_is_alone = h->pid == m->asker;
    m->asker = h->pid;
}

static void handle_requests(struct mount *m)
{
    for (int n = 0; n < REQUESTS_PER_TURN; n++) {
        int size = fuse_session_receive_buf(m->fuse, &m->request);

        if (size == -EINTR) {
            continue;
        }
        if (size == -EAGAIN) {
            return;
        }
        if (size <= 0) {
            uv_poll_stop(&m->fuse_poll);
            end(m, "unmounted");
            return;
        }
        note_request(m);
        fuse_session_process_buf(m->fuse, &m->request);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct mount *m = poll->data;

    (void)status; /* an error condition is what unmounting looks like; reading tells */
    (void)events;
    handle_requests(m);
    linear_send(m);
}

/* A program that got its answer asks the next thing within microseconds, before this thread would
 * have gone to sleep and been woken. So the loop goes on looking for a moment while one program
 * reads what is known here. Not for several, who need the processor; not while the ensemble is
 * asked for something, or was just now, and not while changes are repeated: those who do that need
 * it, too. */
static bool lingers(const struct mount *m, uint64_t since_ns)
{
    uint64_t now_ns = uv_hrtime();
    struct replay_info replay;

    if (!m->asker_is_alone || now_ns - since_ns >= LINGER_NS || now_ns - m->asked_ns >= ASKING_NS ||
        now_ns - m->submitted_ns < ASKING_NS) {
        return false;
    }
    replay_info(m->replay, &replay);
    return replay.queued == 0;
}

static void serve(struct mount *m)
{
    while (uv_run(m->loop, UV_RUN_ONCE) != 0) {
        uint64_t since_ns = uv_hrtime();

        while (lingers(m, since_ns)) {
            uint64_t asked_ns = m->asked_ns;

            if (uv_run(m->loop, UV_RUN_NOWAIT) == 0) {
                return;
            }
            since_ns = m->asked_ns != asked_ns ? m->asked_ns : since_ns;
        }
    }
}

static void on_marker(void *ctx, void *arg)
{
    (void)ctx;
    call_marker_passed(arg);
}

/* --- client session -------------------------------------------------------------------------- */

static void on_event(void *ctx, const struct event *e)
{
    struct mount *m = ctx;

    awake_use(&m->awake);
    if (m->client != NULL) {
        event_handle(m, e);
        events_add(m, e);
    }
}

static void on_attach(void *ctx, bool fresh)
{
    struct mount *m = ctx;
    struct client_info info;

    if (m->client == NULL) {
        return;
    }
    client_info(m->client, &info);
    LOG_INFO("mount", "ev=attached member=%u session=%llu fresh=%d", info.member,
             (unsigned long long)info.session, fresh);
    if (fresh && m->session != 0) {
        m->session_count++;
        event_forget_all(m);
        lock_on_session_lost(m);
    }
    if (fresh) {
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        m->session_since_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    m->session = info.session;
    m->value_size_max = info.value_size_max != 0 ? info.value_size_max : VALUE_SIZE_DEFAULT;
    m->attached = true;
    interest_attach(m, fresh);
    lock_on_attach(m);
    events_on_attach(m);
    live(m);
}

static void on_detach(void *ctx)
{
    struct mount *m = ctx;
    struct client_info info;

    m->attached = false;
    m->detached_ms = uv_now(m->loop);
    if (m->client == NULL) {
        return;
    }
    client_info(m->client, &info);
    interest_detach(m, info.index_seen);
    LOG_WARN("mount", "ev=detached member=%u index=%llu", info.member,
             (unsigned long long)m->detached_index);
}

static void on_inode_free(void *ctx, struct inode *i)
{
    struct mount *m = ctx;

    value_cache_drop(&m->values, i);
}

/* --- start ----------------------------------------------------------------------------------- */

static int open_client(struct mount *m)
{
    static const struct client_ops ops = {
        .on_event = on_event, .on_attach = on_attach, .on_detach = on_detach};
    char host[HOST_NAME_MAX + 1] = "";
    char label[CLIENT_LABEL_SIZE_MAX + 1];
    struct client_conf conf = {.servers = m->options->servers,
                               .label = label,
                               .session_timeout_ms = m->options->session_timeout_ms,
                               .deadline_ms = m->options->deadline_ms,
                               .seed = uv_hrtime() ^ (uint64_t)getpid()};
    int err;

    gethostname(host, sizeof(host) - 1);
    snprintf(label, sizeof(label), "%.24s:%.39s", host, m->options->mountpoint);
    err = client_new(m->loop, &conf, &ops, m, &m->client);
    if (err != 0) {
        fprintf(stderr, "zabfs: servers %.300s: %s\n", m->options->servers, err_text(err));
    }
    return err;
}

static int open_fuse(struct mount *m)
{
    char *argv[] = {(char *)"zabfs", (char *)"-o", (char *)m->options->fuse, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, argv);
    int fd;

    m->fuse = fuse_session_new(&args, &op_table, sizeof(op_table), m);
    fuse_opt_free_args(&args);
    if (m->fuse == NULL) {
        return -1; /* libfuse has said why */
    }
    if (fuse_session_mount(m->fuse, m->options->mountpoint) != 0) {
        fuse_session_destroy(m->fuse);
        return -1;
    }
    fd = fuse_session_fd(m->fuse);
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        fuse_session_unmount(m->fuse);
        fuse_session_destroy(m->fuse);
        return -1;
    }
    return 0;
}

static void start(struct mount *m)
{
    struct replay_conf conf = {.loop = m->loop,
                               .inodes = &m->inodes,
                               .helpers = m->options->helpers,
                               .mountpoint = m->options->mountpoint};

    if (mountpoint_dev(m->options->mountpoint, &conf.dev) != 0) {
        LOG_ERR("mount", "ev=device_unknown effect=no_replays"); /* 0:0 is no mount's */
    } else {
        m->watchdog = watchdog_start(m->options->mountpoint, conf.dev);
    }
    m->detached_ms = uv_now(m->loop);
    awake_init(&m->awake, m->loop, m->options->awake);
    m->notify = notify_new(m->loop, m->fuse, on_marker, on_notify_ended, m);
    m->replay = replay_new(&conf);
    CHECK(uv_poll_init(m->loop, &m->fuse_poll, fuse_session_fd(m->fuse)) == 0);
    m->fuse_poll.data = m;
    CHECK(uv_poll_start(&m->fuse_poll, UV_READABLE, on_readable) == 0);
    for (int n = 0; n < SIGNAL_COUNT; n++) {
        static const int numbers[SIGNAL_COUNT] = {SIGTERM, SIGINT, SIGHUP};

        CHECK(uv_signal_init(m->loop, &m->signals[n]) == 0);
        m->signals[n].data = m;
        CHECK(uv_signal_start(&m->signals[n], on_signal, numbers[n]) == 0);
    }
    CHECK(uv_timer_init(m->loop, &m->interest_timer) == 0);
    CHECK(uv_timer_init(m->loop, &m->interrupt_timer) == 0);
    CHECK(uv_timer_init(m->loop, &m->locks.timer) == 0);
    CHECK(uv_timer_init(m->loop, &m->live_timer) == 0);
    CHECK(uv_timer_init(m->loop, &m->end_timer) == 0);
    ephemeral_start(m);
    m->interest_timer.data = m->interrupt_timer.data = m;
    m->locks.timer.data = m;
    m->live_timer.data = m->end_timer.data = m;
    uv_timer_start(&m->live_timer, on_live_timer, LIVE_WAIT_MS, 0);
}

static void clean_up(struct mount *m)
{
    while (m->handles != NULL) { /* files that were open when the mount was taken away */
        handle_free(m, m->handles);
    }
    event_move_settle(m);
    ephemeral_done(m);
    control_done(m);
    notify_free(m->notify);
    replay_free(m->replay);
    free(m->request.mem);
}

static void nothing(void *ctx)
{
    (void)ctx;
}

int session_run(const struct options *o, void (*on_live)(void *ctx), void *ctx)
{
    uv_loop_t loop;
    struct mount m = {.options = o,
                      .loop = &loop,
                      .session_count = 1,
                      .value_size_max = VALUE_SIZE_DEFAULT,
                      .on_live = on_live,
                      .live_ctx = ctx};
    int code = 0;

    CHECK(uv_loop_init(&loop) == 0);
    value_cache_init(&m.values, VALUE_CACHE_SIZE_MAX);
    inodes_init(&m.inodes);
    m.inodes.on_free = on_inode_free;
    m.inodes.ctx = &m;
    m.locals =
        (struct locals){.patterns = o->local, .inodes = &m.inodes, .on_free = op_local_locks_done};
    if (open_client(&m) != 0) {
        code = 2;
    } else if (open_fuse(&m) != 0) {
        code = 2;
        fprintf(stderr, "zabfs: mount point %s: cannot mount\n", o->mountpoint);
        client_close(m.client, 0, nothing, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
    } else {
        start(&m);
        serve(&m);
        watchdog_end(m.watchdog);
        fuse_session_unmount(m.fuse);
        clean_up(&m);
        fuse_session_destroy(m.fuse);
    }
    locals_done(&m.locals);
    inodes_done(&m.inodes);
    CHECK(uv_loop_close(&loop) == 0);
    return code;
}
