#include "test_net_fixture.h"

Test(net_listener, an_address_in_use_is_refused)
{
    struct fixture f;
    struct listener *other = NULL;

    setup(&f, "127.0.0.1:0");
    cr_assert_eq(listener_open(&f.loop, &f.addr, 0600, on_accept, &f, &other), -EADDRINUSE);
    cr_assert_null(other);
    teardown(&f);
    setup(&f, "unix");
    cr_assert_eq(listener_open(&f.loop, &f.addr, 0600, on_accept, &f, &other), -EADDRINUSE);
    cr_assert_null(other);
    RUN_UNTIL(&f, f.server.closed != NOT_YET); /* the probe by which the second found out */
    f.server.closed = NOT_YET;
    connect_both(&f, &conf_default); /* the first one is unharmed */
    teardown(&f);
}

Test(net_listener, a_closed_address_is_free_at_once)
{
    struct fixture f;
    static const char *const addresses[] = {"127.0.0.1:0", "unix"};

    for (int i = 0; i < 2; i++) {
        setup(&f, addresses[i]);
        listener_close(f.listener);
        cr_assert_eq(listener_open(&f.loop, &f.addr, 0600, on_accept, &f, &f.listener), 0);
        connect_both(&f, &conf_default);
        teardown(&f);
    }
}

Test(net_listener, a_unix_socket_file_that_nobody_listens_on_is_replaced)
{
    struct fixture f;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);

    setup(&f, "unix");
    listener_close(f.listener);
    strcpy(addr.sun_path, f.addr.path);
    cr_assert_eq(bind(dead, (struct sockaddr *)&addr, sizeof(addr)), 0);
    cr_assert_eq(listen(dead, 1), 0);
    close(dead);
    cr_assert_eq(listener_open(&f.loop, &f.addr, 0600, on_accept, &f, &f.listener), 0);
    connect_both(&f, &conf_default);
    teardown(&f);
}

Test(net_listener, a_file_that_is_no_socket_is_left_alone)
{
    struct fixture f;
    struct stat st;
    int fd;

    setup(&f, "unix");
    listener_close(f.listener);
    fd = open(f.addr.path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    f.listener = NULL;
    cr_assert_eq(listener_open(&f.loop, &f.addr, 0600, on_accept, &f, &f.listener), -EADDRINUSE);
    cr_assert_eq(stat(f.addr.path, &st), 0);
    unlink(f.addr.path);
    teardown(&f);
}

Test(net_listener, closing_leaves_a_socket_file_that_another_process_made)
{
    struct fixture f;
    struct listener *other;

    setup(&f, "unix");
    cr_assert_eq(unlink(f.addr.path), 0);
    cr_assert_eq(listener_open(&f.loop, &f.addr, 0600, on_accept, &f, &other), 0);
    listener_close(f.listener);
    f.listener = other;
    connect_both(&f, &conf_default);
    teardown(&f);
}

Test(net_listener, a_unix_socket_gets_its_mode_whatever_the_umask)
{
    struct fixture f;
    struct listener *l;
    struct stat st;

    umask(077);
    setup(&f, "unix");
    listener_close(f.listener);
    cr_assert_eq(listener_open(&f.loop, &f.addr, 0666, on_accept, &f, &l), 0);
    f.listener = l;
    cr_assert_eq(stat(f.addr.path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0666);
    teardown(&f);
}

Test(net_listener, an_accepted_stream_may_be_closed_at_once)
{
    struct fixture f;

    setup(&f, "127.0.0.1:0");
    f.drop_accepted = true;
    client_connect(&f, &conf_default);
    RUN_UNTIL(&f, f.client.closed != NOT_YET);
    cr_assert_eq(f.client.closed, 0);
    teardown(&f);
}

Test(net_listener, without_descriptors_accepting_waits_and_goes_on_later)
{
    struct fixture f;
    struct rlimit limit;
    struct rlimit tight;
    int fd;
    int probe;

    setup(&f, "127.0.0.1:0");
    uv_run(&f.loop, UV_RUN_NOWAIT);
    fd = raw_connect(&f);
    probe = dup(fd);
    close(probe); /* the lowest free descriptor */
    getrlimit(RLIMIT_NOFILE, &limit);
    tight = limit;
    tight.rlim_cur = (rlim_t)probe;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
    for (int i = 0; i < 5; i++) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    cr_assert_eq(f.accepts, 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    RUN_UNTIL(&f, f.accepts == 1);
    close(fd);
    teardown(&f);
}
