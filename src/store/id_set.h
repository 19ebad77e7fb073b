/* store/id_set.h -- a set of ids, for what has been visited.
 *
 * Many snapshots are walked in time proportional to their distinct nodes.  Costs 43..86 bytes an
 * id.  Places are keyed at random: ids cannot be chosen to clash.  One thread at a time. */
#pragma once

#include "core/cleanup.h"
#include "core/error.h"
#include "crypto/hash.h"

struct dz_id_set;

/* DZ_E_NOMEM. */
dz_status dz_id_set_new(struct dz_id_set **ret_set, dz_err *err) DZ_MUST_CHECK;
void dz_id_set_free(struct dz_id_set *s); /* NULL is fine */
DZ_DEFINE_AUTO(dz_id_set, dz_id_set_free)

/* *ret_added is false when the id was there already.  DZ_E_NOMEM. */
dz_status dz_id_set_add(struct dz_id_set *s, const dz_id *id, bool *ret_added,
                        dz_err *err) DZ_MUST_CHECK;
bool dz_id_set_has(const struct dz_id_set *s, const dz_id *id);
size_t dz_id_set_count(const struct dz_id_set *s);
