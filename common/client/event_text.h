#ifndef ZABFS_EVENT_TEXT_H
#define ZABFS_EVENT_TEXT_H

#include "bytes.h"
#include "msg.h"

/* Changes as people and scripts read them: `.zabfs/events`, `zabctl watch` and `zabctl log`. */

/* create, set, setattr, remove, move, grant */
const char *event_kind_text(enum change_kind kind);

/* Appends the path of what changed, "/a/b", "/" for the root; of a move where it came from. */
void event_path(const struct event *e, struct buf *ret);
void event_path_from(const struct event *e, struct buf *ret);

/* Appends one JSON object, without a line break:
 *
 *     {"index":812,"kind":"create","path":"/a/b","type":"file","id":40,"version":1,"size":3,
 *      "session":7,"time":"2026-01-31T12:00:00.000000000Z"}
 *
 * A move has "from" behind "path"; of what was removed the numbers are its last ones, and there is
 * no time. "more":true says that another change of the same index follows. */
void event_json(const struct event *e, struct buf *ret);

/* ... and for changes that were missed, from the first index to the last:
 *
 *     {"index":900,"kind":"gap","first":813,"last":900} */
void event_gap_json(uint64_t first, uint64_t last, struct buf *ret);

/* Appends words without a line break: "812 create /a/b", "813 move /a/b /c", "900 gap 813". Control
 * bytes of names become '?'. */
void event_line(const struct event *e, struct buf *ret);
void event_gap_line(uint64_t first, uint64_t last, struct buf *ret);

#endif
