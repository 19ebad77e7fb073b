/* store/index_write.h -- writes one run from sorted streams of entries.
 *
 *   sorted sources ─▶ [merge by name] ─▶ tmp/t-x ─▶ fsync ─▶ index/<id>.run
 *
 * Used by the builder (sources: what it sorted) and by the merge of runs (sources: their pages).
 * Memory: 32 to 128 KiB per source, 16 bytes per page written, and nothing per entry. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "store/index_run.h"

#define DZ_INDEX_DROP UINT32_MAX

enum { DZ_INDEX_FILE_NAME = 2 * DZ_INDEX_ID_LEN + 5 }; /* "<id>.run" and NUL */
void dz_index_file_name(const uint8_t id[DZ_INDEX_ID_LEN], char ret_name[DZ_INDEX_FILE_NAME]);

/* Entries in ascending order of name, either in memory or as pages of a file.  All borrowed. */
typedef struct dz_index_source {
    const uint8_t *entries; /* NULL: read the pages */
    uint64_t count;         /* entries in memory */

    int fd;
    uint64_t at;             /* byte offset of page 0 */
    uint64_t pages;          /* how many */
    const uint8_t *sum_id;   /* run id that the pages' checksums are made with */
    const uint32_t *ordinal; /* pack ordinal here -> in the new run, or DZ_INDEX_DROP */
    uint64_t ordinals;
} dz_index_source;

/* What the new run says about itself. */
typedef struct dz_index_run_plan {
    const uint8_t *vault_id; /* DZ_INDEX_ID_LEN bytes, borrowed */
    const uint8_t *packs;    /* pack_count names, ascending, each once; borrowed */
    uint64_t pack_count;
    uint64_t entries_at_most; /* sizes the filter */
} dz_index_run_plan;

/* Merges the sources into a new run and publishes it in `dirfd` under a fresh random id.  The same
 * name in the same pack is kept once; of one name in many packs, 127 places are kept.
 *
 *   tmpfd, dirfd  borrowed; directories of one file system
 *
 *   DZ_E_CORRUPT  a source is damaged or out of order; nothing was published
 *   DZ_E_LIMIT    more than DZ_INDEX_MAX_ENTRIES or DZ_INDEX_MAX_PACKS
 *   DZ_E_IO, DZ_E_NOMEM */
dz_status dz_index_write_run(int tmpfd, int dirfd, const dz_index_run_plan *plan,
                             const dz_index_source *sources, size_t source_count,
                             uint8_t ret_id[DZ_INDEX_ID_LEN], dz_err *err) DZ_MUST_CHECK;

/* Writes all of the bytes at `at`, through short writes and EINTR.  0, or -1 with errno. */
int dz_pwrite_all(int fd, const uint8_t *bytes, size_t len, uint64_t at);
