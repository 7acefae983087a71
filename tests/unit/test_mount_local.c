#include <criterion/criterion.h>
#include <string.h>

#include "local.h"

static struct inodes t;
static struct locals l;
static struct inode *dir;

static void setup(void)
{
    struct attr a = {.id = 10, .parent = TREE_ROOT_ID, .type = NODE_DIR, .nlink = 2};

    inodes_init(&t);
    dir = inode_learn(&t, t.root, (struct name){"dir", 3}, &a, 5);
    l = (struct locals){.patterns = ".*.sw?:*~::4913", .inodes = &t};
}

static void teardown(void)
{
    locals_done(&l);
    cr_assert_eq(l.count, 0);
    cr_assert_eq(l.bytes, 0);
    inode_unpin(&t, dir);
    cr_assert_eq(inodes_count(&t), 1, "no file holds its directory any more");
    inodes_done(&t);
}

TestSuite(local, .init = setup, .fini = teardown);

static struct local_file *make(const char *name)
{
    struct local_file *f = local_new(&l, false);

    local_place(&l, f, dir, name);
    local_unpin(&l, f);
    return f;
}

Test(local, a_name_is_local_if_one_pattern_matches_all_of_it)
{
    const char *yes[] = {".f.swp", ".f.c.swx", "f~", "~", "4913", ".f~"};
    const char *no[] = {"f", ".swp", "f.swp", ".f.swpx", "f~x", "49130", "", "::"};

    for (size_t n = 0; n < sizeof(yes) / sizeof(yes[0]); n++) {
        cr_assert(local_matches(&l, yes[n]), "%s", yes[n]);
    }
    for (size_t n = 0; n < sizeof(no) / sizeof(no[0]); n++) {
        cr_assert(!local_matches(&l, no[n]), "%s", no[n]);
    }
    l.patterns = "";
    cr_assert(!local_matches(&l, "f~"));
}

Test(local, a_pattern_longer_than_any_name_matches_nothing)
{
    char pattern[600];

    memset(pattern, '*', sizeof(pattern));
    memcpy(pattern + sizeof(pattern) - 4, ":x~", 4);
    l.patterns = pattern;
    cr_assert(!local_matches(&l, "f"));
    cr_assert(local_matches(&l, "x~"));
}

Test(local, one_is_found_by_its_place_until_it_has_none)
{
    struct local_file *f = make("f~");

    cr_assert_eq(local_child(&l, 10, "f~"), f);
    cr_assert_eq(local_find(&l, f->id), f);
    cr_assert_null(local_child(&l, 11, "f~"));
    cr_assert_null(local_child(&l, 10, "f"));
    f->kernel_refs++;
    local_unlink(&l, f);
    cr_assert_null(local_child(&l, 10, "f~"));
    cr_assert_eq(local_find(&l, f->id), f, "the kernel holds it");
    local_kernel_forget(&l, f, 1);
    cr_assert_eq(l.count, 0);
}

Test(local, a_name_is_taken_from_who_had_it)
{
    struct local_file *f = make("f~");
    struct local_file *g = make("g~");
    uint64_t gone = g->id;

    local_place(&l, f, dir, "f~");
    cr_assert_eq(local_child(&l, 10, "f~"), f, "where it is already");
    local_place(&l, f, dir, "g~");
    cr_assert_null(local_child(&l, 10, "f~"));
    cr_assert_eq(local_child(&l, 10, "g~"), f);
    cr_assert_null(local_find(&l, gone));
}

Test(local, a_listing_goes_on_behind_the_last_one_seen)
{
    struct local_file *f = make("f~");
    struct local_file *g = make("g~");
    struct local_file *h = local_new(&l, true);

    local_place(&l, h, t.root, "h~");
    local_unpin(&l, h);
    cr_assert_eq(local_next(&l, 10, 0), f);
    cr_assert_eq(local_next(&l, 10, f->id), g);
    cr_assert_null(local_next(&l, 10, g->id));
    local_drop_dir(&l, 10);
    cr_assert_null(local_next(&l, 10, 0));
    cr_assert_eq(local_next(&l, TREE_ROOT_ID, 0), h);
}

Test(local, all_together_are_bounded)
{
    struct local_file *f = make("f~");
    struct local_file *g = make("g~");

    cr_assert(local_resize(&l, f, LOCAL_BYTES_MAX - 10));
    cr_assert(!local_resize(&l, g, 11));
    cr_assert(!local_resize(&l, g, UINT64_MAX));
    cr_assert_eq(g->bytes.size, 0);
    cr_assert(local_resize(&l, g, 10));
    cr_assert(local_resize(&l, f, 0));
    cr_assert_eq(l.bytes, 10);
    local_unlink(&l, g);
    cr_assert_eq(l.bytes, 0);
    while (l.count < LOCAL_FILES_MAX) {
        local_unlink(&l, make("x~")); /* leaves room again */
        f = local_new(&l, false);
        f->kernel_refs = 1;
        local_unpin(&l, f);
    }
    cr_assert_null(local_new(&l, false));
}
