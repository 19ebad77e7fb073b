/* custody/hold.h -- snapshots that must not expire, because somebody said so and why.
 *
 * A hold is a HOLD leaf that names the commit record.  Anyone who can append may hold; it ends when
 * operators approve that (`release-hold`).  One thread at a time. */
#pragma once

#include "custody/quorum.h"
#include "store/snapshot.h"

enum { DZ_HOLD_WHY_MAX = 2000 }; /* bytes of UTF-8 */

/* The hold that a `release-hold` names: one that the log had when it was asked, of just the
 * snapshot and for just the reason that it shows.  NULL: there is none. */
const dz_ledger_leaf *dz_hold_of(const struct dz_ledger *ledger, const struct dz_request *r);
/* The reason as a request shows it, on one line and all of it visible; the caller releases *to. */
void dz_hold_why(const dz_ledger_leaf *hold, dz_buf *to);
/* True when the hold at this leaf has ended. */
bool dz_hold_released(const struct dz_quorum *q, uint64_t leaf);
/* True when some leaf holds the snapshot with this commit record. */
bool dz_held(const struct dz_ledger *ledger, const struct dz_quorum *q,
             const uint8_t file[DZ_SHA256_BYTES]);

/* Holds a snapshot.  *ret_leaf names the hold.
 * DZ_E_USAGE (`why` is empty, too long, or no UTF-8), else as dz_ledger_add(). */
dz_status dz_hold_add(struct dz_vault *v, const struct dz_snapshot *snap, const char *why,
                      uint64_t *ret_leaf, dz_err *err) DZ_MUST_CHECK;
