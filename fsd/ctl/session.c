#include "ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "check.h"
#include "err.h"
#include "limits.h"

int ctl_fail(const char *subject, int err)
{
    const char *system_text = strerror(err_to_errno(err));
    const char *text = err_text(err);

    if (strcasecmp(system_text, text) == 0) {
        fprintf(stderr, "zabctl: %s: %s\n", subject, system_text);
    } else {
        fprintf(stderr, "zabctl: %s: %s (%s)\n", subject, system_text, text);
    }
    return CTL_FAILED;
}

int ctl_fail_errno(const char *subject, int err_no)
{
    fprintf(stderr, "zabctl: %s: %s\n", subject, strerror(err_no != 0 ? err_no : EIO));
    return CTL_FAILED;
}

int ctl_usage(const char *fmt, ...)
{
    va_list list;

    fputs("zabctl: ", stderr);
    va_start(list, fmt);
    vfprintf(stderr, fmt, list);
    va_end(list);
    putc('\n', stderr);
    return CTL_USAGE;
}

int ctl_session_open(const struct ctl_args *args, const struct client_ops *ops, void *ctx,
                     struct ctl_session *ret)
{
    enum { GOODBYE_MS = 200 }; /* a session left open only waits for its timeout */
    char label[CLIENT_LABEL_SIZE_MAX + 1] = "zabctl@";
    struct client_conf conf = {
        .servers = args->servers,
        .label = label,
        .session_timeout_ms = args->ttl_ms != 0 ? args->ttl_ms : SESSION_TIMEOUT_MS_DEFAULT,
        .deadline_ms = args->deadline_ms,
    };

    if (gethostname(label + strlen(label), sizeof(label) - strlen(label) - 1) != 0) {
        label[strlen("zabctl")] = '\0';
    }
    if (getrandom(&conf.seed, sizeof(conf.seed), 0) != (ssize_t)sizeof(conf.seed)) {
        conf.seed = uv_hrtime(); /* it only spreads out reconnecting */
    }
    *ret = (struct ctl_session){.timeout_ms = conf.session_timeout_ms, .goodbye_ms = GOODBYE_MS};
    CHECK(uv_loop_init(&ret->loop) == 0);
    if (client_new(&ret->loop, &conf, ops, ctx, &ret->client) != 0) {
        uv_loop_close(&ret->loop);
        return ctl_usage("--servers: '%s' is not unix:PATH or HOST:PORT, joined by '+'",
                         args->servers);
    }
    return CTL_OK;
}

void ctl_session_close(struct ctl_session *s)
{
    client_close(s->client, s->goodbye_ms, NULL, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s->loop) == 0);
}
