/* store/index.h -- the chunk index of a vault: all its runs together.
 *
 *   chunk name ─▶ [index: run, run, run ...] ─▶ dz_place      (found nowhere: not stored yet)
 *
 * The index is a cache.  What it says is either right or an error: damage is found when it is
 * touched, and a damaged run never turns "is there" into "is not there".  The owner then drops the
 * run and adds the packs that no run covers any more, from their tables, which a closed vault can
 * read:
 *
 *   dz_index_open ─▶ dz_index_drop_damaged ─▶ for each pack of the vault not dz_index_covers_pack:
 *   dz_index_builder_add ... dz_index_builder_finish ─▶ dz_index_merge ─▶ dz_index_open
 *
 * Threads: an open index does not change; any number of threads may ask it at once, without locks.
 * Runs that appear or are unlinked later do not disturb it: open again to see them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cleanup.h"
#include "core/error.h"
#include "store/index_build.h"
#include "store/index_run.h"
#include "store/place.h"

struct dz_index;

enum {
    DZ_INDEX_MAX_RUNS = 512, /* each holds a descriptor; merging keeps it below 40 */
    DZ_INDEX_TIER = 4,       /* so many runs of one size class become one of the next */
};

/* Opens every <id>.run in the directory.  Runs that fail their checks are set aside (see
 * dz_index_each_damaged) and do not fail the call: they cover no pack, so the owner sees what is
 * missing.  Reads a few KiB per run.
 *
 *   indexdirfd  borrowed for the call
 *
 *   DZ_E_LIMIT   more than DZ_INDEX_MAX_RUNS files
 *   DZ_E_BUSY    the directory kept changing under us
 *   DZ_E_IO, DZ_E_NOMEM */
dz_status dz_index_open(int indexdirfd, const uint8_t vault_id[DZ_INDEX_ID_LEN],
                        struct dz_index **ret_index, dz_err *err) DZ_MUST_CHECK;
void dz_index_close(struct dz_index *idx);
DZ_DEFINE_AUTO(dz_index, dz_index_close)

/* Looks a name up in all runs.  A found place has all 128 bits of the name equal; the run that
 * answers has read one page.  `accept` (NULL: any) refuses places that are of no use, such as in a
 * pack that is gone; others of the same name are then tried.  *ret_place is set only when
 * *ret_found is.
 *
 * "Not found" speaks for the packs that dz_index_covers_pack() confirms, and only for them.  A
 * place from a sound run is given even if another run is damaged; but where a run proves damaged
 * after it was opened, "not found" is not given: DZ_E_CORRUPT  the damaged run is now marked for
 * dz_index_drop_damaged() DZ_E_IO, DZ_E_NOMEM */
dz_status dz_index_find(struct dz_index *idx, const uint8_t name[DZ_CHUNK_NAME_LEN],
                        dz_index_accept *accept, void *ctx, dz_place *ret_place, bool *ret_found,
                        dz_err *err) DZ_MUST_CHECK;

/* Whether a sound run holds every chunk of this pack.  Damaged runs cover nothing. */
dz_status dz_index_covers_pack(struct dz_index *idx, const uint8_t pack[DZ_PACK_NAME_LEN],
                               bool *ret_covers, dz_err *err) DZ_MUST_CHECK;

/* Visits the packs of all sound runs; a pack may come more than once.  `pack` is borrowed until
 * the index is closed.  Stops at the first status that is not DZ_OK and gives it. */
typedef dz_status dz_index_pack_visit(void *ctx, const uint8_t pack[DZ_PACK_NAME_LEN], dz_err *err);
dz_status dz_index_each_pack(struct dz_index *idx, dz_index_pack_visit *visit, void *ctx,
                             dz_err *err) DZ_MUST_CHECK;

/* Visits the runs that are of no use: `status` is DZ_E_CORRUPT or DZ_E_UNSUPPORTED. */
typedef void dz_index_damage_visit(void *ctx, const uint8_t run_id[DZ_INDEX_ID_LEN],
                                   dz_status status);
void dz_index_each_damaged(const struct dz_index *idx, dz_index_damage_visit *visit, void *ctx);

/* Unlinks the runs known to be corrupt, at open or since; runs of a newer dozo stay.  This index
 * goes on refusing what it could not answer: open again.  DZ_E_IO. */
dz_status dz_index_drop_damaged(struct dz_index *idx, int indexdirfd, size_t *ret_dropped,
                                dz_err *err) DZ_MUST_CHECK;

/* Reads and checks all runs wholly; goes on after damage, which is marked.  DZ_E_CORRUPT when
 * there is any, else DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_index_check(struct dz_index *idx, dz_err *err) DZ_MUST_CHECK;

typedef struct dz_index_stats {
    size_t runs;         /* sound at open */
    size_t damaged_runs; /* set aside at open or since */
    uint64_t entries;
    uint64_t packs;      /* counted once per run */
    uint64_t pages_read; /* entry pages, by look-ups since open */
} dz_index_stats;
dz_index_stats dz_index_stats_of(const struct dz_index *idx);

/* Says whether a pack is still in the vault. */
typedef bool dz_index_keep_pack(void *ctx, const uint8_t pack[DZ_PACK_NAME_LEN]);

typedef struct dz_index_merge_how {
    dz_index_keep_pack *keep; /* NULL: every pack */
    void *ctx;
    bool all; /* one run out of all, and without the packs not kept; for after a prune */
} dz_index_merge_how;

/* Merges runs until no size class (powers of four) has DZ_INDEX_TIER of them, or with how->all
 * until one is left; entries of packs that are not kept go.  Streams: memory does not grow with
 * entries.  The new run is published before the old ones are unlinked, so a crash leaves both,
 * which is harmless and merged again later; two mergers at once are harmless too.
 * *ret_merged counts the runs that were replaced.
 *
 *   DZ_E_CORRUPT  a run is damaged: dz_index_check() and dz_index_drop_damaged() remove it
 *   DZ_E_LIMIT    the result would be over DZ_INDEX_MAX_ENTRIES; the old runs stay
 *   DZ_E_IO, DZ_E_NOMEM, DZ_E_BUSY */
dz_status dz_index_merge(int indexdirfd, int tmpfd, const uint8_t vault_id[DZ_INDEX_ID_LEN],
                         const dz_index_merge_how *how, size_t *ret_merged,
                         dz_err *err) DZ_MUST_CHECK;
