/* custody/settled.h -- alarms that operators have looked at and called settled.
 *
 *   ALARM leaf, or a commit with alarms ─▶ `acknowledge-alarm` ─▶ [settled] ─▶ status, survey
 *
 * An alarm of a leaf is settled together with those like it before it: of the same reason and
 * source, or, where there is no source, of the same reason and detail.  The alarms of a snapshot
 * are settled for that snapshot; then they no longer keep it, nor the one before it.  A later alarm
 * is another one.  One thread at a time. */
#pragma once

#include "custody/quorum.h"
#include "store/snapshot.h"

/* The reason that a request shows for the alarms of a snapshot; no ALARM leaf has it. */
#define DZ_SETTLED_SNAPSHOT "snapshot"

/* Lines of the subject: the leaf that raised it (of the alarm, or of the commit), when, why, and
 * what it is about. */
enum dz_settled_line { DZ_SETTLED_ALARM, DZ_SETTLED_RAISED, DZ_SETTLED_REASON, DZ_SETTLED_ABOUT };

/* The subject of a request for this alarm; the buffers are empty, and may go bad. */
void dz_settled_put(const dz_ledger_leaf *alarm, dz_buf line[]);
void dz_settled_put_snapshot(const struct dz_snapshot *snap, dz_buf line[]);

/* Whether two ALARM leaves are of one kind, as above. */
bool dz_settled_alike(const dz_ledger_leaf *a, const dz_ledger_leaf *b);
/* The ALARM leaf that a request names: one that the log had when it was asked, and that says what
 * the request shows.  NULL: there is none. */
const dz_ledger_leaf *dz_settled_leaf(const struct dz_ledger *ledger, const struct dz_request *r);

/* The request that settled it; NULL: none has. */
const dz_ask *dz_settled_alarm(const struct dz_quorum *q, const dz_ledger_leaf *alarm);
const dz_ask *dz_settled_snapshot(const struct dz_quorum *q, const struct dz_snapshot *snap);
