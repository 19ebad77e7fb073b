/* Asking, approving and carrying out, as the commands do it: one step a leaf, and nothing twice. */
#include "tests/unit/custody/ask_fixture.h"

#include "custody/clock_guard.h"

/* Operator `seed`'s public key, as a person would paste it. */
static void key_text(uint8_t seed, const char *name, char text[ASK_ROOM]) {
    struct ssh_signer s = ssh_signer_of(seed, false);
    dz_autobuf dz_buf line = { 0 };

    ssh_put_line(&s, name, &line);
    (void) snprintf(text, ASK_ROOM, "%s", (const char *) line.data);
}

static void an_approval_that_was_cut_off_is_carried_out_later(void **state) {
    struct custody_vault v = { 0 };
    struct dz_custody c = { 0 };
    enum dz_ask_state is = DZ_ASK_DONE;
    char key[ASK_ROOM];
    dz_err err = { 0 };

    (void) state;
    custody_open(&v, 1, 3, 2);
    c.v = v.v;
    ask_read(&c);
    key_text(4, "op4", key);
    assert_int_equal(ask_for(&v, &c, "operator-add", key, DZ_REQUEST_LIFE_US, &err), DZ_OK);
    assert_int_equal(ask_approve(&v, &c, 0, 1, &err), DZ_OK);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_E_POLICY);
    assert_int_equal(c.ledger->size, 3); /* what is refused leaves no leaf */
    assert_int_equal(ask_approve(&v, &c, 0, 1, &err), DZ_E_POLICY);
    assert_int_equal(ask_approve(&v, &c, 0, 2, &err), DZ_OK);
    assert_int_equal(dz_quorum_state(&c.quorum, &c.quorum.asks[0], dz_now_us(), &is, &err), DZ_OK);
    assert_int_equal(is, DZ_ASK_READY);
    assert_int_equal(c.quorum.n_present, 3);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_OK);
    assert_int_equal(c.quorum.n_present, 4);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_E_POLICY);
    assert_int_equal(ask_approve(&v, &c, 0, 3, &err), DZ_E_POLICY);
    dz_custody_release(&c);
    custody_close(&v);
}

static void two_who_carry_it_out_at_once_do_it_once(void **state) {
    struct custody_vault v = { 0 };
    struct dz_custody c = { 0 }, late = { 0 };
    char key[ASK_ROOM];
    dz_err err = { 0 };

    (void) state;
    custody_open(&v, 1, 3, 2);
    c.v = late.v = v.v;
    ask_read(&c);
    key_text(4, "op4", key);
    assert_int_equal(ask_for(&v, &c, "operator-add", key, DZ_REQUEST_LIFE_US, &err), DZ_OK);
    assert_int_equal(ask_approve(&v, &c, 0, 1, &err), DZ_OK);
    assert_int_equal(ask_approve(&v, &c, 0, 2, &err), DZ_OK);
    ask_read(&late); /* and does not see what the other does next */
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_OK);
    assert_int_equal(dz_ask_carry_out(&late, v.tmpfd, &late.quorum.asks[0], &err), DZ_OK);
    assert_int_equal(late.quorum.n_present, 4);
    assert_int_equal(late.quorum.forged, 0);
    assert_int_equal(late.quorum.asks[0].done, c.quorum.asks[0].done);
    dz_custody_release(&c);
    dz_custody_release(&late);
    custody_close(&v);
}

static void what_cannot_be_carried_out_is_not_asked(void **state) {
    char newcomer[ASK_ROOM], known[ASK_ROOM], nameless[ASK_ROOM];
    const struct {
        const char *what, *word, *operand;
        int64_t life_us;
        dz_status want;
    } rows[] = {
        { "fine", "operator-add", newcomer, DZ_REQUEST_LIFE_US, DZ_OK },
        { "there already", "operator-add", known, DZ_REQUEST_LIFE_US, DZ_E_POLICY },
        { "no name", "operator-add", nameless, DZ_REQUEST_LIFE_US, DZ_E_USAGE },
        { "too long", "operator-add", newcomer, DZ_REQUEST_LIFE_MAX_US + 1, DZ_E_USAGE },
        { "no such file", "operator-add", "/nowhere", DZ_REQUEST_LIFE_US, DZ_E_NOT_FOUND },
        { "too few would stay", "operator-remove", "op1", DZ_REQUEST_LIFE_US, DZ_E_POLICY },
        { "nobody", "operator-remove", "op9", DZ_REQUEST_LIFE_US, DZ_E_NOT_FOUND },
    };
    struct custody_vault v = { 0 };
    struct dz_custody c = { 0 };

    (void) state;
    key_text(4, "op4", newcomer);
    key_text(1, "other", known);
    key_text(4, "", nameless);
    custody_open(&v, 1, 2, 2);
    c.v = v.v;
    ask_read(&c);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t before = c.ledger->size;
        dz_err err = { 0 };
        dz_status s = ask_for(&v, &c, rows[i].word, rows[i].operand, rows[i].life_us, &err);

        ask_read(&c);
        if (s != rows[i].want || c.ledger->size != before + (s == DZ_OK))
            fail_msg("%s: %s, %s", rows[i].what, dz_status_name(s), err.what);
    }
    dz_custody_release(&c);
    custody_close(&v);
}

static void a_request_is_found_by_the_beginning_of_its_name(void **state) {
    struct custody_vault v = { 0 };
    struct dz_custody c = { 0 };
    const dz_ask *found = NULL;
    char key[ASK_ROOM];
    dz_err err = { 0 };

    (void) state;
    custody_open(&v, 1, 2, 1);
    c.v = v.v;
    ask_read(&c);
    key_text(4, "op4", key);
    assert_int_equal(ask_for(&v, &c, "operator-add", key, DZ_REQUEST_LIFE_US, &err), DZ_OK);
    assert_int_equal(ask_for(&v, &c, "operator-add", key, DZ_REQUEST_LIFE_US, &err), DZ_OK);
    memset(c.quorum.asks[0].request.id, 0xab, 32);
    memset(c.quorum.asks[1].request.id, 0xab, 32);
    c.quorum.asks[1].request.id[2] = 0xcd;
    assert_int_equal(dz_ask_find(&c, "ababab", &found, &err), DZ_OK);
    assert_ptr_equal(found, &c.quorum.asks[0]);
    assert_int_equal(dz_ask_find(&c, "ababc", &found, &err), DZ_OK);
    assert_ptr_equal(found, &c.quorum.asks[1]);
    assert_int_equal(dz_ask_find(&c, "abab", &found, &err), DZ_E_USAGE);
    assert_int_equal(dz_ask_find(&c, "aba", &found, &err), DZ_E_USAGE);
    assert_int_equal(dz_ask_find(&c, "ABAB", &found, &err), DZ_E_USAGE);
    assert_int_equal(dz_ask_find(&c, "", &found, &err), DZ_E_USAGE);
    assert_int_equal(dz_ask_find(&c, "ababb", &found, &err), DZ_E_NOT_FOUND);
    assert_int_equal(dz_ask_find(&c,
                                 "abababababababababababababababababababababababababababababababab"
                                 "ab",
                                 &found, &err),
                     DZ_E_NOT_FOUND);
    dz_custody_release(&c);
    custody_close(&v);
}

/* The guard as the log has it. */
static struct dz_clock_guard guard(struct dz_custody *c) {
    struct dz_clock_guard g;

    ask_read(c);
    dz_clock_guard_read(c->ledger, &c->quorum, &g);
    return g;
}

static void a_frozen_clock_goes_on_when_enough_have_looked_at_the_time(void **state) {
    const int64_t day_us = INT64_C(86400) * 1000000;
    struct custody_vault v = { 0 };
    struct dz_custody c = { 0 };
    struct dz_clock_sample now;
    struct dz_clock_guard g;
    int64_t asked_us;
    dz_err err = { 0 };

    (void) state;
    custody_open(&v, 1, 3, 2);
    c.v = v.v;
    ask_read(&c);
    assert_int_equal(ask_for(&v, &c, "unfreeze-clock", NULL, DZ_REQUEST_LIFE_US, &err),
                     DZ_E_POLICY);
    dz_clock_sample(&now);
    assert_int_equal(dz_clock_tick(v.v, v.tmpfd, &now, 0, NULL, NULL), DZ_OK);
    now.wall_us += 3650 * day_us;
    assert_int_equal(dz_clock_tick(v.v, v.tmpfd, &now, 0, NULL, NULL), DZ_OK);
    assert_true(guard(&c).frozen);

    /* who writes the log alone changes nothing */
    assert_int_equal(dz_ledger_note(v.v, v.tmpfd, DZ_LEAF_CLOCK_EVENT, 0, NULL, 0,
                                    dz_clock_sample_text(&now), NULL, NULL),
                     DZ_OK);
    assert_true(guard(&c).frozen);
    asked_us = dz_now_us();
    assert_int_equal(ask_for(&v, &c, "unfreeze-clock", NULL, DZ_REQUEST_LIFE_US, &err), DZ_OK);
    assert_int_equal(ask_approve(&v, &c, 0, 1, &err), DZ_OK);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_E_POLICY);
    assert_true(guard(&c).frozen);
    assert_int_equal(ask_approve(&v, &c, 0, 2, &err), DZ_OK);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_OK);
    g = guard(&c);
    assert_false(g.frozen);
    assert_true(g.trusted_us <= asked_us && g.trusted_us > asked_us - 2 * 1000000);

    /* and it goes on from there */
    dz_clock_ahead_us += 5 * day_us;
    dz_clock_sample(&now);
    assert_int_equal(dz_clock_tick(v.v, v.tmpfd, &now, 0, NULL, NULL), DZ_OK);
    dz_clock_ahead_us -= 5 * day_us;
    assert_false(guard(&c).frozen);
    assert_true(guard(&c).trusted_us >= g.trusted_us + 5 * day_us);

    /* the same approval does not serve a second jump */
    now.wall_us -= day_us;
    assert_int_equal(dz_clock_tick(v.v, v.tmpfd, &now, 0, NULL, NULL), DZ_OK);
    assert_true(guard(&c).frozen);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_E_POLICY);
    assert_true(guard(&c).frozen);
    dz_custody_release(&c);
    custody_close(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_approval_that_was_cut_off_is_carried_out_later),
        cmocka_unit_test(two_who_carry_it_out_at_once_do_it_once),
        cmocka_unit_test(what_cannot_be_carried_out_is_not_asked),
        cmocka_unit_test(a_frozen_clock_goes_on_when_enough_have_looked_at_the_time),
        cmocka_unit_test(a_request_is_found_by_the_beginning_of_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
