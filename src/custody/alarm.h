/* custody/alarm.h -- an alarm in the log: how bad, what, whose.
 *
 * The leaf ALARM with the text {severity, reason, source, detail} (docs/format/log.md).  `reason`
 * is a word for programs ("source-failed"), `detail` a line for people, without patient data.
 * Belongs to one thread. */
#pragma once

#include "custody/ledger.h"

enum dz_alarm_severity { DZ_ALARM_INFO, DZ_ALARM_WARNING, DZ_ALARM_SERIOUS };

/* `source` and `detail` may be NULL; detail is cut at 500 bytes.  As dz_ledger_note(). */
dz_status dz_alarm_note(struct dz_vault *v, int tmpfd, enum dz_alarm_severity severity,
                        const char *reason, const char *source, const char *detail,
                        dz_err *err) DZ_MUST_CHECK;

/* The same for who is no writer: makes a writer's directory for it. */
dz_status dz_alarm_raise(struct dz_vault *v, enum dz_alarm_severity severity, const char *reason,
                         const char *source, const char *detail, dz_err *err) DZ_MUST_CHECK;
