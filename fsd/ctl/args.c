#include "ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limits.h"

/* Options may stand anywhere; "--" ends them. Each is a bit of enum ctl_option, so that main() can
 * refuse what the command does not take. */

static bool parse_number(const char *text, uint64_t max, uint64_t *ret)
{
    char *end;

    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);

    if (errno != 0 || *end != '\0' || v == 0 || v > max) {
        return false;
    }
    *ret = v;
    return true;
}

/* Seconds, with a fraction or without, within bounds; else tells what they are. */
static int take_seconds(const char *option, const char *text, uint32_t min_ms, uint32_t max_ms,
                        uint32_t *ret_ms)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end != '\0' || !(seconds * 1000 >= min_ms) || seconds * 1000 > max_ms) {
        return ctl_usage("%s: '%s' is not a number of seconds from %g to %u", option, text,
                         min_ms / 1000.0, max_ms / 1000);
    }
    *ret_ms = (uint32_t)(seconds * 1000);
    return CTL_OK;
}

static int take_number(const char *option, const char *what, const char *text, uint64_t *ret)
{
    if (!parse_number(text, UINT64_MAX, ret)) {
        return ctl_usage("%s: '%s' is not %s (1 or more)", option, text, what);
    }
    return CTL_OK;
}

static int take_value(struct ctl_args *args, unsigned option, const char *text)
{
    enum { WAIT_MS_MAX = 24 * 24 * 3600 * 1000 };
    uint64_t number = 0;
    int code = CTL_OK;

    switch (option) {
    case CTL_OPT_SERVERS:
        args->servers = text;
        break;
    case CTL_OPT_DEADLINE:
        code = take_seconds("--deadline", text, 1, OPERATION_DEADLINE_MS_MAX, &args->deadline_ms);
        break;
    case CTL_OPT_WAIT:
        code = take_seconds("--wait", text, 1, WAIT_MS_MAX, &args->wait_ms);
        break;
    case CTL_OPT_TTL:
        code = take_seconds("--ttl", text, SESSION_TIMEOUT_MS_MIN, SESSION_TIMEOUT_MS_MAX,
                            &args->ttl_ms);
        break;
    case CTL_OPT_IF_VERSION:
        code = take_number("--if-version", "a version", text, &args->if_version);
        break;
    case CTL_OPT_FROM:
        code = take_number("--from", "an index", text, &args->from);
        break;
    case CTL_OPT_AT:
        code = take_number("--at", "an index", text, &args->at);
        break;
    case CTL_OPT_COUNT:
        code = take_number("--count", "a number", text, &args->changes_max);
        break;
    case CTL_OPT_DIR:
        args->dir = text;
        break;
    case CTL_OPT_MEMBERS:
        if (!parse_number(text, MEMBERS_MAX, &number)) {
            return ctl_usage("--members: '%s' is not a number from 1 to %d", text, MEMBERS_MAX);
        }
        args->members = (unsigned)number;
        break;
    default:
        break; /* a switch: the bit says all */
    }
    args->seen |= option;
    return code;
}

/* Long options are numbered by their place in this table, and by the bit they stand for. */
static const struct {
    const char *name;
    unsigned option;
    int has_arg;
} table[] = {
    {"servers", CTL_OPT_SERVERS, required_argument},
    {"json", CTL_OPT_JSON, no_argument},
    {"deadline", CTL_OPT_DEADLINE, required_argument},
    {"parents", CTL_OPT_PARENTS, no_argument},
    {"recursive", CTL_OPT_RECURSIVE, no_argument},
    {"long", CTL_OPT_LONG, no_argument},
    {"create", CTL_OPT_CREATE, no_argument},
    {"if-version", CTL_OPT_IF_VERSION, required_argument},
    {"dir", CTL_OPT_DIR, required_argument},
    {"members", CTL_OPT_MEMBERS, required_argument},
    {"verbose", CTL_OPT_VERBOSE, no_argument},
    {"force", CTL_OPT_FORCE, no_argument},
    {"shared", CTL_OPT_SHARED, no_argument},
    {"wait", CTL_OPT_WAIT, required_argument},
    {"nonblock", CTL_OPT_NONBLOCK, no_argument},
    {"from", CTL_OPT_FROM, required_argument},
    {"at", CTL_OPT_AT, required_argument},
    {"ephemeral", CTL_OPT_EPHEMERAL, no_argument},
    {"ttl", CTL_OPT_TTL, required_argument},
    {"no-replace", CTL_OPT_NO_REPLACE, no_argument},
    {"exchange", CTL_OPT_EXCHANGE, no_argument},
    {"count", CTL_OPT_COUNT, required_argument},
};
enum { TABLE_SIZE = sizeof(table) / sizeof(table[0]), LONG_BASE = 1000 };

static int take_option(struct ctl_args *args, int letter, const char *text)
{
    switch (letter) {
    case 'p':
        return take_value(args, CTL_OPT_PARENTS, NULL);
    case 'r':
        return take_value(args, CTL_OPT_RECURSIVE, NULL);
    case 'l':
        return take_value(args, CTL_OPT_LONG, NULL);
    case 'h':
        args->help = true;
        return CTL_OK;
    case 'V':
        args->version = true;
        return CTL_OK;
    default:
        return take_value(args, table[letter - LONG_BASE].option, text);
    }
}

static int words_behind_dashes(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            return argc - i - 1;
        }
    }
    return 0;
}

int ctl_args_parse(int argc, char **argv, struct ctl_args *ret)
{
    struct option options[TABLE_SIZE + 3] = {
        [TABLE_SIZE] = {"help", no_argument, NULL, 'h'},
        [TABLE_SIZE + 1] = {"version", no_argument, NULL, 'V'},
    };
    struct ctl_args args = {
        .servers = getenv("ZABFS_SERVERS"),
        .behind = words_behind_dashes(argc, argv), /* getopt is about to reorder them */
    };
    int letter;

    for (int i = 0; i < TABLE_SIZE; i++) {
        options[i] = (struct option){table[i].name, table[i].has_arg, NULL, LONG_BASE + i};
    }
    if (args.servers == NULL || args.servers[0] == '\0') {
        args.servers = CTL_SERVERS_DEFAULT;
    }
    optind = 0; /* makes getopt start afresh, for tests that parse twice */
    opterr = 0; /* its messages begin with the path of the program */
    while ((letter = getopt_long(argc, argv, ":prlh", options, NULL)) != -1) {
        if (letter == '?' || letter == ':') {
            return ctl_usage("%s %s; see zabctl --help", argv[optind - 1],
                             letter == '?' ? "is not an option" : "needs a value");
        }
        int code = take_option(&args, letter, optarg);

        if (code != CTL_OK) {
            return code;
        }
    }
    args.count = argc - optind;
    args.words = argv + optind;
    *ret = args;
    return CTL_OK;
}

/* getopt has left "--" right before the words: they move over it, which makes room for a NULL. */
void ctl_args_cut_command(struct ctl_args *args)
{
    int count = args->count - args->behind;

    if (args->behind == 0 || count <= 0) {
        return;
    }
    args->words--;
    memmove(args->words, args->words + 1, (size_t)count * sizeof(*args->words));
    args->words[count] = NULL;
    args->command = args->words + count + 1;
    args->count = count;
    args->behind = 0;
}
