#ifndef ZABFS_ERR_H
#define ZABFS_ERR_H

/* Every expected failure, once: its code, the errno a user of the mount sees, and its text.
 * Codes are negative, travel in the client protocol and are stored in reply slots, so a number is
 * never reused. 0 is success. */
#define ERR_LIST(X)                                                                                \
    X(ERR_NOENT, -1, ENOENT, "no such file or directory")                                          \
    X(ERR_EXISTS, -2, EEXIST, "file exists")                                                       \
    X(ERR_NOTEMPTY, -3, ENOTEMPTY, "directory not empty")                                          \
    X(ERR_NOTDIR, -4, ENOTDIR, "not a directory")                                                  \
    X(ERR_ISDIR, -5, EISDIR, "is a directory")                                                     \
    X(ERR_PERM, -6, EPERM, "operation not permitted")                                              \
    X(ERR_ACCESS, -7, EACCES, "permission denied")                                                 \
    X(ERR_TOOBIG, -8, EFBIG, "value too large")                                                    \
    X(ERR_QUOTA, -9, EDQUOT, "quota exceeded")                                                     \
    X(ERR_NAMETOOLONG, -10, ENAMETOOLONG, "file name too long")                                    \
    X(ERR_INVAL, -11, EINVAL, "invalid argument")                                                  \
    X(ERR_VERSION, -12, ESTALE, "changed by someone else since it was opened")                     \
    X(ERR_EXPIRED, -13, ESTALE, "session expired")                                                 \
    X(ERR_NO_QUORUM, -14, EROFS, "no quorum, certainly not applied")                               \
    X(ERR_TIMEOUT, -15, ETIMEDOUT, "no answer in time, outcome unknown")                           \
    X(ERR_INTR, -16, EINTR, "interrupted")                                                         \
    X(ERR_UNSUPPORTED, -17, EOPNOTSUPP, "operation not supported")                                 \
    X(ERR_NOSPACE, -18, ENOSPC, "no space left on device")                                         \
    X(ERR_MALFORMED, -19, EPROTO, "malformed message")                                             \
    X(ERR_IO, -20, EIO, "input/output error")                                                      \
    X(ERR_BUSY, -21, EBUSY, "in use")                                                              \
    X(ERR_OVERLOAD, -22, EAGAIN, "too many requests in flight")                                    \
    X(ERR_CLOSED, -23, ENOTCONN, "not connected")                                                  \
    X(ERR_CORRUPT, -24, EIO, "stored data is damaged")                                             \
    X(ERR_FOREIGN, -25, EINVAL, "belongs to another ensemble")                                     \
    X(ERR_COMPACTED, -26, ESTALE, "events from that index on are no longer kept")                  \
    X(ERR_ABANDONED, -27, ECANCELED, "request given up by its sender before it was applied")       \
    X(ERR_PROTO_VERSION, -28, EPROTO, "protocol version not spoken here")                          \
    X(ERR_NODATA, -29, ENODATA, "no such attribute")                                               \
    X(ERR_WOULD_BLOCK, -30, EAGAIN, "locked by someone else")                                      \
    X(ERR_NOLOCKS, -31, ENOLCK, "too many locks")                                                  \
    X(ERR_FORMAT, -32, EINVAL, "written by another version of this program")

enum err {
#define X(name, code, err_no, text) name = (code),
    ERR_LIST(X)
#undef X
};

/* Static text for 0 and every code above; "unknown error" for anything else. */
const char *err_text(int err);

/* Positive errno for a code above, 0 for 0, EIO for anything else. */
int err_to_errno(int err);

/* True for 0 and every code above: what a decoder may accept from the wire. */
int err_is_known(int err);

#endif
