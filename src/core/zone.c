#include "core/zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char *outside; /* TZ before dz_zone_enter() */

bool dz_zone_name_ok(const char *name) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_+-/";
    size_t n = strlen(name);

    return n > 0 && n <= DZ_ZONE_NAME_MAX && strspn(name, letters) == n && name[0] != '/' &&
           name[n - 1] != '/' && !strstr(name, "//");
}

dz_status dz_zone_enter(const char *name, dz_err *err) {
    char path[sizeof "/usr/share/zoneinfo/" + DZ_ZONE_NAME_MAX];
    const char *before = getenv("TZ");

    if (!dz_zone_name_ok(name))
        return DZ_FAIL(err, DZ_E_USAGE, "time zone \"%.80s\": not a name such as Asia/Tokyo", name);
    (void) snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    /* The C library takes a zone that it does not know for UTC, without a word. */
    if (strcmp(name, "UTC") != 0 && access(path, R_OK) != 0)
        return DZ_FAIL(err, DZ_E_USAGE, "time zone \"%.80s\" is not known here (no file %.100s)",
                       name, path);
    outside = before ? strdup(before) : NULL;
    if ((before && !outside) || setenv("TZ", name, 1) != 0) {
        free(outside);
        outside = NULL;
        return DZ_FAIL(err, DZ_E_NOMEM, "time zone: out of memory");
    }
    tzset();
    return DZ_OK;
}

void dz_zone_leave(void) {
    if (!outside || setenv("TZ", outside, 1) != 0)
        (void) unsetenv("TZ");
    free(outside);
    outside = NULL;
    tzset();
}

/* All zero beyond the year 2^31. */
static struct tm wall_clock(int64_t us) {
    time_t seconds = (time_t) (us / 1000000 - (us % 1000000 < 0));
    struct tm tm = { 0 };

    if (!localtime_r(&seconds, &tm))
        return (struct tm){ .tm_year = -1900, .tm_mon = -1 };
    return tm;
}

dz_date dz_zone_date(int64_t us) {
    struct tm tm = wall_clock(us);

    return (dz_date){ tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday };
}

int dz_zone_offset(int64_t us) {
    return (int) wall_clock(us).tm_gmtoff;
}

/* Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March, so that the
 * leap day is the last of its year. */
dz_date dz_date_of_day(int64_t days) {
    const int64_t era_days = 146097; /* 400 years */
    int64_t from_march = days + 719468, era, day, year, in_year, month;

    era = (from_march >= 0 ? from_march : from_march - era_days + 1) / era_days;
    day = from_march - era * era_days;
    year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    in_year = day - (365 * year + year / 4 - year / 100);
    month = (5 * in_year + 2) / 153;
    return (dz_date){ .year = (int) (year + era * 400 + (month >= 10)),
                      .month = (int) (month < 10 ? month + 3 : month - 9),
                      .day = (int) (in_year - (153 * month + 2) / 5 + 1) };
}

int dz_weekday_of_day(int64_t days) {
    return (int) ((days % 7 + 4 + 7) % 7); /* 1970-01-01 was a Thursday */
}
