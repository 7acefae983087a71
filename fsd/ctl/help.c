/* The table of commands, which is also the manual. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

#define AT_TEXT                                                                                    \
    "  --at INDEX      as it was when the log had this index (log, watch and sync --json tell\n"   \
    "                  indexes); a member remembers its last changes, since its start\n"
#define HOLD_TEXT                                                                                  \
    "COMMAND gets the signals that zabctl gets. If the session is lost, the file removed, or "     \
    "half\n"                                                                                       \
    "of the --ttl has passed without an answer of the ensemble, COMMAND is ended, by SIGTERM "     \
    "and\n"                                                                                        \
    "after a moment by SIGKILL, before anybody else can be given what it held: exit 76.\n"         \
    "Unless standard input is a terminal, all that COMMAND started is ended with it.\n\n"

const struct ctl_command ctl_commands[] = {
    {.name = "get",
     .options = CTL_OPT_GLOBAL | CTL_OPT_AT,
     .words_min = 1,
     .words_max = 1,
     .run = ctl_run_get,
     .synopsis = "get [--at INDEX] PATH",
     .summary = "print the value of a file, or the target of a symbolic link",
     .text = "The bytes are printed as they are; no newline is added.\n\n" AT_TEXT
             "\nWith --json: {\"path\",\"version\",\"size\",\"value\"}.\n"},
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
     .options = CTL_OPT_GLOBAL | CTL_OPT_EPHEMERAL | CTL_OPT_TTL,
     .words_min = 1,
     .words_max = 2,
     .takes_command = true,
     .without_session = true,
     .run = ctl_run_create,
     .synopsis = "create [--ephemeral [--ttl SECONDS]] PATH [VALUE|-] [-- COMMAND ...]",
     .summary = "create a file that must not exist, and print its name",
     .text =
         "Of many that create the same PATH one succeeds, the others get EEXIST.\n"
         "A PATH that ends in '#' gets the directory's next number in its place (job-# becomes\n"
         "job-0000000012). The name printed is the real one, without its directory.\n"
         "VALUE as for set. With --json: the new node as an object.\n\n"
         "  --ephemeral     the file is there for as long as zabctl is: it prints the name, then\n"
         "                  waits for SIGINT, SIGTERM or SIGHUP (exit 0), or runs COMMAND and\n"
         "                  ends with it. A PATH that ends in '@' (web1@, job-#@) means the same\n"
         "  --ttl SECONDS   after so long without a word from this machine the ensemble removes\n"
         "                  the file by itself; default 10\n\n" HOLD_TEXT
         "COMMAND has in its environment ZABFS_PATH, the real path, and ZABFS_FENCE, the index at\n"
         "which the file was created, a number that only rises.\n"},
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
    {.name = "mv",
     .options = CTL_OPT_GLOBAL | CTL_OPT_NO_REPLACE | CTL_OPT_EXCHANGE,
     .words_min = 2,
     .words_max = 2,
     .run = ctl_run_mv,
     .synopsis = "mv [--no-replace | --exchange] PATH TARGET",
     .summary = "rename a file, or a directory with all that is in it, in one step",
     .text =
         "If TARGET is a directory PATH is moved into it. A file at TARGET is replaced: nobody\n"
         "sees the name missing, and it keeps its id and its watchers, with the new value.\n\n"
         "  --no-replace    EEXIST if TARGET is there already\n"
         "  --exchange      PATH and TARGET, which are both there, change places\n\n"
         "With --json: the node at its new place as an object.\n"},
    {.name = "append",
     .options = CTL_OPT_GLOBAL,
     .words_min = 1,
     .words_max = 2,
     .run = ctl_run_append,
     .synopsis = "append PATH [VALUE|-]",
     .summary = "put bytes behind the value of a file",
     .text =
         "Of many that append at the same time none overwrites another's. No newline is added.\n"
         "With --json: {\"version\",\"size\",\"index\"} of the new value.\n"},
    {.name = "attr",
     .options = CTL_OPT_GLOBAL,
     .words_min = 2,
     .words_max = 4,
     .run = ctl_run_attr,
     .synopsis = "attr get PATH NAME | set PATH NAME [VALUE|-] | rm PATH NAME | ls PATH",
     .summary = "look at and change the extended attributes of a node",
     .text =
         "A NAME begins with \"user.\", as with getfattr(1). get prints the value as it is; ls\n"
         "prints names, with --json names and values.\n\n"
         "Some have a meaning:\n"
         "  user.zabfs.quota      of a directory: BYTES NODES that may be below it, like \"10M "
         "1000\";\n"
         "                        either may be - for no limit\n"
         "  user.zabfs.ephemeral  of a directory: \"open\" or \"session\"; files that are created "
         "in it\n"
         "                        end with the open file, or with the session, that made them\n"
         "  user.zabfs.fence      of a file, only to get: the index of the newest lock granted on "
         "it\n"},
    {.name = "txn",
     .options = CTL_OPT_GLOBAL,
     .words_min = 0,
     .words_max = 1,
     .run = ctl_run_txn,
     .synopsis = "txn [FILE]",
     .summary = "carry out several changes in one step, all or none",
     .text =
         "FILE, or standard input, has one change a line:\n\n"
         "  check PATH [VERSION]          the node is there, and has this version\n"
         "  absent PATH                   nothing is there\n"
         "  create PATH [VALUE]           a file; PATH may end in '#'\n"
         "  mkdir PATH\n"
         "  symlink PATH TARGET\n"
         "  set PATH VALUE [if VERSION]\n"
         "  append PATH VALUE\n"
         "  delete PATH [VERSION]         a file, a link or an empty directory\n"
         "  rename PATH PATH\n\n"
         "Empty lines and lines that begin with '#' do not count. A word with blanks stands in\n"
         "double quotes, in which \\n \\t \\r \\\\ \\\" and \\xHH stand for one byte. Each line "
         "sees what\n"
         "the ones above it did. Nobody else sees a part of it.\n\n"
         "Printed are \"ok INDEX\" and for each line its path, with the name as made, and its\n"
         "version. What is refused is told with its line, and nothing was done (exit 1; 2 for a\n"
         "FILE that is not understood).\n"
         "With --json: {\"index\",\"steps\":[{\"line\",\"name\",\"id\",\"version\"}]}.\n"},
    {.name = "lock",
     .options = CTL_OPT_SERVERS | CTL_OPT_DEADLINE | CTL_OPT_SHARED | CTL_OPT_WAIT |
                CTL_OPT_NONBLOCK | CTL_OPT_TTL,
     .words_min = 1,
     .words_max = 1,
     .takes_command = true,
     .without_session = true,
     .run = ctl_run_lock,
     .synopsis =
         "lock [--shared] [--wait SECONDS | --nonblock] [--ttl SECONDS] PATH -- COMMAND ...",
     .summary = "run a command while holding the lock of a file",
     .text =
         "The lock is that of flock(1) on any mount, and excludes it. The file is created if it "
         "is\n"
         "missing, and stays. Who waits longest comes first.\n\n"
         "  --shared        together with others that want it shared\n"
         "  --wait SECONDS  give up after this time; without it, wait for as long as it takes\n"
         "  --nonblock      give up at once\n"
         "  --ttl SECONDS   after so long without a word from this machine the ensemble gives the\n"
         "                  lock to the next; default 10\n\n" HOLD_TEXT
         "COMMAND has in its environment ZABFS_LOCK, the path, and ZABFS_FENCE, the index at "
         "which\n"
         "the lock was granted: a number that rises with each grant. Hand it to whatever the lock\n"
         "protects, and let that refuse a lower one than it has seen: then even a holder that\n"
         "stood still and wakes up late does no harm.\n\n"
         "Exit code: that of COMMAND; 128 and the number of the signal that ended it, or that "
         "came\n"
         "while waiting; 75 the lock was not to be had; 76 it was lost while COMMAND ran; 126, "
         "127\n"
         "COMMAND cannot be run, or found; 1 nothing was run for another reason; 2 wrong usage.\n"},
    {.name = "locks",
     .options = CTL_OPT_GLOBAL,
     .words_min = 0,
     .words_max = 1,
     .run = ctl_run_locks,
     .synopsis = "locks [PATH]",
     .summary = "who holds and who waits for locks, on one file or on all",
     .text =
         "One line for each, those that hold before those that wait, in the order of the queue:\n\n"
         "  holds exclusive flock pid=812 session=40 fence=97 label=\"web1:/mnt/zabfs\" "
         "/jobs/lock\n"
         "  waits shared flock pid=4711 session=52 since=99 label=\"zabctl@web2\" /jobs/lock\n\n"
         "pid is of the process on the machine that label names; fence and since are the log\n"
         "indexes of the grant and of the question. A lock of fcntl(2) is posix, and has bytes=.\n"
         "With --json: an array of objects.\n"},
    {.name = "watch",
     .options = CTL_OPT_GLOBAL | CTL_OPT_RECURSIVE | CTL_OPT_FROM | CTL_OPT_COUNT,
     .words_min = 1,
     .words_max = 1,
     .takes_command = true,
     .without_session = true,
     .run = ctl_run_watch,
     .synopsis = "watch [-r] [--from INDEX] [--count N] PATH [-- COMMAND ...]",
     .summary = "print every change of a node and of what is in it, or run a command for each",
     .text =
         "PATH need not exist yet. Each change comes once and in the order of the log, also when\n"
         "the member that is asked goes away. Lines are INDEX KIND PATH, for a move INDEX move\n"
         "FROM TO; KIND is create, set, setattr, remove or move.\n"
         "`zabctl: watching from index N` on standard error says that it has begun.\n\n"
         "  -r, --recursive  of all that is below PATH, too\n"
         "  --from INDEX     begin with what changed after INDEX (as sync --json prints it)\n"
         "  --count N        end after N changes (exit 0)\n\n"
         "What a member no longer remembers, after a long time without connection or with an old\n"
         "INDEX, is told as LAST gap FIRST: changes with these indexes may be missing; look "
         "again.\n\n"
         "COMMAND is run for one change after the other, with ZABFS_INDEX, ZABFS_KIND, "
         "ZABFS_PATH,\n"
         "ZABFS_FROM (of a move), ZABFS_TYPE, ZABFS_VERSION, ZABFS_SIZE and ZABFS_SESSION in its\n"
         "environment; for a gap ZABFS_KIND=gap, ZABFS_FIRST and ZABFS_INDEX. Its exit code does\n"
         "not matter, unless it is 126 or 127, which end the watch.\n"
         "With --json: an object a line, as in .zabfs/events.\n"},
    {.name = "log",
     .options = CTL_OPT_GLOBAL | CTL_OPT_FROM,
     .words_min = 1,
     .words_max = 1,
     .run = ctl_run_log,
     .synopsis = "log [--from INDEX] PATH",
     .summary = "print the recent changes of whatever had this name",
     .text =
         "One line a change: time, index, kind, path, version, size, and the session that asked\n"
         "for it. A member remembers the last 65,536 changes of the whole tree, up to 32 MiB;\n"
         "what it has forgotten is said first. get, stat and ls --at INDEX show what was.\n\n"
         "  --from INDEX     only what changed after INDEX\n\n"
         "With --json: an object a line, as with watch.\n"},
    {.name = "ls",
     .options = CTL_OPT_GLOBAL | CTL_OPT_LONG | CTL_OPT_AT,
     .words_min = 0,
     .words_max = 1,
     .run = ctl_run_ls,
     .synopsis = "ls [-l] [--at INDEX] [PATH]",
     .summary = "list a directory, in the order in which its children were created",
     .text =
         "PATH is / if it is missing.\n\n"
         "  -l, --long      mode, owner, group, size, version, time of change, name\n" AT_TEXT "\n"
         "With --json: an array of nodes as objects.\n"},
    {.name = "stat",
     .options = CTL_OPT_GLOBAL | CTL_OPT_AT,
     .words_min = 1,
     .words_max = 1,
     .run = ctl_run_stat,
     .synopsis = "stat [--at INDEX] PATH",
     .summary = "print what is known about a node",
     .text = "version counts changes of the value, cversion of the list of children, aversion of\n"
             "owner, mode and times. czxid, mzxid and pzxid are the log indexes at which the node\n"
             "was created, its value and its children last changed. Times are UTC.\n\n" AT_TEXT "\n"
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
         "2 wrong usage or configuration. lock and create --ephemeral have that of their COMMAND.");
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
