#ifndef ZABFS_ORDER_H
#define ZABFS_ORDER_H

#include "history.h"
#include "ledger.h"

/* Judges a history by the committed entries: each call is brought to its place in the log by what
 * is unique about it (tokens, inode numbers, numbered names), and held against the toy model
 * (model.h) there. O(n log n). The rules:
 *
 *   lost      what was acknowledged has its entry
 *   twice     no call has two
 *   refused   what was certainly refused has none
 *   nobody    no name is made or removed by an entry that no call can have asked for
 *   winner    a node, or a numbered name, was given to one call only
 *   order     an entry is above every index that was visible before its call
 *   numbers   numbered names rise in commit order
 *   read      value, existence, absence and listing are those of some index in the call's interval
 *
 * The interval of a call begins, with linearizable reads and for changes, at the highest index that
 * anybody had seen before it; with default reads at what its own process and mount had seen, own
 * changes and barriers included. It ends before the first entry that was asked for after it
 * returned.
 *
 * A listing is a stream of pages: what stays for all of it is shown once, what comes or goes
 * meanwhile may be shown or not. */

struct order_counts {
    uint64_t ops, writes, reads, lists, syncs, refused, unknown;
    uint64_t unknown_found; /* calls of unknown outcome that did take effect */
    uint64_t lists_at_once; /* that are the directory at one index, too */
    uint64_t entries, changes;
    char why_not[256]; /* it could not be judged */
};

/* False: the history cannot be judged by this ledger (a path that is not there, an entry that
 * cannot be decoded). */
bool order_check(const struct history *h, const struct ledger *ledger, struct findings *f,
                 struct order_counts *ret);

#endif
