#include "inode.h"

#include <string.h>

#include "blob.h"
#include "check.h"
#include "mem.h"

void inode_ids_add(struct inode_ids *l, uint64_t id)
{
    if (l->count == l->cap) {
        l->cap = l->cap != 0 ? 2 * l->cap : 64;
        l->ids = mem_realloc(l->ids, l->cap * sizeof(*l->ids));
    }
    l->ids[l->count++] = id;
}

void inode_ids_done(struct inode_ids *l)
{
    mem_free(l->ids);
    *l = (struct inode_ids){0};
}

static struct inode *add(struct inodes *t, uint64_t id, struct inode *parent, struct name name)
{
    struct inode *i = mem_zalloc(sizeof(*i));

    i->id = id;
    i->parent = parent;
    i->name = mem_alloc(name.size + 1);
    memcpy(i->name, name.bytes, name.size);
    i->name[name.size] = '\0';
    i->name_size = name.size;
    if (parent != NULL) {
        parent->child_refs++;
    }
    HASH_ADD(hh, t->by_id, id, sizeof(i->id), i);
    return i;
}

void inodes_want(struct inodes *t, uint64_t id, uint64_t index)
{
    if (t->wanted.count == 0 || index < t->wanted_index) {
        t->wanted_index = index;
    }
    inode_ids_add(&t->wanted, id);
}

void inodes_init(struct inodes *t)
{
    *t = (struct inodes){0};
    t->root = add(t, TREE_ROOT_ID, NULL, (struct name){"", 0});
    /* Until a member was reached; it lets the control files be reached. */
    t->root->attr = (struct attr){
        .id = TREE_ROOT_ID, .parent = TREE_ROOT_ID, .type = NODE_DIR, .mode = 0755, .nlink = 2};
    t->root->kernel_refs = 1; /* the kernel never forgets it */
    t->root->shown = true;
    t->root->told = true;
}

static void unlink_name(struct inode *i)
{
    if (i->linked) {
        HASH_DELETE(hh_name, i->parent->children, i);
        i->linked = false;
    }
}

static void destroy(struct inodes *t, struct inode *i)
{
    if (t->on_free != NULL) {
        t->on_free(t->ctx, i);
    }
    unlink_name(i);
    HASH_DELETE(hh, t->by_id, i);
    mem_free(i->name);
    mem_free(i);
}

static bool is_held(const struct inode *i)
{
    return i->kernel_refs > 0 || i->pins > 0 || i->child_refs > 0;
}

static void loosen(struct inodes *t, struct inode *i)
{
    if (!is_held(i)) {
        i->next_loose = t->loose;
        t->loose = i;
    }
}

/* Frees `i` if nothing holds it, and then what it held. */
static void settle(struct inodes *t, struct inode *i)
{
    loosen(t, i);
    while ((i = t->loose) != NULL) {
        struct inode *parent = i->parent;
        struct inode *became = i->became;

        t->loose = i->next_loose;
        if (i->told) {
            inode_ids_add(&t->left, i->id);
        }
        destroy(t, i);
        if (parent != NULL) {
            parent->child_refs--;
            loosen(t, parent);
        }
        if (became != NULL) {
            became->pins--;
            loosen(t, became);
        }
    }
}

void inodes_done(struct inodes *t)
{
    struct inode *i, *next;

    HASH_ITER (hh, t->by_id, i, next) {
        i->linked = false;
        if (i->children != NULL) {
            HASH_CLEAR(hh_name, i->children);
        }
    }
    HASH_ITER (hh, t->by_id, i, next) {
        destroy(t, i);
    }
    inode_ids_done(&t->wanted);
    inode_ids_done(&t->left);
}

size_t inodes_count(const struct inodes *t)
{
    return HASH_COUNT(t->by_id);
}

struct inode *inode_find(struct inodes *t, uint64_t id)
{
    struct inode *i;

    HASH_FIND(hh, t->by_id, &id, sizeof(id), i);
    return i;
}

struct inode *inode_child(struct inode *dir, const char *name, size_t size)
{
    struct inode *i;

    HASH_FIND(hh_name, dir->children, name, size, i);
    return i;
}

bool inode_is_dir(const struct inode *i)
{
    return i->attr.type == NODE_DIR;
}

void inode_update(struct inode *i, const struct attr *attr, uint64_t index)
{
    if (i->removed || (i->attr.id != 0 && index < i->attr_index)) {
        return;
    }
    i->attr = *attr;
    i->attr_index = index;
    /* Nobody tells us of changes in a directory where we do not know it to be. */
    i->attr_fresh =
        (i->parent == NULL || (index >= i->parent->event_index && attr->parent == i->parent->id)) &&
        index >= i->event_index && (i->told || attr->type != NODE_DIR);
}

static bool is_data(struct name name)
{
    static const char data[] = ".data";

    return name.size == sizeof(data) - 1 && memcmp(name.bytes, data, name.size) == 0;
}

/* What the ensemble does to the directory of a new node, all of which has the time of the entry.
 * A ".data" is not among the children. Of a removal the time is not told. */
void inode_gain_child(struct inode *dir, const struct attr *child, struct name name, uint64_t index)
{
    struct attr *a = &dir->attr;

    if (!dir->attr_fresh || index <= dir->attr_index || is_data(name)) {
        dir->attr_fresh = false;
        return;
    }
    a->size++;
    a->nlink += child->type == NODE_DIR ? 1 : 0;
    a->cversion++;
    a->pzxid = index;
    a->mtime_ns = child->ctime_ns;
    a->ctime_ns = child->ctime_ns;
    dir->attr_index = index;
}

/* From now on we are told of changes in it; those up to `index` are known. */
static void tell(struct inodes *t, struct inode *i, uint64_t index)
{
    i->told = true;
    i->event_index = index;
    inodes_want(t, i->id, index);
}

static struct inode *learn(struct inodes *t, struct inode *dir, struct name name,
                           const struct attr *attr, uint64_t index, bool is_asked_for)
{
    struct inode *i = inode_find(t, attr->id);

    if (i == NULL) {
        i = add(t, attr->id, dir, name);
    }
    if (attr->type == NODE_DIR && !i->told && is_asked_for) {
        tell(t, i, index);
    }
    i->pins++;
    if (!i->removed && index >= dir->event_index) { /* else the name may have gone since */
        inode_place(t, i, dir, name, index);
    }
    inode_update(i, attr, index);
    return i;
}

struct inode *inode_learn(struct inodes *t, struct inode *dir, struct name name,
                          const struct attr *attr, uint64_t index)
{
    return learn(t, dir, name, attr, index, true);
}

struct inode *inode_hear(struct inodes *t, struct inode *dir, struct name name,
                         const struct attr *attr, uint64_t index)
{
    return learn(t, dir, name, attr, index, false);
}

/* --- places ---------------------------------------------------------------------------------- */

void inode_detach(struct inode *i)
{
    unlink_name(i);
    i->detached = true;
    i->attr_fresh = i->removed;
}

static void set_parent(struct inode *i, struct inode *dir)
{
    dir->child_refs++;
    i->parent->child_refs--;
    i->parent = dir;
}

/* What is known of places may be of different times. If `i` seems to be above `dir`, which it
 * cannot be if it is in it, what is right below `i` on that way is not there any more. */
static void break_cycle(struct inodes *t, struct inode *i, struct inode *dir)
{
    for (struct inode *at = dir; at->parent != NULL; at = at->parent) {
        if (at->parent == i) {
            inode_detach(at);
            set_parent(at, t->root);
            return;
        }
    }
}

static void rename_to(struct inode *i, struct name name)
{
    mem_free(i->name);
    i->name = mem_alloc(name.size + 1);
    memcpy(i->name, name.bytes, name.size);
    i->name[name.size] = '\0';
    i->name_size = name.size;
}

void inode_place(struct inodes *t, struct inode *i, struct inode *dir, struct name name,
                 uint64_t index)
{
    struct inode *other = inode_child(dir, name.bytes, name.size);
    struct inode *parent = i->parent;

    CHECK(parent != NULL);
    if (i->removed || index < i->place_index) {
        return;
    }
    i->place_index = index;
    if (i == other) {
        return;
    }
    break_cycle(t, i, dir);
    if (other != NULL) {
        inode_detach(other);
    }
    unlink_name(i);
    inode_pin(parent);
    set_parent(i, dir);
    rename_to(i, name);
    HASH_ADD_KEYPTR(hh_name, dir->children, i->name, i->name_size, i);
    i->linked = true;
    i->detached = false;
    if (i->shown) {
        inode_show(t, dir);
    }
    inode_unpin(t, parent);
}

struct inode *inode_anchor(struct inodes *t, uint64_t id, uint64_t index)
{
    struct inode *i = inode_find(t, id);

    if (i == NULL) {
        i = add(t, id, t->root, (struct name){"", 0});
        i->attr.type = NODE_DIR;
        i->detached = true;
        tell(t, i, index);
    }
    i->pins++;
    return i;
}

void inode_become(struct inode *i, struct inode *target)
{
    CHECK(i->became == NULL);
    CHECK(inode_current(target) != i);
    i->became = target;
    inode_pin(target);
}

struct inode *inode_current(struct inode *i)
{
    while (i != NULL && i->became != NULL) {
        i = i->became;
    }
    return i;
}

void inode_remove(struct inode *i)
{
    CHECK(i->parent != NULL);
    unlink_name(i);
    i->removed = true;
    i->attr_fresh = i->attr.id != 0; /* nothing will change any more */
}

void inode_distrust(struct inode *i)
{
    i->attr_fresh = false;
    i->attr_index = 0;
    i->place_index = 0;
    i->event_index = 0;
}

void inode_show(struct inodes *t, struct inode *i)
{
    for (; i != NULL && !i->shown; i = i->parent) {
        i->shown = true;
        if (inode_is_dir(i) && !i->told) {
            tell(t, i, i->attr_index);
        }
    }
}

bool inode_is_watchable(const struct inode *i)
{
    return i != NULL && i->shown && i->kernel_refs > 0;
}

void inode_pin(struct inode *i)
{
    i->pins++;
}

void inode_unpin(struct inodes *t, struct inode *i)
{
    CHECK(i->pins > 0);
    i->pins--;
    settle(t, i);
}

void inode_kernel_ref(struct inode *i)
{
    i->kernel_refs++;
}

void inode_kernel_forget(struct inodes *t, struct inode *i, uint64_t count)
{
    if (i == t->root) {
        return;
    }
    CHECK(i->kernel_refs >= count);
    i->kernel_refs -= count;
    i->shown = i->shown && i->kernel_refs > 0;
    settle(t, i);
}

bool inode_path(const struct inode *i, char *ret, size_t cap)
{
    size_t at = cap;

    if (i->parent == NULL) {
        CHECK(cap >= 2);
        memcpy(ret, ".", 2);
        return true;
    }
    for (; i->parent != NULL; i = i->parent) {
        if (i->removed_here || i->detached || at < i->name_size + 1) {
            return false;
        }
        at--;
        ret[at] = at + 1 == cap ? '\0' : '/';
        at -= i->name_size;
        memcpy(ret + at, i->name, i->name_size);
    }
    memmove(ret, ret + at, cap - at);
    return true;
}
