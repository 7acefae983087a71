/* The body of a log entry, as a member applies it from its own log or from the leader. What decodes
 * is a write, and encodes to what decodes to the same: compared as bytes, for the request need not
 * be in shortest form. */
#include "fuzz.h"

#include <string.h>

#include "check.h"
#include "test_proto_samples.h"
#include "wire.h"

static void encode(struct buf *b, const struct txn *txn)
{
    struct txn_stamp stamp = {
        .time_ns = txn->time_ns,
        .value_size_max = txn->value_size_max,
        .session = txn->session,
    };
    struct buf request = {0};
    struct blob *body;

    codec_encode_request(&request, &txn->request);
    body = wire_txn_new(&stamp, request.data, request.size);
    buf_put(b, body->data, body->size);
    blob_unref(body);
    buf_done(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct buf once = {0}, twice = {0};
    struct txn txn, again;
    int err;

    if (wire_txn_decode(bytes, size, &txn) != 0) {
        return 0;
    }
    CHECK(op_is_write(txn.request.op));
    CHECK(txn.index == 0);
    encode(&once, &txn);
    err = wire_txn_decode(once.data, once.size, &again);
    CHECK(err == 0);
    encode(&twice, &again);
    CHECK(once.size == twice.size);
    CHECK(memcmp(once.data, twice.data, once.size) == 0);
    codec_request_done(&again.request);
    codec_request_done(&txn.request);
    buf_done(&once);
    buf_done(&twice);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    struct message m;
    unsigned tried = 0;

    do { /* the writes among the samples */
        sample_message((i + tried++) % SAMPLE_COUNT, &m);
        if (m.kind == MESSAGE_REQUEST && op_is_write(m.u.request.op)) {
            struct txn txn = {.time_ns = 5, .value_size_max = VALUE_SIZE_DEFAULT, .session = 2};

            txn.request = m.u.request;
            encode(b, &txn);
        }
        codec_message_done(&m);
    } while (b->size == 0 && tried < SAMPLE_COUNT);
}
