/* The body of a DATA entry: i64 time_ns, u32 value_size_max, u64 session, and the request to the
 * end. Failure mode: one, ERR_MALFORMED; for an entry that was committed it means that the log was
 * written by another version. */
#include "wire.h"

#include <string.h>

#include "blob.h"
#include "bytes.h"
#include "check.h"
#include "err.h"

enum { STAMP_SIZE = 8 + 4 + 8 };

struct blob *wire_txn_new(const struct txn_stamp *stamp, const void *request, size_t size)
{
    struct blob *body = blob_new_uninit(STAMP_SIZE + size);

    CHECK(stamp->value_size_max <= VALUE_SIZE_MAX);
    bytes_set_u64(body->data, (uint64_t)stamp->time_ns);
    bytes_set_u32(body->data + 8, stamp->value_size_max);
    bytes_set_u64(body->data + 12, stamp->session);
    memcpy(body->data + STAMP_SIZE, request, size);
    return body;
}

int wire_txn_decode(const void *bytes, size_t size, struct txn *ret)
{
    struct cursor c = cur_make(bytes, size);
    struct message m;
    struct txn txn = {0};
    uint64_t time;
    int err;

    if (!cur_u64(&c, &time) || !cur_u32(&c, &txn.value_size_max) || !cur_u64(&c, &txn.session) ||
        txn.value_size_max > VALUE_SIZE_MAX) {
        return ERR_MALFORMED;
    }
    err = codec_decode(c.at, cur_left(&c), &m);
    if (err != 0) {
        return err;
    }
    if (m.kind != MESSAGE_REQUEST || !op_is_write(m.u.request.op)) {
        codec_message_done(&m);
        return ERR_MALFORMED;
    }
    txn.time_ns = (int64_t)time;
    txn.request = m.u.request;
    *ret = txn;
    return 0;
}
