#include "fuzz_log_script.h"

#include <fcntl.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "sector.h"

enum { FILE_SIZE = SCRIPT_BLOCKS * BLOCK_SIZE, SECTORS = FILE_SIZE / SECTOR_SIZE };

struct file {
    uint8_t *bytes; /* FILE_SIZE; NULL: not there */
    size_t size;
    int spoiled_block; /* -1: none */
};

struct script {
    struct cursor *in;
    const struct store_conf *conf;
    struct memfs *fs;
    struct file files[SCRIPT_SEGMENTS + 1];
    struct hash128 chain[256]; /* of the entry last written at an index */
};

/* --- input ------------------------------------------------------------------------------------ */

static unsigned take(struct script *s)
{
    uint8_t v = 0;

    (void)cur_u8(s->in, &v);
    return v;
}

/* Up to `size` bytes, as many as are left; borrowed. */
static const uint8_t *take_bytes(struct script *s, size_t size, size_t *ret_size)
{
    const uint8_t *bytes;

    size = size < cur_left(s->in) ? size : cur_left(s->in);
    CHECK(cur_bytes(s->in, size, &bytes));
    *ret_size = size;
    return bytes;
}

static unsigned take_sequence(struct script *s)
{
    return 1 + take(s) % SCRIPT_SEGMENTS;
}

static struct file *file_at(struct script *s, unsigned sequence)
{
    struct file *f = &s->files[sequence];

    if (f->bytes == NULL) {
        f->bytes = mem_zalloc(FILE_SIZE);
        f->spoiled_block = -1;
    }
    return f;
}

/* --- steps ------------------------------------------------------------------------------------ */

static uint64_t sector_seed(const struct script *s, unsigned sequence, size_t sector)
{
    uint8_t at[40];

    bytes_set_u64(at, s->conf->cluster.lo);
    bytes_set_u64(at + 8, s->conf->cluster.hi);
    bytes_set_u64(at + 16, s->conf->incarnation.lo);
    bytes_set_u64(at + 24, s->conf->incarnation.hi);
    bytes_set_u64(at + 32, sequence);
    return sector == 0 ? 0 : hash64(at, sizeof(at), 0) + sector;
}

static void step_header(struct script *s)
{
    unsigned sequence = take_sequence(s);
    struct file *f = file_at(s, sequence);
    size_t size = (1 + take(s) % SCRIPT_BLOCKS) * (size_t)BLOCK_SIZE;
    unsigned before = take(s), epoch = take(s), claimed = take(s), change = take(s);

    f->size = f->size > size ? f->size : size;
    memset(f->bytes, 0, SECTOR_SIZE);
    memcpy(f->bytes, "ZABLOG\n", 8);
    bytes_set_u32(f->bytes + 8, 2);
    bytes_set_u32(f->bytes + 12, s->conf->member);
    bytes_set_u64(f->bytes + 16, s->conf->cluster.lo);
    bytes_set_u64(f->bytes + 24, s->conf->cluster.hi);
    bytes_set_u64(f->bytes + 32, s->conf->incarnation.lo);
    bytes_set_u64(f->bytes + 40, s->conf->incarnation.hi);
    bytes_set_u64(f->bytes + 48, sequence);
    bytes_set_u64(f->bytes + 56, size);
    bytes_set_u64(f->bytes + 64, before);
    bytes_set_u64(f->bytes + 72, epoch);
    bytes_set_u64(f->bytes + 80, s->chain[before].lo ^ change);
    bytes_set_u64(f->bytes + 88, s->chain[before].hi);
    bytes_set_u64(f->bytes + 96, claimed);
    sector_seal(f->bytes, 0, 0);
}

/* The entries of a batch, and their chains. */
static void put_entries(struct script *s, struct buf *b, unsigned first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned index = (first + i) % 256;
        unsigned epoch = take(s), type = take(s);
        struct hash128 before = s->chain[(index + 255) % 256];
        size_t size;
        const uint8_t *body = take_bytes(s, take(s), &size);
        struct hash128 chain = hash_chain(before, epoch, first + i, (uint8_t)type, body, size);

        s->chain[index] = chain;
        buf_put_u32(b, (uint32_t)size);
        buf_put_u32(b, type);
        buf_put_u64(b, epoch);
        buf_put_u64(b, chain.lo);
        buf_put_u64(b, chain.hi);
        buf_put(b, body, size);
    }
}

static void step_batch(struct script *s)
{
    unsigned sequence = take_sequence(s);
    struct file *f = file_at(s, sequence);
    unsigned block = take(s) % SCRIPT_BLOCKS;
    unsigned first = take(s), count = 1 + take(s) % 8;
    size_t sector = (size_t)block * (BLOCK_SIZE / SECTOR_SIZE);
    struct buf b = {0};

    buf_put_u32(&b, 0x5441425a);
    buf_put_u32(&b, count);
    buf_put_u64(&b, 0);
    buf_put_u64(&b, first);
    put_entries(s, &b, first, count);
    bytes_set_u64(b.data + 8, b.size);
    for (size_t at = 0; at < b.size && sector < SECTORS; at += SECTOR_PAYLOAD_SIZE, sector++) {
        size_t n = b.size - at < SECTOR_PAYLOAD_SIZE ? b.size - at : SECTOR_PAYLOAD_SIZE;
        uint8_t *to = f->bytes + sector * SECTOR_SIZE;

        memset(to, 0, SECTOR_SIZE);
        memcpy(to, b.data + at, n);
        sector_seal(to, block, sector_seed(s, sequence, sector));
        f->size = f->size > (sector + 1) * SECTOR_SIZE ? f->size : (sector + 1) * SECTOR_SIZE;
    }
    buf_done(&b);
}

static void step_write(struct script *s, bool is_sealed)
{
    unsigned sequence = take_sequence(s);
    struct file *f = file_at(s, sequence);
    size_t sector = take(s) % SECTORS;
    size_t at = (take(s) | take(s) << 8) % SECTOR_SIZE;
    uint8_t *to = f->bytes + sector * SECTOR_SIZE;
    size_t size;
    const uint8_t *bytes = take_bytes(s, take(s), &size);

    size = size < SECTOR_SIZE - at ? size : SECTOR_SIZE - at;
    memcpy(to + at, bytes, size);
    if (is_sealed) {
        sector_seal(to, bytes_get_u32(to + SECTOR_PAYLOAD_SIZE), sector_seed(s, sequence, sector));
    }
    f->size = f->size > (sector + 1) * SECTOR_SIZE ? f->size : (sector + 1) * SECTOR_SIZE;
}

static void step_wipe(struct script *s)
{
    struct file *f = file_at(s, take_sequence(s));
    size_t sector = take(s) % SECTORS;
    size_t count = take(s);

    count = count < SECTORS - sector ? count : SECTORS - sector;
    memset(f->bytes + sector * SECTOR_SIZE, 0, count * SECTOR_SIZE);
}

static void step_cut(struct script *s)
{
    struct file *f = file_at(s, take_sequence(s));

    f->size = take(s) % (SCRIPT_BLOCKS + 1) * (size_t)BLOCK_SIZE;
}

static void step_spoil(struct script *s)
{
    struct file *f = file_at(s, take_sequence(s));

    f->spoiled_block = (int)(take(s) % SCRIPT_BLOCKS);
}

struct image {
    size_t left;
};

static size_t image_produce(void *ctx, uint8_t *to, size_t cap)
{
    struct image *i = ctx;
    size_t n = i->left < cap ? i->left : cap;

    memset(to, 'i', n);
    i->left -= n;
    return n;
}

static void step_snapshot(struct script *s)
{
    unsigned index = take(s), epoch = take(s), first_sequence = take(s) % (SCRIPT_SEGMENTS + 2);
    struct image image = {take(s)};
    struct snap_header h = {s->conf->cluster,
                            {epoch, index, s->chain[index]},
                            first_sequence,
                            first_sequence == 0 && epoch % 8 == 7};
    uint8_t *buffer = mem_alloc(STORE_SNAPSHOT_BUFFER_SIZE);

    h.pos.chain.lo ^= take(s);
    CHECK(snap_write(&s->conf->vfs, &h, image_produce, &image, buffer) == 0);
    mem_free(buffer);
}

/* --- all of it -------------------------------------------------------------------------------- */

static void put_file(struct script *s, unsigned sequence)
{
    const struct vfs *v = &s->conf->vfs;
    struct file *f = &s->files[sequence];
    char name[FILE_NAME_SIZE];
    int fd;

    if (f->bytes == NULL) {
        return;
    }
    file_name(name, "log-", sequence, "");
    fd = v->open(v->ctx, name, O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0);
    CHECK(file_write(v, fd, f->bytes, f->size, 0) == 0);
    v->close(v->ctx, fd);
    if (f->spoiled_block >= 0) {
        memfs_spoil(s->fs, name, (size_t)f->spoiled_block);
    }
    mem_free(f->bytes);
}

void script_run(struct cursor *in, const struct store_conf *conf, struct memfs *fs)
{
    struct script *s = mem_zalloc(sizeof(*s));

    s->in = in;
    s->conf = conf;
    s->fs = fs;
    while (cur_left(in) > 0) {
        switch ((enum script_step)(take(s) % SCRIPT_STEPS)) {
        case SCRIPT_HEADER:
            step_header(s);
            break;
        case SCRIPT_BATCH:
            step_batch(s);
            break;
        case SCRIPT_WRITE:
            step_write(s, false);
            break;
        case SCRIPT_SEAL:
            step_write(s, true);
            break;
        case SCRIPT_WIPE:
            step_wipe(s);
            break;
        case SCRIPT_CUT:
            step_cut(s);
            break;
        case SCRIPT_SPOIL:
            step_spoil(s);
            break;
        case SCRIPT_SNAPSHOT:
        case SCRIPT_STEPS:
            step_snapshot(s);
            break;
        }
    }
    for (unsigned i = 1; i <= SCRIPT_SEGMENTS; i++) {
        put_file(s, i);
    }
    mem_free(s);
}
