#ifndef ZABFS_NODENET_H
#define ZABFS_NODENET_H

#include "codec.h"
#include "node.h"

/* A few replicas in one thread over a network, a disk and a clock that the test moves by hand, and
 * clients that speak the real protocol. Nothing is random but the replicas' own election timers. */

enum { NET_NODES_MAX = 5, NET_FRAMES_MAX = 4096 };

struct net_frame {
    uint32_t from, to;
    struct blob *bytes;
};

struct net_client { /* one stream */
    uint64_t conn;  /* 0: not open */
    uint32_t node;
    uint64_t session;
    struct blob *inbox[NET_FRAMES_MAX];
    uint32_t in_count, in_read;
};

struct net {
    uint32_t count;
    struct node *nodes[NET_NODES_MAX + 1]; /* by id; NULL: crashed */
    const struct store_batch *batch[NET_NODES_MAX + 1];
    bool cut[NET_NODES_MAX + 1];       /* no link to anybody */
    bool disk_slow[NET_NODES_MAX + 1]; /* its batch waits for net_disk_turn() */
    uint64_t link_bytes_per_ms;        /* of each direction of each link; 0: no limit */
    int64_t link_budget[NET_NODES_MAX + 1][NET_NODES_MAX + 1];
    struct net_frame frames[NET_FRAMES_MAX];
    uint32_t frame_count;
    struct node_time now;
    struct net_client clients[8];
    uint64_t conn_next;
    uint64_t xid_next;
    bool snapshots; /* take them at once when asked */
    uint64_t snapshot_entries;
    uint32_t window_entries_max; /* 0: default */
    uint32_t history_changes;    /* 0: none */
    uint32_t apply_entries_max;  /* 0: default */
    bool stopped;                /* a replica said that it must not go on */
};

void net_start(struct net *net, uint32_t count);
void net_done(struct net *net);

/* Delivers and stores until nothing moves, without the clock. */
void net_settle(struct net *net);
void net_run(struct net *net, uint64_t ms);  /* the clock too, in steps of 10 ms */
void net_tick(struct net *net, uint64_t ms); /* one step of the clock, nothing else moves */
uint32_t net_leader(const struct net *net);  /* serving; 0: none */
void net_await_leader(struct net *net);      /* fails the test after 10 s */

bool net_deliver(struct net *net, uint32_t count); /* the oldest frames; false: nothing moved */
void net_disk_turn(struct net *net, uint32_t id);  /* end of a turn; what is stored is durable */

void net_cut(struct net *net, uint32_t id, bool cut);
void net_break(struct net *net, uint32_t a, uint32_t b); /* the stream; what is on it is lost */
void net_crash(struct net *net, uint32_t id);            /* the node and all it had in memory */
void net_restart_empty(struct net *net, uint32_t id);    /* as a member whose disk is new */

/* Clients. client: 0 to 7. */
void net_connect(struct net *net, uint32_t client, uint32_t node);
void net_disconnect(struct net *net, uint32_t client);
uint64_t net_send(struct net *net, uint32_t client, struct request *r); /* xid if it has none */
/* The next message of the stream, after net_settle(); false: none. Borrowed bytes stay valid. */
bool net_recv(struct net *net, uint32_t client, struct message *ret);
/* How many answers came that are not counted yet; none may be an error. Skips events. */
uint32_t net_answers(struct net *net, uint32_t client);
/* Sends, settles, skips events, returns the reply. */
int net_call(struct net *net, uint32_t client, struct request *r, struct reply *ret);
/* HELLO with a key made from `key`; returns the reply's error. */
int net_hello(struct net *net, uint32_t client, uint8_t key, bool resume, uint64_t index_seen);
int net_create(struct net *net, uint32_t client, const char *name, struct reply *ret);
struct name net_name(const char *text);

#endif
