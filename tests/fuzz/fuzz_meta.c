/* The two files that hold a member's identity and vote, in any state a disk may give back.
 *
 * Input: a byte of flags, then the payload of meta-0 and that of meta-1, META_SIZE bytes each (what
 * is missing is zero). Flag 1, 2: the file is there; 4, 8: its checksum is right; 16, 32: the first
 * bytes are overwritten by this member's identity; 64: there is no file of the log. Whatever vote
 * the member starts with is one of the copies, no valid copy is newer, and it stays through a
 * restart. The next vote stays through one with a damaged copy, meta-1 with flag 128. */
#include "fuzz.h"

#include <fcntl.h>
#include <string.h>

#include "check.h"
#include "err.h"
#include "mem.h"
#include "sector.h"
#include "store_int.h"
#include "store_rig.h"

enum { META_SIZE = 68, AT_SEQUENCE = 48, AT_PROMISED = 56, AT_VOTED = 64 };

static const char *const names[2] = {"meta-0", "meta-1"};

/* From docs/DISK_FORMAT.md, not from meta.c. */
static void put_identity(const struct store_conf *conf, uint8_t *sector)
{
    memcpy(sector, "ZABMETA\n", 8);
    bytes_set_u32(sector + 8, 2);
    bytes_set_u32(sector + 12, conf->member);
    bytes_set_u64(sector + 16, conf->cluster.lo);
    bytes_set_u64(sector + 24, conf->cluster.hi);
    bytes_set_u64(sector + 32, conf->incarnation.lo);
    bytes_set_u64(sector + 40, conf->incarnation.hi);
}

static void put_file(const struct rig *r, const char *name, const uint8_t *bytes, size_t size)
{
    const struct vfs *v = &r->conf.vfs;
    int fd = v->open(v->ctx, name, O_RDWR | O_CREAT, 0600);

    CHECK(fd >= 0);
    CHECK(file_write(v, fd, bytes, size, 0) == 0);
    v->close(v->ctx, fd);
}

/* A valid copy with our identity, as far as the store reads it. */
static bool is_ours(const struct store_conf *conf, const uint8_t *sector)
{
    uint8_t identity[SECTOR_SIZE];
    uint32_t batch;

    put_identity(conf, identity);
    return sector_judge(sector, 0, &batch) == SECTOR_VALID && memcmp(sector, identity, 32) == 0;
}

/* Returns the sequence number of the vote. */
static uint64_t check_vote(const struct rig *r, const uint8_t sectors[2][SECTOR_SIZE],
                           const bool *has)
{
    const struct store_recovered *rec = &r->rec;
    uint64_t newest = 0;
    bool is_one_of = false;

    for (int i = 0; i < 2; i++) {
        if (has[i] && is_ours(&r->conf, sectors[i])) {
            uint64_t sequence = bytes_get_u64(sectors[i] + AT_SEQUENCE);

            newest = sequence > newest ? sequence : newest;
        }
    }
    for (int i = 0; i < 2; i++) {
        is_one_of = is_one_of || (has[i] && is_ours(&r->conf, sectors[i]) &&
                                  bytes_get_u64(sectors[i] + AT_SEQUENCE) == newest &&
                                  bytes_get_u64(sectors[i] + AT_PROMISED) == rec->promised_epoch &&
                                  bytes_get_u32(sectors[i] + AT_VOTED) == rec->voted_for);
    }
    if (has[0] || has[1]) {
        CHECK(is_one_of);
    } else {
        CHECK(rec->is_new);
        CHECK(rec->promised_epoch == 0);
        CHECK(rec->voted_for == 0);
        newest = 1;
    }
    return newest;
}

/* An acknowledged vote is in both copies: damage to either leaves it. */
static void check_next_vote(struct rig *r, int damaged)
{
    uint64_t promised = r->rec.promised_epoch + 1;

    CHECK(rig_vote(r, promised, 9) == 0);
    rig_close(r);
    memfs_flip(r->fs, names[damaged], AT_VOTED);
    CHECK(rig_open(r) == 0);
    CHECK(r->rec.promised_epoch == promised);
    CHECK(r->rec.voted_for == 9);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t sectors[2][SECTOR_SIZE] = {{0}};
    struct cursor c = cur_make(bytes, size);
    struct rig *r = rig_new();
    bool has[2];
    uint8_t flags = 0;
    int rc;

    (void)cur_u8(&c, &flags);
    for (int i = 0; i < 2; i++) {
        size_t n = cur_left(&c) < META_SIZE ? cur_left(&c) : META_SIZE;
        const uint8_t *payload;

        CHECK(cur_bytes(&c, n, &payload));
        if (n > 0) {
            memcpy(sectors[i], payload, n);
        }
        if (flags >> i & 16) {
            put_identity(&r->conf, sectors[i]);
        }
        if (flags >> i & 4) {
            sector_seal(sectors[i], 0, 0);
        }
        has[i] = flags >> i & 1;
        if (has[i]) {
            put_file(r, names[i], sectors[i], SECTOR_SIZE);
        }
    }
    if (!(flags & 64)) {
        put_file(r, "log-0000000000000001", NULL, 0);
    }
    rc = rig_open(r);
    if (rc == 0) {
        uint64_t promised = r->rec.promised_epoch;
        uint32_t voted_for = r->rec.voted_for;
        uint64_t newest;

        CHECK(rig_open(r) == 0);
        CHECK(r->rec.promised_epoch == promised);
        CHECK(r->rec.voted_for == voted_for);
        newest = check_vote(r, (const uint8_t(*)[SECTOR_SIZE])sectors, has);
        if (promised < UINT64_MAX && newest < UINT64_MAX) {
            check_next_vote(r, flags >> 7);
        }
    } else {
        CHECK(rc == ERR_CORRUPT || rc == ERR_FOREIGN || rc == ERR_FORMAT);
        CHECK(r->note[0] != '\0');
        CHECK(rig_open(r) == rc);
    }
    rig_free(r);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    uint8_t payload[2 * META_SIZE] = {0};
    struct rig *r = rig_new();

    for (unsigned k = 0; k < 2; k++) {
        put_identity(&r->conf, payload + k * META_SIZE);
        bytes_set_u64(payload + k * META_SIZE + AT_SEQUENCE, 5 + (i >> k & 1));
        bytes_set_u64(payload + k * META_SIZE + AT_PROMISED, 3 + (i >> k & 1));
        bytes_set_u32(payload + k * META_SIZE + AT_VOTED, 2);
    }
    rig_free(r);
    buf_put_u8(b, (uint8_t)(i < 64 ? i : 15));
    buf_put(b, payload, sizeof(payload));
}
