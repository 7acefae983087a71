/* The command line. `mount -t fuse.zabfs SERVERS DIR -o ...` ends here too: mount(8) runs
 * mount.fuse3, and that runs `zabfs SERVERS DIR -o ...`, with words in the list that only mean
 * something to itself or to fstab; those are taken and dropped. */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "limits.h"

/* What editors leave beside a file: vim's swap files and its test of a directory, emacs' locks and
 * saved buffers, anyone's backups. */
#define LOCAL_DEFAULT ".*.sw?:.*.sw?x:*~:4913:.#*:#*#"

struct parse {
    struct options *o;
    char *why;
    size_t why_size;
};

static int bad(struct parse *p, const char *what, const char *text)
{
    snprintf(p->why, p->why_size, "%s: %.200s", what, text);
    return ERR_INVAL;
}

static int take_text(struct parse *p, char *ret, const char *text, const char *what)
{
    if (text[0] == '\0') {
        return bad(p, "empty", what);
    }
    if (strlen(text) >= OPTION_TEXT_SIZE) {
        return bad(p, "too long", what);
    }
    memcpy(ret, text, strlen(text) + 1);
    return 0;
}

static int take_number(struct parse *p, const char *option, const char *text, unsigned min,
                       unsigned max, unsigned *ret)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n < min || n > max) {
        snprintf(p->why, p->why_size, "option %.200s: a number from %u to %u is wanted", option,
                 min, max);
        return ERR_INVAL;
    }
    *ret = (unsigned)n;
    return 0;
}

static int add_fuse(struct parse *p, const char *text)
{
    size_t size = strlen(p->o->fuse);

    if (size + strlen(text) + 2 > sizeof(p->o->fuse)) {
        return bad(p, "too long", "options");
    }
    if (size > 0) {
        p->o->fuse[size++] = ',';
    }
    memcpy(p->o->fuse + size, text, strlen(text) + 1);
    return 0;
}

static bool is_one_of(const char *text, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(text, *list) == 0) {
            return true;
        }
    }
    return false;
}

/* Options that libfuse or the kernel understands. */
static const char *const passed_on[] = {
    "exec", "noexec", "atime",   "noatime", "nodiratime", "norelatime",
    "sync", "async",  "dirsync", "debug",   NULL,
};

/* Words of fstab, what is always on, and `dev` and `suid`: mount.fuse3 adds these two for root
 * unasked, and a name service never grants privileges by its content, so they change nothing. */
static const char *const ignored[] = {
    "defaults", "auto",  "noauto", "user",   "nouser",
    "users",    "owner", "group",  "nofail", "_netdev",
    "dev",      "nodev", "suid",   "nosuid", "default_permissions",
    "relatime", NULL,
};

static int take_value_option(struct parse *p, const char *option, const char *value)
{
    struct options *o = p->o;
    unsigned n;
    int err;

    if (strncmp(option, "servers=", 8) == 0) {
        return take_text(p, o->servers, value, "option servers");
    }
    if (strncmp(option, "log=", 4) == 0) {
        return take_text(p, o->log_path, value, "option log");
    }
    if (strncmp(option, "pidfile=", 8) == 0) {
        return take_text(p, o->pid_path, value, "option pidfile");
    }
    if (strncmp(option, "log_level=", 10) == 0) {
        return log_level_parse(value, &o->log_level) != 0 ? bad(p, "bad option", option) : 0;
    }
    if (strncmp(option, "deadline=", 9) == 0) {
        err = take_number(p, option, value, 1, OPERATION_DEADLINE_MS_MAX / 1000, &n);
        o->deadline_ms = err == 0 ? n * 1000 : 0;
        return err;
    }
    if (strncmp(option, "session_timeout=", 16) == 0) {
        err = take_number(p, option, value, SESSION_TIMEOUT_MS_MIN / 1000,
                          SESSION_TIMEOUT_MS_MAX / 1000, &n);
        o->session_timeout_ms = err == 0 ? n * 1000 : 0;
        return err;
    }
    if (strncmp(option, "reads=", 6) == 0) {
        o->linearizable = strcmp(value, "linearizable") == 0;
        return o->linearizable || strcmp(value, "local") == 0 ? 0 : bad(p, "bad option", option);
    }
    if (strncmp(option, "local=", 6) == 0) {
        o->local[0] = '\0'; /* no pattern: no local files */
        return value[0] == '\0' ? 0 : take_text(p, o->local, value, "option local");
    }
    if (strncmp(option, "helpers=", 8) == 0) {
        return take_number(p, option, value, 1, HELPERS_MAX, &o->helpers);
    }
    if (strncmp(option, "awake=", 6) == 0) {
        err = take_number(p, option, value, 0, 1, &n);
        o->awake = err == 0 && n == 1;
        return err;
    }
    if (strncmp(option, "subtype=", 8) == 0 || strncmp(option, "fsname=", 7) == 0 ||
        strncmp(option, "comment=", 8) == 0) {
        return 0;
    }
    return bad(p, "unknown option", option);
}

static int take_option(struct parse *p, const char *option)
{
    const char *value = strchr(option, '=');

    if (option[0] == '\0' || strncmp(option, "x-", 2) == 0 || is_one_of(option, ignored)) {
        return 0;
    }
    if (strcmp(option, "ro") == 0 || strcmp(option, "rw") == 0) {
        p->o->read_only = option[1] == 'o';
        return 0;
    }
    if (is_one_of(option, passed_on)) {
        return add_fuse(p, option);
    }
    if (strcmp(option, "allow_other") == 0) {
        return strstr(p->o->fuse, option) != NULL ? 0 : add_fuse(p, option);
    }
    return value == NULL ? bad(p, "unknown option", option)
                         : take_value_option(p, option, value + 1);
}

static int take_options(struct parse *p, const char *text)
{
    char *list = strdup(text);
    char *rest = list;
    char *option;
    int err = 0;

    if (list == NULL) {
        return bad(p, "out of memory", "options");
    }
    while (err == 0 && (option = strsep(&rest, ",")) != NULL) {
        err = take_option(p, option);
    }
    free(list);
    return err;
}

static int take_words(struct parse *p, int argc, char **argv, const char **ret_words,
                      int *ret_count)
{
    int count = 0;
    int err = 0;

    for (int n = 1; n < argc && err == 0; n++) {
        const char *arg = argv[n];

        if (strcmp(arg, "-f") == 0) {
            p->o->foreground = true;
        } else if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
            p->o->help = true;
        } else if (strcmp(arg, "-o") == 0 && n + 1 < argc) {
            err = take_options(p, argv[++n]);
        } else if (strncmp(arg, "-o", 2) == 0 && arg[2] != '\0') {
            err = take_options(p, arg + 2);
        } else if (arg[0] == '-') {
            err = bad(p, "unknown option", arg);
        } else if (count == 2) {
            err = bad(p, "one argument too many", arg);
        } else {
            ret_words[count++] = arg;
        }
    }
    *ret_count = count;
    return err;
}

int options_parse(int argc, char **argv, bool is_root, struct options *ret, char *why,
                  size_t why_size)
{
    struct parse p = {.o = ret, .why = why, .why_size = why_size};
    const char *words[2] = {NULL, NULL};
    int count = 0;
    int err;

    *ret = (struct options){
        .log_level = LOG_INFO,
        .deadline_ms = OPERATION_DEADLINE_MS_DEFAULT,
        .session_timeout_ms = SESSION_TIMEOUT_MS_DEFAULT,
        .helpers = 4,
        .awake = true,
    };
    snprintf(ret->local, sizeof(ret->local), "%s", LOCAL_DEFAULT);
    snprintf(ret->fuse, sizeof(ret->fuse),
             "fsname=zabfs,subtype=zabfs,default_permissions,nosuid,nodev%s",
             is_root ? ",allow_other" : "");
    err = take_words(&p, argc, argv, words, &count);
    if (err != 0 || ret->help) {
        return err;
    }
    if (count == 0) {
        return bad(&p, "missing argument", "MOUNTPOINT");
    }
    if (count == 2) {
        err = take_text(&p, ret->servers, words[0], "servers");
    }
    if (err == 0) {
        err = take_text(&p, ret->mountpoint, words[count - 1], "mount point");
    }
    if (err == 0 && ret->servers[0] == '\0') {
        return bad(&p, "missing option", "servers=unix:PATH+HOST:PORT+...");
    }
    return err;
}
