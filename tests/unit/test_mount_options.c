#include <criterion/criterion.h>
#include <string.h>

#include "err.h"
#include "options.h"

static struct options o;
static char why[512];

static int parse(bool is_root, int argc, const char **argv)
{
    return options_parse(argc, (char **)argv, is_root, &o, why, sizeof(why));
}

Test(options, a_mount_point_and_servers_are_enough)
{
    const char *argv[] = {"zabfs", "-o", "servers=unix:/run/a+h:1", "/mnt"};

    cr_assert_eq(parse(true, 4, argv), 0);
    cr_assert_str_eq(o.servers, "unix:/run/a+h:1");
    cr_assert_str_eq(o.mountpoint, "/mnt");
    cr_assert_str_eq(o.fuse,
                     "fsname=zabfs,subtype=zabfs,default_permissions,nosuid,nodev,allow_other");
    cr_assert_eq(o.deadline_ms, 10000);
    cr_assert_eq(o.session_timeout_ms, 10000);
    cr_assert_eq(o.helpers, 4);
    cr_assert(o.awake);
    cr_assert(!o.foreground);
}

Test(options, only_root_lets_others_in_unasked)
{
    const char *argv[] = {"zabfs", "-o", "servers=h:1", "/mnt"};

    cr_assert_eq(parse(false, 4, argv), 0);
    cr_assert_str_eq(o.fuse, "fsname=zabfs,subtype=zabfs,default_permissions,nosuid,nodev");
}

Test(options, two_words_are_servers_and_mount_point_as_mount_8_gives_them)
{
    const char *argv[] = {"zabfs", "h:1+h:2", "/mnt", "-o", "rw,dev,suid,noatime,x-systemd.a=b"};

    cr_assert_eq(parse(true, 5, argv), 0);
    cr_assert_str_eq(o.servers, "h:1+h:2");
    cr_assert_str_eq(o.fuse, "fsname=zabfs,subtype=zabfs,default_permissions,nosuid,nodev,"
                             "allow_other,noatime");
    cr_assert(!o.read_only);
}

Test(options, read_only_is_kept_by_the_mount_itself)
{
    const char *argv[] = {"zabfs", "-o", "servers=h:1,ro", "/mnt"};

    cr_assert_eq(parse(false, 4, argv), 0);
    cr_assert_str_eq(o.fuse, "fsname=zabfs,subtype=zabfs,default_permissions,nosuid,nodev");
    cr_assert(o.read_only);
}

Test(options, seconds_become_milliseconds)
{
    const char *argv[] = {"zabfs", "-f",
                          "-oservers=h:1,deadline=3,session_timeout=60,helpers=2,awake=0,"
                          "pidfile=/p,log=/l",
                          "/mnt"};

    cr_assert_eq(parse(true, 4, argv), 0);
    cr_assert_eq(o.deadline_ms, 3000);
    cr_assert_eq(o.session_timeout_ms, 60000);
    cr_assert_eq(o.helpers, 2);
    cr_assert(!o.awake);
    cr_assert(o.foreground);
    cr_assert_str_eq(o.pid_path, "/p");
    cr_assert_str_eq(o.log_path, "/l");
}

Test(options, reads_are_local_unless_asked_otherwise)
{
    const char *none[] = {"zabfs", "h:1", "/mnt"};
    const char *last[] = {"zabfs", "-o", "reads=linearizable", "h:1", "/mnt", "-oreads=local"};
    const char *linearizable[] = {"zabfs", "-o", "servers=h:1,reads=linearizable", "/mnt"};

    cr_assert_eq(parse(true, 3, none), 0);
    cr_assert(!o.linearizable);
    cr_assert_eq(parse(true, 6, last), 0);
    cr_assert(!o.linearizable, "the last one counts");
    cr_assert_eq(parse(true, 4, linearizable), 0);
    cr_assert(o.linearizable);
}

static void refuses(const char *list, const char *text)
{
    const char *argv[] = {"zabfs", "-o", list, "/mnt"};

    cr_assert_eq(parse(true, 4, argv), ERR_INVAL, "%s", list);
    cr_assert_str_eq(why, text);
}

Test(options, what_is_not_understood_is_named)
{
    refuses("servers=h:1,colour", "unknown option: colour");
    refuses("servers=h:1,colour=red", "unknown option: colour=red");
    refuses("servers=h:1,deadline=0", "option deadline=0: a number from 1 to 600 is wanted");
    refuses("servers=h:1,deadline=5x", "option deadline=5x: a number from 1 to 600 is wanted");
    refuses("servers=h:1,awake=yes", "option awake=yes: a number from 0 to 1 is wanted");
    refuses("servers=h:1,helpers=-1", "option helpers=-1: a number from 1 to 16 is wanted");
    refuses("servers=h:1,reads=old", "bad option: reads=old");
    refuses("servers=h:1,log_level=loud", "bad option: log_level=loud");
    refuses("servers=", "empty: option servers");
    refuses("ro", "missing option: servers=unix:PATH+HOST:PORT+...");
}

Test(options, words_are_counted)
{
    const char *none[] = {"zabfs"};
    const char *three[] = {"zabfs", "a:1", "b", "c"};
    const char *flag[] = {"zabfs", "-x", "/mnt"};

    cr_assert_eq(parse(true, 1, none), ERR_INVAL);
    cr_assert_str_eq(why, "missing argument: MOUNTPOINT");
    cr_assert_eq(parse(true, 4, three), ERR_INVAL);
    cr_assert_str_eq(why, "one argument too many: c");
    cr_assert_eq(parse(true, 3, flag), ERR_INVAL);
    cr_assert_str_eq(why, "unknown option: -x");
}

Test(options, names_that_stay_here_are_the_editors_unless_others_or_none_are_given)
{
    const char *none[] = {"zabfs", "-o", "servers=h:1", "/mnt"};
    const char *some[] = {"zabfs", "-o", "servers=h:1,local=*.tmp:x?", "/mnt"};
    const char *off[] = {"zabfs", "-o", "servers=h:1,local=", "/mnt"};

    cr_assert_eq(parse(true, 4, none), 0);
    cr_assert_str_eq(o.local, ".*.sw?:.*.sw?x:*~:4913:.#*:#*#");
    cr_assert_eq(parse(true, 4, some), 0);
    cr_assert_str_eq(o.local, "*.tmp:x?");
    cr_assert_eq(parse(true, 4, off), 0);
    cr_assert_str_eq(o.local, "");
}
