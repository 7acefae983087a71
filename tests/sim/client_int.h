#ifndef ZABFS_SIM_CLIENT_INT_H
#define ZABFS_SIM_CLIENT_INT_H

#include "clients.h"
#include "codec.h"
#include "model.h"
#include "prng.h"

/* Private to the clients' own files:
 *   clients.c         the calls of clients.h: frames, ends of streams, alarms
 *   client_session.c  streams and sessions: connect, HELLO, resume, send again, expire
 *   client_work.c     what to ask for next, and what is learned from the answers
 *   client_ask.c      ... of locks, lives, moves, attributes, transactions, the past
 *   client_judge.c    what was told, held against the ledger; client_events.c the events of it;
 *   client_text.c     and what is said of it */

enum {
    CLIENT_OPS_MAX = 64,
    CLIENT_DIRS_MAX = 24, /* directories that a client asks to hear of when it resumes */
    KNOWN_MAX = 64,
    EXTRAS_MAX = 64,
    TOLD_MAX = 64,
    CLIENT_NAME_MAX = 300,
    CLIENT_OWN_MAX = 8,
    CLIENT_LOCKS_MAX = 6,
};

struct client_op { /* a request that awaits its answer */
    enum op op;
    uint64_t xid;
    uint64_t session;
    uint64_t floor; /* the highest index that anybody had been told of when it was asked */
    uint64_t past;  /* a read as of that index; 0: of now */
    uint64_t node;  /* that a write is about; 0: it says so otherwise */
    uint64_t need;  /* of a read that follows a barrier: the floor of that barrier */
    uint64_t asked_us;
    uint64_t again_us;  /* to be sent again then; 0: under way */
    uint64_t answer_us; /* patience ends */
    uint32_t sends;
    bool probe;
    struct blob *request;
};

struct interest_set { /* directories of which every change after an index must have come */
    uint64_t *dirs;
    uint64_t *since;
    uint64_t count, cap, since_cap;
};

struct client_own { /* an ephemeral that it made */
    uint64_t id, dir;
    uint32_t size;
    char name[40];
};

struct client_lock { /* that it asked for and did not give back; node 0: none */
    uint64_t node;
    struct lock lock;
};

struct told_grant {
    uint64_t index;
    struct model_grant grant;
};

enum all_state { ALL_OFF, ALL_ASKED, ALL_ON }; /* of a subscription to the changes of everything */

struct client {
    uint32_t number;
    struct prng prng;
    uint32_t member; /* its place in conf.members */
    uint64_t conn;   /* 0: none */
    bool greeting, attached;
    bool draining;  /* what needs the stream for itself comes next */
    bool exclusive; /* nothing else may be asked until all is answered */
    uint64_t connect_us;
    uint64_t hello_us; /* patience with HELLO ends */
    uint64_t hello_xid;
    bool hello_resume;
    struct session_key key;
    bool opened; /* session is valid */
    uint64_t session;
    uint64_t open_floor, open_us; /* when this key was first used */
    uint64_t seen;                /* highest index of any answer */
    uint64_t heard;               /* every change of `dirs` up to here has come */
    uint64_t xid_next;
    struct client_op ops[CLIENT_OPS_MAX]; /* by rising xid */
    uint32_t op_count;
    uint64_t work_us, ping_us, wake_us;
    uint64_t dirs[CLIENT_DIRS_MAX];
    uint32_t dir_count;
    bool resubscribing;           /* INTEREST for `dirs` was sent, and is not answered */
    uint64_t sync_need;           /* the next request is to be a read that shows this; 0: none */
    bool probe_write, probe_sync; /* still to be done */
    uint64_t values;              /* written, makes them unique */
    struct client_own own[CLIENT_OWN_MAX]; /* of its session, as far as it remembers */
    uint32_t own_count;
    struct client_lock locks[CLIENT_LOCKS_MAX];
    bool wants_all; /* subscribes to the changes of all directories */
    bool heard_all; /* and has heard all of them up to `heard` */
    /* judgement */
    uint64_t judged_seen;
    uint64_t judged_heard;
    uint64_t judged_session;
    struct interest_set interest;
    uint64_t group_index; /* of the entry whose changes are being told; 0: none */
    uint32_t group_next;
    enum all_state all;
    uint64_t all_since;               /* ALL_ON: of the changes behind this */
    uint64_t all_first;               /* the first that was told, before the answer; 0: none */
    bool all_open;                    /* ... which has not come */
    uint64_t granted_upto;            /* all grants up to here were told */
    struct told_grant told[TOLD_MAX]; /* those behind */
    uint32_t told_count;
};

enum record_kind {
    RECORD_REPLY, /* to anything but HELLO */
    RECORD_HELLO, /* the answer to it */
    RECORD_EVENT,
    RECORD_LOOSE, /* a write given up, or cut off by the end of its session: it may take effect */
    RECORD_WRONG, /* what no member may ever send */
};

struct record {
    enum record_kind kind;
    enum op op;
    uint32_t client;
    uint32_t sends;
    int err;
    bool resume;
    bool asks_all; /* HELLO: OP_EVENTS was sent behind it */
    bool never;    /* LOOSE: no member let it out, so it has no effect */
    uint64_t session, xid, index;
    uint64_t floor, need;
    uint64_t past; /* a read as of that index; 0: of now */
    uint64_t asked_us, at_us;
    uint64_t dirs[2]; /* that the answer subscribes to; 0: none */
    uint64_t heard;   /* HELLO: INTEREST asks for the changes after this; 0: for none */
    struct session_key key;
    struct blob *request; /* HELLO: the INTEREST that was sent behind it */
    struct blob *bytes;   /* the answer, the event */
    const char *wrong;
};

struct known { /* a node that some client heard of */
    uint64_t id, dir, version;
    enum node_type type;
    uint64_t size;
};

struct extra { /* a node to be removed some day, so that the tree stays small */
    uint64_t dir;
    bool is_dir;
    uint32_t size;
    char name[40];
};

struct sighting { /* index was first told of at this time */
    uint64_t index, at_us;
};

struct clients {
    struct clients_conf conf;
    struct clients_io io;
    struct clients_counts counts;
    struct client *all;
    bool quiet;
    uint64_t told_max; /* highest index that any client was told of */
    struct known known[KNOWN_MAX];
    uint32_t known_count, known_at;
    struct extra extras[EXTRAS_MAX];
    uint32_t extra_count;
    uint64_t lock_file; /* that somebody had a lock on, and nobody found gone; 0: none */
    struct record *records;
    uint64_t record_count, record_cap;
    struct sighting *sightings;
    uint64_t sighting_count, sighting_cap;
    struct buf scratch;
    /* judgement */
    struct model *model;
    uint64_t *asked_us; /* [index]: no entry up to there was asked for later than this */
    uint64_t asked_count, asked_cap;
    uint64_t expired_at;
    char verdict[1024];
};

/* --- clients.c --- */

struct record *client_record(struct clients *cs, const struct record *r);
void client_wrong(struct clients *cs, struct client *c, const char *what, uint64_t now_us);
void client_record_done(struct record *r);
/* Errors of the member that was asked, not of the state: the request was not applied because of
 * them, but it may have been, or may yet be, applied for another reason. */
bool client_is_local(int err);
uint32_t client_roll(struct client *c, uint32_t below);

/* --- client_session.c --- */

void client_connect(struct clients *cs, struct client *c, uint64_t now_us);
/* Ends the stream; what is under way is sent again over the next one, `later_us` from now. */
void client_leave(struct clients *cs, struct client *c, uint64_t now_us, uint64_t later_us);
void client_closed(struct clients *cs, struct client *c, uint64_t now_us);
void client_on_hello(struct clients *cs, struct client *c, const struct reply *r,
                     struct blob *bytes, uint64_t now_us);
void client_session_lost(struct clients *cs, struct client *c, uint64_t now_us);
/* A new request; *r lacks xid, xid_floor and deadline. */
struct client_op *client_ask(struct clients *cs, struct client *c, struct request *r,
                             uint64_t now_us);
void client_send_again(struct clients *cs, struct client *c, struct client_op *o, uint64_t now_us);
struct client_op *client_op_find(struct client *c, uint64_t xid);
void client_op_drop(struct client *c, struct client_op *o);
void client_op_give_up(struct clients *cs, struct client *c, struct client_op *o, bool never,
                       uint64_t now_us);

/* --- client_work.c --- */

void client_work(struct clients *cs, struct client *c, uint64_t now_us);
void client_probe_work(struct clients *cs, struct client *c, uint64_t now_us);
/* Takes what is useful from an answer. */
void client_learn(struct clients *cs, struct client *c, const struct client_op *o,
                  const struct reply *r);

uint64_t client_any_dir(struct clients *cs, struct client *c);
uint64_t client_any_id(struct clients *cs, struct client *c);
enum node_type client_any_type(struct client *c);
struct name client_any_name(struct clients *cs, struct client *c, enum node_type type,
                            char text[CLIENT_NAME_MAX]);
struct blob *client_value(struct clients *cs, struct client *c);

/* --- client_ask.c --- */

bool client_has(const struct clients *cs, enum clients_feature feature);
void client_own(struct client *c, const struct reply *r); /* a CREATE that it asked for */
void client_ask_ephemeral(struct clients *cs, struct client *c, uint64_t now_us);
void client_ask_rename(struct clients *cs, struct client *c, uint64_t now_us);
void client_ask_xattr(struct clients *cs, struct client *c, uint64_t now_us);
void client_ask_txn(struct clients *cs, struct client *c, uint64_t now_us);
void client_ask_lock(struct clients *cs, struct client *c, uint64_t now_us);
bool client_read_more(struct clients *cs, struct client *c, struct request *r,
                      char text[CLIENT_NAME_MAX]);
uint64_t client_past(struct clients *cs, struct client *c);

/* --- client_events.c --- */

void interest_set_clear(struct interest_set *s);
void interest_set_add(struct interest_set *s, uint64_t dir, uint64_t since);
void interest_set_drop(struct interest_set *s, uint64_t dir);
void interest_set_done(struct interest_set *s);
/* All changes up to `index` of the directories in the set have been told, but those after `heard`.
 * Returns an index that was not, or 0. */
uint64_t client_events_missing(const struct clients *cs, const struct client *c, uint64_t index);
uint64_t client_grants_missing(const struct clients *cs, struct client *c, uint64_t index);
void client_all_asked(struct client *c);
const char *client_all_answered(struct clients *cs, struct client *c, const struct record *r,
                                uint64_t asked, uint64_t from);
const char *client_log_judge(struct clients *cs, const struct record *r, const struct request *q,
                             const struct reply *got);
const char *client_event_judge(struct clients *cs, struct client *c, const struct record *r);

/* --- client_text.c --- */

__attribute__((format(printf, 4, 5))) const char *
client_verdict(struct clients *cs, const struct record *r, const char *rule, const char *fmt, ...);
/* The answer is another than these bytes. */
const char *client_differs(struct clients *cs, const struct record *r, const char *rule,
                           const void *bytes, size_t size);

#endif
