#ifndef ZABFS_CTL_H
#define ZABFS_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "bytes.h"
#include "client.h"

/* zabctl: one command a process. A command is a function that gets its options, its arguments and,
 * if it talks to the ensemble, a session; it prints its result on stdout and its failure on stderr,
 * and returns the exit code. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1, /* of the operation; `zabctl: PATH: text` was printed */
    CTL_USAGE = 2,  /* wrong usage or configuration; one line was printed */
    /* lock and create --ephemeral, which else have the exit code of their COMMAND: */
    CTL_NOT_GOT = 75, /* somebody else has the lock */
    CTL_LOST = 76,    /* it can no longer be known that the lock or file is ours */
    CTL_CANNOT_RUN = 126,
    CTL_NO_PROGRAM = 127,
    CTL_SIGNAL = 128, /* and the signal's number */
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
    CTL_OPT_SHARED = 1 << 12,
    CTL_OPT_WAIT = 1 << 13,
    CTL_OPT_NONBLOCK = 1 << 14,
    CTL_OPT_FROM = 1 << 15,
    CTL_OPT_AT = 1 << 16,
    CTL_OPT_EPHEMERAL = 1 << 17,
    CTL_OPT_TTL = 1 << 18,
    CTL_OPT_NO_REPLACE = 1 << 19,
    CTL_OPT_EXCHANGE = 1 << 20,
    CTL_OPT_COUNT = 1 << 21,
    CTL_OPT_GLOBAL = CTL_OPT_SERVERS | CTL_OPT_JSON | CTL_OPT_DEADLINE,
};

struct ctl_args {
    unsigned seen;        /* enum ctl_option bits */
    const char *servers;  /* never NULL */
    uint32_t deadline_ms; /* 0: the command's default */
    uint32_t wait_ms;     /* CTL_OPT_WAIT */
    uint32_t ttl_ms;      /* 0: the default of a session */
    uint64_t if_version;
    uint64_t from; /* 0 if not given, and so the next two */
    uint64_t at;
    uint64_t changes_max;
    const char *dir;
    unsigned members;
    bool help;
    bool version;
    int count; /* what is not an option: the command, then its arguments */
    char **words;
    int behind;     /* so many of the words stood behind "--" */
    char **command; /* ... which are these, NULL at the end, where a command takes a COMMAND; they
                       are not among `words` then; NULL if there was no "--" */
};

struct ctl_session;

struct ctl_command {
    const char *name;
    unsigned options;         /* that it takes */
    int words_min, words_max; /* arguments after the name */
    bool takes_command;       /* behind "--" */
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
/* Cuts what stood behind "--" off the words, and ends them with NULL. */
void ctl_args_cut_command(struct ctl_args *args);

static inline bool ctl_wants_json(const struct ctl_args *args)
{
    return (args->seen & CTL_OPT_JSON) != 0;
}

const struct ctl_command *ctl_command_find(const char *name); /* or NULL */
void ctl_help_overview(void);
void ctl_help_command(const struct ctl_command *command);

struct ctl_session {
    uv_loop_t loop;
    struct client *client;
    uint32_t timeout_ms; /* it ends when nothing is heard of it for so long */
    uint32_t goodbye_ms; /* how long the end of it may take; then it is left to its timeout */
};

/* Returns CTL_OK, or CTL_USAGE after one line on stderr when the server list does not parse. `ops`
 * may be NULL, `ctx` is theirs. */
int ctl_session_open(const struct ctl_args *args, const struct client_ops *ops, void *ctx,
                     struct ctl_session *ret);
void ctl_session_close(struct ctl_session *s);

/* The VALUE argument: none is empty (NULL), "-" is standard input to its end. Returns CTL_OK or
 * CTL_FAILED after one line on stderr. */
int ctl_take_value(const char *word, struct blob **ret);
/* The same for a whole file of at most `max` bytes. `name` NULL or "-": standard input. */
int ctl_take_file(const char *name, size_t max, struct buf *ret);

/* Fills a CREATE for the last name of `path`, with what trailing '#' and '@' ask for. */
int ctl_prepare_create(struct ctl_session *s, const char *path, enum node_type type, uint32_t mode,
                       struct request *ret);

/* Print `zabctl: SUBJECT: text` and return CTL_FAILED or CTL_USAGE. */
int ctl_fail(const char *subject, int err);
int ctl_fail_errno(const char *subject, int err_no);
__attribute__((format(printf, 1, 2))) int ctl_usage(const char *fmt, ...);

/* The new node as JSON, or its name, or nothing. */
void ctl_print_created(const struct ctl_args *args, const struct reply *reply, bool name_only);

int ctl_run_get(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_ls(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_stat(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_sync(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_status(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_set(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_create(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_mkdir(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_rm(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_mv(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_append(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_attr(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_txn(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_locks(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_lock(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_watch(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_log(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_backup(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_fsck(const struct ctl_args *args, struct ctl_session *s, char **words);
int ctl_run_dev(const struct ctl_args *args, struct ctl_session *s, char **words);

#endif
