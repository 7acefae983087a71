#ifndef ZABFS_CTL_H
#define ZABFS_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "client.h"

/* zabctl: one command a process. A command is a function that gets its options, its arguments and,
 * if it talks to the ensemble, a session; it prints its result on stdout and its failure on stderr,
 * and returns the exit code. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1, /* of the operation; `zabctl: PATH: text` was printed */
    CTL_USAGE = 2,  /* wrong usage or configuration; one line was printed */
    /* fsck: its verdict, enum inspect_health; and, wrong usage too: */
    CTL_FSCK_NOT_DONE = 4,
};

#define CTL_SERVERS_DEFAULT "127.0.0.1:2191"

/* One bit an option, to tell whether a command takes what was given. */
enum ctl_option {
    CTL_OPT_SERVERS = 1 << 0,
    CTL_OPT_JSON = 1 << 1,
    CTL_OPT_DEADLINE = 1 << 2,
    CTL_OPT_PARENTS = 1 << 3,
    CTL_OPT_RECURSIVE = 1 << 4,
    CTL_OPT_LONG = 1 << 5,
    CTL_OPT_CREATE = 1 << 6,
    CTL_OPT_IF_VERSION = 1 << 7,
    CTL_OPT_DIR = 1 << 8,
    CTL_OPT_MEMBERS = 1 << 9,
    CTL_OPT_VERBOSE = 1 << 10,
    CTL_OPT_FORCE = 1 << 11,
    CTL_OPT_GLOBAL = CTL_OPT_SERVERS | CTL_OPT_JSON | CTL_OPT_DEADLINE,
};

struct ctl_args {
    unsigned seen;        /* enum ctl_option bits */
    const char *servers;  /* never NULL */
    uint32_t deadline_ms; /* 0: the command's default */
    uint64_t if_version;
    const char *dir;
    unsigned members;
    bool help;
    bool version;
    int count; /* what is not an option: the command, then its arguments */
    char **words;
};

struct ctl_session;

struct ctl_command {
    const char *name;
    unsigned options;         /* that it takes */
    int words_min, words_max; /* arguments after the name */
    bool without_session;
    int usage_exit; /* 0: CTL_USAGE */
    /* words: the arguments, then NULL. session: NULL if without_session. */
    int (*run)(const struct ctl_args *args, struct ctl_session *session, char **words);
    const char *synopsis;
    const char *summary; /* one line */
    const char *text;    /* the rest of its manual page */
};

extern const struct ctl_command ctl_commands[]; /* ends with a NULL name */

/* Reorders argv. Returns CTL_OK, or CTL_USAGE after one line on stderr. */
int ctl_args_parse(int argc, char **argv, struct ctl_args *ret);

static inline bool ctl_wants_json(const struct ctl_args *args)
{
    return (args->seen & CTL_OPT_JSON) != 0;
}

const struct ctl_command *ctl_command_find(const char *name); /* or NULL */
void ctl_help_overview(void);
void ctl_help_command(const struct ctl_command *command);

/* It connects with the first request, not before. */
struct ctl_session {
    uv_loop_t loop;
    struct client *client;
};

/* Returns CTL_OK, or CTL_USAGE after one line on stderr when the server list does not parse. */
int ctl_session_open(const struct ctl_args *args, struct ctl_session *ret);
void ctl_session_close(struct ctl_session *s);

/* Print `zabctl: SUBJECT: text` and return CTL_FAILED or CTL_USAGE. */
int ctl_fail(const char *subject, int err);
int ctl_fail_errno(const char *subject, int err_no);
__attribute__((format(printf, 1, 2))) int ctl_usage(const char *fmt, ...);

int ctl_run_get(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_ls(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_stat(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_sync(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_status(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_set(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_create(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_mkdir(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_rm(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_backup(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_fsck(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_dev(const struct ctl_args *args, struct ctl_session *s, char **words);

#endif
