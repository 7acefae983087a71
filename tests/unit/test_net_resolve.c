/* Host names with several addresses. The resolver of the C library is replaced in this program, so
 * that the addresses do not depend on the machine: "two.test" is ::1, where nobody listens, then
 * 127.0.0.1; "bad.test" is 255.255.255.255, to which connect(2) itself fails, then 127.0.0.1;
 * "none.test" is ::1 alone. */
#include "test_net_fixture.h"

static struct addrinfo *make_address(const char *host, const char *port, struct addrinfo *next)
{
    struct addrinfo *ai = mem_zalloc(sizeof(*ai));
    struct sockaddr_in *v4 = mem_zalloc(sizeof(struct sockaddr_in6));
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)v4;

    ai->ai_socktype = SOCK_STREAM;
    ai->ai_addr = (struct sockaddr *)v4;
    ai->ai_next = next;
    if (uv_ip4_addr(host, atoi(port), v4) == 0) {
        ai->ai_family = AF_INET;
        ai->ai_addrlen = sizeof(*v4);
    } else {
        uv_ip6_addr(host, atoi(port), v6);
        ai->ai_family = AF_INET6;
        ai->ai_addrlen = sizeof(*v6);
    }
    return ai;
}

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    bool named = strstr(host, ".test") != NULL;

    if (named && hints->ai_flags & AI_NUMERICHOST) {
        return EAI_NONAME;
    }
    *ret = make_address(named ? "127.0.0.1" : host, port, NULL);
    if (strcmp(host, "two.test") == 0) {
        *ret = make_address("::1", port, *ret);
    } else if (strcmp(host, "bad.test") == 0) {
        *ret = make_address("255.255.255.255", port, *ret);
    } else if (strcmp(host, "none.test") == 0) {
        freeaddrinfo(*ret);
        *ret = make_address("::1", port, NULL);
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *ai)
{
    while (ai != NULL) {
        struct addrinfo *next = ai->ai_next;

        mem_free(ai->ai_addr);
        mem_free(ai);
        ai = next;
    }
}

static void connects(const char *host, int err)
{
    struct fixture f;

    setup(&f, "127.0.0.1:0");
    strcpy(f.addr.host, host);
    client_connect(&f, &conf_default);
    RUN_UNTIL(&f, f.client.connected != NOT_YET);
    cr_assert_eq(f.client.connected, err);
    if (err == 0) {
        stream_send(f.client.s, "x", 1);
        RUN_UNTIL(&f, f.client.frames == 1);
    }
    teardown(&f);
}

Test(net_resolve, the_second_address_is_tried_when_the_first_refuses)
{
    connects("two.test", 0);
}

Test(net_resolve, the_second_address_is_tried_when_the_first_is_impossible)
{
    connects("bad.test", 0);
}

Test(net_resolve, when_no_address_works_the_stream_is_closed)
{
    connects("none.test", ERR_CLOSED);
}

Test(net_resolve, closing_at_any_step_calls_back_once)
{
    static const char *const hosts[] = {"two.test", "bad.test", "none.test"};

    for (int i = 0; i < 3 * 12; i++) {
        struct fixture f;
        bool open;

        setup(&f, "127.0.0.1:0");
        strcpy(f.addr.host, hosts[i % 3]);
        client_connect(&f, &conf_default);
        for (int turn = 0; turn < i / 3; turn++) {
            uv_run(&f.loop, UV_RUN_NOWAIT);
        }
        open = f.client.connected == 0;
        if (f.client.s != NULL) {
            stream_close(f.client.s);
        }
        RUN_UNTIL(&f, open ? f.client.closed != NOT_YET : f.client.connected != NOT_YET);
        cr_assert_eq(f.client.connected, open ? 0 : ERR_CLOSED);
        cr_assert_eq(f.client.closed, open ? 0 : NOT_YET);
        teardown(&f);
    }
}
