#include <criterion/criterion.h>
#include <string.h>

#include "inode.h"

static struct inodes t;

static void setup(void)
{
    inodes_init(&t);
}

static void teardown(void)
{
    inodes_done(&t);
}

TestSuite(inode, .init = setup, .fini = teardown);

static struct name name(const char *text)
{
    return (struct name){text, (uint32_t)strlen(text)};
}

static struct inode *learn(struct inode *dir, const char *text, uint64_t id, enum node_type type,
                           uint64_t index)
{
    struct attr a = {.id = id, .parent = dir->id, .type = type, .nlink = 1, .version = index};

    return inode_learn(&t, dir, name(text), &a, index);
}

Test(inode, one_that_nothing_holds_is_freed_and_then_its_directory)
{
    struct inode *d = learn(t.root, "d", 10, NODE_DIR, 5);
    struct inode *f = learn(d, "f", 11, NODE_FILE, 6);

    inode_unpin(&t, d);
    cr_assert_eq(inode_find(&t, 10), d, "its child holds it");
    inode_unpin(&t, f);
    cr_assert_null(inode_find(&t, 11));
    cr_assert_null(inode_find(&t, 10));
    cr_assert_eq(inodes_count(&t), 1);
    cr_assert_eq(t.left.count, 1);
    cr_assert_eq(t.left.ids[0], 10);
}

Test(inode, the_kernel_holds_it_until_it_forgot_all)
{
    struct inode *f = learn(t.root, "f", 11, NODE_FILE, 6);

    inode_kernel_ref(f);
    inode_kernel_ref(f);
    inode_unpin(&t, f);
    inode_kernel_forget(&t, f, 1);
    cr_assert_eq(inode_find(&t, 11), f);
    inode_kernel_forget(&t, f, 1);
    cr_assert_null(inode_find(&t, 11));
}

Test(inode, a_directory_that_was_only_heard_of_is_wanted_when_it_is_asked_for_or_shown)
{
    struct attr a = {.id = 10, .parent = TREE_ROOT_ID, .type = NODE_DIR, .nlink = 2};
    struct inode *d = inode_hear(&t, t.root, name("d"), &a, 5);

    cr_assert_eq(t.wanted.count, 0);
    cr_assert(!d->attr_fresh, "nobody tells of what happens in it");
    inode_update(d, &a, 6);
    cr_assert(!d->attr_fresh);
    inode_unpin(&t, d);
    cr_assert_eq(t.left.count, 0);

    d = inode_hear(&t, t.root, name("d"), &a, 5);
    inode_unpin(&t, inode_learn(&t, t.root, name("d"), &a, 8));
    cr_assert(d->attr_fresh);
    cr_assert_eq(t.wanted.count, 1);
    cr_assert_eq(t.wanted_index, 8);

    a.id = 11;
    d = inode_hear(&t, t.root, name("e"), &a, 9);
    inode_show(&t, d);
    cr_assert_eq(t.wanted.count, 2);
    inode_unpin(&t, d);
    cr_assert_eq(t.left.count, 1);
    inode_unpin(&t, inode_find(&t, 10));
}

Test(inode, a_directory_that_enters_is_wanted_from_the_lowest_index)
{
    struct inode *a = learn(t.root, "a", 10, NODE_DIR, 7);
    struct inode *b = learn(t.root, "b", 11, NODE_DIR, 5);
    struct inode *again = learn(t.root, "a", 10, NODE_DIR, 9);

    cr_assert_eq(t.wanted.count, 2);
    cr_assert_eq(t.wanted_index, 5);
    inode_unpin(&t, a);
    inode_unpin(&t, b);
    inode_unpin(&t, again);
}

Test(inode, older_attributes_do_not_replace_newer_ones)
{
    struct inode *f = learn(t.root, "f", 11, NODE_FILE, 8);
    struct attr old = {.id = 11, .type = NODE_FILE, .version = 3};

    inode_update(f, &old, 7);
    cr_assert_eq(f->attr.version, 8);
    inode_unpin(&t, f);
}

Test(inode, an_answer_older_than_an_event_in_the_directory_is_neither_fresh_nor_linked)
{
    t.root->event_index = 20;
    struct inode *f = learn(t.root, "f", 11, NODE_FILE, 19);

    cr_assert(!f->attr_fresh);
    cr_assert(!f->linked);
    cr_assert_null(inode_child(t.root, "f", 1));
    inode_unpin(&t, f);
}

Test(inode, a_directory_follows_what_is_made_in_it)
{
    struct inode *d = learn(t.root, "d", 10, NODE_DIR, 5);
    struct attr file = {.id = 11, .parent = 10, .type = NODE_FILE, .ctime_ns = 700};
    struct attr dir = {.id = 12, .parent = 10, .type = NODE_DIR, .ctime_ns = 800};

    inode_gain_child(d, &file, name("f"), 7);
    cr_assert(d->attr_fresh);
    cr_assert_eq(d->attr.size, 1);
    cr_assert_eq(d->attr.nlink, 1, "learn() gave it one");
    inode_gain_child(d, &dir, name("g"), 8);
    cr_assert(d->attr_fresh);
    cr_assert_eq(d->attr.size, 2);
    cr_assert_eq(d->attr.nlink, 2);
    cr_assert_eq(d->attr.cversion, 2);
    cr_assert_eq(d->attr.pzxid, 8);
    cr_assert_eq(d->attr.mtime_ns, 800);
    cr_assert_eq(d->attr.ctime_ns, 800);
    cr_assert_eq(d->attr_index, 8);
    inode_unpin(&t, d);
}

Test(inode, what_is_not_known_to_be_new_in_a_directory_is_asked_for)
{
    struct inode *d = learn(t.root, "d", 10, NODE_DIR, 7);
    struct attr file = {.id = 11, .parent = 10, .type = NODE_FILE, .ctime_ns = 700};

    inode_gain_child(d, &file, name("f"), 7);
    cr_assert(!d->attr_fresh, "its attributes may hold that already");
    inode_gain_child(d, &file, name("g"), 8);
    cr_assert(!d->attr_fresh, "it was not known before");
    cr_assert_eq(d->attr.size, 0);
    d->attr_fresh = true;
    inode_gain_child(d, &file, name(".data"), 9);
    cr_assert(!d->attr_fresh, "that is no child");
    cr_assert_eq(d->attr.size, 0);
    inode_unpin(&t, d);
}

Test(inode, a_removed_node_stays_removed)
{
    struct inode *f = learn(t.root, "f", 11, NODE_FILE, 8);

    inode_remove(f);
    cr_assert_null(inode_child(t.root, "f", 1));
    cr_assert_eq(learn(t.root, "f", 11, NODE_FILE, 8), f);
    cr_assert(f->removed);
    cr_assert(!f->linked);
    inode_unpin(&t, f);
    inode_unpin(&t, f);
}

Test(inode, another_node_under_the_name_replaces_the_one_known)
{
    struct inode *f = learn(t.root, "f", 11, NODE_FILE, 8);
    struct inode *g = learn(t.root, "f", 12, NODE_FILE, 9);

    cr_assert(!f->removed, "it may have been moved");
    cr_assert(!f->linked);
    cr_assert(!f->attr_fresh);
    cr_assert_eq(inode_child(t.root, "f", 1), g);
    inode_unpin(&t, f);
    inode_unpin(&t, g);
}

Test(inode, the_path_leads_from_the_root)
{
    struct inode *d = learn(t.root, "dir", 10, NODE_DIR, 5);
    struct inode *f = learn(d, "file", 11, NODE_FILE, 6);
    char path[64];

    cr_assert(inode_path(f, path, sizeof(path)));
    cr_assert_str_eq(path, "dir/file");
    cr_assert(inode_path(t.root, path, sizeof(path)));
    cr_assert_str_eq(path, ".");
    cr_assert(!inode_path(f, path, 8), "eight bytes and the end do not fit");
    cr_assert(inode_path(f, path, 9));
    inode_remove(d);
    cr_assert(inode_path(f, path, 9), "the kernel does not know that another mount removed it");
    d->removed_here = true;
    cr_assert(!inode_path(f, path, sizeof(path)));
    inode_unpin(&t, d);
    inode_unpin(&t, f);
}

Test(inode, one_that_is_seen_elsewhere_has_moved)
{
    struct inode *a = learn(t.root, "a", 10, NODE_DIR, 5);
    struct inode *b = learn(t.root, "b", 11, NODE_DIR, 5);
    struct inode *f = learn(a, "f", 12, NODE_FILE, 6);
    char path[64];

    inode_unpin(&t, learn(b, "g", 12, NODE_FILE, 8));
    cr_assert_null(inode_child(a, "f", 1));
    cr_assert_eq(inode_child(b, "g", 1), f);
    cr_assert(f->attr_fresh);
    cr_assert(inode_path(f, path, sizeof(path)));
    cr_assert_str_eq(path, "b/g");
    inode_unpin(&t, learn(a, "f", 12, NODE_FILE, 7));
    cr_assert_eq(inode_child(b, "g", 1), f, "that was before");
    inode_unpin(&t, a);
    cr_assert_null(inode_find(&t, 10), "it holds its new directory, not the old one");
    inode_unpin(&t, b);
    cr_assert_eq(inode_find(&t, 11), b);
    inode_unpin(&t, f);
}

Test(inode, places_of_different_times_never_make_a_circle)
{
    struct inode *a = learn(t.root, "a", 10, NODE_DIR, 5);
    struct inode *b = learn(a, "b", 11, NODE_DIR, 5);
    struct inode *c = learn(b, "c", 12, NODE_DIR, 5);
    char path[64];

    /* b has left a, which we do not know yet, and a has gone into c. */
    inode_place(&t, a, c, name("a"), 9);
    cr_assert(b->detached);
    cr_assert(!inode_path(a, path, sizeof(path)), "where b is now is not known");
    inode_place(&t, b, t.root, name("b"), 8);
    cr_assert(inode_path(a, path, sizeof(path)));
    cr_assert_str_eq(path, "b/c/a");
    inode_unpin(&t, b);
    inode_unpin(&t, c);
    cr_assert_eq(inodes_count(&t), 4);
    inode_unpin(&t, a);
    cr_assert_eq(inodes_count(&t), 1);
}

Test(inode, one_that_took_anothers_place_holds_it)
{
    struct inode *from = learn(t.root, "tmp", 10, NODE_FILE, 5);
    struct inode *to = learn(t.root, "f", 11, NODE_FILE, 5);

    inode_remove(from);
    inode_become(from, to);
    inode_unpin(&t, to);
    cr_assert_eq(inode_current(from), to);
    cr_assert_eq(inode_current(to), to);
    inode_unpin(&t, from);
    cr_assert_eq(inodes_count(&t), 1, "both are gone");
}

Test(inode, an_anchor_is_wanted_and_gets_its_place_when_it_is_seen)
{
    struct inode *d = inode_anchor(&t, 10, 7);
    struct inode *f = learn(d, "f", 11, NODE_FILE, 7);
    char path[64];

    cr_assert_eq(t.wanted.count, 1);
    cr_assert_eq(t.wanted_index, 7);
    cr_assert(f->attr_fresh);
    cr_assert(!inode_path(f, path, sizeof(path)));
    inode_unpin(&t, learn(t.root, "d", 10, NODE_DIR, 9));
    cr_assert(inode_path(f, path, sizeof(path)));
    cr_assert_str_eq(path, "d/f");
    inode_unpin(&t, d);
    inode_unpin(&t, f);
}
