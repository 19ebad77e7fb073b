/* Which snapshots stay, against cases by hand and against a second, slow definition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "custody/retention.h"

#define HOUR (INT64_C(3600) * 1000000)
#define DAY (24 * HOUR)

static const dz_keep tokyo = {
    .minimum_days = 60, .daily = 3, .monthly = 2, .yearly = 1, .zone = "Asia/Tokyo"
};

static int64_t at(const char *text) {
    int64_t us;

    assert_true(dz_time_parse(text, &us));
    return us;
}

static void decide(const dz_keep *keep, dz_retention_row *rows, size_t n, int64_t now) {
    assert_int_equal(dz_retention_decide(keep, rows, n, now, NULL), DZ_OK);
}

static void rules_keep_first_and_last_of_each_slot(void **state) {
    static const struct {
        const char *when;
        enum dz_retention why;
    } rows[] = {
        { "2023-07-01T00:00:00+09:00", DZ_RETENTION_EXPIRES },
        { "2024-01-31T12:00:00+09:00", DZ_RETENTION_YEARLY }, /* first of its year */
        { "2024-01-31T12:01:00+09:00", DZ_RETENTION_EXPIRES },
        { "2024-03-01T00:00:00+09:00", DZ_RETENTION_MONTHLY },
        { "2024-03-15T00:00:00+09:00", DZ_RETENTION_EXPIRES },
        { "2024-03-31T23:59:59+09:00", DZ_RETENTION_MONTHLY }, /* 14:59 UTC */
        { "2024-04-01T00:00:00+09:00", DZ_RETENTION_MONTHLY }, /* still March by UTC */
        { "2024-04-02T01:00:00+09:00", DZ_RETENTION_DAILY },   /* only one of its day */
        { "2024-04-03T01:00:00+09:00", DZ_RETENTION_DAILY },
        { "2024-04-03T02:00:00+09:00", DZ_RETENTION_EXPIRES },
        { "2024-04-03T23:00:00+09:00", DZ_RETENTION_DAILY },
        { "2024-04-04T08:59:00+09:00", DZ_RETENTION_DAILY },
        { "2024-04-04T09:01:00+09:00", DZ_RETENTION_NEWEST },
    };
    enum { N = sizeof rows / sizeof *rows };
    dz_retention_row r[N] = { 0 };

    (void) state;
    for (size_t i = 0; i < N; i++)
        r[i].when_us = at(rows[i].when);
    decide(&tokyo, r, N, at("2026-01-01T00:00:00+09:00"));
    for (size_t i = 0; i < N; i++)
        if (r[i].why != rows[i].why)
            fail_msg("%s: %s, not %s", rows[i].when, dz_retention_name(r[i].why),
                     dz_retention_name(rows[i].why));
}

static void the_minimum_binds_to_the_microsecond(void **state) {
    dz_keep keep = { .minimum_days = 60, .zone = "UTC" };
    dz_retention_row r[2] = { { .when_us = 0 }, { .when_us = 1 } };

    (void) state;
    decide(&keep, r, 2, 60 * DAY - 1);
    assert_int_equal(r[0].why, DZ_RETENTION_MINIMUM);
    decide(&keep, r, 2, 60 * DAY);
    assert_int_equal(r[0].why, DZ_RETENTION_EXPIRES);
    assert_int_equal(r[1].why, DZ_RETENTION_NEWEST);
    decide(&keep, r, 2, -1); /* a clock before all that arrived */
    assert_int_equal(r[0].why, DZ_RETENTION_MINIMUM);
}

static void holds_and_alarms_keep_whatever_the_rules_say(void **state) {
    dz_keep none = { .zone = "UTC" };
    dz_retention_row r[5] = { { .when_us = 1 },
                              { .when_us = 2, .held = true },
                              { .when_us = 3 },
                              { .when_us = 4, .alarm = true },
                              { .when_us = 5 } };

    (void) state;
    decide(&none, r, 5, 1000 * DAY);
    assert_int_equal(r[0].why, DZ_RETENTION_EXPIRES);
    assert_int_equal(r[1].why, DZ_RETENTION_HELD);
    assert_int_equal(r[2].why, DZ_RETENTION_ALARM); /* the last one before it */
    assert_int_equal(r[3].why, DZ_RETENTION_ALARM);
    decide(NULL, r, 5, 1000 * DAY);
    assert_int_equal(r[0].why, DZ_RETENTION_NO_RULES);
    assert_int_equal(r[1].why, DZ_RETENTION_HELD);
}

static void a_flood_pushes_out_nothing_but_itself(void **state) {
    enum { GOOD = 200, FLOOD = 100000 };
    const dz_keep keep = {
        .minimum_days = 60, .daily = 180, .monthly = 24, .yearly = 5, .zone = "Asia/Tokyo"
    };
    dz_retention_row *r = calloc(GOOD + FLOOD, sizeof *r), *before = calloc(GOOD, sizeof *r);
    int64_t start = at("2025-01-01T03:00:00+09:00");
    size_t lost = 0;

    (void) state;
    assert_true(r && before);
    for (size_t i = 0; i < GOOD; i++)
        before[i].when_us = r[i].when_us = start + (int64_t) i * DAY;
    for (size_t i = 0; i < FLOOD; i++) /* all of them in the hours after the last good one */
        r[GOOD + i].when_us = r[GOOD - 1].when_us + 1 + (int64_t) i * 600000;
    decide(&keep, before, GOOD, start + 400 * DAY);
    decide(&keep, r, GOOD + FLOOD, start + 400 * DAY);
    for (size_t i = 0; i < GOOD; i++)
        lost += before[i].why != DZ_RETENTION_EXPIRES && r[i].why == DZ_RETENTION_EXPIRES;
    assert_true(lost <= 1); /* the flood reaches into one more day at most */
    assert_int_not_equal(r[GOOD - 1].why, DZ_RETENTION_EXPIRES);
    free(r);
    free(before);
}

static void days_ahead_of_now_push_out_nothing(void **state) {
    dz_retention_row r[13] = { 0 };
    int64_t good = at("2024-05-01T12:00:00+09:00"), now = at("2024-08-01T12:00:00+09:00");

    (void) state;
    for (size_t i = 0; i < 3; i++)
        r[i].when_us = good + (int64_t) i * DAY;
    for (size_t i = 3; i < 13; i++) /* the clock ran ten years ahead for a while */
        r[i].when_us = now + 3650 * DAY + (int64_t) i * DAY;
    decide(&tokyo, r, 13, now);
    for (size_t i = 0; i < 13; i++)
        assert_int_not_equal(r[i].why, DZ_RETENTION_EXPIRES);
}

/* --- the second definition: for one row, count the later slots ----------------------------------
 */

static int64_t oracle_slot(int64_t us, int rule) {
    dz_date d = dz_zone_date(us);

    return rule == 0   ? d.year * 10000 + d.month * 100 + d.day
           : rule == 1 ? d.year * 100 + d.month
                       : d.year;
}

static bool oracle_keeps(const dz_retention_row *r, size_t n, size_t i, int64_t now, int rule,
                         uint32_t count) {
    int64_t mine = oracle_slot(r[i].when_us, rule), seen = INT64_MIN;
    bool earlier = false, later = false;
    uint32_t newer = 0;

    for (size_t k = 0; k < n; k++) {
        int64_t slot = oracle_slot(r[k].when_us, rule);

        earlier |= slot == mine && k < i;
        later |= slot == mine && k > i;
        if (slot > mine && slot != seen && slot <= oracle_slot(now, rule))
            newer++;
        seen = slot;
    }
    return newer < count && !(earlier && later);
}

static void it_agrees_with_the_slow_definition(void **state) {
    enum { N = 60 };
    unsigned short seed[3] = { 2026, 11, 27 };

    (void) state;
    for (int round = 0; round < 300; round++) {
        dz_keep keep = { .minimum_days = 5,
                         .zone = "Asia/Tokyo",
                         .daily = (uint32_t) (nrand48(seed) % 9),
                         .monthly = (uint32_t) (nrand48(seed) % 5),
                         .yearly = (uint32_t) (nrand48(seed) % 3) };
        const uint32_t counts[] = { keep.daily, keep.monthly, keep.yearly };
        dz_retention_row r[N] = { 0 };
        int64_t t = at("2022-11-01T00:00:00+09:00"), now;

        for (size_t i = 0; i < N; i++) {
            t += nrand48(seed) % 3 ? nrand48(seed) % (20 * HOUR) : nrand48(seed) % (40 * DAY);
            r[i].when_us = t;
        }
        now = r[N / 2 + (size_t) nrand48(seed) % (N / 2)].when_us + nrand48(seed) % (9 * DAY);
        decide(&keep, r, N, now);
        assert_int_equal(dz_zone_enter(keep.zone, NULL), DZ_OK);
        for (size_t i = 0; i < N; i++) {
            bool kept = i == N - 1 || now - r[i].when_us < 5 * DAY;

            for (int rule = 0; rule < 3; rule++)
                kept |= oracle_keeps(r, N, i, now, rule, counts[rule]);
            assert_int_equal(r[i].why != DZ_RETENTION_EXPIRES, kept);
        }
        dz_zone_leave();
    }
}

static void a_zone_is_named_and_known(void **state) {
    static const char *const bad[] = { "",         "/etc/passwd",  "Asia/../UTC",
                                       "JST+9:00", "Asia/Nowhere", "Asia/" };
    dz_err err = { 0 };
    dz_keep keep = { 0 };

    (void) state;
    assert_int_equal(setenv("TZ", "America/New_York", 1), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void) snprintf(keep.zone, sizeof keep.zone, "%s", bad[i]);
        assert_int_equal(dz_retention_decide(&keep, NULL, 0, 0, &err), DZ_E_USAGE);
    }
    (void) snprintf(keep.zone, sizeof keep.zone, "%s", "Asia/Tokyo");
    assert_int_equal(dz_retention_decide(&keep, NULL, 0, 0, &err), DZ_OK);
    assert_string_equal(getenv("TZ"), "America/New_York"); /* as it was */
}

static void what_operators_let_go_takes_nobodys_place(void **state) {
    const dz_keep keep = { .minimum_days = 60, .daily = 1, .zone = "UTC" };
    dz_retention_row r[6] = {
        { .when_us = 0 * HOUR },  { .when_us = 24 * HOUR, .approved = true },
        { .when_us = 25 * HOUR }, { .when_us = 26 * HOUR },
        { .when_us = 27 * HOUR }, { .when_us = 28 * HOUR, .approved = true },
    };
    const enum dz_retention want[6] = { DZ_RETENTION_EXPIRES, DZ_RETENTION_APPROVED,
                                        DZ_RETENTION_DAILY,   DZ_RETENTION_EXPIRES,
                                        DZ_RETENTION_NEWEST,  DZ_RETENTION_APPROVED };

    (void) state;
    decide(&keep, r, 6, 100 * DAY);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(dz_retention_name(r[i].why), dz_retention_name(want[i]));
    decide(&keep, r, 6, 2 * DAY); /* not even the minimum */
    assert_int_equal(r[1].why, DZ_RETENTION_APPROVED);
    assert_int_equal(r[2].why, DZ_RETENTION_MINIMUM);
    r[1].held = true;
    r[5].alarm = true;
    decide(&keep, r, 6, 100 * DAY);
    assert_int_equal(r[1].why, DZ_RETENTION_HELD);
    assert_int_equal(r[5].why, DZ_RETENTION_ALARM);
    assert_int_equal(r[4].why, DZ_RETENTION_ALARM); /* the last one before it */
    decide(NULL, r, 2, 100 * DAY);
    r[1].held = false;
    decide(NULL, r, 2, 100 * DAY);
    assert_int_equal(r[1].why, DZ_RETENTION_APPROVED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_keep_first_and_last_of_each_slot),
        cmocka_unit_test(the_minimum_binds_to_the_microsecond),
        cmocka_unit_test(what_operators_let_go_takes_nobodys_place),
        cmocka_unit_test(holds_and_alarms_keep_whatever_the_rules_say),
        cmocka_unit_test(a_flood_pushes_out_nothing_but_itself),
        cmocka_unit_test(days_ahead_of_now_push_out_nothing),
        cmocka_unit_test(it_agrees_with_the_slow_definition),
        cmocka_unit_test(a_zone_is_named_and_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
