/* The helper processes: started with the mount, given one job at a time, replaced when they die. */
#include "replay_int.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <utlist.h>

#include "check.h"
#include "log.h"
#include "mem.h"

enum {
    RESTART_MS = 1000, /* between two starts of a helper */
    KILL_MS = 2000,    /* for helpers to end by themselves */
};

static void helper_start(struct helper *h);

/* --- jobs ------------------------------------------------------------------------------------ */

/* Nobody can be watching what the kernel does not hold. */
static bool is_wanted(const struct replay_job *j)
{
    return j->dir->inode->kernel_refs > 0 || j->node->kernel_refs > 0 ||
           (j->to_dir != NULL && j->to_dir->kernel_refs > 0);
}

/* Of a name in a directory, or of the directory itself if the name is empty. */
static bool path_of(const struct inode *dir, const char *name, char *ret)
{
    size_t size;

    if (!inode_path(dir, ret, PATH_MAX - NAME_SIZE_MAX - 1)) {
        return false;
    }
    if (name[0] == '\0') {
        return true;
    }
    size = dir->parent == NULL ? 0 : strlen(ret);
    if (size > 0) {
        ret[size++] = '/';
    }
    memcpy(ret + size, name, strlen(name) + 1);
    return true;
}

static void on_written(uv_write_t *w, int status)
{
    struct helper *h = w->data;

    (void)status; /* a helper that cannot be written to is about to be seen dying */
    h->writing = false;
    helpers_dispatch(h->r);
}

/* To where there is no way any more: what is left of the move is that the name went. */
static bool add_target(struct helper *h, struct replay_job *j)
{
    struct replay_order *o = &h->out.order;

    if (j->to_dir == NULL) {
        return true;
    }
    if (!path_of(j->to_dir, j->to_name, h->out.path + o->path_size)) {
        j->kind = REPLAY_REMOVE;
        o->kind = REPLAY_REMOVE;
        return j->other == NULL;
    }
    o->to_size = (uint32_t)strlen(h->out.path + o->path_size);
    return true;
}

/* The socket has room for an order, unless the kernel is short of memory. */
static bool order_send(struct helper *h, size_t size)
{
    uv_buf_t buf = uv_buf_init((char *)&h->out, (unsigned)size);
    int taken = uv_try_write((uv_stream_t *)&h->pipe, &buf, 1);

    h->answer_size = 0;
    if (taken == (int)size) {
        return true;
    }
    if (taken > 0) {
        buf = uv_buf_init(buf.base + taken, (unsigned)(size - (size_t)taken));
    }
    h->write.data = h;
    h->writing = uv_write(&h->write, (uv_stream_t *)&h->pipe, &buf, 1, on_written) == 0;
    return h->writing;
}

static bool job_send(struct helper *h, struct replay_job *j)
{
    const struct attr *a = &j->node->attr;
    struct replay_order *o = &h->out.order;

    if (!is_wanted(j) || !path_of(j->dir->inode, j->name, h->out.path)) {
        return false;
    }
    *o = (struct replay_order){
        .kind = j->kind,
        .type = a->type,
        .size = a->size,
        .atime_ns = a->atime_ns,
        .mtime_ns = a->mtime_ns,
        .path_size = (uint32_t)strlen(h->out.path),
        .exchange = j->other != NULL,
    };
    if (!add_target(h, j)) {
        return false;
    }
    return order_send(h, sizeof(*o) + o->path_size + o->to_size);
}

static struct helper *idle_helper(struct replay *r)
{
    for (unsigned n = 0; n < r->helper_count; n++) {
        if (r->helpers[n].alive && r->helpers[n].dir == NULL && !r->helpers[n].writing) {
            return &r->helpers[n];
        }
    }
    return NULL;
}

const struct helper *helper_by_pid(const struct replay *r, pid_t pid)
{
    for (unsigned n = 0; n < r->helper_count; n++) {
        if (r->helpers[n].alive && r->helpers[n].process.pid == pid) {
            return &r->helpers[n];
        }
    }
    return NULL;
}

bool replay_is_helper(const struct replay *r, pid_t pid)
{
    return helper_by_pid(r, pid) != NULL;
}

void helpers_dispatch(struct replay *r)
{
    struct replay_dir *d;
    struct helper *h;

    while ((h = idle_helper(r)) != NULL && (d = queue_first_ready(r)) != NULL) {
        if (job_send(h, d->jobs)) {
            queue_take(r, d, h);
            h->dir = d;
        } else {
            queue_take(r, d, NULL);
            queue_release(r, d, true);
        }
    }
}

static void job_done(struct helper *h, int err_no)
{
    struct replay *r = h->r;
    struct replay_dir *d = h->dir;

    h->dir = NULL;
    if (err_no == 0) {
        if (d->jobs->node->attr_kept == KEPT_WRITTEN) { /* nothing was given since the write */
            d->jobs->node->attr_kept = KEPT_PERMISSIONS;
        }
        r->info.done++;
    } else {
        r->info.failed++;
        LOG_INFO("replay", "ev=failed kind=%d node=%llu errno=%d", (int)d->jobs->kind,
                 (unsigned long long)d->jobs->node->id, err_no);
    }
    queue_release(r, d, true);
    helpers_dispatch(r);
}

/* --- processes ------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct helper *h = handle->data;

    (void)suggested;
    *buf = uv_buf_init((char *)h->answers + h->answer_size,
                       (unsigned)(sizeof(h->answers) - h->answer_size));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct helper *h = stream->data;

    (void)buf;
    if (size <= 0) {
        if (size < 0) {
            uv_read_stop(stream); /* it is dying: on_process_exit follows */
        }
        return;
    }
    h->answer_size += (size_t)size;
    if (h->answer_size >= sizeof(h->answers[0])) {
        h->answer_size = 0;
        if (h->dir != NULL) {
            job_done(h, h->answers[0]);
        }
    }
}

static void end_if_last(struct replay *r)
{
    if (r->ending && r->ended_count == r->helper_count && r->on_ended != NULL) {
        void (*on_ended)(void *ctx) = r->on_ended;

        r->on_ended = NULL;
        uv_close((uv_handle_t *)&r->kill_timer, NULL);
        uv_close((uv_handle_t *)&r->rest_timer, NULL);
        on_ended(r->on_ended_ctx);
    }
}

static void helper_ended(struct helper *h)
{
    uv_close((uv_handle_t *)&h->restart, NULL);
    h->r->ended_count++;
    end_if_last(h->r);
}

static void on_restart(uv_timer_t *t)
{
    helper_start(t->data);
}

static void restart_later(struct helper *h)
{
    uv_timer_start(&h->restart, on_restart, RESTART_MS, 0);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct helper *h = handle->data;

    h->open_handles--;
    if (h->open_handles > 0) {
        return;
    }
    if (h->r->ending) {
        helper_ended(h);
    } else if (uv_now(h->r->conf.loop) - h->started_ms >= RESTART_MS) {
        h->r->info.restarts++;
        helper_start(h);
    } else {
        h->r->info.restarts++;
        restart_later(h);
    }
}

static void on_process_exit(uv_process_t *process, int64_t status, int signal)
{
    struct helper *h = process->data;
    struct replay_dir *d = h->dir;

    h->alive = false;
    h->dir = NULL;
    if (!h->r->ending) {
        LOG_WARN("replay", "ev=helper_ended status=%lld signal=%d", (long long)status, signal);
    }
    if (d != NULL) {
        queue_release(h->r, d, d->jobs->answered || h->r->ending);
    }
    uv_close((uv_handle_t *)&h->process, on_handle_closed);
    uv_close((uv_handle_t *)&h->pipe, on_handle_closed);
    helpers_dispatch(h->r);
}

static void helper_start(struct helper *h)
{
    struct replay *r = h->r;
    char *args[] = {(char *)"zabfs", (char *)REPLAY_HELPER_ARG, (char *)r->conf.mountpoint,
                    r->dev_text, NULL};
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE,
         .data.stream = (uv_stream_t *)&h->pipe},
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE}, /* it may be the shell's still, which waits for its end */
    };
    uv_process_options_t options = {.exit_cb = on_process_exit,
                                    .file = "/proc/self/exe",
                                    .args = args,
                                    .cwd = "/",
                                    .stdio_count = 3,
                                    .stdio = stdio};
    int err;

    h->started_ms = uv_now(r->conf.loop);
    CHECK(uv_pipe_init(r->conf.loop, &h->pipe, 0) == 0);
    err = uv_spawn(r->conf.loop, &h->process, &options);
    h->process.data = h;
    h->pipe.data = h;
    h->open_handles = 2;
    if (err != 0) {
        LOG_ERR("replay", "ev=helper_not_started err=%s", uv_strerror(err));
        h->started_ms = uv_now(r->conf.loop);
        uv_close((uv_handle_t *)&h->process, on_handle_closed);
        uv_close((uv_handle_t *)&h->pipe, on_handle_closed);
        return;
    }
    h->alive = true;
    uv_read_start((uv_stream_t *)&h->pipe, on_alloc, on_read);
    helpers_dispatch(r);
}

/* --- start and end --------------------------------------------------------------------------- */

struct replay *replay_new(const struct replay_conf *conf)
{
    struct replay *r = mem_zalloc(sizeof(*r));

    r->conf = *conf;
    r->helper_count = conf->helpers;
    r->helpers = mem_zalloc(conf->helpers * sizeof(*r->helpers));
    snprintf(r->dev_text, sizeof(r->dev_text), "%u:%u", major(conf->dev), minor(conf->dev));
    CHECK(uv_timer_init(conf->loop, &r->kill_timer) == 0);
    CHECK(uv_timer_init(conf->loop, &r->rest_timer) == 0);
    r->kill_timer.data = r->rest_timer.data = r;
    for (unsigned n = 0; n < r->helper_count; n++) {
        struct helper *h = &r->helpers[n];

        h->r = r;
        CHECK(uv_timer_init(conf->loop, &h->restart) == 0);
        h->restart.data = h;
    }
    return r;
}

void replay_start(struct replay *r)
{
    if (r->started || r->ending) {
        return;
    }
    r->started = true;
    for (unsigned n = 0; n < r->helper_count; n++) {
        helper_start(&r->helpers[n]);
    }
}

static void on_kill_timer(uv_timer_t *t)
{
    struct replay *r = t->data;

    for (unsigned n = 0; n < r->helper_count; n++) {
        if (r->helpers[n].alive) {
            uv_process_kill(&r->helpers[n].process, SIGKILL);
        }
    }
}

static void on_shutdown(uv_shutdown_t *s, int status)
{
    (void)status;
    mem_free(s);
}

/* End of file is what tells a helper to go, when it next looks for an order. */
static void helper_dismiss(struct helper *h)
{
    if (h->alive) {
        uv_shutdown_t *s = mem_zalloc(sizeof(*s));

        if (uv_shutdown(s, (uv_stream_t *)&h->pipe, on_shutdown) != 0) {
            mem_free(s);
        }
    } else if (h->open_handles == 0) { /* never started, or waiting to be started again */
        uv_timer_stop(&h->restart);
        helper_ended(h);
    }
}

void replay_end(struct replay *r, void (*on_ended)(void *ctx), void *ctx)
{
    r->ending = true;
    r->on_ended = on_ended;
    r->on_ended_ctx = ctx;
    queue_clear(r);
    uv_timer_start(&r->kill_timer, on_kill_timer, KILL_MS, 0);
    for (unsigned n = 0; n < r->helper_count; n++) {
        helper_dismiss(&r->helpers[n]);
    }
}

void replay_free(struct replay *r)
{
    mem_free(r->helpers);
    mem_free(r);
}
