/* daemon/log.h -- lines for the journal: to standard error, which systemd passes on.
 *
 * Sources are named, files never: a file's name may be a patient's.  Thread-safe. */
#pragma once

#include <syslog.h>

#include "core/error.h"

/* A line in the language of messages.  `priority`: LOG_ERR and so on (syslog.h); the journal is
 * told which (sd-daemon(3)), a terminal gets "dozod: ...". */
void dz_log(int priority, const char *fmt, ...) DZ_PRINTF(2, 3);
/* What went wrong, with the system's reason where there is one. */
void dz_log_error(const dz_err *err);
