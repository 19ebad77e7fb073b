/* Asking, approving and carrying out, as the commands do it: one step a leaf, and nothing twice. */
#include "tests/unit/custody/vault_fixture.h"

#include "core/clock.h"
#include "custody/action.h"
#include "custody/clock_guard.h"
#include "custody/hold.h"
#include "custody/policy.h"

enum { ROOM = 512 };

static void read_again(struct dz_custody *c) {
    dz_err err = { 0 };

    if (dz_custody_read(c, &err) != DZ_OK)
        fail_msg("%s", err.what);
}

/* Operator `seed`'s public key, as a person would paste it. */
static void key_text(uint8_t seed, const char *name, char text[ROOM]) {
    struct ssh_signer s = ssh_signer_of(seed, false);
    dz_autobuf dz_buf line = { 0 };

    ssh_put_line(&s, name, &line);
    (void) snprintf(text, ROOM, "%s", (const char *) line.data);
}

static dz_status ask(struct custody_vault *v, struct dz_custody *c, const char *word,
                     const char *what, int64_t life_us, dz_err *err) {
    const struct dz_operands typed = { .what = what };
    struct dz_request r = { 0 };
    dz_status s = dz_ask_for(c, v->tmpfd, dz_action_find(word), &typed, "somebody", "because",
                             life_us, &r, err);

    dz_request_release(&r);
    if (s == DZ_OK)
        read_again(c);
    return s;
}

static void sign(const dz_ask *a, uint8_t seed, dz_buf *armor) {
    struct ssh_signer s = ssh_signer_of(seed, false);
    dz_autobuf dz_buf blob = { 0 };

    ssh_sign(&s, DZ_REQUEST_NAMESPACE, dz_buf_slice(&a->request.text), &blob);
    dz_sshsig_armor(dz_buf_slice(&blob), armor);
}

static dz_status approve(struct custody_vault *v, struct dz_custody *c, size_t ask_at, uint8_t seed,
                         dz_err *err) {
    dz_autobuf dz_buf armor = { 0 };
    const dz_ask *a = &c->quorum.asks[ask_at];

    sign(a, seed, &armor);
    return dz_ask_approve(c, v->tmpfd, a, dz_buf_slice(&armor), NULL, err);
}

static void an_approval_that_was_cut_off_is_carried_out_later(void **state) {
    struct custody_vault v = { 0 };
    struct dz_custody c = { 0 };
    enum dz_ask_state is = DZ_ASK_DONE;
    char key[ROOM];
    dz_err err = { 0 };

    (void) state;
    custody_open(&v, 1, 3, 2);
    c.v = v.v;
    read_again(&c);
    key_text(4, "op4", key);
    assert_int_equal(ask(&v, &c, "operator-add", key, DZ_REQUEST_LIFE_US, &err), DZ_OK);
    assert_int_equal(approve(&v, &c, 0, 1, &err), DZ_OK);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_E_POLICY);
    assert_int_equal(c.ledger->size, 3); /* what is refused leaves no leaf */
    assert_int_equal(approve(&v, &c, 0, 1, &err), DZ_E_POLICY);
    assert_int_equal(approve(&v, &c, 0, 2, &err), DZ_OK);
    assert_int_equal(dz_quorum_state(&c.quorum, &c.quorum.asks[0], dz_now_us(), &is, &err), DZ_OK);
    assert_int_equal(is, DZ_ASK_READY);
    assert_int_equal(c.quorum.n_present, 3);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_OK);
    assert_int_equal(c.quorum.n_present, 4);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_E_POLICY);
    assert_int_equal(approve(&v, &c, 0, 3, &err), DZ_E_POLICY);
    dz_custody_release(&c);
    custody_close(&v);
}

static void two_who_carry_it_out_at_once_do_it_once(void **state) {
    struct custody_vault v = { 0 };
    struct dz_custody c = { 0 }, late = { 0 };
    char key[ROOM];
    dz_err err = { 0 };

    (void) state;
    custody_open(&v, 1, 3, 2);
    c.v = late.v = v.v;
    read_again(&c);
    key_text(4, "op4", key);
    assert_int_equal(ask(&v, &c, "operator-add", key, DZ_REQUEST_LIFE_US, &err), DZ_OK);
    assert_int_equal(approve(&v, &c, 0, 1, &err), DZ_OK);
    assert_int_equal(approve(&v, &c, 0, 2, &err), DZ_OK);
    read_again(&late); /* and does not see what the other does next */
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
    char newcomer[ROOM], known[ROOM], nameless[ROOM];
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
    read_again(&c);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t before = c.ledger->size;
        dz_err err = { 0 };
        dz_status s = ask(&v, &c, rows[i].word, rows[i].operand, rows[i].life_us, &err);

        read_again(&c);
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
    char key[ROOM];
    dz_err err = { 0 };

    (void) state;
    custody_open(&v, 1, 2, 1);
    c.v = v.v;
    read_again(&c);
    key_text(4, "op4", key);
    assert_int_equal(ask(&v, &c, "operator-add", key, DZ_REQUEST_LIFE_US, &err), DZ_OK);
    assert_int_equal(ask(&v, &c, "operator-add", key, DZ_REQUEST_LIFE_US, &err), DZ_OK);
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

    read_again(c);
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
    read_again(&c);
    assert_int_equal(ask(&v, &c, "unfreeze-clock", NULL, DZ_REQUEST_LIFE_US, &err), DZ_E_POLICY);
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
    assert_int_equal(ask(&v, &c, "unfreeze-clock", NULL, DZ_REQUEST_LIFE_US, &err), DZ_OK);
    assert_int_equal(approve(&v, &c, 0, 1, &err), DZ_OK);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_E_POLICY);
    assert_true(guard(&c).frozen);
    assert_int_equal(approve(&v, &c, 0, 2, &err), DZ_OK);
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

/* The minimum of the source's rules; UINT32_MAX: it has none. */
static uint32_t minimum_of(struct dz_custody *c, const char *source, size_t *ret_passed_over) {
    const dz_policy *found;

    read_again(c);
    found = dz_policies_find(&c->quorum.policies, source);
    *ret_passed_over = c->quorum.policies.passed_over;
    return found ? found->keep.minimum_days : UINT32_MAX;
}

static void approve_by_two(struct custody_vault *v, struct dz_custody *c, size_t at) {
    dz_err err = { 0 };

    assert_int_equal(approve(v, c, at, 1, &err), DZ_OK);
    assert_int_equal(dz_ask_carry_out(c, v->tmpfd, &c->quorum.asks[at], &err), DZ_E_POLICY);
    assert_int_equal(approve(v, c, at, 2, &err), DZ_OK);
}

/* A POLICY leaf that names a request, or none. */
static void forge_rules(struct custody_vault *v, const dz_ask *a, const dz_keep *keep) {
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_REQUEST };

    if (a)
        memcpy(object.name, a->request.id, sizeof object.name);
    assert_int_equal(dz_ledger_note(v->v, v->tmpfd, DZ_LEAF_POLICY, 0, &object, a ? 1 : 0,
                                    dz_policy_text("src", keep), NULL, NULL),
                     DZ_OK);
}

/* A good signature of the only request, logged by who does not ask whether it counts. */
static void forge_approval(struct custody_vault *v, struct dz_custody *c, uint8_t seed) {
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_REQUEST };
    dz_autobuf dz_buf armor = { 0 };

    sign(&c->quorum.asks[0], seed, &armor);
    memcpy(object.name, c->quorum.asks[0].request.id, sizeof object.name);
    assert_int_equal(
        dz_ledger_note(v->v, v->tmpfd, DZ_LEAF_APPROVE, 0, &object, 1,
                       json_pack("{s:s%}", "signature", (const char *) armor.data, armor.len), NULL,
                       NULL),
        DZ_OK);
}

static void forge_release(struct custody_vault *v, const dz_ask *a, const uint8_t file[32]) {
    dz_leaf_object objects[2] = { { .type = DZ_LEAF_OBJ_REQUEST }, { .type = DZ_LEAF_OBJ_COMMIT } };

    memcpy(objects[0].name, a->request.id, sizeof objects[0].name);
    memcpy(objects[1].name, file, sizeof objects[1].name);
    assert_int_equal(
        dz_ledger_note(v->v, v->tmpfd, DZ_LEAF_RELEASE, 0, objects, 2, json_object(), NULL, NULL),
        DZ_OK);
}

static void rules_are_loosened_by_enough_and_to_what_they_signed(void **state) {
    const dz_keep first = { .minimum_days = 90, .daily = 10, .zone = "Asia/Tokyo" };
    dz_keep none = { .zone = "Asia/Tokyo" }, tighter = first;
    struct custody_vault v = { 0 };
    struct dz_custody c = { 0 };
    size_t over;
    dz_err err = { 0 };

    (void) state;
    custody_open(&v, 1, 3, 2);
    c.v = v.v;
    assert_int_equal(dz_policy_set(v.v, "src", &first, &err), DZ_OK);
    read_again(&c);
    assert_int_equal(ask(&v, &c, "loosen-policy", "other,minimum=1", DZ_REQUEST_LIFE_US, &err),
                     DZ_E_POLICY);
    assert_int_equal(ask(&v, &c, "loosen-policy", "src,minimum=91", DZ_REQUEST_LIFE_US, &err),
                     DZ_E_POLICY);
    assert_int_equal(ask(&v, &c, "loosen-policy", "src,minimum=", DZ_REQUEST_LIFE_US, &err),
                     DZ_E_USAGE);
    assert_int_equal(ask(&v, &c, "loosen-policy", "src,weekly=3", DZ_REQUEST_LIFE_US, &err),
                     DZ_E_USAGE);
    assert_int_equal(ask(&v, &c, "loosen-policy", "src,minimum=30", DZ_REQUEST_LIFE_US, &err),
                     DZ_OK);

    forge_rules(&v, NULL, &none);              /* nobody was asked */
    forge_rules(&v, &c.quorum.asks[0], &none); /* nobody has approved */
    assert_int_equal(minimum_of(&c, "src", &over), 90);
    assert_int_equal(over, 2);
    assert_int_equal(c.quorum.forged, 2);

    approve_by_two(&v, &c, 0);
    forge_rules(&v, &c.quorum.asks[0], &none); /* more than was signed: nor is the request used */
    assert_int_equal(minimum_of(&c, "src", &over), 90);
    assert_int_equal(c.quorum.forged, 3);
    assert_int_equal(c.quorum.asks[0].done, 0);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_OK);
    assert_int_equal(minimum_of(&c, "src", &over), 30);
    forge_rules(&v, &c.quorum.asks[0], &none); /* a second time, and more than was signed */
    assert_int_equal(minimum_of(&c, "src", &over), 30);

    /* rules that changed meanwhile are not overrun */
    assert_int_equal(
        ask(&v, &c, "loosen-policy", "src,daily=1,minimum=10", DZ_REQUEST_LIFE_US, &err), DZ_OK);
    approve_by_two(&v, &c, 1);
    tighter.minimum_days = 40;
    assert_int_equal(dz_policy_set(v.v, "src", &tighter, &err), DZ_OK);
    read_again(&c);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[1], &err), DZ_E_POLICY);
    none.minimum_days = 10;
    none.daily = 1;
    forge_rules(&v, &c.quorum.asks[1], &none); /* nor by who writes the leaf all the same */
    assert_int_equal(minimum_of(&c, "src", &over), 40);
    dz_custody_release(&c);
    custody_close(&v);
}

static void a_hold_ends_by_enough_and_no_other_does(void **state) {
    struct dz_snapshot snap = { .file = { 7 }, .commit = { .id = { 8 } } };
    struct custody_vault v = { 0 };
    struct dz_custody c = { 0 };
    uint64_t first, second;
    char text[24];
    dz_err err = { 0 };

    (void) state;
    custody_open(&v, 1, 3, 2);
    c.v = v.v;
    assert_int_equal(dz_hold_add(v.v, &snap, "case 7", &first, &err), DZ_OK);
    assert_int_equal(dz_hold_add(v.v, &snap, "case 8", &second, &err), DZ_OK);
    read_again(&c);
    assert_int_equal(ask(&v, &c, "release-hold", "0", DZ_REQUEST_LIFE_US, &err), DZ_E_NOT_FOUND);
    (void) snprintf(text, sizeof text, "%llu", (unsigned long long) first);
    assert_int_equal(ask(&v, &c, "release-hold", text, DZ_REQUEST_LIFE_US, &err), DZ_OK);
    assert_int_equal(
        dz_ledger_note(v.v, v.tmpfd, DZ_LEAF_RELEASE, 0, NULL, 0, json_object(), NULL, NULL),
        DZ_OK);
    read_again(&c);
    assert_int_equal(c.quorum.forged, 1);
    approve_by_two(&v, &c, 0);
    forge_release(&v, &c.quorum.asks[0], (uint8_t[32]){ 9 }); /* of another snapshot */
    read_again(&c);
    assert_int_equal(c.quorum.forged, 2);
    assert_false(dz_hold_released(&c.quorum, first));
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[0], &err), DZ_OK);
    assert_true(dz_hold_released(&c.quorum, first));
    assert_false(dz_hold_released(&c.quorum, second));
    assert_true(dz_held(c.ledger, &c.quorum, snap.file)); /* by the other one */
    assert_int_equal(ask(&v, &c, "release-hold", text, DZ_REQUEST_LIFE_US, &err), DZ_E_POLICY);
    (void) snprintf(text, sizeof text, "%llu", (unsigned long long) second);
    assert_int_equal(ask(&v, &c, "release-hold", text, DZ_REQUEST_LIFE_US, &err), DZ_OK);
    approve_by_two(&v, &c, 1);
    assert_int_equal(dz_ask_carry_out(&c, v.tmpfd, &c.quorum.asks[1], &err), DZ_OK);
    assert_false(dz_held(c.ledger, &c.quorum, snap.file));
    dz_custody_release(&c);
    custody_close(&v);
}

/* What operators sign of the log is held against the log that they could have seen. */
static void a_hold_that_is_yet_to_come_is_not_released(void **state) {
    const struct {
        const char *what;
        uint64_t ahead; /* the hold's leaf, from the one that the request shows */
        const char *held_for;
        uint8_t file;
        bool ends;
    } rows[] = {
        { "as it is", 0, "case 7", 7, true },
        { "the next one", 2, "case 7", 7, false },
        { "with another reason", 0, "a test", 7, false },
        { "of another snapshot", 0, "case 7", 6, false },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_snapshot snap = { .file = { 7 }, .commit = { .id = { 8 } } };
        struct custody_vault v = { 0 };
        struct dz_custody c = { 0 };
        char leaf[24],
            file[65] = "0600000000000000000000000000000000000000000000000000000000000000";
        char fingerprint[DZ_FINGERPRINT_TEXT];
        dz_leaf_object object = { .type = DZ_LEAF_OBJ_REQUEST };
        struct dz_request_new n = { .fingerprint = fingerprint,
                                    .kind = DZ_REQUEST_RELEASE,
                                    .asked_by = "mallory",
                                    .why = "because",
                                    .created_us = dz_now_us(),
                                    .expires_us = dz_now_us() + DZ_REQUEST_LIFE_US };
        struct dz_request r = { 0 };
        uint64_t hold, next;
        dz_err err = { 0 };

        custody_open(&v, 1, 3, 2);
        c.v = v.v;
        assert_int_equal(dz_hold_add(v.v, &snap, "case 7", &hold, &err), DZ_OK);
        read_again(&c);
        file[1] = (char) ('0' + rows[i].file);
        (void) snprintf(leaf, sizeof leaf, "%llu", (unsigned long long) (hold + rows[i].ahead));
        n.vault = v.v->config.id;
        n.head = c.head;
        dz_keys_fingerprint(v.v->host, fingerprint);
        n.subject[0] = leaf;
        n.subject[1] = "08000000000000000000000000000000";
        n.subject[2] = file;
        n.subject[3] = rows[i].held_for;
        assert_int_equal(dz_request_make(&n, &r, &err), DZ_OK);
        memcpy(object.name, r.id, sizeof object.name);
        assert_int_equal(
            dz_ledger_note(v.v, v.tmpfd, DZ_LEAF_REQUEST, 0, &object, 1,
                           json_pack("{s:s%}", "text", (const char *) r.text.data, r.text.len),
                           NULL, NULL),
            DZ_OK);
        assert_int_equal(dz_hold_add(v.v, &snap, "case 7", &next, &err), DZ_OK);
        read_again(&c);
        assert_int_equal(c.quorum.n_asks, 1);
        if ((approve(&v, &c, 0, 1, &err) == DZ_OK) != rows[i].ends)
            fail_msg("%s: %s", rows[i].what, err.what);
        forge_approval(&v, &c, 1);
        forge_approval(&v, &c, 2);
        snap.file[0] = rows[i].file;
        forge_release(&v, &c.quorum.asks[0], snap.file);
        read_again(&c);
        if (dz_hold_released(&c.quorum, hold) != rows[i].ends ||
            dz_hold_released(&c.quorum, next) || c.quorum.forged != !rows[i].ends)
            fail_msg("%s: %llu forged", rows[i].what, (unsigned long long) c.quorum.forged);
        dz_request_release(&r);
        dz_custody_release(&c);
        custody_close(&v);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_approval_that_was_cut_off_is_carried_out_later),
        cmocka_unit_test(two_who_carry_it_out_at_once_do_it_once),
        cmocka_unit_test(what_cannot_be_carried_out_is_not_asked),
        cmocka_unit_test(rules_are_loosened_by_enough_and_to_what_they_signed),
        cmocka_unit_test(a_hold_ends_by_enough_and_no_other_does),
        cmocka_unit_test(a_hold_that_is_yet_to_come_is_not_released),
        cmocka_unit_test(a_frozen_clock_goes_on_when_enough_have_looked_at_the_time),
        cmocka_unit_test(a_request_is_found_by_the_beginning_of_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
