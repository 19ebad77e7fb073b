/* What the log says of sources, to a board. */
#include "tests/unit/custody/vault_fixture.h"

#include "custody/alarm.h"
#include "custody/witness.h"
#include "daemon/news.h"
#include "intake/stream.h"

#define HOUR (INT64_C(3600) * 1000000)

struct scene {
    struct custody_vault c;
    struct dz_config config;
    struct dz_news news;
    struct dz_board *board;
};

static void renew_board(struct scene *s) {
    const struct dz_expected none = { 0 };

    dz_board_free(s->board);
    s->news = (struct dz_news){ .v = s->c.v };
    assert_int_equal(dz_board_new(&s->config, &none, NULL, 1, &s->board, NULL), DZ_OK);
}

static int open_scene(void **state) {
    static const char text[] = "vault: /v\nsources:\n"
                               "- {name: a, kind: tree, every: 1h, paths: [/a]}\n"
                               "- {name: b, kind: tree, every: 1h, paths: [/b]}\n";
    struct scene *s = calloc(1, sizeof *s);
    static uint8_t id;

    assert_non_null(s);
    custody_open(&s->c, ++id, 0, 0);
    assert_int_equal(dz_config_read(DZ_SLICE_LIT(text), "dozod.yaml", &s->config, NULL), DZ_OK);
    renew_board(s);
    *state = s;
    return 0;
}

static int close_scene(void **state) {
    struct scene *s = *state;

    dz_board_free(s->board);
    dz_config_release(&s->config);
    custody_close(&s->c);
    free(s);
    return 0;
}

static int64_t snapshot(struct scene *s, const char *source) {
    struct dz_commit commit = { 0 };
    struct dz_stream_how how = { .source = source, .name = "f" };
    dz_err err = { 0 };
    int64_t arrived_us;
    int pipe_fds[2];

    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(write(pipe_fds[1], "x", 1), 1);
    (void) close(pipe_fds[1]);
    how.fd = pipe_fds[0];
    if (dz_stream_run(s->c.v, &how, &commit, &err) != DZ_OK)
        fail_msg("%s", err.what);
    (void) close(pipe_fds[0]);
    arrived_us = commit.arrived_us;
    dz_commit_release(&commit);
    return arrived_us;
}

static void read_news(struct scene *s) {
    dz_err err = { 0 };

    if (dz_news_read(&s->news, s->board, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

static void the_newest_snapshot_of_each_source_is_found(void **state) {
    struct scene *s = *state;
    int64_t first, second;

    read_news(s);
    assert_int_equal(s->board->sources[0].newest_us, INT64_MIN);
    (void) snapshot(s, "a");
    first = snapshot(s, "a");
    (void) snapshot(s, "nobody");
    read_news(s);
    assert_int_equal(s->board->sources[0].newest_us, first);
    assert_int_equal(s->board->sources[1].newest_us, INT64_MIN);
    second = snapshot(s, "b"); /* only this one is looked at */
    read_news(s);
    assert_int_equal(s->board->sources[0].newest_us, first);
    assert_int_equal(s->board->sources[1].newest_us, second);
    renew_board(s);
    read_news(s);
    assert_int_equal(s->board->sources[0].newest_us, first);
    assert_int_equal(s->board->sources[1].newest_us, second);
}

static void note(struct scene *s, const char *reason, const char *source, const char *detail) {
    assert_int_equal(dz_alarm_raise(s->c.v, DZ_ALARM_SERIOUS, reason, source, detail, NULL), DZ_OK);
}

static void an_alarm_stands_until_a_snapshot_comes(void **state) {
    struct scene *s = *state;

    note(s, "source-late", "a", "x");
    note(s, "source-failed", "b", "x"); /* another reason */
    note(s, "source-late", "nobody", "x");
    read_news(s);
    assert_int_equal(dz_news_alarmed(&s->news, s->board, NULL), DZ_OK);
    assert_true(s->board->sources[0].late_told);
    assert_false(s->board->sources[1].late_told);
    (void) snapshot(s, "a");
    renew_board(s);
    read_news(s);
    assert_int_equal(dz_news_alarmed(&s->news, s->board, NULL), DZ_OK);
    assert_false(s->board->sources[0].late_told);
    note(s, "source-late", "a", "x");
    renew_board(s);
    read_news(s);
    s->board->sources[0].since_us = INT64_MAX; /* of a schedule that was changed since */
    assert_int_equal(dz_news_alarmed(&s->news, s->board, NULL), DZ_OK);
    assert_false(s->board->sources[0].late_told);
}

static void the_reason_of_a_failure_is_found(void **state) {
    struct scene *s = *state;
    char detail[DZ_BOARD_DETAIL_MAX + 1];
    uint64_t size;

    note(s, "source-failed", "a", "before");
    read_news(s);
    size = s->news.seen;
    assert_int_equal(dz_news_failure(&s->news, "a", size, detail, NULL), DZ_OK);
    assert_string_equal(detail, "");
    note(s, "source-failed", "b", "another's");
    assert_int_equal(dz_news_failure(&s->news, "a", size, detail, NULL), DZ_OK);
    assert_string_equal(detail, "");
    note(s, "source-failed", "a", "exit status 3");
    assert_int_equal(dz_news_failure(&s->news, "a", size, detail, NULL), DZ_OK);
    assert_string_equal(detail, "exit status 3");
    note(s, "source-failed", "a", "two\nlines");
    assert_int_equal(dz_news_failure(&s->news, "a", size, detail, NULL), DZ_OK);
    assert_string_equal(detail, "see the journal");
}

static void when_chores_were_done_last_is_found(void **state) {
    struct scene *s = *state;
    int64_t done[DZ_CHORES] = { 0 }, met;
    char path[128];

    assert_int_equal(dz_news_chores(&s->news, done, NULL), DZ_OK);
    assert_int_equal(done[DZ_CHORE_WITNESS], INT64_MAX);
    assert_int_equal(done[DZ_CHORE_VERIFY], INT64_MIN);
    assert_int_equal(dz_witness_add(s->c.v, s->c.tmpfd, "page", DZ_WITNESS_PAPER, NULL, NULL),
                     DZ_OK);
    assert_int_equal(dz_news_chores(&s->news, done, NULL), DZ_OK);
    assert_int_equal(done[DZ_CHORE_WITNESS], INT64_MAX); /* paper cannot be asked */
    (void) snprintf(path, sizeof path, "%s/kept", s->c.dir);
    assert_int_equal(dz_witness_add(s->c.v, s->c.tmpfd, "usb", DZ_WITNESS_FILE, path, NULL), DZ_OK);
    met = snapshot(s, "a"); /* about then */
    assert_int_equal(dz_news_chores(&s->news, done, NULL), DZ_OK);
    assert_true(done[DZ_CHORE_WITNESS] <= met && done[DZ_CHORE_WITNESS] > met - HOUR);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_newest_snapshot_of_each_source_is_found, open_scene,
                                        close_scene),
        cmocka_unit_test_setup_teardown(an_alarm_stands_until_a_snapshot_comes, open_scene,
                                        close_scene),
        cmocka_unit_test_setup_teardown(the_reason_of_a_failure_is_found, open_scene, close_scene),
        cmocka_unit_test_setup_teardown(when_chores_were_done_last_is_found, open_scene,
                                        close_scene),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
