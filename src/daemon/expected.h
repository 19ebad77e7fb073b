/* daemon/expected.h -- which sources are expected and by when: so that silence is seen even when
 * the daemon is dead.
 *
 *   dozod.yaml ─▶ dozod ─▶ cache/expected ─▶ [expected] + newest snapshots ─▶ dozo status, alarms
 *
 * The file says how each source is due, not when: who reads it works the rest out from the vault's
 * newest snapshots (daemon/schedule.h), and it is written only when the configuration is read.
 * JSON, docs/format/cache.md.  Belongs to one thread; what says _late_ wants the file's zone to be
 * entered (core/zone.h). */
#pragma once

#include "daemon/schedule.h"
#include "store/vault.h"

enum {
    DZ_EXPECTED_MAX = 1000,            /* sources */
    DZ_EXPECTED_FILE_MAX = 1024 << 10, /* bytes */
    DZ_EXPECTED_NAME_MAX = 128,        /* as DZ_SOURCE_NAME_MAX */
};

typedef struct dz_expected_source {
    char name[DZ_EXPECTED_NAME_MAX + 1];
    char *cron; /* the line; NULL: an interval.  Owned. */
    dz_schedule schedule;
    int64_t late_after_us;
    int64_t since_us; /* when it was first expected by this schedule */
} dz_expected_source;

struct dz_expected {
    char *zone; /* in which cron lines are read.  Owned. */
    dz_expected_source *list;
    size_t n;
};
void dz_expected_release(struct dz_expected *e); /* a zeroed one is fine */

/* Adds a source and copies what is given; `zone` is set by the caller.  DZ_E_NOMEM. */
dz_status dz_expected_add(struct dz_expected *e, const char *name, const char *cron,
                          const dz_schedule *schedule, int64_t late_after_us, int64_t since_us,
                          dz_err *err) DZ_MUST_CHECK;
/* NULL: not expected. */
const dz_expected_source *dz_expected_find(const struct dz_expected *e, const char *name);
/* True when both are due at the same times. */
bool dz_expected_same(const dz_expected_source *a, const dz_expected_source *b);

/* The file's bytes, and back.  DZ_E_MALFORMED, DZ_E_UNSUPPORTED (a later version), DZ_E_LIMIT,
 * DZ_E_NOMEM. */
dz_status dz_expected_write(const struct dz_expected *e, dz_buf *to, dz_err *err) DZ_MUST_CHECK;
dz_status dz_expected_read(dz_slice text, struct dz_expected *ret, dz_err *err) DZ_MUST_CHECK;

/* The same, in the vault's cache.  Nothing there: *ret is empty.  As above, and DZ_E_IO. */
dz_status dz_expected_load(struct dz_vault *v, struct dz_expected *ret, dz_err *err) DZ_MUST_CHECK;
dz_status dz_expected_store(struct dz_vault *v, const struct dz_expected *e,
                            dz_err *err) DZ_MUST_CHECK;

/* When the source is due next, by its newest snapshot (INT64_MIN: there is none), and from when on
 * it is late.  INT64_MAX: never. */
int64_t dz_expected_due(const dz_expected_source *s, int64_t newest_us);
int64_t dz_expected_late(const dz_expected_source *s, int64_t newest_us);
