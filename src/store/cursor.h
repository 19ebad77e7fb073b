/* store/cursor.h -- reads a snapshot's entries in tree order: ls, cat, restore, mount, export.
 *
 *   root ─▶ [cursor] ─▶ source (nodes, one per level kept) ─▶ entries
 *
 * Every node is checked as a whole when it is read: order, counts and sums against its parent.
 * A cursor belongs to one thread at a time; several cursors may share a source that allows it. */
#pragma once

#include "core/cleanup.h"
#include "store/manifest.h"

struct dz_cursor;

/* Stands before the first entry.  `source` is borrowed until the cursor is freed; `root` is copied.
 * Errors of all reading functions: DZ_E_CORRUPT (names the node), DZ_E_UNSUPPORTED (written by a
 * newer dozo), DZ_E_LIMIT, DZ_E_NOMEM, the source's.  After a failure only seek, find, skip_lost
 * and free are allowed: other parts of the tree may still be readable. */
dz_status dz_cursor_new(const struct dz_source *source, const dz_manifest_root *root,
                        struct dz_cursor **ret_cursor, dz_err *err) DZ_MUST_CHECK;
void dz_cursor_free(struct dz_cursor *c); /* NULL is fine */
DZ_DEFINE_AUTO(dz_cursor, dz_cursor_free)

/* The next call of next gives the first entry at or after `path` (borrowed for the call). */
dz_status dz_cursor_seek(struct dz_cursor *c, dz_slice path, dz_err *err) DZ_MUST_CHECK;

/* The next entry, borrowed until the next call on this cursor.  After the last *ret_end is true and
 * ret_entry untouched. */
dz_status dz_cursor_next(struct dz_cursor *c, dz_entry *ret_entry, bool *ret_end,
                         dz_err *err) DZ_MUST_CHECK;

/* After next gave an entry: the next call of next gives the first entry that is not below it.
 * What is skipped is not read. */
dz_status dz_cursor_skip_below(struct dz_cursor *c, dz_err *err) DZ_MUST_CHECK;

/* After next, seek or find failed because a node is missing or damaged: tells what is lost with it
 * (its first path, borrowed until the next call, and how many entries) and goes on behind it.
 * DZ_E_USAGE: nothing was lost, or the root itself is, so that nothing is left. */
dz_status dz_cursor_skip_lost(struct dz_cursor *c, dz_slice *ret_first, uint64_t *ret_entries,
                              dz_err *err) DZ_MUST_CHECK;

/* The entry with exactly this path, borrowed until the next call; next then goes on behind it.
 * DZ_E_NOT_FOUND when there is none (the message holds no path). */
dz_status dz_cursor_find(struct dz_cursor *c, dz_slice path, dz_entry *ret_entry,
                         dz_err *err) DZ_MUST_CHECK;
