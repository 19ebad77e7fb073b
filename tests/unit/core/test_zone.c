/* Zones of the IANA database: dates, offsets, hours that are missing or come twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/zone.h"

static int64_t at(const char *text) {
    int64_t us;

    if (!dz_time_parse(text, &us))
        fail_msg("no time: %s", text);
    return us;
}

static void offsets_follow_the_clocks_of_the_zone(void **state) {
    static const struct {
        const char *what, *zone, *utc;
        int offset; /* minutes */
    } rows[] = {
        { "Tokyo never changes, in winter", "Asia/Tokyo", "2026-01-15T00:00:00Z", 540 },
        { "Tokyo never changes, in summer", "Asia/Tokyo", "2026-07-15T00:00:00Z", 540 },
        { "Tokyo had summer time in 1950", "Asia/Tokyo", "1950-07-15T00:00:00Z", 600 },
        { "Berlin before its hour is missing", "Europe/Berlin", "2026-03-29T00:59:59Z", 60 },
        { "Berlin after its hour was missing", "Europe/Berlin", "2026-03-29T01:00:00Z", 120 },
        { "Berlin, 02:59 for the first time", "Europe/Berlin", "2026-10-25T00:59:59Z", 120 },
        { "Berlin, 02:00 for the second time", "Europe/Berlin", "2026-10-25T01:00:00Z", 60 },
        { "half an hour", "Australia/Lord_Howe", "2026-01-15T00:00:00Z", 660 },
        { "half an hour, in winter", "Australia/Lord_Howe", "2026-07-15T00:00:00Z", 630 },
        { "west of Greenwich", "America/New_York", "2026-01-15T00:00:00Z", -300 },
        { "UTC", "UTC", "2026-01-15T00:00:00Z", 0 },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t moment = at(rows[i].utc);
        int got;

        assert_int_equal(dz_zone_enter(rows[i].zone, NULL), DZ_OK);
        got = dz_zone_offset(moment);
        dz_zone_leave();
        if (got != 60 * rows[i].offset)
            fail_msg("%s: %d s", rows[i].what, got);
    }
}

static void the_date_is_that_of_the_zone(void **state) {
    dz_date d;

    (void) state;
    assert_int_equal(dz_zone_enter("Asia/Tokyo", NULL), DZ_OK);
    d = dz_zone_date(at("2026-12-31T15:00:00Z"));
    dz_zone_leave();
    assert_true(d.year == 2027 && d.month == 1 && d.day == 1);
}

static void unknown_zones_are_refused(void **state) {
    static const char *const rows[] = { "",       "Asia/Nowhere", "/etc/passwd", "../etc/passwd",
                                        "JST-9 ", "Asia//Tokyo" };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (dz_zone_enter(rows[i], NULL) != DZ_E_USAGE)
            fail_msg("\"%s\" is taken", rows[i]);
}

/* Each day of two 400-year turns against the C library. */
static void days_are_dates(void **state) {
    (void) state;
    for (int64_t day = -146097 - 3; day < 146097; day++) {
        time_t seconds = (time_t) (day * 86400);
        struct tm tm;
        dz_date d = dz_date_of_day(day);

        assert_non_null(gmtime_r(&seconds, &tm));
        if (d.year != tm.tm_year + 1900 || d.month != tm.tm_mon + 1 || d.day != tm.tm_mday ||
            dz_weekday_of_day(day) != tm.tm_wday)
            fail_msg("day %lld is %d-%d-%d", (long long) day, d.year, d.month, d.day);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_follow_the_clocks_of_the_zone),
        cmocka_unit_test(the_date_is_that_of_the_zone),
        cmocka_unit_test(unknown_zones_are_refused),
        cmocka_unit_test(days_are_dates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
