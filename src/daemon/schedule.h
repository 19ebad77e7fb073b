/* daemon/schedule.h -- when a source is due: pure functions of a schedule, a zone and a moment.
 *
 *   "30 2 * * *" or every 1h ─▶ [schedule] + Asia/Tokyo + after this moment ─▶ the next moment due
 *
 * A cron line has five fields: minute 0-59, hour 0-23, day of the month 1-31, month 1-12 or
 * jan-dec, day of the week 0-7 (0 and 7 are Sunday) or sun-sat.  A field is *, a number, a range
 * a-b, each with /step where it is a range or *, or several of these with commas.  If both days are
 * restricted (neither begins with *) one of them is enough; so crontab(5) has it.
 *
 * Where clocks are changed (core/zone.h):
 *
 *                      a line with fixed hours               a line with each hour (hour is *)
 *   set forward        what stood in the hour that is        runs by the clock as it goes on:
 *                      missing runs once, when it is over    what is missing is not made up for
 *   set back           the first of the two times, only      both times
 *
 * So a nightly run takes place exactly once each night, and an hourly one once each hour that
 * passes.
 *
 * Moments are microseconds UTC since 1970.  Cron lines are read in the zone that was entered with
 * dz_zone_enter(); that zone is the process's, so these functions belong to one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

typedef struct dz_schedule {
    int64_t every_us; /* due at its multiples since 1970; 0: by the fields below */
    uint64_t minutes; /* bit n: minute n, and so on */
    uint32_t hours, days, months, weekdays;
    bool any_day, any_weekday; /* the field begins with * */
    int64_t shift_us;          /* everything is that much later: dz_schedule_shift() */
} dz_schedule;

/* Reads a cron line; shift_us is 0.  DZ_E_USAGE names the field, what stands there, and what may;
 * also for a day that no month has ("0 0 30 2 *"). */
dz_status dz_schedule_cron(const char *line, dz_schedule *ret_schedule, dz_err *err) DZ_MUST_CHECK;

/* The next moment due after `after_us`.  INT64_MAX: none within 9 years, or past the year 9999. */
int64_t dz_schedule_next(const dz_schedule *s, int64_t after_us);

/* Where a source's runs lie within `jitter_us` after the time that is written: from its name, so
 * that it is the same every time, and many sources of one time spread out.  0 to jitter_us. */
int64_t dz_schedule_shift(const char *source, int64_t jitter_us);

/* When the next run is to begin, not before `now_us`.  `last_us` is when the source was last known
 * to be done: its newest snapshot came, or a run ended, or it was first expected.
 *
 *  - While it ran it was not due: a run longer than its interval is followed by the next one in
 *    time, never by two.
 *  - Times missed (the machine was off) are made up for once, at once.
 *  - A clock that went back, so that `last_us` lies in the future, does not stop it. */
int64_t dz_schedule_turn(const dz_schedule *s, int64_t last_us, int64_t now_us);

/* When silence becomes an alarm: `late_after_us` past the first time due after `last_us` (as
 * above, runs that brought no snapshot do not count).  INT64_MAX: never. */
int64_t dz_schedule_late(const dz_schedule *s, int64_t last_us, int64_t late_after_us);
