/* A change that was refused for want of a quorum went round the servers three times.
 *
 * One of three members was left; the client left it, as it should, found nobody at the other two,
 * and came back. But only servers that had refused were counted as asked, so the same member was
 * asked again, and left again, until it alone had refused as often as there are servers. With
 * members that stand still, where each attempt takes seconds, a round was ten seconds, the deadline
 * of the change passed on the way, and changes that wait for one another in the kernel took
 * over 30 s. Now the client stays where it is, and asks the others whether they have a quorum. */
#include "test_client_fixture.h"

Test(regression, a_member_is_not_left_for_servers_that_cannot_be_reached)
{
    struct fixture f;
    struct outcome o;

    setup(&f, false);
    stop_listening(&f.servers[1]);
    start_client_with(&f, "+unix:/tmp/zabfs-client-nobody");
    RUN_UNTIL(&f, f.attaches == 1);
    f.servers[0].answer = true;
    f.servers[0].answer_err = ERR_NO_QUORUM;
    submit(&f, OP_SET, 0, &o);
    RUN_UNTIL(&f, o.err != NOT_YET);
    cr_assert_eq(o.err, ERR_NO_QUORUM);
    cr_assert_eq(f.attaches, 1, "it went nowhere");
    teardown(&f);
}
