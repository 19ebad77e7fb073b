/* daemon/config.h -- dozod.yaml: which sources feed the vault, when, and who is told.
 *
 *   file ─▶ owner and mode ─▶ daemon/yaml_file.h ─▶ daemon/keys.h ─▶ [config]      dozod.yaml(5)
 *
 * All of it is checked before any of it is used.  Every message names file, line and key, and what
 * may stand there.  The first fault ends the reading.  Belongs to one thread; reading checks that
 * the time zone is known and so uses core/zone.h. */
#pragma once

#include "core/buf.h"
#include "daemon/expected.h"
#include "daemon/feed.h"

enum { DZ_FEEDS_MAX = DZ_EXPECTED_MAX, DZ_AT_ONCE_MAX = 64 };

struct dz_config {
    char *vault;    /* path */
    char *timezone; /* a name of core/zone.h; NULL: none is named, and there is no cron line */
    int64_t jitter_us, late_after_us, verify_every_us;
    struct dz_limits {
        unsigned at_once; /* runs */
        int64_t run_time_us;
        int64_t grace_us; /* that a run has to clean up when it is told to stop */
    } limits;
    struct dz_notify {
        dz_texts command; /* n 0: none */
        bool syslog;
    } notify;
    struct dz_feed *feeds;
    size_t n_feeds;
};

/* `name` is the file's, for messages.  The caller releases *ret_config.
 * DZ_E_MALFORMED, DZ_E_LIMIT, DZ_E_NOMEM. */
dz_status dz_config_read(dz_slice text, const char *name, struct dz_config *ret_config,
                         dz_err *err) DZ_MUST_CHECK;
/* The same from a file.  Its lines are run with the daemon's rights, so it must belong to root or
 * to whom we run as, and nobody else may write to it.
 * What it says is appended to `ret_text`, also when it is wrong.
 * DZ_E_POLICY (owner, mode, no regular file), DZ_E_IO, and as above. */
dz_status dz_config_load(const char *path, dz_buf *ret_text, struct dz_config *ret_config,
                         dz_err *err) DZ_MUST_CHECK;
void dz_config_release(struct dz_config *c); /* a zeroed one is fine */
