/* store/sweep.h -- frees the space of what no snapshot needs, while backups go on.
 *
 *   live ─▶ doomed list ─▶ earlier writers end ─▶ live again ─▶ moved ─▶ proof ─▶ leaf ─▶ unlinked
 *
 * Packs without anything live are removed; sparse ones after their live segments were moved, sealed
 * as they are, into new packs.  From the moment that the doomed list is there, nobody who begins
 * relies on what is in it; who began before is waited for, and what they made counts as needed.
 * Whatever the index said, before a pack goes it is proved from the tables of the others that every
 * snapshot can do without it (store/live.h).  A crash at any moment leaves a vault with all its
 * snapshots; the next sweep begins anew.  Design: docs/design/retention.md.
 *
 * One sweep at a time, and no snapshot is removed in the log while it runs: the caller sees to it
 * (custody/prune.h).  What a path cache rests on would go with a snapshot that came and went. */
#pragma once

#include "store/vault.h"

enum dz_sweep_stage {                 /* what dz_sweep_how.progress is told */
                      DZ_SWEEP_WALK,  /* done: snapshots */
                      DZ_SWEEP_WAIT,  /* done: writers that are still at it */
                      DZ_SWEEP_MOVE,  /* done: bytes */
                      DZ_SWEEP_REMOVE /* done: packs */
};

struct dz_sweep_how {
    unsigned sparse_pct; /* a pack with less live than this is compacted; 0: none is */
    size_t names_max; /* objects in the packs of one round: 16 to 43 bytes of memory each; 0: all */
    /* Called before packs are doomed, with the ids of all snapshots (DZ_SNAPSHOT_ID_BYTES each):
     * drops caches that rest on others.  May be NULL. */
    dz_status (*survivors)(void *ctx, const uint8_t *ids, size_t n, dz_err *err);
    /* Called now and then; false gives up, with DZ_E_BUSY.  May be NULL. */
    bool (*progress)(void *ctx, enum dz_sweep_stage stage, uint64_t done);
    void *ctx;
};

struct dz_sweep_result {
    uint64_t removed;   /* packs */
    uint64_t compacted; /* of these: after what was live in them had been moved */
    uint64_t freed;     /* bytes: of the packs removed, less those of the packs made */
    uint64_t left;      /* packs that could go or shrink, and were left for a next round */
};

/* Removes what the snapshots that the log names do not need.  Appends a PRUNE_DONE leaf with the
 * packs before they go.  `tmpfd`, `tmp`: the caller's writer's directory and its name.
 *   DZ_E_CORRUPT  something that a snapshot needs is missing or damaged (named): nothing was
 * removed DZ_E_BUSY     how->progress gave up DZ_E_IO, DZ_E_NOMEM; some packs may be gone, none
 * that is needed */
dz_status dz_sweep(struct dz_vault *v, int tmpfd, const char *tmp, const struct dz_sweep_how *how,
                   struct dz_sweep_result *ret_result, dz_err *err) DZ_MUST_CHECK;
