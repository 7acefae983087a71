#ifndef ZABFS_CTL_HOLD_H
#define ZABFS_CTL_HOLD_H

#include "ctl.h"
#include "run.h"

/* Runs a command for as long as what belongs to a session, a lock or an ephemeral file on one node,
 * is surely still there; or without a command waits for a signal.
 *
 * The ensemble ends a session that it has heard nothing of for its timeout. So the session is sure
 * for about that long after it has last spoken to the leader: every eighth of the timeout a
 * barrier, which the leader has to answer, is asked for, and counts from when it was asked. The
 * leader hears of a session through its member, a tenth of a second later, or, if just that word
 * was lost, of the question before: so no session ends within seven eighths. When half of the
 * timeout has passed since the last question that was answered, COMMAND gets SIGTERM, at three
 * quarters SIGKILL. A session that is known to be lost, or a node that is removed, ends COMMAND at
 * once.
 *
 * What all this cannot help against is a machine that stands still as a whole and then goes on: for
 * that there is the fence. */
struct hold {
    struct ctl_session *session;
    struct run run;
    uv_timer_t beat;
    uv_timer_t doubt; /* half of the timeout has passed */
    uv_timer_t kill_timer;
    uint64_t sure_ms; /* the session was alive then, uv_hrtime() */
    uint64_t asked_ms;
    bool asking;
    uint64_t node; /* that it is about; 0: not yet */
    bool running;  /* from hold_run() on */
    bool ended;
    int code;
    int signal;       /* that came while nothing ran; 0: none */
    const char *lost; /* static text; NULL: ours */
};

/* Of hold_init() to hold_done() signals do not end this process: look at h->signal while waiting.
 * The owner's client_ops pass on what comes to hold_on_event() and hold_on_attach(). */
void hold_init(struct hold *h, struct ctl_session *s);
void hold_done(struct hold *h);

void hold_on_event(struct hold *h, const struct event *e);
void hold_on_attach(struct hold *h, bool fresh);

/* One barrier, so that the session is known to be alive now. Errors: of the request. */
int hold_confirm(struct hold *h);
/* `command` may be NULL; `subject` is for messages. Returns the exit code. */
int hold_run(struct hold *h, const char *subject, char **command, char *const *variables);

#endif
