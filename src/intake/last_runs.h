/* intake/last_runs.h -- the last runs of a source that became snapshots, for a source that did not
 * hear so.
 *
 *   BEGIN run ─▶ [last runs: cache/last-runs-<hex>, then the log behind it] ─▶ kept already, or not
 *   COMMIT    ─▶ [last runs] ─▶ cache
 *
 * A source tries its last run again, so the last DZ_LAST_RUNS are remembered, with how much of the
 * log is known to have no later one: else each BEGIN would read the records of all snapshots.  A
 * cache: without it the whole log is looked through once.  Of a source one run is under way at a
 * time (intake/sent.h sees to that), and this belongs to it. */
#pragma once

#include "intake/wire.h"
#include "store/vault.h"

enum { DZ_LAST_RUNS = 32 };

/* Whether the snapshot of this id, which the source and its run decide, is there; *ret_done is what
 * was said of it.  `tmpfd` is a writer's directory.  A part of the log that is damaged is passed
 * over: at worst a run is kept twice.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_last_runs_find(struct dz_vault *v, int tmpfd, const char *source,
                            const uint8_t id[DZ_SNAPSHOT_ID_BYTES], bool *ret_found,
                            struct dz_wire_done *ret_done, dz_err *err) DZ_MUST_CHECK;

/* It stands.  Where this cannot be written, the next search takes longer. */
void dz_last_runs_note(struct dz_vault *v, int tmpfd, const char *source,
                       const struct dz_wire_done *done);
