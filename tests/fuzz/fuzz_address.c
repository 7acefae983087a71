/* A list of servers as somebody typed it. What parses is written back as text that parses to the
 * same. */
#include "fuzz.h"

#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"
#include "stream.h"

static void check_address(const struct net_addr *a)
{
    struct net_addr again = {0};
    char text[300];

    CHECK(memchr(a->path, '\0', sizeof(a->path)) != NULL);
    CHECK(memchr(a->host, '\0', sizeof(a->host)) != NULL);
    CHECK((a->path[0] != '\0') == a->is_unix);
    CHECK((a->host[0] != '\0') == !a->is_unix);
    net_addr_text(a, text, sizeof(text));
    CHECK(net_addr_parse(text, &again) == 0);
    CHECK(again.is_unix == a->is_unix);
    CHECK(strcmp(again.path, a->path) == 0);
    CHECK(strcmp(again.host, a->host) == 0);
    CHECK(again.port == a->port);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = mem_alloc(size + 1);
    struct net_addr *list = NULL;
    uint32_t count = 0;

    if (size > 0) {
        memcpy(text, bytes, size);
    }
    text[size] = '\0';
    if (net_addr_list_parse(text, &list, &count) == 0) {
        CHECK(count > 0);
        for (uint32_t i = 0; i < count; i++) {
            check_address(&list[i]);
        }
        mem_free(list);
    } else {
        CHECK(list == NULL);
        CHECK(count == 0);
    }
    mem_free(text);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    static const char *const lists[] = {
        "127.0.0.1:7001",
        "unix:/run/zabd.sock",
        "unix:/run/zabd.sock+node1.example:7001+[fe80::1]:65535",
        "[::1]:0+a:1+b:2+c:3",
        "a:65536",
        "a:1++b:2",
        "::1:80",
        "[a]:1",
    };
    const char *text = lists[i % (sizeof(lists) / sizeof(lists[0]))];

    buf_put(b, text, strlen(text));
}
