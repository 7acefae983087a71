/* snapshot_load SERVERS fill COUNT [PREFIX [DIRECTORY_FILES]]
 * snapshot_load SERVERS pace PER_SECOND SECONDS
 *
 * What snapshot_bench.py and growth.py run beside an ensemble. fill: creates COUNT files of 100
 * bytes, f0 on, DIRECTORY_FILES (1000) to a directory, in directories of the root that are named
 * PREFIX (d) and a number; as many at a time as the client sends. pace: sets values of d0's
 * files at a steady pace; one line a write, when it was submitted (milliseconds since 1970) and how
 * long it took (microseconds), counted from when it was due. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "check.h"
#include "client.h"
#include "err.h"
#include "mem.h"

enum { VALUE_SIZE = 100, DIR_FILES = 1000, WINDOW = 2000, TICK_MS = 1 };

struct bench {
    uv_loop_t loop;
    struct client *client;
    uv_timer_t timer;
    struct blob *value;
    uint64_t begun_ns;
    uint64_t count, submitted, done;
    const char *prefix;
    uint64_t dir_files;
    uint64_t dir;   /* being filled */
    uint64_t first; /* file that is set; the others follow it */
    uint64_t per_second;
    uint64_t *due_ns, *took_ns; /* of each write, by its number */
};

static void require(const struct reply *r)
{
    if (r->err != 0) {
        (void)fprintf(stderr, "snapshot_load: %s\n", err_text(r->err));
        exit(1);
    }
}

static struct request request_create(const struct bench *b, uint64_t dir, enum node_type type,
                                     const char *name)
{
    struct request r = {.op = OP_CREATE};

    r.u.create.dir = dir;
    r.u.create.type = type;
    r.u.create.name = (struct name){name, (uint32_t)strlen(name)};
    r.u.create.mode = 0755;
    r.u.create.value = type == NODE_FILE ? b->value : NULL;
    return r;
}

/* --- fill ------------------------------------------------------------------------------------- */

static void fill_more(struct bench *b);

static void on_filled(void *ctx, void *arg, const struct reply *r)
{
    struct bench *b = arg;

    (void)ctx;
    require(r);
    b->done++;
    fill_more(b);
}

static void on_dir(void *ctx, void *arg, const struct reply *r)
{
    struct bench *b = arg;

    (void)ctx;
    require(r);
    b->dir = r->u.create.attr.id;
    fill_more(b);
}

static void create_dir(struct bench *b)
{
    char name[64];
    struct request r;

    (void)snprintf(name, sizeof(name), "%s%" PRIu64, b->prefix, b->submitted / b->dir_files);
    r = request_create(b, TREE_ROOT_ID, NODE_DIR, name);
    client_submit(b->client, &r, on_dir, b);
}

/* A directory's id comes with its reply, so files wait for it. */
static void fill_more(struct bench *b)
{
    char name[32];
    struct request r;

    while (b->dir != 0 && b->submitted < b->count && b->submitted - b->done < WINDOW) {
        (void)snprintf(name, sizeof(name), "f%" PRIu64, b->submitted);
        r = request_create(b, b->dir, NODE_FILE, name);
        client_submit(b->client, &r, on_filled, b);
        b->submitted++;
        if (b->submitted % b->dir_files == 0 && b->submitted < b->count) {
            b->dir = 0;
            create_dir(b);
        }
    }
    if (b->done == b->count) {
        uv_stop(&b->loop);
    }
}

static void run_fill(struct bench *b)
{
    double seconds;

    create_dir(b);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    seconds = (double)(uv_hrtime() - b->begun_ns) / 1e9;
    printf("%" PRIu64 " files in %.1f s, %.0f a second\n", b->count, seconds,
           (double)b->count / seconds);
}

/* --- pace ------------------------------------------------------------------------------------- */

static void on_set(void *ctx, void *arg, const struct reply *r)
{
    struct bench *b = ctx;
    size_t n = (size_t)(uintptr_t)arg;

    require(r);
    b->took_ns[n] = uv_hrtime() - b->due_ns[n];
    b->done++;
    if (b->done == b->count) {
        uv_stop(&b->loop);
    }
}

/* A write that this process is late to submit counts from when it was due. */
static void on_tick(uv_timer_t *timer)
{
    struct bench *b = timer->data;
    uint64_t now_ns = uv_hrtime();

    while (b->submitted < b->count) {
        uint64_t due_ns = b->begun_ns + b->submitted * 1000000000u / b->per_second;
        struct request r = {.op = OP_SET};

        if (due_ns > now_ns) {
            return;
        }
        b->due_ns[b->submitted] = due_ns;
        r.u.set.id = b->first + b->submitted % (DIR_FILES - 1);
        r.u.set.value = b->value;
        client_submit(b->client, &r, on_set, (void *)(uintptr_t)b->submitted);
        b->submitted++;
    }
}

static void run_pace(struct bench *b)
{
    struct timespec wall;
    struct attr file;
    int err = client_walk(b->client, "/d0/f0", &file);
    uint64_t offset_ns;

    if (err != 0) {
        (void)fprintf(stderr, "snapshot_load: /d0/f0: %s\n", err_text(err));
        exit(1);
    }
    clock_gettime(CLOCK_REALTIME, &wall);
    b->begun_ns = uv_hrtime();
    offset_ns = (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec - b->begun_ns;
    b->first = file.id;
    b->due_ns = mem_zalloc(b->count * sizeof(*b->due_ns));
    b->took_ns = mem_zalloc(b->count * sizeof(*b->took_ns));
    uv_timer_start(&b->timer, on_tick, 0, TICK_MS);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    uv_timer_stop(&b->timer);
    for (uint64_t i = 0; i < b->count; i++) {
        printf("%" PRIu64 " %" PRIu64 "\n", (b->due_ns[i] + offset_ns) / 1000000,
               b->took_ns[i] / 1000);
    }
    mem_free(b->due_ns);
    mem_free(b->took_ns);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct client_conf conf = {.label = "snapshot_load", .deadline_ms = 60000};
    uint8_t bytes[VALUE_SIZE];

    if (argc < 4 || (strcmp(argv[2], "pace") == 0 && argc < 5)) {
        (void)fprintf(stderr, "usage: snapshot_load SERVERS fill COUNT [PREFIX [DIRECTORY_FILES]]"
                              " | pace PER_SECOND SECONDS\n");
        return 2;
    }
    memset(bytes, 'v', sizeof(bytes));
    b.value = blob_new(bytes, sizeof(bytes));
    conf.servers = argv[1];
    CHECK(uv_loop_init(&b.loop) == 0);
    uv_timer_init(&b.loop, &b.timer);
    b.timer.data = &b;
    if (client_new(&b.loop, &conf, NULL, &b, &b.client) != 0) {
        (void)fprintf(stderr, "snapshot_load: %s is no list of servers\n", argv[1]);
        return 2;
    }
    b.begun_ns = uv_hrtime();
    if (strcmp(argv[2], "fill") == 0) {
        b.count = strtoull(argv[3], NULL, 10);
        b.prefix = argc > 4 ? argv[4] : "d";
        b.dir_files = argc > 5 ? strtoull(argv[5], NULL, 10) : DIR_FILES;
        CHECK(b.dir_files > 0);
        run_fill(&b);
    } else {
        b.per_second = strtoull(argv[3], NULL, 10);
        b.count = b.per_second * strtoull(argv[4], NULL, 10);
        run_pace(&b);
    }
    client_close(b.client, 200, NULL, NULL);
    uv_close((uv_handle_t *)&b.timer, NULL);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    uv_loop_close(&b.loop);
    blob_unref(b.value);
    return 0;
}
