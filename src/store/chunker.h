/* store/chunker.h -- where one chunk ends and the next begins, decided by the bytes themselves.
 *
 *   file bytes ─▶ [chunker] ─▶ chunk lengths ─▶ identity, deduplication, segments
 *
 * A cut depends on the 32 bytes before it and on the distance from the chunk's start, so after an
 * insertion the cuts fall into step again.  The algorithm is docs/format/chunks.md.  The key
 * makes the cuts differ from vault to vault, which hides little: it is hardening, not secrecy.
 *
 * A chunker never changes after dz_chunker_new(): any number of threads may use one. */
#pragma once

#include "core/cleanup.h"
#include "core/error.h"
#include "core/slice.h"

enum {
    DZ_CHUNK_MIN = 16 * 1024, /* bytes; what a vault uses unless its settings say otherwise */
    DZ_CHUNK_AVG = 64 * 1024,
    DZ_CHUNK_MAX = 256 * 1024,

    DZ_CHUNK_WINDOW = 32, /* bytes before a cut that decide on it */
    DZ_CHUNK_KEY_BYTES = 32,
};

/* All in bytes.  avg is a power of two in 1 KiB .. 4 MiB; WINDOW <= min <= avg < max <= 64 MiB.
 * avg is where cuts become likely; the mean of real data lies a little above it. */
struct dz_chunker_params {
    uint32_t min, avg, max;
};
#define DZ_CHUNKER_DEFAULTS ((struct dz_chunker_params){ DZ_CHUNK_MIN, DZ_CHUNK_AVG, DZ_CHUNK_MAX })

struct dz_chunker;

/* Derives the gear table from `key` (borrowed for the call).  *ret_chunker is owned by the
 * caller and lives in guarded memory.
 *   DZ_E_LIMIT  the parameters break the limits above;  DZ_E_NOMEM */
dz_status dz_chunker_new(const uint8_t key[DZ_CHUNK_KEY_BYTES], struct dz_chunker_params params,
                         struct dz_chunker **ret_chunker, dz_err *err) DZ_MUST_CHECK;
/* Wipes and releases; NULL is fine. */
void dz_chunker_free(struct dz_chunker *c);
DZ_DEFINE_AUTO(dz_chunker, dz_chunker_free)

struct dz_chunker_params dz_chunker_params(const struct dz_chunker *c);

/* The length of the first chunk of `data`, 1..max bytes; 0 only when len is 0.
 *
 * `data` starts at a chunk's start.  Unless `last` says that the data ends here, the caller hands
 * in at least max bytes; the answer is then the same however much more there is. */
size_t dz_chunker_next(const struct dz_chunker *c, const uint8_t *data, size_t len, bool last);
