#ifndef ZABFS_CLIENT_PROBE_H
#define ZABFS_CLIENT_PROBE_H

#include <stdint.h>

#include "msg.h"

/* What one member says about itself. It is asked on a stream without a session, so that a member
 * answers also when no quorum could open one. */
struct probe_status {
    void *frame;        /* the fields point into it */
    struct reply reply; /* of OP_STATUS */
};

/* server: one address, as in a server list. Errors: ERR_INVAL it does not parse, ERR_CLOSED nobody
 * answers there, ERR_TIMEOUT, ERR_MALFORMED not a zabd, and the member's own. */
int probe_status_get(const char *server, uint64_t timeout_ms, struct probe_status *ret);
void probe_status_done(struct probe_status *s);

/* A field's value, or NULL. */
const struct name *probe_status_field(const struct probe_status *s, const char *key);
/* The same as text, cut to `cap`; "-" when there is none. */
void probe_status_text(const struct probe_status *s, const char *key, char *ret, size_t cap);

#endif
