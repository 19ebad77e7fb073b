/* Rules by the log alone: what tightens counts, what loosens does not, whoever wrote it. */
#include "tests/unit/custody/vault_fixture.h"

#include "custody/action.h"
#include "custody/policy.h"

static const dz_keep usual = {
    .minimum_days = 60, .daily = 180, .monthly = 24, .yearly = 5, .zone = "Asia/Tokyo"
};

static void note(struct custody_vault *c, const char *text) {
    assert_int_equal(dz_ledger_note(c->v, c->tmpfd, DZ_LEAF_POLICY, 0, NULL, 0,
                                    json_loads(text, 0, NULL), NULL, NULL),
                     DZ_OK);
}

static void what_loosens_is_refused_and_nothing_is_written(void **state) {
    static const struct {
        const char *what;
        dz_keep keep;
    } rows[] = {
        { "minimum", { 59, 180, 24, 5, "Asia/Tokyo" } },
        { "daily", { 60, 179, 24, 5, "Asia/Tokyo" } },
        { "monthly", { 60, 180, 23, 5, "Asia/Tokyo" } },
        { "yearly", { 90, 200, 30, 4, "Asia/Tokyo" } },
        { "timezone", { 60, 180, 24, 5, "UTC" } },
    };
    DZ_AUTO(dz_ledger) l = NULL;
    struct custody_vault c = { 0 };
    dz_keep tighter = usual;
    dz_err err = { 0 };

    (void) state;
    custody_open(&c, 1, 0, 0);
    assert_int_equal(dz_policy_set(c.v, "s", &rows[0].keep, &err), DZ_E_POLICY);
    assert_non_null(strstr(err.what, "60"));
    assert_int_equal(dz_policy_set(c.v, "s", &usual, NULL), DZ_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(dz_policy_set(c.v, "s", &rows[i].keep, &err), DZ_E_POLICY);
        assert_non_null(strstr(err.what, rows[i].what));
    }
    tighter.minimum_days = 365;
    assert_int_equal(dz_policy_set(c.v, "s", &tighter, NULL), DZ_OK);
    assert_int_equal(dz_policy_set(c.v, "s", &usual, NULL), DZ_E_POLICY);
    assert_int_equal(dz_policy_set(c.v, "other", &usual, NULL), DZ_OK);
    assert_int_equal(dz_ledger_read(c.v, &l, NULL), DZ_OK);
    assert_int_equal(l->size, 4); /* genesis, and three that were taken */
    custody_close(&c);
}

static void leaves_of_a_thief_do_not_count(void **state) {
#define RULES(min, d, zone)                                                  \
    "{\"event\":\"set\",\"source\":\"s\",\"minimum\":" #min ",\"daily\":" #d \
    ",\"monthly\":1,\"yearly\":1,\"timezone\":\"" zone "\"}"
    static const char *const bad[] = {
        "{}",
        "{\"event\":\"set\",\"source\":\"s\",\"minimum\":90}",
        RULES(-1, 9, "UTC"),
        RULES(99999999, 9, "UTC"),
        RULES(90.5, 9, "UTC"),
        RULES(90, 9, "../../etc/passwd"),
        RULES(59, 9, "UTC"), /* before there are rules, and after */
        RULES(0, 0, "UTC"),
    };
    struct custody_vault c = { 0 };
    struct dz_custody read = { 0 };
    const struct dz_policies *p = &read.quorum.policies;
    size_t n = sizeof bad / sizeof *bad;

    (void) state;
    custody_open(&c, 2, 0, 0);
    for (size_t i = 0; i < n; i++)
        note(&c, bad[i]);
    note(&c, RULES(70, 7, "UTC"));
    for (size_t i = 0; i < n; i++)
        note(&c, bad[i]);
    note(&c, RULES(71, 7, "UTC"));
    read.v = c.v;
    assert_int_equal(dz_custody_read(&read, NULL), DZ_OK);
    assert_int_equal(p->n, 1);
    assert_int_equal(p->passed_over, 2 * n);
    assert_int_equal(dz_policies_find(p, "s")->keep.minimum_days, 71);
    assert_int_equal(dz_policies_find(p, "s")->leaf, 2 * n + 2);
    assert_null(dz_policies_find(p, "t"));
    assert_int_equal(read.quorum.forged, 4); /* those that would loosen; the rest is nonsense */
    assert_int_equal(read.quorum.first_forged, 7);
    dz_custody_release(&read);
    custody_close(&c);
}

static void nonsense_is_refused(void **state) {
    struct custody_vault c = { 0 };
    dz_keep keep = usual;

    (void) state;
    custody_open(&c, 3, 0, 0);
    assert_int_equal(dz_policy_set(c.v, "", &keep, NULL), DZ_E_USAGE);
    assert_int_equal(dz_policy_set(c.v, "a/b\n", &keep, NULL), DZ_E_USAGE);
    keep.daily = DZ_KEEP_DAYS_MAX + 1;
    assert_int_equal(dz_policy_set(c.v, "s", &keep, NULL), DZ_E_USAGE);
    keep = usual;
    (void) snprintf(keep.zone, sizeof keep.zone, "%s", "Asia/Nowhere");
    assert_int_equal(dz_policy_set(c.v, "s", &keep, NULL), DZ_E_USAGE);
    custody_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_loosens_is_refused_and_nothing_is_written),
        cmocka_unit_test(leaves_of_a_thief_do_not_count),
        cmocka_unit_test(nonsense_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
