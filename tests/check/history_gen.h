#ifndef ZABFS_HISTORY_GEN_H
#define ZABFS_HISTORY_GEN_H

#include "history.h"
#include "ledger.h"
#include "model.h"
#include "prng.h"

/* Histories for the checkers' own tests: processes on mounts that do what they should, with a
 * ledger that fits; and ways to spoil one, each of which makes it certainly wrong. */

enum { GEN_TEXT_SIZE = 600 };

struct gen_op {
    uint32_t proc, mount;
    bool linear;
    enum history_kind kind;
    uint64_t call_ns, ret_ns; /* HISTORY_NEVER */
    const char *err;
    char path[32];
    char result[GEN_TEXT_SIZE];
    uint64_t index; /* at which it took effect; 0: never */
    uint64_t node;  /* that it was about */
};

struct gen {
    struct prng prng;
    struct gen_op *ops; /* by rising call */
    uint64_t count, cap;
    struct ledger ledger;
    struct model *model;
    uint64_t now_ns, xid, tokens;
};

/* `unknown_percent` of the changes end without a word, or with ETIMEDOUT. */
void gen_run(struct gen *g, uint64_t seed, uint64_t count, uint32_t unknown_percent);
void gen_done(struct gen *g);
void gen_history(const struct gen *g, struct history *ret);
void gen_entry(struct gen *g, struct request *r); /* one more, not advancing the model */

struct spoiling {
    const char *name;
    bool (*spoil)(struct gen *g); /* false: there is nothing to spoil like that */
    bool found_by_log, found_without;
};
extern const struct spoiling spoilings[];
extern const size_t spoiling_count;

#endif
