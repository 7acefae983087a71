#include "conf.h"

#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "store.h"

/* Configuration: defaults, then the file, then the flags, then one check of the whole. Every
 * mistake is one line that names where it is. */

static const char help_text[] =
    "Usage: zabd --config FILE [OPTION...]\n"
    "       zabd --data DIR --id N --ensemble 1=HOST:PEERPORT:CLIENTPORT,... [OPTION...]\n"
    "\n"
    "One member of a zabfs ensemble. It runs in the foreground, logs to standard error,\n"
    "and stops in order on SIGTERM or SIGINT.\n"
    "\n"
    "  -c, --config FILE     read settings from an INI file; flags win over it\n"
    "  -d, --data DIR        directory for the log, the snapshots and the vote; must exist\n"
    "  -i, --id N            this member's id, 1 to 255\n"
    "  -e, --ensemble LIST   all members: ID=HOST:PEERPORT:CLIENTPORT, separated by commas\n"
    "  -n, --name NAME       name of the ensemble; a data directory of another is refused\n"
    "  -u, --unix PATH       also serve clients of this machine on a unix socket\n"
    "  -r, --restore FILE    begin with the backup FILE; the data directory must be empty\n"
    "  -l, --log-level L     error, warn, info (default) or debug\n"
    "  -h, --help            this text\n"
    "  -V, --version         version\n"
    "\n"
    "--restore is for a new ensemble: give it to one member, or to all, and start the others\n"
    "with empty directories. All must be started; the newest state wins. A member restored\n"
    "beside an ensemble that is alive takes that ensemble's state, not the backup's.\n"
    "\n"
    "The file:\n"
    "  [member]    id, data, name, unix, log_level; awake (1; 0: do not keep the processors of\n"
    "              this machine from sleeping while somebody waits)\n"
    "  [ensemble]  ID = HOST:PEERPORT:CLIENTPORT        one line a member\n"
    "  [timing]    heartbeat_ms (100), election_min_ms (500), election_max_ms (1000);\n"
    "              the same on all members\n"
    "  [storage]   snapshot_entries (100000), snapshots_kept (2; the log behind the oldest of\n"
    "              them goes), segment_size (67108864)\n"
    "  [limits]    value_size (1048576, at most 8388608)\n"
    "  [history]   changes (16384; 0: none), bytes (33554432): how much of the past this\n"
    "              member can show, in changes of nodes and in bytes of former values\n"
    "\n"
    "Exit status: 0 stopped in order, 1 a failure while running, 2 wrong configuration.\n";

struct parser {
    struct conf *conf;
    const char *path;
    char *note;
    char key[64]; /* of the line before */
    FILE *file;
    int line;
};

static int mistake(char *note, const char *where, const char *what, const char *value)
{
    snprintf(note, CONF_NOTE_SIZE, "%s: %s%s%s%s", where, what, value[0] ? " '" : "", value,
             value[0] ? "'" : "");
    return 2;
}

static int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    char *end;
    unsigned long long v;

    if (text[0] < '0' || text[0] > '9') {
        return -1;
    }
    errno = 0;
    v = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || v < min || v > max) {
        return -1;
    }
    *ret = v;
    return 0;
}

static int copy_text(char *to, size_t cap, const char *from)
{
    size_t size = strlen(from);

    if (size == 0 || size >= cap) {
        return -1;
    }
    memcpy(to, from, size + 1);
    return 0;
}

static bool host_is_valid(const char *host)
{
    for (; *host != '\0'; host++) {
        if ((unsigned char)*host <= ' ' || *host == 127 || strchr("[]/", *host) != NULL) {
            return false;
        }
    }
    return true;
}

/* "HOST:PEERPORT:CLIENTPORT"; a host with colons (IPv6) stands in brackets. */
static const char *member_add(struct conf *c, const char *id_text, const char *address)
{
    struct conf_member m = {0};
    char text[320];
    char *host = text;
    char *client, *peer;
    uint64_t v;
    uint32_t at;

    if (parse_number(id_text, 1, 255, &v) != 0) {
        return "a member's id is a number from 1 to 255, not";
    }
    m.id = (uint32_t)v;
    if (copy_text(text, sizeof(text), address) != 0 || (client = strrchr(text, ':')) == NULL) {
        return "a member is HOST:PEERPORT:CLIENTPORT, not";
    }
    *client++ = '\0';
    peer = strrchr(text, ':');
    if (peer == NULL || parse_number(client, 1, 65535, &v) != 0) {
        return "a member is HOST:PEERPORT:CLIENTPORT, not";
    }
    m.client_port = (uint16_t)v;
    *peer++ = '\0';
    if (text[0] == '[' && peer[-2] == ']') {
        peer[-2] = '\0';
        host++;
    }
    if (parse_number(peer, 1, 65535, &v) != 0 || copy_text(m.host, sizeof(m.host), host) != 0 ||
        !host_is_valid(m.host)) {
        return "a member is HOST:PEERPORT:CLIENTPORT, not";
    }
    m.peer_port = (uint16_t)v;
    if (c->member_count == MEMBERS_MAX) {
        return "more members than an ensemble can have, at";
    }
    for (at = 0; at < c->member_count && c->members[at].id < m.id; at++) {
    }
    if (at < c->member_count && c->members[at].id == m.id) {
        return "duplicate member id, in";
    }
    memmove(&c->members[at + 1], &c->members[at], (c->member_count - at) * sizeof(m));
    c->members[at] = m;
    c->member_count++;
    return NULL;
}

struct number_key {
    const char *section, *key;
    uint64_t min, max;
    size_t offset, size;
};

#define NUMBER_KEY(section, key, field, min, max)                                                  \
    {                                                                                              \
        section, key, min, max, offsetof(struct conf, field), sizeof(((struct conf *)0)->field)    \
    }

static const struct number_key number_keys[] = {
    NUMBER_KEY("member", "id", id, 1, 255),
    NUMBER_KEY("member", "awake", awake, 0, 1),
    NUMBER_KEY("timing", "heartbeat_ms", heartbeat_ms, 5, 60000),
    NUMBER_KEY("timing", "election_min_ms", election_min_ms, 20, 600000),
    NUMBER_KEY("timing", "election_max_ms", election_max_ms, 20, 600000),
    NUMBER_KEY("storage", "snapshot_entries", snapshot_entries, 10, 1000000000),
    NUMBER_KEY("storage", "snapshots_kept", snapshots_kept, 2, 1000000),
    NUMBER_KEY("storage", "segment_size", segment_size, STORE_SEGMENT_SIZE_MIN, 1 << 30),
    NUMBER_KEY("limits", "value_size", value_size_max, 1, VALUE_SIZE_MAX),
    NUMBER_KEY("history", "changes", history_changes, 0, 100000000),
    NUMBER_KEY("history", "bytes", history_bytes, 0, (uint64_t)1 << 40),
};

static const char *set_number(struct conf *c, const struct number_key *k, const char *value)
{
    uint64_t v;
    uint32_t v32;

    if (parse_number(value, k->min, k->max, &v) != 0) {
        return "not a number in range:";
    }
    v32 = (uint32_t)v;
    memcpy((char *)c + k->offset, k->size == 8 ? (const void *)&v : &v32, k->size);
    return NULL;
}

static const char *set_key(struct conf *c, const char *section, const char *key, const char *value)
{
    if (strcmp(section, "ensemble") == 0) {
        return member_add(c, key, value);
    }
    for (size_t i = 0; i < sizeof(number_keys) / sizeof(number_keys[0]); i++) {
        if (strcmp(section, number_keys[i].section) == 0 && strcmp(key, number_keys[i].key) == 0) {
            return set_number(c, &number_keys[i], value);
        }
    }
    if (strcmp(section, "member") != 0) {
        return "unknown key";
    }
    if (strcmp(key, "data") == 0) {
        return copy_text(c->data, sizeof(c->data), value) ? "empty or too long:" : NULL;
    }
    if (strcmp(key, "name") == 0) {
        return copy_text(c->name, sizeof(c->name), value) ? "empty or too long:" : NULL;
    }
    if (strcmp(key, "unix") == 0) {
        return copy_text(c->unix_path, sizeof(c->unix_path), value)
                   ? "a socket's path has 1 to 107 bytes, not"
                   : NULL;
    }
    if (strcmp(key, "log_level") == 0) {
        return log_level_parse(value, &c->log_level) ? "not a log level:" : NULL;
    }
    return "unknown key";
}

static int on_key(void *ctx, const char *section, const char *key, const char *value)
{
    struct parser *p = ctx;
    const char *what = set_key(p->conf, section, key, value);
    char where[300];

    if (what == NULL && strcmp(key, p->key) == 0) { /* inih takes an indented line for a value */
        what = "given twice, or an indented line behind it:";
    }
    snprintf(p->key, sizeof(p->key), "%s", key);
    if (what == NULL) {
        return 1;
    }
    if (p->note[0] == '\0') { /* the first mistake is the one to tell */
        snprintf(where, sizeof(where), "%.200s: [%.40s] %.40s", p->path, section, key);
        mistake(p->note, where, what, strcmp(what, "unknown key") == 0 ? "" : value);
    }
    return 0;
}

/* fgets() for inih, which would take the rest of a line that is too long for it for another one. */
static char *read_line(char *to, int cap, void *ctx)
{
    struct parser *p = ctx;
    char where[300];

    if (fgets(to, cap, p->file) == NULL) {
        return NULL;
    }
    p->line++;
    if (strlen(to) == (size_t)cap - 1 && to[cap - 2] != '\n' && !feof(p->file)) {
        snprintf(where, sizeof(where), "%.200s: line %d", p->path, p->line);
        mistake(p->note, where, "too long", "");
        return NULL;
    }
    return to;
}

static int parse_stream(FILE *file, const char *path, struct conf *c, char *note)
{
    struct parser p = {.conf = c, .path = path, .note = note, .file = file};
    char where[300];
    int line = ini_parse_stream(read_line, &p, on_key, &p);

    if (line != 0 && note[0] == '\0') {
        snprintf(where, sizeof(where), "%.200s: line %d", path, line);
        mistake(note, where, "neither a [section] nor KEY = VALUE", "");
    }
    if (ferror(file) && note[0] == '\0') {
        mistake(note, path, strerror(errno), "");
    }
    return note[0] == '\0' ? 0 : 2;
}

static int parse_file(const char *path, struct conf *c, char *note)
{
    FILE *file = fopen(path, "re");
    int rc;

    if (file == NULL) {
        return mistake(note, path, strerror(errno), "");
    }
    rc = parse_stream(file, path, c, note);
    fclose(file);
    return rc;
}

static int parse_ensemble(struct conf *c, const char *list, char *note)
{
    char text[MEMBERS_MAX * 320];
    char *save = NULL;

    if (copy_text(text, sizeof(text), list) != 0) {
        return mistake(note, "--ensemble", "empty or too long", "");
    }
    c->member_count = 0; /* a flag wins over the file */
    for (char *item = strtok_r(text, ",", &save); item != NULL; item = strtok_r(NULL, ",", &save)) {
        char *equals = strchr(item, '=');
        const char *what;

        if (equals == NULL) {
            return mistake(note, "--ensemble", "a member is ID=HOST:PEERPORT:CLIENTPORT, not",
                           item);
        }
        *equals = '\0';
        what = member_add(c, item, equals + 1);
        if (what != NULL) {
            *equals = '=';
            return mistake(note, "--ensemble", what, item);
        }
    }
    return 0;
}

static int check_whole(const struct conf *c, char *note)
{
    if (c->id == 0) {
        return mistake(note, "zabd", "this member's id is missing: --id, or id in [member]", "");
    }
    if (c->data[0] == '\0') {
        return mistake(note, "zabd", "the data directory is missing: --data, or data in [member]",
                       "");
    }
    if (c->member_count == 0) {
        return mistake(note, "zabd", "the members are missing: --ensemble, or [ensemble]", "");
    }
    if (conf_self(c) == NULL) {
        char id[16];

        snprintf(id, sizeof(id), "%u", c->id);
        return mistake(note, "[ensemble]", "has no member with this member's id", id);
    }
    if (c->election_min_ms < 3 * c->heartbeat_ms) {
        return mistake(note, "[timing] election_min_ms", "must be at least 3 x heartbeat_ms", "");
    }
    if (c->election_max_ms < c->election_min_ms + c->heartbeat_ms) {
        return mistake(note, "[timing] election_max_ms",
                       "must be at least election_min_ms + heartbeat_ms", "");
    }
    return 0;
}

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"data", required_argument, NULL, 'd'},
    {"id", required_argument, NULL, 'i'},
    {"ensemble", required_argument, NULL, 'e'},
    {"name", required_argument, NULL, 'n'},
    {"unix", required_argument, NULL, 'u'},
    {"log-level", required_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"restore", required_argument, NULL, 'r'},
    {NULL, 0, NULL, 0},
};
static const char short_options[] = ":c:d:i:e:n:u:r:l:hV";

/* What getopt found wrong, in our one line. */
static int bad_flag(int opt, char **argv, int at, char *note)
{
    return mistake(note, "zabd", opt == ':' ? "value missing for" : "unknown option",
                   argv[at > 0 ? at - 1 : 0]);
}

static int parse_flag(int opt, struct conf *c, char *note)
{
    static const struct {
        char opt;
        const char *key;
    } keys[] = {{'d', "data"}, {'i', "id"}, {'n', "name"}, {'u', "unix"}, {'l', "log_level"}};

    if (opt == 'e') {
        return parse_ensemble(c, optarg, note);
    }
    if (opt == 'r') {
        return copy_text(c->restore, sizeof(c->restore), optarg)
                   ? mistake(note, "--restore", "empty or too long:", optarg)
                   : 0;
    }
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (keys[i].opt == opt) {
            const char *what = set_key(c, "member", keys[i].key, optarg);
            char where[32];

            snprintf(where, sizeof(where), "--%s", keys[i].key);
            return what ? mistake(note, where, what, optarg) : 0;
        }
    }
    return 0; /* --config was read before */
}

static const struct conf defaults = {
    .log_level = LOG_INFO,
    .heartbeat_ms = 100,
    .election_min_ms = 500,
    .election_max_ms = 1000,
    .snapshot_entries = 100000,
    .snapshots_kept = 2,
    .segment_size = STORE_SEGMENT_SIZE_DEFAULT,
    .value_size_max = VALUE_SIZE_DEFAULT,
    .history_changes = 16384,
    .history_bytes = 32 << 20,
    .awake = 1,
};

int conf_parse_text(const char *text, size_t size, struct conf *ret, char *note)
{
    FILE *file = fmemopen((void *)(uintptr_t)text, size, "re");
    struct conf c = defaults;
    int rc;

    note[0] = '\0';
    if (file == NULL) {
        return mistake(note, "text", strerror(errno), "");
    }
    rc = parse_stream(file, "text", &c, note);
    fclose(file);
    if (rc == 0) {
        rc = check_whole(&c, note);
    }
    if (rc == 0) {
        *ret = c;
    }
    return rc;
}

int conf_parse(int argc, char **argv, struct conf *ret, char *note)
{
    struct conf c = defaults;
    int opt;
    int rc;

    note[0] = '\0';
    opterr = 0;
    optind = 1;
    while ((opt = getopt_long(argc, argv, short_options, options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help_text, stdout);
            return 1;
        }
        if (opt == 'V') {
            puts("zabd " ZABFS_VERSION);
            return 1;
        }
        if (opt == '?' || opt == ':') {
            return bad_flag(opt, argv, optind, note);
        }
        if (opt == 'c' && (rc = parse_file(optarg, &c, note)) != 0) {
            return rc;
        }
    }
    if (optind < argc) {
        return mistake(note, "zabd", "takes no argument", argv[optind]);
    }
    optind = 1;
    while ((opt = getopt_long(argc, argv, short_options, options, NULL)) != -1) {
        rc = parse_flag(opt, &c, note);
        if (rc != 0) {
            return rc;
        }
    }
    rc = check_whole(&c, note);
    if (rc == 0) {
        *ret = c;
    }
    return rc;
}

const struct conf_member *conf_self(const struct conf *c)
{
    for (uint32_t i = 0; i < c->member_count; i++) {
        if (c->members[i].id == c->id) {
            return &c->members[i];
        }
    }
    return NULL;
}

struct hash128 conf_cluster(const struct conf *c)
{
    struct buf text = {0};
    struct hash128 h;

    if (c->name[0] != '\0') {
        return hash128(c->name, strlen(c->name));
    }
    for (uint32_t i = 0; i < c->member_count; i++) {
        buf_put_u32(&text, c->members[i].id);
        buf_put(&text, c->members[i].host, strlen(c->members[i].host) + 1);
        buf_put_u16(&text, c->members[i].peer_port);
    }
    h = hash128(text.data, text.size);
    buf_done(&text);
    return h;
}
