/* zabctl fsck: what the directory of a member holds, in words. The reading and judging is
 * consensus/store's; nothing is changed. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "ctl.h"
#include "err.h"
#include "inspect.h"
#include "print.h"

static const char *health_text(enum inspect_health health)
{
    switch (health) {
    case INSPECT_SOUND:
        return "sound";
    case INSPECT_MENDED:
        return "mended at the next start";
    case INSPECT_FAULTY:
        return "needs the state from the other members";
    case INSPECT_REFUSED:
        break;
    }
    return "unusable";
}

static const char *health_word(enum inspect_health health)
{
    static const char *const words[] = {"sound", "mended", "faulty", "unusable"};

    return words[health];
}

static const char *segment_text(const struct inspect_segment *g)
{
    switch (g->state) {
    case INSPECT_SEGMENT_SPARE:
        return "spare";
    case INSPECT_SEGMENT_VOID:
        return "void";
    case INSPECT_SEGMENT_WHOLE:
        return "whole";
    case INSPECT_SEGMENT_TORN:
        return "torn";
    case INSPECT_SEGMENT_DAMAGED:
        return "damaged";
    case INSPECT_SEGMENT_BAD_HEADER:
        break;
    }
    return "header damaged";
}

static bool segment_has_entries(const struct inspect_segment *g)
{
    return g->first <= g->last;
}

/* Bytes that the log needs for the segment after this one, if that is not there yet. */
static uint64_t spare_missing(const struct inspection *in)
{
    const struct inspect_segment *last;

    if (in->segment_count == 0) {
        return STORE_SEGMENT_SIZE_DEFAULT;
    }
    last = &in->segments[in->segment_count - 1];
    if (last->state != INSPECT_SEGMENT_SPARE) {
        return last->size;
    }
    return last->size > 0 ? 0 : STORE_SEGMENT_SIZE_DEFAULT;
}

/* --- for a person ----------------------------------------------------------------------------- */

static void print_hash(FILE *out, struct hash128 h)
{
    fprintf(out, "%016" PRIx64 "%016" PRIx64, h.hi, h.lo);
}

static void print_identity(const struct inspection *in)
{
    printf("identity   ");
    if (in->is_empty) {
        puts("none: the directory is empty, a new member would begin here");
        return;
    }
    if (!in->has_identity) {
        puts("none that can be read");
        return;
    }
    printf("member %u, ensemble ", in->member);
    print_hash(stdout, in->cluster);
    fputs(", incarnation ", stdout);
    print_hash(stdout, in->incarnation);
    putchar('\n');
}

static void print_votes(const struct inspection *in)
{
    for (int i = 0; i < 2; i++) {
        const struct inspect_meta *m = &in->meta[i];

        printf("meta-%d     ", i);
        if (!m->is_there || !m->is_valid) {
            puts(m->is_there ? "unreadable" : "missing");
        } else if (m->sequence == 1) {
            puts("never voted");
        } else if (m->voted_for == 0) {
            printf("promised epoch %" PRIu64 ", voted for nobody in it\n", m->promised_epoch);
        } else {
            printf("promised epoch %" PRIu64 ", voted for member %u\n", m->promised_epoch,
                   m->voted_for);
        }
    }
}

static void print_snapshots(const struct inspection *in)
{
    for (size_t i = 0; i < in->snapshot_count; i++) {
        const struct inspect_snapshot *s = &in->snapshots[i];

        printf("snapshot   index %" PRIu64, s->index);
        if (s->err == 0) {
            printf(", epoch %" PRIu64 ", %" PRIu64 " bytes, whole%s\n", s->pos.epoch, s->size,
                   in->would.has_snapshot && in->would.snapshot.index == s->index ? ", in use"
                                                                                  : "");
        } else {
            printf(", %" PRIu64 " bytes, damaged at %" PRIu64 ": %s\n", s->size, s->offset,
                   err_text(s->err));
        }
    }
}

static void print_segment(const struct inspect_segment *g)
{
    printf("segment    %" PRIu64 ", %" PRIu64 " bytes", g->sequence, g->size);
    if (segment_has_entries(g)) {
        printf(", entries %" PRIu64 " to %" PRIu64, g->first, g->last);
    }
    printf(", %s", segment_text(g));
    if (g->state == INSPECT_SEGMENT_TORN || g->state == INSPECT_SEGMENT_DAMAGED) {
        printf(" at %" PRIu64 ": %s", g->offset, g->reason);
    }
    if (g->state == INSPECT_SEGMENT_VOID) {
        fputs(": later files replaced it", stdout);
    } else if (g->state != INSPECT_SEGMENT_SPARE && !g->is_needed) {
        fputs(" (the snapshot covers it)", stdout);
    }
    putchar('\n');
}

/* Those that are as they should be are many, and all alike. */
static void print_segments(const struct inspection *in, bool verbose)
{
    size_t sound = 0;
    uint64_t bytes = 0;

    for (size_t i = 0; i < in->segment_count; i++) {
        const struct inspect_segment *g = &in->segments[i];
        bool told = g->state != INSPECT_SEGMENT_WHOLE && g->state != INSPECT_SEGMENT_SPARE &&
                    g->state != INSPECT_SEGMENT_VOID;

        bytes += g->size;
        sound += !told;
        if (told || verbose) {
            print_segment(g);
        }
    }
    printf("log        %zu segments, %" PRIu64 " bytes, %zu without damage\n", in->segment_count,
           bytes, sound);
}

static void print_start(const struct inspection *in)
{
    const struct store_recovered *w = &in->would;
    uint64_t base = w->has_snapshot ? w->snapshot.index : 0;

    printf("at a start ");
    if (in->health == INSPECT_REFUSED) {
        puts("the member refuses: empty the directory, it takes the state from the others");
        return;
    }
    if (in->is_empty || w->is_new) {
        puts("the member begins as new: it votes when all members are new, or has a state");
        return;
    }
    if (w->entry_count > 0) {
        printf("entries %" PRIu64 " to %" PRIu64 " after %s %" PRIu64, base + 1,
               base + w->entry_count, w->has_snapshot ? "the snapshot at" : "index", base);
    } else if (w->has_snapshot) {
        printf("the snapshot at %" PRIu64 ", no entries", base);
    } else {
        printf("no entries");
    }
    if (w->torn_tail) {
        fputs("; the torn last batch is cut, it was never acknowledged", stdout);
    }
    if (w->faulty) {
        printf("; faulty: it once held up to %" PRIu64 " and takes the state from a leader",
               w->claimed_index);
    }
    putchar('\n');
}

static void print_space(const struct inspection *in, uint64_t free_bytes)
{
    uint64_t missing = spare_missing(in);

    printf("free       %" PRIu64 " bytes", free_bytes);
    if (missing > free_bytes) {
        printf(": too few for the next segment, %" PRIu64
               " bytes: the member can take no writes when this one is full",
               missing);
    }
    putchar('\n');
}

static void print_text(const struct ctl_args *args, const struct inspection *in,
                       uint64_t free_bytes)
{
    print_identity(in);
    if (!in->is_empty) {
        print_votes(in);
        print_snapshots(in);
        if (in->segment_count > 0) {
            print_segments(in, (args->seen & CTL_OPT_VERBOSE) != 0);
        }
    }
    if (in->temporary_count > 0) {
        printf("left over  %zu temporary files; the next start removes them\n",
               in->temporary_count);
    }
    print_start(in);
    print_space(in, free_bytes);
    printf("verdict    %s%s%s\n", health_text(in->health), in->note[0] != '\0' ? ": " : "",
           in->note);
}

/* --- for a program ---------------------------------------------------------------------------- */

static void json_meta(const struct inspection *in)
{
    fputs(",\"meta\":[", stdout);
    for (int i = 0; i < 2; i++) {
        const struct inspect_meta *m = &in->meta[i];

        printf("%s{\"present\":%s,\"valid\":%s", i > 0 ? "," : "", m->is_there ? "true" : "false",
               m->is_valid ? "true" : "false");
        if (m->is_valid) {
            printf(",\"sequence\":%" PRIu64 ",\"promised_epoch\":%" PRIu64 ",\"voted_for\":%u",
                   m->sequence, m->promised_epoch, m->voted_for);
        }
        putchar('}');
    }
    putchar(']');
}

static void json_files(const struct inspection *in)
{
    fputs(",\"snapshots\":[", stdout);
    for (size_t i = 0; i < in->snapshot_count; i++) {
        const struct inspect_snapshot *s = &in->snapshots[i];

        printf("%s{\"index\":%" PRIu64 ",\"size\":%" PRIu64 ",\"whole\":%s", i > 0 ? "," : "",
               s->index, s->size, s->err == 0 ? "true" : "false");
        if (s->err == 0) {
            printf(",\"epoch\":%" PRIu64 "}", s->pos.epoch);
        } else {
            printf(",\"offset\":%" PRIu64 ",\"reason\":\"%s\"}", s->offset, err_text(s->err));
        }
    }
    fputs("],\"segments\":[", stdout);
    for (size_t i = 0; i < in->segment_count; i++) {
        const struct inspect_segment *g = &in->segments[i];

        printf("%s{\"sequence\":%" PRIu64 ",\"size\":%" PRIu64 ",\"state\":\"%s\",\"needed\":%s",
               i > 0 ? "," : "", g->sequence, g->size, segment_text(g),
               g->is_needed ? "true" : "false");
        if (segment_has_entries(g)) {
            printf(",\"first\":%" PRIu64 ",\"last\":%" PRIu64, g->first, g->last);
        }
        if (g->state == INSPECT_SEGMENT_TORN || g->state == INSPECT_SEGMENT_DAMAGED) {
            printf(",\"offset\":%" PRIu64 ",\"reason\":\"%s\"", g->offset, g->reason);
        }
        putchar('}');
    }
    putchar(']');
}

static void print_json(const char *dir, const struct inspection *in, uint64_t free_bytes)
{
    const struct store_recovered *w = &in->would;

    fputs("{\"directory\":", stdout);
    print_json_text(stdout, dir, strlen(dir));
    printf(",\"verdict\":\"%s\",\"note\":", health_word(in->health));
    print_json_text(stdout, in->note, strlen(in->note));
    if (in->has_identity) {
        printf(",\"member\":%u,\"ensemble\":\"", in->member);
        print_hash(stdout, in->cluster);
        fputs("\",\"incarnation\":\"", stdout);
        print_hash(stdout, in->incarnation);
        putchar('"');
    }
    json_meta(in);
    json_files(in);
    if (in->health != INSPECT_REFUSED) {
        printf(",\"start\":{\"new\":%s,\"snapshot\":%" PRIu64 ",\"entries\":%zu,\"torn_tail\":%s,"
               "\"faulty\":%s,\"claimed\":%" PRIu64 "}",
               in->is_empty || w->is_new ? "true" : "false", w->snapshot.index, w->entry_count,
               w->torn_tail ? "true" : "false", w->faulty ? "true" : "false", w->claimed_index);
    }
    printf(",\"temporary\":%zu,\"free\":%" PRIu64 ",\"spare_missing\":%" PRIu64 "}\n",
           in->temporary_count, free_bytes, spare_missing(in));
}

/* --- the command ------------------------------------------------------------------------------ */

static int refuse(const char *dir, const char *text)
{
    fprintf(stderr, "zabctl: %s: %s\n", dir, text);
    return CTL_FSCK_NOT_DONE;
}

int ctl_run_fsck(const struct ctl_args *args, struct ctl_session *s, char **words)
{
    const char *dir = words[0];
    struct inspection in;
    struct statvfs space = {0};
    struct vfs vfs;
    char note[256] = "";
    int rc = vfs_posix(dir, &vfs);

    (void)s;
    if (rc != 0) {
        return refuse(dir, strerror(-rc));
    }
    (void)statvfs(dir, &space); /* of a directory that was opened just now */
    rc = inspect_run(&vfs, &in, note);
    vfs_posix_done(&vfs);
    if (rc == ERR_BUSY) {
        return refuse(dir, "in use by a running zabd, which writes to it: stop it first, or ask it "
                           "with zabctl status");
    }
    if (rc != 0) {
        return refuse(dir, note);
    }
    if (ctl_wants_json(args)) {
        print_json(dir, &in, (uint64_t)space.f_bavail * space.f_frsize);
    } else {
        print_text(args, &in, (uint64_t)space.f_bavail * space.f_frsize);
    }
    rc = (int)in.health; /* 0 to 3, as the manual says */
    inspect_done(&in);
    return rc;
}
