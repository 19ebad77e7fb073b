#include "store/index_run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/durable.h"
#include "core/hex.h"
#include "core/os.h"
#include "core/slice.h"

enum { HEADER_SUM_AT = DZ_INDEX_PAGE - 8, VERSION = 1 };

struct dz_index_run {
    int fd;
    uint8_t id[DZ_INDEX_ID_LEN];
    char hex[2 * DZ_INDEX_ID_LEN + 1]; /* for messages */
    dz_index_shape shape;
    dz_index_layout lay;
    uint64_t *sums; /* owned; one per region */
    /* Owned; NULL until first use.  Set once, by whoever read and checked the region first. */
    _Atomic(uint8_t *) *region;
    atomic_bool damaged;
    _Atomic uint64_t pages_read;
};

__extension__ typedef unsigned __int128 uint128;

/* Maps 64 uniform bits to 0 .. n-1, keeping their order. */
static inline uint64_t scale(uint64_t bits, uint64_t n) {
    return (uint64_t) (((uint128) bits * n) >> 64);
}

static inline uint64_t load_be64(const uint8_t *p) {
    return (uint64_t) p[0] << 56 | (uint64_t) p[1] << 48 | (uint64_t) p[2] << 40 |
           (uint64_t) p[3] << 32 | (uint64_t) p[4] << 24 | (uint64_t) p[5] << 16 |
           (uint64_t) p[6] << 8 | (uint64_t) p[7];
}

bool dz_index_layout_of(const dz_index_shape *s, dz_index_layout *ret_layout) {
    dz_index_layout l = { 0 };
    uint64_t at;

    if (s->entries > DZ_INDEX_MAX_ENTRIES || s->packs > DZ_INDEX_MAX_PACKS ||
        s->filter_blocks == 0 || s->filter_blocks > DZ_INDEX_MAX_BLOCKS ||
        s->filter_blocks % (DZ_INDEX_PAGE / DZ_INDEX_BLOCK) != 0 || s->pages > s->entries ||
        s->entries > s->pages * DZ_INDEX_PAGE_ENTRIES)
        return false;
    l.len[DZ_INDEX_FILTER] = s->filter_blocks * DZ_INDEX_BLOCK;
    l.len[DZ_INDEX_FENCES] = s->pages * DZ_CHUNK_NAME_LEN;
    l.len[DZ_INDEX_PACKS] = s->packs * DZ_PACK_NAME_LEN;

    l.at[DZ_INDEX_FILTER] = DZ_INDEX_PAGE;
    l.pages_at = l.at[DZ_INDEX_FILTER] + l.len[DZ_INDEX_FILTER];
    at = l.pages_at + s->pages * DZ_INDEX_PAGE;
    l.at[DZ_INDEX_FENCES] = at;
    l.at[DZ_INDEX_PACKS] = at + l.len[DZ_INDEX_FENCES];
    l.sums_at = l.at[DZ_INDEX_PACKS] + l.len[DZ_INDEX_PACKS];
    for (unsigned i = 0; i < DZ_INDEX_SECTIONS; i++) {
        l.first[i] = l.regions;
        l.regions += (uint32_t) ((l.len[i] + DZ_INDEX_REGION - 1) / DZ_INDEX_REGION);
    }
    l.file_bytes = l.sums_at + (uint64_t) l.regions * 8;
    *ret_layout = l;
    return true;
}

uint64_t dz_index_sum(const uint8_t run_id[DZ_INDEX_ID_LEN], enum dz_index_sum kind,
                      uint64_t number, const void *bytes, size_t len) {
    uint64_t seed = dz_load_le(run_id, 8) + ((uint64_t) kind << 56) + number;
    return XXH3_64bits_withSeed(bytes, len, seed);
}

void dz_index_page_seal(uint8_t page[DZ_INDEX_PAGE], const uint8_t run_id[DZ_INDEX_ID_LEN],
                        uint32_t number, unsigned count) {
    memset(page, 0, DZ_INDEX_PAGE_HEAD);
    dz_store_le(page + 8, 4, number);
    dz_store_le(page + 12, 2, count);
    dz_store_le(
        page, 8,
        dz_index_sum(run_id, DZ_INDEX_SUM_PAGE, number, page + 8, (size_t) DZ_INDEX_PAGE - 8));
}

dz_status dz_index_page_check(const uint8_t page[DZ_INDEX_PAGE],
                              const uint8_t run_id[DZ_INDEX_ID_LEN], uint32_t number,
                              uint64_t packs, unsigned *ret_count, dz_err *err) {
    unsigned count = (unsigned) dz_load_le(page + 12, 2);
    const uint8_t *e = page + DZ_INDEX_PAGE_HEAD;

    if (dz_load_le(page, 8) !=
        dz_index_sum(run_id, DZ_INDEX_SUM_PAGE, number, page + 8, (size_t) DZ_INDEX_PAGE - 8))
        return DZ_FAIL(err, DZ_E_CORRUPT, "index: page %" PRIu32 " fails its checksum", number);
    if (dz_load_le(page + 8, 4) != number || count == 0 || count > DZ_INDEX_PAGE_ENTRIES)
        return DZ_FAIL(err, DZ_E_CORRUPT, "index: page %" PRIu32 " has a wrong head", number);
    for (unsigned i = 0; i < count; i++, e += DZ_INDEX_ENTRY) {
        if (i > 0 && memcmp(e - DZ_INDEX_ENTRY, e, DZ_CHUNK_NAME_LEN) > 0)
            return DZ_FAIL(err, DZ_E_CORRUPT, "index: page %" PRIu32 " is not sorted", number);
        if (dz_load_le(e + 16, 4) >= packs)
            return DZ_FAIL(err, DZ_E_CORRUPT, "index: page %" PRIu32 " names no known pack",
                           number);
    }
    *ret_count = count;
    return DZ_OK;
}

/* One bit in each of the eight 64-bit words of a block, six bits of the name for each: at 24 bits
 * per key about 1 of 10,000 absent names passes.  The block comes from the name's first half and
 * the bits from its second, so they are independent. */
static inline void filter_probe(const uint8_t *name, unsigned word, unsigned *ret_byte,
                                uint8_t *ret_mask) {
    unsigned bit = (unsigned) (load_be64(name + 8) >> (6 * word)) & 63;
    *ret_byte = word * 8 + bit / 8;
    *ret_mask = (uint8_t) (1u << (bit % 8));
}

uint64_t dz_index_filter_block(const uint8_t name[DZ_CHUNK_NAME_LEN], uint64_t blocks) {
    return scale(load_be64(name), blocks);
}

void dz_index_filter_set(uint8_t block[DZ_INDEX_BLOCK], const uint8_t name[DZ_CHUNK_NAME_LEN]) {
    for (unsigned word = 0; word < 8; word++) {
        unsigned byte;
        uint8_t mask;
        filter_probe(name, word, &byte, &mask);
        block[byte] |= mask;
    }
}

static bool filter_has(const uint8_t *block, const uint8_t *name) {
    for (unsigned word = 0; word < 8; word++) {
        unsigned byte;
        uint8_t mask;
        filter_probe(name, word, &byte, &mask);
        if (!(block[byte] & mask))
            return false;
    }
    return true;
}

/* ---- opening ---- */

static dz_status read_header(struct dz_index_run *run, const uint8_t *vault_id, uint64_t size,
                             uint64_t *ret_table_sum, dz_err *err) {
    uint8_t head[DZ_INDEX_PAGE];
    dz_reader r = dz_reader_over((dz_slice){ head, sizeof head });
    dz_slice magic, vault, id;
    uint64_t incompat, file_bytes, table_sum;
    uint32_t version, head_bytes;

    if (size < DZ_INDEX_PAGE)
        return DZ_FAIL(err, DZ_E_CORRUPT, "index run %s: %" PRIu64 " bytes is no run", run->hex,
                       size);
    if (dz_pread_all(run->fd, head, sizeof head, 0) < 0)
        return errno == EIO || errno == ENODATA
                   ? DZ_FAIL(err, DZ_E_CORRUPT, "index run %s: header unreadable", run->hex)
                   : DZ_FAIL_ERRNO(err, "index run %s: reading header", run->hex);
    magic = dz_read_bytes(&r, 8);
    version = dz_read_le32(&r);
    head_bytes = dz_read_le32(&r);
    (void) dz_read_le64(&r); /* compatible features: what we do not know we may ignore */
    incompat = dz_read_le64(&r);
    vault = dz_read_bytes(&r, DZ_INDEX_ID_LEN);
    id = dz_read_bytes(&r, DZ_INDEX_ID_LEN);
    run->shape.entries = dz_read_le64(&r);
    run->shape.filter_blocks = dz_read_le64(&r);
    run->shape.pages = dz_read_le64(&r);
    run->shape.packs = dz_read_le64(&r);
    file_bytes = dz_read_le64(&r);
    table_sum = dz_read_le64(&r);

    /* The checksum first: a damaged version number is damage, not a newer dozo. */
    if (!dz_slice_eq(magic, DZ_SLICE_LIT(DZ_INDEX_MAGIC)) ||
        dz_load_le(head + HEADER_SUM_AT, 8) != XXH3_64bits(head, HEADER_SUM_AT))
        return DZ_FAIL(err, DZ_E_CORRUPT, "index run %s: header fails its checksum", run->hex);
    if (version != VERSION || head_bytes != DZ_INDEX_PAGE || incompat != 0)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED,
                       "index run %s: version %" PRIu32 ", features %" PRIx64
                       "; this dozo reads version %d",
                       run->hex, version, incompat, VERSION);
    if (!dz_slice_eq(id, (dz_slice){ run->id, sizeof run->id }) ||
        !dz_slice_eq(vault, (dz_slice){ vault_id, DZ_INDEX_ID_LEN }))
        return DZ_FAIL(err, DZ_E_CORRUPT, "index run %s: belongs to another vault or name",
                       run->hex);
    if (!dz_index_layout_of(&run->shape, &run->lay))
        return DZ_FAIL(err, DZ_E_CORRUPT, "index run %s: impossible counts", run->hex);
    if (file_bytes != run->lay.file_bytes || size != run->lay.file_bytes)
        return DZ_FAIL(err, DZ_E_CORRUPT,
                       "index run %s: %" PRIu64 " bytes, its counts need %" PRIu64, run->hex, size,
                       run->lay.file_bytes);
    *ret_table_sum = table_sum;
    return DZ_OK;
}

static dz_status read_table(struct dz_index_run *run, uint64_t table_sum, dz_err *err) {
    size_t n = run->lay.regions; /* at least one: the filter is never empty */

    run->sums = malloc(n * sizeof *run->sums);
    run->region = calloc(n, sizeof *run->region);
    if (!run->sums || !run->region)
        return DZ_FAIL(err, DZ_E_NOMEM, "index run %s: %zu regions: out of memory", run->hex, n);
    if (dz_pread_all(run->fd, run->sums, n * 8, (off_t) run->lay.sums_at) < 0)
        return errno == EIO || errno == ENODATA
                   ? DZ_FAIL(err, DZ_E_CORRUPT, "index run %s: checksums unreadable", run->hex)
                   : DZ_FAIL_ERRNO(err, "index run %s: reading checksums", run->hex);
    if (table_sum != dz_index_sum(run->id, DZ_INDEX_SUM_TABLE, 0, run->sums, n * 8))
        return DZ_FAIL(err, DZ_E_CORRUPT, "index run %s: table of checksums fails its checksum",
                       run->hex);
    for (size_t i = 0; i < n; i++)
        run->sums[i] = dz_load_le((const uint8_t *) &run->sums[i], 8);
    return DZ_OK;
}

dz_status dz_index_run_open(int fd, const uint8_t id[DZ_INDEX_ID_LEN],
                            const uint8_t vault_id[DZ_INDEX_ID_LEN], struct dz_index_run **ret_run,
                            dz_err *err) {
    DZ_AUTO(dz_index_run) run = calloc(1, sizeof *run);
    uint64_t table_sum;
    struct stat st;

    if (!run) {
        (void) dz_os->close(fd);
        return DZ_FAIL(err, DZ_E_NOMEM, "index: out of memory");
    }
    run->fd = fd;
    memcpy(run->id, id, sizeof run->id);
    dz_hex(id, DZ_INDEX_ID_LEN, run->hex);
    if (dz_os->fstat(fd, &st) < 0)
        return DZ_FAIL_ERRNO(err, "index run %s: size", run->hex);
    if (!S_ISREG(st.st_mode) || st.st_size < 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "index run %s: not a regular file", run->hex);
    DZ_TRY(read_header(run, vault_id, (uint64_t) st.st_size, &table_sum, err));
    DZ_TRY(read_table(run, table_sum, err));
    /* Names are uniform: reading ahead of an entry page would only push others out. */
    (void) posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    *ret_run = DZ_TAKE(run);
    return DZ_OK;
}

void dz_index_run_close(struct dz_index_run *run) {
    if (!run)
        return;
    for (uint32_t i = 0; run->region && i < run->lay.regions; i++)
        free(atomic_load_explicit(&run->region[i], memory_order_relaxed));
    free(run->region);
    free(run->sums);
    (void) dz_os->close(run->fd);
    free(run);
}

/* ---- reading ---- */

/* Damage is remembered: after it, only a fresh open may trust this run again. */
static dz_status damaged(struct dz_index_run *run, dz_status status, dz_err *err) {
    if (status == DZ_E_CORRUPT)
        atomic_store_explicit(&run->damaged, true, memory_order_relaxed);
    return dz_err_context(err, status, "index run %s", run->hex);
}

static dz_status read_failed(struct dz_index_run *run, const char *what, uint64_t number,
                             dz_err *err) {
    /* A sector that cannot be read and a file that shrank are damage: the run can be rebuilt. */
    if (errno == EIO || errno == ENODATA)
        return damaged(
            run, DZ_FAIL(err, DZ_E_CORRUPT, "%s %" PRIu64 " is unreadable", what, number), err);
    return DZ_FAIL_ERRNO(err, "index run %s: reading %s %" PRIu64, run->hex, what, number);
}

static dz_status load_region(struct dz_index_run *run, enum dz_index_section s, uint32_t within,
                             const uint8_t **ret_bytes, dz_err *err) {
    uint32_t number = run->lay.first[s] + within;
    uint64_t skip = (uint64_t) within * DZ_INDEX_REGION;
    uint64_t left = run->lay.len[s] - skip;
    size_t len = left < DZ_INDEX_REGION ? (size_t) left : DZ_INDEX_REGION;
    /* Aligned, so that a filter block is one cache line. */
    dz_autofree uint8_t *bytes = aligned_alloc(64, (len + 63) / 64 * 64);
    uint8_t *there = NULL;

    if (!bytes)
        return DZ_FAIL(err, DZ_E_NOMEM, "index run %s: region of %zu bytes: out of memory",
                       run->hex, len);
    if (dz_pread_all(run->fd, bytes, len, (off_t) (run->lay.at[s] + skip)) < 0)
        return read_failed(run, "region", number, err);
    if (run->sums[number] != dz_index_sum(run->id, DZ_INDEX_SUM_REGION, number, bytes, len))
        return damaged(run,
                       DZ_FAIL(err, DZ_E_CORRUPT,
                               "region %" PRIu32 " at byte %" PRIu64 " fails its checksum", number,
                               run->lay.at[s] + skip),
                       err);
    /* Another thread may have been faster; its copy is as good, and others may hold it. */
    if (atomic_compare_exchange_strong_explicit(&run->region[number], &there, bytes,
                                                memory_order_acq_rel, memory_order_acquire))
        there = DZ_TAKE(bytes);
    *ret_bytes = there;
    return DZ_OK;
}

/* Gives the byte at `at` of a section and what follows it in its region.  Blocks, fences and pack
 * names divide a region, so none of them is cut. */
static inline dz_status section_at(struct dz_index_run *run, enum dz_index_section s, uint64_t at,
                                   const uint8_t **ret_bytes, dz_err *err) {
    uint32_t within = (uint32_t) (at / DZ_INDEX_REGION);
    const uint8_t *bytes =
        atomic_load_explicit(&run->region[run->lay.first[s] + within], memory_order_acquire);

    if (!bytes)
        DZ_TRY(load_region(run, s, within, &bytes, err));
    *ret_bytes = bytes + at % DZ_INDEX_REGION;
    return DZ_OK;
}

/* Counts the fences that are not above the name: the page before that many is the one that could
 * hold it.  Names are uniform, so the search starts near its end and gallops. */
static dz_status count_fences(struct dz_index_run *run, const uint8_t *name, uint64_t *ret_count,
                              dz_err *err) {
    uint64_t low = 0, high = run->shape.pages, step = 16;
    uint64_t probe = scale(load_be64(name), high);
    bool first = true, gallop = true, up = false;

    while (low < high) { /* low <= answer <= high, low <= probe < high */
        const uint8_t *fence;
        bool not_above;

        DZ_TRY(section_at(run, DZ_INDEX_FENCES, probe * DZ_CHUNK_NAME_LEN, &fence, err));
        not_above = memcmp(fence, name, DZ_CHUNK_NAME_LEN) <= 0;
        if (not_above)
            low = probe + 1;
        else
            high = probe;
        gallop = gallop && (first || not_above == up) && high - low > step;
        first = false;
        up = not_above;
        if (!gallop) {
            probe = low + (high - low) / 2;
        } else {
            probe = up ? low + step : high - 1 - step;
            step *= 4;
        }
    }
    *ret_count = low;
    return DZ_OK;
}

static dz_status take_place(struct dz_index_run *run, const uint8_t *entry, dz_place *ret_place,
                            dz_err *err) {
    const uint8_t *pack;

    DZ_TRY(dz_index_run_pack(run, (uint32_t) dz_load_le(entry + 16, 4), &pack, err));
    memcpy(ret_place->pack, pack, DZ_PACK_NAME_LEN);
    ret_place->seg_offset = (uint32_t) dz_load_le(entry + 20, 4);
    ret_place->seg_len = (uint32_t) dz_load_le(entry + 24, 4);
    ret_place->slot = (uint16_t) dz_load_le(entry + 28, 2);
    ret_place->type = entry[30];
    return DZ_OK;
}

static dz_status find_in_page(struct dz_index_run *run, uint64_t number, const uint8_t *name,
                              dz_index_accept *accept, void *ctx, dz_place *ret_place,
                              bool *ret_found, dz_err *err) {
    uint8_t page[DZ_INDEX_PAGE];
    const uint8_t *entry = page + DZ_INDEX_PAGE_HEAD;
    unsigned count, low = 0, high;
    bool found = false;

    (void) atomic_fetch_add_explicit(&run->pages_read, 1, memory_order_relaxed);
    if (dz_pread_all(run->fd, page, sizeof page,
                     (off_t) (run->lay.pages_at + number * DZ_INDEX_PAGE)) < 0)
        return read_failed(run, "page", number, err);
    {
        dz_status s =
            dz_index_page_check(page, run->id, (uint32_t) number, run->shape.packs, &count, err);
        if (s != DZ_OK)
            return damaged(run, s, err);
    }
    high = count;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        if (memcmp(entry + (size_t) mid * DZ_INDEX_ENTRY, name, DZ_CHUNK_NAME_LEN) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < count && !found; low++) { /* all places of one name are in one page */
        const uint8_t *e = entry + (size_t) low * DZ_INDEX_ENTRY;
        dz_place place;

        if (memcmp(e, name, DZ_CHUNK_NAME_LEN) != 0)
            break;
        DZ_TRY(take_place(run, e, &place, err));
        found = !accept || accept(ctx, &place);
        if (found)
            *ret_place = place;
    }
    *ret_found = found;
    return DZ_OK;
}

dz_status dz_index_run_find(struct dz_index_run *run, const uint8_t name[DZ_CHUNK_NAME_LEN],
                            dz_index_accept *accept, void *ctx, dz_place *ret_place,
                            bool *ret_found, dz_err *err) {
    uint64_t block = dz_index_filter_block(name, run->shape.filter_blocks);
    const uint8_t *bits;
    uint64_t fences;

    if (dz_index_run_damaged(run))
        return DZ_FAIL(err, DZ_E_CORRUPT, "index run %s: found damaged before", run->hex);
    DZ_TRY(section_at(run, DZ_INDEX_FILTER, block * DZ_INDEX_BLOCK, &bits, err));
    if (!filter_has(bits, name)) {
        *ret_found = false;
        return DZ_OK;
    }
    DZ_TRY(count_fences(run, name, &fences, err));
    if (fences == 0) {
        *ret_found = false;
        return DZ_OK;
    }
    return find_in_page(run, fences - 1, name, accept, ctx, ret_place, ret_found, err);
}

dz_status dz_index_run_pack(struct dz_index_run *run, uint32_t i, const uint8_t **ret_pack,
                            dz_err *err) {
    return section_at(run, DZ_INDEX_PACKS, (uint64_t) i * DZ_PACK_NAME_LEN, ret_pack, err);
}

dz_status dz_index_run_covers(struct dz_index_run *run, const uint8_t pack[DZ_PACK_NAME_LEN],
                              bool *ret_covers, dz_err *err) {
    uint32_t low = 0, high = (uint32_t) run->shape.packs;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const uint8_t *have;
        int order;

        DZ_TRY(dz_index_run_pack(run, mid, &have, err));
        order = memcmp(have, pack, DZ_PACK_NAME_LEN);
        if (order == 0) {
            *ret_covers = true;
            return DZ_OK;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_covers = false;
    return DZ_OK;
}

/* ---- the whole check ---- */

/* Page i against its fence, the page before, and the filter. */
static dz_status check_page(struct dz_index_run *run, const uint8_t *page, uint64_t i,
                            uint8_t last[DZ_CHUNK_NAME_LEN], uint64_t *entries, dz_err *err) {
    const uint8_t *e = page + DZ_INDEX_PAGE_HEAD;
    const uint8_t *fence, *bits;
    unsigned count;

    DZ_TRY(dz_index_page_check(page, run->id, (uint32_t) i, run->shape.packs, &count, err));
    DZ_TRY(section_at(run, DZ_INDEX_FENCES, i * DZ_CHUNK_NAME_LEN, &fence, err));
    if (memcmp(fence, e, DZ_CHUNK_NAME_LEN) != 0 ||
        (i > 0 && memcmp(last, e, DZ_CHUNK_NAME_LEN) >= 0))
        return DZ_FAIL(err, DZ_E_CORRUPT, "page %" PRIu64 " is out of order", i);
    for (unsigned k = 0; k < count; k++, e += DZ_INDEX_ENTRY) {
        uint64_t block = dz_index_filter_block(e, run->shape.filter_blocks);
        DZ_TRY(section_at(run, DZ_INDEX_FILTER, block * DZ_INDEX_BLOCK, &bits, err));
        if (!filter_has(bits, e))
            return DZ_FAIL(err, DZ_E_CORRUPT, "the filter denies a name of page %" PRIu64, i);
    }
    memcpy(last, e - DZ_INDEX_ENTRY, DZ_CHUNK_NAME_LEN);
    *entries += count;
    return DZ_OK;
}

static dz_status check_all(struct dz_index_run *run, dz_err *err) {
    uint8_t last[DZ_CHUNK_NAME_LEN] = { 0 };
    const uint8_t *bytes, *before = NULL;
    uint64_t entries = 0;

    for (unsigned s = 0; s < DZ_INDEX_SECTIONS; s++) /* also regions that no name falls into */
        for (uint64_t at = 0; at < run->lay.len[s]; at += DZ_INDEX_REGION)
            DZ_TRY(section_at(run, (enum dz_index_section) s, at, &bytes, err));
    for (uint32_t i = 0; i < run->shape.packs; i++, before = bytes) {
        DZ_TRY(dz_index_run_pack(run, i, &bytes, err));
        if (before && memcmp(before, bytes, DZ_PACK_NAME_LEN) >= 0)
            return DZ_FAIL(err, DZ_E_CORRUPT, "pack list is not sorted");
    }
    for (uint64_t i = 0; i < run->shape.pages; i++) {
        uint8_t page[DZ_INDEX_PAGE];

        if (dz_pread_all(run->fd, page, sizeof page,
                         (off_t) (run->lay.pages_at + i * DZ_INDEX_PAGE)) < 0)
            return read_failed(run, "page", i, err);
        DZ_TRY(check_page(run, page, i, last, &entries, err));
    }
    if (entries != run->shape.entries)
        return DZ_FAIL(err, DZ_E_CORRUPT, "%" PRIu64 " entries, the header says %" PRIu64, entries,
                       run->shape.entries);
    return DZ_OK;
}

dz_status dz_index_run_check(struct dz_index_run *run, dz_err *err) {
    dz_status s = check_all(run, err);
    return s == DZ_OK ? DZ_OK : damaged(run, s, err);
}

bool dz_index_run_damaged(const struct dz_index_run *run) {
    return atomic_load_explicit(&run->damaged, memory_order_relaxed);
}
const uint8_t *dz_index_run_id(const struct dz_index_run *run) {
    return run->id;
}
const dz_index_shape *dz_index_run_shape(const struct dz_index_run *run) {
    return &run->shape;
}
const dz_index_layout *dz_index_run_layout(const struct dz_index_run *run) {
    return &run->lay;
}
int dz_index_run_fd(const struct dz_index_run *run) {
    return run->fd;
}
uint64_t dz_index_run_pages_read(const struct dz_index_run *run) {
    return atomic_load_explicit(&run->pages_read, memory_order_relaxed);
}
