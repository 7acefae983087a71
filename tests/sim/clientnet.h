#ifndef ZABFS_CLIENTNET_H
#define ZABFS_CLIENTNET_H

#include "clients.h"
#include "codec.h"
#include "node_int.h"
#include "nodenet.h"
#include "prng.h"

/* The simulator's clients on three replicas in one thread (nodenet.h), for tests of the clients'
 * judge. Between a member and a client a lie may be told, so that the ledger stays true. */

enum { NODES = 3, CLIENTS = 5, QUEUE_MAX = 8192 };

struct pipe_frame {
    uint32_t client;
    uint64_t conn;
    struct blob *bytes;
};

struct world;

/* Changes a frame on its way to a client; true if it did, and what the client hears is wrong. */
typedef bool (*world_lie)(struct world *w, struct message *m, uint32_t client);

struct world { /* too large for a stack */
    struct net net;
    struct prng prng;
    struct clients *clients;
    struct ledger ledger;
    uint64_t conns[CLIENTS]; /* number that the client knows; 0: none */
    uint64_t wake_us[CLIENTS];
    struct pipe_frame queue[QUEUE_MAX]; /* to members */
    uint32_t queue_count;
    world_lie lie;  /* told once, or NULL */
    bool lie_drops; /* the frame, instead of changing it */
    uint64_t frames, lies;
    uint64_t told;                              /* highest index that any client was told of */
    uint64_t sync_xid[CLIENTS];                 /* of its last barrier */
    uint64_t seen[CLIENTS], sync_told[CLIENTS]; /* by it; by any when its last barrier left */
};

void world_start(struct world *w, uint64_t seed, world_lie lie);
void world_end(struct world *w);
void world_turn(struct world *w);
void world_fault(struct world *w);  /* now and then, of members, links, disks, clocks */
void world_finish(struct world *w); /* heals; all is answered, all clients get something through */
uint64_t world_now_us(const struct world *w);

#endif
