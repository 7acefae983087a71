#ifndef ZABFS_OPTIONS_H
#define ZABFS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"

enum {
    OPTION_TEXT_SIZE = 4096,
    HELPERS_MAX = 16,
};

struct options {
    char servers[OPTION_TEXT_SIZE];
    char mountpoint[OPTION_TEXT_SIZE];
    char log_path[OPTION_TEXT_SIZE]; /* "" for stderr, or nowhere in the background */
    char pid_path[OPTION_TEXT_SIZE]; /* "" for none */
    char fuse[OPTION_TEXT_SIZE];     /* options for libfuse and the kernel */
    enum log_level log_level;
    uint32_t deadline_ms;
    uint32_t session_timeout_ms;
    unsigned helpers;
    char local[OPTION_TEXT_SIZE]; /* patterns of names of files that stay here, with colons between
                                   */
    bool awake;        /* the processors do not sleep while somebody waits, see awake.h */
    bool linearizable; /* reads show all that was committed before they began */
    bool read_only;    /* kept by zabfs: the kernel would refuse what the replay helpers do */
    bool foreground;
    bool help;
};

/* Reads a command line: [-f] [-o OPTIONS] [SERVERS] MOUNTPOINT. `is_root` decides whether
 * allow_other is on by default.
 * Errors: ERR_INVAL, with one line about it in why (NUL-terminated); *ret is then unusable. */
int options_parse(int argc, char **argv, bool is_root, struct options *ret, char *why,
                  size_t why_size);

#endif
