/* cli/status.h -- what `dozo status` has gathered, and how it shows it.
 *
 *   vault ─▶ cmd_status.c, status_alarms.c ─▶ [state] ─▶ status_put.c ─▶ text or JSON
 *
 * Belongs to one thread. */
#pragma once

#include "custody/holder.h"
#include "custody/quorum.h"
#include "custody/witness.h"
#include "store/snapshot.h"
#include "store/verify.h"

struct dz_status_source {
    char name[DZ_SOURCE_NAME_MAX + 1];
    uint64_t snapshots, files, bytes, alarms;
    int64_t newest_us;    /* 0: none was ever made */
    uint64_t newest_leaf; /* of the log */
    int64_t failed_us;    /* a run failed, and none went well since; 0: no */
    int64_t due_us;       /* when the next one is; 0: it is not expected, INT64_MAX: never */
    bool late;            /* by more than its limit */
    char newest[DZ_SNAPSHOT_ID_TEXT];
};

/* An alarm that stands: it makes status red, or keeps snapshots. */
struct dz_status_alarm {
    uint64_t leaf; /* that raised it; of a snapshot, its commit's */
    int64_t time_us;
    char reason[64], about[200]; /* as a request would show them, cut */
};
enum { DZ_STATUS_ALARMS = 16 /* shown; all are counted */ };

struct dz_status_state {
    struct dz_vault *v;
    const struct dz_quorum *quorum; /* while it is gathered; NULL: the log is damaged */
    int64_t now_us;
    struct dz_status_source *sources; /* owned */
    size_t n_sources, room;
    uint64_t snapshots, damaged_commits, alarms;
    uint64_t packs, pack_bytes, packs_unindexed;
    size_t damaged_runs;
    bool log_ok, verified;
    dz_verify_last last;
    bool witness_fresh;
    uint64_t witness_size;
    int64_t witness_us; /* 0: never */
    struct dz_status_alarm standing[DZ_STATUS_ALARMS];
    uint64_t n_standing; /* the first DZ_STATUS_ALARMS are there */
    uint64_t operators, asked, forged;
    int64_t trusted_us; /* the vault's own time (custody/clock_guard.h) */
    bool frozen;
    uint64_t untimely; /* removals that were not announced (custody/prune.h) */
    bool open;
    dz_holder_state holder;
    /* what is red, as words for scripts; the first n_red count */
    const char *red[16];
    size_t n_red;
};

void dz_status_red(struct dz_status_state *s, const char *why);
/* The source of this name, a new one if need be; NULL: no memory. */
struct dz_status_source *dz_status_source_of(struct dz_status_state *s, const char *name);

/* How many alarms of the snapshot operators have not settled; notes them. */
uint64_t dz_status_snapshot_alarms(struct dz_status_state *s, const struct dz_snapshot *snap);
/* The alarms of the log that are not settled and have not passed.  After all snapshots.
 * DZ_E_NOMEM. */
dz_status dz_status_log_alarms(struct dz_status_state *s, const struct dz_ledger *ledger,
                               const struct dz_witnesses *known, dz_err *err) DZ_MUST_CHECK;

void dz_status_put_json(const struct dz_status_state *s, const char *fingerprint);
void dz_status_put_text(const struct dz_status_state *s, const char *fingerprint);
