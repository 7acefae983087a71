#include "json_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

static void put(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void json_put_text(struct buf *b, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    buf_put_u8(b, '"');
    for (size_t i = 0; i < size;) {
        size_t n = utf8_size(at + i, size - i);
        char escape[8];

        if (n == 0) {
            put(b, "\xef\xbf\xbd");
            n = 1;
        } else if (at[i] == '"' || at[i] == '\\') {
            buf_put_u8(b, '\\');
            buf_put_u8(b, at[i]);
        } else if (at[i] < 0x20 || at[i] == 0x7f) {
            snprintf(escape, sizeof(escape), "\\u%04x", at[i]);
            put(b, escape);
        } else {
            buf_put(b, at + i, n);
        }
        i += n;
    }
    buf_put_u8(b, '"');
}

static void put_base64(struct buf *b, const uint8_t *at, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < size; i += 3) {
        size_t n = size - i < 3 ? size - i : 3;
        uint32_t group = (uint32_t)at[i] << 16;

        group |= n > 1 ? (uint32_t)at[i + 1] << 8 : 0;
        group |= n > 2 ? at[i + 2] : 0;
        buf_put_u8(b, (uint8_t)digits[group >> 18]);
        buf_put_u8(b, (uint8_t)digits[(group >> 12) & 63]);
        buf_put_u8(b, (uint8_t)(n > 1 ? digits[(group >> 6) & 63] : '='));
        buf_put_u8(b, (uint8_t)(n > 2 ? digits[group & 63] : '='));
    }
}

void json_put_field(struct buf *b, const char *key, const void *bytes, size_t size)
{
    buf_put_u8(b, '"');
    put(b, key);
    put(b, "\":");
    json_put_text(b, bytes, size);
    if (!utf8_is_valid(bytes, size)) {
        put(b, ",\"");
        put(b, key);
        put(b, "_base64\":\"");
        put_base64(b, bytes, size);
        buf_put_u8(b, '"');
    }
}

void json_put_number(struct buf *b, const char *key, uint64_t value)
{
    char text[32];

    buf_put_u8(b, '"');
    put(b, key);
    snprintf(text, sizeof(text), "\":%" PRIu64, value);
    put(b, text);
}

void json_time(int64_t time_ns, char ret[JSON_TIME_SIZE])
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
    snprintf(ret, JSON_TIME_SIZE, "%s.%09" PRId64 "Z", date, part_ns);
}
