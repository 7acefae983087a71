/* A snapshot file, as a member finds it on its disk.
 *
 * Input: a byte of flags, then the file. With flag 1 the checksum of the header is made right
 * first, with flag 2 those of the blocks and the footer, so that changes behind them are seen. A
 * file that verifies is read whole, feeds the loader of the tree, survives a purge, and written
 * again holds the same. */
#include "fuzz.h"

#include <fcntl.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "fuzz_tree_sample.h"
#include "mem.h"
#include "memfs.h"
#include "sector.h"
#include "store_int.h"

enum { PIECE_HEADER_SIZE = 16, PIECE_FOOTER = 2, FOOTER_SIZE = 32 };

/* From docs/DISK_FORMAT.md, not from snap.c. */
static void make_pieces_right(uint8_t *file, size_t size, uint64_t index)
{
    struct hash128 all = {0};
    uint64_t total = 0;
    size_t at = SECTOR_SIZE;

    for (uint64_t number = 0; at + PIECE_HEADER_SIZE <= size; number++) {
        uint8_t *piece = file + at, *content = piece + PIECE_HEADER_SIZE;
        uint32_t piece_size = bytes_get_u32(piece + 8);
        uint8_t link[24];

        if (piece_size > size - at - PIECE_HEADER_SIZE) {
            return;
        }
        if (bytes_get_u32(piece + 12) == PIECE_FOOTER && piece_size == FOOTER_SIZE) {
            bytes_set_u64(content, total);
            bytes_set_u64(content + 8, number);
            bytes_set_u64(content + 16, all.lo);
            bytes_set_u64(content + 24, all.hi);
        }
        bytes_set_u64(piece, hash64(piece + 8, 8 + (size_t)piece_size, index + number));
        bytes_set_u64(link, all.lo);
        bytes_set_u64(link + 8, all.hi);
        memcpy(link + 16, piece, 8);
        all = hash128(link, sizeof(link));
        total += piece_size;
        at += PIECE_HEADER_SIZE + piece_size;
    }
}

static void put_file(const struct vfs *v, uint64_t index, const uint8_t *bytes, size_t size)
{
    char name[FILE_NAME_SIZE];
    int fd;

    file_name(name, "snap-", index, "");
    fd = v->open(v->ctx, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    CHECK(size == 0 || file_write(v, fd, bytes, size, 0) == 0);
    v->close(v->ctx, fd);
}

static int gather(void *ctx, const uint8_t *bytes, size_t size)
{
    buf_put(ctx, bytes, size);
    return 0;
}

static size_t produce(void *ctx, uint8_t *to, size_t cap)
{
    struct cursor *c = ctx;
    size_t n = cur_left(c) < cap ? cur_left(c) : cap;
    const uint8_t *bytes;

    CHECK(cur_bytes(c, n, &bytes));
    if (n > 0) {
        memcpy(to, bytes, n);
    }
    return n;
}

static void check_purge(const struct vfs *v, uint64_t index, int err)
{
    struct store s = {.conf = {.vfs = *v, .snapshots_kept = 2}};
    uint64_t floor_index = 1;

    CHECK(snap_purge(&s, &floor_index) == 0);
    CHECK(floor_index == 0); /* one snapshot is not enough to drop the log below it */
    CHECK(err != 0 || snap_read(v, index, NULL, NULL, NULL) == 0);
}

static bool header_equal(const struct snap_header *a, const struct snap_header *b)
{
    return hash128_equal(a->cluster, b->cluster) && a->pos.epoch == b->pos.epoch &&
           a->pos.index == b->pos.index && hash128_equal(a->pos.chain, b->pos.chain) &&
           a->first_sequence == b->first_sequence && a->is_restored == b->is_restored;
}

static void check_content(const struct vfs *v, const struct snap_header *h)
{
    uint8_t *buffer = mem_alloc(STORE_SNAPSHOT_BUFFER_SIZE);
    struct tree_loader *l = tree_loader_new();
    struct buf content = {0}, again = {0};
    struct snap_header h_again;
    struct tree *t = NULL;
    struct cursor c;

    CHECK(snap_read(v, h->pos.index, NULL, gather, &content) == 0);
    if (content.size > 0 && tree_loader_feed(l, content.data, content.size) != 0) {
        tree_loader_free(l);
    } else if (tree_loader_finish(l, &t) == 0) {
        CHECK(tree_audit(t) == tree_digest(t));
        tree_free(t);
    }
    c = cur_make(content.data, content.size);
    CHECK(snap_write(v, h, produce, &c, buffer) == 0);
    CHECK(snap_read(v, h->pos.index, &h_again, gather, &again) == 0);
    CHECK(again.size == content.size);
    CHECK(content.size == 0 || memcmp(again.data, content.data, content.size) == 0);
    CHECK(header_equal(&h_again, h));
    buf_done(&content);
    buf_done(&again);
    mem_free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct memfs *fs = memfs_new();
    struct snap_header h;
    struct vfs v;
    uint8_t flags = size > 0 ? bytes[0] : 0;
    uint8_t *file;
    uint64_t index;
    int rc;

    memfs_vfs(fs, &v);
    memset(&h, 0, sizeof(h));
    size -= size > 0;
    file = mem_dup(bytes + (size > 0), size);
    index = size >= 40 ? bytes_get_u64(file + 32) : 7;
    if ((flags & 1) && size >= SECTOR_SIZE) {
        sector_seal(file, 0, 0);
    }
    if (flags & 2) {
        make_pieces_right(file, size, index);
    }
    put_file(&v, index, file, size);
    rc = snap_read(&v, index, &h, NULL, NULL);
    CHECK(rc == 0 || rc == ERR_CORRUPT || rc == ERR_FORMAT);
    if (rc == 0) {
        CHECK(h.pos.index == index);
        check_content(&v, &h);
    }
    check_purge(&v, index, rc);
    mem_free(file);
    memfs_free(fs);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    uint8_t *buffer = mem_alloc(STORE_SNAPSHOT_BUFFER_SIZE);
    struct memfs *fs = memfs_new();
    struct snap_header h = {{1, 2}, {3, 40 + i % 9, {5, 6}}, i % 2, i % 5 == 0};
    struct buf image = {0};
    const uint8_t *file;
    struct cursor c;
    struct vfs v;
    size_t size;

    memfs_vfs(fs, &v);
    sample_image(i % SAMPLE_IMAGES, &image);
    if (i % 9 == 8) { /* more than one block */
        buf_reserve(&image, 70000);
        memset(image.data + image.size, 'v', 70000);
        image.size += 70000;
    }
    c = cur_make(image.data, image.size);
    CHECK(snap_write(&v, &h, produce, &c, buffer) == 0);
    file = memfs_bytes(fs, memfs_name(fs, 0), &size);
    buf_put_u8(b, (uint8_t)(i % 4));
    buf_put(b, file, size);
    buf_done(&image);
    memfs_free(fs);
    mem_free(buffer);
}
