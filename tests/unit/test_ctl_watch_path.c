/* Which changes a watched path takes: its own, its children's, all below, and moves of either end.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "watch_path.h"

static struct name name(const char *text)
{
    return (struct name){text, (uint32_t)strlen(text)};
}

static bool takes(const char *path, bool recursive, const char *dir, const char *last)
{
    struct event e = {.kind = CHANGE_SET, .dir_path = name(dir), .name = name(last)};
    struct watch_path p;

    cr_assert(watch_path_make(path, recursive, &p), "%s", path);
    return watch_path_takes(&p, &e);
}

static bool takes_move(const char *path, const char *from_dir, const char *from, const char *dir,
                       const char *to)
{
    struct event e = {
        .kind = CHANGE_MOVE,
        .dir_path = name(dir),
        .name = name(to),
        .from_path = name(from_dir),
        .from_name = name(from),
    };
    struct watch_path p;

    cr_assert(watch_path_make(path, false, &p), "%s", path);
    return watch_path_takes(&p, &e);
}

Test(watch_path, the_node_itself_and_its_children)
{
    cr_assert(takes("/a/b", false, "/a", "b"));
    cr_assert(takes("/a/b/", false, "/a", "b"));
    cr_assert(takes("/a/b", false, "/a/b", "c"));
    cr_assert_not(takes("/a/b", false, "/a/b/c", "d"));
    cr_assert_not(takes("/a/b", false, "", "a"));
    cr_assert_not(takes("/a/b", false, "/a", "bc"));
    cr_assert_not(takes("/a/b", false, "/a", "c"));
    cr_assert_not(takes("/a/b", false, "/a/bc", "d"));
    cr_assert_not(takes("/a/b", false, "/x/a", "b"));
    cr_assert(takes("/a", false, "", "a"));
}

Test(watch_path, recursive_takes_all_below)
{
    cr_assert(takes("/a/b", true, "/a/b/c/d", "e"));
    cr_assert_not(takes("/a/b", true, "/a/bc/d", "e"));
    cr_assert(takes("/", true, "/x/y", "z"));
    cr_assert(takes("/", true, "", ""));
}

Test(watch_path, the_root)
{
    cr_assert(takes("/", false, "", "a"));
    cr_assert(takes("/", false, "", ""));
    cr_assert_not(takes("/", false, "/a", "b"));
    cr_assert_not(takes("/a", false, "", ""));
}

Test(watch_path, a_move_counts_at_either_end_and_above)
{
    cr_assert(takes_move("/a/b", "/x", "y", "/a", "b"));
    cr_assert(takes_move("/a/b", "/a", "b", "/x", "y"));
    cr_assert(takes_move("/a/b", "/a/b", "c", "/x", "y"));
    cr_assert(takes_move("/a/b", "", "a", "", "z"));
    cr_assert(takes_move("/a/b", "", "z", "", "a"));
    cr_assert_not(takes_move("/a/b", "", "ab", "", "z"));
    cr_assert_not(takes_move("/a/b", "/x", "y", "/x", "z"));
}

Test(watch_path, only_whole_paths)
{
    struct watch_path p;

    cr_assert_not(watch_path_make("a", false, &p));
    cr_assert_not(watch_path_make("", false, &p));
    cr_assert_not(watch_path_make("/a//b", false, &p));
    cr_assert(watch_path_make("//", false, &p));
    cr_assert_eq(p.size, 0);
}
