#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "err.h"

static enum log_level level_max = LOG_INFO;
static int log_fd = 2;
static const char *const level_text[] = {"ERROR", "WARN", "INFO", "DEBUG"};

void log_set_level(enum log_level level)
{
    level_max = level;
}

int log_level_parse(const char *text, enum log_level *ret)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    for (int i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    return ERR_INVAL;
}

void log_set_fd(int fd)
{
    log_fd = fd;
}

void log_line(enum log_level level, const char *mod, const char *fmt, ...)
{
    char line[1024];
    struct timespec ts;
    struct tm tm;
    size_t used;
    int n;
    va_list ap;

    if (level > level_max) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    n = snprintf(line + used, sizeof(line) - used, ".%03ldZ level=%s mod=%s ", ts.tv_nsec / 1000000,
                 level_text[level], mod);
    used += (size_t)n;
    va_start(ap, fmt);
    n = vsnprintf(line + used, sizeof(line) - used - 1, fmt, ap);
    va_end(ap);
    if (n > 0) {
        used += (size_t)n < sizeof(line) - used - 1 ? (size_t)n : sizeof(line) - used - 2;
    }
    line[used++] = '\n';
    if (write(log_fd, line, used) < 0) {
        return; /* nowhere left to say it */
    }
}
