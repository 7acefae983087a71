#ifndef ZABFS_LEDGER_H
#define ZABFS_LEDGER_H

#include <stddef.h>
#include <stdint.h>

#include "blob.h"
#include "hash.h"

/* The one history that an ensemble agreed on: every committed entry, from index 1. The checkers
 * judge what clients saw by it; the simulator fills it as members commit and the chaos test reads
 * it from the members' logs. */

struct ledger_entry {
    uint64_t epoch;
    uint8_t type; /* enum zab_entry_type */
    struct hash128 chain;
    struct blob *body; /* one reference; NULL is empty */
};

struct ledger {
    struct ledger_entry *entries; /* entries[i] has index i + 1 */
    uint64_t count, cap;
};

/* Adds the entry at index count + 1; takes its own reference to the body. */
void ledger_push(struct ledger *l, const struct ledger_entry *e);
const struct ledger_entry *ledger_at(const struct ledger *l, uint64_t index); /* 1..count */
void ledger_done(struct ledger *l);

#endif
