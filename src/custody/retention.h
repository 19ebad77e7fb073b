/* custody/retention.h -- which snapshots of a source may go, and why each of the others stays.
 *
 *   rules + the source's snapshots in the log's order + now ─▶ [retention] ─▶ a reason for each
 *
 * A function of its arguments alone.  The newest snapshot always stays; `minimum` binds every one;
 * beyond it, the first and the last snapshot stay of each of the newest `daily` days, `monthly`
 * months and `yearly` years that have one.  The first, because a day's last may hold what was
 * encrypted at noon; both, so that 100,000 snapshots of one day push out nothing but each other.
 * Days that lie ahead of now take no day's place.  A snapshot whose deletion operators approved
 * takes nobody's place, unless it is held or an alarm needs it.  Design: docs/design/retention.md.
 */
#pragma once

#include "custody/policy.h"

enum dz_retention {
    DZ_RETENTION_EXPIRES,
    DZ_RETENTION_UNREADABLE, /* its commit is missing or damaged: nothing is known of it */
    DZ_RETENTION_HELD,       /* somebody said so: `dozo hold` */
    DZ_RETENTION_ALARM,      /* it raised an alarm, or the one after it did */
    DZ_RETENTION_APPROVED,   /* it goes: operators approved its deletion */
    DZ_RETENTION_NO_RULES,   /* of its source */
    DZ_RETENTION_NEWEST,
    DZ_RETENTION_MINIMUM,
    DZ_RETENTION_DAILY,
    DZ_RETENTION_MONTHLY,
    DZ_RETENTION_YEARLY,
};
/* Whether it goes: EXPIRES or APPROVED. */
static inline bool dz_retention_goes(enum dz_retention why) {
    return why == DZ_RETENTION_EXPIRES || why == DZ_RETENTION_APPROVED;
}
/* "expires", "minimum", "daily", ...: for JSON. */
const char *dz_retention_name(enum dz_retention why);

typedef struct dz_retention_row {
    int64_t when_us; /* of arrival; ascending: see dz_survey_read() */
    bool held, alarm, approved;
    enum dz_retention why; /* the answer; the first reason of the order above that applies */
} dz_retention_row;

/* Decides about all snapshots of one source, given in the log's order.  `keep` may be NULL: no
 * rules.  DZ_E_USAGE: the zone is not known here. */
dz_status dz_retention_decide(const dz_keep *keep, dz_retention_row *rows, size_t n, int64_t now_us,
                              dz_err *err) DZ_MUST_CHECK;
