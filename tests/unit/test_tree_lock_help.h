#ifndef ZABFS_TEST_TREE_LOCK_HELP_H
#define ZABFS_TEST_TREE_LOCK_HELP_H

#include "test_tree_help.h"

#define ALL 0, UINT64_MAX
#define NO  LOCK_TYPE_NONE
#define SH  LOCK_TYPE_SHARED
#define EX  LOCK_TYPE_EXCLUSIVE

/* One count of requests for all sessions will do. */
static inline int ask(struct world *w, uint64_t session, uint64_t id, struct lock lock, bool wait)
{
    struct request r = {.op = OP_LOCK, .xid = ++w->xid};

    r.xid_floor = r.xid;
    r.u.lock.id = id;
    r.u.lock.lock = lock;
    r.u.lock.wait = wait;
    return world_apply(w, session, &r);
}

static inline struct lock flock_of(enum lock_type type, uint64_t owner)
{
    return (struct lock){LOCK_KIND_FLOCK, type, owner, ALL, 1000 + (uint32_t)owner};
}

static inline struct lock range_of(enum lock_type type, uint64_t owner, uint64_t start,
                                   uint64_t end)
{
    return (struct lock){LOCK_KIND_POSIX, type, owner, start, end, 1000 + (uint32_t)owner};
}

static inline uint64_t make_file(struct world *w, const char *name)
{
    cr_assert_eq(world_create(w, TREE_ROOT_ID, name, ""), 0);
    return world_made(w);
}

static inline void audit(const struct world *w)
{
    cr_assert_eq(tree_audit(w->tree), tree_digest(w->tree));
}

static inline int close_session(struct world *w, uint64_t session)
{
    struct request r = {.op = OP_SESSION_CLOSE};

    r.u.session_close.session = session;
    return world_apply(w, 0, &r);
}

#endif
