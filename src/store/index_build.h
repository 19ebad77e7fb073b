/* store/index_build.h -- collects entries in any order and publishes them as one run.
 *
 *   pack tables ─▶ [builder: sort, spill] ─▶ dz_index_write_run ─▶ index/<id>.run
 *
 * Entries are sorted in memory; what does not fit is spilled, sorted, to one unnamed temporary
 * file and merged at the end.  So memory has a bound that the caller names, and a killed process
 * leaves nothing but what sweeping the temporary directory removes.
 *
 * One builder belongs to one thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/cleanup.h"
#include "core/error.h"
#include "store/index_run.h"

struct dz_index_builder;

enum { DZ_INDEX_BUILD_MEMORY = 64 << 20 }; /* bytes: two million entries before it spills */

/*   tmpfd     borrowed until the builder is freed; on the file system of the index
 *   vault_id  copied
 *   memory    bytes for entries; grows to this as needed, at least 1 MiB is used
 *   DZ_E_NOMEM */
dz_status dz_index_builder_new(int tmpfd, const uint8_t vault_id[DZ_INDEX_ID_LEN], size_t memory,
                               struct dz_index_builder **ret_builder, dz_err *err) DZ_MUST_CHECK;
void dz_index_builder_free(struct dz_index_builder *b);
DZ_DEFINE_AUTO(dz_index_builder, dz_index_builder_free)

/* Says that the run will hold every chunk of this pack.  dz_index_builder_add() says it too, so
 * this is only for packs without chunks.  Add the packs whole or not at all. */
dz_status dz_index_builder_cover(struct dz_index_builder *b, const uint8_t pack[DZ_PACK_NAME_LEN],
                                 dz_err *err) DZ_MUST_CHECK;

/* Adds one chunk; both arguments are copied.  Fastest when the entries of a pack come together.
 * After a failure the builder can only be freed.
 * DZ_E_LIMIT (DZ_INDEX_MAX_ENTRIES, DZ_INDEX_MAX_PACKS), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_index_builder_add(struct dz_index_builder *b, const uint8_t name[DZ_CHUNK_NAME_LEN],
                               const dz_place *place, dz_err *err) DZ_MUST_CHECK;

/* Entries added so far, and whether there is anything at all to publish. */
uint64_t dz_index_builder_count(const struct dz_index_builder *b);
bool dz_index_builder_empty(const struct dz_index_builder *b);

/* Publishes the run, also an empty one.  The builder can only be freed afterwards.
 * On DZ_OK the run survives a power cut.  Errors as dz_index_write_run(). */
dz_status dz_index_builder_finish(struct dz_index_builder *b, int indexdirfd,
                                  uint8_t ret_id[DZ_INDEX_ID_LEN], dz_err *err) DZ_MUST_CHECK;
