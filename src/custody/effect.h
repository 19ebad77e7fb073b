/* custody/effect.h -- what a request does, kind by kind.
 *
 *   request ─▶ [check]: could it still do what it says?   leaf ─▶ [says]: that, and nothing else?
 *   leaf of an approved request ─▶ [take] ─▶ operators, rules
 *
 * The replay (custody/quorum.h) asks at each leaf, with the log as it was there.  What a request
 * says of the log is held against the log up to the head that it names: what came later it cannot
 * mean.  One thread at a time. */
#pragma once

#include "custody/quorum.h"

/* DZ_E_POLICY: it no longer says what is so, or what would be; says which.  DZ_E_NOMEM. */
dz_status dz_effect_check(const struct dz_quorum *q, const struct dz_request *r,
                          dz_err *err) DZ_MUST_CHECK;

/* Whether this leaf is of the request's kind and says what the request says. */
bool dz_effect_says(const struct dz_request *r, const dz_ledger_leaf *leaf);

/* What follows from the leaf for those who ask after it. */
void dz_effect_take(struct dz_quorum *q, const struct dz_request *r, uint64_t leaf);

/* Somebody is an operator from this leaf on; `q` has room.  An empty name becomes the key's
 * fingerprint. */
void dz_effect_join(struct dz_quorum *q, const dz_ssh_key *key, dz_slice name, uint64_t leaf);
