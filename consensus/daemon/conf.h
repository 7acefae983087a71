#ifndef ZABFS_CONF_H
#define ZABFS_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "hash.h"
#include "limits.h"
#include "log.h"

/* What `zabd` is told, by an INI file, by flags, or both (a flag wins). docs: `zabd --help`. */

struct conf_member {
    uint32_t id;
    char host[256];
    uint16_t peer_port;
    uint16_t client_port;
};

struct conf {
    uint32_t id;
    char data[1024];
    char name[128];      /* of the ensemble; "" : made from the list of members */
    char unix_path[108]; /* "": no unix socket */
    char restore[1024];  /* a backup to begin with; "": none */
    enum log_level log_level;
    struct conf_member members[MEMBERS_MAX]; /* by rising id */
    uint32_t member_count;
    uint32_t heartbeat_ms, election_min_ms, election_max_ms;
    uint64_t snapshot_entries;
    uint32_t snapshots_kept;
    uint32_t segment_size;
    uint32_t value_size_max;
    uint32_t history_changes;
    uint64_t history_bytes;
    uint32_t awake; /* 1: the machine's processors are kept awake while somebody waits; 0: not */
};

/* Fills *ret from the command line and the file it names. Returns 0; 1 when the process should end
 * well (--help, --version: text printed to stdout); 2 for a mistake, with one line in `note` that
 * names the flag, or the file, line and key. Nothing is written anywhere. */
enum { CONF_NOTE_SIZE = 512 };
int conf_parse(int argc, char **argv, struct conf *ret, char *note);

/* The same for the text of a file alone; 0 or 2. */
int conf_parse_text(const char *text, size_t size, struct conf *ret, char *note);

const struct conf_member *conf_self(const struct conf *c);

/* The ensemble's identity: a hash of its name, or of the members' ids and peer addresses. */
struct hash128 conf_cluster(const struct conf *c);

#endif
