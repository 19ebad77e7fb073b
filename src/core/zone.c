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

dz_date dz_zone_date(int64_t us) {
    time_t seconds = (time_t) (us / 1000000 - (us % 1000000 < 0));
    struct tm tm = { 0 };

    if (!localtime_r(&seconds, &tm)) /* beyond the year 2^31 */
        return (dz_date){ 0 };
    return (dz_date){ tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday };
}
