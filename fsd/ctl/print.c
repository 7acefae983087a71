#include "print.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Size of the UTF-8 sequence at the start of `at`, 0 if there is none (RFC 3629: shortest form, no
 * surrogates, nothing above U+10FFFF). */
static size_t utf8_size(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    uint8_t low = 0x80; /* range of the second byte, narrower after some lead bytes */
    uint8_t high = 0xbf;
    size_t size;

    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        size = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        size = 3;
        low = lead == 0xe0 ? 0xa0 : low;
        high = lead == 0xed ? 0x9f : high;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        size = 4;
        low = lead == 0xf0 ? 0x90 : low;
        high = lead == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (left < size || at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

static bool utf8_is_valid(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t n = utf8_size(bytes + i, size - i);

        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

void print_json_text(FILE *out, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    putc('"', out);
    for (size_t i = 0; i < size;) {
        size_t n = utf8_size(at + i, size - i);

        if (n == 0) {
            fputs("\xef\xbf\xbd", out);
            n = 1;
        } else if (at[i] == '"' || at[i] == '\\') {
            fprintf(out, "\\%c", at[i]);
        } else if (at[i] < 0x20 || at[i] == 0x7f) {
            fprintf(out, "\\u%04x", at[i]);
        } else {
            fwrite(at + i, 1, n, out);
        }
        i += n;
    }
    putc('"', out);
}

static void print_base64(FILE *out, const uint8_t *at, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < size; i += 3) {
        size_t n = size - i < 3 ? size - i : 3;
        uint32_t group = (uint32_t)at[i] << 16;

        group |= n > 1 ? (uint32_t)at[i + 1] << 8 : 0;
        group |= n > 2 ? at[i + 2] : 0;
        putc(digits[group >> 18], out);
        putc(digits[(group >> 12) & 63], out);
        putc(n > 1 ? digits[(group >> 6) & 63] : '=', out);
        putc(n > 2 ? digits[group & 63] : '=', out);
    }
}

void print_json_field(FILE *out, const char *key, const void *bytes, size_t size)
{
    fprintf(out, "\"%s\":", key);
    print_json_text(out, bytes, size);
    if (!utf8_is_valid(bytes, size)) {
        fprintf(out, ",\"%s_base64\":\"", key);
        print_base64(out, bytes, size);
        putc('"', out);
    }
}

const char *print_type(enum node_type type)
{
    return type == NODE_DIR ? "directory" : type == NODE_SYMLINK ? "symlink" : "file";
}

void print_time(int64_t time_ns, char *ret, size_t cap)
{
    int64_t part_ns = time_ns % 1000000000;
    int64_t whole = time_ns / 1000000000;
    struct tm tm;
    char date[32] = "";

    if (part_ns < 0) { /* before 1970: the fraction counts up from the second below */
        part_ns += 1000000000;
        whole--;
    }
    time_t seconds = (time_t)whole;

    if (gmtime_r(&seconds, &tm) != NULL) {
        strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    }
    snprintf(ret, cap, "%s.%09" PRId64 "Z", date, part_ns);
}

void print_mode(const struct attr *attr, char ret[11])
{
    static const char letters[] = "rwxrwxrwx";

    ret[0] = attr->type == NODE_DIR ? 'd' : attr->type == NODE_SYMLINK ? 'l' : '-';
    for (unsigned i = 0; i < 9; i++) {
        ret[1 + i] = (attr->mode & (0400u >> i)) != 0 ? letters[i] : '-';
    }
    if ((attr->mode & 04000) != 0) {
        ret[3] = ret[3] == 'x' ? 's' : 'S';
    }
    if ((attr->mode & 02000) != 0) {
        ret[6] = ret[6] == 'x' ? 's' : 'S';
    }
    if ((attr->mode & 01000) != 0) {
        ret[9] = ret[9] == 'x' ? 't' : 'T';
    }
    ret[10] = '\0';
}

void print_json_node(FILE *out, const struct name *name, const struct attr *attr)
{
    char atime[48], mtime[48], ctime_text[48];

    print_time(attr->atime_ns, atime, sizeof(atime));
    print_time(attr->mtime_ns, mtime, sizeof(mtime));
    print_time(attr->ctime_ns, ctime_text, sizeof(ctime_text));
    putc('{', out);
    print_json_field(out, "name", name->bytes, name->size);
    fprintf(out,
            ",\"type\":\"%s\",\"id\":%" PRIu64 ",\"parent\":%" PRIu64
            ",\"mode\":\"%04o\",\"uid\":%u,\"gid\":%u,\"size\":%" PRIu64 ",\"nlink\":%u",
            print_type(attr->type), attr->id, attr->parent, attr->mode, attr->uid, attr->gid,
            attr->size, attr->nlink);
    fprintf(out,
            ",\"version\":%" PRIu64 ",\"cversion\":%" PRIu64 ",\"aversion\":%" PRIu64
            ",\"czxid\":%" PRIu64 ",\"mzxid\":%" PRIu64 ",\"pzxid\":%" PRIu64,
            attr->version, attr->cversion, attr->aversion, attr->czxid, attr->mzxid, attr->pzxid);
    fprintf(out, ",\"atime\":\"%s\",\"mtime\":\"%s\",\"ctime\":\"%s\"}", atime, mtime, ctime_text);
}

void print_json_value(FILE *out, const struct name *value)
{
    bool number =
        value->size > 0 && value->size <= 15 && (value->bytes[0] != '0' || value->size == 1);

    for (uint32_t i = 0; i < value->size; i++) {
        number = number && value->bytes[i] >= '0' && value->bytes[i] <= '9';
    }
    if (number) {
        fwrite(value->bytes, 1, value->size, out);
    } else {
        print_json_text(out, value->bytes, value->size);
    }
}

void print_name(FILE *out, const struct name *name)
{
    bool careful = isatty(fileno(out)) != 0;

    for (uint32_t i = 0; i < name->size; i++) {
        unsigned char byte = (unsigned char)name->bytes[i];

        putc(careful && (byte < 0x20 || byte == 0x7f) ? '?' : byte, out);
    }
}
