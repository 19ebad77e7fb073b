/* When a source is due: by hand, and against a second, slow definition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/zone.h"
#include "daemon/schedule.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

static int64_t at(const char *text) {
    int64_t us;

    if (!dz_time_parse(text, &us))
        fail_msg("no time: %s", text);
    return us;
}

static dz_schedule cron(const char *line) {
    dz_schedule s = { 0 };
    dz_err err = { 0 };

    if (dz_schedule_cron(line, &s, &err) != DZ_OK)
        fail_msg("%s: %s", line, err.what);
    return s;
}

static void enter(const char *zone) {
    dz_err err = { 0 };

    if (dz_zone_enter(zone, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

/* --- lines ------------------------------------------------------------------------------------ */

static void lines_are_read_as_crontab_has_them(void **state) {
    static const struct {
        const char *line, *same;
    } rows[] = {
        { "*/15 * * * *", "0,15,30,45 * * * *" },   { "  5\t4  * * * ", "5 4 * * *" },
        { "0 8-18/5 * * *", "0 8,13,18 * * *" },    { "0 0 * jan,DEC *", "0 0 * 1,12 *" },
        { "0 0 * * mon-fri", "0 0 * * 1-5" },       { "0 0 * * 7", "0 0 * * 0" },
        { "0 0 * * 5-7", "0 0 * * 0,5,6" },         { "0 0 * * sun,Sat", "0 0 * * 0,6" },
        { "0 0 1-5,3-7,31 * *", "0 0 1-7,31 * *" }, { "00 007 01 * *", "0 7 1 * *" },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_schedule a = cron(rows[i].line), b = cron(rows[i].same);

        if (a.minutes != b.minutes || a.hours != b.hours || a.days != b.days ||
            a.months != b.months || a.weekdays != b.weekdays || a.any_day != b.any_day ||
            a.any_weekday != b.any_weekday)
            fail_msg("\"%s\" is not \"%s\"", rows[i].line, rows[i].same);
    }
}

static void what_makes_no_line_is_refused_with_the_reason(void **state) {
    static const struct {
        const char *line, *says;
    } rows[] = {
        { "", "0 fields" },
        { "* * * *", "4 fields" },
        { "* * * * * *", "6 fields" },
        { "@daily", "minute \"@daily\"" },
        { "60 * * * *", "minute \"60\" is not understood; allowed: 0-59" },
        { "0 24 * * *", "hour \"24\" is not understood; allowed: 0-23" },
        { "0 0 0 * *", "day of the month \"0\" is not understood; allowed: 1-31" },
        { "0 0 * 13 *", "month \"13\" is not understood; allowed: 1-12, jan-dec" },
        { "0 0 * * 8", "day of the week \"8\" is not understood; allowed: 0-7, sun-sat" },
        { "0 0 * * funday", "day of the week \"funday\"" },
        { "0 0 * * sunday", "day of the week \"sunday\"" },
        { "5/10 * * * *", "minute \"5/10\"" },
        { "*/0 * * * *", "minute \"*/0\"" },
        { "*/60 * * * *", "minute \"*/60\"" },
        { "9-5 * * * *", "minute \"9-5\"" },
        { "1, * * * *", "minute \"1,\"" },
        { "-1 * * * *", "minute \"-1\"" },
        { "1- * * * *", "minute \"1-\"" },
        { "** * * * *", "minute \"**\"" },
        { "99999999999999999999 * * * *", "minute \"99999" },
        { "jan * * * *", "minute \"jan\"" },
        { "0 0 30 2 *", "no month" },
        { "0 0 31 2,4,jun,9,11 *", "no month" },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_schedule s = { .every_us = 77 };
        dz_err err = { 0 };

        if (dz_schedule_cron(rows[i].line, &s, &err) != DZ_E_USAGE ||
            !strstr(err.what, rows[i].says) || s.every_us != 77)
            fail_msg("\"%s\": %s", rows[i].line, err.what);
    }
}

/* --- by hand ---------------------------------------------------------------------------------- */

static void the_next_time_is_where_people_expect_it(void **state) {
    static const struct {
        const char *what, *zone, *line, *after, *next;
    } rows[] = {
        { "the same night", "Asia/Tokyo", "30 2 * * *", "2026-11-28T02:29:59+09:00",
          "2026-11-28T02:30:00+09:00" },
        { "not the moment itself", "Asia/Tokyo", "30 2 * * *", "2026-11-28T02:30:00+09:00",
          "2026-11-29T02:30:00+09:00" },
        { "over the end of a year", "Asia/Tokyo", "0 0 1 * *", "2026-12-01T00:00:00+09:00",
          "2027-01-01T00:00:00+09:00" },
        { "a leap day", "Asia/Tokyo", "0 12 29 2 *", "2026-01-01T00:00:00+09:00",
          "2028-02-29T12:00:00+09:00" },
        { "no leap day in 2100", "UTC", "0 12 29 2 *", "2096-03-01T00:00:00Z",
          "2104-02-29T12:00:00Z" },
        { "either of two days: the 13th", "UTC", "0 0 13 * fri", "2026-11-08T00:00:00Z",
          "2026-11-13T00:00:00Z" },
        { "either of two days: a Friday", "UTC", "0 0 13 * fri", "2026-11-13T00:00:00Z",
          "2026-11-20T00:00:00Z" },
        { "a step in the days restricts both", "UTC", "0 0 */2 * fri", "2026-11-13T00:00:00Z",
          "2026-11-27T00:00:00Z" },
        { "weekdays only", "Asia/Tokyo", "0 9 * * mon-fri", "2026-11-27T09:00:00+09:00",
          "2026-11-30T09:00:00+09:00" },
        { "missing 02:30 runs when the hour is over", "Europe/Berlin", "30 2 * * *",
          "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00" },
        { "and once only", "Europe/Berlin", "*/10 2 * * *", "2026-03-29T03:00:00+02:00",
          "2026-03-30T02:00:00+02:00" },
        { "missing 02:30 of another day does not", "Europe/Berlin", "30 2 * * mon",
          "2026-03-28T12:00:00+01:00", "2026-03-30T02:30:00+02:00" },
        { "double 02:30 runs the first time", "Europe/Berlin", "30 2 * * *",
          "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00" },
        { "and not the second", "Europe/Berlin", "30 2 * * *", "2026-10-25T02:30:00+02:00",
          "2026-10-26T02:30:00+01:00" },
        { "each hour runs in the double hour, too", "Europe/Berlin", "30 * * * *",
          "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00" },
        { "each hour: the missing one is not made up for", "Europe/Berlin", "30 * * * *",
          "2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00" },
        { "two hours come twice", "Antarctica/Troll", "30 2 * * *", "2026-10-25T00:30:00Z",
          "2026-10-26T02:30:00Z" },
        { "half an hour is missing", "Australia/Lord_Howe", "15 2 * * *",
          "2026-10-03T12:00:00+10:30", "2026-10-04T02:30:00+11:00" },
        { "a day is missing", "Pacific/Apia", "0 12 * * *", "2011-12-29T12:00:00-10:00",
          "2011-12-31T00:00:00+14:00" },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_schedule s = cron(rows[i].line);
        int64_t after = at(rows[i].after), next = at(rows[i].next), got;

        enter(rows[i].zone);
        got = dz_schedule_next(&s, after);
        dz_zone_leave();
        if (got != next) {
            char text[DZ_TIME_TEXT];
            dz_time_text(got, text);
            fail_msg("%s: %s, not %s", rows[i].what, text, rows[i].next);
        }
    }
}

static void an_interval_is_counted_from_1970(void **state) {
    const dz_schedule hourly = { .every_us = HOUR },
                      shifted = { .every_us = HOUR, .shift_us = 7 * MINUTE };

    (void) state;
    assert_int_equal(dz_schedule_next(&hourly, 0), HOUR);
    assert_int_equal(dz_schedule_next(&hourly, HOUR - 1), HOUR);
    assert_int_equal(dz_schedule_next(&hourly, HOUR), 2 * HOUR);
    assert_int_equal(dz_schedule_next(&hourly, -1), 0);
    assert_int_equal(dz_schedule_next(&shifted, HOUR), HOUR + 7 * MINUTE);
    assert_int_equal(dz_schedule_next(&shifted, HOUR + 7 * MINUTE), 2 * HOUR + 7 * MINUTE);
    assert_int_equal(dz_schedule_next(&shifted, 0), 7 * MINUTE);
}

static void a_shift_moves_cron_times_too(void **state) {
    dz_schedule s = cron("30 2 * * *");

    (void) state;
    s.shift_us = 90 * SECOND;
    enter("UTC");
    assert_int_equal(dz_schedule_next(&s, at("2026-11-28T02:30:00Z")), at("2026-11-28T02:31:30Z"));
    assert_int_equal(dz_schedule_next(&s, at("2026-11-28T02:31:30Z")), at("2026-11-29T02:31:30Z"));
    dz_zone_leave();
}

static void shifts_are_of_the_name_and_spread(void **state) {
    unsigned quarters[4] = { 0 };

    (void) state;
    assert_int_equal(dz_schedule_shift("files", 0), 0);
    assert_int_equal(dz_schedule_shift("files", HOUR), dz_schedule_shift("files", HOUR));
    for (unsigned i = 0; i < 400; i++) {
        char name[32];
        int64_t shift;

        (void) snprintf(name, sizeof name, "ward-%u", i);
        shift = dz_schedule_shift(name, HOUR);
        assert_in_range(shift, 0, HOUR);
        quarters[shift == HOUR ? 3 : 4 * shift / HOUR]++;
    }
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(quarters[i], 70, 130);
}

/* --- policy ----------------------------------------------------------------------------------- */

static void missed_times_are_made_up_for_once(void **state) {
    static const struct {
        const char *what;
        int64_t last, now, turn; /* hours, of a source of every hour */
    } rows[] = {
        { "in time", 10, 10, 11 },
        { "nothing missed", 10, 11, 11 },
        { "one missed", 10, 12, 12 },
        { "a hundred missed", 10, 110, 110 },
        { "after that one, in time again", 110, 110, 111 },
        { "the clock went back by 100 hours", 110, 10, 11 },
    };
    const dz_schedule hourly = { .every_us = HOUR };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (dz_schedule_turn(&hourly, rows[i].last * HOUR, rows[i].now * HOUR) !=
            rows[i].turn * HOUR)
            fail_msg("%s", rows[i].what);
}

static void silence_counts_from_the_first_time_due(void **state) {
    dz_schedule nightly = cron("30 2 * * *");

    (void) state;
    enter("Asia/Tokyo");
    assert_int_equal(dz_schedule_late(&nightly, at("2026-11-27T03:10:00+09:00"), 4 * HOUR),
                     at("2026-11-28T06:30:00+09:00"));
    nightly.shift_us = MINUTE;
    assert_int_equal(dz_schedule_late(&nightly, at("2026-11-27T03:10:00+09:00"), 4 * HOUR),
                     at("2026-11-28T06:31:00+09:00"));
    dz_zone_leave();
}

static void what_is_never_due_is_never_late(void **state) {
    /* the 29th of February, on no day of the week */
    dz_schedule s = cron("0 0 29 2 *");

    (void) state;
    s.weekdays = 0;
    enter("UTC");
    assert_int_equal(dz_schedule_next(&s, 0), INT64_MAX);
    assert_int_equal(dz_schedule_late(&s, 0, HOUR), INT64_MAX);
    s.shift_us = HOUR;
    assert_int_equal(dz_schedule_next(&s, 0), INT64_MAX);
    s = cron("* * * * *");
    assert_int_equal(dz_schedule_next(&s, INT64_MAX), INT64_MAX);
    assert_true(dz_schedule_next(&s, INT64_MIN) < 0);
    assert_int_equal(dz_schedule_late(&s, 0, INT64_MAX), INT64_MAX);
    dz_zone_leave();
}

/* --- the second definition --------------------------------------------------------------------
 *
 * From the side of the wall clock: each minute that a calendar has and the line allows is looked up
 * in a list of what the clock showed at each moment. */

enum { DAYS = 12, SPAN = DAYS * 1440, ROUNDS = 30 };

static struct moment {
    long long wall; /* minutes since 1970 as the clock shows them */
} moments[SPAN];

struct allowed {
    bool minute[60], hour[24], day[32], month[13], weekday[7];
    bool any_hour, any_day, any_weekday;
};

static bool calendar_allows(const struct allowed *a, long long wall) {
    time_t seconds = (time_t) wall * 60;
    struct tm tm;
    bool day, week;

    assert_non_null(gmtime_r(&seconds, &tm));
    day = a->day[tm.tm_mday];
    week = a->weekday[tm.tm_wday];
    if (!a->minute[tm.tm_min] || !a->hour[tm.tm_hour] || !a->month[tm.tm_mon + 1])
        return false;
    if (!a->any_day && !a->any_weekday)
        return day || week;
    return day && week;
}

static void due_by_definition(const struct allowed *a, bool due[SPAN]) {
    size_t over = 0; /* the first moment past `wall` */

    memset(due, 0, SPAN);
    for (long long wall = moments[0].wall; wall <= moments[SPAN - 1].wall; wall++) {
        size_t shown = 0;

        while (over < SPAN && moments[over].wall <= wall)
            over++;
        if (!calendar_allows(a, wall))
            continue;
        /* a clock is set by less than two days */
        for (size_t i = over > 2880 ? over - 2880 : 0; i < over + 2880 && i < SPAN; i++)
            if (moments[i].wall == wall && (shown++ == 0 || a->any_hour))
                due[i] = true;
        if (shown == 0 && !a->any_hour && over < SPAN)
            due[over] = true; /* missing: when the gap is over */
    }
}

static uint32_t random_state;
static uint32_t below(uint32_t n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

/* Some of the values from..to; all of them, written as *, once in `star` times. */
static void choose(char *line, size_t room, bool *set, unsigned from, unsigned to, unsigned star,
                   bool *ret_all) {
    size_t at = strlen(line);
    bool all = below(star) == 0, any = false;

    for (unsigned n = from; n <= to; n++)
        set[n] = all;
    if (all) {
        (void) snprintf(line + at, room - at, "* ");
    } else {
        for (unsigned k = 1 + below(3); k > 0; k--)
            set[from + below(below(2) ? to - from + 1 : 5)] = true; /* clocks change early */
        for (unsigned n = from; n <= to; n++)
            if (set[n]) {
                at += (size_t) snprintf(line + at, room - at, "%s%u", any ? "," : "", n);
                any = true;
            }
        (void) snprintf(line + at, room - at, " ");
    }
    if (ret_all)
        *ret_all = all;
}

static void agree(const char *zone, const char *from, unsigned seed) {
    int64_t start = at(from) - (DAYS / 2) * DAY;
    static bool due[SPAN];

    random_state = seed;
    enter(zone);
    for (size_t i = 0; i < SPAN; i++) {
        time_t t = (time_t) (start / SECOND) + (time_t) i * 60;
        struct tm tm;
        assert_non_null(localtime_r(&t, &tm));
        moments[i].wall = (long long) timegm(&tm) / 60;
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct allowed a = { 0 };
        char line[1200] = "";
        dz_schedule s;
        int64_t turn = start + 2 * DAY; /* what is missing before is not in the list */

        choose(line, sizeof line, a.minute, 0, 59, 6, NULL);
        choose(line, sizeof line, a.hour, 0, 23, 2, &a.any_hour);
        choose(line, sizeof line, a.day, 1, 31, 2, &a.any_day);
        choose(line, sizeof line, a.month, 1, 12, 1, NULL);
        choose(line, sizeof line, a.weekday, 0, 6, 2, &a.any_weekday);
        s = cron(line);
        due_by_definition(&a, due);
        for (size_t i = 2 * 1440 + 1; i < SPAN; i++) {
            int64_t moment = start + (int64_t) i * MINUTE;
            bool ours;

            if (turn < moment)
                turn = dz_schedule_next(&s, turn);
            ours = turn == moment;
            if (turn <= start + 2 * DAY)
                ours = false;
            if (ours != due[i]) {
                char text[DZ_TIME_TEXT];
                dz_time_text(moment, text);
                fail_msg("%s, \"%s\": %s is %s", zone, line, text, due[i] ? "due" : "not due");
            }
        }
    }
    dz_zone_leave();
}

static void both_definitions_agree(void **state) {
    static const struct {
        const char *zone, *around;
    } rows[] = {
        { "Asia/Tokyo", "2026-11-28T00:00:00Z" },
        { "Europe/Berlin", "2026-03-29T00:00:00Z" },
        { "Europe/Berlin", "2026-10-25T00:00:00Z" },
        { "America/New_York", "2026-03-08T00:00:00Z" },
        { "America/New_York", "2026-11-01T00:00:00Z" },
        { "Australia/Lord_Howe", "2026-04-04T00:00:00Z" },
        { "Australia/Lord_Howe", "2026-10-03T00:00:00Z" },
        { "Antarctica/Troll", "2026-10-25T00:00:00Z" }, /* two hours */
        { "America/Havana", "2026-03-08T00:00:00Z" },   /* at midnight */
        { "America/Havana", "2026-11-01T00:00:00Z" },   /* to the day before */
        { "America/St_Johns", "2006-10-29T00:00:00Z" }, /* at one minute past */
        { "America/St_Johns", "2006-04-02T00:00:00Z" },
        { "Pacific/Apia", "2011-12-30T00:00:00Z" }, /* a day is missing */
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        agree(rows[i].zone, rows[i].around, 1 + (unsigned) i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_as_crontab_has_them),
        cmocka_unit_test(what_makes_no_line_is_refused_with_the_reason),
        cmocka_unit_test(the_next_time_is_where_people_expect_it),
        cmocka_unit_test(an_interval_is_counted_from_1970),
        cmocka_unit_test(a_shift_moves_cron_times_too),
        cmocka_unit_test(shifts_are_of_the_name_and_spread),
        cmocka_unit_test(missed_times_are_made_up_for_once),
        cmocka_unit_test(silence_counts_from_the_first_time_due),
        cmocka_unit_test(what_is_never_due_is_never_late),
        cmocka_unit_test(both_definitions_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
