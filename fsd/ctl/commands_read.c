/* Commands that change nothing: get, ls, stat, sync, status. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "err.h"
#include "json_text.h"
#include "mem.h"
#include "print.h"
#include "probe.h"

static struct name last_name(const char *path)
{
    size_t end = strlen(path);

    while (end > 0 && path[end - 1] == '/') {
        end--;
    }
    size_t start = end;

    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    return (struct name){.bytes = path + start, .size = (uint32_t)(end - start)};
}

int ctl_run_get(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    const char *path = words[0];
    struct attr attr;
    struct reply reply;
    int err = client_walk_at(s->client, path, args->at, &attr);

    if (err == 0 && attr.type == NODE_DIR) {
        err = ERR_ISDIR;
    }
    if (err != 0) {
        return ctl_fail(path, err);
    }
    struct request read = {.op = OP_READ, .u.read = {attr.id, args->at}};

    err = client_call(s->client, &read, &reply);
    if (err != 0) {
        return ctl_fail(path, err);
    }
    const struct blob *value = reply.u.read.value;
    const void *bytes = value != NULL ? value->data : (const void *)"";
    size_t size = value != NULL ? value->size : 0;

    if (ctl_wants_json(args)) {
        putchar('{');
        print_json_field(stdout, "path", path, strlen(path));
        printf(",\"version\":%" PRIu64 ",\"size\":%zu,", reply.u.read.attr.version, size);
        print_json_field(stdout, "value", bytes, size);
        puts("}");
    } else {
        fwrite(bytes, 1, size, stdout);
    }
    codec_reply_done(&reply);
    return CTL_OK;
}

static void print_entry(const struct ctl_args *args, const struct name *name,
                        const struct attr *attr, bool first)
{
    if (ctl_wants_json(args)) {
        fputs(first ? "" : ",\n", stdout);
        print_json_node(stdout, name, attr);
        return;
    }
    if ((args->seen & CTL_OPT_LONG) != 0) {
        char mode[11], mtime[JSON_TIME_SIZE];

        print_mode(attr, mode);
        json_time(attr->mtime_ns, mtime);
        printf("%s %5u %5u %9" PRIu64 " %6" PRIu64 " %.19sZ ", mode, attr->uid, attr->gid,
               attr->size, attr->version, mtime);
    }
    print_name(stdout, name);
    putchar('\n');
}

/* Page by page in the directory's own order, so that its size does not matter here. */
static int list_directory(struct ctl_session *s, const struct ctl_args *args, const char *path,
                          uint64_t dir)
{
    struct request request = {
        .op = OP_READDIR,
        .u.readdir = {.dir = dir, .size_max = READDIR_SIZE_MAX, .at = args->at},
    };
    bool first = true;
    bool end = false;

    while (!end) {
        struct reply reply;
        int err = client_call(s->client, &request, &reply);

        if (err != 0) {
            return ctl_fail(path, err);
        }
        end = reply.u.readdir.end || reply.u.readdir.count == 0;
        for (uint32_t i = 0; i < reply.u.readdir.count; i++) {
            const struct dirent_plus *entry = &reply.u.readdir.entries[i];

            print_entry(args, &entry->name, &entry->attr, first);
            request.u.readdir.after = entry->cookie;
            first = false;
        }
        codec_reply_done(&reply);
    }
    return CTL_OK;
}

int ctl_run_ls(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    const char *path = words[0] != NULL ? words[0] : "/";
    struct name name = last_name(path);
    struct attr attr;
    int code = CTL_OK;
    int err = client_walk_at(s->client, path, args->at, &attr);

    if (err != 0) {
        return ctl_fail(path, err);
    }
    fputs(ctl_wants_json(args) ? "[" : "", stdout);
    if (attr.type == NODE_DIR) {
        code = list_directory(s, args, path, attr.id);
    } else {
        print_entry(args, &name, &attr, true);
    }
    fputs(ctl_wants_json(args) ? "]\n" : "", stdout);
    return code;
}

static void print_stat(const char *path, const struct attr *attr)
{
    char mode[11], atime[JSON_TIME_SIZE], mtime[JSON_TIME_SIZE], ctime_text[JSON_TIME_SIZE];

    print_mode(attr, mode);
    json_time(attr->atime_ns, atime);
    json_time(attr->mtime_ns, mtime);
    json_time(attr->ctime_ns, ctime_text);
    printf("path     %s\n", path);
    printf("type     %s\n", print_type(attr->type));
    printf("id       %" PRIu64 "\n", attr->id);
    printf("size     %" PRIu64 "\n", attr->size);
    printf("mode     %04o %s\n", attr->mode, mode);
    printf("owner    %u:%u\n", attr->uid, attr->gid);
    printf("links    %u\n", attr->nlink);
    printf("life     %s\n", print_life(attr->life));
    if (attr->owner != 0) {
        printf("session  %" PRIu64 "\n", attr->owner);
    }
    printf("version  %" PRIu64 "\n", attr->version);
    printf("cversion %" PRIu64 "\n", attr->cversion);
    printf("aversion %" PRIu64 "\n", attr->aversion);
    printf("czxid    %" PRIu64 "\n", attr->czxid);
    printf("mzxid    %" PRIu64 "\n", attr->mzxid);
    printf("pzxid    %" PRIu64 "\n", attr->pzxid);
    printf("atime    %s\n", atime);
    printf("mtime    %s\n", mtime);
    printf("ctime    %s\n", ctime_text);
}

int ctl_run_stat(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    struct name name = last_name(words[0]);
    struct attr attr;
    int err = client_walk_at(s->client, words[0], args->at, &attr);

    if (err != 0) {
        return ctl_fail(words[0], err);
    }
    if (ctl_wants_json(args)) {
        print_json_node(stdout, &name, &attr);
        putchar('\n');
    } else {
        print_stat(words[0], &attr);
    }
    return CTL_OK;
}

int ctl_run_sync(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    struct request request = {.op = OP_SYNC};
    struct reply reply;
    int err = client_call(s->client, &request, &reply);

    (void)words;
    if (err != 0) {
        return ctl_fail(args->servers, err);
    }
    if (ctl_wants_json(args)) {
        printf("{\"index\":%" PRIu64 "}\n", reply.index);
    }
    codec_reply_done(&reply);
    return CTL_OK;
}

static void print_status(const struct ctl_args *args, const char *server,
                         const struct probe_status *status)
{
    bool json = ctl_wants_json(args);

    if (json) {
        printf("{\"server\":");
        print_json_text(stdout, server, strlen(server));
    } else {
        printf("server=%s", server);
    }
    for (uint32_t i = 0; i < status->reply.u.status.count; i++) {
        const struct status_field *field = &status->reply.u.status.fields[i];

        putchar(json ? ',' : ' ');
        if (json) {
            print_json_text(stdout, field->key.bytes, field->key.size);
            putchar(':');
            print_json_value(stdout, &field->value);
        } else {
            print_name(stdout, &field->key);
            putchar('=');
            print_name(stdout, &field->value);
        }
    }
    fputs(json ? "}" : "\n", stdout);
}

/* Every server of the list is asked by itself; one that does not answer is reported and counts as
 * the failure of the command, after the others were printed. */
int ctl_run_status(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    enum { TIMEOUT_MS = 3000 };
    uint64_t timeout_ms = args->deadline_ms != 0 ? args->deadline_ms : TIMEOUT_MS;
    char *list = mem_strdup(args->servers);
    char *rest = list;
    char *server;
    bool first = true;
    int code = CTL_OK;

    (void)s;
    (void)words;
    fputs(ctl_wants_json(args) ? "[" : "", stdout);
    while ((server = strsep(&rest, "+")) != NULL) {
        struct probe_status status;
        int err = probe_status_get(server, timeout_ms, &status);

        if (err == ERR_INVAL) {
            code = ctl_usage("--servers: '%s' is not unix:PATH or HOST:PORT", server);
        } else if (err != 0) {
            int failed = ctl_fail(server, err);

            code = code == CTL_OK ? failed : code;
        } else {
            fputs(ctl_wants_json(args) && !first ? ",\n" : "", stdout);
            print_status(args, server, &status);
            probe_status_done(&status);
            first = false;
        }
    }
    fputs(ctl_wants_json(args) ? "]\n" : "", stdout);
    mem_free(list);
    return code;
}
