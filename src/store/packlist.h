/* store/packlist.h -- which packs the vault holds, and an index that agrees with them.
 *
 *   packs/ ─▶ [pack list] ─┬▶ index runs of packs that are gone: their answers are refused
 *                          └▶ packs that no run covers: added from their tables
 *
 * A pack list does not change once made; any thread may ask it. */
#pragma once

#include "store/index.h"
#include "store/pack.h"
#include "store/vault.h"

struct dz_packlist {
    dz_pack_id *ids; /* sorted; owned */
    size_t n;
};
/* Lists packs/ without those that a verification found damaged (cache/damaged), so that what only
 * they hold is stored anew.  Names that are no pack names are passed over.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_packlist_read(struct dz_vault *v, struct dz_packlist *ret_list,
                           dz_err *err) DZ_MUST_CHECK;
void dz_packlist_release(struct dz_packlist *l);
bool dz_packlist_has(const struct dz_packlist *l, const uint8_t pack[DZ_SHA256_BYTES]);

/* An index and the packs it may speak of. */
struct dz_catalog {
    struct dz_index *index;
    struct dz_packlist packs; /* that may be relied on */
    struct dz_packlist all;   /* and those found damaged or doomed: what is in them can be read */
};
/* Opens the index, dropping damaged runs, and brings it up to date with all packs in `tmpfd` (a
 * writer's directory).  `all` builds it anew.  *ret_read (may be NULL) counts the packs whose
 * tables were read; packs whose table does not open are passed over (verify names them).
 * DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_catalog_open(struct dz_vault *v, int tmpfd, bool all, struct dz_catalog *ret_catalog,
                          uint64_t *ret_read, dz_err *err) DZ_MUST_CHECK;
/* For a vault that cannot be written, read-only or full: the whole index made anew in files that
 * have no name, in memory where there is room.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_catalog_open_aside(struct dz_vault *v, struct dz_catalog *ret_catalog,
                                dz_err *err) DZ_MUST_CHECK;
void dz_catalog_close(struct dz_catalog *c);

/* Where the object lies, in a pack that is there.  Thread-safe.  As dz_index_find(). */
dz_status dz_catalog_find(struct dz_catalog *c, const dz_name *name, dz_place *ret_place,
                          bool *ret_found, dz_err *err) DZ_MUST_CHECK;

/* Adds all rows of a pack's table to an index builder. */
dz_status dz_catalog_add_table(struct dz_index_builder *b, const dz_pack_id *id,
                               const dz_pack_table *t, dz_err *err) DZ_MUST_CHECK;

/* Packs that are about to be removed (DIR/doomed): whoever opens a catalog from now on does not
 * rely on them.  Whoever opened one before may: it holds a writer's directory, and its end is
 * waited for (store/sweep.h).  Replaces the list; n is 0: none.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_packlist_doom(struct dz_vault *v, int tmpfd, const dz_pack_id *ids, size_t n,
                           dz_err *err) DZ_MUST_CHECK;
/* The list as it is on disk; released by the caller.  DZ_E_IO, DZ_E_NOMEM, DZ_E_LIMIT. */
dz_status dz_packlist_doomed(struct dz_vault *v, struct dz_packlist *ret_list,
                             dz_err *err) DZ_MUST_CHECK;

/* Packs that were removed because nothing needs them (cache/pruned): who remembers what rested on
 * all packs that there were need not mind.  A cache: what is not in it counts as lost.
 * `_add` keeps what was there while there is room.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_packlist_pruned_add(struct dz_vault *v, int tmpfd, const dz_pack_id *ids, size_t n,
                                 dz_err *err) DZ_MUST_CHECK;
void dz_packlist_pruned(struct dz_vault *v, struct dz_packlist *ret_list);

/* While held, no pack is removed; with `removing`, nobody else holds it.  Waits.  The caller gives
 * *ret_lock to dz_packs_unlock() (-1 is fine there).  DZ_E_IO. */
dz_status dz_packs_lock(struct dz_vault *v, bool removing, int *ret_lock,
                        dz_err *err) DZ_MUST_CHECK;
void dz_packs_unlock(int lock);

/* What verification found damaged: kept so that it is not relied on again.  Replaces the list; n is
 * 0: nothing is damaged any more.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_packlist_mark_damaged(struct dz_vault *v, int tmpfd, const dz_pack_id *ids, size_t n,
                                   dz_err *err) DZ_MUST_CHECK;
