/* What is to be done next, decided from times alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>

#include <cmocka.h>

#include "core/buf.h"
#include "daemon/board.h"

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)

/* Sources of every hour (late after two more) called a, b, c ..., `at_once` of them. */
static void configure(struct dz_config *c, unsigned n, unsigned at_once) {
    dz_autobuf dz_buf text = { 0 };
    dz_err err = { 0 };

    dz_buf_printf(&text, "vault: /v\nlate-after: 2h\nlimits: {at-once: %u}\nsources:\n", at_once);
    for (unsigned i = 0; i < n; i++)
        dz_buf_printf(&text, "- {name: %c, kind: tree, every: 1h, paths: [/%c]}\n", 'a' + (int) i,
                      'a' + (int) i);
    if (dz_config_read(dz_buf_slice(&text), "dozod.yaml", c, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

static struct dz_board *board(const struct dz_config *c, struct dz_board *before, int64_t now_us) {
    const struct dz_expected none = { 0 };
    struct dz_board *b = NULL;

    assert_int_equal(dz_board_new(c, &none, before, now_us, &b, NULL), DZ_OK);
    return b;
}

static const char *due(const struct dz_board *b, int64_t now_us) {
    const dz_board_source *s = dz_board_due(b, now_us);

    return s ? s->feed->name : "-";
}

static uint32_t run(struct dz_board *b, const char *name) {
    uint32_t job = dz_board_begin(b, DZ_JOB_RUN, name, INT64_MAX, 0);

    assert_true(job > 0);
    return job;
}

static void end(struct dz_board *b, uint32_t job, int64_t now_us) {
    dz_board_job was;

    assert_true(dz_board_end(b, job, true, now_us, &was));
}

static void a_source_runs_when_it_is_due_and_not_while_it_runs(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    DZ_AUTO(dz_board) b = NULL;
    uint32_t job;

    (void) state;
    configure(&c, 1, 2);
    b = board(&c, NULL, 10 * HOUR + 1);
    assert_string_equal(due(b, 10 * HOUR + 2), "-");
    assert_string_equal(due(b, 11 * HOUR - 1), "-");
    assert_string_equal(due(b, 11 * HOUR), "a");
    job = run(b, "a");
    assert_string_equal(due(b, 11 * HOUR), "-");
    assert_string_equal(due(b, 14 * HOUR), "-");
    end(b, job, 14 * HOUR + HOUR / 2); /* what it missed meanwhile is not made up for */
    assert_string_equal(due(b, 14 * HOUR + HOUR / 2), "-");
    assert_string_equal(due(b, 15 * HOUR), "a");
}

static void a_run_that_never_was_leaves_the_source_due(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    DZ_AUTO(dz_board) b = NULL;
    dz_board_job was;

    (void) state;
    configure(&c, 1, 2);
    b = board(&c, NULL, 10 * HOUR + 1);
    assert_true(dz_board_end(b, run(b, "a"), false, 11 * HOUR, &was));
    assert_string_equal(was.source, "a");
    assert_string_equal(due(b, 11 * HOUR), "a");
    assert_false(dz_board_end(b, was.number, true, 11 * HOUR, &was));
}

static void what_was_missed_is_made_up_for_once(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    DZ_AUTO(dz_board) b = NULL;

    (void) state;
    configure(&c, 1, 2);
    b = board(&c, NULL, 100 * HOUR + 1);
    dz_board_came(b, "a", 40 * HOUR, 7); /* long ago, by the log; but expected since now */
    assert_string_equal(due(b, 100 * HOUR + 2), "-");
    b->sources[0].since_us = 30 * HOUR;
    assert_string_equal(due(b, 100 * HOUR + 2), "a");
    end(b, run(b, "a"), 100 * HOUR + 3);
    assert_string_equal(due(b, 100 * HOUR + 4), "-");
    assert_string_equal(due(b, 101 * HOUR), "a");
}

static void a_clock_that_went_back_stops_no_source(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    DZ_AUTO(dz_board) b = NULL;

    (void) state;
    configure(&c, 1, 2);
    b = board(&c, NULL, 1000 * HOUR);
    dz_board_came(b, "a", 1000 * HOUR, 7);
    assert_string_equal(due(b, 10 * HOUR), "-");
    assert_int_equal(dz_board_wait(b, 10 * HOUR + 1, 0, 2 * 3600 * 1000), 3600 * 1000);
}

static void who_waits_longest_goes_first_and_no_more_than_may(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    DZ_AUTO(dz_board) b = NULL;
    uint32_t first;

    (void) state;
    configure(&c, 4, 2);
    b = board(&c, NULL, 10 * HOUR + 1);
    for (unsigned i = 0; i < 4; i++)
        b->sources[i].since_us = (9 - (int64_t) i) * HOUR; /* d waits longest */
    assert_string_equal(due(b, 11 * HOUR), "d");
    first = run(b, "d");
    assert_string_equal(due(b, 11 * HOUR), "c");
    (void) run(b, "c");
    assert_string_equal(due(b, 11 * HOUR), "-");
    assert_int_equal(dz_board_begin(b, DZ_JOB_RUN, "b", INT64_MAX, 0), 0);
    end(b, first, 11 * HOUR);
    assert_string_equal(due(b, 11 * HOUR), "b");
}

static void silence_is_told_once_and_ends_with_a_snapshot(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    DZ_AUTO(dz_board) b = NULL;
    dz_board_source *late;

    (void) state;
    configure(&c, 2, 2);
    b = board(&c, NULL, 10 * HOUR);
    assert_null(dz_board_late(b, 13 * HOUR)); /* due at 11, late after 13 */
    late = dz_board_late(b, 13 * HOUR + 1);
    assert_non_null(late);
    assert_string_equal(late->feed->name, "a");
    late->late_told = true;
    late = dz_board_late(b, 13 * HOUR + 1);
    assert_string_equal(late->feed->name, "b");
    late->late_told = true;
    assert_null(dz_board_late(b, 99 * HOUR));
    end(b, run(b, "a"), 14 * HOUR); /* a run that brought nothing ends no silence */
    assert_true(dz_board_find(b, "a")->late_told);
    dz_board_came(b, "a", 14 * HOUR, 8);
    assert_null(dz_board_late(b, 17 * HOUR));
    assert_non_null(dz_board_late(b, 17 * HOUR + 1));
    dz_board_came(b, "a", 17 * HOUR, 7); /* told after a newer one: an older leaf */
    assert_int_equal(dz_board_find(b, "a")->newest_us, 14 * HOUR);
    dz_board_came(b, "nobody", 17 * HOUR, 9);
}

static void no_more_is_told_at_once_than_may(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    DZ_AUTO(dz_board) b = NULL;
    uint32_t job = 0;

    (void) state;
    configure(&c, 1, 2);
    b = board(&c, NULL, 10 * HOUR);
    b->sources[0].failed = strdup("why");
    for (unsigned i = 0; i < DZ_BOARD_TELLS_MAX; i++) {
        assert_non_null(dz_board_late(b, 20 * HOUR));
        assert_non_null(dz_board_failed(b));
        job = dz_board_begin(b, DZ_JOB_TELL, "", INT64_MAX, 0);
        assert_true(job > 0);
    }
    assert_null(dz_board_late(b, 20 * HOUR));
    assert_null(dz_board_failed(b));
    assert_int_equal(dz_board_begin(b, DZ_JOB_TELL, "", INT64_MAX, 0), 0);
    end(b, job, 20 * HOUR);
    assert_non_null(dz_board_failed(b));
    assert_true(dz_board_begin(b, DZ_JOB_CHORE, "", INT64_MAX, 0) > 0);
    assert_int_equal(dz_board_begin(b, DZ_JOB_CHORE, "", INT64_MAX, 0), 0);
    dz_board_came(b, "a", 20 * HOUR, 3); /* it went well since: nothing is to be told any more */
    assert_null(dz_board_failed(b));
}

static void a_job_that_runs_too_long_is_named_once(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    DZ_AUTO(dz_board) b = NULL;
    dz_board_job *job;

    (void) state;
    configure(&c, 1, 2);
    b = board(&c, NULL, 10 * HOUR);
    assert_true(dz_board_begin(b, DZ_JOB_RUN, "a", 5000, 3) > 0);
    assert_null(dz_board_overrun(b, 4999));
    assert_int_equal(dz_board_wait(b, 10 * HOUR + 1, 4000, 60000), 1000);
    job = dz_board_overrun(b, 5000);
    assert_non_null(job);
    assert_int_equal(job->leaf, 3);
    job->overran = true;
    assert_null(dz_board_overrun(b, 6000));
}

static void nothing_is_waited_for_longer_than_until_it_is_due(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    DZ_AUTO(dz_board) b = NULL;
    uint32_t job;

    (void) state;
    configure(&c, 1, 1);
    b = board(&c, NULL, 10 * HOUR);
    assert_int_equal(dz_board_wait(b, 10 * HOUR, 0, 500), 500);
    assert_int_equal(dz_board_wait(b, 11 * HOUR - 3 * SECOND, 0, 5000), 3001);
    assert_int_equal(dz_board_wait(b, 11 * HOUR, 0, 5000), 0);
    job = run(b, "a");
    assert_int_equal(dz_board_wait(b, 11 * HOUR, 0, 5000), 5000);
    assert_int_equal(dz_board_wait(b, 13 * HOUR - SECOND, 0, 5000), 1001); /* late */
    end(b, job, 13 * HOUR);
    b->sources[0].failed = strdup("why");
    assert_int_equal(dz_board_wait(b, 13 * HOUR + 1, 0, 5000), 0);
}

static void a_new_configuration_keeps_what_is_known(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config three = { 0 }, two = { 0 };
    DZ_AUTO(dz_board) before = NULL;
    DZ_AUTO(dz_board) after = NULL;
    dz_board_job was;
    uint32_t a, c;

    (void) state;
    configure(&three, 3, 3);
    configure(&two, 2, 1);
    before = board(&three, NULL, 10 * HOUR);
    a = run(before, "a");
    c = run(before, "c");
    dz_board_came(before, "b", 10 * HOUR, 5);
    before->sources[1].late_told = true;
    before->sources[1].failed = strdup("why");
    after = board(&two, before, 11 * HOUR);
    assert_int_equal(after->n_jobs, 2);
    assert_int_equal(dz_board_find(after, "a")->job, a);
    assert_int_equal(dz_board_find(after, "b")->newest_us, 10 * HOUR);
    assert_true(dz_board_find(after, "b")->late_told);
    assert_string_equal(dz_board_find(after, "b")->failed, "why");
    assert_null(dz_board_find(after, "c"));
    assert_string_equal(due(after, 99 * HOUR), "-"); /* two run, one may */
    assert_true(dz_board_end(after, c, true, 12 * HOUR, &was));
    assert_string_equal(was.source, "c");
    end(after, a, 12 * HOUR);
    assert_true(run(after, "a") > c);
}

static void a_schedule_that_changed_counts_from_now(void **state) {
    DZ_CLEANUP(dz_config_release) struct dz_config c = { 0 };
    struct dz_expected known = { 0 };
    const dz_schedule hourly = { .every_us = HOUR }, other = { .every_us = 2 * HOUR };
    struct dz_board *b = NULL;

    (void) state;
    configure(&c, 3, 1);
    assert_int_equal(dz_expected_add(&known, "a", NULL, &hourly, HOUR, 5 * HOUR, NULL), DZ_OK);
    assert_int_equal(dz_expected_add(&known, "b", NULL, &other, HOUR, 5 * HOUR, NULL), DZ_OK);
    assert_int_equal(dz_expected_add(&known, "c", NULL, &hourly, HOUR, 50 * HOUR, NULL), DZ_OK);
    assert_int_equal(dz_board_new(&c, &known, NULL, 10 * HOUR, &b, NULL), DZ_OK);
    assert_int_equal(b->sources[0].since_us, 5 * HOUR);
    assert_int_equal(b->sources[1].since_us, 10 * HOUR);
    assert_int_equal(b->sources[2].since_us, 10 * HOUR); /* not from what is still to come */
    dz_board_free(b);
    dz_expected_release(&known);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_runs_when_it_is_due_and_not_while_it_runs),
        cmocka_unit_test(a_run_that_never_was_leaves_the_source_due),
        cmocka_unit_test(what_was_missed_is_made_up_for_once),
        cmocka_unit_test(a_clock_that_went_back_stops_no_source),
        cmocka_unit_test(who_waits_longest_goes_first_and_no_more_than_may),
        cmocka_unit_test(silence_is_told_once_and_ends_with_a_snapshot),
        cmocka_unit_test(no_more_is_told_at_once_than_may),
        cmocka_unit_test(a_job_that_runs_too_long_is_named_once),
        cmocka_unit_test(nothing_is_waited_for_longer_than_until_it_is_due),
        cmocka_unit_test(a_new_configuration_keeps_what_is_known),
        cmocka_unit_test(a_schedule_that_changed_counts_from_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
