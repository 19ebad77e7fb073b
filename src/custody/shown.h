/* custody/shown.h -- a snapshot as a request shows it, and whether it is the one.
 *
 *   commit record ─▶ [put] ─▶ lines of the text      approved text + commit record ─▶ [is]: the
 * same?
 *
 * Operators sign what they read: an id, a source, a time, a size.  The commit record beside it is
 * what counts, and nobody can read that.  So whoever lets a snapshot go because of a request asks
 * here first: a text that shows a test backup and names the record of the only good one does
 * nothing.  Thread-safe. */
#pragma once

#include "custody/request.h"
#include "store/snapshot.h"

/* Appends all lines but the last to these empty buffers; they may go bad. */
void dz_shown_put(const struct dz_snapshot *snap, dz_buf line[DZ_REQUEST_LINES]);

/* Whether the request shows this snapshot, and as it is: each line but the last.  Also false when
 * memory runs out. */
bool dz_shown_is(const struct dz_request *r, const struct dz_snapshot *snap);
