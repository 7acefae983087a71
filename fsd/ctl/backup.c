/* zabctl backup: the whole tree into one file, while the ensemble serves.
 *
 * Happy path: a barrier, so that all that was acknowledged before is in it; then the image of the
 * member's state, piece by piece, into FILE.tmp in the format of snapshots; synced, read back,
 * loaded as a member would load it, and renamed.
 *
 * Failure modes: the member goes away half-way, so its image is gone: again from the start, at
 * whichever member the session is then attached to, at most TRIES times. Anything else ends the
 * command. In every case, a signal included, FILE.tmp is removed, and FILE is as it was. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "err.h"
#include "mem.h"
#include "print.h"
#include "store.h"
#include "tree.h"

enum { TRIES = 5 };

struct backup {
    struct client *client;
    const char *path;
    char *dir;
    char *name;      /* in that directory */
    char *temporary; /* NAME.tmp */
    struct vfs vfs;

    struct reply piece; /* the last one that came; its bytes from `used` on are not handed on */
    size_t used;
    uint64_t have; /* bytes of the image that came */
    int err;       /* why no more come */
    bool shows;    /* progress, on a terminal */
    int percent;
};

/* --- what is left behind ---------------------------------------------------------------------- */

static char signal_path[4096]; /* of FILE.tmp, while it is there */

static void on_signal(int number)
{
    if (signal_path[0] != '\0') {
        unlink(signal_path);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void watch_signals(void)
{
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
}

/* --- pieces ----------------------------------------------------------------------------------- */

static void piece_done(struct backup *b)
{
    blob_unref(b->piece.u.backup.bytes);
    b->piece.u.backup.bytes = NULL;
    b->used = 0;
}

static size_t piece_size(const struct backup *b)
{
    return b->piece.u.backup.bytes != NULL ? b->piece.u.backup.bytes->size : 0;
}

static void show_progress(struct backup *b)
{
    int percent = (int)(b->have * 100 / b->piece.u.backup.total);

    if (b->shows && percent != b->percent) {
        fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " bytes, %d %%", b->have,
                b->piece.u.backup.total, percent);
        fputs(b->have == b->piece.u.backup.total ? "\n" : "", stderr);
        b->percent = percent;
    }
}

/* The next one of the same image. Errors: of the call; ERR_NOENT: the image is gone. */
static int piece_next(struct backup *b)
{
    struct request q = {.op = OP_BACKUP,
                        .u.backup = {.offset = b->have, .size_max = BACKUP_PIECE_SIZE_MAX}};
    struct reply r;
    int err = client_call(b->client, &q, &r);

    if (err != 0) {
        return err;
    }
    if (b->have > 0 && (r.index != b->piece.index || r.u.backup.total != b->piece.u.backup.total ||
                        r.u.backup.chain_lo != b->piece.u.backup.chain_lo ||
                        r.u.backup.chain_hi != b->piece.u.backup.chain_hi)) {
        codec_reply_done(&r);
        return ERR_NOENT;
    }
    piece_done(b);
    b->piece = r;
    b->have += piece_size(b);
    if (piece_size(b) == 0 || b->have > r.u.backup.total) {
        return ERR_MALFORMED;
    }
    show_progress(b);
    return 0;
}

static size_t produce(void *ctx, uint8_t *to, size_t cap)
{
    struct backup *b = ctx;
    size_t left = piece_size(b) - b->used;

    if (left == 0) {
        if (b->have == b->piece.u.backup.total) {
            return 0;
        }
        b->err = piece_next(b);
        if (b->err != 0) {
            return STORE_PRODUCE_FAILED;
        }
        left = piece_size(b);
    }
    left = left < cap ? left : cap;
    memcpy(to, b->piece.u.backup.bytes->data + b->used, left);
    b->used += left;
    return left;
}

/* --- the file --------------------------------------------------------------------------------- */

static int load(void *ctx, const uint8_t *bytes, size_t size)
{
    return tree_loader_feed(ctx, bytes, size);
}

/* Reads the file from the disk and builds the tree, as whoever restores it will have to. */
static int verify(struct backup *b)
{
    struct tree_loader *loader = tree_loader_new();
    struct store_image image;
    struct tree *tree;
    int err = store_image_read(&b->vfs, b->temporary, &image, load, loader, NULL);

    if (err != 0) {
        tree_loader_free(loader);
        return err;
    }
    err = tree_loader_finish(loader, &tree);
    if (err == 0) {
        err = tree_index(tree) == image.pos.index ? 0 : ERR_CORRUPT;
        tree_free(tree);
    }
    return err;
}

/* One attempt. Errors: ERR_NOENT, ERR_EXPIRED: the image is gone, try again. */
static int take(struct backup *b)
{
    struct request sync = {.op = OP_SYNC};
    struct reply r;
    int err = client_call(b->client, &sync, &r);

    b->have = 0;
    b->percent = -1;
    if (err == 0) {
        err = piece_next(b);
    }
    if (err != 0) {
        return err;
    }
    const struct store_pos pos = {
        .epoch = b->piece.u.backup.epoch,
        .index = b->piece.index,
        .chain = {b->piece.u.backup.chain_lo, b->piece.u.backup.chain_hi},
    };
    const struct hash128 cluster = {b->piece.u.backup.cluster_lo, b->piece.u.backup.cluster_hi};

    err = store_image_write(&b->vfs, b->temporary, cluster, &pos, produce, b);
    if (err == ERR_INTR) {
        return b->err;
    }
    if (err == 0) {
        err = verify(b);
    }
    if (err != 0) {
        b->vfs.unlink(b->vfs.ctx, b->temporary);
    }
    return err;
}

static int take_at_any_member(struct backup *b)
{
    for (int tries = 1;; tries++) {
        struct client_info info;
        int err = take(b);

        piece_done(b);
        if ((err != ERR_NOENT && err != ERR_EXPIRED) || tries == TRIES) {
            return err == ERR_NOENT ? ERR_CLOSED : err;
        }
        client_info(b->client, &info);
        fprintf(stderr, "zabctl: %s: the member that was asked is gone: again from %s\n", b->path,
                info.server);
    }
}

/* Without --force a file that appeared meanwhile is not replaced. */
static int publish(const struct ctl_args *args, struct backup *b)
{
    unsigned flags = (args->seen & CTL_OPT_FORCE) != 0 ? 0 : RENAME_NOREPLACE;
    int dir_fd = vfs_posix_dir_fd(&b->vfs);

    if (renameat2(dir_fd, b->temporary, dir_fd, b->name, flags) != 0) {
        int err_no = errno;

        b->vfs.unlink(b->vfs.ctx, b->temporary);
        return ctl_fail_errno(b->path, err_no);
    }
    int rc = b->vfs.sync_dir(b->vfs.ctx);

    return rc == 0 ? CTL_OK : ctl_fail_errno(b->path, -rc);
}

/* --- the command ------------------------------------------------------------------------------ */

static int prepare(const struct ctl_args *args, struct backup *b)
{
    const char *slash = strrchr(b->path, '/');
    struct stat st;
    int rc;

    b->name = mem_strdup(slash != NULL ? slash + 1 : b->path);
    b->dir = slash == NULL ? mem_strdup(".") : mem_strdup(b->path);
    if (slash != NULL) {
        b->dir[slash == b->path ? 1 : slash - b->path] = '\0';
    }
    b->temporary = mem_zalloc(strlen(b->name) + 5);
    snprintf(b->temporary, strlen(b->name) + 5, "%s.tmp", b->name);
    if (b->name[0] == '\0' || strlen(b->path) + 5 > sizeof(signal_path)) {
        return ctl_usage("backup: '%s' is not the name of a file", b->path);
    }
    if (lstat(b->path, &st) == 0 && (args->seen & CTL_OPT_FORCE) == 0) {
        return ctl_usage("%s: exists; --force replaces it", b->path);
    }
    rc = vfs_posix(b->dir, &b->vfs);
    return rc == 0 ? CTL_OK : ctl_fail_errno(b->dir, -rc);
}

static void report(const struct ctl_args *args, const struct backup *b)
{
    uint64_t index = b->piece.index, epoch = b->piece.u.backup.epoch;

    if (ctl_wants_json(args)) {
        fputs("{\"file\":", stdout);
        print_json_text(stdout, b->path, strlen(b->path));
        printf(",\"index\":%" PRIu64 ",\"epoch\":%" PRIu64 ",\"size\":%" PRIu64 "}\n", index, epoch,
               b->have);
    } else {
        printf("%s: the tree at index %" PRIu64 ", %" PRIu64 " bytes\n", b->path, index, b->have);
    }
}

int ctl_run_backup(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    struct backup b = {.client = s->client, .path = words[0], .shows = isatty(STDERR_FILENO) != 0};
    int code = prepare(args, &b);

    if (code == CTL_OK) {
        snprintf(signal_path, sizeof(signal_path), "%s.tmp", b.path);
        watch_signals();
        int err = take_at_any_member(&b);

        code = err == 0 ? publish(args, &b) : ctl_fail(b.path, err);
        signal_path[0] = '\0';
    }
    if (code == CTL_OK) {
        report(args, &b);
    }
    if (b.vfs.ctx != NULL) {
        vfs_posix_done(&b.vfs);
    }
    mem_free(b.dir);
    mem_free(b.name);
    mem_free(b.temporary);
    return code;
}
