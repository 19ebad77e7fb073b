/* store/removed.h -- which snapshots and packs the log says were removed.
 *
 *   PRUNE_INTENT (commit records), later PRUNE_DONE (the same) ─▶ [removed] ─▶ no snapshot any more
 *   PRUNE_DONE (packs) ─▶ [removed] ─▶ a pack that nobody misses
 *
 * A PRUNE_DONE leaf counts for the commit records that a PRUNE_INTENT announced before, by the
 * times of the two at least DZ_REMOVED_WAIT_US earlier, and for no others.  That the rules allowed
 * it, and that the times are true, is custody's to judge (custody/prune.h); until its record is
 * deleted the snapshot is still one (store/snapshot.h).
 * Leaves are taken in the log's order, or all of them in the opposite one.  One thread at a time.
 */
#pragma once

#include "core/cleanup.h"
#include "core/error.h"
#include "crypto/hash.h"
#include "store/leaf.h"
#include "store/tlog.h"

/* Six days: prune waits for a week of trusted time, which runs no faster than the leaves' times. */
#define DZ_REMOVED_WAIT_US (INT64_C(6 * 86400) * 1000000)

struct dz_removed;

/* `backwards`: leaves will come newest first.  DZ_E_NOMEM. */
dz_status dz_removed_new(bool backwards, struct dz_removed **ret_removed,
                         dz_err *err) DZ_MUST_CHECK;
void dz_removed_free(struct dz_removed *r); /* NULL is fine */
DZ_DEFINE_AUTO(dz_removed, dz_removed_free)

/* Takes a leaf of any kind.  DZ_E_NOMEM. */
dz_status dz_removed_take(struct dz_removed *r, const dz_leaf *leaf, dz_err *err) DZ_MUST_CHECK;

/* All that the log says, in its order.  DZ_E_CORRUPT (the log), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_removed_read(struct dz_tlog *log, struct dz_removed **ret_removed,
                          dz_err *err) DZ_MUST_CHECK;

/* Whether the snapshot with this commit record is gone, by the leaves taken so far. */
bool dz_removed_snapshot(const struct dz_removed *r, const uint8_t file[DZ_SHA256_BYTES]);
/* Whether a leaf says that this pack was removed. */
bool dz_removed_pack(const struct dz_removed *r, const uint8_t pack[DZ_SHA256_BYTES]);
