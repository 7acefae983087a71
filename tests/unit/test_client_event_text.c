/* Changes as JSON objects and as lines, with names of any bytes. */
#include <criterion/criterion.h>

#include "event_text.h"

static struct buf out;

static const char *text(void)
{
    buf_put_u8(&out, 0);
    return (const char *)out.data;
}

static void tear_down(void)
{
    buf_done(&out);
}

static struct event event(enum change_kind kind, const char *dir, const char *name)
{
    return (struct event){
        .index = 812,
        .kind = kind,
        .dir_path = {dir, (uint32_t)strlen(dir)},
        .name = {name, (uint32_t)strlen(name)},
        .session = 7,
        .attr = {.id = 40, .type = NODE_FILE, .version = 2, .size = 3, .ctime_ns = 1},
    };
}

TestSuite(event_text, .fini = tear_down);

Test(event_text, a_change_as_json)
{
    struct event e = event(CHANGE_SET, "/a", "b");

    event_json(&e, &out);
    cr_assert_str_eq(text(), "{\"index\":812,\"kind\":\"set\",\"path\":\"/a/b\",\"type\":\"file\","
                             "\"id\":40,\"version\":2,\"size\":3,\"session\":7,"
                             "\"time\":\"1970-01-01T00:00:00.000000001Z\"}");
}

Test(event_text, a_move_has_both_places_and_a_removal_no_time)
{
    struct event e = event(CHANGE_MOVE, "", "b");

    e.from_path = (struct name){"/x\xff", 3};
    e.from_name = (struct name){"y", 1};
    e.more = true;
    event_json(&e, &out);
    cr_assert_str_eq(text(), "{\"index\":812,\"more\":true,\"kind\":\"move\",\"path\":\"/b\","
                             "\"from\":\"/x\xef\xbf\xbd/y\",\"from_base64\":\"L3j/L3k=\","
                             "\"type\":\"file\",\"id\":40,\"version\":2,\"size\":3,\"session\":7,"
                             "\"time\":\"1970-01-01T00:00:00.000000001Z\"}");
    buf_done(&out);
    e = event(CHANGE_REMOVE, "", "b");
    event_json(&e, &out);
    cr_assert_null(strstr(text(), "time"));
}

Test(event_text, the_root_is_a_slash)
{
    struct event e = event(CHANGE_SETATTR, "", "");

    event_line(&e, &out);
    cr_assert_str_eq(text(), "812 setattr /");
}

Test(event_text, lines_hold_no_control_bytes)
{
    struct event e = event(CHANGE_MOVE, "/to", "b\nc");

    e.from_path = (struct name){"/fr\x1bom", 6};
    e.from_name = (struct name){"a", 1};
    event_line(&e, &out);
    cr_assert_str_eq(text(), "812 move /fr?om/a /to/b?c");
}

Test(event_text, a_gap)
{
    event_gap_line(813, 900, &out);
    cr_assert_str_eq(text(), "900 gap 813");
    buf_done(&out);
    event_gap_json(813, 900, &out);
    cr_assert_str_eq(text(), "{\"index\":900,\"kind\":\"gap\",\"first\":813,\"last\":900}");
}
