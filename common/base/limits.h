#ifndef ZABFS_LIMITS_H
#define ZABFS_LIMITS_H

/* Every bound of the system, in one place. A size or count that comes from outside is compared with
 * its bound before memory is taken for it. */
enum {
    /* Tree. */
    NAME_SIZE_MAX = 255,          /* bytes of one name */
    VALUE_SIZE_MAX = 8 << 20,     /* bytes of one value that any ensemble may be set to */
    VALUE_SIZE_DEFAULT = 1 << 20, /* bytes of one value unless configured */
    SYMLINK_SIZE_MAX = 4095,      /* bytes of a symbolic link's target */
    PATH_SIZE_MAX = 4095,         /* bytes of a path in a transaction or an event */
    XATTRS_SIZE_MAX = 64 << 10, /* bytes of names and values of all extended attributes of a node */
    XATTRS_MAX = 256,           /* of one node */
    LOCKS_PER_NODE_MAX = 16384, /* held and waited for */
    TXN_STEPS_MAX = 1000,
    EVENT_VALUE_SIZE_MAX = 4096, /* an event carries the new value up to this size */

    /* Client protocol. */
    CLIENT_FRAME_SIZE_MAX = VALUE_SIZE_MAX + (64 << 10),
    CLIENT_REQUESTS_MAX = 4096,      /* requests in flight of one session; also its reply slots */
    CLIENT_LABEL_SIZE_MAX = 64,      /* bytes of the name a session gives itself */
    INTEREST_IDS_MAX = 4096,         /* directories in one INTEREST or FORGET request */
    READDIR_SIZE_MAX = 256 << 10,    /* bytes of entries in one READDIR reply */
    LOG_EVENTS_MAX = 256,            /* changes in one LOG reply */
    LOCK_ENTRIES_MAX = 1024,         /* in one LOCKS reply; one node's come all together */
    STATUS_FIELDS_MAX = 64,          /* key/value pairs in one STATUS reply */
    BACKUP_PIECE_SIZE_MAX = 1 << 20, /* bytes of the image in one BACKUP reply */
    BACKUPS_MAX = 2,                 /* images that a member holds for backups at a time */
    SESSION_TIMEOUT_MS_MIN = 1000,
    SESSION_TIMEOUT_MS_MAX = 3600 * 1000,
    SESSION_TIMEOUT_MS_DEFAULT = 10 * 1000,
    SESSIONS_MAX = 65536,
    OPERATION_DEADLINE_MS_DEFAULT = 10 * 1000,
    OPERATION_DEADLINE_MS_MAX = 600 * 1000,

    /* Peer protocol and log. */
    ENTRY_SIZE_MAX = CLIENT_FRAME_SIZE_MAX + 1024, /* bytes of one log entry's body */
    BATCH_SIZE_MAX = 1 << 20, /* a batch is closed when it reaches this many bytes ... */
    BATCH_ENTRIES_MAX = 1000, /* ... or this many entries */
    PEER_FRAME_SIZE_MAX = BATCH_SIZE_MAX + ENTRY_SIZE_MAX + (64 << 10),
    SNAPSHOT_CHUNK_SIZE = 1 << 20,
    MEMBERS_MAX = 15, /* members of an ensemble */

    /* One process. */
    CONNECTIONS_MAX = 4096,           /* client connections of one member */
    SEND_QUEUE_SIZE_MAX = 64 << 20,   /* bytes queued to one slow client before it is cut off */
    PEER_QUEUE_SIZE_MAX = 1 << 30,    /* ... to one slow peer; a whole state must fit */
    EVENT_WINDOW_ENTRIES = 65536,     /* changes a member keeps for sessions that resume ... */
    EVENT_WINDOW_SIZE_MAX = 8 << 20,  /* ... and their bytes */
};

_Static_assert((int)VALUE_SIZE_DEFAULT <= (int)VALUE_SIZE_MAX, "default within the bound");
_Static_assert((int)ENTRY_SIZE_MAX > (int)CLIENT_FRAME_SIZE_MAX, "any request fits a log entry");
_Static_assert((int)PEER_FRAME_SIZE_MAX > (int)BATCH_SIZE_MAX + (int)ENTRY_SIZE_MAX,
               "a batch that one entry made overflow still fits a frame");

#endif
