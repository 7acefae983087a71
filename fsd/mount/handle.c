#include "handle.h"

#include <stdio.h>
#include <unistd.h>
#include <utlist.h>

#include "blob.h"
#include "control.h"
#include "ephemeral.h"
#include "lock.h"
#include "mem.h"
#include "poll_wait.h"

struct handle *handle_new(struct mount *m, enum handle_kind kind, struct inode *i)
{
    struct handle *h = mem_zalloc(sizeof(*h));

    h->kind = kind;
    h->inode = i;
    h->session_count = m->session_count;
    DL_APPEND(m->handles, h);
    if (i != NULL) {
        inode_pin(i);
    }
    return h;
}

void handle_make_writable(struct handle *h)
{
    h->writable = true;
    h->inode->writers++;
}

bool handle_has_changes(const struct handle *h)
{
    return (h->dirty || h->cut) && h->refused_errno == 0;
}

bool handle_changes(const struct mount *m, const struct inode *i)
{
    const struct handle *h;

    if (i->writers == 0) {
        return false;
    }
    DL_FOREACH (m->handles, h) {
        if (h->inode == i && h->kind == HANDLE_FILE && handle_has_changes(h)) {
            return true;
        }
    }
    return false;
}

static bool is_same_process(int32_t a, int32_t b)
{
    char path[64];

    if (a == b || a == 0 || b == 0) { /* 0: not of our pid namespace */
        return a == b && a != 0;
    }
    snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)a, (int)b);
    return access(path, F_OK) == 0;
}

const struct handle *handle_of_writer(const struct mount *m, const struct inode *i, int32_t thread)
{
    const struct handle *h;

    if (i->writers == 0) {
        return NULL;
    }
    DL_FOREACH (m->handles, h) {
        if (h->inode == i && h->kind == HANDLE_FILE && handle_has_changes(h) &&
            is_same_process(h->user, thread)) {
            return h;
        }
    }
    return NULL;
}

void dir_page_done(struct dir_page *p)
{
    mem_free(p->entries);
    mem_free(p->names);
    *p = (struct dir_page){0};
}

void handle_free(struct mount *m, struct handle *h)
{
    DL_DELETE(m->handles, h);
    lock_handle_gone(m, h);
    poll_handle_gone(h);
    control_release(m, h);
    blob_unref(h->snapshot);
    stage_done(&h->stage);
    dir_page_done(&h->page);
    if (h->inode != NULL) {
        h->inode->writers -= h->kind == HANDLE_FILE && h->writable;
        inode_unpin(&m->inodes, h->inode);
    }
    if (h->local != NULL) {
        local_unpin(&m->locals, h->local);
    }
    mem_free(h);
}

/* A node that a directory's rule had made ephemeral, and a rename permanent, is to stay. */
static bool became_permanent(struct mount *m, uint64_t id)
{
    const struct inode *i = inode_find(&m->inodes, id);

    return i != NULL && !i->removed && i->attr.life == LIFE_PERMANENT;
}

void handle_end(struct mount *m, struct handle *h)
{
    uint64_t id = h->ephemeral;

    if (id != 0 && !handle_is_expired(m, h) && !became_permanent(m, id)) {
        ephemeral_remove(m, id);
    }
    handle_free(m, h);
}

struct handle *handle_of(const struct fuse_file_info *fi)
{
    return fi != NULL ? (struct handle *)(uintptr_t)fi->fh : NULL;
}

bool handle_is_expired(const struct mount *m, const struct handle *h)
{
    return h->inode != NULL && h->session_count != m->session_count;
}

void handle_repoint(struct mount *m, struct inode *from, struct inode *to, uint64_t version)
{
    struct handle *h;

    inode_pin(from);
    DL_FOREACH (m->handles, h) {
        if (h->inode != from) {
            continue;
        }
        inode_pin(to);
        if (h->polled) {
            DL_DELETE2(from->polled, h, poll_prev, poll_next);
            DL_APPEND2(to->polled, h, poll_prev, poll_next);
        }
        if (h->kind == HANDLE_FILE && h->writable) {
            from->writers--;
            to->writers++;
        }
        h->inode = to;
        inode_unpin(&m->inodes, from);
        if (h->version == from->attr.version) {
            h->version = version; /* else it is behind, and stays so */
        }
    }
    inode_unpin(&m->inodes, from);
}

void handle_content(const struct handle *h, const uint8_t **ret_bytes, size_t *ret_size)
{
    if (h->stage.active) {
        *ret_bytes = h->stage.bytes.data;
        *ret_size = h->stage.bytes.size;
    } else {
        *ret_bytes = h->snapshot != NULL ? h->snapshot->data : NULL;
        *ret_size = h->snapshot != NULL ? h->snapshot->size : 0;
    }
}

void handle_stage(struct handle *h)
{
    const uint8_t *bytes;
    size_t size;

    if (!h->stage.active) {
        handle_content(h, &bytes, &size);
        stage_begin(&h->stage, bytes, size);
    }
}
