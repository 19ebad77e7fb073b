/* custody/survey.h -- every snapshot of the vault, and whether retention lets it go.
 *
 *   log ─▶ snapshots, rules, holds, approved deletions ─▶ [survey]: a row for each ─▶ prune
 *
 * A snapshot counts as arrived no earlier than any that stands before it in the log: a clock that
 * was set back makes nothing older than it is.  One thread at a time. */
#pragma once

#include "custody/action.h"
#include "custody/retention.h"

typedef struct dz_survey_row {
    char source[DZ_SOURCE_NAME_MAX + 1]; /* "" when unreadable */
    uint8_t id[DZ_SNAPSHOT_ID_BYTES];    /* zero when unreadable */
    uint8_t file[DZ_SHA256_BYTES];       /* the commit record */
    uint64_t leaf;
    int64_t arrived_us; /* as the commit says; 0 when unreadable */
    dz_retention_row fate;
    uint8_t request[32]; /* that approved its deletion, when fate.approved */
} dz_survey_row;

struct dz_survey {
    dz_survey_row *rows; /* by source, in the log's order; unreadable ones first */
    size_t n;
};

/* What is not so yet, for who asks what would follow. */
struct dz_survey_if {
    uint64_t ended;         /* the hold of this leaf; 0: none */
    uint64_t settled;       /* the alarms of the snapshot of this leaf; 0: none */
    const char *source;     /* whose rules would be others, or NULL; borrowed */
    const dz_keep *instead; /* these; borrowed */
};

/* Decides about all snapshots as of now_us.  The caller releases *ret, also after a failure.
 * DZ_E_CORRUPT (the log), DZ_E_USAGE (a time zone is not known here), DZ_E_IO, DZ_E_NOMEM. */
dz_status dz_survey_read(struct dz_vault *v, int64_t now_us, struct dz_survey *ret,
                         dz_err *err) DZ_MUST_CHECK;
/* The same by what was read of the log already; `what_if` may be NULL. */
dz_status dz_survey_of(const struct dz_custody *c, int64_t now_us,
                       const struct dz_survey_if *what_if, struct dz_survey *ret,
                       dz_err *err) DZ_MUST_CHECK;
void dz_survey_release(struct dz_survey *s); /* a zeroed one is fine */

/* The row of this commit record, or NULL. */
const dz_survey_row *dz_survey_find(const struct dz_survey *s, const uint8_t file[DZ_SHA256_BYTES]);
