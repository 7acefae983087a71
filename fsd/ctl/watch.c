/* watch: prints changes as they come, or runs a command for each.
 *
 * Happy path: OP_EVENTS subscribes to all changes from an index on; those that are about the path
 * are queued, whole groups at a time, and printed at once, or handed to one command after the
 * other.
 *
 * Failure modes: the stream breaks -> after attaching again, by this session or a new one, the
 * subscription begins behind the last group that was queued: nothing is lost or comes twice. The
 * member no longer knows so far back -> a gap is told in the place of what is missing. The command
 * is slower than the changes -> at QUEUE_MAX the subscription ends, and begins again, by index,
 * when half of the queue is done. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "err.h"
#include "event_text.h"
#include "mem.h"
#include "run.h"
#include "watch_path.h"

enum {
    QUEUE_MAX = 1000,
    BEAT_MS = 3000, /* a barrier each: on a member without a quorum the client seeks another */
};

struct change {
    struct change *next;
    uint64_t gap_first; /* not 0: a gap, up to event.index */
    struct event event; /* its names point behind this struct; it has no value */
};

struct queue {
    struct change *first;
    struct change **end; /* where the next is linked in */
    size_t count;
};

struct watch {
    const struct ctl_args *args;
    struct watch_path path;
    struct ctl_session session;
    struct run run;
    uv_timer_t beat;
    struct queue group; /* of one index, the last change of which has not come */
    struct queue held;  /* came while a subscription was asked for */
    struct queue queue;
    uint64_t seen;       /* all up to this index is queued or does not concern us */
    uint64_t asked_from; /* of the last subscription */
    uint64_t xid;        /* of the one that is asked for; 0: none */
    bool begun;          /* there was a first one */
    bool leaving;        /* no longer wanted, but changes may still be on their way */
    bool paused;         /* no subscription: the queue is long */
    bool ended;
    int code;
    uint64_t handled;
};

/* --- queue ------------------------------------------------------------------------------------ */

static void queue_init(struct queue *q)
{
    *q = (struct queue){.end = &q->first};
}

static void queue_push(struct queue *q, struct change *c)
{
    *q->end = c;
    q->end = &c->next;
    q->count++;
}

static struct change *queue_pop(struct queue *q)
{
    struct change *c = q->first;

    q->first = c->next;
    q->count--;
    if (q->first == NULL) {
        q->end = &q->first;
    }
    return c;
}

static void queue_clear(struct queue *q)
{
    while (q->first != NULL) {
        mem_free(queue_pop(q));
    }
}

static void queue_append_all(struct queue *q, struct queue *from)
{
    if (from->first != NULL) {
        *q->end = from->first;
        q->end = from->end;
        q->count += from->count;
        queue_init(from);
    }
}

static struct name name_own(struct name name, char **text)
{
    struct name own = {.bytes = *text, .size = name.size};

    memcpy(*text, name.size > 0 ? name.bytes : "", name.size);
    *text += name.size;
    return own;
}

static struct change *change_new(const struct event *e)
{
    size_t size = (size_t)e->name.size + e->dir_path.size + e->from_name.size + e->from_path.size;
    struct change *c = mem_zalloc(sizeof(*c) + size);
    char *text = (char *)(c + 1);

    c->event = *e;
    c->event.name = name_own(e->name, &text);
    c->event.dir_path = name_own(e->dir_path, &text);
    c->event.from_name = name_own(e->from_name, &text);
    c->event.from_path = name_own(e->from_path, &text);
    c->event.has_value = false;
    c->event.value = NULL;
    return c;
}

/* --- what is done with a change --------------------------------------------------------------- */

static void change_print(const struct watch *w, const struct change *c)
{
    struct buf text = {0};

    if (ctl_wants_json(w->args) && c->gap_first != 0) {
        event_gap_json(c->gap_first, c->event.index, &text);
    } else if (ctl_wants_json(w->args)) {
        event_json(&c->event, &text);
    } else if (c->gap_first != 0) {
        event_gap_line(c->gap_first, c->event.index, &text);
    } else {
        event_line(&c->event, &text);
    }
    buf_put_u8(&text, '\n');
    fwrite(text.data, 1, text.size, stdout);
    buf_done(&text);
}

static void put_variable(struct buf *b, const char *key, const char *value)
{
    buf_put(b, key, strlen(key));
    buf_put_u8(b, '=');
    buf_put(b, value, strlen(value) + 1);
}

static void put_number(struct buf *b, const char *key, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    put_variable(b, key, text);
}

static void put_path(struct buf *b, const char *key, const struct event *e,
                     void (*path)(const struct event *e, struct buf *ret))
{
    buf_put(b, key, strlen(key));
    buf_put_u8(b, '=');
    path(e, b);
    buf_put_u8(b, '\0');
}

/* "NAME=VALUE", each with a NUL behind. */
static void put_variables(struct buf *b, const struct change *c)
{
    const struct event *e = &c->event;

    put_number(b, "ZABFS_INDEX", e->index);
    if (c->gap_first != 0) {
        put_variable(b, "ZABFS_KIND", "gap");
        put_number(b, "ZABFS_FIRST", c->gap_first);
        return;
    }
    put_variable(b, "ZABFS_KIND", event_kind_text(e->kind));
    put_path(b, "ZABFS_PATH", e, event_path);
    if (e->kind == CHANGE_MOVE) {
        put_path(b, "ZABFS_FROM", e, event_path_from);
    } else {
        put_variable(b, "ZABFS_FROM", ""); /* not what a watch around this one has set */
    }
    put_variable(b, "ZABFS_TYPE",
                 e->attr.type == NODE_DIR       ? "directory"
                 : e->attr.type == NODE_SYMLINK ? "symlink"
                                                : "file");
    put_number(b, "ZABFS_VERSION", e->attr.version);
    put_number(b, "ZABFS_SIZE", e->attr.size);
    put_number(b, "ZABFS_SESSION", e->session);
}

static int change_run(struct watch *w, const struct change *c)
{
    enum { VARIABLES_MAX = 12 };
    char *variables[VARIABLES_MAX + 1] = {NULL};
    struct buf text = {0};
    int count = 0;
    int err_no;

    put_variables(&text, c);
    for (char *at = (char *)text.data; count < VARIABLES_MAX && at < (char *)text.data + text.size;
         at += strlen(at) + 1) {
        variables[count++] = at;
    }
    err_no = run_start(&w->run, w->args->command, variables);
    buf_done(&text);
    return err_no;
}

static void end(struct watch *w, int code)
{
    if (!w->ended) {
        w->ended = true;
        w->code = code;
    }
}

static void subscribe(struct watch *w);

/* As much of the queue as can be done now: all of it, or one command. */
static void handle(struct watch *w)
{
    while (!w->ended && w->run.child == 0 && w->queue.first != NULL) {
        struct change *c = queue_pop(&w->queue);

        if (w->args->command == NULL) {
            change_print(w, c);
        } else {
            int err_no = change_run(w, c);

            if (err_no != 0) {
                end(w, ctl_fail_errno(w->args->command[0], err_no));
            }
        }
        mem_free(c);
        w->handled++;
        if (w->handled == w->args->changes_max && w->run.child == 0) {
            end(w, CTL_OK);
        }
    }
    if (fflush(stdout) != 0) {
        end(w, CTL_FAILED); /* main() says why */
    }
    if (w->paused && !w->leaving && w->queue.count < QUEUE_MAX / 2) {
        w->paused = false;
        subscribe(w);
    }
}

static void on_exit_of_command(void *ctx, int code)
{
    struct watch *w = ctx;

    if (code == CTL_NO_PROGRAM || code == CTL_CANNOT_RUN) { /* nor would it run for the next */
        end(w, code);
    }
    if (w->handled == w->args->changes_max) {
        end(w, CTL_OK);
    }
    handle(w);
}

static void on_signal(void *ctx, int number)
{
    struct watch *w = ctx;

    run_signal(&w->run, number);
    if (number != SIGUSR1 && number != SIGUSR2) {
        end(w, CTL_SIGNAL + number);
    }
}

/* --- subscription ----------------------------------------------------------------------------- */

static void push_gap(struct watch *w, uint64_t first, uint64_t last)
{
    struct event none = {.index = last};
    struct change *c = change_new(&none);

    c->gap_first = first;
    queue_push(&w->queue, c);
}

/* What came before the reply waits for it: the reply tells of a gap that is to be told first. */
static void on_subscribed(void *ctx, void *arg, const struct reply *r)
{
    struct watch *w = arg;

    (void)ctx;
    if (r->err == ERR_INTR || r->err == ERR_CLOSED) {
        return; /* another took its place, or this is the end */
    }
    w->xid = 0;
    if (r->err == ERR_TIMEOUT && w->begun) { /* it goes on when there is a member */
        subscribe(w);
        return;
    }
    if (r->err != 0) {
        end(w, ctl_fail(w->args->servers, r->err));
        return;
    }
    if (r->u.events.index_from < w->asked_from) { /* it is yet to come: what is not seen by then? */
        end(w, ctl_fail("--from", ERR_INVAL));
        return;
    }
    if (w->asked_from != 0 && r->u.events.index_from > w->asked_from) {
        push_gap(w, w->asked_from + 1, r->u.events.index_from);
    }
    queue_append_all(&w->queue, &w->held);
    if (r->u.events.index_from > w->seen) {
        w->seen = r->u.events.index_from;
    }
    if (!w->begun) {
        w->begun = true;
        fprintf(stderr, "zabctl: watching from index %" PRIu64 "\n", w->seen);
    }
    handle(w);
}

static void subscribe(struct watch *w)
{
    struct request r = {.op = OP_EVENTS, .u.events = {.on = true, .index_from = w->seen}};

    w->asked_from = w->seen;
    w->xid = client_submit(w->session.client, &r, on_subscribed, w);
}

static void on_unsubscribed(void *ctx, void *arg, const struct reply *r)
{
    struct watch *w = arg;

    (void)ctx;
    w->leaving = false;
    if (r->err != ERR_CLOSED) {
        handle(w);
    }
}

/* What comes until it has taken effect is dropped, and not seen. */
static void unsubscribe(struct watch *w)
{
    struct request r = {.op = OP_EVENTS};

    w->paused = true;
    w->leaving = true;
    client_submit(w->session.client, &r, on_unsubscribed, w);
}

static void on_attach(void *ctx, bool fresh)
{
    struct watch *w = ctx;

    (void)fresh;
    queue_clear(&w->group);
    if (!w->begun || w->paused) {
        return; /* it is sent, or asked for later */
    }
    if (w->xid != 0) {
        client_cancel(w->session.client, w->xid);
        queue_clear(&w->held);
        w->seen = w->asked_from;
    }
    subscribe(w);
}

static void on_event(void *ctx, const struct event *e)
{
    struct watch *w = ctx;

    if (w->paused || e->index <= w->seen || e->kind == CHANGE_GRANT) {
        return;
    }
    if (watch_path_takes(&w->path, e)) {
        queue_push(&w->group, change_new(e));
    }
    if (e->more) {
        return;
    }
    w->seen = e->index;
    queue_append_all(w->xid != 0 ? &w->held : &w->queue, &w->group);
    handle(w);
    if (w->args->command != NULL && w->queue.count > QUEUE_MAX && w->xid == 0) {
        unsubscribe(w);
    }
}

static void on_beat(uv_timer_t *timer)
{
    struct watch *w = timer->data;
    struct request sync = {.op = OP_SYNC, .deadline_ms = BEAT_MS};

    client_submit(w->session.client, &sync, NULL, NULL);
}

int ctl_run_watch(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    static const struct client_ops ops = {.on_event = on_event, .on_attach = on_attach};
    struct watch w = {.args = args, .seen = args->from};

    (void)s;
    if (!watch_path_make(words[0], (args->seen & CTL_OPT_RECURSIVE) != 0, &w.path)) {
        return ctl_usage("watch: '%s' is not a path from the root", words[0]);
    }
    int code = ctl_session_open(args, &ops, &w, &w.session);

    if (code != CTL_OK) {
        return code;
    }
    w.run = (struct run){.ctx = &w, .on_signal = on_signal, .on_exit = on_exit_of_command};
    queue_init(&w.group);
    queue_init(&w.held);
    queue_init(&w.queue);
    run_init(&w.run, &w.session.loop);
    uv_timer_init(&w.session.loop, &w.beat);
    w.beat.data = &w;
    uv_timer_start(&w.beat, on_beat, BEAT_MS, BEAT_MS);
    subscribe(&w);
    while (!w.ended || w.run.child != 0) {
        uv_run(&w.session.loop, UV_RUN_ONCE);
    }
    run_close(&w.run);
    uv_close((uv_handle_t *)&w.beat, NULL);
    ctl_session_close(&w.session);
    queue_clear(&w.group);
    queue_clear(&w.held);
    queue_clear(&w.queue);
    return w.code;
}
