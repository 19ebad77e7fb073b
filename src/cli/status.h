/* cli/status.h -- what `dozo status` has gathered, and how it shows it.
 *
 *   vault ─▶ cmd_status.c ─▶ [state] ─▶ status_put.c ─▶ text or JSON
 *
 * Belongs to one thread. */
#pragma once

#include "custody/holder.h"
#include "store/snapshot.h"
#include "store/verify.h"

struct dz_status_source {
    char name[DZ_SOURCE_NAME_MAX + 1];
    uint64_t snapshots, files, bytes, alarms;
    int64_t newest_us;    /* 0: none was ever made */
    uint64_t newest_leaf; /* of the log */
    int64_t failed_us;    /* a run failed, and none went well since; 0: no */
    char newest[DZ_SNAPSHOT_ID_TEXT];
};

struct dz_status_state {
    struct dz_vault *v;
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

void dz_status_put_json(const struct dz_status_state *s, const char *fingerprint);
void dz_status_put_text(const struct dz_status_state *s, const char *fingerprint);
