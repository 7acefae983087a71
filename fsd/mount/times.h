#ifndef ZABFS_TIMES_H
#define ZABFS_TIMES_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds since 1970, which may be before it, as the kernel wants them: tv_nsec is not
 * negative. */
static inline struct timespec to_timespec(int64_t ns)
{
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

    if (t.tv_nsec < 0) {
        t.tv_sec--;
        t.tv_nsec += 1000000000;
    }
    return t;
}

#endif
