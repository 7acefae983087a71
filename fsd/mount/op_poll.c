/* poll(2): an open file can always be read and written, and is POLLPRI | POLLERR, as the files of
 * sysfs are, when its value has changed since it was opened or last read from its beginning. A
 * reader that has polled then gets the new value by reading from offset 0 again. A file that is
 * gone is POLLPRI | POLLERR | POLLHUP. A control file decides for itself.
 *
 * Happy path: POLL remembers the kernel's handle for whoever waits; the change takes it and orders
 * a wake-up behind the invalidations; the kernel asks again. Nothing is done for files that nobody
 * polls. */
#include <errno.h>
#include <poll.h>
#include <utlist.h>

#include "call.h"
#include "control.h"
#include "poll_wait.h"

static void drop(struct handle *h)
{
    struct fuse_pollhandle *p = h->poll_handle;

    h->poll_handle = NULL;
    if (p != NULL) {
        fuse_pollhandle_destroy(p);
    }
}

void poll_wake(struct mount *m, struct handle *h)
{
    struct fuse_pollhandle *p = h->poll_handle;

    h->poll_handle = NULL;
    if (p != NULL) {
        notify_poll(m->notify, p);
    }
}

static bool has_changed(const struct handle *h)
{
    return h->poll_missed || h->inode->removed || h->inode->attr.version != h->shown_version;
}

void poll_on_change(struct mount *m, struct inode *i)
{
    struct handle *h;

    for (h = i->polled; h != NULL; h = h->poll_next) {
        poll_wake(m, h);
    }
}

void poll_on_missed(struct mount *m)
{
    struct handle *h;

    DL_FOREACH (m->handles, h) {
        if (h->polled) {
            h->poll_missed = true;
            poll_wake(m, h);
        }
    }
}

void poll_on_read(struct handle *h, uint64_t version)
{
    h->shown_version = version;
    h->poll_missed = false;
}

bool poll_wants_newest(const struct handle *h, uint64_t offset)
{
    return h->polled && offset == 0 && !h->stage.active && has_changed(h) && !h->inode->removed;
}

void poll_handle_gone(struct handle *h)
{
    if (h->polled) {
        DL_DELETE2(h->inode->polled, h, poll_prev, poll_next);
    }
    drop(h);
}

static unsigned ready(struct mount *m, struct handle *h)
{
    unsigned events = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;

    if (h->kind == HANDLE_CONTROL) {
        return control_poll(h);
    }
    if (h->kind != HANDLE_FILE) {
        return events;
    }
    if (handle_is_expired(m, h)) {
        return events | POLLERR | POLLHUP;
    }
    if (has_changed(h)) {
        events |= POLLPRI | POLLERR;
    }
    return h->inode->removed ? events | POLLHUP : events;
}

void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
    struct mount *m = fuse_req_userdata(req);
    struct handle *h = handle_of(fi);

    (void)ino;
    if (h->kind == HANDLE_FILE && !h->polled) {
        h->polled = true;
        DL_APPEND2(h->inode->polled, h, poll_prev, poll_next);
    }
    if (ph != NULL) {
        drop(h);
        h->poll_handle = ph;
    }
    fuse_reply_poll(req, ready(m, h));
}
