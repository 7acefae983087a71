#include "test_net_fixture.h"

static void echo_test(const char *address, size_t size)
{
    struct fixture f;
    uint8_t *payload = mem_zalloc(size);

    setup(&f, address);
    connect_both(&f, &conf_default);
    for (size_t i = 0; i < size; i++) {
        payload[i] = (uint8_t)(i * 31 >> 3);
    }
    for (size_t i = 0; i < 3; i++) {
        stream_send(f.client.s, payload, size - i);
    }
    RUN_UNTIL(&f, f.client.frames == 3);
    cr_assert_eq(f.client.last.size, size - 2);
    cr_assert_arr_eq(f.client.last.data, payload, size - 2);
    cr_assert_eq(stream_queued(f.client.s), 0);
    mem_free(payload);
    teardown(&f);
}

Test(net_stream, small_frames_come_back_over_tcp)
{
    echo_test("127.0.0.1:0", 100);
}

Test(net_stream, small_frames_come_back_over_ipv6)
{
    echo_test("[::1]:0", 100);
}

Test(net_stream, small_frames_come_back_over_a_unix_socket)
{
    echo_test("unix", 100);
}

Test(net_stream, large_frames_come_back_over_tcp)
{
    echo_test("127.0.0.1:0", 9 << 20);
}

Test(net_stream, large_frames_come_back_over_a_unix_socket)
{
    echo_test("unix", 9 << 20);
}

Test(net_stream, a_small_frame_is_not_written_before_the_loop_turns_or_a_flush)
{
    struct fixture f;

    setup(&f, "127.0.0.1:0");
    connect_both(&f, &conf_default);
    stream_send(f.client.s, "1234", 4);
    cr_assert_eq(stream_queued(f.client.s), 12);
    stream_flush(f.client.s);
    cr_assert_eq(stream_queued(f.client.s), 0);
    RUN_UNTIL(&f, f.client.frames == 1);
    teardown(&f);
}

Test(net_stream, the_accepting_side_learns_who_connects)
{
    struct fixture f;
    char text[64];

    setup(&f, "unix");
    connect_both(&f, &conf_default);
    snprintf(text, sizeof(text), "unix:uid=%u,pid=%d", getuid(), getpid());
    cr_assert_str_eq(f.peer, text);
    teardown(&f);
    setup(&f, "127.0.0.1:0");
    connect_both(&f, &conf_default);
    cr_assert_eq(strncmp(f.peer, "127.0.0.1:", 10), 0);
    teardown(&f);
}

/* Writes raw bytes to the server end and returns how its stream ended. */
static int raw_end(const void *bytes, size_t size, bool hang_up)
{
    struct fixture f;
    int fd;
    int err;

    setup(&f, "127.0.0.1:0");
    fd = raw_connect(&f);
    cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
    if (hang_up) {
        close(fd);
    }
    RUN_UNTIL(&f, f.server.closed != NOT_YET);
    cr_assert_eq(f.server.frames, 0);
    err = f.server.closed;
    if (!hang_up) {
        close(fd);
    }
    teardown(&f);
    return err;
}

Test(net_stream, a_bad_checksum_ends_the_stream)
{
    cr_assert_eq(raw_end("\x01\0\0\0\0\0\0\0x", 9, false), ERR_MALFORMED);
}

Test(net_stream, an_oversized_frame_ends_the_stream_at_its_header)
{
    cr_assert_eq(raw_end("\0\0\0\x40", 4, false), ERR_MALFORMED);
}

Test(net_stream, an_end_within_a_frame_is_not_orderly)
{
    cr_assert_eq(raw_end("\x01\0\0", 3, true), ERR_CLOSED);
}

Test(net_stream, an_end_between_frames_is_orderly)
{
    cr_assert_eq(raw_end("", 0, true), 0);
}

Test(net_stream, a_peer_without_a_whole_first_frame_is_cut_off)
{
    struct fixture f;
    int fd;

    setup(&f, "127.0.0.1:0");
    f.server_conf.first_frame_ms = 30;
    fd = raw_connect(&f);
    cr_assert_eq(write(fd, "\x05\0\0\0\0", 5), 5);
    RUN_UNTIL(&f, f.server.closed != NOT_YET);
    cr_assert_eq(f.server.closed, ERR_TIMEOUT);
    close(fd);
    teardown(&f);
}

Test(net_stream, a_first_frame_in_time_lifts_the_limit)
{
    struct fixture f;
    uint64_t begin;

    setup(&f, "127.0.0.1:0");
    f.server_conf.first_frame_ms = 30;
    connect_both(&f, &conf_default);
    stream_send(f.client.s, "x", 1);
    RUN_UNTIL(&f, f.client.frames == 1);
    uv_update_time(&f.loop);
    begin = uv_now(&f.loop);
    uv_timer_start(&f.guard, on_guard, 20 * 1000, 10); /* wakes the loop by nothing but time */
    while (uv_now(&f.loop) < begin + 60) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    cr_assert_eq(f.server.closed, NOT_YET);
    teardown(&f);
}

Test(net_stream, a_reader_that_is_too_slow_is_cut_off)
{
    struct fixture f;
    struct stream_conf conf = conf_default;
    uint8_t *payload = mem_zalloc(1 << 20);
    int sent = 0;

    setup(&f, "127.0.0.1:0");
    conf.send_queue_max = 4 << 20;
    connect_both(&f, &conf);
    stream_pause(f.server.s, true);
    while (f.client.closed == NOT_YET) {
        if (f.client.s != NULL && sent < 1000) {
            stream_send(f.client.s, payload, 1 << 20);
            cr_assert_leq(stream_queued(f.client.s), 4 << 20);
            sent++;
        }
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    cr_assert_eq(f.client.closed, ERR_OVERLOAD);
    cr_assert_lt(sent, 1000);
    mem_free(payload);
    teardown(&f);
}

Test(net_stream, one_turn_may_send_more_than_the_bound_to_a_reader_that_keeps_up)
{
    struct fixture f;
    struct stream_conf conf = conf_default;

    setup(&f, "127.0.0.1:0");
    f.server.echo = false;
    conf.send_queue_max = 1000;
    connect_both(&f, &conf);
    for (int i = 0; i < 100; i++) {
        stream_send(f.client.s, "0123456789012345678901234567890123456789", 40);
    }
    RUN_UNTIL(&f, f.server.frames == 100);
    teardown(&f);
}

Test(net_stream, a_pause_within_a_callback_holds_back_frames_already_read)
{
    struct fixture f;

    setup(&f, "127.0.0.1:0");
    f.server.echo = false;
    f.server.pause_in_frame = true;
    connect_both(&f, &conf_default);
    for (int i = 0; i < 3; i++) {
        stream_send(f.client.s, "abc", 3);
    }
    RUN_UNTIL(&f, f.server.frames == 1);
    for (int i = 0; i < 10; i++) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    cr_assert_eq(f.server.frames, 1);
    f.server.pause_in_frame = false;
    stream_pause(f.server.s, false);
    cr_assert_eq(f.server.frames, 1); /* not inside the owner's call */
    RUN_UNTIL(&f, f.server.frames == 3);
    teardown(&f);
}

Test(net_stream, closing_within_a_callback_is_the_end_even_with_frames_left)
{
    struct fixture f;

    setup(&f, "unix");
    f.server.close_in_frame = true;
    connect_both(&f, &conf_default);
    for (int i = 0; i < 3; i++) {
        stream_send(f.client.s, "abc", 3);
    }
    RUN_UNTIL(&f, f.server.closed != NOT_YET && f.client.closed != NOT_YET);
    cr_assert_eq(f.server.closed, 0);
    cr_assert_eq(f.server.frames, 1);
    teardown(&f);
}

Test(net_stream, closing_inside_on_connect)
{
    struct fixture f;

    setup(&f, "127.0.0.1:0");
    f.client.close_in_connect = true;
    client_connect(&f, &conf_default);
    RUN_UNTIL(&f, f.client.closed != NOT_YET && f.server.closed != NOT_YET);
    cr_assert_eq(f.client.connected, 0);
    cr_assert_eq(f.client.closed, 0);
    teardown(&f);
}

Test(net_stream, an_address_that_cannot_even_be_tried_is_closed)
{
    struct fixture f;

    setup(&f, "127.0.0.1:0");
    strcpy(f.addr.host, "255.255.255.255"); /* connect(2) itself refuses */
    client_connect(&f, &conf_default);
    cr_assert_eq(f.client.connected, NOT_YET);
    RUN_UNTIL(&f, f.client.connected != NOT_YET);
    cr_assert_eq(f.client.connected, ERR_CLOSED);
    teardown(&f);
}

Test(net_stream, what_was_sent_before_a_close_still_leaves)
{
    struct fixture f;

    setup(&f, "127.0.0.1:0");
    connect_both(&f, &conf_default);
    stream_send(f.client.s, "bye", 3);
    stream_close(f.client.s);
    stream_close(f.client.s);
    stream_send(f.client.s, "no", 2);
    cr_assert_eq(f.client.closed, NOT_YET);
    RUN_UNTIL(&f, f.server.closed != NOT_YET && f.client.closed != NOT_YET);
    cr_assert_eq(f.server.frames, 1);
    cr_assert_arr_eq(f.server.last.data, "bye", 3);
    teardown(&f);
}

Test(net_stream, closing_amid_a_write_that_waits_for_the_peer_leaks_nothing)
{
    struct fixture f;
    uint8_t *payload = mem_zalloc(16 << 20);

    setup(&f, "unix");
    connect_both(&f, &conf_default);
    stream_pause(f.server.s, true);
    stream_send(f.client.s, payload, 16 << 20);
    stream_send(f.client.s, payload, 100);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    cr_assert_gt(stream_queued(f.client.s), 0);
    stream_close(f.client.s);
    RUN_UNTIL(&f, f.client.closed != NOT_YET);
    cr_assert_eq(f.client.closed, 0);
    mem_free(payload);
    teardown(&f);
}

Test(net_stream, progress_rises_while_the_peer_takes_a_long_frame)
{
    struct fixture f;
    uint8_t *payload = mem_zalloc(16 << 20);
    uint64_t stalled;

    setup(&f, "unix");
    connect_both(&f, &conf_default);
    stream_pause(f.server.s, true);
    stream_send(f.client.s, payload, 16 << 20);
    for (int i = 0; i < 10; i++) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    stalled = stream_progress(f.client.s);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    cr_assert_eq(stream_progress(f.client.s), stalled);
    stream_pause(f.server.s, false);
    RUN_UNTIL(&f, stream_progress(f.client.s) > stalled);
    cr_assert_gt(stream_queued(f.client.s), 0);
    mem_free(payload);
    teardown(&f);
}

Test(net_stream, a_refused_connection_is_closed)
{
    struct fixture f;

    setup(&f, "127.0.0.1:0");
    listener_close(f.listener);
    f.listener = NULL;
    client_connect(&f, &conf_default);
    cr_assert_eq(f.client.connected, NOT_YET);
    RUN_UNTIL(&f, f.client.connected != NOT_YET);
    cr_assert_eq(f.client.connected, ERR_CLOSED);
    teardown(&f);
}

Test(net_stream, a_unix_socket_that_is_not_there_is_closed)
{
    struct fixture f;

    setup(&f, "unix");
    strcat(f.addr.path, "x");
    client_connect(&f, &conf_default);
    RUN_UNTIL(&f, f.client.connected != NOT_YET);
    cr_assert_eq(f.client.connected, ERR_CLOSED);
    teardown(&f);
}

Test(net_stream, an_unknown_host_is_closed)
{
    struct fixture f;

    setup(&f, "127.0.0.1:0");
    strcpy(f.addr.host, "no-such-host.invalid");
    client_connect(&f, &conf_default);
    RUN_UNTIL(&f, f.client.connected != NOT_YET);
    cr_assert_eq(f.client.connected, ERR_CLOSED);
    teardown(&f);
}

Test(net_stream, closing_while_a_name_is_looked_up_calls_back_once)
{
    struct fixture f;

    setup(&f, "127.0.0.1:0");
    strcpy(f.addr.host, "no-such-host.invalid");
    client_connect(&f, &conf_default);
    stream_close(f.client.s);
    cr_assert_eq(f.client.connected, NOT_YET);
    RUN_UNTIL(&f, f.client.connected != NOT_YET);
    cr_assert_eq(f.client.connected, ERR_CLOSED);
    cr_assert_eq(f.client.closed, NOT_YET);
    teardown(&f);
}

Test(net_stream, closing_while_connecting_calls_back_once)
{
    struct fixture f;

    setup(&f, "127.0.0.1:0");
    client_connect(&f, &conf_default);
    stream_close(f.client.s);
    RUN_UNTIL(&f, f.client.connected != NOT_YET);
    cr_assert_eq(f.client.connected, ERR_CLOSED);
    cr_assert_eq(f.client.closed, NOT_YET);
    teardown(&f);
}

Test(net_stream, connecting_to_a_host_that_does_not_answer_times_out)
{
    struct fixture f;
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t size = sizeof(in);
    int full = socket(AF_INET, SOCK_STREAM, 0);
    int fds[4];

    setup(&f, "127.0.0.1:0");
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* a backlog that is full drops what comes */
    cr_assert_eq(bind(full, (struct sockaddr *)&in, sizeof(in)), 0);
    cr_assert_eq(listen(full, 0), 0);
    getsockname(full, (struct sockaddr *)&in, &size);
    for (int i = 0; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fds[i], (struct sockaddr *)&in, sizeof(in));
    }
    f.addr.port = ntohs(in.sin_port);
    stream_connect(&f.loop, &f.addr, &conf_default, &end_ops, 50, on_connect, &f.client,
                   &f.client.s);
    RUN_UNTIL(&f, f.client.connected != NOT_YET);
    cr_assert_eq(f.client.connected, ERR_TIMEOUT);
    for (int i = 0; i < 4; i++) {
        close(fds[i]);
    }
    close(full);
    teardown(&f);
}
