#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "store_int.h"

int file_write(const struct vfs *v, int fd, const void *bytes, size_t size, uint64_t offset)
{
    const uint8_t *at = bytes;

    while (size > 0) {
        ssize_t n = v->pwrite(v->ctx, fd, at, size, offset);

        if (n <= 0) {
            return n == 0 ? -EIO : (int)n;
        }
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

ssize_t file_read(const struct vfs *v, int fd, void *to, size_t size, uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = v->pread(v->ctx, fd, (uint8_t *)to + done, size - done, offset + done);

        if (n < 0) {
            return n;
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    return (ssize_t)done;
}

enum { NUMBER_DIGITS = 16 };

void file_name(char *ret, const char *prefix, uint64_t number, const char *suffix)
{
    size_t used = strlen(prefix);

    memcpy(ret, prefix, used);
    for (int i = 0; i < NUMBER_DIGITS; i++) {
        ret[used++] = "0123456789abcdef"[number >> (4 * (NUMBER_DIGITS - 1 - i)) & 15];
    }
    memcpy(ret + used, suffix, strlen(suffix) + 1);
}

bool file_name_parse(const char *name, const char *prefix, uint64_t *ret)
{
    size_t skip = strlen(prefix);
    uint64_t number = 0;

    if (strncmp(name, prefix, skip) != 0 || strlen(name) != skip + NUMBER_DIGITS) {
        return false;
    }
    for (const char *at = name + skip; *at != '\0'; at++) {
        const char *digit = strchr("0123456789abcdef", *at);

        if (digit == NULL) {
            return false;
        }
        number = number << 4 | (uint64_t)(digit - "0123456789abcdef");
    }
    *ret = number;
    return true;
}

static void numbers_add(uint64_t **numbers, size_t *count, uint64_t number)
{
    *numbers = mem_realloc(*numbers, (*count + 1) * sizeof(**numbers));
    (*numbers)[(*count)++] = number;
}

static void list_add(void *arg, const char *name)
{
    struct file_list *l = arg;
    size_t size = strlen(name);
    uint64_t number;

    if (file_name_parse(name, "log-", &number)) {
        numbers_add(&l->segments, &l->segment_count, number);
    } else if (file_name_parse(name, "snap-", &number)) {
        numbers_add(&l->snapshots, &l->snapshot_count, number);
    } else if (size > 4 && strcmp(name + size - 4, ".tmp") == 0) {
        buf_put(&l->temporary, name, size + 1);
    } else if (strcmp(name, "restoring") == 0) {
        l->is_restoring = true;
    } else if (strcmp(name, "meta-0") == 0) {
        l->has_meta[0] = true;
    } else if (strcmp(name, "meta-1") == 0) {
        l->has_meta[1] = true;
    }
}

static int number_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

int file_list(const struct vfs *v, struct file_list *ret)
{
    struct file_list l = {0};
    int rc = v->list(v->ctx, list_add, &l);

    if (rc != 0) {
        file_list_done(&l);
        return rc;
    }
    if (l.segment_count > 0) {
        qsort(l.segments, l.segment_count, sizeof(*l.segments), number_compare);
    }
    if (l.snapshot_count > 0) {
        qsort(l.snapshots, l.snapshot_count, sizeof(*l.snapshots), number_compare);
    }
    *ret = l;
    return 0;
}

void file_list_done(struct file_list *l)
{
    mem_free(l->segments);
    mem_free(l->snapshots);
    buf_done(&l->temporary);
    *l = (struct file_list){0};
}
