/* core/zone.h -- calendar dates and hours in a named time zone (the IANA database, tzdata).
 *
 * The C library knows one zone per process, so a zone is entered and left: between the two nothing
 * else may ask for local time.  Not thread-safe; one zone at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

enum { DZ_ZONE_NAME_MAX = 63 };

/* A name of the form "Asia/Tokyo", "UTC", "Etc/GMT+9"; says nothing of whether it is known here. */
bool dz_zone_name_ok(const char *name);

/* DZ_E_USAGE: no such name, or not known to this host (without tzdata, only UTC is). */
dz_status dz_zone_enter(const char *name, dz_err *err) DZ_MUST_CHECK;
void dz_zone_leave(void);

typedef struct dz_date {
    int year, month, day; /* 2026, 1 to 12, 1 to 31 */
} dz_date;
/* The date in the zone entered; before 1970, too. */
dz_date dz_zone_date(int64_t us);

/* How far the clocks of the zone entered are ahead of UTC at that moment, in seconds: 32400 in
 * Tokyo.  Where clocks are set forward some times of the day do not exist, where they are set back
 * some come twice; whoever turns a time of the day into a moment says what that means to him. */
int dz_zone_offset(int64_t us);

/* The date that is `days` days after 1970-01-01, by the Gregorian calendar; no zone takes part. */
dz_date dz_date_of_day(int64_t days);
/* 0 for Sunday to 6 for Saturday. */
int dz_weekday_of_day(int64_t days);
