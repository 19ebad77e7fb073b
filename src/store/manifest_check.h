/* store/manifest_check.h -- proves that reference trees and manifests agree: `verify` with keys.
 *
 *   manifest nodes, content lists ─▶ [check] ─▶ reference nodes computed again ─▶ same root?
 *
 * A reference node is a function of its manifest node and what is below, so the commit's two ids
 * agree when the one can be computed from the other.  That the reference nodes are there is for
 * dz_reftree_walk() to say.  One check serves many snapshots and reads what they share once.
 * A check belongs to one thread at a time. */
#pragma once

#include "core/cleanup.h"
#include "store/manifest.h"

struct dz_manifest_check;

/* `source` is borrowed until the check is freed, `name_key` is copied.  DZ_E_NOMEM. */
dz_status dz_manifest_check_new(const struct dz_source *source, const uint8_t name_key[32],
                                struct dz_manifest_check **ret_check, dz_err *err) DZ_MUST_CHECK;
void dz_manifest_check_free(struct dz_manifest_check *c); /* wipes the key; NULL is fine */
DZ_DEFINE_AUTO(dz_manifest_check, dz_manifest_check_free)

/* Reads every manifest node and content list below the root that was not read before, with the
 * fields of every entry.  What was read before is not held against another parent's promises: who
 * reads it does that (store/tree_walk.h).
 * DZ_E_CORRUPT: they do not agree, or a node is damaged (named); DZ_E_NOT_FOUND (named),
 * DZ_E_UNSUPPORTED, DZ_E_LIMIT, DZ_E_NOMEM, the source's. */
dz_status dz_manifest_check_root(struct dz_manifest_check *c, const dz_manifest_root *root,
                                 dz_err *err) DZ_MUST_CHECK;
