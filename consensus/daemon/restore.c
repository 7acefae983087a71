#include "member.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "mem.h"

/* zabd --restore FILE: the file is read as a whole and loaded, as at a start, before anything is
 * written; then it becomes the snapshot of a directory that must be empty, and the start goes on as
 * any other. */

static int refuse(const char *what, const char *text, const char *note)
{
    fprintf(stderr, "zabd: %s: %s%s%s\n", what, text, note[0] != '\0' ? ": " : "", note);
    return 2;
}

static int load(void *ctx, const uint8_t *bytes, size_t size)
{
    return tree_loader_feed(ctx, bytes, size);
}

/* The tree that the file holds. */
static int load_file(const char *path, struct store_image *ret_image, struct tree **ret)
{
    char *copy = mem_strdup(path);
    char *slash = strrchr(copy, '/');
    const char *name = slash != NULL ? path + (slash - copy) + 1 : path;
    struct tree_loader *loader;
    uint64_t offset = 0;
    char note[64] = "";
    struct vfs vfs;
    int rc;

    if (access(path, R_OK) != 0) {
        mem_free(copy);
        return refuse(path, strerror(errno), "");
    }
    if (slash != NULL) {
        slash[slash == copy ? 1 : 0] = '\0';
    }
    rc = vfs_posix(slash != NULL ? copy : ".", &vfs);
    mem_free(copy);
    if (rc != 0) {
        return refuse(path, strerror(-rc), "");
    }
    loader = tree_loader_new();
    rc = store_image_read(&vfs, name, ret_image, load, loader, &offset);
    vfs_posix_done(&vfs);
    if (rc == ERR_FORMAT) {
        tree_loader_free(loader);
        return refuse(path, err_text(rc), "");
    }
    if (rc != 0) {
        tree_loader_free(loader);
        snprintf(note, sizeof(note), "at %" PRIu64, offset);
        return refuse(path, "not a whole backup", note);
    }
    rc = tree_loader_finish(loader, ret);
    if (rc == 0 && tree_index(*ret) != ret_image->pos.index) {
        tree_free(*ret);
        rc = ERR_CORRUPT;
    }
    return rc == 0 ? 0 : refuse(path, "its content does not fit together", "");
}

static size_t produce(void *ctx, uint8_t *to, size_t cap)
{
    return tree_image_read(ctx, to, cap);
}

int member_restore(struct member *m, const struct store_conf *conf)
{
    struct store_image image;
    struct tree_image it;
    struct tree *tree;
    char note[256] = "";
    int rc = load_file(m->conf.restore, &image, &tree);

    if (rc != 0) {
        return rc;
    }
    tree_image_begin(&it, tree);
    rc = store_restore(conf, &image.pos, produce, &it, note);
    tree_free(tree);
    if (rc == ERR_NOTEMPTY) {
        return refuse(m->conf.data, "not empty, nothing is restored into it", note);
    }
    if (rc != 0) {
        return refuse(m->conf.data, err_text(rc), note);
    }
    LOG_INFO("store", "ev=restored file=\"%s\" index=%" PRIu64 " epoch=%" PRIu64 " note=\"%s\"",
             m->conf.restore, image.pos.index, image.pos.epoch,
             hash128_equal(image.cluster, m->cluster)
                 ? "a backup of this ensemble"
                 : "a backup of another ensemble: this one begins with its state");
    return 0;
}
