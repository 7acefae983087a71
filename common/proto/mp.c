#include "mp.h"

#include <msgpack/pack.h>

#include "check.h"

/* --- writing: each call is one item through msgpack-c's packer -------------------------------- */

static int write_to_buf(void *data, const char *bytes, size_t size)
{
    buf_put(data, bytes, size);
    return 0;
}

static msgpack_packer packer(struct buf *b)
{
    return (msgpack_packer){.data = b, .callback = write_to_buf};
}

void mp_put_uint(struct buf *b, uint64_t v)
{
    msgpack_packer pk = packer(b);

    msgpack_pack_uint64(&pk, v);
}

void mp_put_int(struct buf *b, int64_t v)
{
    msgpack_packer pk = packer(b);

    msgpack_pack_int64(&pk, v);
}

void mp_put_bool(struct buf *b, bool v)
{
    msgpack_packer pk = packer(b);

    if (v) {
        msgpack_pack_true(&pk);
    } else {
        msgpack_pack_false(&pk);
    }
}

void mp_put_nil(struct buf *b)
{
    msgpack_packer pk = packer(b);

    msgpack_pack_nil(&pk);
}

void mp_put_bin(struct buf *b, const void *bytes, size_t size)
{
    msgpack_packer pk = packer(b);

    CHECK(size <= UINT32_MAX);
    msgpack_pack_bin(&pk, size);
    buf_put(b, bytes, size);
}

void mp_put_array(struct buf *b, size_t count)
{
    msgpack_packer pk = packer(b);

    CHECK(count <= UINT32_MAX);
    msgpack_pack_array(&pk, count);
}

/* --- reading: the first byte of an item is its type, for small items its value too ------------ */

enum {
    TAG_POSITIVE_LAST = 0x7f, /* 0x00 .. 0x7f: the integers 0 .. 127 */
    TAG_ARRAY_FIX = 0x90,     /* 0x90 .. 0x9f: arrays of 0 .. 15 items */
    TAG_ARRAY_FIX_LAST = 0x9f,
    TAG_NIL = 0xc0,
    TAG_FALSE = 0xc2,
    TAG_TRUE = 0xc3,
    TAG_BIN_8 = 0xc4, /* then a size of 1, 2, 4 bytes */
    TAG_BIN_32 = 0xc6,
    TAG_UINT_8 = 0xcc, /* then 1, 2, 4, 8 bytes */
    TAG_UINT_64 = 0xcf,
    TAG_INT_8 = 0xd0, /* then 1, 2, 4, 8 bytes */
    TAG_INT_64 = 0xd3,
    TAG_ARRAY_16 = 0xdc, /* then a count of 2, 4 bytes */
    TAG_ARRAY_32 = 0xdd,
    TAG_NEGATIVE_FIX = 0xe0, /* 0xe0 .. 0xff: the integers -32 .. -1 */
};

static bool get_big_endian(struct cursor *c, size_t size, uint64_t *ret)
{
    const uint8_t *at;
    uint64_t v = 0;

    if (!cur_bytes(c, size, &at)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        v = v << 8 | at[i];
    }
    *ret = v;
    return true;
}

/* Any integer: *ret is its two's complement in 64 bits. */
static bool get_integer(struct cursor *c, uint64_t *ret, bool *ret_negative)
{
    bool negative = false;
    uint64_t v;
    uint8_t tag;

    if (!cur_u8(c, &tag)) {
        return false;
    }
    if (tag <= TAG_POSITIVE_LAST) {
        v = tag;
    } else if (tag >= TAG_NEGATIVE_FIX) {
        v = UINT64_MAX << 8 | tag;
        negative = true;
    } else if (tag >= TAG_UINT_8 && tag <= TAG_UINT_64) {
        if (!get_big_endian(c, (size_t)1 << (tag - TAG_UINT_8), &v)) {
            return false;
        }
    } else if (tag >= TAG_INT_8 && tag <= TAG_INT_64) {
        unsigned bits = 8u << (tag - TAG_INT_8);

        if (!get_big_endian(c, bits / 8, &v)) {
            return false;
        }
        negative = v >> (bits - 1) != 0;
        if (negative && bits < 64) {
            v |= UINT64_MAX << bits;
        }
    } else {
        return false;
    }
    *ret = v;
    *ret_negative = negative;
    return true;
}

bool mp_get_uint(struct cursor *c, uint64_t *ret)
{
    bool negative;
    uint64_t v;

    if (!get_integer(c, &v, &negative) || negative) {
        return false;
    }
    *ret = v;
    return true;
}

bool mp_get_int(struct cursor *c, int64_t *ret)
{
    bool negative;
    uint64_t v;

    if (!get_integer(c, &v, &negative) || (!negative && v > INT64_MAX)) {
        return false;
    }
    *ret = (int64_t)v;
    return true;
}

bool mp_get_bool(struct cursor *c, bool *ret)
{
    uint8_t tag;

    if (!cur_u8(c, &tag) || (tag != TAG_FALSE && tag != TAG_TRUE)) {
        return false;
    }
    *ret = tag == TAG_TRUE;
    return true;
}

bool mp_get_nil(struct cursor *c)
{
    if (cur_left(c) == 0 || c->at[0] != TAG_NIL) {
        return false;
    }
    c->at++;
    return true;
}

bool mp_get_bin(struct cursor *c, const uint8_t **ret, size_t *ret_size)
{
    const uint8_t *at;
    uint64_t size;
    uint8_t tag;

    if (!cur_u8(c, &tag) || tag < TAG_BIN_8 || tag > TAG_BIN_32) {
        return false;
    }
    if (!get_big_endian(c, (size_t)1 << (tag - TAG_BIN_8), &size) || !cur_bytes(c, size, &at)) {
        return false;
    }
    *ret = at;
    *ret_size = size;
    return true;
}

bool mp_get_array(struct cursor *c, size_t *ret_count)
{
    uint64_t count;
    uint8_t tag;

    if (!cur_u8(c, &tag)) {
        return false;
    }
    if (tag >= TAG_ARRAY_FIX && tag <= TAG_ARRAY_FIX_LAST) {
        count = tag - TAG_ARRAY_FIX;
    } else if (tag != TAG_ARRAY_16 && tag != TAG_ARRAY_32) {
        return false;
    } else if (!get_big_endian(c, tag == TAG_ARRAY_16 ? 2 : 4, &count)) {
        return false;
    }
    *ret_count = count;
    return true;
}
