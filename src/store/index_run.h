/* store/index_run.h -- one run of the chunk index: a sorted, write-once file of name -> place.
 *
 *   name ─▶ filter (1 cache line) ─▶ fences ─▶ one page of 4 KiB ─▶ dz_place
 *
 * Format: docs/format/index.md.  A run is a cache: it can be deleted at any time and made again
 * from the tables of the packs, with host keys only.
 *
 * Nothing is mapped: a file that shrinks under us must not raise SIGBUS, and bytes that were
 * checked must stay those that were checked.  The filter, the fences and the pack list are read in
 * regions of 64 KiB at first use, checked, and kept in memory (about 3.2 bytes per entry when all
 * were touched).  Entry pages are read, checked and forgotten, one for an answer.
 *
 * Threads: after open, any number of threads may ask at once; no locks.
 *
 * Checksums find damage, not forgery: who can write the index can also delete the packs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cleanup.h"
#include "core/error.h"
#include "store/place.h"

enum {
    DZ_INDEX_ID_LEN = 16, /* bytes of a run id and of a vault id */
    DZ_INDEX_PAGE = 4096,
    DZ_INDEX_PAGE_HEAD = 32,
    DZ_INDEX_ENTRY = 32,
    DZ_INDEX_PAGE_ENTRIES = (DZ_INDEX_PAGE - DZ_INDEX_PAGE_HEAD) / DZ_INDEX_ENTRY, /* 127 */
    DZ_INDEX_BLOCK = 64,       /* bytes of a filter block */
    DZ_INDEX_REGION = 1 << 16, /* bytes under one checksum in filter, fences and pack list */
    DZ_INDEX_BITS_PER_KEY = 24,
    DZ_INDEX_MAX_PACKS = 1 << 24,
};
#define DZ_INDEX_MAX_ENTRIES (UINT64_C(1) << 31)
#define DZ_INDEX_MAX_BLOCKS (UINT64_C(1) << 27)
#define DZ_INDEX_MAGIC "DZINDEX\n"

/* The four counts of the header fix the whole layout; no offset is stored. */
typedef struct dz_index_shape {
    uint64_t entries;
    uint64_t filter_blocks; /* a multiple of 64, so that pages stay aligned */
    uint64_t pages;
    uint64_t packs;
} dz_index_shape;

enum dz_index_section { DZ_INDEX_FILTER, DZ_INDEX_FENCES, DZ_INDEX_PACKS, DZ_INDEX_SECTIONS };

typedef struct dz_index_layout {
    uint64_t at[DZ_INDEX_SECTIONS];         /* byte offset in the file */
    uint64_t len[DZ_INDEX_SECTIONS];        /* bytes */
    uint32_t first[DZ_INDEX_SECTIONS];      /* number of its first region */
    uint32_t regions;                       /* of all three sections */
    uint64_t pages_at, sums_at, file_bytes; /* byte offsets, and the size of the file */
} dz_index_layout;

/* False when a count is over its limit or two counts cannot be true together. */
bool dz_index_layout_of(const dz_index_shape *shape, dz_index_layout *ret_layout);

/* Every checksum is XXH3-64 (xxHash's specification) with a seed that names the run, the kind and
 * the number of what it covers: bytes of another run or from another place do not pass. */
enum dz_index_sum { DZ_INDEX_SUM_PAGE = 1, DZ_INDEX_SUM_REGION = 2, DZ_INDEX_SUM_TABLE = 3 };
uint64_t dz_index_sum(const uint8_t run_id[DZ_INDEX_ID_LEN], enum dz_index_sum kind,
                      uint64_t number, const void *bytes, size_t len);

/* Fills the head of an entry page. */
void dz_index_page_seal(uint8_t page[DZ_INDEX_PAGE], const uint8_t run_id[DZ_INDEX_ID_LEN],
                        uint32_t number, unsigned count);
/* Checks a page: its checksum, number and count, that names ascend and that every ordinal is
 * below `packs`.  *ret_count is 1 to DZ_INDEX_PAGE_ENTRIES.  DZ_E_CORRUPT. */
dz_status dz_index_page_check(const uint8_t page[DZ_INDEX_PAGE],
                              const uint8_t run_id[DZ_INDEX_ID_LEN], uint32_t number,
                              uint64_t packs, unsigned *ret_count, dz_err *err) DZ_MUST_CHECK;

/* Where the filter keeps a name.  Blocks ascend with names, so that a sorted stream of names fills
 * the filter front to back. */
uint64_t dz_index_filter_block(const uint8_t name[DZ_CHUNK_NAME_LEN], uint64_t blocks);
void dz_index_filter_set(uint8_t block[DZ_INDEX_BLOCK], const uint8_t name[DZ_CHUNK_NAME_LEN]);

struct dz_index_run;

/* Opens a run over `fd`, which is taken over even on failure.  Reads the header and the table of
 * checksums, nothing else.
 *
 *   id        what the file is named after; the header must say the same
 *   vault_id  of this vault; the header must say the same
 *
 *   DZ_E_CORRUPT      not a whole, sound run of this vault: drop it and make it again
 *   DZ_E_UNSUPPORTED  written by a newer dozo
 *   DZ_E_IO, DZ_E_NOMEM */
dz_status dz_index_run_open(int fd, const uint8_t id[DZ_INDEX_ID_LEN],
                            const uint8_t vault_id[DZ_INDEX_ID_LEN], struct dz_index_run **ret_run,
                            dz_err *err) DZ_MUST_CHECK;
void dz_index_run_close(struct dz_index_run *run);
DZ_DEFINE_AUTO(dz_index_run, dz_index_run_close)

/* Says whether a place will do, for instance whether its pack is still there. */
typedef bool dz_index_accept(void *ctx, const dz_place *place);

/* Looks a name up.  A found place has all 128 bits of the name equal; at most one page is read.
 * A name may have places in several packs: the first that `accept` (NULL: any) takes is given.
 * *ret_place is set only when *ret_found is.
 *
 *   DZ_E_CORRUPT  a part that this answer needs is damaged, or the run was found damaged before
 *   DZ_E_IO, DZ_E_NOMEM */
dz_status dz_index_run_find(struct dz_index_run *run, const uint8_t name[DZ_CHUNK_NAME_LEN],
                            dz_index_accept *accept, void *ctx, dz_place *ret_place,
                            bool *ret_found, dz_err *err) DZ_MUST_CHECK;

/* Gives the pack name number i (below shape.packs), borrowed from the run.  Names ascend. */
dz_status dz_index_run_pack(struct dz_index_run *run, uint32_t i, const uint8_t **ret_pack,
                            dz_err *err) DZ_MUST_CHECK;
/* Whether the run holds every chunk of this pack. */
dz_status dz_index_run_covers(struct dz_index_run *run, const uint8_t pack[DZ_PACK_NAME_LEN],
                              bool *ret_covers, dz_err *err) DZ_MUST_CHECK;

/* Reads and checks everything: all checksums, and that filter, fences, pages and counts agree.
 * DZ_E_CORRUPT, DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_index_run_check(struct dz_index_run *run, dz_err *err) DZ_MUST_CHECK;

/* True once any call found damage in this run. */
bool dz_index_run_damaged(const struct dz_index_run *run);
const uint8_t *dz_index_run_id(const struct dz_index_run *run);
const dz_index_shape *dz_index_run_shape(const struct dz_index_run *run);
const dz_index_layout *dz_index_run_layout(const struct dz_index_run *run);
/* For streams over the pages; the run keeps owning it. */
int dz_index_run_fd(const struct dz_index_run *run);
/* Entry pages read by look-ups since open. */
uint64_t dz_index_run_pages_read(const struct dz_index_run *run);
