/* store/live.h -- which parts of which packs the snapshots need.
 *
 *   commits ─▶ reference trees ─▶ names ─▶ index ─▶ [live: a mark on each segment] ─▶ sweep
 *   tables of packs ─────────────────────────────────▶ [live: segments, names, bytes]
 *
 * Works closed.  What cannot be read is taken for needed: packs whose table does not open, packs
 * with segments of a kind that this version does not know.  What a snapshot needs and no pack has
 * ends everything: who is about to remove must not guess.  One thread at a time. */
#pragma once

#include "store/packlist.h"

struct dz_live_segment {
    uint32_t offset, length; /* in its pack, bytes */
    bool live;
};

struct dz_live_pack {
    dz_pack_id id;
    uint64_t bytes, live_bytes; /* of sealed segments */
    size_t first, n;            /* its segments */
    size_t names;               /* objects in its table */
    bool known;                 /* else it stays, whatever is in it */
    bool sound;                 /* not found damaged */
};

struct dz_live {
    struct dz_vault *vault;
    struct dz_live_pack *packs; /* by id */
    size_t n_packs;
    struct dz_live_segment *segments; /* by pack, offset */
    uint8_t *snapshots;               /* ids of the snapshots walked, DZ_SNAPSHOT_ID_BYTES each */
    size_t n_snapshots;
    struct dz_live_parts *parts; /* the walk's own */
};

/* Reads the tables of all packs.  `tmpfd` is a writer's directory.
 * DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_live_new(struct dz_vault *v, int tmpfd, struct dz_live **ret_live,
                      dz_err *err) DZ_MUST_CHECK;
void dz_live_free(struct dz_live *l); /* NULL is fine */
DZ_DEFINE_AUTO(dz_live, dz_live_free)

/* Takes in what the log and the packs gained, walks every snapshot that was not walked yet, and
 * marks.  A commit record that the log does not name counts too: a log that was set back must not
 * cost the snapshots since.  So does one of which the log says that it was removed, as long as it
 * is there.  A segment is marked in a pack that is not doomed where there is one.  `progress` (may
 * be NULL) is told how many snapshots were walked.
 * DZ_E_CORRUPT (a commit, a reference node or an object is missing or damaged; named), DZ_E_IO,
 * DZ_E_NOMEM. */
dz_status dz_live_walk(struct dz_live *l, void (*progress)(void *ctx, uint64_t snapshots),
                       void *ctx, dz_err *err) DZ_MUST_CHECK;

/* Proves that the snapshots can do without `doomed`: walks them all once more, and each name that
 * stands in the table of a doomed pack must stand in that of another, read anew.  The index only
 * says where to look.  DZ_E_CORRUPT: they cannot.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_live_prove(struct dz_live *l, const struct dz_packlist *doomed,
                        dz_err *err) DZ_MUST_CHECK;
