#include "ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

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

static bool parse_seconds(const char *text, uint32_t *ret_ms)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end != '\0' || !(seconds >= 0.001) ||
        seconds > OPERATION_DEADLINE_MS_MAX / 1000) {
        return false;
    }
    *ret_ms = (uint32_t)(seconds * 1000);
    return true;
}

static int take_value(struct ctl_args *args, unsigned option, const char *text)
{
    uint64_t number = 0;

    switch (option) {
    case CTL_OPT_SERVERS:
        args->servers = text;
        break;
    case CTL_OPT_DEADLINE:
        if (!parse_seconds(text, &args->deadline_ms)) {
            return ctl_usage("--deadline: '%s' is not a number of seconds from 0.001 to %d", text,
                             OPERATION_DEADLINE_MS_MAX / 1000);
        }
        break;
    case CTL_OPT_IF_VERSION:
        if (!parse_number(text, UINT64_MAX, &args->if_version)) {
            return ctl_usage("--if-version: '%s' is not a version (1 or more)", text);
        }
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
    return CTL_OK;
}

static int take_option(struct ctl_args *args, int letter, const char *text)
{
    switch (letter) {
    case 's':
        return take_value(args, CTL_OPT_SERVERS, text);
    case 'j':
        return take_value(args, CTL_OPT_JSON, NULL);
    case 't':
        return take_value(args, CTL_OPT_DEADLINE, text);
    case 'p':
        return take_value(args, CTL_OPT_PARENTS, NULL);
    case 'r':
        return take_value(args, CTL_OPT_RECURSIVE, NULL);
    case 'l':
        return take_value(args, CTL_OPT_LONG, NULL);
    case 'c':
        return take_value(args, CTL_OPT_CREATE, NULL);
    case 'v':
        return take_value(args, CTL_OPT_IF_VERSION, text);
    case 'd':
        return take_value(args, CTL_OPT_DIR, text);
    case 'm':
        return take_value(args, CTL_OPT_MEMBERS, text);
    case 'x':
        return take_value(args, CTL_OPT_VERBOSE, NULL);
    case 'f':
        return take_value(args, CTL_OPT_FORCE, NULL);
    case 'h':
        args->help = true;
        return CTL_OK;
    default: /* 'V' */
        args->version = true;
        return CTL_OK;
    }
}

int ctl_args_parse(int argc, char **argv, struct ctl_args *ret)
{
    static const struct option options[] = {
        {"servers", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"deadline", required_argument, NULL, 't'},
        {"parents", no_argument, NULL, 'p'},
        {"recursive", no_argument, NULL, 'r'},
        {"long", no_argument, NULL, 'l'},
        {"create", no_argument, NULL, 'c'},
        {"if-version", required_argument, NULL, 'v'},
        {"dir", required_argument, NULL, 'd'},
        {"members", required_argument, NULL, 'm'},
        {"verbose", no_argument, NULL, 'x'},
        {"force", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    struct ctl_args args = {.servers = getenv("ZABFS_SERVERS")};
    int letter;

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
