#include "notify.h"

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "check.h"
#include "hashtable.h"
#include "mem.h"

enum order_kind { ORDER_INODE, ORDER_ENTRY, ORDER_POLL, ORDER_MARKER, ORDER_END };

struct order {
    void *arg;
    struct order *next;
    UT_hash_handle hh; /* in notify.waiting: INODE and ENTRY that were not begun */
    size_t name_size;
    uint64_t kind; /* what it is known by begins here */
    uint64_t id;
    char name[];
};

static const void *key_of(const struct order *o)
{
    return (const char *)o + offsetof(struct order, kind);
}

static size_t key_size(const struct order *o)
{
    return offsetof(struct order, name) - offsetof(struct order, kind) + o->name_size;
}

struct queue {
    struct order *first, *last;
};

struct notify {
    struct fuse_session *fuse;
    void (*on_marker)(void *ctx, void *arg);
    void (*on_ended)(void *ctx);
    void *ctx;
    uv_async_t async;
    pthread_t thread;
    bool ending; /* loop thread only */

    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t more;
    struct queue orders;
    struct order *waiting; /* those of `orders` that can be given twice */
    struct queue done;     /* markers, and the end, for the loop */
};

static void push(struct queue *q, struct order *o)
{
    o->next = NULL;
    if (q->last != NULL) {
        q->last->next = o;
    } else {
        q->first = o;
    }
    q->last = o;
}

static struct order *pop_all(struct queue *q)
{
    struct order *all = q->first;

    *q = (struct queue){0};
    return all;
}

/* Waits for an order and takes it: from now on the same one may be given again. */
static struct order *take(struct notify *n)
{
    struct order *o;

    pthread_mutex_lock(&n->lock);
    while (n->orders.first == NULL) {
        pthread_cond_wait(&n->more, &n->lock);
    }
    o = n->orders.first;
    n->orders.first = o->next;
    if (o->next == NULL) {
        n->orders.last = NULL;
    }
    if (o->kind == ORDER_INODE || o->kind == ORDER_ENTRY) {
        HASH_DELETE(hh, n->waiting, o);
    }
    pthread_mutex_unlock(&n->lock);
    return o;
}

static void drop_inode(struct notify *n, uint64_t id)
{
    static const struct timespec pause = {.tv_nsec = 2000000};

    /* The kernel may have our answer to a first lookup of the node, with attributes older than this
     * order, and not have made its inode yet: then there is nothing to invalidate for an instant.
     * The kernel having just forgotten the node looks the same, and costs the pause. */
    if (fuse_lowlevel_notify_inval_inode(n->fuse, id, -1, 0) == -ENOENT) {
        nanosleep(&pause, NULL);
        fuse_lowlevel_notify_inval_inode(n->fuse, id, -1, 0);
    }
}

static void carry_out(struct notify *n, struct order *o)
{
    switch ((enum order_kind)o->kind) {
    case ORDER_INODE:
        drop_inode(n, o->id);
        break;
    case ORDER_ENTRY:
        fuse_lowlevel_notify_inval_entry(n->fuse, o->id, o->name, o->name_size);
        break;
    case ORDER_POLL:
        fuse_lowlevel_notify_poll(o->arg);
        fuse_pollhandle_destroy(o->arg);
        break;
    case ORDER_MARKER:
    case ORDER_END:
        break;
    }
}

static void *run(void *arg)
{
    struct notify *n = arg;
    bool ended = false;

    while (!ended) {
        struct order *o = take(n);

        carry_out(n, o);
        if (o->kind == ORDER_MARKER || o->kind == ORDER_END) {
            ended = o->kind == ORDER_END;
            pthread_mutex_lock(&n->lock);
            push(&n->done, o);
            pthread_mutex_unlock(&n->lock);
            uv_async_send(&n->async);
        } else {
            mem_free(o);
        }
    }
    return NULL;
}

static void on_async(uv_async_t *a)
{
    struct notify *n = a->data;
    struct order *o, *next;

    pthread_mutex_lock(&n->lock);
    o = pop_all(&n->done);
    pthread_mutex_unlock(&n->lock);
    for (; o != NULL; o = next) {
        next = o->next;
        if (o->kind == ORDER_MARKER) {
            n->on_marker(n->ctx, o->arg);
        } else {
            CHECK(pthread_join(n->thread, NULL) == 0);
            uv_close((uv_handle_t *)&n->async, NULL);
            n->on_ended(n->ctx);
        }
        mem_free(o);
    }
}

static void start_thread(struct notify *n)
{
    sigset_t all, before;

    /* Signals are the loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    CHECK(pthread_create(&n->thread, NULL, run, n) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct notify *notify_new(uv_loop_t *loop, struct fuse_session *fuse,
                          void (*on_marker)(void *ctx, void *arg), void (*on_ended)(void *ctx),
                          void *ctx)
{
    struct notify *n = mem_zalloc(sizeof(*n));

    n->fuse = fuse;
    n->on_marker = on_marker;
    n->on_ended = on_ended;
    n->ctx = ctx;
    CHECK(pthread_mutex_init(&n->lock, NULL) == 0);
    CHECK(pthread_cond_init(&n->more, NULL) == 0);
    CHECK(uv_async_init(loop, &n->async, on_async) == 0);
    n->async.data = n;
    start_thread(n);
    return n;
}

/* True if the same order waits already; else remembers that this one does. */
static bool is_known(struct notify *n, struct order *o)
{
    struct order *same;

    if (o->kind != ORDER_INODE && o->kind != ORDER_ENTRY) {
        return false;
    }
    HASH_FIND(hh, n->waiting, key_of(o), key_size(o), same);
    if (same == NULL) {
        HASH_ADD_KEYPTR(hh, n->waiting, key_of(o), key_size(o), o);
    }
    return same != NULL;
}

static void give(struct notify *n, enum order_kind kind, uint64_t id, const char *name,
                 size_t name_size, void *arg)
{
    struct order *o;

    if (n->ending) {
        return;
    }
    o = mem_zalloc(sizeof(*o) + name_size + 1);
    o->kind = kind;
    o->id = id;
    o->arg = arg;
    o->name_size = name_size;
    if (name_size > 0) {
        memcpy(o->name, name, name_size);
    }
    pthread_mutex_lock(&n->lock);
    if (is_known(n, o)) {
        mem_free(o);
    } else {
        push(&n->orders, o);
        pthread_cond_signal(&n->more);
    }
    pthread_mutex_unlock(&n->lock);
}

void notify_inode(struct notify *n, uint64_t id)
{
    give(n, ORDER_INODE, id, NULL, 0, NULL);
}

void notify_entry(struct notify *n, uint64_t dir, const char *name, size_t size)
{
    give(n, ORDER_ENTRY, dir, name, size, NULL);
}

void notify_poll(struct notify *n, struct fuse_pollhandle *p)
{
    if (n->ending) {
        fuse_pollhandle_destroy(p);
    } else {
        give(n, ORDER_POLL, 0, NULL, 0, p);
    }
}

void notify_marker(struct notify *n, void *arg)
{
    CHECK(!n->ending);
    give(n, ORDER_MARKER, 0, NULL, 0, arg);
}

size_t notify_queued(struct notify *n)
{
    size_t count;

    pthread_mutex_lock(&n->lock);
    count = HASH_COUNT(n->waiting);
    pthread_mutex_unlock(&n->lock);
    return count;
}

void notify_end(struct notify *n)
{
    give(n, ORDER_END, 0, NULL, 0, NULL);
    n->ending = true;
}

void notify_free(struct notify *n)
{
    pthread_cond_destroy(&n->more);
    pthread_mutex_destroy(&n->lock);
    mem_free(n);
}
