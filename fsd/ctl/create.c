/* create: a file that must not exist; an ephemeral one is there for as long as this process, or the
 * command that it runs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "hold.h"
#include "mem.h"
#include "name.h"

struct creation {
    struct ctl_session session;
    struct hold hold;
};

static void on_event(void *ctx, const struct event *e)
{
    struct creation *c = ctx;

    hold_on_event(&c->hold, e);
}

static void on_attach(void *ctx, bool fresh)
{
    struct creation *c = ctx;

    hold_on_attach(&c->hold, fresh);
}

/* "NAME=" and `path` with its last name replaced by the one that was made. */
static char *path_variable(const char *path, const struct name *made)
{
    static const char key[] = "ZABFS_PATH=";
    const char *last = strrchr(path, '/');
    size_t dir_size = last != NULL ? (size_t)(last + 1 - path) : 0;
    char *text = mem_alloc(sizeof(key) + dir_size + made->size);
    char *at = text + strlen(key);

    memcpy(text, key, strlen(key));
    memcpy(at, path, dir_size);
    memcpy(at + dir_size, made->bytes, made->size);
    at[dir_size + made->size] = '\0';
    return text;
}

static int keep(const struct ctl_args *args, struct creation *c, const char *path,
                const struct reply *reply)
{
    char fence[64];
    char *variables[] = {fence, path_variable(path, &reply->u.create.name), NULL};
    int err;

    c->hold.node = reply->u.create.attr.id;
    snprintf(fence, sizeof(fence), "ZABFS_FENCE=%" PRIu64, reply->u.create.attr.czxid);
    fflush(stdout); /* whoever started this waits for the name */
    err = hold_confirm(&c->hold);

    int code = err == 0 ? hold_run(&c->hold, path, args->command, variables) : ctl_fail(path, err);

    mem_free(variables[1]);
    return code;
}

static int create(const struct ctl_args *args, struct creation *c, const char *path,
                  struct blob *value, bool ephemeral)
{
    struct request request;
    struct reply reply;
    int code = CTL_OK;
    int err = ctl_prepare_create(&c->session, path, NODE_FILE, 0644, &request);

    if (err == 0) {
        request.u.create.value = value;
        request.u.create.life = ephemeral ? LIFE_SESSION : LIFE_PERMANENT;
        err = client_call(c->session.client, &request, &reply);
    }
    if (err != 0) {
        return ctl_fail(path, err);
    }
    ctl_print_created(args, &reply, true);
    if (ephemeral) {
        hold_init(&c->hold, &c->session);
        code = keep(args, c, path, &reply);
        hold_done(&c->hold);
    }
    codec_reply_done(&reply);
    return code;
}

int ctl_run_create(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    enum { GOODBYE_MS = 5000 }; /* the file is there until the session has ended */
    static const struct client_ops ops = {.on_event = on_event, .on_attach = on_attach};
    struct creation c = {.hold.node = 0};
    struct blob *value = NULL;
    bool ephemeral = (args->seen & CTL_OPT_EPHEMERAL) != 0 ||
                     name_template_parse(words[0], strlen(words[0])).ephemeral;

    (void)s;
    if (!ephemeral && (args->command != NULL || (args->seen & CTL_OPT_TTL) != 0)) {
        return ctl_usage("create: a COMMAND and --ttl go with an ephemeral file only");
    }
    int code = ctl_take_value(words[1], &value);

    if (code == CTL_OK) {
        code = ctl_session_open(args, &ops, &c, &c.session);
    }
    if (code == CTL_OK) {
        c.session.goodbye_ms = ephemeral ? GOODBYE_MS : c.session.goodbye_ms;
        code = create(args, &c, words[0], value, ephemeral);
        ctl_session_close(&c.session);
    }
    blob_unref(value);
    return code;
}
