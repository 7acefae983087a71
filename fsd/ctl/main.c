/* zabctl: finds the command, checks that it takes what was given, runs it. */
#include <signal.h>
#include <stdio.h>

#include "ctl.h"
#include "log.h"

static int usage_exit(const struct ctl_command *command)
{
    return command != NULL && command->usage_exit != 0 ? command->usage_exit : CTL_USAGE;
}

static int run_command(struct ctl_args *args)
{
    const struct ctl_command *command = ctl_command_find(args->words[0]);
    int words;

    if (command == NULL) {
        return ctl_usage("unknown command '%s'; see zabctl --help", args->words[0]);
    }
    if (args->help) {
        ctl_help_command(command);
        return CTL_OK;
    }
    if ((args->seen & ~command->options) != 0) {
        ctl_usage("%s does not take that option; usage: zabctl %s", command->name,
                  command->synopsis);
        return usage_exit(command);
    }
    if (command->takes_command) {
        ctl_args_cut_command(args);
    }
    words = args->count - 1;
    if (words < command->words_min || words > command->words_max) {
        ctl_usage("%s: usage: zabctl %s", command->name, command->synopsis);
        return usage_exit(command);
    }
    if (command->without_session) {
        return command->run(args, NULL, args->words + 1);
    }
    struct ctl_session session;
    int code = ctl_session_open(args, NULL, NULL, &session);

    if (code == CTL_OK) {
        code = command->run(args, &session, args->words + 1);
        ctl_session_close(&session);
    }
    return code;
}

int main(int argc, char **argv)
{
    struct ctl_args args;
    int code = ctl_args_parse(argc, argv, &args);

    if (code != CTL_OK) { /* of which command, only the first word tells */
        return usage_exit(argc > 1 ? ctl_command_find(argv[1]) : NULL);
    }
    signal(SIGPIPE, SIG_IGN); /* a broken pipe is a failed write, reported below */
    log_set_level(LOG_ERROR);
    if (args.version) {
        puts("zabctl 0.1.0");
    } else if (args.count > 0) {
        code = run_command(&args);
    } else if (args.help) {
        ctl_help_overview();
    } else {
        code = ctl_usage("no command; see zabctl --help");
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return ctl_fail_errno("standard output", 0);
    }
    return code;
}
