/* An alarm says what it was told, whatever bytes that has. */
#include "tests/unit/custody/vault_fixture.h"

#include "custody/alarm.h"

static void an_alarm_comes_back_as_it_was_raised(void **state) {
    DZ_AUTO(dz_ledger) l = NULL;
    struct custody_vault c = { 0 };
    char longest[2000];
    dz_err err = { 0 };

    (void) state;
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    custody_open(&c, 3, 0, 0);
    assert_int_equal(dz_alarm_note(c.v, c.tmpfd, DZ_ALARM_SERIOUS, "source-failed", "電子カルテ",
                                   "exit status 1", &err),
                     DZ_OK);
    assert_int_equal(dz_alarm_raise(c.v, DZ_ALARM_WARNING, "other", "\xff\xfe", longest, &err),
                     DZ_OK);
    assert_int_equal(dz_alarm_raise(c.v, DZ_ALARM_INFO, "bare", NULL, NULL, &err), DZ_OK);
    assert_int_equal(dz_ledger_read(c.v, &l, &err), DZ_OK);
    assert_int_equal(l->n, 4);
    for (size_t i = 1; i < l->n; i++)
        assert_int_equal(l->leaves[i].kind, DZ_LEAF_ALARM);
    assert_string_equal(dz_ledger_text(&l->leaves[1], "severity"), "serious");
    assert_string_equal(dz_ledger_text(&l->leaves[1], "reason"), "source-failed");
    assert_string_equal(dz_ledger_text(&l->leaves[1], "source"), "電子カルテ");
    assert_string_equal(dz_ledger_text(&l->leaves[1], "detail"), "exit status 1");
    assert_string_equal(dz_ledger_text(&l->leaves[2], "severity"), "warning");
    assert_string_equal(dz_ledger_text(&l->leaves[2], "source"), "??");
    assert_int_equal(strlen(dz_ledger_text(&l->leaves[2], "detail")), 500);
    assert_string_equal(dz_ledger_text(&l->leaves[3], "severity"), "info");
    assert_null(dz_ledger_text(&l->leaves[3], "source"));
    custody_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_alarm_comes_back_as_it_was_raised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
