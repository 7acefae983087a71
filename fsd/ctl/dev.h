#ifndef ZABFS_CTL_DEV_H
#define ZABFS_CTL_DEV_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "limits.h"

/* An ensemble with its mounts on this machine, in one directory: its layout, its configuration
 * files and its processes. Members count from 1. */

enum {
    DEV_DIR_SIZE_MAX = 150,    /* inih reads lines of up to 199 bytes, and paths get longer */
    DEV_SOCKET_SIZE_MAX = 107, /* what sun_path holds */
    DEV_PATH_SIZE = DEV_DIR_SIZE_MAX + 64,
};

struct dev_member {
    unsigned peer_port;
    unsigned client_port;
    bool has_socket; /* listens on DIR/run/zabd-N.sock, too */
};

struct dev {
    char dir[DEV_DIR_SIZE_MAX + 1]; /* absolute */
    char name[32]; /* of the ensemble: keeps two directories apart that share ports */
    unsigned count;
    struct dev_member members[MEMBERS_MAX + 1]; /* [0] unused */
};

enum dev_kind { DEV_ZABD, DEV_ZABFS };

/* --- dev_conf.c: layout and configuration files ---------------------------------------------- */

/* DIR/run/zabd-2.pid and the like, into ret[DEV_PATH_SIZE]. */
void dev_path_pid(const struct dev *d, enum dev_kind kind, unsigned n, char *ret);
void dev_path_log(const struct dev *d, enum dev_kind kind, unsigned n, char *ret);
void dev_path_conf(const struct dev *d, unsigned n, char *ret);
void dev_path_socket(const struct dev *d, unsigned n, char *ret);
void dev_path_mount(const struct dev *d, unsigned n, char *ret);

/* `unix:...+127.0.0.1:...`: member n first, then the others by TCP. */
enum { DEV_SERVERS_SIZE = DEV_PATH_SIZE + MEMBERS_MAX * 24 };
void dev_servers(const struct dev *d, unsigned n, char *ret);
/* The one address at which member n is asked. */
void dev_server(const struct dev *d, unsigned n, char *ret);

/* Both return an exit code, with a line printed if it is not CTL_OK. dev_create() makes what `dir`
 * lacks, directories and configuration; members 0: as many as there are, else 3. dev_load() wants
 * an ensemble to be there. */
int dev_create(const char *dir, unsigned members, struct dev *ret);
int dev_load(const char *dir, struct dev *ret);

/* Returns when member n's ports can be listened on, or at the deadline: a member that was killed
 * keeps them until its last thread is back from the disk. */
void dev_wait_ports(const struct dev *d, unsigned n, uint64_t deadline_ms);

/* --- dev_proc.c: processes -------------------------------------------------------------------- */

/* The process of the pid file if it runs and is the one that was started there, else 0. */
pid_t dev_pid(const struct dev *d, enum dev_kind kind, unsigned n);

/* Starts it in the background, with its output in the log, and writes the pid file. Returns its
 * pid, or 0 after a line on stderr. */
pid_t dev_spawn(const struct dev *d, enum dev_kind kind, unsigned n);

/* SIGTERM, and SIGKILL after timeout_ms. Removes the pid file. True if it was running. */
bool dev_stop(const struct dev *d, enum dev_kind kind, unsigned n, uint64_t timeout_ms);

/* Prints the last lines of its log on stderr. */
void dev_print_log_tail(const struct dev *d, enum dev_kind kind, unsigned n);

/* Unmounts DIR/mN if something is mounted there, lazily if it is in use. False after a line on
 * stderr if it could not. */
bool dev_unmount(const struct dev *d, unsigned n);

/* --- dev_wait.c: being up --------------------------------------------------------------------- */

uint64_t dev_now_ms(void);
void dev_pause_ms(unsigned ms);

bool dev_is_mounted(const struct dev *d, unsigned n);
/* Mounted and answering within timeout_ms; asked in a child, so that a mount that hangs cannot hold
 * the caller. */
bool dev_is_live(const struct dev *d, unsigned n, uint64_t timeout_ms);

/* Both return CTL_OK, or CTL_FAILED after saying what did not come up, with the tail of its log.
 * Until then `deadline_ms` of dev_now_ms(). */
int dev_wait_members(const struct dev *d, uint64_t deadline_ms, unsigned *ret_leader);
int dev_wait_mount(const struct dev *d, unsigned n, uint64_t deadline_ms);

#endif
