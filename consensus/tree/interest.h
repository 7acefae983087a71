#ifndef ZABFS_INTEREST_H
#define ZABFS_INTEREST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which sessions attached to this member hear of changes in which directory. It is the member's own
 * and not replicated: a session that moves to another member declares its interest again. Iteration
 * is in the order of subscription, so that runs repeat. All operations are O(1) in the number of
 * subscriptions, interest_drop() in those of the session, or of the directory. */
struct interest;

struct interest *interest_new(void);
void interest_free(struct interest *in);

void interest_add(struct interest *in, uint64_t session, uint64_t dir); /* twice is fine */
void interest_remove(struct interest *in, uint64_t session, uint64_t dir);
void interest_drop(struct interest *in, uint64_t session); /* all of a session */
void interest_drop_dir(struct interest *in, uint64_t dir); /* all of a directory, which is gone */
bool interest_has(const struct interest *in, uint64_t session, uint64_t dir);
size_t interest_count(const struct interest *in);

typedef void (*interest_fn)(void *ctx, uint64_t session);
/* fn must not change `in`. */
void interest_each(const struct interest *in, uint64_t dir, interest_fn fn, void *ctx);

#endif
