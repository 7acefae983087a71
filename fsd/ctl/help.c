/* The table of commands, which is also the manual. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

const struct ctl_command ctl_commands[] = {
    {.name = "get",
     .options = CTL_OPT_GLOBAL,
     .words_min = 1,
     .words_max = 1,
     .run = ctl_run_get,
     .synopsis = "get PATH",
     .summary = "print the value of a file, or the target of a symbolic link",
     .text = "The bytes are printed as they are; no newline is added.\n"
             "With --json: {\"path\",\"version\",\"size\",\"value\"}.\n"},
    {.name = "set",
     .options = CTL_OPT_GLOBAL | CTL_OPT_CREATE | CTL_OPT_IF_VERSION,
     .words_min = 1,
     .words_max = 2,
     .run = ctl_run_set,
     .synopsis = "set [--create | --if-version N] PATH [VALUE|-]",
     .summary = "replace the value of a file",
     .text =
         "VALUE is stored as it is, without a newline; - reads standard input to its end; none\n"
         "makes the file empty.\n\n"
         "  --create        create the file (mode 0644) if it does not exist\n"
         "  --if-version N  only if the file's version is N (see stat), else ESTALE\n\n"
         "With --json: {\"version\",\"index\"} of the new value.\n"},
    {.name = "create",
     .options = CTL_OPT_GLOBAL,
     .words_min = 1,
     .words_max = 2,
     .run = ctl_run_create,
     .synopsis = "create PATH [VALUE|-]",
     .summary = "create a file that must not exist, and print its name",
     .text =
         "Of many that create the same PATH one succeeds, the others get EEXIST.\n"
         "A PATH that ends in '#' gets the directory's next number in its place (job-# becomes\n"
         "job-0000000012). The name printed is the real one, without its directory.\n"
         "Ephemeral names (ending in '@') are not supported here.\n"
         "VALUE as for set. With --json: the new node as an object.\n"},
    {.name = "mkdir",
     .options = CTL_OPT_GLOBAL | CTL_OPT_PARENTS,
     .words_min = 1,
     .words_max = 1,
     .run = ctl_run_mkdir,
     .synopsis = "mkdir [-p] PATH",
     .summary = "create a directory",
     .text =
         "A PATH that ends in '#' gets a number as with create, and the name is printed.\n\n"
         "  -p, --parents   create what is missing on the way; an existing directory is fine\n\n"
         "With --json: the new node as an object.\n"},
    {.name = "rm",
     .options = CTL_OPT_GLOBAL | CTL_OPT_RECURSIVE,
     .words_min = 1,
     .words_max = 1,
     .run = ctl_run_rm,
     .synopsis = "rm [-r] PATH",
     .summary = "remove a file or symbolic link, with -r a directory",
     .text =
         "  -r, --recursive  a directory with all that is in it; not atomic: one node at a time\n"},
    {.name = "ls",
     .options = CTL_OPT_GLOBAL | CTL_OPT_LONG,
     .words_min = 0,
     .words_max = 1,
     .run = ctl_run_ls,
     .synopsis = "ls [-l] [PATH]",
     .summary = "list a directory, in the order in which its children were created",
     .text = "PATH is / if it is missing.\n\n"
             "  -l, --long      mode, owner, group, size, version, time of change, name\n\n"
             "With --json: an array of nodes as objects.\n"},
    {.name = "stat",
     .options = CTL_OPT_GLOBAL,
     .words_min = 1,
     .words_max = 1,
     .run = ctl_run_stat,
     .synopsis = "stat PATH",
     .summary = "print what is known about a node",
     .text = "version counts changes of the value, cversion of the list of children, aversion of\n"
             "owner, mode and times. czxid, mzxid and pzxid are the log indexes at which the node\n"
             "was created, its value and its children last changed. Times are UTC.\n"
             "With --json: an object.\n"},
    {.name = "sync",
     .options = CTL_OPT_GLOBAL,
     .words_min = 0,
     .words_max = 0,
     .run = ctl_run_sync,
     .synopsis = "sync",
     .summary = "wait until the member has applied all that was committed before",
     .text = "With --json: {\"index\"}, the log index that is applied now.\n"},
    {.name = "status",
     .options = CTL_OPT_GLOBAL,
     .words_min = 0,
     .words_max = 0,
     .without_session = true,
     .run = ctl_run_status,
     .synopsis = "status",
     .summary = "ask every server of the list how it is, one line each",
     .text =
         "Needs no quorum. Fails (exit 1) if a server does not answer; the others are printed.\n"
         "The deadline is for each server; default 3 seconds.\n"
         "With --json: an array of objects.\n"},
    {.name = "backup",
     .options = CTL_OPT_GLOBAL | CTL_OPT_FORCE,
     .words_min = 1,
     .words_max = 1,
     .run = ctl_run_backup,
     .synopsis = "backup [--force] FILE",
     .summary = "copy the whole tree, as it is at one moment, into a file of this machine",
     .text =
         "All that was acknowledged anywhere before the command began is in it. The ensemble\n"
         "serves on meanwhile. The file is written as FILE.tmp, read back, checked and renamed;\n"
         "a backup that fails or is interrupted leaves nothing behind. When the member that is\n"
         "asked goes away, the next one of the list is asked, from the beginning.\n"
         "zabd --restore FILE begins a new ensemble with it.\n\n"
         "  --force         replace FILE if it exists\n\n"
         "With --json: {\"file\",\"index\",\"epoch\",\"size\"}.\n"},
    {.name = "fsck",
     .options = CTL_OPT_JSON | CTL_OPT_VERBOSE,
     .words_min = 1,
     .words_max = 1,
     .without_session = true,
     .usage_exit = CTL_FSCK_NOT_DONE,
     .run = ctl_run_fsck,
     .synopsis = "fsck [--verbose] DATA_DIR",
     .summary = "tell what the data directory of a member holds, and whether it is sound",
     .text =
         "Nothing is changed. The member must not run: what a running one is writing cannot be\n"
         "judged. Told are identity, promise and vote, every snapshot, the log, where damage is,\n"
         "what the next start would make of it, and whether the next segment has space.\n\n"
         "  --verbose       every segment of the log, not only those with damage\n\n"
         "Exit code of this command:\n"
         "  0  sound\n"
         "  1  damage that the next start makes good, or that nothing depends on: a last batch\n"
         "     that was never acknowledged, one of two copies of the vote, an older snapshot\n"
         "  2  damage in what may have been acknowledged: the member starts, and takes the state\n"
         "     from the others before it votes freely or leads\n"
         "  3  the member will not start: empty the directory, and it takes the state from the\n"
         "     others; keep a copy if no other member has one\n"
         "  4  not examined: wrong usage, no such directory, in use\n\n"
         "With --json: one object; \"verdict\" is sound, mended, faulty or unusable.\n"},
    {.name = "dev",
     .options = CTL_OPT_JSON | CTL_OPT_DEADLINE | CTL_OPT_DIR | CTL_OPT_MEMBERS,
     .words_min = 1,
     .words_max = 1,
     .without_session = true,
     .run = ctl_run_dev,
     .synopsis = "dev up|down|status --dir DIR [--members N]",
     .summary = "an ensemble with mounts on this machine, for trying things out",
     .text =
         "up      starts N members (default 3) and N mounts DIR/m1 .. DIR/mN, each mount on its "
         "own\n"
         "        member first; returns when there is a leader and every mount answers. On a DIR\n"
         "        that exists it starts what is not running.\n"
         "down    unmounts and stops all of it. The data stays.\n"
         "status  prints a line for each member, like\n"
         "        member=1 role=leader epoch=3 commit=812 pid=4711 mount=live mount_pid=4720\n"
         "        role=down for one that does not run, role=silent for one that does not "
         "answer.\n\n"
         "  DIR/m1 ..                the mounts\n"
         "  DIR/conf/zabd-N.ini      configuration; edit it and start the member again\n"
         "  DIR/data/N               what the member keeps\n"
         "  DIR/log/zabd-N.log, zabfs-N.log\n"
         "  DIR/run/zabd-N.pid, zabfs-N.pid, zabd-N.sock\n\n"
         "Ports on 127.0.0.1 are looked for once and kept in the configuration. A DIR whose path\n"
         "is too long for a unix socket is served over TCP alone.\n"
         "zabd and zabfs are taken from beside zabctl, else from PATH.\n"
         "--deadline is for the whole of up, and for each process of down; default 30 and 5 s.\n"},
    {.name = NULL},
};

const struct ctl_command *ctl_command_find(const char *name)
{
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

static void print_global_options(void)
{
    puts("Options of every command that talks to servers:\n"
         "  --servers LIST      unix:PATH or HOST:PORT, joined by '+', tried in this order;\n"
         "                      default: $ZABFS_SERVERS, else " CTL_SERVERS_DEFAULT "\n"
         "  --json              print data as JSON; a name or value that is not UTF-8 comes with\n"
         "                      its exact bytes in a second field, KEY_base64\n"
         "  --deadline SECONDS  give up after this time, per request; default 10\n"
         "  --help              this text, or that of the command before it\n"
         "\n"
         "Exit code: 0 done; 1 the operation failed, `zabctl: PATH: reason` is on standard error;\n"
         "2 wrong usage or configuration.");
}

void ctl_help_overview(void)
{
    puts("zabctl - look at and change the tree of a zabfs ensemble; run one for development\n"
         "\n"
         "Usage: zabctl [OPTIONS] COMMAND [ARGUMENTS]\n"
         "\n"
         "Paths are of the tree (/a/b); no mount is needed.\n");
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        printf("  %s\n      %s\n", c->synopsis, c->summary);
    }
    putchar('\n');
    print_global_options();
}

void ctl_help_command(const struct ctl_command *command)
{
    printf("zabctl %s - %s\n\nUsage: zabctl [OPTIONS] %s\n\n%s\n", command->name, command->summary,
           command->synopsis, command->text);
    print_global_options();
}
