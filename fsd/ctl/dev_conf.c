/* The configuration files of a development ensemble are what its members read, and the only place
 * where its ports are kept: the first `up` chooses them, every later one reads them back. */
#include "dev.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <arpa/inet.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "ctl.h"
#include "hash.h"

static const char *const kind_names[] = {[DEV_ZABD] = "zabd", [DEV_ZABFS] = "zabfs"};

void dev_path_pid(const struct dev *d, enum dev_kind kind, unsigned n, char *ret)
{
    snprintf(ret, DEV_PATH_SIZE, "%s/run/%s-%u.pid", d->dir, kind_names[kind], n);
}

void dev_path_log(const struct dev *d, enum dev_kind kind, unsigned n, char *ret)
{
    snprintf(ret, DEV_PATH_SIZE, "%s/log/%s-%u.log", d->dir, kind_names[kind], n);
}

void dev_path_conf(const struct dev *d, unsigned n, char *ret)
{
    snprintf(ret, DEV_PATH_SIZE, "%s/conf/zabd-%u.ini", d->dir, n);
}

void dev_path_socket(const struct dev *d, unsigned n, char *ret)
{
    snprintf(ret, DEV_PATH_SIZE, "%s/run/zabd-%u.sock", d->dir, n);
}

void dev_path_mount(const struct dev *d, unsigned n, char *ret)
{
    snprintf(ret, DEV_PATH_SIZE, "%s/m%u", d->dir, n);
}

void dev_server(const struct dev *d, unsigned n, char *ret)
{
    if (d->members[n].has_socket) {
        char path[DEV_PATH_SIZE];

        dev_path_socket(d, n, path);
        snprintf(ret, DEV_SERVERS_SIZE, "unix:%s", path);
    } else {
        snprintf(ret, DEV_SERVERS_SIZE, "127.0.0.1:%u", d->members[n].client_port);
    }
}

void dev_servers(const struct dev *d, unsigned n, char *ret)
{
    size_t size;

    dev_server(d, n, ret);
    size = strlen(ret);
    for (unsigned i = 1; i < d->count; i++) {
        unsigned other = (n - 1 + i) % d->count + 1;

        size += (size_t)snprintf(ret + size, DEV_SERVERS_SIZE - size, "+127.0.0.1:%u",
                                 d->members[other].client_port);
    }
}

/* --- directory -------------------------------------------------------------------------------- */

/* The path goes into configuration files, server lists and mount options, each with marks of its
 * own; a development directory can do without them. */
static int take_dir(const char *dir, struct dev *d)
{
    char *real = realpath(dir, NULL);

    if (real == NULL) {
        return ctl_fail_errno(dir, errno);
    }
    size_t size = strlen(real);

    if (size > DEV_DIR_SIZE_MAX) {
        free(real);
        return ctl_usage("%s: the path is longer than %d bytes", dir, DEV_DIR_SIZE_MAX);
    }
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)real[i] < 0x20 || strchr(",;#+\\ \"", real[i]) != NULL) {
            free(real);
            return ctl_usage("%s: choose a path without blanks and the characters , ; # + \\ \"",
                             dir);
        }
    }
    memcpy(d->dir, real, size + 1);
    free(real);
    return CTL_OK;
}

static int make_dir(const char *path)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return ctl_fail_errno(path, errno);
    }
    return CTL_OK;
}

static int make_dirs(const struct dev *d)
{
    static const char *const names[] = {"conf", "data", "log", "run"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[DEV_PATH_SIZE];

        snprintf(path, sizeof(path), "%s/%s", d->dir, names[i]);
        if (make_dir(path) != CTL_OK) {
            return CTL_FAILED;
        }
    }
    for (unsigned n = 1; n <= d->count; n++) {
        char path[DEV_PATH_SIZE];

        snprintf(path, sizeof(path), "%s/data/%u", d->dir, n);
        if (make_dir(path) != CTL_OK) {
            return CTL_FAILED;
        }
        dev_path_mount(d, n, path);
        /* A mount whose server died cannot be looked at; it is replaced by the next start. */
        if (!dev_is_mounted(d, n) && make_dir(path) != CTL_OK) {
            return CTL_FAILED;
        }
    }
    return CTL_OK;
}

/* --- ports ------------------------------------------------------------------------------------ */

static bool port_is_free(unsigned port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return false;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    bool ok = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 1) == 0;

    close(fd);
    return ok;
}

void dev_wait_ports(const struct dev *d, unsigned n, uint64_t deadline_ms)
{
    const struct dev_member *m = &d->members[n];

    while (!(port_is_free(m->peer_port) && port_is_free(m->client_port)) &&
           dev_now_ms() < deadline_ms) {
        dev_pause_ms(20);
    }
}

static void read_ephemeral_range(unsigned *ret_low, unsigned *ret_high)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    unsigned low, high;

    *ret_low = 32768;
    *ret_high = 60999;
    if (f == NULL) {
        return;
    }
    if (fscanf(f, "%u %u", &low, &high) == 2 && low <= high) {
        *ret_low = low;
        *ret_high = high;
    }
    fclose(f);
}

/* Free ports that no outgoing connection will be given, so that a member that was stopped finds its
 * own again. The search starts at a place that depends on the directory, to keep ensembles that are
 * set up at the same time apart. */
static bool choose_ports(struct dev *d)
{
    enum { PORT_MIN = 10240, PORT_MAX = 65535 };
    unsigned low, high; /* of the range that is left out */
    unsigned found = 0;

    read_ephemeral_range(&low, &high);
    low = low < PORT_MIN ? PORT_MIN : low;
    unsigned usable = (low - PORT_MIN) + (high < PORT_MAX ? PORT_MAX - high : 0);
    unsigned start = usable > 0 ? (unsigned)(hash64(d->dir, strlen(d->dir), 0) % usable) : 0;

    for (unsigned i = 0; i < usable && found < 2 * d->count; i++) {
        unsigned port = PORT_MIN + (start + i) % usable;

        port = port < low ? port : port - low + high + 1;
        if (!port_is_free(port)) {
            continue;
        }
        struct dev_member *m = &d->members[found / 2 + 1];

        *(found % 2 == 0 ? &m->peer_port : &m->client_port) = port;
        found++;
    }
    return found == 2 * d->count;
}

/* --- configuration files ---------------------------------------------------------------------- */

struct conf_read {
    struct dev *d;
    unsigned member; /* whose file it is */
    bool bad;
};

static int on_conf_key(void *ctx, const char *section, const char *key, const char *value)
{
    struct conf_read *r = ctx;
    unsigned id, peer_port, client_port;
    int end = 0;

    if (strcmp(section, "member") == 0 && strcmp(key, "unix") == 0) {
        r->d->members[r->member].has_socket = true;
    } else if (strcmp(section, "member") == 0 && strcmp(key, "name") == 0) {
        snprintf(r->d->name, sizeof(r->d->name), "%s", value);
    } else if (strcmp(section, "ensemble") == 0) {
        if (sscanf(key, "%u", &id) != 1 || id == 0 || id > MEMBERS_MAX ||
            sscanf(value, "127.0.0.1:%u:%u%n", &peer_port, &client_port, &end) != 2 ||
            value[end] != '\0') {
            r->bad = true;
            return 0;
        }
        r->d->members[id].peer_port = peer_port;
        r->d->members[id].client_port = client_port;
        r->d->count = id > r->d->count ? id : r->d->count;
    }
    return 1;
}

static int read_conf(struct dev *d, unsigned n)
{
    char path[DEV_PATH_SIZE];
    struct conf_read r = {.d = d, .member = n};

    dev_path_conf(d, n, path);
    int line = ini_parse(path, on_conf_key, &r);

    if (line < 0) {
        return ctl_fail_errno(path, errno != 0 ? errno : ENOENT);
    }
    if (line > 0 || r.bad) {
        return ctl_usage("%s: line %d does not belong into a file that dev up wrote", path, line);
    }
    return CTL_OK;
}

static int read_confs(struct dev *d)
{
    int code = read_conf(d, 1); /* its [ensemble] says how many there are */

    for (unsigned n = 2; code == CTL_OK && n <= d->count; n++) {
        code = read_conf(d, n);
    }
    for (unsigned n = 1; code == CTL_OK && n <= d->count; n++) {
        if (d->members[n].client_port == 0) {
            code = ctl_usage("%s/conf/zabd-1.ini: no member %u", d->dir, n);
        }
    }
    return code;
}

static int write_conf(const struct dev *d, unsigned n)
{
    char path[DEV_PATH_SIZE];
    char socket_path[DEV_PATH_SIZE];

    dev_path_conf(d, n, path);
    FILE *f = fopen(path, "we");

    if (f == NULL) {
        return ctl_fail_errno(path, errno);
    }
    fprintf(f,
            "# Written once by `zabctl dev up`; yours to edit.\n"
            "[member]\nid = %u\nname = %s\ndata = %s/data/%u\n",
            n, d->name, d->dir, n);
    if (d->members[n].has_socket) {
        dev_path_socket(d, n, socket_path);
        fprintf(f, "unix = %s\n", socket_path);
    }
    fputs("\n# id = HOST:PEERPORT:CLIENTPORT, the same in every member's file\n[ensemble]\n", f);
    for (unsigned i = 1; i <= d->count; i++) {
        fprintf(f, "%u = 127.0.0.1:%u:%u\n", i, d->members[i].peer_port, d->members[i].client_port);
    }
    bool failed = ferror(f) != 0;

    return fclose(f) != 0 || failed ? ctl_fail_errno(path, errno) : CTL_OK;
}

/* Member 1's file is written last: while it is missing the ensemble is not set up. */
static int write_confs(struct dev *d)
{
    uint32_t random;
    char path[DEV_PATH_SIZE];
    int code = CTL_OK;

    CHECK(getrandom(&random, sizeof(random), 0) == (ssize_t)sizeof(random));
    snprintf(d->name, sizeof(d->name), "dev-%08" PRIx32, random);
    dev_path_socket(d, MEMBERS_MAX, path);
    bool fits = strlen(path) <= DEV_SOCKET_SIZE_MAX;

    if (!fits) {
        printf("%s: too long a path for unix sockets, TCP alone is used\n", d->dir);
    }
    for (unsigned n = 1; n <= d->count; n++) {
        d->members[n].has_socket = fits;
    }
    if (!choose_ports(d)) {
        fprintf(stderr, "zabctl: no free ports on 127.0.0.1\n");
        return CTL_FAILED;
    }
    for (unsigned n = d->count; code == CTL_OK && n > 0; n--) {
        code = write_conf(d, n);
    }
    return code;
}

static bool has_conf(const struct dev *d)
{
    char path[DEV_PATH_SIZE];

    dev_path_conf(d, 1, path);
    return access(path, F_OK) == 0;
}

int dev_load(const char *dir, struct dev *ret)
{
    struct dev d = {0};
    int code = take_dir(dir, &d);

    if (code == CTL_OK && !has_conf(&d)) {
        fprintf(stderr, "zabctl: %s: no ensemble here; zabctl dev up --dir %s makes one\n", dir,
                dir);
        code = CTL_FAILED;
    }
    if (code == CTL_OK) {
        code = read_confs(&d);
    }
    if (code == CTL_OK) {
        *ret = d;
    }
    return code;
}

int dev_create(const char *dir, unsigned members, struct dev *ret)
{
    enum { MEMBERS_DEFAULT = 3 };
    struct dev d = {0};
    int code = take_dir(dir, &d);

    if (code != CTL_OK) {
        return code;
    }
    bool fresh = !has_conf(&d);

    if (fresh) {
        d.count = members != 0 ? members : MEMBERS_DEFAULT;
    } else {
        code = read_confs(&d);
    }
    if (code == CTL_OK && members != 0 && members != d.count) {
        return ctl_usage("--members %u: %s has %u members", members, dir, d.count);
    }
    if (code == CTL_OK) {
        code = make_dirs(&d);
    }
    if (code == CTL_OK && fresh) {
        code = write_confs(&d);
    }
    if (code == CTL_OK) {
        *ret = d;
    }
    return code;
}
