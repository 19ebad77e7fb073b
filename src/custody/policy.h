/* custody/policy.h -- how long the snapshots of each source are kept, by the log alone.
 *
 *   ledger ─▶ POLICY leaves, oldest first ─▶ [each source's rules] ─▶ retention
 *
 * A source without rules keeps everything.  Its first rules are set by whoever runs the vault, with
 * a minimum of 60 days or more; from then on rules can be tightened at once, by one person, and
 * never loosened: a leaf that would loosen is passed over, whoever wrote it.  Design:
 * docs/design/retention.md.  Layout of the leaf: docs/format/log.md.  One thread at a time. */
#pragma once

#include "core/zone.h"
#include "custody/quorum.h"
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

/* A leaf that loosens counts if it carries out what operators approved: these rules, after those
 * that were.  Copies what it needs.  DZ_E_NOMEM. */
dz_status dz_policies_read(const struct dz_ledger *ledger, const struct dz_quorum *q,
                           struct dz_policies *ret, dz_err *err) DZ_MUST_CHECK;
void dz_policies_release(struct dz_policies *p); /* a zeroed one is fine */
/* NULL: the source has no rules. */
const dz_policy *dz_policies_find(const struct dz_policies *p, const char *source);

/* What `to` loosens in `from` (a member's name: "minimum", "daily", ...), or NULL when nothing.
 * A `from` of NULL stands for no rules yet: only a minimum below 60 days loosens. */
const char *dz_keep_loosens(const dz_keep *from, const dz_keep *to);

/* "minimum 60 days, daily 180, monthly 24, yearly 5, Asia/Tokyo": as a request shows them. */
enum { DZ_KEEP_TEXT = 160 };
void dz_keep_text(const dz_keep *keep, char ret_text[DZ_KEEP_TEXT]);
/* The text of a POLICY leaf; NULL: out of memory. */
json_t *dz_policy_text(const char *source, const dz_keep *keep);

/* Sets a source's rules, with a POLICY leaf.
 * DZ_E_USAGE (source, zone, a number beyond DZ_KEEP_DAYS_MAX), DZ_E_POLICY (loosens; names what),
 * else as dz_ledger_add(). */
dz_status dz_policy_set(struct dz_vault *v, const char *source, const dz_keep *keep,
                        dz_err *err) DZ_MUST_CHECK;
