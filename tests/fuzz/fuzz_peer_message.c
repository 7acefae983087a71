/* Bytes that a member may get from another, and bodies of log entries. A peer message that decodes
 * must encode to the bytes it came from. */
#include "fuzz.h"

#include "check.h"
#include "test_wire_samples.h"

static void check_peer(const uint8_t *bytes, size_t size)
{
    struct buf b = {0};
    struct peer_msg m;

    if (wire_peer_decode(bytes, size, &m) != 0) {
        return;
    }
    wire_peer_encode(&b, &m);
    CHECK(b.size == size);
    CHECK(memcmp(b.data, bytes, size) == 0);
    peer_msg_done(&m);
    buf_done(&b);
}

static void check_txn(const uint8_t *bytes, size_t size)
{
    struct txn txn;

    if (wire_txn_decode(bytes, size, &txn) != 0) {
        return;
    }
    CHECK(op_is_write(txn.request.op));
    codec_request_done(&txn.request);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    check_peer(bytes, size);
    check_txn(bytes, size);
    return 0;
}

static void seed_txn(struct buf *b)
{
    struct txn_stamp stamp = {.time_ns = 1, .value_size_max = VALUE_SIZE_DEFAULT, .session = 2};
    struct request r = {.op = OP_APPEND, .xid = 3};
    struct buf request = {0};

    r.u.append.id = 4;
    r.u.append.value = blob_new("line\n", 5);
    codec_encode_request(&request, &r);
    wire_txn_encode(b, &stamp, request.data, request.size);
    codec_request_done(&r);
    buf_done(&request);
}

void fuzz_seed(unsigned i, struct buf *b)
{
    struct peer_msg m;

    i %= SAMPLE_PEER_COUNT + 1;
    if (i == SAMPLE_PEER_COUNT) {
        seed_txn(b);
        return;
    }
    sample_peer(i, &m);
    wire_peer_encode(b, &m);
    peer_msg_done(&m);
}
