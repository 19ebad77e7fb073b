/* cache/expected: what is written comes back; what makes no sense is refused. */
#include "tests/unit/custody/vault_fixture.h"

#include <fcntl.h>

#include "core/clock.h"
#include "core/zone.h"
#include "daemon/expected.h"

#define HOUR (INT64_C(3600) * 1000000)

static void make(struct dz_expected *e) {
    dz_schedule nightly = { 0 }, hourly = { .every_us = HOUR, .shift_us = 5 };

    assert_int_equal(dz_schedule_cron("30 2 * * *", &nightly, NULL), DZ_OK);
    nightly.shift_us = HOUR / 60;
    e->zone = strdup("Asia/Tokyo");
    assert_non_null(e->zone);
    assert_int_equal(dz_expected_add(e, "電子カルテ", "30 2 * * *", &nightly, HOUR, 77, NULL),
                     DZ_OK);
    assert_int_equal(dz_expected_add(e, "b", NULL, &hourly, 2 * HOUR, 78, NULL), DZ_OK);
}

static void nobody_else_reads_or_changes_it(struct dz_vault *v) {
    int fd = openat(v->cachefd, "expected", O_RDWR | O_CLOEXEC);
    uint8_t file[4096];
    ssize_t n = pread(fd, file, sizeof file, 0);

    assert_true(n > 100 && n < (ssize_t) sizeof file);
    assert_null(memmem(file, (size_t) n, "Tokyo", 5));
    for (ssize_t i = 0; i < n; i++) {
        DZ_CLEANUP(dz_expected_release) struct dz_expected e = { 0 };
        uint8_t other = file[i] ^ 1;

        assert_int_equal(pwrite(fd, &other, 1, i), 1);
        assert_int_not_equal(dz_expected_load(v, &e, NULL), DZ_OK);
        assert_null(e.zone);
        assert_int_equal(pwrite(fd, &file[i], 1, i), 1);
    }
    (void) close(fd);
}

static void what_is_stored_comes_back(void **state) {
    DZ_CLEANUP(dz_expected_release) struct dz_expected e = { 0 }, back = { 0 };
    struct custody_vault c = { 0 };
    dz_err err = { 0 };

    (void) state;
    custody_open(&c, 9, 0, 0);
    make(&e);
    assert_int_equal(dz_expected_load(c.v, &back, &err), DZ_OK);
    assert_null(back.zone);
    if (dz_expected_store(c.v, &e, &err) != DZ_OK || dz_expected_load(c.v, &back, &err) != DZ_OK)
        fail_msg("%s", err.what);
    nobody_else_reads_or_changes_it(c.v);
    custody_close(&c);
    assert_string_equal(back.zone, "Asia/Tokyo");
    assert_int_equal(back.n, 2);
    for (size_t i = 0; i < back.n; i++) {
        assert_string_equal(back.list[i].name, e.list[i].name);
        assert_true(dz_expected_same(&back.list[i], &e.list[i]));
        assert_int_equal(back.list[i].late_after_us, e.list[i].late_after_us);
        assert_int_equal(back.list[i].since_us, e.list[i].since_us);
    }
    assert_int_equal(back.list[0].schedule.hours, 1 << 2);
    assert_false(dz_expected_same(&back.list[0], &back.list[1]));
    assert_ptr_equal(dz_expected_find(&back, "b"), &back.list[1]);
    assert_null(dz_expected_find(&back, "c"));
}

static void lateness_counts_from_the_newest_or_from_when_it_was_expected(void **state) {
    DZ_CLEANUP(dz_expected_release) struct dz_expected e = { 0 };
    const dz_expected_source *s;
    int64_t newest = 0, due = 0;

    (void) state;
    make(&e);
    s = &e.list[0];
    assert_true(dz_time_parse("2026-11-27T03:00:00+09:00", &newest));
    assert_true(dz_time_parse("2026-11-28T02:31:00+09:00", &due));
    assert_int_equal(dz_zone_enter(e.zone, NULL), DZ_OK);
    assert_int_equal(dz_expected_due(s, newest), due);
    assert_int_equal(dz_expected_late(s, newest), due + HOUR);
    e.list[0].since_us = newest;
    assert_int_equal(dz_expected_late(s, INT64_MIN), due + HOUR);
    assert_int_equal(dz_expected_late(s, newest - 24 * HOUR), due + HOUR);
    assert_int_equal(dz_expected_late(s, INT64_MAX), INT64_MAX);
    dz_zone_leave();
}

#define FILE_OF(sources) \
    "{\"dozo\":\"expected\",\"version\":1,\"timezone\":\"UTC\",\"sources\":[" sources "]}"
#define SOURCE(name, every, more)                  \
    "{\"source\":\"" name "\",\"every_us\":" every \
    ",\"shift_us\":0,\"late_after_us\":1000000,\"since_us\":5" more "}"

static void what_makes_no_sense_is_refused(void **state) {
    static const struct {
        const char *what, *text;
        dz_status status;
    } rows[] = {
        { "nothing to expect", FILE_OF(""), DZ_OK },
        { "an interval", FILE_OF(SOURCE("a", "1000000", "")), DZ_OK },
        { "what a later version adds", FILE_OF(SOURCE("a", "1000000", ",\"more\":[1]")), DZ_OK },
        { "no JSON", "{", DZ_E_MALFORMED },
        { "empty", "", DZ_E_MALFORMED },
        { "a list", "[]", DZ_E_MALFORMED },
        { "another file", "{\"dozo\":\"vault\",\"version\":1}", DZ_E_MALFORMED },
        { "a later version", "{\"dozo\":\"expected\",\"version\":2}", DZ_E_UNSUPPORTED },
        { "no sources", "{\"dozo\":\"expected\",\"version\":1,\"timezone\":\"UTC\"}",
          DZ_E_MALFORMED },
        { "a zone that is a path",
          "{\"dozo\":\"expected\",\"version\":1,\"timezone\":\"/etc/x\",\"sources\":[]}",
          DZ_E_MALFORMED },
        { "a name with a slash", FILE_OF(SOURCE("a/b", "1000000", "")), DZ_E_MALFORMED },
        { "a name twice", FILE_OF(SOURCE("a", "1000000", "") "," SOURCE("a", "1000000", "")),
          DZ_E_MALFORMED },
        { "a short interval", FILE_OF(SOURCE("a", "1", "")), DZ_E_MALFORMED },
        { "neither interval nor cron", FILE_OF(SOURCE("a", "0", "")), DZ_E_MALFORMED },
        { "both", FILE_OF(SOURCE("a", "1000000", ",\"cron\":\"0 0 * * *\"")), DZ_E_MALFORMED },
        { "a cron line that is none", FILE_OF(SOURCE("a", "0", ",\"cron\":\"0 0 * *\"")),
          DZ_E_MALFORMED },
        { "a number that is a text", FILE_OF(SOURCE("a", "\"1000000\"", "")), DZ_E_MALFORMED },
        { "a key twice", FILE_OF(SOURCE("a", "1000000", ",\"since_us\":6")), DZ_E_MALFORMED },
        { "a source that is a number", FILE_OF("1"), DZ_E_MALFORMED },
        { "past the year 9999",
          FILE_OF("{\"source\":\"a\",\"every_us\":1000000,\"shift_us\":0,\"late_after_us\":1,"
                  "\"since_us\":9223372036854775807}"),
          DZ_E_MALFORMED },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DZ_CLEANUP(dz_expected_release) struct dz_expected e = { 0 };
        const char *text = rows[i].text;
        dz_status s =
            dz_expected_read((dz_slice){ (const uint8_t *) text, strlen(text) }, &e, NULL);

        if (s != rows[i].status || (s != DZ_OK && (e.zone || e.list)))
            fail_msg("%s: %s", rows[i].what, dz_status_name(s));
    }
}

static void too_many_are_refused(void **state) {
    DZ_CLEANUP(dz_expected_release) struct dz_expected e = { 0 };
    const dz_schedule hourly = { .every_us = HOUR };
    char name[16];

    (void) state;
    for (unsigned i = 0; i < DZ_EXPECTED_MAX; i++) {
        (void) snprintf(name, sizeof name, "s%u", i);
        assert_int_equal(dz_expected_add(&e, name, NULL, &hourly, HOUR, 0, NULL), DZ_OK);
    }
    assert_int_equal(dz_expected_add(&e, "more", NULL, &hourly, HOUR, 0, NULL), DZ_E_LIMIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_stored_comes_back),
        cmocka_unit_test(lateness_counts_from_the_newest_or_from_when_it_was_expected),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(too_many_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
