#include "store/index_build.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "core/buf.h"
#include "core/durable.h"
#include "core/os.h"
#include "core/slice.h"
#include "store/index_write.h"

enum {
    MEMORY_LEAST = 1 << 20,
    FIRST_ENTRIES = 1024,
    FIRST_SLOTS = 64,
    SMALL_SORT = 24,  /* up to here insertion sort is faster */
    SPILL_PAGES = 64, /* pages gathered for one write */
    MAX_SPILLS = 1 << 14,
};

struct entry {
    uint8_t bytes[DZ_INDEX_ENTRY];
};

struct spill {
    uint64_t at, pages;
};

struct dz_index_builder {
    int tmpfd;
    uint8_t vault_id[DZ_INDEX_ID_LEN];
    struct entry *entries; /* owned */
    size_t count, cap, most;
    uint64_t total;

    dz_buf packs;       /* names in the order of their ordinals */
    uint32_t *slots;    /* owned; hash table of ordinal + 1 */
    size_t slot_count;  /* a power of two */
    uint32_t last;      /* ordinal of the last pack added to */
    uint64_t slot_salt; /* so that chosen pack names cannot pile up in one slot */

    int spill_fd; /* -1 until the first spill; has no name */
    uint8_t spill_id[DZ_INDEX_ID_LEN];
    uint64_t spill_end;
    struct spill *spills; /* owned */
    size_t spill_count;
};

dz_status dz_index_builder_new(int tmpfd, const uint8_t vault_id[DZ_INDEX_ID_LEN], size_t memory,
                               struct dz_index_builder **ret_builder, dz_err *err) {
    DZ_AUTO(dz_index_builder) b = calloc(1, sizeof *b);

    if (!b)
        return DZ_FAIL(err, DZ_E_NOMEM, "index builder: out of memory");
    b->tmpfd = tmpfd;
    b->spill_fd = -1;
    b->most = (memory < MEMORY_LEAST ? MEMORY_LEAST : memory) / sizeof(struct entry);
    memcpy(b->vault_id, vault_id, sizeof b->vault_id);
    if (getrandom(&b->slot_salt, sizeof b->slot_salt, 0) != (ssize_t) sizeof b->slot_salt)
        return DZ_FAIL_ERRNO(err, "index builder: no randomness");
    *ret_builder = DZ_TAKE(b);
    return DZ_OK;
}

void dz_index_builder_free(struct dz_index_builder *b) {
    if (!b)
        return;
    if (b->spill_fd >= 0)
        (void) dz_os->close(b->spill_fd);
    dz_buf_release(&b->packs);
    free(b->slots);
    free(b->spills);
    free(b->entries);
    free(b);
}

/* ---- packs: name -> ordinal ---- */

static size_t pack_count(const struct dz_index_builder *b) {
    return b->packs.len / DZ_PACK_NAME_LEN;
}
static const uint8_t *pack_name(const struct dz_index_builder *b, size_t ordinal) {
    return b->packs.data + ordinal * DZ_PACK_NAME_LEN;
}

/* The slot that holds the name, or the free one where it belongs. */
static size_t slot_of(const struct dz_index_builder *b, const uint8_t *pack) {
    size_t mask = b->slot_count - 1;
    size_t i = (size_t) XXH3_64bits_withSeed(pack, DZ_PACK_NAME_LEN, b->slot_salt) & mask;

    while (b->slots[i] && memcmp(pack_name(b, b->slots[i] - 1), pack, DZ_PACK_NAME_LEN) != 0)
        i = (i + 1) & mask;
    return i;
}

static dz_status grow_slots(struct dz_index_builder *b, dz_err *err) {
    size_t n = b->slot_count ? b->slot_count * 2 : FIRST_SLOTS;
    uint32_t *slots = calloc(n, sizeof *slots);

    if (!slots)
        return DZ_FAIL(err, DZ_E_NOMEM, "index builder: %zu packs: out of memory", n);
    free(b->slots);
    b->slots = slots;
    b->slot_count = n;
    for (size_t i = 0; i < pack_count(b); i++)
        b->slots[slot_of(b, pack_name(b, i))] = (uint32_t) i + 1;
    return DZ_OK;
}

dz_status dz_index_builder_cover(struct dz_index_builder *b, const uint8_t pack[DZ_PACK_NAME_LEN],
                                 dz_err *err) {
    size_t n = pack_count(b), slot;

    if (n > 0 && memcmp(pack_name(b, b->last), pack, DZ_PACK_NAME_LEN) == 0)
        return DZ_OK;
    if (2 * (n + 1) > b->slot_count)
        DZ_TRY(grow_slots(b, err));
    slot = slot_of(b, pack);
    if (b->slots[slot] == 0) {
        if (n >= DZ_INDEX_MAX_PACKS)
            return DZ_FAIL(err, DZ_E_LIMIT, "index builder: more than %d packs",
                           DZ_INDEX_MAX_PACKS);
        dz_buf_put(&b->packs, pack, DZ_PACK_NAME_LEN);
        if (!dz_buf_ok(&b->packs))
            return DZ_FAIL(err, DZ_E_NOMEM, "index builder: %zu packs: out of memory", n + 1);
        b->slots[slot] = (uint32_t) n + 1;
    }
    b->last = b->slots[slot] - 1;
    return DZ_OK;
}

/* ---- sorting by name: in place, a byte at a time (McIlroy, Bostic, McIlroy, "Engineering Radix
 * Sort", 1993).  Names are uniform, so three or four levels leave nothing to do. ---- */

static void insertion_sort(struct entry *e, size_t n) {
    for (size_t i = 1; i < n; i++) {
        struct entry moving = e[i];
        size_t k = i;
        for (; k > 0 && memcmp(e[k - 1].bytes, moving.bytes, DZ_CHUNK_NAME_LEN) > 0; k--)
            e[k] = e[k - 1];
        e[k] = moving;
    }
}

static void radix_sort(struct entry *e, size_t n, unsigned depth) {
    size_t next[256], end[256] = { 0 }, at = 0;

    if (depth == DZ_CHUNK_NAME_LEN) /* all the same name */
        return;
    if (n <= SMALL_SORT) {
        insertion_sort(e, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        end[e[i].bytes[depth]]++;
    for (unsigned v = 0; v < 256; v++) {
        next[v] = at;
        at += end[v];
        end[v] = at;
    }
    for (unsigned v = 0; v < 256; v++)
        while (next[v] < end[v]) {
            struct entry moving = e[next[v]];
            uint8_t to = moving.bytes[depth];
            while (to != v) { /* follow the cycle until one belongs here */
                struct entry there = e[next[to]];
                e[next[to]++] = moving;
                moving = there;
                to = moving.bytes[depth];
            }
            e[next[v]++] = moving;
        }
    at = 0;
    for (unsigned v = 0; v < 256; v++) {
        if (end[v] - at > 1)
            radix_sort(e + at, end[v] - at, depth + 1);
        at = end[v];
    }
}

/* ---- spilling ---- */

static dz_status open_spill(struct dz_index_builder *b, dz_err *err) {
    char name[DZ_TEMP_NAME_MAX];
    int fd;

    if (getrandom(b->spill_id, sizeof b->spill_id, 0) != (ssize_t) sizeof b->spill_id)
        return DZ_FAIL_ERRNO(err, "index builder: no randomness");
    DZ_TRY(dz_durable_temp(b->tmpfd, name, &fd, err));
    b->spill_fd = fd;
    if (dz_os->unlinkat(b->tmpfd, name, 0) < 0)
        return DZ_FAIL_ERRNO(err, "index builder: unlinking %s", name);
    return DZ_OK;
}

static dz_status write_spill(struct dz_index_builder *b, struct spill *sp, dz_err *err) {
    dz_autofree uint8_t *out = malloc((size_t) SPILL_PAGES * DZ_INDEX_PAGE);
    size_t taken = 0;

    if (!out)
        return DZ_FAIL(err, DZ_E_NOMEM, "index builder: out of memory");
    while (taken < b->count) {
        uint64_t at = sp->at + sp->pages * DZ_INDEX_PAGE;
        unsigned full = 0;

        for (; full < SPILL_PAGES && taken < b->count; full++) {
            uint8_t *page = out + (size_t) full * DZ_INDEX_PAGE;
            size_t left = b->count - taken;
            unsigned n = left < DZ_INDEX_PAGE_ENTRIES ? (unsigned) left : DZ_INDEX_PAGE_ENTRIES;
            size_t used = DZ_INDEX_PAGE_HEAD + (size_t) n * DZ_INDEX_ENTRY;

            memcpy(page + DZ_INDEX_PAGE_HEAD, &b->entries[taken], (size_t) n * DZ_INDEX_ENTRY);
            memset(page + used, 0, DZ_INDEX_PAGE - used);
            dz_index_page_seal(page, b->spill_id, (uint32_t) sp->pages++, n);
            taken += n;
        }
        if (dz_pwrite_all(b->spill_fd, out, (size_t) full * DZ_INDEX_PAGE, at) < 0)
            return DZ_FAIL_ERRNO(err, "index builder: spilling at %" PRIu64, at);
    }
    return DZ_OK;
}

static dz_status spill(struct dz_index_builder *b, dz_err *err) {
    struct spill sp = { .at = b->spill_end };

    if (b->spill_fd < 0)
        DZ_TRY(open_spill(b, err));
    if (b->spill_count == MAX_SPILLS)
        return DZ_FAIL(err, DZ_E_LIMIT, "index builder: %d spills; give it more memory",
                       MAX_SPILLS);
    if ((b->spill_count & (b->spill_count - 1)) == 0) { /* grow at powers of two */
        size_t cap = b->spill_count ? b->spill_count * 2 : 1;
        struct spill *grown = reallocarray(b->spills, cap, sizeof *grown);
        if (!grown)
            return DZ_FAIL(err, DZ_E_NOMEM, "index builder: out of memory");
        b->spills = grown;
    }
    radix_sort(b->entries, b->count, 0);
    DZ_TRY(write_spill(b, &sp, err));
    b->spill_end = sp.at + sp.pages * DZ_INDEX_PAGE;
    b->spills[b->spill_count++] = sp;
    b->count = 0;
    return DZ_OK;
}

static dz_status make_room(struct dz_index_builder *b, dz_err *err) {
    size_t cap = b->cap ? b->cap * 2 : FIRST_ENTRIES;
    struct entry *grown;

    if (b->cap == b->most)
        return spill(b, err);
    if (cap > b->most)
        cap = b->most;
    grown = reallocarray(b->entries, cap, sizeof *grown);
    if (!grown)
        return DZ_FAIL(err, DZ_E_NOMEM, "index builder: %zu entries: out of memory", cap);
    b->entries = grown;
    b->cap = cap;
    return DZ_OK;
}

dz_status dz_index_builder_add(struct dz_index_builder *b, const uint8_t name[DZ_CHUNK_NAME_LEN],
                               const dz_place *place, dz_err *err) {
    uint8_t *e;

    if (b->total == DZ_INDEX_MAX_ENTRIES)
        return DZ_FAIL(err, DZ_E_LIMIT, "index builder: more than %" PRIu64 " entries",
                       DZ_INDEX_MAX_ENTRIES);
    DZ_TRY(dz_index_builder_cover(b, place->pack, err));
    if (b->count == b->cap)
        DZ_TRY(make_room(b, err));
    e = b->entries[b->count++].bytes;
    b->total++;
    memcpy(e, name, DZ_CHUNK_NAME_LEN);
    dz_store_le(e + 16, 4, b->last);
    dz_store_le(e + 20, 4, place->seg_offset);
    dz_store_le(e + 24, 4, place->seg_len);
    dz_store_le(e + 28, 2, place->slot);
    e[30] = place->type;
    e[31] = 0; /* flags, none known */
    return DZ_OK;
}

uint64_t dz_index_builder_count(const struct dz_index_builder *b) {
    return b->total;
}
bool dz_index_builder_empty(const struct dz_index_builder *b) {
    return b->packs.len == 0;
}

/* ---- finishing ---- */

struct named {
    uint8_t name[DZ_PACK_NAME_LEN];
    uint32_t ordinal;
};

static int by_name(const void *a, const void *b) {
    return memcmp(a, b, DZ_PACK_NAME_LEN);
}

/* Sorts the pack list in place and fills ordinal[as added] = place in the sorted list. */
static dz_status sort_packs(struct dz_index_builder *b, uint32_t *ordinal, dz_err *err) {
    size_t n = pack_count(b);
    dz_autofree struct named *order = calloc(n ? n : 1, sizeof *order);

    if (!order)
        return DZ_FAIL(err, DZ_E_NOMEM, "index builder: %zu packs: out of memory", n);
    for (size_t i = 0; i < n; i++) {
        memcpy(order[i].name, pack_name(b, i), DZ_PACK_NAME_LEN);
        order[i].ordinal = (uint32_t) i;
    }
    qsort(order, n, sizeof *order, by_name);
    for (size_t i = 0; i < n; i++) {
        memcpy(b->packs.data + i * DZ_PACK_NAME_LEN, order[i].name, DZ_PACK_NAME_LEN);
        ordinal[order[i].ordinal] = (uint32_t) i;
    }
    return DZ_OK;
}

dz_status dz_index_builder_finish(struct dz_index_builder *b, int indexdirfd,
                                  uint8_t ret_id[DZ_INDEX_ID_LEN], dz_err *err) {
    size_t packs = pack_count(b);
    dz_autofree uint32_t *ordinal = calloc(packs ? packs : 1, sizeof *ordinal);
    dz_autofree dz_index_source *sources = NULL;
    size_t n;

    if (!ordinal)
        return DZ_FAIL(err, DZ_E_NOMEM, "index builder: %zu packs: out of memory", packs);
    if (b->spill_count > 0 && b->count > 0)
        DZ_TRY(spill(b, err));
    n = b->spill_count ? b->spill_count : b->count > 0;
    sources = calloc(n ? n : 1, sizeof *sources);
    if (!sources)
        return DZ_FAIL(err, DZ_E_NOMEM, "index builder: out of memory");
    if (b->spill_count > 0) { /* the merge needs the memory more */
        free(DZ_TAKE(b->entries));
        b->cap = 0;
    } else {
        radix_sort(b->entries, b->count, 0);
    }
    DZ_TRY(sort_packs(b, ordinal, err));
    for (size_t i = 0; i < n; i++) {
        sources[i].ordinal = ordinal;
        sources[i].ordinals = packs;
        if (b->spill_count > 0) {
            sources[i].fd = b->spill_fd;
            sources[i].at = b->spills[i].at;
            sources[i].pages = b->spills[i].pages;
            sources[i].sum_id = b->spill_id;
        } else {
            sources[i].entries = b->entries[0].bytes;
            sources[i].count = b->count;
        }
    }
    return dz_index_write_run(b->tmpfd, indexdirfd,
                              &(dz_index_run_plan){ .vault_id = b->vault_id,
                                                    .packs = b->packs.data,
                                                    .pack_count = packs,
                                                    .entries_at_most = b->total },
                              sources, n, ret_id, err);
}
