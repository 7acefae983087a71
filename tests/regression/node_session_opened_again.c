/* Found by the simulator (seed 10015, --seconds 360). A client said HELLO to a member that was cut
 * off, gave up, opened its session at another one and wrote; its stream broke before the answer
 * came, and the session expired. Then the partition ended, and the first HELLO, which had waited in
 * the cut-off member's stream to the leader, opened a session under the same key. The client
 * resumed "its" session, sent the write again, and it took effect a second time: the new session
 * knows nothing of the old one's replies. Now a session that is younger than what the client has
 * seen is refused as expired. */

#include <criterion/criterion.h>
#include <string.h>

#include "err.h"
#include "nodenet.h"

static struct net net;

Test(regression, a_session_that_was_opened_again_is_not_resumed)
{
    struct reply reply;

    net_start(&net, 3);
    net_await_leader(&net);
    net_connect(&net, 0, 1);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    cr_assert_eq(0, net_create(&net, 0, "once", &reply));
    net_disconnect(&net, 0);
    net_run(&net, 5000); /* the session expires */

    net_connect(&net, 1, 2); /* the HELLO that was under way */
    cr_assert_eq(0, net_hello(&net, 1, 7, false, 0));
    net_disconnect(&net, 1);

    net_connect(&net, 0, 1);
    cr_assert_eq(ERR_EXPIRED, net_hello(&net, 0, 7, true, reply.index));
    net_done(&net);
}
