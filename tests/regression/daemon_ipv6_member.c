#include <criterion/criterion.h>
#include <string.h>

#include "conf.h"

/* A member whose host was written as [::1] could not be started nor reached.
 *
 * The brackets that keep the colons of an IPv6 address from those of the ports were taken for a
 * part of the host's name, which was then looked up, and not found. */
Test(regression, brackets_are_no_part_of_a_members_host)
{
    char *args[] = {"zabd", "--data=/d", "--id=1", "--ensemble=1=[::1]:7001:7002,2=b:7001:7002",
                    NULL};
    char note[CONF_NOTE_SIZE];
    struct conf conf;

    cr_assert_eq(0, conf_parse(4, args, &conf, note), "%s", note);
    cr_assert_str_eq("::1", conf.members[0].host);
    cr_assert_eq(7001, conf.members[0].peer_port);
    cr_assert_eq(7002, conf.members[0].client_port);
    cr_assert_str_eq("b", conf.members[1].host);
}
