/* recover/walk.h -- the entries of a snapshot that somebody asked for, in tree order.
 *
 *   paths ─▶ [walk: cursor, once per path] ─▶ directories on the way, then all that is below
 *
 * What is lost with a damaged node is named and stepped over.  A walk belongs to one thread. */
#pragma once

#include "recover/supply.h"
#include "store/cursor.h"

struct dz_walk;

/* Something asked for, or on the way to it, cannot be had.  `entries` is how many are lost from
 * `path` on; 0 when the path is not in the snapshot at all. */
typedef void dz_walk_lost(void *ctx, dz_slice path, uint64_t entries, const char *what);

/* `supply` and the bytes of `paths` are borrowed until the walk is freed; no paths: everything.
 * Paths inside others count once.  DZ_E_USAGE (a path that can be none), DZ_E_NOMEM, the cursor's.
 */
dz_status dz_walk_new(const struct dz_supply *supply, const dz_manifest_root *root,
                      const dz_slice *paths, size_t n_paths, dz_walk_lost *lost, void *ctx,
                      struct dz_walk **ret_walk, dz_err *err) DZ_MUST_CHECK;
void dz_walk_free(struct dz_walk *w); /* NULL is fine */
DZ_DEFINE_AUTO(dz_walk, dz_walk_free)

/* The next entry, borrowed until the next call.  *ret_above: it was not asked for, but is a
 * directory on the way.  After the last *ret_end is true.  DZ_E_NOMEM, DZ_E_CLOSED; DZ_E_CORRUPT
 * when nothing is left to go on with. */
dz_status dz_walk_next(struct dz_walk *w, dz_entry *ret_entry, bool *ret_above, bool *ret_end,
                       dz_err *err) DZ_MUST_CHECK;

/* Leaves out all that is below the entry just given. */
dz_status dz_walk_skip_below(struct dz_walk *w, dz_err *err) DZ_MUST_CHECK;
