/* store/diff.h -- what changed between two snapshots, in time proportional to what changed.
 *
 *   two roots ─▶ [diff] ─▶ one call per difference, in tree order
 *
 * Nodes with the same id are skipped wherever they stand at the same path, at any height. */
#pragma once

#include "store/manifest.h"

enum dz_change {
    DZ_CHANGE_ADDED = 1,
    DZ_CHANGE_REMOVED,
    DZ_CHANGE_TYPE,    /* a file became a directory, ... */
    DZ_CHANGE_CONTENT, /* content, extents, size, symlink target or device number */
    DZ_CHANGE_META,    /* anything else but the judge's record, which is ours and not the file's */
};

/* `before` is NULL when added, `after` is NULL when removed; both borrowed for the call.  Anything
 * but DZ_OK ends the comparison and is handed up. */
typedef dz_status dz_diff_fn(void *ctx, enum dz_change change, const dz_entry *before,
                             const dz_entry *after, dz_err *err);

/* "added", "removed", "type", "content", "meta". */
const char *dz_change_name(enum dz_change change);

/* How two entries of the same path differ; 0 when they do not. */
enum dz_change dz_entry_compare(const dz_entry *before, const dz_entry *after);

/* Compares two snapshots, that may come from different vaults.  Sources are borrowed for the call.
 * Errors as in store/cursor.h. */
dz_status dz_diff(const struct dz_source *source_a, const dz_manifest_root *a,
                  const struct dz_source *source_b, const dz_manifest_root *b, dz_diff_fn *change,
                  void *ctx, dz_err *err) DZ_MUST_CHECK;
