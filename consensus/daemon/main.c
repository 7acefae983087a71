#include <stdio.h>
#include <stdlib.h>

#include "bug.h"
#include "conf.h"
#include "log.h"
#include "member.h"

int main(int argc, char **argv)
{
    char note[CONF_NOTE_SIZE];
    struct conf conf;
    int rc;

    if (ZABFS_BUG != BUG_NONE && getenv("ZABFS_BUG_ALLOWED") == NULL) {
        fprintf(stderr, "zabd: built with a mistake on purpose, for tests (cmake -DZABFS_BUG): "
                        "set ZABFS_BUG_ALLOWED to let it lose data\n");
        return 2;
    }
    rc = conf_parse(argc, argv, &conf, note);
    if (rc == 1) {
        return 0;
    }
    if (rc != 0) {
        fprintf(stderr, "zabd: %s\n", note);
        return rc;
    }
    log_set_level(conf.log_level);
    return member_run(&conf);
}
