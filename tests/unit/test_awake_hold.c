/* The request for processors that do not sleep is made at the first use, holds while there are
 * more, and is taken back by itself. What the kernel was asked for can be read from the same
 * device; that nobody asks any more cannot be told by it, as others may. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "awake.h"

enum { HELD_MS_MAX = 1000 }; /* far beyond what it should be; the machine may be busy */

static uv_loop_t loop;
static struct awake awake;

static bool device_can_be_had(void)
{
    int fd = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);

    return fd >= 0 && close(fd) == 0;
}

static int32_t asked_us(void)
{
    int32_t us = -1;
    int fd = open("/dev/cpu_dma_latency", O_RDONLY | O_CLOEXEC);

    cr_assert_eq(read(fd, &us, sizeof(us)), sizeof(us));
    close(fd);
    return us;
}

static void setup(bool wanted)
{
    cr_assert_eq(uv_loop_init(&loop), 0);
    awake_init(&awake, &loop, wanted);
}

static void teardown(void)
{
    awake_done(&awake);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

Test(awake, holds_from_the_first_use_until_some_time_after_the_last)
{
    bool can = device_can_be_had();

    setup(true);
    for (int round = 0; round < 2; round++) {
        uint64_t before_ns = uv_hrtime();

        cr_assert(!awake.held);
        awake_use(&awake);
        awake_use(&awake);
        cr_assert_eq(awake.held, can);
        cr_assert(!can || asked_us() == 0);
        uv_run(&loop, UV_RUN_DEFAULT); /* returns when its timer is the last and has stopped */
        cr_assert(!awake.held);
        cr_assert_lt((uv_hrtime() - before_ns) / 1000000, HELD_MS_MAX);
    }
    teardown();
}

Test(awake, use_after_use_it_is_held_all_the_time)
{
    bool can = device_can_be_had();
    uint64_t until_ns = uv_hrtime() + 20000000;

    setup(true);
    while (uv_hrtime() < until_ns) {
        awake_use(&awake);
        uv_run(&loop, UV_RUN_NOWAIT);
        cr_assert_eq(awake.held, can);
    }
    teardown();
}

Test(awake, what_is_not_wanted_is_not_asked_for)
{
    setup(false);
    awake_use(&awake);
    cr_assert(!awake.held);
    cr_assert_eq(awake.fd, -1);
    teardown();
}
