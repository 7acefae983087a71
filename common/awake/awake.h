#ifndef ZABFS_AWAKE_H
#define ZABFS_AWAKE_H

#include <stdbool.h>
#include <uv.h>

/* Keeps the processors of this machine awake while somebody waits.
 *
 * A change is handed on some ten times between threads that wait for each other, for a few
 * microseconds of work each. A processor that has gone to sleep meanwhile takes longer to wake than
 * all of that work. So while it is in use, the kernel is asked by its quality of service interface
 * (/dev/cpu_dma_latency, Linux documentation: power/pm_qos_interface.rst) for idle states that are
 * left at once; some milliseconds after the last use the request is taken back, and what does
 * nothing costs nothing. It takes processor time from nobody: an idle processor looks for work
 * instead of sleeping.
 *
 * Where the device cannot be opened (it is root's) nothing happens. */
struct awake {
    int fd; /* -1: not to be had, or not wanted */
    uv_timer_t timer;
    bool held; /* the request is made */
    bool used; /* since the timer last looked */
};

void awake_init(struct awake *a, uv_loop_t *loop, bool wanted);
void awake_use(struct awake *a);  /* somebody waits, from now on for a while */
void awake_done(struct awake *a); /* its timer is being closed: the loop must still run once */

#endif
