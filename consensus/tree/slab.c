#include "slab.h"

#include <string.h>
#include <utlist.h>

#include "check.h"
#include "mem.h"

/* A page begins with what is known of it, so that a piece finds that by its own address. Pieces
 * that were never used lie behind `fresh`; freed ones are a list of places, in units of SLAB_STEP,
 * through their own first bytes. A page goes back when it is empty and its size has another one
 * with room, so that a file that comes and goes does not take one and give it back each time. Where
 * memory is checked, freed pieces are marked as such.
 *
 * Pages get numbers when one is asked for, so that pages of what has none use none up. */

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)0)
#endif

struct slab_page {
    struct slab *slab;
    struct slab_page *prev, *next; /* in slab->pages, while it has room */
    uint16_t size;                 /* of a piece */
    uint16_t used;                 /* pieces in use */
    uint16_t freed;                /* place of the piece that was freed last; 0: none */
    uint16_t fresh;                /* place of the first that was never used */
    uint32_t number;               /* in slab->numbered; 0: none */
};

enum {
    /* What an allocator puts before a piece of its own fits in between two pages. */
    PAGE_END = SLAB_PAGE_SIZE - 16,
    /* The first piece; a piece may be freed at any place behind, so that 0 is none. */
    PAGE_BEGIN = (sizeof(struct slab_page) + 7) / 8 * 8,
};

_Static_assert(PAGE_BEGIN % 8 == 0, "the first piece is aligned");
_Static_assert(SLAB_PAGE_SIZE / 8 == 1 << SLAB_PLACE_BITS, "a place is told by its bits");
_Static_assert(SLAB_PAGE_SIZE / SLAB_STEP <= UINT16_MAX, "places fit");

static struct slab_page *page_of(const void *piece)
{
    return (struct slab_page *)((uintptr_t)piece & ~(uintptr_t)(SLAB_PAGE_SIZE - 1));
}

static struct slab_page **list_of(struct slab_page *p)
{
    return &p->slab->pages[p->size / SLAB_STEP];
}

static bool has_room(const struct slab_page *p)
{
    return p->freed != 0 || (size_t)p->fresh * SLAB_STEP + p->size <= PAGE_END;
}

static struct slab_page *page_new(struct slab *s, size_t size)
{
    struct slab_page *p = mem_alloc_aligned(SLAB_PAGE_SIZE, PAGE_END);

    *p = (struct slab_page){.slab = s, .size = (uint16_t)size, .fresh = PAGE_BEGIN / SLAB_STEP};
    ASAN_POISON_MEMORY_REGION((uint8_t *)p + PAGE_BEGIN, PAGE_END - PAGE_BEGIN);
    DL_PREPEND(*list_of(p), p);
    return p;
}

static void page_free(struct slab_page *p)
{
    struct slab *s = p->slab;

    if (p->number != 0) {
        s->numbered[p->number] = (uint8_t *)s->unused;
        s->unused = p->number;
    }
    DL_DELETE(*list_of(p), p);
    ASAN_UNPOISON_MEMORY_REGION((uint8_t *)p + PAGE_BEGIN, PAGE_END - PAGE_BEGIN);
    mem_free(p);
}

void *slab_alloc(struct slab *s, size_t size)
{
    size_t at = (size + SLAB_STEP - 1) / SLAB_STEP;
    struct slab_page *p;
    uint8_t *piece;

    CHECK(at > 0 && at <= SLAB_SIZE_MAX / SLAB_STEP);
    p = s->pages[at] != NULL ? s->pages[at] : page_new(s, at * SLAB_STEP);
    if (p->freed != 0) {
        piece = (uint8_t *)p + (size_t)p->freed * SLAB_STEP;
        ASAN_UNPOISON_MEMORY_REGION(piece, p->size);
        memcpy(&p->freed, piece, sizeof(p->freed));
    } else {
        piece = (uint8_t *)p + (size_t)p->fresh * SLAB_STEP;
        ASAN_UNPOISON_MEMORY_REGION(piece, p->size);
        p->fresh = (uint16_t)(p->fresh + at);
    }
    p->used++;
    s->count++;
    if (!has_room(p)) {
        DL_DELETE(*list_of(p), p);
    }
    return piece;
}

void slab_free(void *piece)
{
    struct slab_page *p = page_of(piece);
    size_t place = (size_t)((uint8_t *)piece - (uint8_t *)p) / SLAB_STEP;

    CHECK(p->used > 0);
    if (!has_room(p)) {
        DL_PREPEND(*list_of(p), p);
    }
    memcpy(piece, &p->freed, sizeof(p->freed));
    ASAN_POISON_MEMORY_REGION(piece, p->size);
    p->freed = (uint16_t)place;
    p->used--;
    p->slab->count--;
    if (p->used == 0 && p->prev != p) {
        page_free(p);
    }
}

void *slab_zalloc(struct slab *s, size_t size)
{
    size_t whole = (size + 7) / 8 * 8;

    return memset(slab_alloc(s, whole), 0, whole);
}

static void page_number(struct slab_page *p)
{
    struct slab *s = p->slab;

    if (s->unused != 0) {
        p->number = (uint32_t)s->unused;
        s->unused = (uintptr_t)s->numbered[p->number];
    } else {
        if (s->numbered_count + 1 >= s->numbered_cap) {
            s->numbered_cap = s->numbered_cap > 0 ? 2 * s->numbered_cap : 8;
            s->numbered = mem_realloc(s->numbered, s->numbered_cap * sizeof(uint8_t *));
        }
        p->number = ++s->numbered_count;
        CHECK(p->number <= UINT32_MAX >> SLAB_PLACE_BITS);
    }
    s->numbered[p->number] = (uint8_t *)p;
}

uint32_t slab_ref(const void *piece)
{
    struct slab_page *p = page_of(piece);

    if (p->number == 0) {
        page_number(p);
    }
    return p->number << SLAB_PLACE_BITS | (uint32_t)((uintptr_t)piece % SLAB_PAGE_SIZE / 8);
}

struct slab *slab_of(const void *piece)
{
    return page_of(piece)->slab;
}

void slab_done(struct slab *s)
{
    CHECK(s->count == 0);
    for (size_t i = 0; i <= SLAB_SIZE_MAX / SLAB_STEP; i++) {
        while (s->pages[i] != NULL) {
            page_free(s->pages[i]);
        }
    }
    mem_free(s->numbered);
    *s = (struct slab){0};
}
