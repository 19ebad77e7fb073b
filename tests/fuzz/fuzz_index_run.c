/* An index run is a file that others may have written.
 *
 * Properties: opening any bytes ends, with little memory; a look-up of any name ends and gives a
 * found place only for a name that stands in the file; what passes the whole check is sorted, and
 * every name in it is found, each with one page.
 *
 * Checksums would keep a fuzzer out, so the target writes the right ones over the input first when
 * its reserved byte at 4087 says so (bit 0: header and table, bit 1: regions, bit 2: pages). */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/durable.h"
#include "core/slice.h"
#include "store/index_run.h"
#include "tests/fuzz/fuzz.h"

enum {
    VAULT_AT = 32,
    ID_AT = 48,
    COUNTS_AT = 64,
    SIZE_AT = 96,
    TABLE_SUM_AT = 104,
    MODE_AT = 4087
};

static const uint8_t vault[DZ_INDEX_ID_LEN] = "fuzz vault id";

static dz_index_shape shape_of(const uint8_t *b) {
    return (dz_index_shape){ .entries = dz_load_le(b + COUNTS_AT, 8),
                             .filter_blocks = dz_load_le(b + COUNTS_AT + 8, 8),
                             .pages = dz_load_le(b + COUNTS_AT + 16, 8),
                             .packs = dz_load_le(b + COUNTS_AT + 24, 8) };
}

static void mend(uint8_t *b, size_t size) {
    uint8_t mode = b[MODE_AT];
    dz_index_shape shape = shape_of(b);
    const uint8_t *id = b + ID_AT;
    dz_index_layout lay;

    memcpy(b + VAULT_AT, vault, sizeof vault);
    if (dz_index_layout_of(&shape, &lay) && lay.file_bytes == size) {
        for (uint64_t i = 0; (mode & 4) && i < shape.pages; i++) {
            uint8_t *page = b + lay.pages_at + i * DZ_INDEX_PAGE;
            dz_store_le(page, 8,
                        dz_index_sum(id, DZ_INDEX_SUM_PAGE, i, page + 8, DZ_INDEX_PAGE - 8));
        }
        for (unsigned s = 0; (mode & 2) && s < DZ_INDEX_SECTIONS; s++)
            for (uint64_t at = 0; at < lay.len[s]; at += DZ_INDEX_REGION) {
                uint64_t left = lay.len[s] - at, n = lay.first[s] + at / DZ_INDEX_REGION;
                dz_store_le(b + lay.sums_at + n * 8, 8,
                            dz_index_sum(id, DZ_INDEX_SUM_REGION, n, b + lay.at[s] + at,
                                         left < DZ_INDEX_REGION ? left : DZ_INDEX_REGION));
            }
        dz_store_le(b + SIZE_AT, 8, size);
        dz_store_le(
            b + TABLE_SUM_AT, 8,
            dz_index_sum(id, DZ_INDEX_SUM_TABLE, 0, b + lay.sums_at, (size_t) lay.regions * 8));
    }
    dz_store_le(b + DZ_INDEX_PAGE - 8, 8, XXH3_64bits(b, DZ_INDEX_PAGE - 8));
}

/* Looks up the name at every 16th byte of the file, so also every name in it. */
static void ask_everything(struct dz_index_run *run, const uint8_t *b, size_t size) {
    for (size_t at = 0; at + DZ_CHUNK_NAME_LEN <= size; at += 16) {
        uint64_t before = dz_index_run_pages_read(run);
        dz_place place;
        bool found = false;

        if (dz_index_run_find(run, b + at, NULL, NULL, &place, &found, NULL) != DZ_OK)
            MUST(!found);
        MUST(dz_index_run_pages_read(run) - before <= 1);
        if (found) {
            /* Not what it says: the pack list may be unsorted where the run was not checked. */
            bool covers = false;
            dz_status s = dz_index_run_covers(run, place.pack, &covers, NULL);
            MUST(s == DZ_OK || s == DZ_E_CORRUPT);
        }
    }
}

static void checked_run_is_sound(struct dz_index_run *run, const uint8_t *b) {
    const dz_index_layout *lay = dz_index_run_layout(run);
    const uint8_t *last = NULL;
    uint64_t entries = 0;

    for (uint64_t i = 0; i < dz_index_run_shape(run)->pages; i++) {
        const uint8_t *page = b + lay->pages_at + i * DZ_INDEX_PAGE;
        unsigned count = (unsigned) dz_load_le(page + 12, 2);

        MUST(count > 0 && count <= DZ_INDEX_PAGE_ENTRIES);
        for (unsigned k = 0; k < count; k++, entries++) {
            const uint8_t *e = page + DZ_INDEX_PAGE_HEAD + (size_t) k * DZ_INDEX_ENTRY;
            bool found = false, covers = false;
            dz_place place;

            MUST(!last || memcmp(last, e, DZ_CHUNK_NAME_LEN) <= 0);
            last = e;
            MUST(dz_index_run_find(run, e, NULL, NULL, &place, &found, NULL) == DZ_OK && found);
            MUST(dz_index_run_covers(run, place.pack, &covers, NULL) == DZ_OK && covers);
        }
    }
    MUST(entries == dz_index_run_shape(run)->entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_autofree uint8_t *b = malloc(size ? size : 1);
    DZ_AUTO(dz_index_run) run = NULL;
    static int file = -1;
    int fd;

    if (!b)
        return 0;
    if (size)
        memcpy(b, data, size);
    if (size >= DZ_INDEX_PAGE && (b[MODE_AT] & 1))
        mend(b, size);
    if (file < 0)
        file = memfd_create("index run", MFD_CLOEXEC);
    MUST(file >= 0 && ftruncate(file, 0) == 0 && pwrite(file, b, size, 0) == (ssize_t) size);
    fd = fcntl(file, F_DUPFD_CLOEXEC, 0); /* the run closes its descriptor */
    MUST(fd >= 0);
    {
        static const uint8_t none[DZ_INDEX_ID_LEN];
        const uint8_t *id = size >= DZ_INDEX_PAGE ? b + ID_AT : none;
        if (dz_index_run_open(fd, id, vault, &run, NULL) != DZ_OK)
            return 0;
    }
    if (dz_index_run_check(run, NULL) == DZ_OK) {
        checked_run_is_sound(run, b);
        ask_everything(run, b, size);
        MUST(!dz_index_run_damaged(run));
        return 0;
    }
    dz_index_run_close(DZ_TAKE(run)); /* damage is remembered; look-ups must face it fresh */
    fd = fcntl(file, F_DUPFD_CLOEXEC, 0);
    MUST(fd >= 0);
    if (dz_index_run_open(fd, b + ID_AT, vault, &run, NULL) == DZ_OK)
        ask_everything(run, b, size);
    return 0;
}
