/* The command line: options anywhere, numbers within bounds, and what stands behind "--". */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <string.h>

#include "ctl.h"

enum { WORDS_MAX = 16 };

static char copy[512];
static char *words[WORDS_MAX + 1];

/* Cuts a line at blanks; getopt reorders the array. */
static int parse(const char *line, struct ctl_args *ret)
{
    char *rest = copy;
    char *word;
    int count = 0;

    snprintf(copy, sizeof(copy), "zabctl %s", line);
    while ((word = strsep(&rest, " ")) != NULL) {
        words[count++] = word;
    }
    words[count] = NULL;
    return ctl_args_parse(count, words, ret);
}

Test(args, options_stand_anywhere)
{
    struct ctl_args args;

    cr_assert_eq(parse("ls --json /a -l --servers h:1", &args), CTL_OK);
    cr_assert_eq(args.count, 2);
    cr_assert_str_eq(args.words[1], "/a");
    cr_assert_str_eq(args.servers, "h:1");
    cr_assert_eq(args.seen, CTL_OPT_JSON | CTL_OPT_LONG | CTL_OPT_SERVERS);
}

Test(args, every_option_is_its_own_bit)
{
    struct ctl_args args;

    cr_assert_eq(parse("x --shared --wait 1.5 --ttl 20 --from 7 --at 8 --count 9", &args), CTL_OK);
    cr_assert_eq(args.seen, CTL_OPT_SHARED | CTL_OPT_WAIT | CTL_OPT_TTL | CTL_OPT_FROM |
                                CTL_OPT_AT | CTL_OPT_COUNT);
    cr_assert(args.wait_ms == 1500 && args.ttl_ms == 20000 && args.from == 7 && args.at == 8 &&
              args.changes_max == 9);
    cr_assert_eq(parse("x --nonblock --ephemeral --no-replace --exchange -r -p --force", &args),
                 CTL_OK);
    cr_assert_eq(args.seen, CTL_OPT_NONBLOCK | CTL_OPT_EPHEMERAL | CTL_OPT_NO_REPLACE |
                                CTL_OPT_EXCHANGE | CTL_OPT_RECURSIVE | CTL_OPT_PARENTS |
                                CTL_OPT_FORCE);
}

Test(args, a_command_is_cut_off_with_its_own_options)
{
    struct ctl_args args;

    cr_assert_eq(parse("lock --shared /l -- ls -l --json -- x", &args), CTL_OK);
    cr_assert_eq(args.seen, CTL_OPT_SHARED);
    ctl_args_cut_command(&args);
    cr_assert_eq(args.count, 2);
    cr_assert_str_eq(args.words[0], "lock");
    cr_assert_str_eq(args.words[1], "/l");
    cr_assert_null(args.words[2]);
    cr_assert_str_eq(args.command[0], "ls");
    cr_assert_str_eq(args.command[2], "--json");
    cr_assert_str_eq(args.command[4], "x");
    cr_assert_null(args.command[5]);
}

Test(args, without_a_command_nothing_is_cut)
{
    struct ctl_args args;

    cr_assert_eq(parse("lock /l --", &args), CTL_OK);
    ctl_args_cut_command(&args);
    cr_assert(args.count == 2 && args.command == NULL);
    cr_assert_eq(parse("-- lock /l", &args), CTL_OK);
    ctl_args_cut_command(&args);
    cr_assert(args.count == 2 && args.command == NULL);
    cr_assert_eq(parse("get -- -strange", &args), CTL_OK);
    cr_assert(args.count == 2 && strcmp(args.words[1], "-strange") == 0);
}

Test(args, numbers_out_of_bounds_are_refused, .init = cr_redirect_stderr)
{
    static const char *const wrong[] = {
        "x --wait -1",      "x --wait",
        "x --wait 1s",      "x --wait nan",
        "x --ttl 0.5",      "x --ttl 4000",
        "x --from 0",       "x --at -1",
        "x --at 1x",        "x --count 0",
        "x --fly",          "x --deadline 0",
        "x --if-version 0", "x --from 99999999999999999999",
    };
    struct ctl_args args = {.count = 77};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_assert_eq(parse(wrong[i], &args), CTL_USAGE, "%s", wrong[i]);
        cr_assert_eq(args.count, 77);
    }
}

Test(args, every_command_has_its_manual)
{
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        cr_assert(c->run != NULL && c->synopsis != NULL && c->summary != NULL && c->text != NULL);
        cr_assert_eq(strncmp(c->synopsis, c->name, strlen(c->name)), 0, "%s", c->name);
        cr_assert_eq(c->text[strlen(c->text) - 1], '\n', "%s", c->name);
        cr_assert(c->takes_command == (strstr(c->synopsis, "-- COMMAND") != NULL), "%s", c->name);
    }
}
