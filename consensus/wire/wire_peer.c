/* One byte of type, then the fields of that type in the order of the structs. put_x() and get_x()
 * stand side by side: what one writes the other reads.
 *
 * Every message of the broadcast carries all scalar fields of struct zab_msg, used or not, and its
 * entries last. A field that is added there is one line in each of two functions here.
 *
 * Failure mode: there is one, ERR_MALFORMED. What was taken until then is released, and the
 * caller's message was never touched. */
#include "wire.h"

#include <string.h>

#include "blob.h"
#include "check.h"
#include "err.h"
#include "mem.h"

enum { ENTRY_HEAD_SIZE = 8 + 8 + 1 + 16 + 4 }; /* of an entry on the wire, without its body */

static bool get_bool(struct cursor *c, bool *ret)
{
    uint8_t v;

    if (!cur_u8(c, &v) || v > 1) {
        return false;
    }
    *ret = v != 0;
    return true;
}

/* u32 size, then the bytes; borrowed. */
static void put_bytes(struct buf *b, const uint8_t *bytes, uint32_t size, uint32_t size_max)
{
    CHECK(size <= size_max);
    buf_put_u32(b, size);
    buf_put(b, bytes, size);
}

static bool get_bytes(struct cursor *c, uint32_t size_max, const uint8_t **ret, uint32_t *ret_size)
{
    uint32_t size;

    if (!cur_u32(c, &size) || size > size_max || !cur_bytes(c, size, ret)) {
        return false;
    }
    *ret_size = size;
    return true;
}

static void put_hash(struct buf *b, struct hash128 h)
{
    buf_put_u64(b, h.lo);
    buf_put_u64(b, h.hi);
}

static bool get_hash(struct cursor *c, struct hash128 *ret)
{
    return cur_u64(c, &ret->lo) && cur_u64(c, &ret->hi);
}

static void put_pos(struct buf *b, const struct zab_pos *pos)
{
    buf_put_u64(b, pos->epoch);
    buf_put_u64(b, pos->index);
    put_hash(b, pos->chain);
}

static bool get_pos(struct cursor *c, struct zab_pos *ret)
{
    return cur_u64(c, &ret->epoch) && cur_u64(c, &ret->index) && get_hash(c, &ret->chain);
}

/* --- PEER_IDENT ------------------------------------------------------------------------------- */

static void put_ident(struct buf *b, const struct peer_msg *m)
{
    buf_put_u32(b, m->u.ident.version);
    put_hash(b, m->u.ident.cluster);
    put_hash(b, m->u.ident.incarnation);
    buf_put_u32(b, m->u.ident.from);
    buf_put_u32(b, m->u.ident.to);
}

static bool get_ident(struct cursor *c, struct peer_msg *m)
{
    return cur_u32(c, &m->u.ident.version) && get_hash(c, &m->u.ident.cluster) &&
           get_hash(c, &m->u.ident.incarnation) && cur_u32(c, &m->u.ident.from) &&
           cur_u32(c, &m->u.ident.to);
}

/* --- PEER_ZAB --------------------------------------------------------------------------------- */

static void put_entry(struct buf *b, const struct zab_entry *e)
{
    buf_put_u64(b, e->epoch);
    buf_put_u64(b, e->index);
    buf_put_u8(b, (uint8_t)e->type);
    put_hash(b, e->chain);
    put_bytes(b, e->body != NULL ? e->body->data : NULL, e->body != NULL ? e->body->size : 0,
              ENTRY_SIZE_MAX);
}

static bool get_entry(struct cursor *c, struct zab_entry *e)
{
    const uint8_t *body;
    uint32_t size;
    uint8_t type;

    if (!cur_u64(c, &e->epoch) || !cur_u64(c, &e->index) || !cur_u8(c, &type) ||
        !get_hash(c, &e->chain) || !get_bytes(c, ENTRY_SIZE_MAX, &body, &size)) {
        return false;
    }
    if (type < ZAB_ENTRY_DATA || type > ZAB_ENTRY_EPOCH) {
        return false;
    }
    e->type = (enum zab_entry_type)type;
    e->body = size > 0 ? blob_new(body, size) : NULL;
    return true;
}

static bool get_entries(struct cursor *c, struct zab_msg *z)
{
    uint32_t count;

    if (!cur_u32(c, &count) || count > BATCH_ENTRIES_MAX || count > cur_left(c) / ENTRY_HEAD_SIZE) {
        return false;
    }
    if (count == 0) {
        return true;
    }
    z->entries = mem_zalloc(count * sizeof(*z->entries));
    z->entry_count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (!get_entry(c, &z->entries[i])) {
            return false;
        }
    }
    return true;
}

static void put_zab(struct buf *b, const struct zab_msg *z)
{
    buf_put_u8(b, (uint8_t)z->type);
    buf_put_u32(b, z->from);
    buf_put_u32(b, z->to);
    buf_put_u64(b, z->epoch);
    buf_put_u64(b, z->promised);
    put_pos(b, &z->last);
    buf_put_u64(b, z->commit);
    buf_put_u64(b, z->sync);
    buf_put_u64(b, z->received);
    buf_put_u64(b, z->durable);
    buf_put_u64(b, z->round);
    buf_put_u64(b, z->read);
    buf_put_u64(b, z->digest_index);
    buf_put_u64(b, z->digest);
    buf_put_u64(b, z->fresh);
    buf_put_u8(b, z->granted);
    buf_put_u8(b, z->quorum);
    buf_put_u8(b, z->faulty);
    buf_put_u8(b, z->unformed);
    buf_put_u8(b, z->lease);
    CHECK(z->entry_count <= BATCH_ENTRIES_MAX);
    buf_put_u32(b, z->entry_count);
    for (uint32_t i = 0; i < z->entry_count; i++) {
        put_entry(b, &z->entries[i]);
    }
}

static bool get_zab(struct cursor *c, struct zab_msg *z)
{
    uint8_t type;

    if (!cur_u8(c, &type) || type < ZAB_PREVOTE || type > ZAB_MSG_TYPE_MAX) {
        return false;
    }
    z->type = (enum zab_msg_type)type;
    return cur_u32(c, &z->from) && cur_u32(c, &z->to) && cur_u64(c, &z->epoch) &&
           cur_u64(c, &z->promised) && get_pos(c, &z->last) && cur_u64(c, &z->commit) &&
           cur_u64(c, &z->sync) && cur_u64(c, &z->received) && cur_u64(c, &z->durable) &&
           cur_u64(c, &z->round) && cur_u64(c, &z->read) && cur_u64(c, &z->digest_index) &&
           cur_u64(c, &z->digest) && cur_u64(c, &z->fresh) && get_bool(c, &z->granted) &&
           get_bool(c, &z->quorum) && get_bool(c, &z->faulty) && get_bool(c, &z->unformed) &&
           get_bool(c, &z->lease) && get_entries(c, z);
}

/* --- PEER_FORWARD, PEER_TOUCH, PEER_SNAP, PEER_SNAP_R ----------------------------------------- */

static void put_forward(struct buf *b, const struct peer_msg *m)
{
    buf_put_u64(b, m->u.forward.session);
    put_bytes(b, m->u.forward.bytes, m->u.forward.size, CLIENT_FRAME_SIZE_MAX);
}

static bool get_forward(struct cursor *c, struct peer_msg *m)
{
    return cur_u64(c, &m->u.forward.session) &&
           get_bytes(c, CLIENT_FRAME_SIZE_MAX, &m->u.forward.bytes, &m->u.forward.size);
}

static void put_touch(struct buf *b, const struct peer_msg *m)
{
    CHECK(m->u.touch.count <= PEER_TOUCH_MAX);
    buf_put_u32(b, m->u.touch.count);
    for (uint32_t i = 0; i < m->u.touch.count; i++) {
        buf_put_u64(b, m->u.touch.sessions[i]);
    }
}

static bool get_touch(struct cursor *c, struct peer_msg *m)
{
    uint32_t count;

    if (!cur_u32(c, &count) || count > PEER_TOUCH_MAX || count > cur_left(c) / sizeof(uint64_t)) {
        return false;
    }
    m->u.touch.count = count;
    m->u.touch.sessions = count > 0 ? mem_alloc(count * sizeof(uint64_t)) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (!cur_u64(c, &m->u.touch.sessions[i])) {
            return false;
        }
    }
    return true;
}

static void put_snap(struct buf *b, const struct peer_msg *m)
{
    CHECK(m->u.snap.offset <= m->u.snap.total);
    CHECK(m->u.snap.size <= m->u.snap.total - m->u.snap.offset);
    buf_put_u64(b, m->u.snap.epoch);
    buf_put_u64(b, m->u.snap.sync);
    put_pos(b, &m->u.snap.pos);
    buf_put_u64(b, m->u.snap.total);
    buf_put_u64(b, m->u.snap.offset);
    put_bytes(b, m->u.snap.bytes, m->u.snap.size, SNAPSHOT_CHUNK_SIZE);
}

static bool get_snap(struct cursor *c, struct peer_msg *m)
{
    return cur_u64(c, &m->u.snap.epoch) && cur_u64(c, &m->u.snap.sync) &&
           get_pos(c, &m->u.snap.pos) && cur_u64(c, &m->u.snap.total) &&
           cur_u64(c, &m->u.snap.offset) &&
           get_bytes(c, SNAPSHOT_CHUNK_SIZE, &m->u.snap.bytes, &m->u.snap.size) &&
           m->u.snap.offset <= m->u.snap.total &&
           m->u.snap.size <= m->u.snap.total - m->u.snap.offset;
}

static void put_snap_r(struct buf *b, const struct peer_msg *m)
{
    buf_put_u64(b, m->u.snap_r.epoch);
    buf_put_u64(b, m->u.snap_r.sync);
    buf_put_u64(b, m->u.snap_r.stored);
}

static bool get_snap_r(struct cursor *c, struct peer_msg *m)
{
    return cur_u64(c, &m->u.snap_r.epoch) && cur_u64(c, &m->u.snap_r.sync) &&
           cur_u64(c, &m->u.snap_r.stored);
}

/* --- any message ------------------------------------------------------------------------------ */

void wire_peer_encode(struct buf *b, const struct peer_msg *m)
{
    buf_put_u8(b, (uint8_t)m->type);
    switch (m->type) {
    case PEER_IDENT:
        put_ident(b, m);
        return;
    case PEER_ZAB:
        put_zab(b, &m->u.zab);
        return;
    case PEER_FORWARD:
        put_forward(b, m);
        return;
    case PEER_TOUCH:
        put_touch(b, m);
        return;
    case PEER_SNAP:
        put_snap(b, m);
        return;
    case PEER_SNAP_R:
        put_snap_r(b, m);
        return;
    }
    CHECK(false);
}

static bool get_body(struct cursor *c, struct peer_msg *m)
{
    switch (m->type) {
    case PEER_IDENT:
        return get_ident(c, m);
    case PEER_ZAB:
        return get_zab(c, &m->u.zab);
    case PEER_FORWARD:
        return get_forward(c, m);
    case PEER_TOUCH:
        return get_touch(c, m);
    case PEER_SNAP:
        return get_snap(c, m);
    case PEER_SNAP_R:
        return get_snap_r(c, m);
    }
    return false;
}

int wire_peer_decode(const void *bytes, size_t size, struct peer_msg *ret)
{
    struct cursor c = cur_make(bytes, size);
    struct peer_msg m;
    uint8_t type;

    if (!cur_u8(&c, &type)) {
        return ERR_MALFORMED;
    }
    memset(&m, 0, sizeof(m)); /* every member of the union, not only the first */
    m.type = (enum peer_msg_type)type;
    if (!get_body(&c, &m) || cur_left(&c) > 0) {
        peer_msg_done(&m);
        return ERR_MALFORMED;
    }
    *ret = m;
    return 0;
}

void peer_msg_done(struct peer_msg *m)
{
    if (m->type == PEER_ZAB) {
        zab_msg_done(&m->u.zab);
    } else if (m->type == PEER_TOUCH) {
        mem_free(m->u.touch.sessions);
        m->u.touch.sessions = NULL;
        m->u.touch.count = 0;
    }
}
