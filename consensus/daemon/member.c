#include "member.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "check.h"
#include "err.h"
#include "mem.h"

/* Life of a member: bind, open the store, rebuild the tree, run the loop, stop.
 *
 * Start: the sockets are bound before the store is touched, so that a port in use leaves no trace
 * on disk; nobody is accepted before recovery is complete, because the loop does not run yet. Stop:
 * on SIGTERM or SIGINT the batch in flight is finished, sockets are closed, the process ends with
 * 0. Any error of the store ends it with 1 at once: the disk is judged again at the next start.
 */

struct node_time member_now(void)
{
    struct timespec boot, wall;

    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &wall);
    return (struct node_time){
        .mono_ms = (uint64_t)boot.tv_sec * 1000 + (uint64_t)boot.tv_nsec / 1000000,
        .wall_ns = (int64_t)wall.tv_sec * 1000000000 + wall.tv_nsec,
    };
}

/* --- struct node_io on libuv ----------------------------------------------------------------- */

static void io_send_peer(void *ctx, uint32_t peer, const void *bytes, size_t size)
{
    peer_link_send(ctx, peer, bytes, size);
}

static size_t io_peer_queued(void *ctx, uint32_t peer)
{
    return peer_link_queued(ctx, peer);
}

static void io_send_client(void *ctx, uint64_t conn, const void *bytes, size_t size)
{
    client_conn_send(ctx, conn, bytes, size);
}

static void io_close_client(void *ctx, uint64_t conn, const char *reason)
{
    client_conn_close(ctx, conn, reason);
}

static void io_store(void *ctx, const struct store_batch *batch)
{
    store_worker_submit(ctx, batch);
}

static void io_snapshot(void *ctx, const struct tree *tree, const struct store_pos *pos)
{
    snapshot_child_start(ctx, tree, pos);
}

static void io_log(void *ctx, enum log_level level, const char *mod, const char *text)
{
    (void)ctx;
    log_line(level, mod, "%s", text);
}

static void io_stop(void *ctx, const char *reason)
{
    (void)ctx;
    LOG_ERR("node", "ev=diverged note=\"%s\" action=\"stopped; files are kept\"", reason);
    _exit(1); /* not one more reply from a state that is wrong */
}

/* --- the loop -------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
    struct member *m = timer->data;
    struct node_time now = member_now();

    node_tick(m->node, &now);
    member_flush(m);
}

void member_flush(struct member *m)
{
    struct node_time now = member_now();
    uint64_t deadline_ms;

    if (m->stopping) {
        return;
    }
    node_flush(m->node, &now);
    deadline_ms = node_deadline(m->node);
    uv_timer_start(&m->timer, on_timer, deadline_ms > now.mono_ms ? deadline_ms - now.mono_ms : 0,
                   0);
}

static void on_check(uv_check_t *check)
{
    struct member *m = check->data;

    client_conns_resume(m);
    member_flush(m);
}

static void on_signal(uv_signal_t *signal, int signum)
{
    struct member *m = signal->data;

    if (signum == SIGCHLD) {
        snapshot_child_reap(m);
        return;
    }
    LOG_INFO("zabd", "ev=stopping signal=%d", signum);
    member_stop(m, 0);
}

void member_stop(struct member *m, int exit_code)
{
    m->exit_code = exit_code;
    m->stopping = true;
    if (!m->worker.busy) {
        uv_stop(&m->loop);
    } /* else: when the storage thread is done */
}

/* --- start ----------------------------------------------------------------------------------- */

static int refuse(const char *what, const char *note)
{
    fprintf(stderr, "zabd: %s: %s\n", what, note);
    return 2;
}

static int bind_one(struct member *m, int at, const struct net_addr *addr,
                    listener_accept_fn on_accept)
{
    char text[300];
    int err = listener_open(&m->loop, addr, 0666, on_accept, m, &m->listeners[at]);

    if (err != 0) {
        net_addr_text(addr, text, sizeof(text));
        return refuse(text, strerror(-err));
    }
    return 0;
}

static int bind_all(struct member *m)
{
    const struct conf_member *self = conf_self(&m->conf);
    struct net_addr addr = {0};
    int rc;

    memcpy(addr.host, self->host, sizeof(addr.host));
    addr.port = self->peer_port;
    rc = bind_one(m, 0, &addr, peer_link_accept);
    if (rc == 0) {
        addr.port = self->client_port;
        rc = bind_one(m, 1, &addr, client_conn_accept);
    }
    if (rc == 0 && m->conf.unix_path[0] != '\0') {
        addr = (struct net_addr){.is_unix = true};
        memcpy(addr.path, m->conf.unix_path, sizeof(addr.path));
        rc = bind_one(m, 2, &addr, client_conn_accept);
    }
    return rc;
}

static int open_store(struct member *m, struct store_recovered *rec)
{
    struct store_conf conf = {
        .cluster = m->cluster,
        .member = m->conf.id,
        .segment_size = m->conf.segment_size,
        .snapshots_kept = m->conf.snapshots_kept,
    };
    char note[256] = "";
    int err = vfs_posix(m->conf.data, &m->vfs);

    if (err != 0) {
        return refuse(m->conf.data, strerror(-err));
    }
    conf.vfs = m->vfs;
    if (getrandom(&conf.incarnation, sizeof(conf.incarnation), 0) != sizeof(conf.incarnation)) {
        return refuse("getrandom", strerror(errno));
    }
    if (m->conf.restore[0] != '\0') {
        err = member_restore(m, &conf);
        if (err != 0) {
            return err;
        }
    }
    err = store_open(&conf, &m->store, rec, note);
    if (err != 0) {
        fprintf(stderr, "zabd: %s: %s: %s\n", m->conf.data, err_text(err), note);
        return err == ERR_BUSY || err == ERR_FOREIGN ? 2 : 1;
    }
    return 0;
}

static int consume(void *ctx, const uint8_t *bytes, size_t size)
{
    return tree_loader_feed(ctx, bytes, size);
}

/* The tree as of the snapshot; the log behind it is applied once it is known to be committed. */
static int load_tree(struct member *m, const struct store_recovered *rec, struct tree **ret)
{
    struct tree_loader *loader;
    int err;

    if (!rec->has_snapshot) {
        *ret = tree_new();
        return 0;
    }
    loader = tree_loader_new();
    err = store_snapshot_read(m->store, &rec->snapshot, consume, loader);
    if (err == 0) {
        err = tree_loader_finish(loader, ret);
    } else {
        tree_loader_free(loader);
    }
    if (err == 0 && tree_index(*ret) != rec->snapshot.index) {
        tree_free(*ret);
        err = ERR_CORRUPT;
    }
    return err;
}

static void node_conf_fill(struct member *m, struct node_conf *ret)
{
    const struct conf *conf = &m->conf;
    char address[sizeof(m->addresses[0])];

    *ret = (struct node_conf){
        .cluster = conf_cluster(conf),
        .value_size_max = conf->value_size_max,
        .snapshot_entries = conf->snapshot_entries,
        .request_deadline_ms_max = OPERATION_DEADLINE_MS_MAX,
        .history_changes = conf->history_changes,
        .history_bytes = conf->history_bytes,
    };
    zab_conf_default(&ret->zab);
    ret->zab.self = conf->id;
    ret->zab.member_count = conf->member_count;
    for (uint32_t i = 0; i < conf->member_count; i++) {
        ret->zab.members[i] = conf->members[i].id;
        snprintf(address, sizeof(address), "%s:%u", conf->members[i].host,
                 conf->members[i].client_port);
        memcpy(m->addresses[i], address, sizeof(address));
        ret->addresses[i] = m->addresses[i];
    }
    ret->zab.heartbeat_ms = conf->heartbeat_ms;
    ret->zab.election_min_ms = conf->election_min_ms;
    ret->zab.election_max_ms = conf->election_max_ms;
    ret->zab.lease_ms = 2 * conf->heartbeat_ms; /* the next answer comes before it has ended */
    if (getrandom(&ret->zab.seed, sizeof(ret->zab.seed), 0) < 0) {
        ret->zab.seed = uv_hrtime();
    }
}

static void make_node(struct member *m, const struct store_recovered *rec, struct tree *tree,
                      uint64_t start_ms)
{
    const struct node_io io = {
        .ctx = m,
        .send_peer = io_send_peer,
        .peer_queued = io_peer_queued,
        .send_client = io_send_client,
        .close_client = io_close_client,
        .store = io_store,
        .snapshot = io_snapshot,
        .log = io_log,
        .stop = io_stop,
    };
    struct node_time now = member_now();
    struct node_conf conf;
    struct zab_boot boot;

    node_boot_from_store(rec, &boot);
    boot.start_ms = start_ms;
    node_conf_fill(m, &conf);
    m->node = node_new(&conf, &io, &boot, tree, &now);
    node_boot_done(&boot);
}

static int recover(struct member *m)
{
    struct store_recovered rec;
    struct tree *tree;
    uint64_t before_ns = uv_hrtime();
    uint64_t start_ms;
    int rc = open_store(m, &rec);

    if (rc != 0) {
        return rc;
    }
    m->incarnation = rec.incarnation;
    start_ms = member_now().mono_ms; /* the directory is locked: no former life has it */
    rc = load_tree(m, &rec, &tree);
    if (rc != 0) {
        LOG_ERR("store", "ev=snapshot_unusable index=%" PRIu64 " err=\"%s\"", rec.snapshot.index,
                err_text(rc));
        store_recovered_done(&rec);
        return 1;
    }
    LOG_INFO("store",
             "ev=recovered new=%d snapshot=%" PRIu64 " entries=%zu promised=%" PRIu64
             " torn_tail=%d faulty=%d claimed=%" PRIu64 " ms=%" PRIu64 " note=\"%s\"",
             rec.is_new, rec.snapshot.index, rec.entry_count, rec.promised_epoch, rec.torn_tail,
             rec.faulty, rec.claimed_index, (uv_hrtime() - before_ns) / 1000000, rec.note);
    make_node(m, &rec, tree, start_ms);
    store_recovered_done(&rec);
    return 0;
}

static void start_handles(struct member *m)
{
    uv_check_init(&m->loop, &m->check);
    m->check.data = m;
    uv_check_start(&m->check, on_check);
    uv_timer_init(&m->loop, &m->timer);
    m->timer.data = m;
    awake_init(&m->awake, &m->loop, m->conf.awake);
    store_worker_start(m);
    uv_signal_init(&m->loop, &m->sigterm);
    uv_signal_init(&m->loop, &m->sigint);
    uv_signal_init(&m->loop, &m->sigchld);
    m->sigterm.data = m->sigint.data = m->sigchld.data = m;
    uv_signal_start(&m->sigterm, on_signal, SIGTERM);
    uv_signal_start(&m->sigint, on_signal, SIGINT);
    uv_signal_start(&m->sigchld, on_signal, SIGCHLD);
}

static void stop_handles(struct member *m)
{
    client_conns_stop(m);
    peer_links_stop(m);
    store_worker_stop(m);
    awake_done(&m->awake);
    uv_close((uv_handle_t *)&m->check, NULL);
    uv_close((uv_handle_t *)&m->timer, NULL);
    uv_close((uv_handle_t *)&m->sigterm, NULL);
    uv_close((uv_handle_t *)&m->sigint, NULL);
    uv_close((uv_handle_t *)&m->sigchld, NULL);
}

static void close_listeners(struct member *m)
{
    for (size_t i = 0; i < sizeof(m->listeners) / sizeof(m->listeners[0]); i++) {
        if (m->listeners[i] != NULL) {
            listener_close(m->listeners[i]);
            m->listeners[i] = NULL;
        }
    }
}

static void run(struct member *m)
{
    const struct conf_member *self = conf_self(&m->conf);

    start_handles(m);
    peer_links_start(m);
    member_flush(m);
    LOG_INFO("zabd", "ev=started id=%u members=%u peer=%s:%u client=%s:%u unix=%s", m->conf.id,
             m->conf.member_count, self->host, self->peer_port, self->host, self->client_port,
             m->conf.unix_path);
    uv_run(&m->loop, UV_RUN_DEFAULT);
    close_listeners(m);
    stop_handles(m);
}

int member_run(const struct conf *conf)
{
    struct member *m = mem_zalloc(sizeof(*m));
    int rc;

    m->conf = *conf;
    m->cluster = conf_cluster(conf);
    CHECK(uv_loop_init(&m->loop) == 0);
    rc = bind_all(m);
    if (rc == 0) {
        rc = recover(m);
    }
    if (rc == 0) {
        run(m);
        rc = m->exit_code;
        LOG_INFO("zabd", "ev=stopped exit=%d", rc);
    }
    close_listeners(m);
    uv_run(&m->loop, UV_RUN_DEFAULT); /* last callbacks of streams and handles */
    peer_links_free(m);
    snapshot_child_end(m); /* or it would race with the next start for the temporary file */
    mem_free(m->snapshot.buffer);
    if (m->node != NULL) {
        node_free(m->node);
    }
    if (m->store != NULL) {
        store_close(m->store);
    }
    if (m->vfs.ctx != NULL) {
        vfs_posix_done(&m->vfs);
    }
    uv_loop_close(&m->loop);
    mem_free(m);
    return rc;
}
