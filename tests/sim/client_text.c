#include "client_int.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "err.h"

/* What the judge says. */

const char *client_verdict(struct clients *cs, const struct record *r, const char *rule,
                           const char *fmt, ...)
{
    int size = snprintf(cs->verdict, sizeof(cs->verdict),
                        "rule=%s client=%u session=%" PRIu64 " op=%d xid=%" PRIu64
                        " err=%d index=%" PRIu64 " asked_us=%" PRIu64 " at_us=%" PRIu64 ": ",
                        rule, r->client, r->session, (int)r->op, r->xid, r->err, r->index,
                        r->asked_us, r->at_us);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(cs->verdict + size, sizeof(cs->verdict) - (size_t)size, fmt, ap);
    va_end(ap);
    return cs->verdict;
}

/* An answer in words, as far as they help. */
static void describe(const void *bytes, size_t size, char *to, size_t cap)
{
    const struct attr *a = NULL;
    struct message m;

    if (codec_decode(bytes, size, &m) != 0 || m.kind != MESSAGE_REPLY) {
        snprintf(to, cap, "%zu bytes", size);
        return;
    }
    switch (m.u.reply.err == 0 ? m.u.reply.op : OP_PING) {
    case OP_CREATE:
        a = &m.u.reply.u.create.attr;
        break;
    case OP_XATTRS:
        a = &m.u.reply.u.xattrs.attr;
        break;
    case OP_RENAME:
        a = &m.u.reply.u.rename.attr;
        break;
    case OP_READ:
        a = &m.u.reply.u.read.attr;
        break;
    case OP_LOOKUP:
    case OP_GETATTR:
    case OP_SET:
    case OP_APPEND:
    case OP_SETATTR:
    case OP_SETXATTR:
        a = &m.u.reply.u.attr;
        break;
    default:
        break;
    }
    if (a != NULL) {
        snprintf(to, cap,
                 "index %" PRIu64 " id %" PRIu64 " parent %" PRIu64 " size %" PRIu64
                 " version %" PRIu64 "/%" PRIu64 "/%" PRIu64 " zxid %" PRIu64 "/%" PRIu64
                 "/%" PRIu64 " mode %o times %" PRIi64 "/%" PRIi64 "/%" PRIi64,
                 m.u.reply.index, a->id, a->parent, a->size, a->version, a->cversion, a->aversion,
                 a->czxid, a->mzxid, a->pzxid, a->mode, a->atime_ns, a->mtime_ns, a->ctime_ns);
    } else if (m.u.reply.op == OP_STATFS && m.u.reply.err == 0) {
        snprintf(to, cap,
                 "index %" PRIu64 " nodes %" PRIu64 " of %" PRIu64 " bytes %" PRIu64 " of %" PRIu64,
                 m.u.reply.index, m.u.reply.u.statfs.nodes, m.u.reply.u.statfs.nodes_max,
                 m.u.reply.u.statfs.bytes, m.u.reply.u.statfs.bytes_max);
    } else if (m.u.reply.op == OP_LOCK && m.u.reply.err == 0) {
        snprintf(to, cap, "index %" PRIu64 "%s granted, fence %" PRIu64, m.u.reply.index,
                 m.u.reply.u.lock.granted ? "" : " not", m.u.reply.u.lock.fence);
    } else if (m.u.reply.op == OP_TXN && m.u.reply.err == 0) {
        snprintf(to, cap, "index %" PRIu64 " step %u err %d, %u done", m.u.reply.index,
                 m.u.reply.u.txn.failed, m.u.reply.u.txn.err, m.u.reply.u.txn.count);
    } else if (m.u.reply.op == OP_READDIR && m.u.reply.err == 0) {
        snprintf(to, cap, "index %" PRIu64 " %u entries%s", m.u.reply.index,
                 m.u.reply.u.readdir.count, m.u.reply.u.readdir.end ? ", all" : "");
    } else {
        snprintf(to, cap, "index %" PRIu64 " err %d (%s)", m.u.reply.index, m.u.reply.err,
                 err_text(m.u.reply.err));
    }
    codec_message_done(&m);
}

const char *client_differs(struct clients *cs, const struct record *r, const char *rule,
                           const void *bytes, size_t size)
{
    char expected[320], got[320];

    describe(bytes, size, expected, sizeof(expected));
    describe(r->bytes->data, r->bytes->size, got, sizeof(got));
    return client_verdict(cs, r, rule, "expected %s; got %s", expected, got);
}
