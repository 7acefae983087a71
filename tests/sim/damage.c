#include <stdio.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "sim.h"

/* Damage to what was stored, and the bound within which zabfs promises to lose nothing:
 *   - a quorum of members is sound: they have something of a leader's (before, a start needs all
 *     members) and hold all they ever acknowledged. A damaged member counts as damaged until it has
 * started again and its log is whole, or it was given a state;
 *   - disks are replaced one at a time, and only when the election that the member last voted in
 *     is over: an entry of that epoch, or a later one, is committed (docs/PROTOCOL.md, "Fresh
 *     members", says what may happen otherwise with five members and more);
 *   - a lost write is not one of the last batch: that cannot be told from a batch that was never
 *     written (docs/DISK_FORMAT.md, "What ends a log"). */

enum { BLOCK_BYTES = 4096, SECTOR_BYTES = 512, AT_BATCH = 500 };

bool damage_sound(const struct sim_member *m)
{
    return !m->damaged && m->disk.last > 0;
}

bool damage_allowed(const struct world *w, const struct sim_member *m)
{
    uint32_t others = 0;

    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        others += id != m->id && damage_sound(&w->members[id]);
    }
    return m->damaged || others >= sim_quorum(w);
}

bool damage_may_replace(const struct world *w, const struct sim_member *m)
{
    uint64_t voted = m->vote_epoch > m->disk.promised ? m->vote_epoch : m->disk.promised;

    for (size_t i = 0; i < m->pending_count; i++) {
        if (m->pending[i].type == STORE_OP_VOTE && m->pending[i].u.vote.promised_epoch > voted) {
            voted = m->pending[i].u.vote.promised_epoch;
        }
    }
    for (uint32_t id = 1; id <= w->mix.member_count; id++) {
        if (id != m->id && w->members[id].damaged) {
            return false;
        }
    }
    return damage_allowed(w, m) && w->ledger.count > 0 &&
           ledger_at(&w->ledger, w->ledger.count)->epoch >= voted;
}

void damage_mark(struct sim_member *m)
{
    m->damaged = true;
    m->damage_seen = false;
}

void damage_recovered(struct sim_member *m, const struct store_recovered *rec)
{
    m->meta_hit = false; /* one copy is made good from the other */
    m->damage_seen = m->damaged;
    if (m->damaged && !rec->faulty && !rec->is_new) {
        m->damaged = false;
        m->w->counts.heals++;
    }
}

/* It was given a state, and has made the promise that goes with it. */
void damage_look_healed(struct sim_member *m)
{
    if (m->damage_seen && m->installed > 0 && m->disk.promised > 0 &&
        m->view.applied >= m->installed && m->view.leader != 0) {
        m->damaged = false;
        m->w->counts.heals++;
    }
}

/* --- places ---------------------------------------------------------------------------------- */

static size_t file_count(const struct sim_member *m)
{
    size_t n = 0;

    while (memfs_name(m->fs, n) != NULL) {
        n++;
    }
    return n;
}

static bool starts(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* The last log file that has a header: the one that is written to. */
static const char *active_log(const struct sim_member *m)
{
    const char *last = NULL;

    for (size_t i = 0; i < file_count(m); i++) {
        const char *name = memfs_name(m->fs, i);
        size_t size;
        const uint8_t *bytes = memfs_bytes(m->fs, name, &size);

        if (starts(name, "log-") && size >= SECTOR_BYTES && !is_zero(bytes, SECTOR_BYTES) &&
            (last == NULL || strcmp(name, last) > 0)) {
            last = name;
        }
    }
    return last;
}

/* Block where the last batch of a log file begins; 0: it has none. */
static size_t last_batch(const uint8_t *bytes, size_t size)
{
    for (size_t at = size / SECTOR_BYTES * SECTOR_BYTES; at > BLOCK_BYTES; at -= SECTOR_BYTES) {
        const uint8_t *sector = bytes + at - SECTOR_BYTES;

        if (!is_zero(sector, SECTOR_BYTES)) {
            return bytes_get_u32(sector + AT_BATCH);
        }
    }
    return 0;
}

/* A block that was written, and not by the newest write to the log; false: there is none. */
static bool pick_block(struct sim_member *m, const char **ret_name, size_t *ret_block)
{
    const char *active = active_log(m);

    for (int tries = 0; tries < 20; tries++) {
        const char *name = memfs_name(m->fs, sim_below(m->w, file_count(m)));
        size_t size, blocks, block;
        const uint8_t *bytes = memfs_bytes(m->fs, name, &size);

        blocks = size / BLOCK_BYTES;
        if (active == NULL || (!starts(name, "log-") && !starts(name, "snap-")) || blocks == 0 ||
            (starts(name, "log-") && strcmp(name, active) > 0)) {
            continue;
        }
        if (strcmp(name, active) == 0) {
            blocks = last_batch(bytes, size);
            if (blocks == 0) {
                continue;
            }
        }
        block = sim_below(m->w, blocks);
        if (!is_zero(bytes + block * BLOCK_BYTES, BLOCK_BYTES)) {
            *ret_name = name;
            *ret_block = block;
            return true;
        }
    }
    return false;
}

/* --- kinds ----------------------------------------------------------------------------------- */

static bool rot_byte(struct sim_member *m, const char *name)
{
    size_t size, at;
    const uint8_t *bytes = memfs_bytes(m->fs, name, &size);

    if (size == 0) {
        return false;
    }
    at = sim_below(m->w, size);
    for (int tries = 0; tries < 50 && bytes[at] == 0; tries++) {
        at = sim_below(m->w, size); /* rather where something is */
    }
    sim_note(m->w, "member=%u rot %s at %zu", m->id, name, at);
    memfs_flip(m->fs, name, at);
    return true;
}

bool damage_rot(struct sim_member *m)
{
    const char *name;

    if (file_count(m) == 0) {
        return false;
    }
    name = memfs_name(m->fs, sim_below(m->w, file_count(m)));
    if (starts(name, "meta-")) {
        if (m->meta_hit || starts(name, "meta-0.") || starts(name, "meta-1.") ||
            !memfs_has(m->fs, "meta-0") || !memfs_has(m->fs, "meta-1")) {
            return false; /* the other copy is needed */
        }
        m->meta_hit = true;
        damage_mark(m);
        return rot_byte(m, name);
    }
    if (!starts(name, "log-") && !starts(name, "snap-")) {
        return false;
    }
    damage_mark(m);
    if (sim_chance(m->w, 20)) {
        size_t size;

        memfs_bytes(m->fs, name, &size);
        sim_note(m->w, "member=%u block of %s unreadable", m->id, name);
        memfs_spoil(m->fs, name, sim_below(m->w, size / BLOCK_BYTES + 1));
        return true;
    }
    return rot_byte(m, name);
}

/* The block keeps what it held before, zeros; misdirected, its content is somewhere else. */
bool damage_lose(struct sim_member *m, bool misdirected)
{
    static const uint8_t zeros[BLOCK_BYTES];
    uint8_t block[BLOCK_BYTES];
    const char *name, *other;
    size_t from, to, size;

    if (!pick_block(m, &name, &from)) {
        return false;
    }
    damage_mark(m);
    sim_note(m->w, "member=%u loses block %zu of %s", m->id, from, name);
    memcpy(block, memfs_bytes(m->fs, name, &size) + from * BLOCK_BYTES, BLOCK_BYTES);
    if (misdirected) {
        other = memfs_name(m->fs, sim_below(m->w, file_count(m)));
        memfs_bytes(m->fs, other, &size);
        to = size / BLOCK_BYTES > 0 ? sim_below(m->w, size / BLOCK_BYTES) : 0;
        if (size >= BLOCK_BYTES && (other != name || to != from)) {
            sim_note(m->w, "... which goes to block %zu of %s", to, other);
            memfs_set(m->fs, other, to * BLOCK_BYTES, block, BLOCK_BYTES);
        }
    }
    memfs_set(m->fs, name, from * BLOCK_BYTES, zeros, BLOCK_BYTES);
    return true;
}
