/* store/snapshot.h -- which snapshots there are, by the verified log alone.
 *
 * A snapshot is named by its id (a unique prefix of the hex is enough), `latest`,
 * `latest:SOURCE`, or `SOURCE@TIME` (ISO 8601; the newest at or before). */
#pragma once

#include "store/commit.h"
#include "store/vault.h"

/* One row of the list: the commit read as far as the vault is open, and its file's name. */
struct dz_snapshot {
    struct dz_commit commit;
    uint8_t file[DZ_SHA256_BYTES];
    uint64_t leaf; /* index in the log */
};
void dz_snapshot_release(struct dz_snapshot *s);

/* Reads the commit record of this name; of the rest, `file` is set.  The caller releases *ret_snap.
 * DZ_E_CORRUPT (missing, damaged, or not of this vault), DZ_E_UNSUPPORTED, DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_snapshot_load(struct dz_vault *v, const uint8_t file[DZ_SHA256_BYTES],
                           struct dz_snapshot *ret_snap, dz_err *err) DZ_MUST_CHECK;

/* Visits the snapshots in log order, oldest first, but not those that the log says were removed
 * (store/removed.h) and whose commit record is no more.  The visited row is borrowed for the call.
 * A commit that the log names but that is missing or damaged is given with status != DZ_OK and only
 * `file` and `leaf` set; the visit goes on.  Visitor: DZ_OK to go on, anything else ends it and is
 * returned.  DZ_E_CORRUPT when the log itself is damaged. */
typedef dz_status dz_snapshot_visit(void *ctx, const struct dz_snapshot *snap, dz_status status,
                                    const dz_err *why, dz_err *err);
dz_status dz_snapshots_each(struct dz_vault *v, dz_snapshot_visit *visit, void *ctx,
                            dz_err *err) DZ_MUST_CHECK;

/* The same from the newest back, down to the leaf `from` of the log (0: all).  A removed one is
 * passed over as far as the leaves looked at say so: all of them, from the newest on.  The visitor
 * says whether to go on, and may keep *snap by zeroing it.  What is found of the log as its handle
 * has it: dz_tlog_refresh() takes in what others appended.  As dz_snapshots_each(). */
typedef bool dz_snapshot_visit_back(void *ctx, struct dz_snapshot *snap, dz_status status,
                                    const dz_err *why);
dz_status dz_snapshots_back(struct dz_vault *v, uint64_t from, dz_snapshot_visit_back *visit,
                            void *ctx, dz_err *err) DZ_MUST_CHECK;

/* Resolves a name as people type it.  The caller releases *ret_snapshot.
 * DZ_E_NOT_FOUND (says what there is), DZ_E_USAGE (ambiguous prefix, bad time), DZ_E_CORRUPT. */
dz_status dz_snapshot_find(struct dz_vault *v, const char *name, struct dz_snapshot *ret_snapshot,
                           dz_err *err) DZ_MUST_CHECK;

/* The 32 hex digits of an id and NUL; people may type the first 8. */
enum { DZ_SNAPSHOT_ID_TEXT = 33 };
void dz_snapshot_id_text(const uint8_t id[DZ_SNAPSHOT_ID_BYTES], char ret[DZ_SNAPSHOT_ID_TEXT]);
