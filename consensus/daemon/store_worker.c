#include "member.h"

#include "check.h"
#include "log.h"

/* Disk work, on a thread of libuv's pool: one batch in flight, while the loop gathers the next one.
 * That is the group commit: the slower the disk, the larger the batches. A batch that fails ends
 * the process; what of it reached the disk is judged at the next start. */

static void run(uv_work_t *work)
{
    struct member *m = work->data;

    m->worker.err = store_run(m->store, m->worker.batch, m->worker.note);
}

static void done(uv_work_t *work, int status)
{
    struct member *m = work->data;
    struct node_time now = member_now();

    CHECK(status == 0);
    m->worker.batch = NULL;
    if (m->worker.err != 0) {
        LOG_ERR("store", "ev=write_failed note=\"%s\"", m->worker.note);
        member_stop(m, 1);
        return;
    }
    if (m->stopping) {
        member_stop(m, m->exit_code);
        return;
    }
    node_stored(m->node, &now);
    member_flush(m);
}

void store_worker_submit(struct member *m, const struct store_batch *batch)
{
    CHECK(m->worker.batch == NULL);
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->ops[i].type == STORE_OP_INSTALL) {
            snapshot_child_end(m); /* its state is older than the one that replaces it */
        }
    }
    m->worker.copy = *batch;
    m->worker.batch = &m->worker.copy;
    m->worker.work.data = m;
    CHECK(uv_queue_work(&m->loop, &m->worker.work, run, done) == 0);
}
