/* store/fetch.h -- finds objects again: by identity, through the index, out of sealed segments.
 *
 *   identity ─▶ name ─▶ index ─▶ pack, segment ─▶ open ─▶ [cache] ─▶ SHA-256 checked ─▶ bytes
 *
 * Every object is compared with its full identity on the way out, so a damaged or planted byte is
 * an error, never content.  One dz_fetch may be used by many threads; it keeps opened segments in
 * a cache that they share, and opens each only once at a time. */
#pragma once

#include "store/object.h"
#include "store/vault.h"

struct dz_fetch;

/* `vault` is borrowed and must outlive it.  `cache_bytes` bounds the opened segments that nobody
 * holds.  Packs that are removed while it reads are no matter: what is needed of them was moved.
 * If the index is damaged or lacks packs it is healed first, in memory if the vault cannot
 * be written.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_fetch_new(struct dz_vault *vault, size_t cache_bytes, struct dz_fetch **ret_fetch,
                       dz_err *err) DZ_MUST_CHECK;
void dz_fetch_free(struct dz_fetch *f); /* NULL is fine; nothing may be held */
DZ_DEFINE_AUTO(dz_fetch, dz_fetch_free)

/* An object held in the cache: bytes are borrowed until dz_fetch_drop(). */
struct dz_held {
    dz_slice bytes;
    struct dz_cached *segment;
};

/* DZ_E_NOT_FOUND (no pack has it; named), DZ_E_CORRUPT (its pack or segment is damaged, or the
 * content is another; named), DZ_E_CLOSED, DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_fetch_hold(struct dz_fetch *f, enum dz_kind kind, const dz_id *id,
                        struct dz_held *ret_held, dz_err *err) DZ_MUST_CHECK;
void dz_fetch_drop(struct dz_fetch *f, struct dz_held *held);

/* The same as copies, for trees.  Valid as long as f. */
struct dz_source dz_fetch_source(struct dz_fetch *f);

/* Where the object lies, for ordering reads: equal values share a segment, and ascending values
 * lie one after the other.  0 when unknown.  Never fails. */
uint64_t dz_fetch_locality(struct dz_fetch *f, enum dz_kind kind, const dz_id *id);
