#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"

static struct conf conf;
static char note[CONF_NOTE_SIZE];
static char path[64];

static void write_file(const char *text)
{
    FILE *f;

    snprintf(path, sizeof(path), "/tmp/zabd-conf-%d.ini", (int)getpid());
    f = fopen(path, "w");
    cr_assert(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void remove_file(void)
{
    if (path[0] != '\0') {
        unlink(path);
    }
}

TestSuite(conf, .fini = remove_file);

#define PARSE(...)                                                                                 \
    conf_parse((int)(sizeof((char *[]){"zabd", __VA_ARGS__}) / sizeof(char *)),                    \
               (char *[]){"zabd", __VA_ARGS__, NULL}, &conf, note)

static const char good[] = "[member]\nid = 2\ndata = /d\nname = prod\nunix = /run/z.sock\n"
                           "[ensemble]\n3 = c:13:23\n1 = a:11:21\n2 = [::1]:12:22\n"
                           "[storage]\nsnapshot_entries = 5000\nsnapshots_kept = 7\n";

/* A file sets everything; members come out by rising id. */
Test(conf, file_is_read)
{
    write_file(good);
    cr_assert_eq(0, PARSE("--config", path), "%s", note);
    cr_assert_eq(2, conf.id);
    cr_assert_str_eq("/d", conf.data);
    cr_assert_str_eq("/run/z.sock", conf.unix_path);
    cr_assert_eq(3, conf.member_count);
    cr_assert_eq(1, conf.members[0].id);
    cr_assert_eq(22, conf.members[1].client_port);
    cr_assert_str_eq("c", conf.members[2].host);
    cr_assert_eq(5000, conf.snapshot_entries);
    cr_assert_eq(7, conf.snapshots_kept);
    cr_assert_eq(100, conf.heartbeat_ms);
    cr_assert_eq(16384, conf.history_changes);
    cr_assert_eq(32 << 20, conf.history_bytes);
    cr_assert_eq(1, conf.awake);
}

Test(conf, processors_may_sleep)
{
    write_file("[member]\nid = 1\ndata = /d\nawake = 0\n[ensemble]\n1 = a:11:21\n");
    cr_assert_eq(0, PARSE("--config", path), "%s", note);
    cr_assert_eq(0, conf.awake);
    write_file("[member]\nid = 1\ndata = /d\nawake = no\n[ensemble]\n1 = a:11:21\n");
    cr_assert_eq(2, PARSE("--config", path));
}

/* A count that fits 32 bits, and bytes that need not. */
Test(conf, history)
{
    write_file("[member]\nid = 1\ndata = /d\n[ensemble]\n1 = a:11:21\n"
               "[history]\nchanges = 0\nbytes = 8589934592\n");
    cr_assert_eq(0, PARSE("--config", path), "%s", note);
    cr_assert_eq(0, conf.history_changes);
    cr_assert_eq((uint64_t)8 << 30, conf.history_bytes);
}

/* A flag wins over the file, wherever it stands. */
Test(conf, flag_wins)
{
    write_file(good);
    cr_assert_eq(0, PARSE("--id", "3", "--config", path, "--data", "/e"), "%s", note);
    cr_assert_eq(3, conf.id);
    cr_assert_str_eq("/e", conf.data);
}

/* Flags alone are enough. */
Test(conf, flags_alone)
{
    cr_assert_eq(0, PARSE("-d", "/d", "-i", "1", "-e", "1=127.0.0.1:1:2,2=h:3:4"), "%s", note);
    cr_assert_eq(2, conf.member_count);
    cr_assert_eq(4, conf.members[1].client_port);
}

static void refused(const char *text, const char *expected)
{
    write_file(text);
    cr_assert_eq(2, PARSE("--config", path));
    cr_assert(strstr(note, expected) != NULL, "'%s' does not say '%s'", note, expected);
    cr_assert(strstr(note, "zabd-conf") != NULL, "'%s' does not name the file", note);
}

/* Each mistake in a file is one line that names the file and the key or line. */
Test(conf, mistakes_in_a_file_are_named)
{
    refused("[member]\nid = 2\ncolour = red\n", "[member] colour: unknown key");
    refused("[members]\nid = 2\n", "[members] id: unknown key");
    refused("[member]\nid = two\n", "[member] id: not a number in range: 'two'");
    refused("[member]\nid = 256\n", "not a number in range");
    refused("[timing]\nheartbeat_ms = -1\n", "[timing] heartbeat_ms");
    refused("[storage]\nsnapshots_kept = 1\n", "[storage] snapshots_kept");
    refused("[ensemble]\n1 = a:1:2\n1 = b:1:2\n", "duplicate member id");
    refused("[ensemble]\n1 = a:1\n", "HOST:PEERPORT:CLIENTPORT");
    refused("[member]\nid 2\n", "line 2");
}

/* What is missing or does not fit together is refused before anything starts. */
Test(conf, whole_is_checked)
{
    cr_assert_eq(2, PARSE("-i", "1", "-e", "1=h:1:2"));
    cr_assert(strstr(note, "data directory is missing") != NULL);
    cr_assert_eq(2, PARSE("-d", "/d", "-e", "1=h:1:2"));
    cr_assert(strstr(note, "id is missing") != NULL);
    cr_assert_eq(2, PARSE("-d", "/d", "-i", "1"));
    cr_assert(strstr(note, "members are missing") != NULL);
    cr_assert_eq(2, PARSE("-d", "/d", "-i", "2", "-e", "1=h:1:2"));
    cr_assert(strstr(note, "no member with this member's id") != NULL);
    write_file("[timing]\nheartbeat_ms = 400\n");
    cr_assert_eq(2, PARSE("-c", path, "-d", "/d", "-i", "1", "-e", "1=h:1:2"));
    cr_assert(strstr(note, "election_min_ms") != NULL);
}

/* Unknown flags, missing values and stray arguments are named. */
Test(conf, mistakes_on_the_command_line_are_named)
{
    cr_assert_eq(2, PARSE("--colour"));
    cr_assert(strstr(note, "--colour") != NULL);
    cr_assert_eq(2, PARSE("--data"));
    cr_assert(strstr(note, "value missing") != NULL);
    cr_assert_eq(2, PARSE("start"));
    cr_assert(strstr(note, "start") != NULL);
    cr_assert_eq(2, PARSE("--config", "/nonexistent/zabd.ini"));
    cr_assert(strstr(note, "/nonexistent/zabd.ini: No such file") != NULL);
}

/* Without a name the members make the ensemble's identity; with one the name alone does. */
Test(conf, cluster_identity)
{
    struct hash128 first;

    cr_assert_eq(0, PARSE("-d", "/d", "-i", "1", "-e", "1=h:1:2,2=h:3:4"));
    first = conf_cluster(&conf);
    cr_assert_eq(0, PARSE("-d", "/d", "-i", "2", "-e", "2=h:3:9,1=h:1:2"));
    cr_assert(hash128_equal(first, conf_cluster(&conf)));
    cr_assert_eq(0, PARSE("-d", "/d", "-i", "1", "-e", "1=h:1:2,2=h:3:5", "-n", "x"));
    first = conf_cluster(&conf);
    cr_assert_eq(0, PARSE("-d", "/d", "-i", "1", "-e", "1=h:1:2", "-n", "x"));
    cr_assert(hash128_equal(first, conf_cluster(&conf)));
}
