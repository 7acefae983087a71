#ifndef ZABFS_CONTROL_INT_H
#define ZABFS_CONTROL_INT_H

#include "bytes.h"
#include "control.h"

struct control_node;

/* A file of .zabfs. An operation that is NULL is the default: reading gives the handle's snapshot,
 * writing is refused, FLUSH and RELEASE do nothing, fsync is the barrier, and it is always ready.
 */
struct control_file {
    const char *name;
    mode_t mode;
    bool owned; /* by whoever made the mount; the others are root's */
    void (*open)(struct call *c, struct control_node *n); /* answers; n may be NULL */
    void (*read)(struct call *c);
    void (*write)(struct call *c, const char *bytes);
    void (*flush)(struct call *c);
    void (*fsync)(struct call *c);
    void (*release)(struct mount *m, struct handle *h);
    unsigned (*poll)(const struct handle *h);
};

/* A node that is there only while the kernel knows it: a stream of events, which every lookup of
 * its name makes anew, or a node of the past. */
struct control_node {
    uint64_t id;
    uint64_t refs;                   /* answers that gave it to the kernel, minus FORGETs */
    uint32_t pins;                   /* open files, and requests under way */
    const struct control_file *file; /* NULL: of the past */

    uint64_t from;               /* a stream: changes after this index; 0: from when it is opened */
    bool from_start;             /* ... from the first that is known */
    struct event_stream *stream; /* while it is open */

    struct {
        uint64_t index, id;
    } past;
    uint64_t parent; /* a control node's id */
    struct attr attr;

    UT_hash_handle hh;      /* by id */
    UT_hash_handle hh_past; /* by `past` */
};

struct control_node *control_node_find(struct mount *m, uint64_t id); /* or NULL */
struct control_node *control_node_new(struct mount *m);
/* The node of the past, made if it is not there. */
struct control_node *control_node_past(struct mount *m, uint64_t index, const struct attr *attr,
                                       uint64_t parent);
void control_node_pin(struct control_node *n);
void control_node_unpin(struct mount *m, struct control_node *n);
/* Answers with the node, which the kernel then knows. */
void control_reply_node(struct mount *m, fuse_req_t req, struct control_node *n,
                        const struct stat *st, double timeout);

/* Opens a file whose text is made up now. */
void control_open_text(struct call *c, const void *bytes, size_t size);
__attribute__((format(printf, 2, 3))) void control_put_line(struct buf *b, const char *fmt, ...);

/* control_text.c */
void control_open_status(struct call *c, struct control_node *n);
void control_open_members(struct call *c, struct control_node *n);
void control_open_leader(struct call *c, struct control_node *n);
void control_open_session(struct call *c, struct control_node *n);
void control_open_metrics(struct call *c, struct control_node *n);

extern const struct control_file control_events; /* control_events.c */
extern const struct control_file control_txn;    /* control_txn.c */

/* control_past.c */
#define CONTROL_PAST_DIR (CONTROL_ID_MIN + 1) /* .zabfs/at */
void past_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
void past_stat(const struct control_node *n, struct stat *ret);
void past_open(struct call *c, struct control_node *n);
void past_opendir(struct call *c, struct control_node *n);
void past_readlink(struct call *c, struct control_node *n);
void past_readdir(struct call *c);

/* control_events.c */
uint64_t events_size(const struct control_node *n);

#endif
