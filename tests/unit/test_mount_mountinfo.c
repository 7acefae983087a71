#include <criterion/criterion.h>

#include "mountpoint.h"

Test(mountinfo, a_line_gives_device_path_and_type)
{
    struct mountpoint_entry e;

    cr_assert(mountpoint_line("36 35 0:44 / /mnt/a rw,noatime master:1 - fuse.zabfs zabfs rw", &e));
    cr_assert_eq(e.dev_major, 0);
    cr_assert_eq(e.dev_minor, 44);
    cr_assert_str_eq(e.path, "/mnt/a");
    cr_assert_str_eq(e.type, "fuse.zabfs");
}

Test(mountinfo, escaped_bytes_are_restored)
{
    struct mountpoint_entry e;

    cr_assert(mountpoint_line("1 2 8:1 / /a\\040b\\134c rw - ext4 /dev/x rw", &e));
    cr_assert_str_eq(e.path, "/a b\\c");
}

Test(mountinfo, a_line_that_is_cut_short_is_not_understood)
{
    struct mountpoint_entry e;

    cr_assert(!mountpoint_line("36 35 0:44 / /mnt/a rw,noatime", &e));
    cr_assert(!mountpoint_line("36 35", &e));
    cr_assert(!mountpoint_line("", &e));
}
