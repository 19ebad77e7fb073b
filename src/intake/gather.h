/* intake/gather.h -- what every intake ends in: entries in tree order, and a snapshot of them.
 *
 *   entries, problems ─▶ [gather] ─▶ manifest, counts ─▶ commit
 *
 * One thread at a time. */
#pragma once

#include "store/manifest.h"
#include "store/session.h"

struct dz_gather {
    struct dz_sink sink; /* over the lane: for content lists too */
    struct dz_manifest_builder *manifest;
    struct dz_commit *commit; /* borrowed */
    uint64_t problems_kept;
};

/* `lane` and `commit` are borrowed until dz_gather_close(); the commit is counted up from where it
 * stands.  DZ_E_NOMEM. */
dz_status dz_gather_open(struct dz_gather *g, struct dz_vault *v, struct dz_lane *lane,
                         struct dz_commit *commit, dz_err *err) DZ_MUST_CHECK;
void dz_gather_close(struct dz_gather *g); /* zeroed is fine */

/* Adds the next entry.  *ret_added is false when it cannot stand there: it breaks the format or its
 * limits, or comes out of order; `err` says how, and the next may follow.
 * DZ_E_NOMEM, and the lane's. */
dz_status dz_gather_add(struct dz_gather *g, const dz_entry *e, bool *ret_added,
                        dz_err *err) DZ_MUST_CHECK;

/* Counts what could not be kept as it was, and keeps it by name while there is room. */
void dz_gather_problem(struct dz_gather *g, dz_slice path, uint8_t what, int sys_errno);

/* Finishes the manifest and makes the snapshot.  As dz_session_commit(). */
dz_status dz_gather_commit(struct dz_gather *g, struct dz_session *s, dz_err *err) DZ_MUST_CHECK;

/* The key of the digests in feature records (intake/read_file.h). */
void dz_gather_digest_key(const struct dz_vault *v, uint8_t ret_key[DZ_KEY_BYTES]);
