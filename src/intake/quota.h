/* intake/quota.h -- how much a source has brought today.
 *
 *   bytes, entries, runs ─▶ [quota] ─▶ cache/quota-<hex>, before they are taken
 *
 * A day begins with the first run after the last one ended, and lasts 24 hours by the clock that
 * counts from boot and that nobody sets; over a reboot, by the wall clock.  The count is kept
 * ahead of what comes: who makes the vault crash has used more of his day, not less.
 *
 * One of a source is open at a time (intake/sent.h sees to it).  One thread at a time. */
#pragma once

#include "intake/wire.h"
#include "store/vault.h"

/* In a day; 0: as much as comes. */
struct dz_quota_limits {
    uint64_t entries;
    uint64_t bytes; /* of payloads, as docs/format/wire.md counts them */
    uint64_t runs;
};
#define DZ_QUOTA_LIMITS_DEFAULT \
    ((struct dz_quota_limits){  \
        .entries = 200 * 1000 * 1000, .bytes = UINT64_C(2) << 40, .runs = 500 })

struct dz_quota;
/* `tmpfd` is a writer's directory, borrowed until it is closed.  DZ_E_NOMEM. */
dz_status dz_quota_open(struct dz_vault *v, const char *source, int tmpfd,
                        const struct dz_quota_limits *limits, struct dz_quota **ret_quota,
                        dz_err *err) DZ_MUST_CHECK;
/* Writes the count as it is; if that fails, the day counts as fuller than it was.  NULL is fine. */
void dz_quota_close(struct dz_quota *q);
DZ_DEFINE_AUTO(dz_quota, dz_quota_close)

/* Counts n more.  *ret_fits is false when that is more than a day may bring.  What is counted stays
 * counted.  DZ_E_IO: it could not be made durable. */
dz_status dz_quota_take(struct dz_quota *q, enum dz_wire_what what, uint64_t n, bool *ret_fits,
                        dz_err *err) DZ_MUST_CHECK;
uint64_t dz_quota_limit(const struct dz_quota *q, enum dz_wire_what what);
/* Seconds until the next day, at least 1. */
uint32_t dz_quota_left_s(const struct dz_quota *q);
