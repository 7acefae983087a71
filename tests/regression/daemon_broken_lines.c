#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "conf.h"

/* Lines of the configuration that were not taken as they stand.
 *
 * inih reads lines of up to 199 bytes. The rest of a longer one, a comment for instance, was read
 * as a line of its own, and could set a key. And it takes an indented line for a second value of
 * the key before, which replaced the first: "data = /d" and below it "  name = prod" was a data
 * directory called "name = prod". Both are mistakes now, which name the line or the key. */

static const char good[] = "[member]\nid = 1\ndata = /d\n[ensemble]\n1 = a:1:2\n";

static struct conf conf;
static char note[CONF_NOTE_SIZE];

static int parse(const char *more)
{
    char text[1024];

    (void)snprintf(text, sizeof(text), "%s%s", good, more);
    return conf_parse_text(text, strlen(text), &conf, note);
}

Test(regression, rest_of_a_long_comment_is_no_line)
{
    char line[300] = "[storage]\n;";

    memset(line + 11, 'c', 198);
    strcpy(line + 209, "snapshot_entries = 77\n");
    cr_assert_eq(parse(line), 2);
    cr_assert_str_eq(note, "text: line 7: too long");
    line[50] = '\n'; /* in two lines, each short enough */
    line[51] = ';';
    cr_assert_eq(parse(line), 0);
    cr_assert_eq(conf.snapshot_entries, 100000);
}

Test(regression, longest_line_is_read)
{
    char line[300] = "[member]\ndata = /";

    memset(line + 17, 'd', 190);
    cr_assert_eq(parse(line), 0); /* no newline at the end of the file */
    cr_assert_eq(strlen(conf.data), 191);
    strcpy(line + 206, "\n[storage]\nsnapshot_entries = 77\n");
    cr_assert_eq(parse(line), 0);
    cr_assert_eq(strlen(conf.data), 190);
    cr_assert_eq(conf.snapshot_entries, 77);
}

Test(regression, indented_line_is_no_second_value)
{
    cr_assert_eq(parse("[member]\nunix = /s\n  name = prod\n"), 2);
    cr_assert_str_eq(note, "text: [member] unix: given twice, or an indented line behind it: "
                           "'name = prod'");
}
