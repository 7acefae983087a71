#ifndef ZABFS_LOGS_H
#define ZABFS_LOGS_H

#include <stddef.h>
#include <stdint.h>

#include "ledger.h"

/* The committed entries as they are in the data directories of members that have stopped. Each
 * directory is copied, and the copy, without its snapshots, is recovered as a member would: so the
 * log must reach back to index 1 in at least one of them. All must agree as far as a
 * majority does. The members are taken to have converged before they stopped: then the newest log
 * is the history. */

struct logs_counts {
    uint64_t members, whole;    /* logs, and those that begin at index 1 */
    uint64_t shortest, longest; /* last indexes */
};

/* Returns 0; 1 if two logs differ; 2 if they cannot be read or none begins at index 1. ret_note
 * says why. */
int logs_read(char *const *dirs, size_t dir_count, struct ledger *ret, struct logs_counts *counts,
              char *ret_note, size_t note_size);

#endif
