#include "local.h"

#include <fnmatch.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "limits.h"
#include "mem.h"

_Static_assert(sizeof(((struct local_place *)0)->name) == NAME_SIZE_MAX + 1, "any name fits");

bool local_matches(const struct locals *l, const char *name)
{
    const char *at = l->patterns;
    char pattern[NAME_SIZE_MAX + 1];

    while (*at != '\0') {
        size_t size = strcspn(at, ":");

        if (size > 0 && size < sizeof(pattern)) {
            memcpy(pattern, at, size);
            pattern[size] = '\0';
            if (fnmatch(pattern, name, 0) == 0) {
                return true;
            }
        }
        at += size + (at[size] == ':');
    }
    return false;
}

static struct local_place place_of(uint64_t dir, const char *name)
{
    struct local_place p = {.dir = dir};

    memcpy(p.name, name, strnlen(name, NAME_SIZE_MAX));
    return p;
}

struct local_file *local_find(const struct locals *l, uint64_t id)
{
    struct local_file *f;

    HASH_FIND(hh, l->by_id, &id, sizeof(id), f);
    return f;
}

struct local_file *local_child(const struct locals *l, uint64_t dir, const char *name)
{
    struct local_place p;
    struct local_file *f;

    if (l->by_place == NULL || strlen(name) > NAME_SIZE_MAX) {
        return NULL;
    }
    p = place_of(dir, name);
    HASH_FIND(hh_place, l->by_place, &p, sizeof(p), f);
    return f;
}

struct local_file *local_next(const struct locals *l, uint64_t dir, uint64_t after)
{
    struct local_file *best = NULL;
    struct local_file *f, *next;

    HASH_ITER (hh_place, l->by_place, f, next) {
        if (f->place.dir == dir && f->id > after && (best == NULL || f->id < best->id)) {
            best = f;
        }
    }
    return best;
}

struct local_file *local_new(struct locals *l, bool is_link)
{
    struct local_file *f;

    if (l->count >= LOCAL_FILES_MAX) {
        return NULL;
    }
    f = mem_zalloc(sizeof(*f));
    f->id = LOCAL_ID_MIN + ++l->last_id;
    f->is_link = is_link;
    f->pins = 1;
    clock_gettime(CLOCK_REALTIME, &f->mtime);
    f->atime = f->ctime = f->mtime;
    l->count++;
    HASH_ADD(hh, l->by_id, id, sizeof(f->id), f);
    return f;
}

/* Frees it if nothing holds it. */
static void settle(struct locals *l, struct local_file *f)
{
    if (f->dir != NULL || f->kernel_refs > 0 || f->pins > 0) {
        return;
    }
    if (l->on_free != NULL) {
        l->on_free(f);
    }
    if (f->became != NULL) {
        inode_unpin(l->inodes, f->became);
    }
    l->count--;
    l->bytes -= f->bytes.size;
    HASH_DELETE(hh, l->by_id, f);
    buf_done(&f->bytes);
    mem_free(f);
}

static void take_name(struct locals *l, struct local_file *f)
{
    struct inode *dir = f->dir;

    if (dir != NULL) {
        HASH_DELETE(hh_place, l->by_place, f);
        f->dir = NULL;
        inode_unpin(l->inodes, dir);
    }
}

void local_unlink(struct locals *l, struct local_file *f)
{
    clock_gettime(CLOCK_REALTIME, &f->ctime);
    take_name(l, f);
    settle(l, f);
}

void local_place(struct locals *l, struct local_file *f, struct inode *dir, const char *name)
{
    struct local_file *other = local_child(l, dir->id, name);

    if (other == f) {
        return;
    }
    inode_pin(dir);
    if (other != NULL) {
        local_unlink(l, other);
    }
    take_name(l, f);
    f->dir = dir;
    f->place = place_of(dir->id, name);
    HASH_ADD(hh_place, l->by_place, place, sizeof(f->place), f);
    clock_gettime(CLOCK_REALTIME, &f->ctime);
}

void local_drop_dir(struct locals *l, uint64_t dir)
{
    struct local_file *f;

    while (l->by_place != NULL && (f = local_next(l, dir, 0)) != NULL) {
        local_unlink(l, f);
    }
}

void local_pin(struct local_file *f)
{
    f->pins++;
}

void local_unpin(struct locals *l, struct local_file *f)
{
    CHECK(f->pins > 0);
    f->pins--;
    settle(l, f);
}

void local_kernel_forget(struct locals *l, struct local_file *f, uint64_t count)
{
    CHECK(f->kernel_refs >= count);
    f->kernel_refs -= count;
    settle(l, f);
}

bool local_resize(struct locals *l, struct local_file *f, uint64_t size)
{
    size_t old = f->bytes.size;

    if (size > old) {
        if (size - old > LOCAL_BYTES_MAX - l->bytes) {
            return false;
        }
        buf_reserve(&f->bytes, size - old);
        memset(f->bytes.data + old, 0, size - old);
    }
    f->bytes.size = size;
    l->bytes = l->bytes - old + size;
    return true;
}

void local_stat(const struct local_file *f, struct stat *ret)
{
    *ret = (struct stat){
        .st_ino = f->id,
        .st_mode = (f->is_link ? S_IFLNK : S_IFREG) | f->mode,
        .st_nlink = f->dir != NULL,
        .st_uid = f->uid,
        .st_gid = f->gid,
        .st_size = (off_t)f->bytes.size,
        .st_blksize = 4096,
        .st_blocks = (blkcnt_t)((f->bytes.size + 511) / 512),
        .st_atim = f->atime,
        .st_mtim = f->mtime,
        .st_ctim = f->ctime,
    };
}

void locals_done(struct locals *l)
{
    struct local_file *f, *next;

    HASH_ITER (hh, l->by_id, f, next) {
        f->kernel_refs = 0;
        f->pins = 0;
        take_name(l, f);
        settle(l, f);
    }
}
