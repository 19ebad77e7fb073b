/* store/id_set.h -- a set of ids, for what has been visited; a map from ids to ids.
 *
 * Many snapshots are walked in time proportional to their distinct nodes.  A set costs 43..86
 * bytes an id, a map twice that.  Places are keyed at random: ids cannot be chosen to clash.  One
 * thread at a time. */
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

struct dz_id_map;

/* DZ_E_NOMEM. */
dz_status dz_id_map_new(struct dz_id_map **ret_map, dz_err *err) DZ_MUST_CHECK;
void dz_id_map_free(struct dz_id_map *m); /* NULL is fine */
DZ_DEFINE_AUTO(dz_id_map, dz_id_map_free)

/* The first value put for an id stays.  The id of zeros, which no content has, is not kept.
 * DZ_E_NOMEM. */
dz_status dz_id_map_put(struct dz_id_map *m, const dz_id *id, const dz_id *value,
                        dz_err *err) DZ_MUST_CHECK;
/* False when nothing was put for the id. */
bool dz_id_map_get(const struct dz_id_map *m, const dz_id *id, dz_id *ret_value);
