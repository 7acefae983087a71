/* Found by the test of faults on real mounts (chaos). A session expired while its stream was open.
 * The member sent it the changes that its end brought, the removal of its own ephemerals among
 * them, and closed the stream only then. So until the client had reconnected, which takes seconds
 * without a quorum, a mount showed its ephemeral gone and its own session alive. Now the stream is
 * closed first: who sees an ephemeral of its own gone has been told that its session is. */

#include <criterion/criterion.h>
#include <string.h>

#include "err.h"
#include "nodenet.h"

static struct net net;

static uint32_t changes_heard(uint32_t client)
{
    uint32_t count = 0;
    struct message m;

    while (net_recv(&net, client, &m)) {
        count += m.kind == MESSAGE_EVENT;
        codec_message_done(&m);
    }
    return count;
}

Test(regression, an_expired_session_is_not_told_of_its_end_as_a_change)
{
    struct request create = {.op = OP_CREATE};
    struct reply reply;

    net_start(&net, 3);
    net_await_leader(&net);
    net_connect(&net, 0, 1);
    cr_assert_eq(0, net_hello(&net, 0, 7, false, 0));
    create.u.create.dir = TREE_ROOT_ID;
    create.u.create.name = net_name("mine");
    create.u.create.type = NODE_FILE;
    create.u.create.life = LIFE_SESSION;
    cr_assert_eq(0, net_call(&net, 0, &create, &reply), "its answer subscribes to the directory");
    changes_heard(0);

    net_run(&net, 5000); /* silent, with its stream open: it expires */

    cr_assert_eq(1, tree_node_count(node_tree(net.nodes[1])), "the ephemeral is gone");
    cr_assert_eq(0, changes_heard(0));
    cr_assert_eq(0, net.clients[0].conn, "its stream is closed");
    net_done(&net);
}
