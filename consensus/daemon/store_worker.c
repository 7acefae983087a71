#include "member.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "err.h"
#include "log.h"

/* Disk work, on a thread of its own: one batch in flight, while the loop gathers the next one. That
 * is the group commit: the slower the disk, the larger the batches. A hand-over is one wake-up each
 * way, a semaphore there and an eventfd back; between the two the thread alone has the store. (An
 * async handle of libuv would do, but its loop spins when it is woken before the thread that woke
 * it runs on.)
 *
 * Failure modes. A write or sync error ends the process; what of the batch reached the disk is
 * judged at the next start. A full disk does not: the store has carried out the operations before
 * the one that found no space, and nothing of that one; the rest is run again until there is space,
 * and the replica knows meanwhile that this member can take nothing in. An old snapshot, with the
 * log behind it, that waits for its removal behind the very operation that wants the space is
 * removed before each new attempt. */

enum {
    FULL_RETRY_MS = 250,   /* between two attempts to go on with a batch */
    SPARE_RETRY_MS = 1000, /* between two attempts to make the spare segment */
};

static void attempt(struct member *m)
{
    struct store_worker *w = &m->worker;
    struct store_op purge = {.type = STORE_OP_PURGE};
    const struct store_batch making_space = {.ops = &purge, .count = 1};
    struct store_stats stats;

    w->done = 0;
    w->err = w->is_full ? store_run(m->store, &making_space, w->note) : 0;
    if (w->err == 0) {
        w->err = store_run(m->store, &w->batch, w->note);
        store_stats(m->store, &stats);
        w->done = stats.batch_done;
    }
}

static void run(struct member *m)
{
    struct store_worker *w = &m->worker;
    struct store_stats stats;

    if (w->preparing) {
        w->err = store_prepare(m->store, w->note);
    } else {
        attempt(m);
    }
    store_stats(m->store, &stats);
    w->has_spare = stats.has_spare;
}

static void thread_main(void *arg)
{
    struct member *m = arg;
    struct store_worker *w = &m->worker;

    for (;;) {
        uv_sem_wait(&w->ready);
        if (w->ending) {
            return;
        }
        run(m);
        CHECK(eventfd_write(w->finished_fd, 1) == 0);
    }
}

static void start(struct member *m, bool preparing)
{
    struct store_worker *w = &m->worker;

    w->busy = true;
    w->preparing = preparing;
    uv_sem_post(&w->ready);
}

static void on_timer(uv_timer_t *timer)
{
    struct member *m = timer->data;
    struct store_worker *w = &m->worker;

    if (w->busy) {
        uv_timer_start(timer, on_timer, SPARE_RETRY_MS, 0);
    } else if (!m->stopping) {
        start(m, !w->has_batch);
    }
}

static void on_full(struct member *m)
{
    struct store_worker *w = &m->worker;
    struct node_time now = member_now();

    w->batch.ops += w->done;
    w->batch.count -= w->done;
    uv_timer_start(&w->timer, on_timer, FULL_RETRY_MS, 0);
    if (!w->is_full) {
        LOG_ERR("store", "ev=disk_full note=\"%s\" action=\"tried again every %d ms\"", w->note,
                FULL_RETRY_MS);
        w->is_full = true;
        node_disk_full(m->node, true, &now);
        member_flush(m);
    }
}

static void on_stored(struct member *m)
{
    struct store_worker *w = &m->worker;
    struct node_time now = member_now();

    w->has_batch = false;
    if (w->is_full) {
        LOG_INFO("store", "ev=disk_has_space");
        w->is_full = false;
        node_disk_full(m->node, false, &now);
    }
    node_stored(m->node, &now);
    member_flush(m);
}

static void on_finished(uv_poll_t *poll, int status, int events)
{
    struct member *m = poll->data;
    struct store_worker *w = &m->worker;
    eventfd_t count;

    (void)events;
    CHECK(status == 0 && eventfd_read(w->finished_fd, &count) == 0 && count == 1);
    CHECK(w->busy);
    w->busy = false;
    if (w->err != 0 && w->err != ERR_NOSPACE) {
        LOG_ERR("store", "ev=write_failed note=\"%s\"", w->note);
        member_stop(m, 1);
        return;
    }
    if (m->stopping) {
        member_stop(m, m->exit_code);
        return;
    }
    if (w->preparing) {
        if (w->has_batch) {
            start(m, false); /* it came meanwhile */
        }
    } else if (w->err != 0) {
        on_full(m);
    } else {
        on_stored(m);
    }
    if (!w->has_spare && !uv_is_active((uv_handle_t *)&w->timer)) {
        uv_timer_start(&w->timer, on_timer, SPARE_RETRY_MS, 0);
    }
}

void store_worker_submit(struct member *m, const struct store_batch *batch)
{
    struct store_worker *w = &m->worker;

    CHECK(!w->has_batch);
    awake_use(&m->awake);
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->ops[i].type == STORE_OP_INSTALL) {
            snapshot_child_end(m); /* its state is older than the one that replaces it */
        }
    }
    w->has_batch = true;
    w->batch = *batch;
    if (!w->busy) {
        peer_links_flush(m); /* the others' disks begin no later than this one */
        start(m, false);
    }
}

void store_worker_start(struct member *m)
{
    struct store_worker *w = &m->worker;
    struct store_stats stats;

    uv_timer_init(&m->loop, &w->timer);
    w->timer.data = m;
    w->finished.data = m;
    w->finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(w->finished_fd >= 0);
    CHECK(uv_poll_init(&m->loop, &w->finished, w->finished_fd) == 0);
    CHECK(uv_poll_start(&w->finished, UV_READABLE, on_finished) == 0);
    CHECK(uv_sem_init(&w->ready, 0) == 0);
    CHECK(uv_thread_create(&w->thread, thread_main, m) == 0);
    store_stats(m->store, &stats);
    if (!stats.has_spare) {
        uv_timer_start(&w->timer, on_timer, SPARE_RETRY_MS, 0);
    }
}

void store_worker_stop(struct member *m)
{
    struct store_worker *w = &m->worker;

    CHECK(!w->busy); /* member_stop() has waited for it */
    w->ending = true;
    uv_sem_post(&w->ready);
    uv_thread_join(&w->thread);
    uv_sem_destroy(&w->ready);
    uv_close((uv_handle_t *)&w->finished, NULL); /* it is not polled from here on */
    close(w->finished_fd);
    uv_close((uv_handle_t *)&w->timer, NULL);
}
