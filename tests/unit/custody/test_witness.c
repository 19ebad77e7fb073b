/* Who witnesses are, by the log alone, whatever stands in it; and when one is fresh. */
#include "tests/unit/custody/vault_fixture.h"

#include <signal.h>

#include "core/run.h"
#include "custody/witness.h"

static void note(struct custody_vault *c, json_t *text) {
    assert_int_equal(dz_ledger_note(c->v, c->tmpfd, DZ_LEAF_WITNESS, 0, NULL, 0, text, NULL, NULL),
                     DZ_OK);
}

static void leaves_that_make_no_sense_are_passed_over(void **state) {
    static const char *const bad[] = {
        "{}",
        "{\"event\":\"add\"}",
        "{\"event\":\"add\",\"name\":\"../x\",\"kind\":\"paper\"}",
        "{\"event\":\"add\",\"name\":\"x\",\"kind\":\"friend\"}",
        "{\"event\":\"add\",\"name\":\"x\",\"kind\":\"file\"}",
        "{\"event\":\"add\",\"name\":7,\"kind\":\"paper\"}",
        "{\"event\":\"confirmed\",\"name\":\"nobody\",\"size\":1,\"time_us\":1}",
        "{\"event\":\"confirmed\",\"name\":\"safe\",\"size\":\"1\",\"time_us\":1}",
        "{\"event\":\"confirmed\",\"name\":\"safe\",\"size\":-1,\"time_us\":1}",
        /* more leaves than were there when it was written */
        "{\"event\":\"confirmed\",\"name\":\"safe\",\"size\":1000000,\"time_us\":1}",
    };
    DZ_AUTO(dz_ledger) l = NULL;
    struct custody_vault c = { 0 };
    struct dz_witnesses w = { 0 };

    (void) state;
    custody_open(&c, 1, 0, 0);
    note(&c, json_pack("{s:s,s:s,s:s}", "event", "add", "name", "safe", "kind", "paper"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        note(&c, json_loads(bad[i], 0, NULL));
    note(&c, json_pack("{s:s,s:s,s:i,s:i}", "event", "confirmed", "name", "safe", "size", 2,
                       "time_us", 5));
    assert_int_equal(dz_ledger_read(c.v, &l, NULL), DZ_OK);
    assert_int_equal(dz_witnesses_read(l, &w, NULL), DZ_OK);
    assert_int_equal(w.n, 1);
    assert_int_equal(w.size, 2);
    assert_int_equal(w.when_us, 5);
    assert_int_equal(dz_witnesses_find(&w, "safe")->kind, DZ_WITNESS_PAPER);
    assert_null(dz_witnesses_find(&w, "x"));
    dz_witnesses_release(&w);
    custody_close(&c);
}

static void a_witness_is_fresh_for_a_week_and_never_from_the_future(void **state) {
    const int64_t now = INT64_C(1700000000) * 1000000;
    const struct {
        int64_t when_us;
        bool fresh;
    } rows[] = {
        { 0, false },
        { now, true },
        { now - DZ_WITNESS_FRESH_US, true },
        { now - DZ_WITNESS_FRESH_US - 1, false },
        { now + 1, false },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_witness list[] = { { .name = "a", .when_us = rows[i].when_us },
                              { .name = "of the future", .when_us = now + 1 } };
        const struct dz_witnesses w = { .list = list, .n = 2 };
        assert_int_equal(dz_witnesses_fresh(&w, now), rows[i].fresh);
    }
}

/* What its last leaf says of the witness's clock; -1: nothing. */
static int64_t clock_noted(struct dz_vault *v) {
    DZ_AUTO(dz_ledger) ledger = NULL;
    const json_t *clock = NULL;

    assert_int_equal(dz_ledger_read(v, &ledger, NULL), DZ_OK);
    for (size_t i = 0; i < ledger->n; i++)
        if (ledger->leaves[i].kind == DZ_LEAF_WITNESS)
            clock = json_object_get(ledger->leaves[i].text, "clock_us");
    return clock ? json_integer_value(clock) : -1;
}

static void a_command_may_say_what_time_it_is(void **state) {
    static const struct {
        const char *what, *says;
        int64_t clock_us;
    } rows[] = {
        { "a time", "2026-11-28T10:00:00Z\n", INT64_C(1795860000) * 1000000 },
        { "a time without an end of line", "2026-11-28T10:00:00Z", INT64_C(1795860000) * 1000000 },
        { "a time and more", "2026-11-28T10:00:00Z\nkept\n", INT64_C(1795860000) * 1000000 },
        { "nothing", "", -1 },
        { "something else", "kept\n", -1 },
        { "before 1970", "1969-01-01T00:00:00Z\n", -1 },
        { "a long line", "2026-11-28T10:00:00Z                                            .\n",
          -1 },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct custody_vault c;
        char command[256];
        int64_t clock_us;

        custody_open(&c, (uint8_t) i, 0, 0);
        (void) snprintf(command, sizeof command,
                        "case {} in put) cat >/dev/null; printf '%s' ;; esac", rows[i].says);
        assert_int_equal(
            dz_witness_add(c.v, c.tmpfd, "other-host", DZ_WITNESS_COMMAND, command, NULL), DZ_OK);
        clock_us = clock_noted(c.v);
        custody_close(&c);
        if (clock_us != rows[i].clock_us)
            fail_msg("%s: %lld", rows[i].what, (long long) clock_us);
    }
}

static void a_command_has_its_limits(void **state) {
    static const struct {
        const char *what, *shell;
        dz_status status;
        int code;
        const char *output;
    } rows[] = {
        { "its output comes back", "cat", DZ_OK, 0, "in" },
        { "its exit status too", "exit 7", DZ_OK, 7, "" },
        { "a signal is 128 and more", "kill -9 $$", DZ_OK, 137, "" },
        { "who writes too much is stopped", "exec yes", DZ_E_LIMIT, 137, NULL },
        { "who does not end is stopped, with its children", "sleep 100 & wait", DZ_E_IO, 137,
          NULL },
        { "so is who closes its output first", "exec >&-; sleep 100", DZ_E_IO, 137, NULL },
    };

    (void) state;
    (void) signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *const argv[] = { "/bin/sh", "-c", rows[i].shell, NULL };
        dz_autobuf dz_buf out = { 0 };
        int code = -1;
        dz_status s = dz_run(argv, DZ_SLICE_LIT("in"), 1000,
                             rows[i].status == DZ_E_IO ? 300 : 30000, &out, &code, NULL);

        if (s != rows[i].status || code != rows[i].code)
            fail_msg("%s: %s, exit %d", rows[i].what, dz_status_name(s), code);
        if (rows[i].output)
            assert_true(out.len == strlen(rows[i].output) &&
                        (out.len == 0 || memcmp(out.data, rows[i].output, out.len) == 0));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_that_make_no_sense_are_passed_over),
        cmocka_unit_test(a_witness_is_fresh_for_a_week_and_never_from_the_future),
        cmocka_unit_test(a_command_may_say_what_time_it_is),
        cmocka_unit_test(a_command_has_its_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
