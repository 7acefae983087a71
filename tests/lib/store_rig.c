#include "store_rig.h"

#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"

struct rig *rig_new(void)
{
    struct rig *r = mem_zalloc(sizeof(*r));

    r->fs = memfs_new();
    r->epoch = 1;
    r->conf = (struct store_conf){
        .cluster = {0x1111, 0x2222},
        .member = 3,
        .incarnation = {0x3333, 0x4444},
        .segment_size = STORE_SEGMENT_SIZE_MIN,
        .snapshots_kept = 2,
    };
    memfs_vfs(r->fs, &r->conf.vfs);
    return r;
}

struct rig *rig_copy(const struct rig *r)
{
    struct rig *copy = mem_dup(r, sizeof(*r));

    copy->store = NULL;
    copy->rec = (struct store_recovered){0};
    copy->fs = memfs_copy(r->fs);
    memfs_vfs(copy->fs, &copy->conf.vfs);
    return copy;
}

void rig_close(struct rig *r)
{
    if (r->store != NULL) {
        store_close(r->store);
        r->store = NULL;
    }
    store_recovered_done(&r->rec);
}

void rig_free(struct rig *r)
{
    rig_close(r);
    memfs_free(r->fs);
    mem_free(r);
}

int rig_open(struct rig *r)
{
    const struct store_entry *e;
    int rc;

    rig_close(r);
    r->note[0] = '\0';
    rc = store_open(&r->conf, &r->store, &r->rec, r->note);
    if (rc != 0) {
        return rc;
    }
    memcpy(r->note, r->rec.note, sizeof(r->note));
    r->last = r->rec.snapshot.index;
    r->at[r->last] = r->rec.snapshot;
    if (r->rec.entry_count > 0) {
        e = &r->rec.entries[r->rec.entry_count - 1];
        r->last = e->index;
        r->at[r->last] = (struct store_pos){e->epoch, e->index, e->chain};
    }
    return 0;
}

static void body_fill(uint8_t *to, size_t size, uint64_t epoch, uint64_t index)
{
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)(epoch * 41 + index * 7 + i / 3);
    }
}

static struct store_entry entry_next(struct rig *r, size_t body_size)
{
    const struct store_pos *before = &r->at[r->last];
    struct store_entry e = {.epoch = r->epoch, .index = r->last + 1, .type = 1};

    CHECK(e.index <= RIG_INDEX_MAX);
    if (body_size > 0) {
        e.body = blob_new_uninit(body_size);
        body_fill(e.body->data, body_size, e.epoch, e.index);
    }
    e.chain = hash_chain(before->chain, e.epoch, e.index, e.type,
                         e.body != NULL ? e.body->data : NULL, body_size);
    r->last = e.index;
    r->at[r->last] = (struct store_pos){e.epoch, e.index, e.chain};
    return e;
}

static int run(struct rig *r, struct store_op *ops, size_t count)
{
    struct store_batch batch = {ops, count};

    return store_run(r->store, &batch, r->note);
}

static int append(struct rig *r, size_t op_count, size_t entries_each, size_t body_size)
{
    struct store_entry *entries = mem_alloc(op_count * entries_each * sizeof(*entries));
    struct store_op *ops = mem_zalloc(op_count * sizeof(*ops));
    uint64_t last = r->last;
    int rc;

    for (size_t i = 0; i < op_count * entries_each; i++) {
        entries[i] = entry_next(r, body_size);
    }
    for (size_t i = 0; i < op_count; i++) {
        ops[i].type = STORE_OP_APPEND;
        ops[i].u.append.entries = entries + i * entries_each;
        ops[i].u.append.count = entries_each;
    }
    rc = run(r, ops, op_count);
    if (rc != 0) {
        r->last = last;
    }
    for (size_t i = 0; i < op_count * entries_each; i++) {
        blob_unref(entries[i].body);
    }
    mem_free(entries);
    mem_free(ops);
    return rc;
}

int rig_append(struct rig *r, size_t count, size_t body_size)
{
    return append(r, 1, count, body_size);
}

int rig_append_ops(struct rig *r, size_t op_count, size_t body_size)
{
    return append(r, op_count, 1, body_size);
}

int rig_truncate(struct rig *r, uint64_t index)
{
    struct store_op op = {.type = STORE_OP_TRUNCATE, .u.index = index};
    int rc = run(r, &op, 1);

    if (rc == 0) {
        r->last = index;
    }
    return rc;
}

int rig_vote(struct rig *r, uint64_t epoch, uint32_t voted_for)
{
    struct store_op op = {.type = STORE_OP_VOTE, .u.vote = {epoch, voted_for}};

    return run(r, &op, 1);
}

int rig_purge(struct rig *r)
{
    struct store_op op = {.type = STORE_OP_PURGE};

    return run(r, &op, 1);
}

int rig_piece(struct rig *r, uint64_t index, size_t size, uint64_t offset)
{
    struct store_op op = {.type = STORE_OP_SNAP_PIECE};
    uint8_t *image = mem_alloc(offset + size);
    int rc;

    if (offset == 0) {
        r->transfer++;
        r->transfer_pos = (struct store_pos){r->epoch, index, {index * 3, r->epoch}};
    }
    body_fill(image, offset + size, 0, index);
    op.u.piece.transfer = r->transfer;
    op.u.piece.pos = r->transfer_pos;
    op.u.piece.offset = offset;
    op.u.piece.bytes = blob_new(image + offset, size);
    rc = run(r, &op, 1);
    blob_unref(op.u.piece.bytes);
    mem_free(image);
    return rc != 0 ? rc : op.err;
}

int rig_seal(struct rig *r, uint64_t size)
{
    struct store_op op = {.type = STORE_OP_SNAP_SEAL, .u.seal = {r->transfer, size}};
    int rc = run(r, &op, 1);

    return rc != 0 ? rc : op.err;
}

int rig_drop(struct rig *r)
{
    struct store_op op = {.type = STORE_OP_SNAP_DROP};

    return run(r, &op, 1);
}

int rig_install_sealed(struct rig *r)
{
    struct store_op op = {.type = STORE_OP_INSTALL, .u.install = r->transfer_pos};
    int rc = run(r, &op, 1);

    if (rc == 0) {
        r->last = r->transfer_pos.index;
        r->at[r->last] = r->transfer_pos;
    }
    return rc;
}

int rig_install(struct rig *r, uint64_t index, size_t size)
{
    enum { PIECE = 30000 }; /* a size that no block has */
    int rc = 0;

    for (size_t at = 0; at < size && rc == 0; at += PIECE) {
        rc = rig_piece(r, index, size - at < PIECE ? size - at : PIECE, at);
    }
    if (rc == 0) {
        rc = rig_seal(r, size);
    }
    return rc == 0 ? rig_install_sealed(r) : rc;
}

struct image {
    uint8_t *bytes;
    size_t size, at;
};

static size_t image_produce(void *ctx, uint8_t *to, size_t cap)
{
    struct image *i = ctx;
    size_t n = i->size - i->at < cap ? i->size - i->at : cap;

    n = n > 10000 ? 10000 : n; /* a producer may give less than asked for */
    memcpy(to, i->bytes + i->at, n);
    i->at += n;
    return n;
}

int rig_snapshot(struct rig *r, uint64_t index, size_t size)
{
    struct image image = {mem_alloc(size), size, 0};
    uint8_t *buffer = mem_alloc(STORE_SNAPSHOT_BUFFER_SIZE);
    int rc;

    body_fill(image.bytes, size, 0, index);
    rc = store_snapshot_write(&r->conf.vfs, r->conf.cluster, &r->at[index], image_produce, &image,
                              buffer);
    mem_free(buffer);
    mem_free(image.bytes);
    return rc;
}

bool rig_recovered(const struct rig *r, uint64_t first, uint64_t last)
{
    if (first > last) {
        return r->rec.entry_count == 0;
    }
    if (r->rec.entry_count != last - first + 1) {
        return false;
    }
    for (size_t i = 0; i < r->rec.entry_count; i++) {
        const struct store_entry *e = &r->rec.entries[i];
        size_t size = e->body != NULL ? e->body->size : 0;
        uint8_t *body = mem_alloc(size);
        bool same;

        body_fill(body, size, e->epoch, e->index);
        same = size == 0 || memcmp(body, e->body->data, size) == 0;
        mem_free(body);
        if (!same || e->index != first + i || e->type != 1 || e->epoch != r->at[e->index].epoch ||
            !hash128_equal(e->chain, r->at[e->index].chain)) {
            return false;
        }
    }
    return true;
}

static int image_consume(void *ctx, const uint8_t *bytes, size_t size)
{
    struct image *i = ctx;

    if (size > i->size - i->at || memcmp(i->bytes + i->at, bytes, size) != 0) {
        return ERR_MALFORMED;
    }
    i->at += size;
    return 0;
}

bool rig_snapshot_is(struct rig *r, uint64_t index, size_t size)
{
    struct image image = {mem_alloc(size), size, 0};
    bool same = r->rec.has_snapshot && r->rec.snapshot.index == index;

    body_fill(image.bytes, size, 0, index);
    same = same && store_snapshot_read(r->store, &r->rec.snapshot, image_consume, &image) == 0 &&
           image.at == size;
    mem_free(image.bytes);
    return same;
}
