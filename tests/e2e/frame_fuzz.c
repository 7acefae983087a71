/* frame_fuzz client|peer ADDRESS random|damaged COUNT SEED
 *
 * Opens COUNT connections to a listener of zabd (unix:PATH or 127.0.0.1:PORT), sends one bad thing
 * on each, ends its own side, and waits for the member to end the other. Prints `closed=N late=N`;
 * the exit code is 1 if a connection was not closed within LATE_S. Case number i of a seed is
 * always the same.
 *
 * random: bytes without sense, some behind a header that fits them.
 * damaged: frames that were right and then were cut, or had bits flipped, with the old checksum or,
 * to reach the decoders, with one that fits. */
#include <errno.h>
#include <inttypes.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "codec.h"
#include "hash.h"
#include "prng.h"
#include "wire.h"

enum {
    WORKERS = 8,
    LATE_S = 10,
    HEADER_SIZE = 8,
    RANDOM_SIZE_MAX = 3000,
};

struct target {
    bool peer;
    const char *address;
    bool damaged;
    uint64_t count;
    uint64_t seed;
};

struct tally { /* shared by the workers */
    uint64_t closed;
    uint64_t late;
};

/* --- what is sent ----------------------------------------------------------------------------- */

static void put_frame(struct buf *out, const void *payload, size_t size)
{
    buf_put_u32(out, (uint32_t)size);
    buf_put_u32(out, (uint32_t)hash64(payload, size, 0));
    buf_put(out, payload, size);
}

/* All cases share one session: each that gets that far attaches to it. */
static void put_hello(struct buf *out, bool resume)
{
    static const char label[] = "fuzz";
    struct request hello = {
        .op = OP_HELLO,
        .xid = 1,
        .deadline_ms = 5000,
        .u.hello = {.version = CLIENT_PROTOCOL_VERSION,
                    .key.bytes = {7, 7, 7},
                    .resume = resume,
                    .timeout_ms = 60000,
                    .label = {.bytes = label, .size = sizeof(label) - 1}},
    };

    codec_encode_request(out, &hello);
}

static void make_request(struct prng *p, struct buf *out)
{
    static const char text[] = "name-of-a-node";
    static const uint64_t ids[] = {1, 2, 3};
    struct name name = {.bytes = text, .size = (uint32_t)(1 + prng_below(p, sizeof(text) - 1))};
    struct blob *value = blob_new(text, sizeof(text));
    struct request r = {.xid = 2 + prng_below(p, 1000), .deadline_ms = 1000};

    switch (prng_below(p, 8)) {
    case 0:
        r.op = OP_LOOKUP;
        r.u.lookup.dir = TREE_ROOT_ID;
        r.u.lookup.name = name;
        break;
    case 1:
        r.op = OP_READDIR;
        r.u.readdir.dir = TREE_ROOT_ID;
        r.u.readdir.size_max = 4096;
        break;
    case 2:
        r.op = OP_INTEREST;
        r.u.interest.count = 3;
        r.u.interest.ids = ids;
        break;
    case 3:
        r.op = OP_CREATE;
        r.u.create.dir = TREE_ROOT_ID;
        r.u.create.name = name;
        r.u.create.type = NODE_FILE;
        r.u.create.value = value;
        break;
    case 4:
        r.op = OP_SET;
        r.u.set.id = 1 + prng_below(p, 10);
        r.u.set.if_version =
            1u << 30; /* decoded and applied, and refused: the test has files, too */
        r.u.set.value = value;
        break;
    case 5:
        r.op = OP_SETATTR;
        r.u.setattr.id = 2 + prng_below(p, 10);
        r.u.setattr.mask = SETATTR_MODE;
        break;
    case 6:
        r.op = OP_REMOVE;
        r.u.remove.dir = TREE_ROOT_ID;
        r.u.remove.name = name;
        break;
    default:
        put_hello(out, false);
        blob_unref(value);
        return;
    }
    codec_encode_request(out, &r);
    blob_unref(value);
}

static void make_peer_message(struct prng *p, struct buf *out)
{
    uint8_t bytes[200] = {1, 2, 3};
    uint64_t sessions[] = {1, 2, 3};
    struct peer_msg m = {.type = (enum peer_msg_type)(1 + prng_below(p, 6))};

    switch (m.type) {
    case PEER_IDENT:
        m.u.ident.version = PEER_PROTOCOL_VERSION;
        m.u.ident.from = 1;
        m.u.ident.to = 2;
        break;
    case PEER_ZAB:
        m.u.zab.type = (enum zab_msg_type)(1 + prng_below(p, 8));
        m.u.zab.from = 1;
        m.u.zab.to = 2;
        m.u.zab.epoch = prng_below(p, 100);
        m.u.zab.commit = prng_below(p, 1000);
        break;
    case PEER_FORWARD:
        m.u.forward.session = 1;
        m.u.forward.bytes = bytes;
        m.u.forward.size = sizeof(bytes);
        break;
    case PEER_TOUCH:
        m.u.touch.count = 3;
        m.u.touch.sessions = sessions;
        break;
    case PEER_SNAP:
        m.u.snap.total = sizeof(bytes);
        m.u.snap.bytes = bytes;
        m.u.snap.size = sizeof(bytes);
        break;
    case PEER_SNAP_R:
        m.u.snap_r.stored = prng_below(p, 1000);
        break;
    }
    wire_peer_encode(out, &m);
}

static void flip_bits(struct prng *p, uint8_t *at, size_t size)
{
    for (uint64_t n = 1 + prng_below(p, 3); n > 0; n--) {
        at[prng_below(p, size)] ^= (uint8_t)(1u << prng_below(p, 8));
    }
}

static void make_damaged(const struct target *t, struct prng *p, struct buf *out)
{
    struct buf payload = {0};
    size_t before;

    if (!t->peer && prng_below(p, 2) == 0) { /* half of the time, get past the HELLO first */
        put_hello(&payload, true);
        put_frame(out, payload.data, payload.size);
        payload.size = 0;
    }
    before = out->size;
    if (t->peer) {
        make_peer_message(p, &payload);
    } else {
        make_request(p, &payload);
    }
    switch (prng_below(p, 4)) {
    case 0: /* cut anywhere, the header too */
        put_frame(out, payload.data, payload.size);
        out->size = before + prng_below(p, out->size - before);
        break;
    case 1: /* bits flipped anywhere */
        put_frame(out, payload.data, payload.size);
        flip_bits(p, out->data + before, out->size - before);
        break;
    case 2: /* a payload cut, in a frame that fits it */
        put_frame(out, payload.data, 1 + prng_below(p, payload.size));
        break;
    default: /* bits flipped in the payload, with a checksum that fits */
        flip_bits(p, payload.data, payload.size);
        put_frame(out, payload.data, payload.size);
        break;
    }
    buf_done(&payload);
}

static void make_random(struct prng *p, struct buf *out)
{
    uint8_t bytes[RANDOM_SIZE_MAX];
    size_t size = 1 + prng_below(p, sizeof(bytes));

    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)prng_next(p);
    }
    switch (prng_below(p, 4)) {
    case 0: /* a length that is true, a checksum that is not */
        buf_put_u32(out, (uint32_t)size);
        break;
    case 1: /* both true: it reaches the decoder */
        put_frame(out, bytes, size);
        return;
    default:
        break;
    }
    buf_put(out, bytes, size);
}

/* --- sending it ------------------------------------------------------------------------------- */

/* TCP connections come from changing addresses of the loopback network, or the ports of those that
 * have just ended would be used up. */
static int connect_to(const char *address, uint64_t number)
{
    struct timeval late = {.tv_sec = LATE_S};
    int fd;
    int rc;

    if (strncmp(address, "unix:", 5) == 0) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};

        snprintf(to.sun_path, sizeof(to.sun_path), "%s", address + 5);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &late, sizeof(late));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &late, sizeof(late));
        rc = connect(fd, (struct sockaddr *)&to, sizeof(to));
    } else {
        unsigned port = (unsigned)strtoul(strchr(address, ':') + 1, NULL, 10);
        struct sockaddr_in from = {.sin_family = AF_INET};
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + (uint32_t)(number % 60000));
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &late, sizeof(late));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &late, sizeof(late));
        rc = bind(fd, (struct sockaddr *)&from, sizeof(from));
        rc = rc != 0 ? rc : connect(fd, (struct sockaddr *)&to, sizeof(to));
    }
    if (rc != 0) {
        perror(address);
        exit(1);
    }
    return fd;
}

/* True if the member ended the connection in time. */
static bool send_and_wait(int fd, const struct buf *b)
{
    size_t sent = 0;
    ssize_t n = 1;
    uint8_t answer[4096];

    while (sent < b->size && n > 0) { /* an error: it was closed before it had read all */
        n = send(fd, b->data + sent, b->size - sent, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
    }
    shutdown(fd, SHUT_WR);
    do {
        n = recv(fd, answer, sizeof(answer), 0);
    } while (n > 0);
    return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void run_worker(const struct target *t, uint64_t worker, struct tally *tally)
{
    struct buf b = {0};

    for (uint64_t i = worker; i < t->count; i += WORKERS) {
        struct prng p = {.state = t->seed + i * 0x9e3779b97f4a7c15u};

        prng_next(&p);
        b.size = 0;
        if (t->damaged) {
            make_damaged(t, &p, &b);
        } else {
            make_random(&p, &b);
        }
        int fd = connect_to(t->address, i);
        bool closed = send_and_wait(fd, &b);

        close(fd);
        __atomic_fetch_add(closed ? &tally->closed : &tally->late, 1, __ATOMIC_RELAXED);
    }
    buf_done(&b);
}

int main(int argc, char **argv)
{
    struct tally *tally =
        mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int failed = 0;
    int status;

    if (argc != 6 || tally == MAP_FAILED) {
        fputs("usage: frame_fuzz client|peer ADDRESS random|damaged COUNT SEED\n", stderr);
        return 2;
    }
    struct target t = {
        .peer = strcmp(argv[1], "peer") == 0,
        .address = argv[2],
        .damaged = strcmp(argv[3], "damaged") == 0,
        .count = strtoull(argv[4], NULL, 10),
        .seed = strtoull(argv[5], NULL, 10),
    };

    for (uint64_t worker = 0; worker < WORKERS; worker++) {
        if (fork() == 0) {
            run_worker(&t, worker, tally);
            return 0;
        }
    }
    while (wait(&status) > 0) {
        failed += status != 0;
    }
    printf("closed=%" PRIu64 " late=%" PRIu64 "\n", tally->closed, tally->late);
    return failed != 0 || tally->late != 0 || tally->closed != t.count;
}
