#include <stdio.h>

#include "conf.h"
#include "log.h"
#include "member.h"

int main(int argc, char **argv)
{
    char note[CONF_NOTE_SIZE];
    struct conf conf;
    int rc = conf_parse(argc, argv, &conf, note);

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
