#include "awake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "check.h"
#include "log.h"

enum {
    LOOK_MS = 2,         /* held for one to two of these after the last use */
    LATENCY_ANY_US = -1, /* as if nothing was asked */
    LATENCY_NONE_US = 0,
};

static void ask(struct awake *a, int32_t latency_us)
{
    if (write(a->fd, &latency_us, sizeof(latency_us)) != sizeof(latency_us)) {
        LOG_WARN("awake", "ev=refused errno=%d", errno);
        close(a->fd); /* which takes back what was asked */
        a->fd = -1;
    }
    a->held = a->fd >= 0 && latency_us == LATENCY_NONE_US;
}

static void on_timer(uv_timer_t *timer)
{
    struct awake *a = timer->data;

    if (!a->used) {
        uv_timer_stop(timer);
        ask(a, LATENCY_ANY_US);
    }
    a->used = false;
}

void awake_use(struct awake *a)
{
    a->used = true;
    if (a->held || a->fd < 0) {
        return;
    }
    ask(a, LATENCY_NONE_US);
    if (a->held) {
        uv_timer_start(&a->timer, on_timer, LOOK_MS, LOOK_MS);
    }
}

void awake_init(struct awake *a, uv_loop_t *loop, bool wanted)
{
    *a = (struct awake){.fd = -1};
    CHECK(uv_timer_init(loop, &a->timer) == 0);
    a->timer.data = a;
    if (!wanted) {
        return;
    }
    a->fd = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
    if (a->fd < 0) {
        LOG_INFO("awake", "ev=unavailable errno=%d", errno);
    }
}

void awake_done(struct awake *a)
{
    uv_close((uv_handle_t *)&a->timer, NULL);
    if (a->fd >= 0) {
        close(a->fd);
        a->fd = -1;
    }
}
