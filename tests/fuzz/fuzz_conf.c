/* Configuration of zabd: the text of a file, or, after a byte 'e', the list of `--ensemble`. What
 * is accepted is within its limits, and written out as a file it is accepted and the same again. */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "conf.h"
#include "mem.h"
#include "store.h"

static void check_limits(const struct conf *c)
{
    CHECK(c->member_count >= 1);
    CHECK(c->member_count <= MEMBERS_MAX);
    CHECK(conf_self(c) != NULL);
    CHECK(conf_self(c)->id == c->id);
    CHECK(c->data[0] != '\0');
    CHECK(c->heartbeat_ms > 0);
    CHECK(c->election_min_ms >= 3 * c->heartbeat_ms);
    CHECK(c->election_max_ms > c->election_min_ms);
    CHECK(c->snapshot_entries >= 10);
    CHECK(c->segment_size >= STORE_SEGMENT_SIZE_MIN);
    CHECK(c->value_size_max >= 1);
    CHECK(c->value_size_max <= VALUE_SIZE_MAX);
    for (uint32_t i = 0; i < c->member_count; i++) {
        const struct conf_member *m = &c->members[i];

        CHECK(m->id >= 1 && m->id <= 255);
        CHECK(i == 0 || m->id > c->members[i - 1].id);
        CHECK(m->host[0] != '\0');
        CHECK(memchr(m->host, '\0', sizeof(m->host)) != NULL);
        CHECK(m->peer_port > 0 && m->client_port > 0);
    }
}

enum { LINE_SIZE_MAX = 198 }; /* of a file, without its end */

static void put_line(struct buf *b, bool *ret_is_long, const char *key, const char *value)
{
    *ret_is_long = *ret_is_long || strlen(key) + strlen(value) > LINE_SIZE_MAX;
    buf_put(b, key, strlen(key));
    buf_put(b, value, strlen(value));
    buf_put(b, "\n", 1);
}

static void put_number(struct buf *b, bool *ret_is_long, const char *key, uint64_t number)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, number);
    put_line(b, ret_is_long, key, text);
}

static void put_conf(const struct conf *c, struct buf *b, bool *ret_is_long)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};

    put_number(b, ret_is_long, "[member]\nid=", c->id);
    put_line(b, ret_is_long, "data=", c->data);
    put_line(b, ret_is_long, "log_level=", levels[c->log_level]);
    put_number(b, ret_is_long, "[timing]\nheartbeat_ms=", c->heartbeat_ms);
    put_number(b, ret_is_long, "election_min_ms=", c->election_min_ms);
    put_number(b, ret_is_long, "election_max_ms=", c->election_max_ms);
    put_number(b, ret_is_long, "[storage]\nsnapshot_entries=", c->snapshot_entries);
    put_number(b, ret_is_long, "segment_size=", c->segment_size);
    put_number(b, ret_is_long, "[limits]\nvalue_size=", c->value_size_max);
    put_line(b, ret_is_long, "[ensemble]", "");
    for (uint32_t i = 0; i < c->member_count; i++) {
        const struct conf_member *m = &c->members[i];
        char id[16], address[300];

        (void)snprintf(id, sizeof(id), "%" PRIu32 "=", m->id);
        (void)snprintf(address, sizeof(address), "[%s]:%u:%u", m->host, m->peer_port,
                       m->client_port);
        put_line(b, ret_is_long, id, address);
    }
}

static void check_round_trip(const struct conf *c)
{
    char note[CONF_NOTE_SIZE];
    struct buf text = {0};
    struct conf again;
    bool is_long = false;
    int rc;

    put_conf(c, &text, &is_long);
    rc = conf_parse_text((const char *)text.data, text.size, &again, note);
    buf_done(&text);
    if (is_long) {
        CHECK(rc == 2);
        return;
    }
    CHECK(rc == 0);
    CHECK(again.id == c->id);
    CHECK(strcmp(again.data, c->data) == 0);
    CHECK(again.log_level == c->log_level);
    CHECK(again.heartbeat_ms == c->heartbeat_ms);
    CHECK(again.election_min_ms == c->election_min_ms);
    CHECK(again.election_max_ms == c->election_max_ms);
    CHECK(again.snapshot_entries == c->snapshot_entries);
    CHECK(again.segment_size == c->segment_size);
    CHECK(again.value_size_max == c->value_size_max);
    CHECK(again.member_count == c->member_count);
    for (uint32_t i = 0; i < c->member_count; i++) {
        CHECK(again.members[i].id == c->members[i].id);
        CHECK(strcmp(again.members[i].host, c->members[i].host) == 0);
    }
}

static int parse_ensemble_flag(char *list, struct conf *ret, char *note)
{
    char *argv[] = {"zabd", "--id", "1", "--data", "/d", "--ensemble", list, NULL};

    return conf_parse(7, argv, ret, note);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct conf c = {.id = 12345};
    char note[CONF_NOTE_SIZE];
    bool is_flag = size > 0 && bytes[0] == 'e';
    char *text = mem_alloc(size + 1);
    int rc;

    if (size > 0) {
        memcpy(text, bytes, size);
    }
    text[size] = '\0';
    rc = is_flag ? parse_ensemble_flag(text + 1, &c, note) : conf_parse_text(text, size, &c, note);
    if (rc == 0) {
        check_limits(&c);
        (void)conf_cluster(&c);
        check_round_trip(&c);
    } else {
        CHECK(rc == 2);
        CHECK(c.id == 12345);
        CHECK(note[0] != '\0');
        CHECK(memchr(note, '\0', sizeof(note)) != NULL);
    }
    mem_free(text);
    return 0;
}

void fuzz_seed(unsigned i, struct buf *b)
{
    static const char *const texts[] = {
        "[member]\nid = 1\ndata = /var/lib/zabd\n[ensemble]\n1 = 127.0.0.1:7101:7001\n",
        "; all there is\n[member]\nid = 2\ndata = /d\nname = prod\nunix = /run/zabd.sock\n"
        "log_level = debug\n[ensemble]\n1 = [::1]:1:2\n2 = node2:3:4\n255 = node3:65535:65535\n"
        "[timing]\nheartbeat_ms = 5\nelection_min_ms = 20\nelection_max_ms = 600000\n"
        "[storage]\nsnapshot_entries = 10\nsegment_size = 65536\n[limits]\nvalue_size = 8388608\n",
        "[member]\nid = 0\n",
        "[timing]\nheartbeat_ms = 18446744073709551616\n",
        "id = 1\n",
        "e1=a:1:2",
        "e1=[::1]:1:2,2=b:3:4,3=c:5:6",
        "e1=a:1:2,1=b:1:2",
    };
    const char *text = texts[i % (sizeof(texts) / sizeof(texts[0]))];

    buf_put(b, text, strlen(text));
}
