#include <criterion/criterion.h>
#include <string.h>

#include "err.h"
#include "stream.h"

Test(net_addr, host_and_port)
{
    struct net_addr addr;

    cr_assert_eq(net_addr_parse("node1.example:2181", &addr), 0);
    cr_assert(!addr.is_unix);
    cr_assert_str_eq(addr.host, "node1.example");
    cr_assert_eq(addr.port, 2181);
}

Test(net_addr, ipv6_is_in_brackets)
{
    struct net_addr addr;

    cr_assert_eq(net_addr_parse("[fe80::1]:65535", &addr), 0);
    cr_assert_str_eq(addr.host, "fe80::1");
    cr_assert_eq(addr.port, 65535);
}

Test(net_addr, unix_path)
{
    struct net_addr addr;

    cr_assert_eq(net_addr_parse("unix:/run/zabd:1.sock", &addr), 0);
    cr_assert(addr.is_unix);
    cr_assert_str_eq(addr.path, "/run/zabd:1.sock");
}

Test(net_addr, text_is_what_was_parsed)
{
    static const char *const texts[] = {"10.0.0.7:1", "[::1]:2181", "unix:/tmp/a b", "localhost:0"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct net_addr addr;
        char text[300];

        cr_assert_eq(net_addr_parse(texts[i], &addr), 0, "%s", texts[i]);
        net_addr_text(&addr, text, sizeof(text));
        cr_assert_str_eq(text, texts[i]);
    }
}

Test(net_addr, nonsense_is_refused_and_the_result_untouched)
{
    static const char *const texts[] = {
        "",           "host",    ":2181",   "host:",
        "host:65536", "host:-1", "host:1x", "host: 1",
        "::1:2181",   "[]:1",    "[::1]",   "a/b:1",
        "unix:",      "a b:1",   "[::1:1",  "host:99999999999",
    };
    char path[5 + 108 + 1] = "unix:";
    struct net_addr addr = {.port = 7};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cr_assert_eq(net_addr_parse(texts[i], &addr), ERR_INVAL, "%s", texts[i]);
        cr_assert_eq(addr.port, 7);
    }
    memset(path + 5, 'p', 108);
    cr_assert_eq(net_addr_parse(path, &addr), ERR_INVAL);
    path[5 + 107] = '\0';
    cr_assert_eq(net_addr_parse(path, &addr), 0);
}
