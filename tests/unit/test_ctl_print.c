/* What zabctl prints as JSON is valid whatever bytes names and values have. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "print.h"

static char *text; /* of the last print, freed by the next */

static FILE *begin(void)
{
    static size_t size;

    free(text);
    text = NULL;
    return open_memstream(&text, &size);
}

static const char *field(const void *bytes, size_t size)
{
    FILE *out = begin();

    print_json_field(out, "k", bytes, size);
    fclose(out);
    return text;
}

static const char *value(const char *bytes)
{
    FILE *out = begin();
    struct name name = {.bytes = bytes, .size = (uint32_t)strlen(bytes)};

    print_json_value(out, &name);
    fclose(out);
    return text;
}

static void tear_down(void)
{
    free(text);
    text = NULL;
}

TestSuite(print, .fini = tear_down);

Test(print, plain_text_stays_as_it_is)
{
    cr_assert_str_eq(field("job 1/\xc3\xa4", 8), "\"k\":\"job 1/\xc3\xa4\"");
}

Test(print, quotes_backslashes_and_control_bytes_are_escaped)
{
    cr_assert_str_eq(field("a\"b\\c\n\x7f", 7), "\"k\":\"a\\\"b\\\\c\\u000a\\u007f\"");
    cr_assert_str_eq(field("\0", 1), "\"k\":\"\\u0000\"");
}

Test(print, bytes_that_are_not_utf8_come_exactly_in_a_second_field)
{
    cr_assert_str_eq(field("a\xff", 2), "\"k\":\"a\xef\xbf\xbd\",\"k_base64\":\"Yf8=\"");
    cr_assert_str_eq(field("\xff", 1), "\"k\":\"\xef\xbf\xbd\",\"k_base64\":\"/w==\"");
    cr_assert_str_eq(field("ab\xff", 3), "\"k\":\"ab\xef\xbf\xbd\",\"k_base64\":\"YWL/\"");
}

Test(print, what_utf8_forbids_is_not_taken_for_it)
{
    static const char *const wrong[] = {
        "\xc0\xaf",         /* longer than needed */
        "\xe0\x80\xaf",     /* longer than needed */
        "\xed\xa0\x80",     /* half of a surrogate pair */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xf5\x80\x80\x80", /* no such lead byte */
        "\xe2\x82",         /* cut */
        "\x80",             /* nothing before it */
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_assert(strstr(field(wrong[i], strlen(wrong[i])), "_base64") != NULL, "case %zu", i);
    }
    cr_assert(strstr(field("\xf4\x8f\xbf\xbf\xed\x9f\xbf", 7), "_base64") == NULL);
}

Test(print, only_decimal_digits_that_every_reader_keeps_are_numbers)
{
    cr_assert_str_eq(value("0"), "0");
    cr_assert_str_eq(value("812"), "812");
    cr_assert_str_eq(value("007"), "\"007\"");
    cr_assert_str_eq(value(""), "\"\"");
    cr_assert_str_eq(value("yes"), "\"yes\"");
    cr_assert_str_eq(value("999999999999999"), "999999999999999");
    cr_assert_str_eq(value("9999999999999999"), "\"9999999999999999\"");
}

Test(print, modes_are_shown_as_ls_does)
{
    char mode[11];
    struct attr attr = {.type = NODE_DIR, .mode = 01755};

    print_mode(&attr, mode);
    cr_assert_str_eq(mode, "drwxr-xr-t");
    attr = (struct attr){.type = NODE_FILE, .mode = 06640};
    print_mode(&attr, mode);
    cr_assert_str_eq(mode, "-rwSr-S---");
    attr = (struct attr){.type = NODE_SYMLINK, .mode = 0777};
    print_mode(&attr, mode);
    cr_assert_str_eq(mode, "lrwxrwxrwx");
}

Test(print, times_have_nanoseconds_on_both_sides_of_1970)
{
    char time[JSON_TIME_SIZE];

    json_time(1769860800000000001, time);
    cr_assert_str_eq(time, "2026-01-31T12:00:00.000000001Z");
    json_time(-1, time);
    cr_assert_str_eq(time, "1969-12-31T23:59:59.999999999Z");
}
