/* custody/hold.h -- snapshots that must not expire, because somebody said so and why.
 *
 * A hold is a HOLD leaf that names the commit record.  Anyone who can append may hold; it ends when
 * operators approve that (`release-hold`).  One thread at a time. */
#pragma once

#include "custody/quorum.h"
#include "store/snapshot.h"

enum { DZ_HOLD_WHY_MAX = 2000 }; /* bytes of UTF-8 */

/* The hold that a `release-hold` names: one that the log had when it was asked, of just the
 * snapshots and for just the reason that it shows.  NULL: there is none. */
const dz_ledger_leaf *dz_hold_of(const struct dz_ledger *ledger, const struct dz_request *r);
/* The reason as a request shows it; the caller releases *to. */
void dz_hold_why(const dz_ledger_leaf *hold, dz_buf *to);

/* The request that ended the hold at this leaf; NULL: none has. */
const dz_ask *dz_hold_ended(const struct dz_quorum *q, uint64_t leaf);
/* Whether some leaf holds the snapshot.  A hold has ended for it if the request showed it as it is
 * (custody/shown.h).  `ended` is a leaf that counts as ended as well; 0: none. */
bool dz_held(const struct dz_quorum *q, const struct dz_snapshot *snap, uint64_t ended);

/* Holds a snapshot.  *ret_leaf names the hold.
 * DZ_E_USAGE (`why` is empty, too long, or no UTF-8), else as dz_ledger_add(). */
dz_status dz_hold_add(struct dz_vault *v, const struct dz_snapshot *snap, const char *why,
                      uint64_t *ret_leaf, dz_err *err) DZ_MUST_CHECK;
