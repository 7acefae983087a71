/* Bytes that a client, or a member for a client, may get from outside. What decodes must encode,
 * and that must decode to the same: compared as bytes, for the first input need not be in shortest
 * form. */
#include "fuzz.h"

#include "check.h"
#include "test_proto_samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct buf once = {0}, twice = {0};
    struct message m, again;
    int err;

    if (codec_decode(bytes, size, &m) != 0) {
        return 0;
    }
    sample_encode(&once, &m);
    err = codec_decode(once.data, once.size, &again);
    CHECK(err == 0);
    sample_encode(&twice, &again);
    CHECK(once.size == twice.size);
    CHECK(memcmp(once.data, twice.data, once.size) == 0);
    codec_message_done(&again);
    codec_message_done(&m);
    buf_done(&once);
    buf_done(&twice);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    struct message m;

    sample_message(i % SAMPLE_COUNT, &m);
    sample_encode(b, &m);
    codec_message_done(&m);
}
