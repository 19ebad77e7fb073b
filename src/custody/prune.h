/* custody/prune.h -- snapshots that expired go: announced in the log, waited for, removed.
 *
 *   survey ─▶ PRUNE_INTENT ─▶ a week of trusted time ─▶ survey again ─▶ PRUNE_DONE ─▶ commit record
 *                                                                            └▶ sweep: packs
 *
 * Both times the rules must say that the snapshot expires, by trusted time (custody/clock_guard.h):
 * a hold or an alarm in between keeps it.  A week must lie between the two by trusted time, and all
 * but a day of it by the dates of leaves, none taken for older than ticks that stand before it.  An
 * announcement is good from DZ_PRUNE_WAIT_DAYS on, until DZ_PRUNE_GOOD_DAYS.  While the clock is
 * frozen nothing is announced and nothing removed; packs that nothing needs are.  Each step is
 * durable in the log before it happens, and the whole can be cut off anywhere: the next run goes
 * on.  Design: docs/design/retention.md. */
#pragma once

#include "custody/clock_guard.h"
#include "store/sweep.h"

enum { DZ_PRUNE_WAIT_DAYS = 7, DZ_PRUNE_GOOD_DAYS = 30 };

struct dz_prune_how {
    struct dz_clock_sample now;
    struct dz_sweep_how sweep;
};

struct dz_prune_result {
    struct dz_clock_guard guard;
    uint64_t announced; /* by this run */
    uint64_t waiting;   /* announced before, and not due yet */
    int64_t next_us;    /* trusted time at which the first of both is due; 0: none */
    uint64_t removed;   /* snapshots */
    struct dz_sweep_result swept;
};

/* One run.  *ret_result is what was done, also where the run failed.
 * DZ_E_POLICY (the log has removals that were not announced in time; see below),
 * DZ_E_BUSY (another prune runs; or how->sweep.progress gave up), DZ_E_CORRUPT (the log, or what a
 * snapshot needs: no pack was removed), DZ_E_USAGE (a time zone is not known here), DZ_E_IO,
 * DZ_E_NOMEM. */
dz_status dz_prune_run(struct dz_vault *v, const struct dz_prune_how *how,
                       struct dz_prune_result *ret_result, dz_err *err) DZ_MUST_CHECK;

/* How many snapshots the log says were removed without a week's announcement, or ahead of now: who
 * wrote those leaves was not this program.  DZ_E_NOMEM. */
dz_status dz_prune_untimely(const struct dz_ledger *ledger, const struct dz_quorum *q,
                            const struct dz_clock_sample *now, uint64_t *ret_n,
                            dz_err *err) DZ_MUST_CHECK;
