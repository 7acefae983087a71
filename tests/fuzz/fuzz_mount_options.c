/* The command line of zabfs, an argument a line. */
#include "fuzz.h"

#include <string.h>

#include "check.h"
#include "err.h"
#include "limits.h"
#include "mem.h"
#include "options.h"

enum { ARGS_MAX = 16 };

static bool is_text(const char *field)
{
    return memchr(field, '\0', OPTION_TEXT_SIZE) != NULL;
}

static void check_options(const struct options *o)
{
    CHECK(is_text(o->servers) && is_text(o->mountpoint) && is_text(o->fuse));
    CHECK(is_text(o->log_path) && is_text(o->pid_path));
    CHECK(o->help || (o->servers[0] != '\0' && o->mountpoint[0] != '\0'));
    CHECK(strncmp(o->fuse, "fsname=zabfs,subtype=zabfs,", 27) == 0);
    CHECK(o->deadline_ms >= 1000 && o->deadline_ms <= OPERATION_DEADLINE_MS_MAX);
    CHECK(o->session_timeout_ms >= SESSION_TIMEOUT_MS_MIN);
    CHECK(o->session_timeout_ms <= SESSION_TIMEOUT_MS_MAX);
    CHECK(o->helpers >= 1 && o->helpers <= HELPERS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = mem_alloc(size + 1);
    struct options *o = mem_alloc(sizeof(*o));
    char *argv[ARGS_MAX + 1] = {"zabfs"};
    char why[256] = "";
    char *rest = text;
    int argc = 1;
    int err;

    if (size > 0) {
        memcpy(text, bytes, size);
    }
    text[size] = '\0';
    while (argc < ARGS_MAX && rest != NULL) {
        argv[argc++] = strsep(&rest, "\n");
    }
    err = options_parse(argc, argv, size % 2 == 0, o, why, sizeof(why));
    if (err == 0) {
        check_options(o);
    } else {
        CHECK(err == ERR_INVAL);
        CHECK(why[0] != '\0');
    }
    mem_free(o);
    mem_free(text);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    static const char *const lines[] = {
        "-f\n-o\nservers=unix:/run/zabd.sock+host:7001\n/mnt",
        "host:7001\n/mnt\n-o\nrw,noatime,nodev,x-systemd.automount,deadline=5,allow_other",
        "-oservers=a:1,log=/l,pidfile=/p,log_level=debug,session_timeout=3600,helpers=16,ro\n/m",
        "-odeadline=0\n/m",
        "--help",
        "a\nb\nc",
        "-o",
        "-x",
    };
    const char *text = lines[i % (sizeof(lines) / sizeof(lines[0]))];

    buf_put(b, text, strlen(text));
}
