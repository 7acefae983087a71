/* Commands that change the tree: set, mkdir, rm. Each change is one request, so a command
 * that fails half-way (mkdir -p, rm -r) leaves what it had done. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "err.h"
#include "mem.h"
#include "name.h"
#include "print.h"

int ctl_prepare_create(struct ctl_session *s, const char *path, enum node_type type, uint32_t mode,
                       struct request *ret)
{
    struct attr dir;
    struct name name;
    int err = client_walk_parent(s->client, path, &dir, &name);

    if (err != 0) {
        return err;
    }
    struct name_template template = name_template_parse(name.bytes, name.size);

    *ret = (struct request){
        .op = OP_CREATE,
        .u.create = {.dir = dir.id,
                     .name = {.bytes = name.bytes, .size = (uint32_t) template.size},
                     .type = type,
                     .mode = mode,
                     .uid = (uint32_t)geteuid(),
                     .gid = (uint32_t)getegid(),
                     .flags = template.sequential ? CREATE_SEQUENTIAL : 0,
                     .life = template.ephemeral ? LIFE_SESSION : LIFE_PERMANENT},
    };
    return 0;
}

static int create_node(struct ctl_session *s, const char *path, enum node_type type, uint32_t mode,
                       struct blob *value, struct reply *ret)
{
    struct request request;
    int err = ctl_prepare_create(s, path, type, mode, &request);

    if (err != 0) {
        return err;
    }
    if (request.u.create.life != LIFE_PERMANENT) {
        return ERR_PERM; /* it would be gone with this process, at once */
    }
    request.u.create.value = value;
    return client_call(s->client, &request, ret);
}

void ctl_print_created(const struct ctl_args *args, const struct reply *reply, bool name_only)
{
    if (ctl_wants_json(args)) {
        print_json_node(stdout, &reply->u.create.name, &reply->u.create.attr);
        putchar('\n');
    } else if (name_only) {
        print_name(stdout, &reply->u.create.name);
        putchar('\n');
    }
}

/* Sets an existing file's value. */
static int set_value(struct ctl_session *s, const struct ctl_args *args, const char *path,
                     struct blob *value, struct reply *ret)
{
    struct attr attr;
    int err = client_walk(s->client, path, &attr);

    if (err != 0) {
        return err;
    }
    if (attr.type != NODE_FILE) {
        return attr.type == NODE_DIR ? ERR_ISDIR : ERR_INVAL;
    }
    struct request request = {
        .op = OP_SET,
        .u.set = {.id = attr.id, .if_version = args->if_version, .value = value},
    };

    return client_call(s->client, &request, ret);
}

/* With --create a missing file is created with the value. When another client creates or removes it
 * between the two steps they are tried again; each turn means that somebody else made progress. */
static int set_or_create(struct ctl_session *s, const struct ctl_args *args, const char *path,
                         struct blob *value, struct reply *ret)
{
    enum { TURNS_MAX = 100 };
    bool create = (args->seen & CTL_OPT_CREATE) != 0;
    int err = ERR_NOENT;

    for (int turn = 0; turn < TURNS_MAX; turn++) {
        err = set_value(s, args, path, value, ret);
        if (err != ERR_NOENT || !create) {
            return err;
        }
        err = create_node(s, path, NODE_FILE, 0644, value, ret);
        if (err != ERR_EXISTS) {
            return err;
        }
    }
    return err;
}

int ctl_run_set(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    struct blob *value = NULL;
    struct reply reply;
    int code;

    if ((args->seen & CTL_OPT_CREATE) != 0 && (args->seen & CTL_OPT_IF_VERSION) != 0) {
        return ctl_usage("set: --create and --if-version exclude each other");
    }
    code = ctl_take_value(words[1], &value);
    if (code != CTL_OK) {
        return code;
    }
    int err = set_or_create(s, args, words[0], value, &reply);

    blob_unref(value);
    if (err != 0) {
        return ctl_fail(words[0], err);
    }
    if (ctl_wants_json(args)) {
        const struct attr *attr = reply.op == OP_CREATE ? &reply.u.create.attr : &reply.u.attr;

        printf("{\"version\":%" PRIu64 ",\"index\":%" PRIu64 "}\n", attr->version, reply.index);
    }
    codec_reply_done(&reply);
    return CTL_OK;
}

static int make_if_missing(struct ctl_session *s, const char *path)
{
    struct attr attr;
    struct reply reply;
    int err = client_walk(s->client, path, &attr);

    if (err != ERR_NOENT) {
        return err;
    }
    err = create_node(s, path, NODE_DIR, 0755, NULL, &reply);
    if (err == 0) {
        codec_reply_done(&reply);
    }
    return err == ERR_EXISTS ? 0 : err; /* somebody else was faster */
}

/* Every directory above the last name. */
static int make_parents(struct ctl_session *s, const char *path)
{
    char *part = mem_strdup(path);
    int err = 0;

    for (char *at = strchr(part, '/'); err == 0 && at != NULL; at = strchr(at + 1, '/')) {
        if (at != part) {
            *at = '\0';
            err = make_if_missing(s, part);
            *at = '/';
        }
    }
    mem_free(part);
    return err;
}

/* True when `path` is a directory already: what mkdir -p accepts. */
static bool is_directory(struct ctl_session *s, const char *path)
{
    struct attr attr;

    return client_walk(s->client, path, &attr) == 0 && attr.type == NODE_DIR;
}

int ctl_run_mkdir(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    const char *path = words[0];
    struct reply reply;
    bool parents = (args->seen & CTL_OPT_PARENTS) != 0;
    int err = parents ? make_parents(s, path) : 0;

    if (err == 0) {
        err = create_node(s, path, NODE_DIR, 0755, NULL, &reply);
    }
    if (err == ERR_EXISTS && parents && is_directory(s, path)) {
        return CTL_OK;
    }
    if (err != 0) {
        return ctl_fail(path, err);
    }
    ctl_print_created(args, &reply, path[strlen(path) - 1] == '#');
    codec_reply_done(&reply);
    return CTL_OK;
}

static int remove_child(struct ctl_session *s, uint64_t dir, const struct name *name, bool is_dir)
{
    struct request request = {
        .op = OP_REMOVE,
        .u.remove = {.dir = dir, .name = *name, .flags = is_dir ? REMOVE_DIR : 0},
    };
    struct reply reply;
    int err = client_call(s->client, &request, &reply);

    if (err == 0) {
        codec_reply_done(&reply);
    }
    return err;
}

/* A directory that rm -r has to empty and then remove. */
struct doomed {
    struct doomed *below; /* on the stack of directories on the way down */
    uint64_t id;
    uint64_t parent;
    uint32_t name_size;
    char name[NAME_SIZE_MAX];
};

static struct doomed *doomed_push(struct doomed *below, const struct attr *attr,
                                  const struct name *name)
{
    struct doomed *d = mem_zalloc(sizeof(*d));

    d->below = below;
    d->id = attr->id;
    d->parent = attr->parent;
    d->name_size = name->size;
    memcpy(d->name, name->bytes, name->size);
    return d;
}

/* Removes the files of one page of the top directory and puts its directories on the stack. What
 * somebody else removed meanwhile is as good as removed here. *ret_empty: there was nothing. */
static int empty_page(struct ctl_session *s, struct doomed **top, bool *ret_empty)
{
    struct request request = {
        .op = OP_READDIR,
        .u.readdir = {.dir = (*top)->id, .size_max = READDIR_SIZE_MAX},
    };
    struct reply reply;
    int err = client_call(s->client, &request, &reply);

    if (err != 0) {
        *ret_empty = err == ERR_NOENT;
        return err == ERR_NOENT ? 0 : err;
    }
    *ret_empty = reply.u.readdir.count == 0;
    for (uint32_t i = 0; err == 0 && i < reply.u.readdir.count; i++) {
        const struct dirent_plus *entry = &reply.u.readdir.entries[i];

        if (entry->attr.type == NODE_DIR) {
            *top = doomed_push(*top, &entry->attr, &entry->name);
        } else {
            err = remove_child(s, request.u.readdir.dir, &entry->name, false);
            err = err == ERR_NOENT ? 0 : err;
        }
    }
    codec_reply_done(&reply);
    return err;
}

static int remove_tree(struct ctl_session *s, const struct attr *attr, const struct name *name)
{
    struct doomed *top = doomed_push(NULL, attr, name);
    int err = 0;

    while (top != NULL) {
        struct doomed *d = top;
        bool empty = false;

        if (err == 0) {
            err = empty_page(s, &top, &empty);
        }
        if (err == 0 && !empty) {
            continue;
        }
        if (err == 0) {
            struct name own = {.bytes = d->name, .size = d->name_size};

            err = remove_child(s, d->parent, &own, true);
            if (err == ERR_NOTEMPTY) { /* something was created meanwhile: once more */
                err = 0;
                continue;
            }
            err = err == ERR_NOENT ? 0 : err;
        }
        top = d->below;
        mem_free(d);
    }
    return err;
}

int ctl_run_rm(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    struct attr dir;
    struct attr attr;
    struct name name;
    int err = client_walk(s->client, words[0], &attr);

    if (err == 0) {
        err = client_walk_parent(s->client, words[0], &dir, &name);
    }
    if (err == 0 && attr.type != NODE_DIR) {
        err = remove_child(s, dir.id, &name, false);
    } else if (err == 0 && (args->seen & CTL_OPT_RECURSIVE) == 0) {
        err = ERR_ISDIR;
    } else if (err == 0) {
        err = remove_tree(s, &attr, &name);
    }
    return err == 0 ? CTL_OK : ctl_fail(words[0], err);
}
