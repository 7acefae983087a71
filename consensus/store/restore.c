/* A backup becomes the directory of a member that never voted.
 *
 * Happy path: the directory is empty; the mark `restoring` is made durable, then the snapshot, then
 * identity and vote, and the mark is removed.
 *
 * Failure modes: whatever happens in between, the mark is still there. store_open() refuses such a
 * directory, because without the mark it could pass for a new member's, and the state would be
 * forgotten; store_restore() begins it again. A directory that holds anything else is not touched.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "mem.h"
#include "store_int.h"

static const char mark_name[] = "restoring";

int restore_check(struct store *s, const struct file_list *files)
{
    if (!files->is_restoring) {
        return 0;
    }
    store_note(s, "%s: a restore was not finished: restore again, or empty the directory",
               mark_name);
    return ERR_CORRUPT;
}

struct contents {
    bool has_mark;
    char other[64]; /* a name that neither a restore nor a file system left; "": none */
};

static void contents_add(void *arg, const char *name)
{
    static const char *const harmless[] = {".", "..", "lock", "lost+found"};
    struct contents *c = arg;

    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        if (strcmp(name, harmless[i]) == 0) {
            return;
        }
    }
    if (strcmp(name, mark_name) == 0) {
        c->has_mark = true;
    } else {
        (void)snprintf(c->other, sizeof(c->other), "%.63s", name);
    }
}

static int mark_make(struct store *s)
{
    const struct vfs *v = &s->conf.vfs;
    int rc = v->open(v->ctx, mark_name, O_RDWR | O_CREAT, 0600);

    if (rc < 0) {
        return store_fail(s, rc == -ENOSPC ? ERR_NOSPACE : ERR_IO, mark_name, "create", rc);
    }
    v->close(v->ctx, rc);
    rc = v->sync_dir(v->ctx);
    return rc == 0 ? 0 : store_fail(s, ERR_IO, "directory", "sync", rc);
}

static int mark_remove(struct store *s)
{
    const struct vfs *v = &s->conf.vfs;
    int rc = v->unlink(v->ctx, mark_name);

    if (rc == 0) {
        rc = v->sync_dir(v->ctx);
    }
    return rc == 0 ? 0 : store_fail(s, ERR_IO, mark_name, "remove", rc);
}

static int remove_one(struct store *s, const char *name)
{
    int rc = s->conf.vfs.unlink(s->conf.vfs.ctx, name);

    return rc == 0 || rc == -ENOENT ? 0 : store_fail(s, ERR_IO, name, "remove", rc);
}

/* What an unfinished restore left behind. */
static int leftovers_remove(struct store *s)
{
    struct file_list files;
    int rc = file_list(&s->conf.vfs, &files);

    if (rc != 0) {
        return store_fail(s, ERR_IO, "directory", "list", rc);
    }
    for (size_t i = 0; rc == 0 && i < files.snapshot_count; i++) {
        char name[FILE_NAME_SIZE];

        file_name(name, "snap-", files.snapshots[i], "");
        rc = remove_one(s, name);
    }
    for (const char *at = (const char *)files.temporary.data;
         rc == 0 && at != NULL && at < (const char *)files.temporary.data + files.temporary.size;
         at += strlen(at) + 1) {
        rc = remove_one(s, at);
    }
    file_list_done(&files);
    rc = rc == 0 ? remove_one(s, "meta-0") : rc;
    return rc == 0 ? remove_one(s, "meta-1") : rc;
}

static int restore_run(struct store *s, const struct store_pos *pos, store_produce_fn produce,
                       void *ctx)
{
    const struct vfs *v = &s->conf.vfs;
    struct snap_header h = {
        .cluster = s->conf.cluster, .pos = *pos, .first_sequence = 1, .is_restored = true};
    struct contents contents = {0};
    uint8_t *buffer;
    int rc = v->list(v->ctx, contents_add, &contents);

    if (rc != 0) {
        return store_fail(s, ERR_IO, "directory", "list", rc);
    }
    if (contents.other[0] != '\0' && !contents.has_mark) {
        store_note(s, "it holds %s", contents.other);
        return ERR_NOTEMPTY;
    }
    rc = contents.has_mark ? leftovers_remove(s) : mark_make(s);
    if (rc != 0) {
        return rc;
    }
    buffer = mem_alloc(STORE_SNAPSHOT_BUFFER_SIZE);
    rc = snap_write(v, &h, produce, ctx, buffer);
    mem_free(buffer);
    if (rc != 0) {
        store_note(s, "the snapshot: %s", err_text(rc));
        return rc;
    }
    rc = meta_new(s);
    return rc == 0 ? mark_remove(s) : rc;
}

int store_restore(const struct store_conf *conf, const struct store_pos *pos,
                  store_produce_fn produce, void *ctx, char *ret_note)
{
    struct store *s = store_alloc(conf);
    int rc = store_lock(s);

    if (rc == 0) {
        rc = restore_run(s, pos, produce, ctx);
    }
    if (rc != 0 && ret_note != NULL) {
        memcpy(ret_note, s->note, NOTE_SIZE);
    }
    store_close(s);
    return rc;
}
