#ifndef ZABFS_ORDER_INT_H
#define ZABFS_ORDER_INT_H

#include "model.h"
#include "order.h"

/* Private to order*.c:
 *   order.c          the rules, in order of time
 *   order_entries.c  which entry each call is, and when it was asked for
 *   order_place.c    what was at a path, or in a directory, from index to index
 *   order_match.c    calls and entries that only time can bring together */

enum { NO_INDEX = 0 };

struct order_place { /* a path */
    bool resolved;   /* its directory is there */
    uint64_t dir;
    struct name name;
    const struct model_life **lives; /* of what had it, oldest first */
    uint64_t life_count;
};

struct order_change { /* of the names in a directory */
    uint64_t index;
    const struct model_life *life;
    bool made;
};

struct order_dir {
    const struct model_node *node; /* NULL: the path is no directory */
    struct order_change *changes;
    uint64_t change_count;
    const struct model_life ***marks; /* marks[k]: who is there before change k * ORDER_MARK */
    uint64_t *mark_sizes;
    uint64_t mark_count;
};

enum { ORDER_MARK = 256 };

struct order_call { /* what is found out about ops[i] */
    uint64_t index; /* of its entry, NO_INDEX: not known */
    uint64_t floor; /* the highest index that anybody had seen when it was called */
    uint64_t from;  /* its interval begins there */
};

struct order_token {
    UT_hash_handle hh;
    uint64_t index;
    uint64_t count;
    uint64_t id;
    uint32_t size;
    char bytes[];
};

struct order_seen { /* by a process, or by all of a mount */
    UT_hash_handle hh;
    uint64_t key;
    uint64_t index;
};

struct order {
    const struct history *h;
    const struct ledger *ledger;
    struct findings *f;
    struct order_counts *n;
    struct model *model;
    struct order_place *places; /* by number of the path */
    struct order_dir *dirs;     /* by number of the path, filled when first asked for */
    bool *dir_known;
    struct order_call *calls;
    struct order_token *tokens;
    struct order_seen *seen;
    uint64_t *asked_ns; /* [index]: no entry up to there was asked for later than this */
    uint64_t *owner;    /* [index]: 1 + number of the call that the entry was given to */
    char text[256];
};

/* --- order_entries.c --- */

void order_finding(struct order *o, const char *rule, const struct history_op *op, const char *what,
                   uint64_t a, uint64_t b);
void order_entries_find(struct order *o);
/* The last index before the first entry that was asked for after `ns`. */
uint64_t order_asked_before(const struct order *o, uint64_t ns);

/* --- order_place.c --- */

void order_place_find(struct order *o, uint32_t path);
void order_places_done(struct order *o);

/* The lowest index in [from, to] at which the path has, or has not, a node, or a file with that
 * value; UINT64_MAX: none. */
uint64_t order_present_at(const struct order_place *p, uint64_t from, uint64_t to);
uint64_t order_absent_at(const struct order_place *p, uint64_t from, uint64_t to);
uint64_t order_value_at(const struct order_place *p, const char *value, uint32_t size,
                        uint64_t from, uint64_t to);

/* A listing as a stream of pages between `from` and `to`: NULL, or the name that is wrong in it.
 * *ret_index is the lowest index it shows; *ret_at_once tells whether it is the directory at one
 * index. */
const char *order_list_wrong(struct order *o, uint32_t path, const struct history_op *op,
                             uint64_t from, uint64_t to, uint64_t *ret_index, bool *ret_at_once);

/* --- order_match.c --- */

struct order_span { /* a call that can be an entry above `from` and up to `to` */
    uint64_t from, to;
    const struct history_op *op;
    bool needed;
};

/* Two questions: is there a point for each needed span, *ret_left being one without, or NULL; and
 * is there a span, needed or not, for each point: returns one without, or UINT64_MAX. Sorts both.
 */
uint64_t order_match(uint64_t *points, uint64_t point_count, struct order_span *spans,
                     uint64_t span_count, const struct order_span **ret_left);

#endif
