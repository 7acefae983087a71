/* Bytes that a member may get from another. A message that decodes must encode to the bytes it came
 * from. */
#include "fuzz.h"

#include "check.h"
#include "test_wire_samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct buf b = {0};
    struct peer_msg m;

    if (wire_peer_decode(bytes, size, &m) != 0) {
        return 0;
    }
    wire_peer_encode(&b, &m);
    CHECK(b.size == size);
    CHECK(memcmp(b.data, bytes, size) == 0);
    peer_msg_done(&m);
    buf_done(&b);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    struct peer_msg m;

    sample_peer(i % SAMPLE_PEER_COUNT, &m);
    wire_peer_encode(b, &m);
    peer_msg_done(&m);
}
