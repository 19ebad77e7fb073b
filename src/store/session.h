/* store/session.h -- one writer: takes objects in, and makes one snapshot exist.
 *
 *   object ─▶ identity ─▶ known? ─▶ [lane: open segment] ─▶ seal ─▶ [pack thread] ─▶ pack
 *                                                                          commit ─▶ log
 *
 * A session belongs to one backup; several sessions may run on one vault at once, in one process
 * or many.  Each thread that puts objects has a lane of its own; a lane belongs to one thread at a
 * time.  Nothing is visible to readers before dz_session_commit() returns DZ_OK.  A session that
 * dies leaves only unnamed temporary files and packs that no commit refers to; the next writer
 * sweeps the former and uses the latter. */
#pragma once

#include "store/commit.h"
#include "store/object.h"
#include "store/vault.h"

struct dz_session;
struct dz_lane;

enum {
    DZ_SEGMENT_TARGET = 4 << 20,        /* bytes of a data segment before compression */
    DZ_SEGMENT_NODE_TARGET = 128 << 10, /* of manifest nodes: small, to be read one by one */
    DZ_SEGMENT_REF_TARGET = 1 << 20,    /* of reference nodes: read all together by prune */
};

/* `vault` is borrowed and must outlive the session.  Heals the index first: packs it lacks are
 * added from their tables, packs that are gone are forgotten.  DZ_E_IO, DZ_E_NOMEM, DZ_E_CORRUPT.
 */
dz_status dz_session_begin(struct dz_vault *vault, struct dz_session **ret_session,
                           dz_err *err) DZ_MUST_CHECK;
/* Abandons whatever was not committed.  NULL is fine. */
void dz_session_free(struct dz_session *s);
DZ_DEFINE_AUTO(dz_session, dz_session_free)

/* The session's own temporary directory, borrowed until it is freed. */
int dz_session_tmp(const struct dz_session *s);

/* A new lane; owned by the session, freed with it.  Thread-safe.  DZ_E_NOMEM. */
dz_status dz_session_lane(struct dz_session *s, struct dz_lane **ret_lane,
                          dz_err *err) DZ_MUST_CHECK;

/* Takes one object.  `bytes` is copied if it is new.  `incompressible` says that compression
 * would be in vain.  The identity is given back; *ret_new (may be NULL) tells whether the vault
 * lacked it.  DZ_E_LIMIT (over DZ_OBJECT_MAX), DZ_E_IO, DZ_E_NOMEM; after a failure the session
 * can only be freed. */
dz_status dz_lane_put(struct dz_lane *lane, enum dz_kind kind, dz_slice bytes, bool incompressible,
                      dz_id *ret_id, bool *ret_new, dz_err *err) DZ_MUST_CHECK;

/* Whether the object need not be put: the vault has it, or this session took it.  Also false when a
 * damaged index cannot say.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_lane_has(struct dz_lane *lane, enum dz_kind kind, const dz_id *id, bool *ret_has,
                      dz_err *err) DZ_MUST_CHECK;

/* A sink over a lane, for trees.  Valid as long as the lane. */
struct dz_sink dz_lane_sink(struct dz_lane *lane);

/* Makes everything durable and then the snapshot: packs, index run, commit record, log leaf, in
 * this order.  Fills commit->arrived_us, new_bytes, stored_bytes, packs, and id unless it is set
 * (it must then be no other snapshot's).  No lane may be in use.  DZ_E_IO: the snapshot does not
 * exist, unless the very last sync failed: then it may. */
dz_status dz_session_commit(struct dz_session *s, struct dz_commit *commit,
                            dz_err *err) DZ_MUST_CHECK;

/* Makes durable what was put, and no snapshot: for a run that broke off and will come again.  The
 * session can only be freed afterwards.  No lane may be in use.  DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_session_keep(struct dz_session *s, dz_err *err) DZ_MUST_CHECK;
