#include "print.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "json_text.h"

void print_json_text(FILE *out, const void *bytes, size_t size)
{
    struct buf b = {0};

    json_put_text(&b, bytes, size);
    fwrite(b.data, 1, b.size, out);
    buf_done(&b);
}

void print_json_field(FILE *out, const char *key, const void *bytes, size_t size)
{
    struct buf b = {0};

    json_put_field(&b, key, bytes, size);
    fwrite(b.data, 1, b.size, out);
    buf_done(&b);
}

const char *print_type(enum node_type type)
{
    return type == NODE_DIR ? "directory" : type == NODE_SYMLINK ? "symlink" : "file";
}

const char *print_life(enum node_life life)
{
    return life == LIFE_OPEN ? "open" : life == LIFE_SESSION ? "session" : "permanent";
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
    char atime[JSON_TIME_SIZE], mtime[JSON_TIME_SIZE], ctime_text[JSON_TIME_SIZE];

    json_time(attr->atime_ns, atime);
    json_time(attr->mtime_ns, mtime);
    json_time(attr->ctime_ns, ctime_text);
    putc('{', out);
    print_json_field(out, "name", name->bytes, name->size);
    fprintf(out,
            ",\"type\":\"%s\",\"life\":\"%s\",\"session\":%" PRIu64 ",\"id\":%" PRIu64
            ",\"parent\":%" PRIu64 ",\"mode\":\"%04o\",\"uid\":%u,\"gid\":%u,\"size\":%" PRIu64
            ",\"nlink\":%u",
            print_type(attr->type), print_life(attr->life), attr->owner, attr->id, attr->parent,
            attr->mode, attr->uid, attr->gid, attr->size, attr->nlink);
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
