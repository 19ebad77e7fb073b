/* Who may send as which source: by the log alone, each token once. */
#include "custody/enrol.h"

#include "core/clock.h"
#include "core/hex.h"
#include "crypto/hash.h"
#include "tests/unit/custody/vault_fixture.h"

static const int64_t hour_us = INT64_C(3600) * 1000000;

static void key_of(uint8_t n, uint8_t ret[DZ_ENROL_KEY]) {
    memset(ret, n, DZ_ENROL_KEY);
}

static void invite(struct custody_vault *c, const char *source, uint8_t ret_token[DZ_ENROL_TOKEN]) {
    int64_t until_us;
    dz_err err = { 0 };

    if (dz_enrol_invite(c->v, source, hour_us, ret_token, &until_us, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

static dz_status take(struct custody_vault *c, const uint8_t token[DZ_ENROL_TOKEN], uint8_t key,
                      dz_enrolled *ret) {
    uint8_t bytes[DZ_ENROL_KEY];

    key_of(key, bytes);
    return dz_enrol_take(c->v, token, bytes, ret, NULL);
}

/* Whose the key is; "" when nobody's. */
static const char *whose(struct custody_vault *c, uint8_t key) {
    static char source[DZ_SOURCE_NAME_MAX + 1];
    struct dz_enrolment e = { 0 };
    const dz_enrolled *m;
    uint8_t bytes[DZ_ENROL_KEY];

    key_of(key, bytes);
    assert_int_equal(dz_enrolment_update(c->v, &e, NULL), DZ_OK);
    m = dz_enrolled_key(&e, bytes);
    (void) snprintf(source, sizeof source, "%s", m ? m->source : "");
    if (m)
        assert_ptr_equal(dz_enrolled_source(&e, source), m);
    dz_enrolment_release(&e);
    return source;
}

static uint64_t leaves(struct custody_vault *c) {
    assert_int_equal(dz_tlog_refresh(c->v->log, NULL), DZ_OK);
    return dz_tlog_head(c->v->log).size;
}

static void a_token_is_used_once(void **state) {
    uint8_t token[DZ_ENROL_TOKEN], wrong[DZ_ENROL_TOKEN];
    struct custody_vault c = { 0 };
    dz_enrolled m = { 0 };
    uint64_t n;

    (void) state;
    custody_open(&c, 1, 0, 0);
    invite(&c, "emr", token);
    memcpy(wrong, token, sizeof wrong);
    wrong[15] ^= 1;
    assert_int_equal(take(&c, wrong, 1, &m), DZ_E_POLICY);
    assert_string_equal(whose(&c, 1), "");
    assert_int_equal(take(&c, token, 1, &m), DZ_OK);
    assert_string_equal(m.source, "emr");
    assert_string_equal(whose(&c, 1), "emr");
    n = leaves(&c);
    assert_int_equal(take(&c, token, 2, &m), DZ_E_POLICY);
    assert_string_equal(whose(&c, 2), "");
    m = (dz_enrolled){ 0 };
    assert_int_equal(take(&c, token, 1, &m), DZ_OK); /* the answer was lost: the same again */
    assert_string_equal(m.source, "emr");
    assert_int_equal(leaves(&c), n);
    custody_close(&c);
}

static void a_token_is_over_after_its_time(void **state) {
    uint8_t token[DZ_ENROL_TOKEN];
    struct custody_vault c = { 0 };
    dz_enrolled m;

    (void) state;
    custody_open(&c, 2, 0, 0);
    invite(&c, "emr", token);
    dz_clock_ahead_us = hour_us + 1000000;
    assert_int_equal(take(&c, token, 1, &m), DZ_E_POLICY);
    /* and stays so when the clock goes back behind what the log has seen */
    invite(&c, "other", token);
    dz_clock_ahead_us = 0;
    invite(&c, "emr", token);
    dz_clock_ahead_us = 3 * hour_us;
    invite(&c, "third", (uint8_t[DZ_ENROL_TOKEN]){ 0 });
    dz_clock_ahead_us = 0;
    assert_int_equal(take(&c, token, 1, &m), DZ_E_POLICY);
    custody_close(&c);
}

static void the_newest_key_and_the_newest_token_count(void **state) {
    uint8_t first[DZ_ENROL_TOKEN], second[DZ_ENROL_TOKEN];
    struct custody_vault c = { 0 };
    dz_enrolled m;

    (void) state;
    custody_open(&c, 3, 0, 0);
    invite(&c, "emr", first);
    invite(&c, "emr", second);
    assert_int_equal(take(&c, first, 1, &m), DZ_E_POLICY);
    assert_int_equal(take(&c, second, 1, &m), DZ_OK);
    invite(&c, "emr", first);
    assert_string_equal(whose(&c, 1), "emr"); /* as long as nobody came instead */
    assert_int_equal(take(&c, first, 2, &m), DZ_OK);
    assert_string_equal(whose(&c, 1), "");
    assert_string_equal(whose(&c, 2), "emr");
    invite(&c, "lab", first);
    assert_int_equal(take(&c, first, 2, &m), DZ_E_POLICY); /* a key is one source's */
    assert_int_equal(take(&c, first, 3, &m), DZ_OK);
    assert_string_equal(whose(&c, 2), "emr");
    assert_string_equal(whose(&c, 3), "lab");
    custody_close(&c);
}

static void who_is_revoked_counts_for_nothing(void **state) {
    uint8_t token[DZ_ENROL_TOKEN], open[DZ_ENROL_TOKEN];
    struct custody_vault c = { 0 };
    dz_enrolled m;

    (void) state;
    custody_open(&c, 4, 0, 0);
    assert_int_equal(dz_enrol_revoke(c.v, "emr", NULL), DZ_E_NOT_FOUND);
    invite(&c, "emr", token);
    assert_int_equal(take(&c, token, 1, &m), DZ_OK);
    invite(&c, "emr", open);
    assert_int_equal(dz_enrol_revoke(c.v, "emr", NULL), DZ_OK);
    assert_string_equal(whose(&c, 1), "");
    assert_int_equal(take(&c, token, 1, &m), DZ_E_POLICY); /* not by the old token */
    assert_int_equal(take(&c, open, 1, &m), DZ_E_POLICY);  /* nor by the one that was open */
    assert_int_equal(dz_enrol_revoke(c.v, "emr", NULL), DZ_E_NOT_FOUND);
    custody_close(&c);
}

static void what_is_taken_in_bit_by_bit_is_the_same(void **state) {
    DZ_CLEANUP(dz_enrolment_release) struct dz_enrolment e = { 0 };
    uint8_t token[DZ_ENROL_TOKEN];
    struct custody_vault c = { 0 };
    dz_enrolled m;

    (void) state;
    custody_open(&c, 8, 0, 0);
    assert_int_equal(dz_enrolment_update(c.v, &e, NULL), DZ_OK);
    assert_false(dz_enrolment_invites(&e));
    invite(&c, "emr", token);
    assert_int_equal(dz_enrolment_update(c.v, &e, NULL), DZ_OK);
    assert_true(dz_enrolment_invites(&e));
    assert_int_equal(take(&c, token, 1, &m), DZ_OK);
    assert_int_equal(dz_enrolment_update(c.v, &e, NULL), DZ_OK);
    assert_false(dz_enrolment_invites(&e));
    assert_non_null(dz_enrolled_source(&e, "emr"));
    assert_int_equal(dz_enrolment_update(c.v, &e, NULL), DZ_OK);
    assert_int_equal(e.n_machines, 1);
    assert_int_equal(dz_enrol_revoke(c.v, "emr", NULL), DZ_OK);
    assert_int_equal(dz_enrolment_update(c.v, &e, NULL), DZ_OK);
    assert_int_equal(e.n_machines, 0);
    custody_close(&c);
}

static void names_and_times_have_limits(void **state) {
    static const char *const bad[] = { "", "-x", "a/b", "a b", "\xff\xfe", "a\xe2\x80\x8b" };
    uint8_t token[DZ_ENROL_TOKEN];
    struct custody_vault c = { 0 };
    uint64_t n;
    int64_t until;

    (void) state;
    custody_open(&c, 5, 0, 0);
    n = leaves(&c);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(dz_enrol_invite(c.v, bad[i], hour_us, token, &until, NULL), DZ_E_USAGE);
    assert_int_equal(dz_enrol_invite(c.v, "a", 0, token, &until, NULL), DZ_E_USAGE);
    assert_int_equal(dz_enrol_invite(c.v, "a", DZ_ENROL_VALID_MAX_US + 1, token, &until, NULL),
                     DZ_E_USAGE);
    assert_int_equal(leaves(&c), n);
    assert_int_equal(dz_enrol_invite(c.v, "\xe6\xa4\x9c\xe6\x9f\xbb", hour_us, token, &until, NULL),
                     DZ_OK);
    custody_close(&c);
}

static void leaves_that_say_something_else_are_passed_over(void **state) {
#define KEY_1 "0101010101010101010101010101010101010101010101010101010101010101"
    static const struct {
        enum dz_leaf_kind kind;
        const char *text;
    } rows[] = {
        { DZ_LEAF_ENROL, "{\"source\":\"emr\",\"key\":\"" KEY_1 "\",\"invite\":0}" },
        { DZ_LEAF_ENROL, "{\"source\":\"emr\",\"key\":\"" KEY_1 "\"}" },
        { DZ_LEAF_ENROL, "{\"source\":\"lab\",\"key\":\"" KEY_1 "\",\"invite\":1}" },
        { DZ_LEAF_ENROL, "{\"source\":\"emr\",\"key\":\"01\",\"invite\":1}" },
        { DZ_LEAF_ENROL, "{\"source\":\"../emr\",\"key\":\"" KEY_1 "\",\"invite\":1}" },
        { DZ_LEAF_INVITE, "{\"source\":\"emr\",\"token\":\"\",\"until_us\":1}" },
        { DZ_LEAF_INVITE, "{\"source\":\"emr\",\"token\":\"" KEY_1 "\"}" },
        { DZ_LEAF_REVOKE, "{\"source\":\"\"}" },
        { DZ_LEAF_REVOKE, "{}" },
    };
    uint8_t token[DZ_ENROL_TOKEN];
    struct custody_vault c = { 0 };
    dz_enrolled m;

    (void) state;
    custody_open(&c, 6, 0, 0);
    invite(&c, "emr", token); /* leaf 1 */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(dz_ledger_note(c.v, c.tmpfd, rows[i].kind, 0, NULL, 0,
                                        json_loads(rows[i].text, 0, NULL), NULL, NULL),
                         DZ_OK);
        assert_string_equal(whose(&c, 1), "");
    }
    assert_int_equal(take(&c, token, 1, &m), DZ_OK); /* the invitation still stands */
    custody_close(&c);
}

static void the_token_is_nowhere_in_the_vault(void **state) {
    uint8_t token[DZ_ENROL_TOKEN];
    char hex[2 * DZ_ENROL_TOKEN + 1];
    struct custody_vault c = { 0 };
    DZ_AUTO(dz_ledger) l = NULL;
    size_t seen = 0;

    (void) state;
    custody_open(&c, 7, 0, 0);
    invite(&c, "emr", token);
    dz_hex(token, sizeof token, hex);
    assert_int_equal(dz_ledger_read(c.v, &l, NULL), DZ_OK);
    for (size_t i = 0; i < l->n; i++) {
        dz_autofree char *text = l->leaves[i].text ? json_dumps(l->leaves[i].text, 0) : NULL;

        assert_true(!text || !strstr(text, hex));
        seen += l->leaves[i].kind == DZ_LEAF_INVITE;
    }
    assert_int_equal(seen, 1);
    custody_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_used_once),
        cmocka_unit_test(a_token_is_over_after_its_time),
        cmocka_unit_test(the_newest_key_and_the_newest_token_count),
        cmocka_unit_test(who_is_revoked_counts_for_nothing),
        cmocka_unit_test(what_is_taken_in_bit_by_bit_is_the_same),
        cmocka_unit_test(names_and_times_have_limits),
        cmocka_unit_test(leaves_that_say_something_else_are_passed_over),
        cmocka_unit_test(the_token_is_nowhere_in_the_vault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
