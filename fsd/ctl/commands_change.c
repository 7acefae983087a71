/* Commands that change the tree otherwise than by a value: mv, append, attr, txn. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "err.h"
#include "limits.h"
#include "mem.h"
#include "print.h"
#include "txn_text.h"

static void print_version(const struct ctl_args *args, const struct attr *attr, uint64_t index)
{
    if (ctl_wants_json(args)) {
        printf("{\"version\":%" PRIu64 ",\"size\":%" PRIu64 ",\"index\":%" PRIu64 "}\n",
               attr->version, attr->size, index);
    }
}

/* --- mv --------------------------------------------------------------------------------------- */

/* Where `to` is a directory the node keeps its name in there, as with mv(1). */
static int find_target(struct ctl_session *s, const char *to, bool exact, struct request *r)
{
    struct attr dir;
    int err = exact ? ERR_NOENT : client_walk(s->client, to, &dir);

    if (err == 0 && dir.type == NODE_DIR) {
        r->u.rename.to_dir = dir.id;
        r->u.rename.to_name = r->u.rename.name;
        return 0;
    }
    err = client_walk_parent(s->client, to, &dir, &r->u.rename.to_name);
    r->u.rename.to_dir = dir.id;
    return err;
}

int ctl_run_mv(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    bool exchange = (args->seen & CTL_OPT_EXCHANGE) != 0;
    bool no_replace = (args->seen & CTL_OPT_NO_REPLACE) != 0;
    struct request request = {.op = OP_RENAME};
    struct reply reply;
    struct attr dir = {0};

    if (exchange && no_replace) {
        return ctl_usage("mv: --exchange and --no-replace exclude each other");
    }
    request.u.rename.flags =
        (exchange ? RENAME_FLAG_EXCHANGE : 0U) | (no_replace ? RENAME_FLAG_NOREPLACE : 0U);
    int err = client_walk_parent(s->client, words[0], &dir, &request.u.rename.name);

    if (err != 0) {
        return ctl_fail(words[0], err);
    }
    request.u.rename.dir = dir.id;
    err = find_target(s, words[1], exchange, &request);
    if (err == 0) {
        err = client_call(s->client, &request, &reply);
    }
    if (err != 0) {
        return ctl_fail(err == ERR_NOENT ? words[0] : words[1], err);
    }
    if (ctl_wants_json(args)) {
        print_json_node(stdout, &request.u.rename.to_name, &reply.u.rename.attr);
        putchar('\n');
    }
    codec_reply_done(&reply);
    return CTL_OK;
}

/* --- append ----------------------------------------------------------------------------------- */

int ctl_run_append(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    struct request request = {.op = OP_APPEND};
    struct reply reply;
    struct attr attr;
    int code = ctl_take_value(words[1], &request.u.append.value);

    if (code != CTL_OK) {
        return code;
    }
    int err = client_walk(s->client, words[0], &attr);

    if (err == 0) {
        request.u.append.id = attr.id;
        err = client_call(s->client, &request, &reply);
    }
    blob_unref(request.u.append.value);
    if (err != 0) {
        return ctl_fail(words[0], err);
    }
    print_version(args, &reply.u.attr, reply.index);
    codec_reply_done(&reply);
    return CTL_OK;
}

/* --- attr ------------------------------------------------------------------------------------- */

static void print_attribute(const struct ctl_args *args, const struct xattr *x, bool first)
{
    const void *bytes = x->value != NULL ? x->value->data : (const void *)"";
    size_t size = x->value != NULL ? x->value->size : 0;

    if (!ctl_wants_json(args)) {
        print_name(stdout, &x->name);
        putchar('\n');
        return;
    }
    fputs(first ? "{" : ",\n{", stdout);
    print_json_field(stdout, "name", x->name.bytes, x->name.size);
    putchar(',');
    print_json_field(stdout, "value", bytes, size);
    putchar('}');
}

static int attr_list(const struct ctl_args *args, struct ctl_session *s, const char *path,
                     uint64_t id)
{
    struct request request = {.op = OP_XATTRS, .u.xattrs.id = id};
    struct reply reply;
    int err = client_call(s->client, &request, &reply);

    if (err != 0) {
        return ctl_fail(path, err);
    }
    fputs(ctl_wants_json(args) ? "[" : "", stdout);
    for (uint32_t i = 0; i < reply.u.xattrs.count; i++) {
        print_attribute(args, &reply.u.xattrs.list[i], i == 0);
    }
    fputs(ctl_wants_json(args) ? "]\n" : "", stdout);
    codec_reply_done(&reply);
    return CTL_OK;
}

static int attr_get(struct ctl_session *s, const char *path, uint64_t id, const char *name)
{
    struct request request = {.op = OP_XATTRS, .u.xattrs.id = id};
    struct reply reply;
    int err = client_call(s->client, &request, &reply);

    if (err != 0) {
        return ctl_fail(path, err);
    }
    err = ERR_NODATA;
    if (strcmp(name, "user.zabfs.fence") == 0) { /* not stored, but told beside the others */
        printf("%" PRIu64, reply.u.xattrs.fence);
        err = 0;
    }
    for (uint32_t i = 0; err != 0 && i < reply.u.xattrs.count; i++) {
        const struct xattr *x = &reply.u.xattrs.list[i];

        if (x->name.size == strlen(name) && memcmp(x->name.bytes, name, x->name.size) == 0) {
            fwrite(x->value != NULL ? x->value->data : (const uint8_t *)"", 1,
                   x->value != NULL ? x->value->size : 0, stdout);
            err = 0;
        }
    }
    codec_reply_done(&reply);
    return err == 0 ? CTL_OK : ctl_fail(path, err);
}

static int attr_change(struct ctl_session *s, const char *path, struct request *request)
{
    struct reply reply;
    int err = client_call(s->client, request, &reply);

    if (err != 0) {
        return ctl_fail(path, err);
    }
    codec_reply_done(&reply);
    return CTL_OK;
}

static int attr_set(struct ctl_session *s, const char *path, uint64_t id, const char *name,
                    const char *word)
{
    struct request request = {
        .op = OP_SETXATTR,
        .u.setxattr = {.id = id, .name = {name, (uint32_t)strlen(name)}},
    };
    int code = ctl_take_value(word, &request.u.setxattr.value);

    if (code == CTL_OK) {
        code = attr_change(s, path, &request);
        blob_unref(request.u.setxattr.value);
    }
    return code;
}

int ctl_run_attr(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    static const struct {
        const char *name;
        int words; /* behind the path, at least and at most */
        int words_max;
    } verbs[] = {{"get", 1, 1}, {"set", 1, 2}, {"rm", 1, 1}, {"ls", 0, 0}};
    enum { GET, SET, REMOVE, VERBS = sizeof(verbs) / sizeof(verbs[0]) };
    int given = args->count - 3;
    int verb = 0;
    struct attr attr;

    while (verb < VERBS && strcmp(words[0], verbs[verb].name) != 0) {
        verb++;
    }
    if (verb == VERBS || given < verbs[verb].words || given > verbs[verb].words_max) {
        return ctl_usage("attr: usage: zabctl attr get PATH NAME | set PATH NAME [VALUE|-] | "
                         "rm PATH NAME | ls PATH");
    }
    int err = client_walk(s->client, words[1], &attr);

    if (err != 0) {
        return ctl_fail(words[1], err);
    }
    if (verb == GET) {
        return attr_get(s, words[1], attr.id, words[2]);
    }
    if (verb == SET) {
        return attr_set(s, words[1], attr.id, words[2], words[3]);
    }
    if (verb == REMOVE) {
        struct request request = {
            .op = OP_SETXATTR,
            .u.setxattr = {.id = attr.id,
                           .name = {words[2], (uint32_t)strlen(words[2])},
                           .flags = SETXATTR_REMOVE},
        };

        return attr_change(s, words[1], &request);
    }
    return attr_list(args, s, words[1], attr.id);
}

/* --- txn -------------------------------------------------------------------------------------- */

/* "error 3: REASON" becomes "zabctl: NAME:3: REASON", "error: REASON" becomes "zabctl: NAME: ...".
 */
static void print_refusal(const char *name, struct buf *outcome)
{
    const char *text;

    buf_put_u8(outcome, '\0');
    text = (const char *)outcome->data + strlen("error");
    fprintf(stderr, "zabctl: %s%s%s", name, text[0] == ' ' ? ":" : "", text + (text[0] == ' '));
}

static void print_steps(const struct txn_text *txn, const struct reply *reply)
{
    printf("{\"index\":%" PRIu64 ",\"steps\":[", reply->index);
    for (uint32_t i = 0; i < reply->u.txn.count; i++) {
        const struct txn_outcome *o = &reply->u.txn.list[i];

        printf("%s{\"line\":%u,", i > 0 ? ",\n" : "", txn->lines[i]);
        print_json_field(stdout, "name", o->name.bytes, o->name.size);
        printf(",\"id\":%" PRIu64 ",\"version\":%" PRIu64 "}", o->id, o->version);
    }
    puts("]}");
}

static int txn_submit(const struct ctl_args *args, struct ctl_session *s, const char *name,
                      const struct txn_text *txn)
{
    struct request request = {
        .op = OP_TXN,
        .u.txn = {.uid = (uint32_t)geteuid(),
                  .gid = (uint32_t)getegid(),
                  .count = txn->count,
                  .steps = txn->steps},
    };
    struct reply reply;
    struct buf outcome = {0};
    int code = CTL_OK;

    (void)client_call(s->client, &request, &reply); /* the text tells of failures, too */
    txn_text_outcome(txn, &reply, &outcome);
    if (txn_text_err(&reply) != 0) {
        print_refusal(name, &outcome);
        code = CTL_FAILED;
    } else if (ctl_wants_json(args)) {
        print_steps(txn, &reply);
    } else {
        fwrite(outcome.data, 1, outcome.size, stdout);
    }
    buf_done(&outcome);
    codec_reply_done(&reply);
    return code;
}

int ctl_run_txn(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    bool standard = words[0] == NULL || strcmp(words[0], "-") == 0;
    const char *name = standard ? "standard input" : words[0];
    struct txn_text txn = {0};
    struct txn_text_error error;
    struct buf text = {0};
    int code = ctl_take_file(words[0], TXN_TEXT_SIZE_MAX, &text);

    if (code != CTL_OK) {
        return code;
    }
    if (txn_text_parse(text.data, text.size, &txn, &error) != 0) {
        code = ctl_usage("%s:%u:%u: %s", name, error.line, error.column, error.reason);
    } else {
        code = txn_submit(args, s, name, &txn);
        txn_text_done(&txn);
    }
    buf_done(&text);
    return code;
}
