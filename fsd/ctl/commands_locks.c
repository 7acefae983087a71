/* locks: who holds and who waits for locks, on one file or on all. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "mem.h"
#include "print.h"

static const char *kind_text(enum lock_kind kind)
{
    return kind == LOCK_KIND_POSIX ? "posix" : "flock";
}

static const char *type_text(enum lock_type type)
{
    return type == LOCK_TYPE_SHARED ? "shared" : "exclusive";
}

static void print_line(const struct lock_entry *e, const struct name *path)
{
    printf("%s %s %s pid=%u session=%" PRIu64 " %s=%" PRIu64 " label=\"",
           e->waiting ? "waits" : "holds", type_text(e->lock.type), kind_text(e->lock.kind),
           e->lock.pid, e->session, e->waiting ? "since" : "fence", e->index);
    print_name(stdout, &e->label);
    putchar('"');
    if (e->lock.kind == LOCK_KIND_POSIX && e->lock.end == UINT64_MAX) {
        printf(" bytes=%" PRIu64 "-", e->lock.start);
    } else if (e->lock.kind == LOCK_KIND_POSIX) {
        printf(" bytes=%" PRIu64 "-%" PRIu64, e->lock.start, e->lock.end);
    }
    putchar(' ');
    print_name(stdout, path);
    putchar('\n');
}

static void print_object(const struct lock_entry *e, const struct name *path, bool first)
{
    fputs(first ? "{" : ",\n{", stdout);
    print_json_field(stdout, "path", path->bytes, path->size);
    printf(",\"id\":%" PRIu64
           ",\"state\":\"%s\",\"type\":\"%s\",\"kind\":\"%s\",\"start\":%" PRIu64,
           e->node, e->waiting ? "waits" : "holds", type_text(e->lock.type),
           kind_text(e->lock.kind), e->lock.start);
    if (e->lock.end == UINT64_MAX) {
        fputs(",\"end\":null", stdout);
    } else {
        printf(",\"end\":%" PRIu64, e->lock.end);
    }
    printf(",\"pid\":%u,\"session\":%" PRIu64 ",", e->lock.pid, e->session);
    print_json_field(stdout, "label", e->label.bytes, e->label.size);
    printf(",\"%s\":%" PRIu64 "}", e->waiting ? "since" : "fence", e->index);
}

/* One page; the entries of a node never lie on two. Returns the id of the last node. */
static uint64_t print_page(const struct ctl_args *args, const struct reply *reply, bool first)
{
    struct name path = {0};
    uint64_t node = 0;

    for (uint32_t i = 0; i < reply->u.locks.count; i++) {
        const struct lock_entry *e = &reply->u.locks.list[i];

        path = e->node != node ? e->path : path; /* told once a node */
        node = e->node;
        if (ctl_wants_json(args)) {
            print_object(e, &path, first && i == 0);
        } else {
            print_line(e, &path);
        }
    }
    return node;
}

int ctl_run_locks(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    struct request request = {.op = OP_LOCKS};
    const char *subject = words[0] != NULL ? words[0] : args->servers;
    struct attr attr = {0};
    bool first = true;
    bool end = false;
    int err = words[0] != NULL ? client_walk(s->client, words[0], &attr) : 0;

    request.u.locks.id = attr.id;
    fputs(ctl_wants_json(args) && err == 0 ? "[" : "", stdout);
    while (err == 0 && !end) {
        struct reply reply;

        err = client_call(s->client, &request, &reply);
        if (err == 0) {
            end = reply.u.locks.end || reply.u.locks.count == 0;
            request.u.locks.after = print_page(args, &reply, first);
            first = first && reply.u.locks.count == 0;
            codec_reply_done(&reply);
        }
    }
    if (err != 0) {
        return ctl_fail(subject, err);
    }
    fputs(ctl_wants_json(args) ? "]\n" : "", stdout);
    return CTL_OK;
}
