#ifndef ZABFS_CHECK_H
#define ZABFS_CHECK_H

#include <stdbool.h>

/* CHECK states an invariant and is on in every build: a process that broke one stops before it can
 * acknowledge, replicate or store what follows from it. It is for our own bugs only. Bytes from
 * outside and failures of the machine are never CHECKed; they return a code (err.h). */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) {                                                        \
            check_fail(__FILE__, __LINE__, #cond);                                                 \
        }                                                                                          \
    } while (0)

/* Prints `check failed` with its place on stderr and aborts. */
_Noreturn void check_fail(const char *file, int line, const char *expr);

#endif
