/* lock: runs a command under a lock of a file.
 *
 * Happy path: the file is found or made, the lock asked for; if it is not to be had at once the
 * ensemble queues the question up, and says so when it is granted (CHANGE_GRANT). Then a hold runs
 * the command. The end of the session gives the lock back.
 *
 * Failure modes while waiting: the stream breaks -> after resuming, the same question again, which
 * keeps its place in the queue. The session expires -> asked by the new one. The file is removed ->
 * begin again with a new one. The time is over or a signal comes -> the session is ended. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "err.h"
#include "hold.h"
#include "mem.h"
#include "name.h"

enum {
    GOODBYE_MS = 5000, /* a lock that is not given back is everybody's loss */
    AGAIN_MS = 500,    /* between questions that nobody could answer */
    OWNER = 1,         /* a session that has one lock */
};

struct locking {
    const struct ctl_args *args;
    const char *path;
    struct ctl_session session;
    struct hold hold;
    uv_timer_t again;
    uv_timer_t limit;
    uint64_t node; /* 0: not looked up */
    bool queued;   /* the ensemble knows of the question */
    bool granted;
    bool gone; /* the file */
    bool late;
    int err;
    uint64_t fence;
};

static void ask(struct locking *l);

static void granted(struct locking *l, uint64_t fence)
{
    l->granted = true;
    l->fence = fence;
    l->hold.node = l->node; /* its loss counts from now on */
}

static void on_again(uv_timer_t *timer)
{
    ask(timer->data);
}

static void on_limit(uv_timer_t *timer)
{
    struct locking *l = timer->data;

    l->late = true;
}

/* Nobody could say: as long as we are in the queue, or may be, it is worth asking again. */
static bool is_passing(int err)
{
    return err == ERR_TIMEOUT || err == ERR_NO_QUORUM || err == ERR_OVERLOAD;
}

static void on_asked(void *ctx, void *arg, const struct reply *r)
{
    struct locking *l = arg;

    (void)ctx;
    if (r->err == 0 && r->u.lock.granted && !l->granted) {
        granted(l, r->u.lock.fence);
    } else if (r->err == 0) {
        l->queued = true;
    } else if (r->err == ERR_NOENT) {
        l->gone = true;
    } else if (l->queued && is_passing(r->err)) {
        uv_update_time(&l->session.loop);
        uv_timer_start(&l->again, on_again, AGAIN_MS, 0);
    } else if (r->err != ERR_EXPIRED) { /* then on_attach asks again */
        l->err = r->err;
    }
}

static void ask(struct locking *l)
{
    struct request r = {
        .op = OP_LOCK,
        .u.lock = {.id = l->node,
                   .lock = {.kind = LOCK_KIND_FLOCK,
                            .type = (l->args->seen & CTL_OPT_SHARED) != 0 ? LOCK_TYPE_SHARED
                                                                          : LOCK_TYPE_EXCLUSIVE,
                            .owner = OWNER,
                            .end = UINT64_MAX,
                            .pid = (uint32_t)getpid()},
                   .wait = (l->args->seen & CTL_OPT_NONBLOCK) == 0},
    };

    client_submit(l->session.client, &r, on_asked, l);
}

static void on_event(void *ctx, const struct event *e)
{
    struct locking *l = ctx;

    hold_on_event(&l->hold, e);
    if (e->kind == CHANGE_GRANT && e->attr.id == l->node && e->lock_kind == LOCK_KIND_FLOCK &&
        !l->granted) {
        granted(l, e->index);
    }
    if (e->kind == CHANGE_REMOVE && e->attr.id == l->node) {
        l->gone = true;
    }
}

static void on_attach(void *ctx, bool fresh)
{
    struct locking *l = ctx;

    hold_on_attach(&l->hold, fresh);
    if (l->node != 0 && !l->granted) {
        struct request look = {.op = OP_GETATTR, .u.getattr.id = l->node};

        client_submit(l->session.client, &look, NULL, NULL); /* to hear of its removal */
        ask(l);
    }
}

/* The file, made if it is missing. Each turn means that somebody else made or removed it. */
static int find(struct locking *l)
{
    enum { TURNS_MAX = 100 };
    int err = ERR_NOENT;

    for (int turn = 0; turn < TURNS_MAX; turn++) {
        struct request create;
        struct reply reply;
        struct attr attr;

        err = client_walk(l->session.client, l->path, &attr);
        if (err == 0) {
            l->node = attr.id;
            return 0;
        }
        if (err == ERR_NOENT) {
            err = ctl_prepare_create(&l->session, l->path, NODE_FILE, 0644, &create);
        }
        if (err == 0) {
            err = client_call(l->session.client, &create, &reply);
        }
        if (err == 0) {
            l->node = reply.u.create.attr.id;
            codec_reply_done(&reply);
            return 0;
        }
        if (err != ERR_EXISTS) {
            return err;
        }
    }
    return err;
}

static bool is_undecided(const struct locking *l)
{
    return !l->granted && !l->gone && !l->late && l->err == 0 && l->hold.signal == 0;
}

/* The ensemble agrees, now, that the session lives; all that it said before has come. A grant that
 * was told again after a reconnect may be of a file that was removed meanwhile: then the question
 * asked at the reconnect has said so by now. */
static void confirm(struct locking *l)
{
    l->err = hold_confirm(&l->hold);
    if (l->err == 0 && l->gone && l->hold.lost == NULL) {
        l->granted = false;
        l->hold.node = 0;
    }
}

/* Until the lock is granted (CTL_OK), or will not be: the exit code. */
static int acquire(struct locking *l)
{
    do {
        l->gone = false;
        l->queued = false;
        l->node = 0;
        l->err = find(l);
        if (l->err == 0) {
            ask(l);
        }
        while (is_undecided(l)) {
            uv_run(&l->session.loop, UV_RUN_ONCE);
        }
        uv_timer_stop(&l->again);
        if (l->granted) {
            confirm(l);
        }
    } while (l->gone && !l->granted && !l->late && l->err == 0 && l->hold.signal == 0);
    if (l->hold.signal != 0) {
        return CTL_SIGNAL + l->hold.signal;
    }
    if (l->err == ERR_WOULD_BLOCK || (l->late && !l->granted)) {
        ctl_fail(l->path, ERR_WOULD_BLOCK);
        return CTL_NOT_GOT;
    }
    return l->err == 0 ? CTL_OK : ctl_fail(l->path, l->err);
}

static int lock_and_run(struct locking *l)
{
    char fence[64];
    char *lock = mem_alloc(strlen(l->path) + sizeof("ZABFS_LOCK="));
    char *variables[] = {fence, lock, NULL};
    int code = acquire(l);

    if (code == CTL_OK) {
        snprintf(fence, sizeof(fence), "ZABFS_FENCE=%" PRIu64, l->fence);
        memcpy(lock, "ZABFS_LOCK=", sizeof("ZABFS_LOCK="));
        memcpy(lock + strlen(lock), l->path, strlen(l->path) + 1);
        code = hold_run(&l->hold, l->path, l->args->command, variables);
    }
    mem_free(lock);
    return code;
}

int ctl_run_lock(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    static const struct client_ops ops = {.on_event = on_event, .on_attach = on_attach};
    struct locking l = {.args = args, .path = words[0]};
    struct name_template template = name_template_parse(words[0], strlen(words[0]));

    (void)s;
    if (args->command == NULL) {
        return ctl_usage("lock: no COMMAND; usage: zabctl lock PATH -- COMMAND [ARGUMENT ...]");
    }
    if (template.sequential || template.ephemeral) {
        return ctl_usage("lock: '%s': a name that ends in # or @ stands for another", words[0]);
    }
    int code = ctl_session_open(args, &ops, &l, &l.session);

    if (code != CTL_OK) {
        return code;
    }
    l.session.goodbye_ms = GOODBYE_MS;
    hold_init(&l.hold, &l.session);
    uv_timer_init(&l.session.loop, &l.again);
    uv_timer_init(&l.session.loop, &l.limit);
    l.again.data = &l;
    l.limit.data = &l;
    if ((args->seen & CTL_OPT_WAIT) != 0) {
        uv_timer_start(&l.limit, on_limit, args->wait_ms, 0);
    }
    code = lock_and_run(&l);
    uv_close((uv_handle_t *)&l.again, NULL);
    uv_close((uv_handle_t *)&l.limit, NULL);
    hold_done(&l.hold);
    ctl_session_close(&l.session);
    return code;
}
