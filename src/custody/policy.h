/* custody/policy.h -- how long the snapshots of each source are kept, by the log alone.
 *
 *   ledger ─▶ POLICY leaves, oldest first ─▶ [each source's rules] ─▶ retention
 *
 * A source without rules keeps everything.  Its first rules are set by whoever runs the vault, with
 * a minimum of 60 days or more; from then on rules can be tightened at once, by one person, and
 * loosened with the operators' approval only: any other leaf that would loosen is passed over,
 * whoever wrote it.  The replay (custody/quorum.h) folds the leaves, since it knows what was
 * approved.  Design: docs/design/retention.md.  Layout of the leaf: docs/format/log.md.  One thread
 * at a time. */
#pragma once

#include "core/zone.h"
#include "custody/ledger.h"
#include "store/commit.h"

enum {
    DZ_KEEP_MINIMUM_DAYS = 60, /* an intruder's usual dwell of 40 days, and a margin */
    DZ_KEEP_DAYS_MAX = 36500,  /* of `minimum`, and of each count */
};

/* The rules of one source.  Counts are of days, months and years that have a snapshot. */
typedef struct dz_keep {
    uint32_t minimum_days;
    uint32_t daily, monthly, yearly;
    char zone[DZ_ZONE_NAME_MAX + 1]; /* where days begin */
} dz_keep;

typedef struct dz_policy {
    char source[DZ_SOURCE_NAME_MAX + 1];
    dz_keep keep;
    uint64_t leaf; /* that set it */
} dz_policy;

struct dz_policies {
    dz_policy *list;
    size_t n;
    size_t passed_over; /* leaves that would have loosened, or made no sense */
};

/* None yet, and room for all POLICY leaves of the ledger.  DZ_E_NOMEM. */
dz_status dz_policies_begin(const struct dz_ledger *ledger, struct dz_policies *ret,
                            dz_err *err) DZ_MUST_CHECK;
void dz_policies_release(struct dz_policies *p); /* a zeroed one is fine */
/* Takes the next POLICY leaf that no operator approved.  False: it would loosen, and was not taken.
 */
bool dz_policies_take(struct dz_policies *p, const dz_ledger_leaf *leaf);
/* Takes the rules of the next one, approved. */
void dz_policies_set(struct dz_policies *p, const char *source, const dz_keep *keep, uint64_t leaf);
/* NULL: the source has no rules. */
const dz_policy *dz_policies_find(const struct dz_policies *p, const char *source);

/* What `to` loosens in `from` (a member's name: "minimum", "daily", ...), or NULL when nothing.
 * A `from` of NULL stands for no rules yet: only a minimum below 60 days loosens. */
const char *dz_keep_loosens(const dz_keep *from, const dz_keep *to);

/* "minimum 60 days, daily 180, monthly 24, yearly 5, Asia/Tokyo": as a request shows them. */
enum { DZ_KEEP_TEXT = 160 };
void dz_keep_text(const dz_keep *keep, char ret_text[DZ_KEEP_TEXT]);
/* Reads that, and no other spelling. */
bool dz_keep_parse(dz_slice text, dz_keep *ret);
/* What a POLICY leaf says; false: nothing that can be read. */
bool dz_policy_of(const dz_ledger_leaf *leaf, char ret_source[DZ_SOURCE_NAME_MAX + 1],
                  dz_keep *ret_keep);
/* The text of a POLICY leaf; NULL: out of memory. */
json_t *dz_policy_text(const char *source, const dz_keep *keep);

/* Sets a source's rules, with a POLICY leaf, while nobody else changes what custody rests on.
 * DZ_E_USAGE (source, zone, a number beyond DZ_KEEP_DAYS_MAX), DZ_E_POLICY (loosens; names what),
 * else as dz_ledger_add(). */
dz_status dz_policy_set(struct dz_vault *v, const char *source, const dz_keep *keep,
                        dz_err *err) DZ_MUST_CHECK;
