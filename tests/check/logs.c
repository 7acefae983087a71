#include "logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "err.h"
#include "mem.h"
#include "store.h"

enum { PATH_SIZE = 4096, PIECE = 1 << 16 };

/* --- copies ---------------------------------------------------------------------------------- */

static bool all_zero(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Zeros, of which segments have many, stay holes. */
static int copy_bytes(int from, int to)
{
    static uint8_t piece[PIECE];
    off_t at = 0;
    ssize_t n;

    while ((n = pread(from, piece, sizeof(piece), at)) > 0) {
        if (!all_zero(piece, (size_t)n) && pwrite(to, piece, (size_t)n, at) != n) {
            return -1;
        }
        at += n;
    }
    return n == 0 ? ftruncate(to, at) : -1;
}

static int copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    char from_path[PATH_SIZE], to_path[PATH_SIZE];
    int from, to, rc = -1;

    if (snprintf(from_path, PATH_SIZE, "%s/%s", from_dir, name) >= PATH_SIZE ||
        snprintf(to_path, PATH_SIZE, "%s/%s", to_dir, name) >= PATH_SIZE) {
        return -1;
    }
    from = open(from_path, O_RDONLY | O_CLOEXEC);
    to = open(to_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (from >= 0 && to >= 0) {
        rc = copy_bytes(from, to);
    }
    if (from >= 0) {
        close(from);
    }
    if (to >= 0) {
        close(to);
    }
    return rc;
}

static bool is_wanted(const char *name, bool snapshots)
{
    return strncmp(name, "meta-", 5) == 0 || strncmp(name, "log-", 4) == 0 ||
           (snapshots && strncmp(name, "snap-", 5) == 0);
}

/* Calls fn for each file; stops at the first that fails. */
static int each_file(const char *dir, int (*fn)(void *ctx, const char *name), void *ctx)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    int rc = 0;

    if (d == NULL) {
        return -1;
    }
    while (rc == 0 && (e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.') {
            rc = fn(ctx, e->d_name);
        }
    }
    closedir(d);
    return rc;
}

struct copy {
    const char *from, *to;
    bool snapshots;
};

static int copy_one(void *ctx, const char *name)
{
    const struct copy *c = ctx;
    size_t size = strlen(name);

    if (!is_wanted(name, c->snapshots) || (size > 4 && strcmp(name + size - 4, ".tmp") == 0)) {
        return 0;
    }
    return copy_file(c->from, c->to, name);
}

static int remove_one(void *ctx, const char *name)
{
    const char *dir = ctx;
    char path[PATH_SIZE];

    return snprintf(path, PATH_SIZE, "%s/%s", dir, name) < PATH_SIZE ? unlink(path) : -1;
}

static void remove_dir(char *dir)
{
    each_file(dir, remove_one, dir);
    rmdir(dir);
}

/* --- recovery -------------------------------------------------------------------------------- */

/* docs/DISK_FORMAT.md: Identity and vote. */
static int read_identity(const char *dir, struct store_conf *conf)
{
    char path[PATH_SIZE];
    uint8_t sector[512];
    int fd;
    ssize_t n;

    for (int i = 0; i < 2; i++) {
        if (snprintf(path, PATH_SIZE, "%s/meta-%d", dir, i) >= PATH_SIZE) {
            return -1;
        }
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd >= 0 ? read(fd, sector, sizeof(sector)) : -1;
        if (fd >= 0) {
            close(fd);
        }
        if (n == sizeof(sector) && memcmp(sector, "ZABMETA\n", 8) == 0) {
            conf->member = bytes_get_u32(sector + 12);
            conf->cluster =
                (struct hash128){bytes_get_u64(sector + 16), bytes_get_u64(sector + 24)};
            conf->incarnation =
                (struct hash128){bytes_get_u64(sector + 32), bytes_get_u64(sector + 40)};
            return 0;
        }
    }
    return -1;
}

/* What a member that starts on this directory would have, with or without its snapshots. */
static int recover(const char *dir, bool snapshots, struct store_recovered *ret, char *note,
                   size_t note_size)
{
    char copy[] = "/tmp/history_check.XXXXXX";
    struct store_conf conf = {.segment_size = STORE_SEGMENT_SIZE_MIN, .snapshots_kept = 2};
    struct store *store = NULL;
    char why[256] = "";
    int rc;

    if (mkdtemp(copy) == NULL || each_file(dir, copy_one, &(struct copy){dir, copy, snapshots}) ||
        read_identity(copy, &conf) != 0) {
        snprintf(note, note_size, "%s cannot be copied, or is no data directory: %s", dir,
                 strerror(errno));
        remove_dir(copy);
        return -1;
    }
    rc = vfs_posix(copy, &conf.vfs);
    if (rc == 0) {
        rc = store_open(&conf, &store, ret, why);
        if (rc == 0) {
            store_close(store);
        }
        vfs_posix_done(&conf.vfs);
    }
    if (rc != 0) {
        snprintf(note, note_size, "%s: %s: %s", dir, err_text(rc), why);
    }
    remove_dir(copy);
    return rc;
}

static bool is_whole(const struct store_recovered *rec)
{
    return !rec->faulty && (rec->entry_count == 0 || rec->entries[0].index == 1);
}

/* The log from its beginning if it is there, else what is behind the newest snapshot. */
static int recover_most(const char *dir, struct store_recovered *ret, char *note, size_t note_size)
{
    int rc = recover(dir, false, ret, note, note_size);

    if (rc == 0 && is_whole(ret)) {
        return 0;
    }
    if (rc == 0) {
        store_recovered_done(ret);
    }
    return recover(dir, true, ret, note, note_size);
}

/* --- one history ----------------------------------------------------------------------------- */

static void take(struct ledger *l, const struct store_recovered *rec)
{
    for (size_t i = 0; i < rec->entry_count; i++) {
        const struct store_entry *e = &rec->entries[i];

        if (e->index == l->count + 1) {
            ledger_push(l, &(struct ledger_entry){e->epoch, e->type, e->chain, e->body});
        }
    }
}

static uint64_t last_index(const struct store_recovered *r)
{
    return r->entry_count > 0 ? r->entries[r->entry_count - 1].index : r->snapshot.index;
}

static uint64_t last_epoch(const struct store_recovered *r)
{
    return r->entry_count > 0 ? r->entries[r->entry_count - 1].epoch : r->snapshot.epoch;
}

/* Up to where the member has what the ledger has. A chain stands for all before it. */
static uint64_t agreement(const struct ledger *l, const struct store_recovered *rec)
{
    uint64_t agreed = rec->entry_count == 0 || rec->entries[0].index > l->count + 1
                          ? rec->snapshot.index
                          : rec->entries[0].index - 1;

    for (size_t i = 0; i < rec->entry_count; i++) {
        const struct store_entry *e = &rec->entries[i];

        if (e->index > l->count || !hash128_equal(ledger_at(l, e->index)->chain, e->chain)) {
            break;
        }
        agreed = e->index;
    }
    return agreed;
}

static int compare_falling(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x > *y ? -1 : *x < *y;
}

/* A member whose log goes on in another way behind what a majority has was stopped before it was
 * told; one that differs before that has lost what was committed, or the others have. */
static int compare_all(char *const *dirs, const struct store_recovered *recs, size_t count,
                       const struct ledger *l, char *note, size_t note_size)
{
    uint64_t *agreed = mem_alloc((count + 1) * sizeof(*agreed));
    uint64_t committed;
    int rc = 0;

    for (size_t i = 0; i < count; i++) {
        agreed[i] = agreement(l, &recs[i]);
    }
    qsort(agreed, count, sizeof(*agreed), compare_falling);
    committed = agreed[count / 2];
    for (size_t i = 0; i < count && rc == 0; i++) {
        uint64_t same = agreement(l, &recs[i]);

        if (same < committed && same < last_index(&recs[i])) {
            snprintf(note, note_size,
                     "the log of %s differs at index %" PRIu64 ", a majority agrees up to %" PRIu64,
                     dirs[i], same + 1, committed);
            rc = 1;
        }
    }
    mem_free(agreed);
    return rc;
}

/* The newest log from the first entry on, by epoch and index as in an election; and what a newer
 * one that begins later adds to it. */
static int merge(char *const *dirs, const struct store_recovered *recs, size_t count,
                 struct ledger *ret, char *note, size_t note_size)
{
    const struct store_recovered *base = NULL;

    for (size_t i = 0; i < count; i++) {
        const struct store_recovered *r = &recs[i];

        if (is_whole(r) && r->entry_count > 0 &&
            (base == NULL || last_epoch(r) > last_epoch(base) ||
             (last_epoch(r) == last_epoch(base) && last_index(r) > last_index(base)))) {
            base = r;
        }
    }
    if (base == NULL) {
        snprintf(note, note_size, "no log begins at index 1");
        return 2;
    }
    take(ret, base);
    for (size_t i = 0; i < count; i++) {
        if (agreement(ret, &recs[i]) == ret->count && last_epoch(&recs[i]) >= last_epoch(base)) {
            take(ret, &recs[i]);
        }
    }
    return compare_all(dirs, recs, count, ret, note, note_size);
}

int logs_read(char *const *dirs, size_t dir_count, struct ledger *ret, struct logs_counts *counts,
              char *ret_note, size_t note_size)
{
    struct store_recovered *recs = mem_zalloc((dir_count + 1) * sizeof(*recs));
    size_t done = 0;
    int rc = 0;

    *counts = (struct logs_counts){.members = dir_count, .shortest = UINT64_MAX};
    for (; done < dir_count && rc == 0; done++) {
        rc = recover_most(dirs[done], &recs[done], ret_note, note_size) == 0 ? 0 : 2;
        if (rc != 0) {
            break;
        }
        if (recs[done].faulty) {
            snprintf(ret_note, note_size, "%s is damaged: %s", dirs[done], recs[done].note);
            rc = 2;
        } else {
            const struct store_recovered *r = &recs[done];
            uint64_t last = last_index(r);

            counts->whole += is_whole(r) && r->entry_count > 0;
            counts->shortest = last < counts->shortest ? last : counts->shortest;
            counts->longest = last > counts->longest ? last : counts->longest;
        }
    }
    if (rc == 0) {
        rc = merge(dirs, recs, dir_count, ret, ret_note, note_size);
    }
    for (size_t i = 0; i < done; i++) {
        store_recovered_done(&recs[i]);
    }
    mem_free(recs);
    return rc;
}
