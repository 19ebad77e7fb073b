/* intake/push_local.h -- local trees as a tree to push.
 *
 *   paths ─▶ scan ─▶ [push_local: look again, attributes] ─▶ dz_push_tree
 *
 * A tree belongs to one thread. */
#pragma once

#include "intake/push.h"
#include "intake/scan.h"

struct dz_push_local;
/* `secret` (copied) names inodes and keys the path cache: the same for all runs of a source, and
 * nobody else's.  As dz_scan_new(). */
dz_status dz_push_local_new(const struct dz_scan_how *how, const uint8_t secret[DZ_KEY_BYTES],
                            struct dz_push_local **ret_local, dz_err *err) DZ_MUST_CHECK;
void dz_push_local_free(struct dz_push_local *l); /* NULL is fine */
DZ_DEFINE_AUTO(dz_push_local, dz_push_local_free)

/* Valid as long as `l`; to be walked once. */
struct dz_push_tree dz_push_local_tree(struct dz_push_local *l);
/* The paths that are walked, a field each, appended: for dz_push_how. */
void dz_push_local_paths(const struct dz_push_local *l, dz_buf *paths);
