#ifndef ZABFS_LOG_H
#define ZABFS_LOG_H

/* One event, one line: `2026-01-31T12:00:00.123Z level=INFO mod=zab ev=role from=follower ...`.
 * ERROR: someone must act. WARN: something odd was handled. INFO: a change of state. DEBUG: one per
 * message. Only the edges (daemon, mount, ctl) log; libraries return codes. Lines go to stderr
 * unless log_set_fd() says otherwise; each is one write(2). Not for use between fork and exec. */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
int log_level_parse(const char *text, enum log_level *ret); /* 0, or ERR_INVAL */
void log_set_fd(int fd);

__attribute__((format(printf, 3, 4))) void log_line(enum log_level level, const char *mod,
                                                    const char *fmt, ...);

/* fmt begins with the event: LOG_INFO("peer", "ev=connected id=%d", id). */
#define LOG_ERR(mod, ...)  log_line(LOG_ERROR, mod, __VA_ARGS__)
#define LOG_WARN(mod, ...) log_line(LOG_WARN, mod, __VA_ARGS__)
#define LOG_INFO(mod, ...) log_line(LOG_INFO, mod, __VA_ARGS__)
#define LOG_DBG(mod, ...)  log_line(LOG_DEBUG, mod, __VA_ARGS__)

#endif
