/* What lets snapshots go before the rules do: each kind of request, against each way to have it
 * without the operators.  A vault of three snapshots, one of them held, and two of another source,
 * the last with alarms; two of four approve. */
#include "tests/unit/custody/ask_fixture.h"

#include "core/hex.h"
#include "custody/alarm.h"
#include "custody/clock_guard.h"
#include "custody/hold.h"
#include "custody/settled.h"
#include "custody/survey.h"
#include "store/session.h"

enum { SNAPSHOTS = 5, OF_SRC = 3 };
#define LIFE DZ_REQUEST_LIFE_US
#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

struct world {
    struct custody_vault v;
    struct dz_custody c;
    uint64_t hold;  /* its leaf: of the first snapshot */
    uint64_t alarm; /* its leaf: a run of `src` failed */
    uint8_t files[SNAPSHOTS][DZ_SHA256_BYTES];
    char names[SNAPSHOTS][DZ_SNAPSHOT_ID_TEXT];
    int64_t ahead_us; /* of the test, to be put back */
};

static const dz_keep first_rules = { .minimum_days = 90, .daily = 10, .zone = "Asia/Tokyo" };

static void back_up(struct world *w, size_t i) {
    struct dz_commit c = { .files = 3 + i, .bytes = 17, .alarms = i == SNAPSHOTS - 1 ? 2 : 0 };
    DZ_AUTO(dz_session) s = NULL;
    struct dz_snapshot snap = { 0 };
    struct dz_clock_sample now;
    dz_err err = { 0 };

    (void) snprintf(c.source, sizeof c.source, "%s", i < OF_SRC ? "src" : "src2");
    if (dz_session_begin(w->v.v, &s, &err) != DZ_OK || dz_session_commit(s, &c, &err) != DZ_OK)
        fail_msg("%s", err.what);
    dz_snapshot_id_text(c.id, w->names[i]);
    assert_int_equal(dz_snapshot_find(w->v.v, w->names[i], &snap, &err), DZ_OK);
    memcpy(w->files[i], snap.file, sizeof w->files[i]);
    if (i == 0)
        assert_int_equal(dz_hold_add(w->v.v, &snap,
                                     " case\xe2\x80\x8b"
                                     "7 ",
                                     &w->hold, &err),
                         DZ_OK);
    dz_snapshot_release(&snap);
    dz_commit_release(&c);
    dz_clock_ahead_us += DAY;
    dz_clock_sample(&now);
    assert_int_equal(dz_clock_tick(w->v.v, w->v.tmpfd, &now, 0, NULL, &err), DZ_OK);
}

/* *ret_leaf is the alarm's. */
static void raise_alarm(struct world *w, const char *reason, const char *source, const char *detail,
                        uint64_t *ret_leaf) {
    dz_err err = { 0 };

    if (dz_alarm_note(w->v.v, w->v.tmpfd, DZ_ALARM_SERIOUS, reason, source, detail, &err) != DZ_OK)
        fail_msg("%s", err.what);
    ask_read(&w->c);
    *ret_leaf = w->c.head.size - 1;
}

static void begin(struct world *w) {
    struct dz_clock_sample now;
    dz_err err = { 0 };

    *w = (struct world){ .ahead_us = dz_clock_ahead_us };
    custody_made_us = dz_now_us();
    custody_open(&w->v, 1, 4, 2);
    w->c.v = w->v.v;
    dz_clock_sample(&now);
    assert_int_equal(dz_clock_tick(w->v.v, w->v.tmpfd, &now, 0, NULL, &err), DZ_OK);
    for (size_t i = 0; i < SNAPSHOTS; i++)
        back_up(w, i);
    assert_int_equal(dz_policy_set(w->v.v, "src", &first_rules, &err), DZ_OK);
    raise_alarm(w, "source-failed", "src", "gave 1", &w->alarm);
}

static void end(struct world *w) {
    dz_custody_release(&w->c);
    custody_close(&w->v);
    dz_clock_ahead_us = w->ahead_us;
}

/* What the survey says of a snapshot. */
static dz_retention_row fate(struct world *w, size_t i) {
    struct dz_survey survey = { 0 };
    dz_retention_row row;
    dz_err err = { 0 };

    if (dz_survey_read(w->v.v, dz_now_us(), &survey, &err) != DZ_OK)
        fail_msg("%s", err.what);
    assert_int_equal(survey.n, SNAPSHOTS);
    row = dz_survey_find(&survey, w->files[i])->fate;
    dz_survey_release(&survey);
    return row;
}

/* --- the kinds -------------------------------------------------------------------------------- */

/* What is asked for, and whether it has come about. */
struct kind {
    const char *word;
    void (*operand)(const struct world *w, char to[ASK_ROOM]);
    bool (*happened)(struct world *w);
    bool alone; /* its leaf is an ordinary one when it names no request */
};

static void hold_of(const struct world *w, char to[ASK_ROOM]) {
    (void) snprintf(to, ASK_ROOM, "%llu", (unsigned long long) w->hold);
}
static bool is_released(struct world *w) {
    return !fate(w, 0).held;
}
static void looser(const struct world *w, char to[ASK_ROOM]) {
    (void) w;
    (void) snprintf(to, ASK_ROOM, "src,minimum=60");
}
static bool is_looser(struct world *w) {
    ask_read(&w->c);
    return dz_policies_find(&w->c.quorum.policies, "src")->keep.minimum_days < 90;
}
static void second_of(const struct world *w, char to[ASK_ROOM]) {
    (void) snprintf(to, ASK_ROOM, "%s", w->names[1]);
}
static bool is_going(struct world *w) {
    return fate(w, 1).approved;
}

static void alarm_of(const struct world *w, char to[ASK_ROOM]) {
    (void) snprintf(to, ASK_ROOM, "%llu", (unsigned long long) w->alarm);
}
static bool is_settled(struct world *w) {
    ask_read(&w->c);
    return dz_settled_alarm(&w->c.quorum,
                            dz_ledger_leaf_at(w->c.ledger, DZ_LEAF_ALARM, w->alarm)) != NULL;
}
static void last_of(const struct world *w, char to[ASK_ROOM]) {
    (void) snprintf(to, ASK_ROOM, "%s", w->names[SNAPSHOTS - 1]);
}
static bool is_let_go(struct world *w) {
    return fate(w, SNAPSHOTS - 1).why != DZ_RETENTION_ALARM ||
           fate(w, SNAPSHOTS - 2).why != DZ_RETENTION_ALARM;
}

enum { HOLD, RULES, DELETION, ALARM, ALARMS_OF_SNAPSHOT, KINDS };
static const struct kind kinds[KINDS] = {
    [HOLD] = { "release-hold", hold_of, is_released, false },
    [RULES] = { "loosen-policy", looser, is_looser, false },
    [DELETION] = { "delete-snapshot", second_of, is_going, true },
    [ALARM] = { "acknowledge-alarm", alarm_of, is_settled, false },
    [ALARMS_OF_SNAPSHOT] = { "acknowledge-alarm", last_of, is_let_go, false },
};

/* Asks, as anybody may; the request is the last of the list. */
static const dz_ask *ask(struct world *w, const struct kind *k, int64_t life_us) {
    char operand[ASK_ROOM];
    dz_err err = { 0 };

    k->operand(w, operand);
    if (ask_for(&w->v, &w->c, k->word, operand, life_us, &err) != DZ_OK)
        fail_msg("%s: %s", k->word, err.what);
    return &w->c.quorum.asks[w->c.quorum.n_asks - 1];
}

/* --- who has the host's keys ------------------------------------------------------------------ */

static void append(struct world *w, enum dz_leaf_kind kind, const dz_leaf_object *objects, size_t n,
                   json_t *text) {
    dz_err err = { 0 };

    if (dz_ledger_note(w->v.v, w->v.tmpfd, kind, 0, objects, n, text, NULL, &err) != DZ_OK)
        fail_msg("%s", err.what);
    ask_read(&w->c);
}

static dz_leaf_object object(enum dz_leaf_object_type type, const uint8_t name[32]) {
    dz_leaf_object o = { .type = (uint8_t) type };

    memcpy(o.name, name, sizeof o.name);
    return o;
}

static void log_text(struct world *w, dz_slice text) {
    dz_leaf_object o = { .type = DZ_LEAF_OBJ_REQUEST };

    dz_sha256(text, o.name);
    append(w, DZ_LEAF_REQUEST, &o, 1,
           json_pack("{s:s%}", "text", (const char *) text.data, text.len));
}

/* A signature of `text`, as one of the request. */
static void sign(struct world *w, const uint8_t request[32], dz_slice text, uint8_t seed) {
    const dz_leaf_object o = object(DZ_LEAF_OBJ_REQUEST, request);
    dz_autobuf dz_buf armor = { 0 };

    ask_sign(seed, text, &armor);
    append(w, DZ_LEAF_APPROVE, &o, 1,
           json_pack("{s:s%}", "signature", (const char *) armor.data, armor.len));
}

/* A copy of a request that outlives the reading of the log; the caller releases it. */
static struct dz_request copy(const struct dz_request *r) {
    struct dz_request c = { 0 };

    assert_int_equal(dz_request_parse(dz_buf_slice(&r->text), &c, NULL), DZ_OK);
    return c;
}

static void sign_by(struct world *w, const struct dz_request *r, const char *seeds) {
    for (; *seeds; seeds++)
        sign(w, r->id, dz_buf_slice(&r->text), (uint8_t) (*seeds - '0'));
}

static json_t *text_of(const struct dz_request *r, unsigned minimum) {
    dz_keep keep = first_rules;

    keep.minimum_days = minimum;
    return r->kind == DZ_REQUEST_POLICY ? dz_policy_text("src", &keep) : json_object();
}

enum { OBJECTS = 1 + DZ_REQUEST_SNAPSHOTS_MAX };

/* The objects of the leaf that would carry it out. */
static void objects_of(const struct dz_request *r, dz_leaf_object to[OBJECTS]) {
    to[0] = object(DZ_LEAF_OBJ_REQUEST, r->id);
    for (size_t i = 0; i < r->n_snapshots; i++)
        to[1 + i] = object(DZ_LEAF_OBJ_COMMIT, r->snapshots[i].file);
}

/* That leaf. */
static void carry_out(struct world *w, const struct dz_request *r) {
    dz_leaf_object o[OBJECTS];

    objects_of(r, o);
    append(w, dz_quorum_effect(r->kind), o, 1 + r->n_snapshots, text_of(r, 60));
}

/* --- the attempts ------------------------------------------------------------------------------
 */

static void without_naming_a_request(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, LIFE)->request);
    dz_leaf_object o[OBJECTS];

    objects_of(&r, o);
    sign_by(w, &r, "12");
    append(w, dz_quorum_effect(r.kind), o + 1, r.n_snapshots, text_of(&r, 60));
    dz_request_release(&r);
}

static void with_a_request_that_is_not_there(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, LIFE)->request);

    sign_by(w, &r, "12");
    r.id[0] ^= 1;
    carry_out(w, &r);
    dz_request_release(&r);
}

static void without_any_approval(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, LIFE)->request);

    carry_out(w, &r);
    dz_request_release(&r);
}

static void before_the_approvals(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, LIFE)->request);

    sign_by(w, &r, "1");
    carry_out(w, &r);
    sign_by(w, &r, "2");
    dz_request_release(&r);
}

static void with_one_who_signs_three_times(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, LIFE)->request);

    sign_by(w, &r, "111");
    carry_out(w, &r);
    dz_request_release(&r);
}

static void with_a_stranger(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, LIFE)->request);

    sign_by(w, &r, "198");
    carry_out(w, &r);
    dz_request_release(&r);
}

static void with_one_who_is_no_longer_an_operator(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, LIFE)->request);
    dz_err err = { 0 };

    sign_by(w, &r, "1");
    assert_int_equal(ask_for(&w->v, &w->c, "operator-remove", "op1", LIFE, &err), DZ_OK);
    for (uint8_t seed = 2; seed <= 3; seed++)
        assert_int_equal(ask_approve(&w->v, &w->c, 1, seed, &err), DZ_OK);
    assert_int_equal(dz_ask_carry_out(&w->c, w->v.tmpfd, &w->c.quorum.asks[1], &err), DZ_OK);
    sign_by(w, &r, "12");
    carry_out(w, &r);
    dz_request_release(&r);
}

static void with_signatures_of_another_request(struct world *w, const struct kind *k) {
    struct dz_request other, r = copy(&ask(w, k, LIFE)->request);

    assert_int_equal(ask_for(&w->v, &w->c, "operator-remove", "op1", LIFE, NULL), DZ_OK);
    other = copy(&w->c.quorum.asks[1].request);
    sign_by(w, &other, "12");
    sign(w, r.id, dz_buf_slice(&other.text), 1);
    sign(w, r.id, dz_buf_slice(&other.text), 2);
    carry_out(w, &r);
    dz_request_release(&other);
    dz_request_release(&r);
}

static void with_approvals_of_another_kind(struct world *w, const struct kind *k) {
    struct dz_request other, r = copy(&ask(w, k, LIFE)->request);

    assert_int_equal(ask_for(&w->v, &w->c, "operator-remove", "op1", LIFE, NULL), DZ_OK);
    other = copy(&w->c.quorum.asks[1].request);
    sign_by(w, &other, "12");
    memcpy(r.id, other.id, sizeof r.id);
    carry_out(w, &r);
    dz_request_release(&other);
    dz_request_release(&r);
}

static void after_it_expired(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, SECOND)->request);

    sign_by(w, &r, "12");
    dz_clock_ahead_us += 2 * SECOND;
    carry_out(w, &r);
    dz_request_release(&r);
}

/* The text with a few bytes changed. */
static struct dz_request change(const struct dz_request *r, const char *from, const char *to) {
    struct dz_request c = { 0 };
    dz_autobuf dz_buf text = { 0 };
    const uint8_t *at = memmem(r->text.data, r->text.len, from, strlen(from));
    dz_err err = { 0 };

    assert_non_null(at);
    dz_buf_put(&text, r->text.data, (size_t) (at - r->text.data));
    dz_buf_put(&text, to, strlen(to));
    dz_buf_put(&text, at + strlen(from), r->text.len - (size_t) (at - r->text.data) - strlen(from));
    if (dz_request_parse(dz_buf_slice(&text), &c, &err) != DZ_OK)
        fail_msg("%s to %s: %s", from, to, err.what);
    return c;
}

/* Operators sign, and it is carried out; but the text is not what dozo would have written. */
static void do_changed(struct world *w, const struct dz_request *r, const char *from,
                       const char *to) {
    struct dz_request c = change(r, from, to);

    log_text(w, dz_buf_slice(&c.text));
    sign_by(w, &c, "12");
    carry_out(w, &c);
    dz_request_release(&c);
}

static void of_another_vault(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, LIFE)->request);

    do_changed(w, &r, "vault: 76", "vault: 77");
    dz_request_release(&r);
}

static void of_another_past(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, LIFE)->request);
    char from[24], to[24];

    (void) snprintf(from, sizeof from, "log: %llu ", (unsigned long long) r.head.size);
    (void) snprintf(to, sizeof to, "log: %llu ", (unsigned long long) r.head.size - 1);
    do_changed(w, &r, from, to);
    dz_request_release(&r);
}

/* The leaf says more, or something else, than operators signed; the request is not used up. */
static void with_other_values(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, LIFE)->request);
    dz_leaf_object o[3] = { object(DZ_LEAF_OBJ_REQUEST, r.id),
                            object(DZ_LEAF_OBJ_COMMIT, w->files[2]),
                            object(DZ_LEAF_OBJ_COMMIT, w->files[1]) };

    sign_by(w, &r, "12");
    if (r.n_snapshots > 0 || r.kind == DZ_REQUEST_POLICY) /* else a leaf has no values */
        append(w, dz_quorum_effect(r.kind), o, 1 + r.n_snapshots, text_of(&r, 1));
    append(w, dz_quorum_effect(r.kind), o, 3, text_of(&r, 60));
    assert_int_equal(w->c.quorum.asks[0].done, 0);
    dz_request_release(&r);
}

static const struct {
    const char *what;
    void (*attempt)(struct world *w, const struct kind *k);
} attempts[] = {
    { "without naming a request", without_naming_a_request },
    { "with a request that is not there", with_a_request_that_is_not_there },
    { "without any approval", without_any_approval },
    { "before the approvals", before_the_approvals },
    { "with one who signs three times", with_one_who_signs_three_times },
    { "with a stranger", with_a_stranger },
    { "with one who is no longer an operator", with_one_who_is_no_longer_an_operator },
    { "with signatures of another request", with_signatures_of_another_request },
    { "with approvals of another kind", with_approvals_of_another_kind },
    { "after it expired", after_it_expired },
    { "of another vault", of_another_vault },
    { "of another past", of_another_past },
    { "with other values", with_other_values },
};

static void nothing_happens_without_the_operators(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
        for (size_t k = 0; k < KINDS; k++) {
            bool ordinary = i == 0 && kinds[k].alone;
            struct world w;

            begin(&w);
            assert_false(kinds[k].happened(&w));
            attempts[i].attempt(&w, &kinds[k]);
            if (kinds[k].happened(&w) || (w.c.quorum.forged == 0) != ordinary)
                fail_msg("%s, %s: %llu forged", kinds[k].word, attempts[i].what,
                         (unsigned long long) w.c.quorum.forged);
            end(&w);
        }
}

/* The very same means do it, when two have signed: the table above can fail. */
static void it_happens_when_two_have_signed(void **state) {
    (void) state;
    for (size_t k = 0; k < KINDS; k++) {
        struct dz_request r;
        struct world w;

        begin(&w);
        r = copy(&ask(&w, &kinds[k], LIFE)->request);
        sign_by(&w, &r, "13");
        assert_false(kinds[k].happened(&w));
        carry_out(&w, &r);
        if (!kinds[k].happened(&w) || w.c.quorum.forged > 0)
            fail_msg("%s did not happen", kinds[k].word);
        dz_request_release(&r);
        end(&w);
    }
}

/* Asks, has two approve and carries out, as the commands do. */
static struct dz_request ask_and_do(struct world *w, const struct kind *k) {
    struct dz_request r = copy(&ask(w, k, LIFE)->request);
    size_t at = w->c.quorum.n_asks - 1;
    dz_err err = { 0 };

    if (ask_approve(&w->v, &w->c, at, 1, &err) != DZ_OK ||
        ask_approve(&w->v, &w->c, at, 2, &err) != DZ_OK ||
        dz_ask_carry_out(&w->c, w->v.tmpfd, &w->c.quorum.asks[at], &err) != DZ_OK)
        fail_msg("%s: %s", k->word, err.what);
    assert_true(k->happened(w));
    return r;
}

/* Who kept a copy of an exchange puts it in again after the situation has come back. */
static void an_exchange_is_good_for_once(void **state) {
    struct dz_snapshot snap = { 0 };
    dz_err err = { 0 };

    (void) state;
    for (size_t k = 0; k < 2; k++) {
        struct dz_request r;
        struct world w;

        begin(&w);
        r = ask_and_do(&w, &kinds[k]);
        assert_int_equal(dz_policy_set(w.v.v, "src", &first_rules, &err), DZ_OK);
        assert_int_equal(dz_snapshot_find(w.v.v, w.names[0], &snap, &err), DZ_OK);
        assert_int_equal(dz_hold_add(w.v.v, &snap, "case 7", &w.hold, &err), DZ_OK);
        dz_snapshot_release(&snap);
        assert_false(kinds[k].happened(&w));
        log_text(&w, dz_buf_slice(&r.text));
        sign_by(&w, &r, "12");
        carry_out(&w, &r);
        assert_false(kinds[k].happened(&w));
        assert_int_equal(w.c.quorum.forged, 0); /* it was approved once: two may carry it out */
        dz_request_release(&r);
        end(&w);
    }
}

/* --- what the text shows ---------------------------------------------------------------------- */

static void a_text_that_shows_another_snapshot_than_it_names_does_nothing(void **state) {
    static const char *const changes[][2] = { { "source: src", "source: test" },
                                              { "content: ", "content: 0 files, not " },
                                              { "arrived: 20", "arrived: 19" },
                                              { "snapshot: ", "snapshot: 0" } };

    (void) state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        for (size_t k = 0; k < KINDS; k++) {
            struct dz_request r;
            struct world w;

            if (k == RULES || k == ALARM)
                continue;
            begin(&w);
            r = copy(&ask(&w, &kinds[k], LIFE)->request);
            do_changed(&w, &r, changes[i][0], changes[i][1]);
            assert_int_equal(w.c.quorum.n_asks, 2); /* it could be approved, and was */
            assert_int_not_equal(w.c.quorum.asks[1].done, 0);
            if (kinds[k].happened(&w))
                fail_msg("%s, %s", kinds[k].word, changes[i][1]);
            dz_request_release(&r);
            end(&w);
        }
}

/* What a request says of the log is held against the log that its signers could have seen. */
static void a_hold_is_the_one_that_is_shown(void **state) {
    static const struct {
        const char *what;
        int hold; /* 0: the right one; 1: a leaf that is none; 2: the one that comes next */
        const char *from, *to;
    } rows[] = {
        { "a leaf that is no hold", 1, "hold: ", "hold: " },
        { "the hold that comes next", 2, "hold: ", "hold: " },
        { "another reason", 0, "held-for: case?7\n", "held-for: a test\n" },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_request r, c, d;
        struct dz_snapshot snap = { 0 };
        uint64_t named[3], next;
        char from[24], to[24];
        struct world w;

        begin(&w);
        r = copy(&ask(&w, &kinds[HOLD], LIFE)->request);
        named[0] = w.hold;
        named[1] = w.hold + 1;
        named[2] = r.head.size + 2; /* two requests stand before it */
        (void) snprintf(from, sizeof from, "hold: %llu\n", (unsigned long long) w.hold);
        (void) snprintf(to, sizeof to, "hold: %llu\n", (unsigned long long) named[rows[i].hold]);
        d = change(&r, from, to);
        c = change(&d, rows[i].from, rows[i].to);
        log_text(&w, dz_buf_slice(&c.text));
        assert_int_equal(dz_snapshot_find(w.v.v, w.names[0], &snap, NULL), DZ_OK);
        assert_int_equal(dz_hold_add(w.v.v, &snap,
                                     "case\xe2\x80\x8b"
                                     "7",
                                     &next, NULL),
                         DZ_OK);
        assert_int_equal(next, named[2]);
        sign_by(&w, &c, "12");
        carry_out(&w, &c);
        if (dz_hold_ended(&w.c.quorum, w.hold) || dz_hold_ended(&w.c.quorum, next) ||
            w.c.quorum.forged != 1)
            fail_msg("%s", rows[i].what);
        dz_snapshot_release(&snap);
        dz_request_release(&r);
        dz_request_release(&c);
        dz_request_release(&d);
        end(&w);
    }
}

static void an_alarm_is_the_one_that_is_shown(void **state) {
    static const struct {
        const char *what;
        int alarm; /* 0: the right one; 1: a leaf that is none; 2: the one that comes next */
        const char *from, *to;
    } rows[] = {
        { "a leaf that is no alarm", 1, "alarm: ", "alarm: " },
        { "the alarm that comes next", 2, "alarm: ", "alarm: " },
        { "another reason", 0, "reason: source-failed\n", "reason: source-slow\n" },
        { "another source", 0, "about: src: gave 1\n", "about: other: gave 1\n" },
        { "another time", 0, "raised: 20", "raised: 19" },
        { "a snapshot's", 0, "reason: source-failed\n", "reason: snapshot\n" },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_request r, c, d;
        uint64_t named[3], next;
        char from[32], to[32];
        struct world w;

        begin(&w);
        r = copy(&ask(&w, &kinds[ALARM], LIFE)->request);
        named[0] = w.alarm;
        named[1] = w.hold;
        named[2] = r.head.size + 2; /* two requests stand before it */
        (void) snprintf(from, sizeof from, "\nalarm: %llu\n", (unsigned long long) w.alarm);
        (void) snprintf(to, sizeof to, "\nalarm: %llu\n",
                        (unsigned long long) named[rows[i].alarm]);
        d = change(&r, from, to);
        c = change(&d, rows[i].from, rows[i].to);
        log_text(&w, dz_buf_slice(&c.text));
        raise_alarm(&w, "source-failed", "src", "gave 1", &next);
        assert_int_equal(next, named[2]);
        sign_by(&w, &c, "12");
        carry_out(&w, &c);
        if (is_settled(&w) || w.c.quorum.forged != 1)
            fail_msg("%s", rows[i].what);
        dz_request_release(&r);
        dz_request_release(&c);
        dz_request_release(&d);
        end(&w);
    }
}

/* One signature for a night of failures, and none for the next night. */
static void an_alarm_is_settled_with_those_like_it_before(void **state) {
    static const struct {
        const char *what, *reason, *source, *detail;
        bool alike;
    } rows[] = {
        { "the same", "source-failed", "src", "gave 1", true },
        { "the same with another detail", "source-failed", "src", "gave 2", true },
        { "of another source", "source-failed", "src2", "gave 1", false },
        { "of no source", "source-failed", NULL, "gave 1", false },
        { "of another reason", "source-late", "src", "gave 1", false },
    };
    enum { ROWS = sizeof rows / sizeof *rows };

    (void) state;
    for (int later = 0; later < 2; later++) {
        uint64_t leaf[ROWS];
        struct dz_request r;
        struct world w;

        begin(&w);
        for (size_t i = 0; i < ROWS; i++)
            raise_alarm(&w, rows[i].reason, rows[i].source, rows[i].detail, &leaf[i]);
        if (!later) /* what they sign is the last one */
            raise_alarm(&w, "source-failed", "src", "gave 1", &w.alarm);
        r = ask_and_do(&w, &kinds[ALARM]);
        for (size_t i = 0; i < ROWS; i++) {
            const dz_ledger_leaf *alarm = dz_ledger_leaf_at(w.c.ledger, DZ_LEAF_ALARM, leaf[i]);
            bool settled = dz_settled_alarm(&w.c.quorum, alarm) != NULL;

            if (settled != (!later && rows[i].alike))
                fail_msg("%s, %s", rows[i].what, later ? "later" : "before");
        }
        dz_request_release(&r);
        end(&w);
    }
}

/* Where there is no source, the detail tells them apart: two witnesses are two. */
static void what_two_witnesses_contradict_is_settled_one_by_one(void **state) {
    uint64_t other;
    struct dz_request r;
    struct world w;

    (void) state;
    begin(&w);
    raise_alarm(&w, "witness-contradicts", NULL, "safe", &other);
    raise_alarm(&w, "witness-contradicts", NULL, "annex", &w.alarm);
    r = ask_and_do(&w, &kinds[ALARM]);
    assert_true(dz_request_says(&r, "about", "annex"));
    assert_null(dz_settled_alarm(&w.c.quorum, dz_ledger_leaf_at(w.c.ledger, DZ_LEAF_ALARM, other)));
    dz_request_release(&r);
    end(&w);
}

static bool line_says(const struct dz_request *r, size_t i, enum dz_request_line line,
                      const char *what) {
    dz_slice s = r->snapshots[i].line[line];

    return memmem(s.data, s.len, what, strlen(what)) != NULL;
}

/* Both snapshots that the alarms kept stand in the text, with what keeps them then. */
static void alarms_of_a_snapshot_no_longer_keep_it_nor_the_one_before(void **state) {
    struct dz_request r;
    struct world w;
    dz_err err = { 0 };

    (void) state;
    begin(&w);
    assert_int_equal(fate(&w, 3).why, DZ_RETENTION_ALARM);
    assert_int_equal(fate(&w, 4).why, DZ_RETENTION_ALARM);
    assert_int_equal(dz_policy_set(w.v.v, "src2", &first_rules, &err), DZ_OK);
    ask_read(&w.c);
    r = ask_and_do(&w, &kinds[ALARMS_OF_SNAPSHOT]);
    assert_true(dz_request_says(&r, "reason", "snapshot"));
    assert_true(dz_request_says(&r, "about", "2 alarms of the first snapshot below"));
    assert_int_equal(r.n_snapshots, 2);
    assert_true(line_says(&r, 0, DZ_REQUEST_ID, w.names[4]));
    assert_true(line_says(&r, 0, DZ_REQUEST_THEN, "newest"));
    assert_true(line_says(&r, 1, DZ_REQUEST_ID, w.names[3]));
    assert_true(line_says(&r, 1, DZ_REQUEST_THEN, "within the minimum"));
    assert_int_equal(fate(&w, 3).why, DZ_RETENTION_MINIMUM);
    assert_int_equal(fate(&w, 4).why, DZ_RETENTION_NEWEST);
    assert_int_equal(ask_for(&w.v, &w.c, "acknowledge-alarm", w.names[4], LIFE, &err), DZ_E_POLICY);
    assert_non_null(strstr(err.what, "settled already"));
    dz_request_release(&r);
    end(&w);
}

static void rules_that_changed_meanwhile_are_not_overrun(void **state) {
    dz_keep tighter = first_rules;
    struct dz_request r;
    struct world w;
    dz_err err = { 0 };

    (void) state;
    begin(&w);
    r = copy(&ask(&w, &kinds[RULES], LIFE)->request);
    sign_by(&w, &r, "12");
    tighter.daily = 11;
    assert_int_equal(dz_policy_set(w.v.v, "src", &tighter, &err), DZ_OK);
    ask_read(&w.c);
    assert_int_equal(dz_ask_carry_out(&w.c, w.v.tmpfd, &w.c.quorum.asks[0], &err), DZ_E_POLICY);
    assert_non_null(strstr(err.what, "ask again"));
    carry_out(&w, &r); /* by who writes the leaf all the same */
    assert_false(is_looser(&w));
    assert_int_equal(w.c.quorum.forged, 1);
    dz_request_release(&r);
    end(&w);
}

static void a_request_shows_what_will_be(void **state) {
    char one[DZ_SNAPSHOT_ID_TEXT], two[DZ_SNAPSHOT_ID_TEXT];
    char *const both[] = { one, two };
    const struct dz_operands typed = { .what = both, .n = 2 };
    struct dz_request r = { 0 }, many = { 0 };
    dz_slice today;
    struct world w;
    dz_err err = { 0 };

    (void) state;
    begin(&w);
    r = ask_and_do(&w, &kinds[HOLD]);
    assert_int_equal(r.n_snapshots, 1);
    assert_true(line_says(&r, 0, DZ_REQUEST_ID, w.names[0]));
    assert_true(line_says(&r, 0, DZ_REQUEST_CONTENT, "3 files, 17 bytes"));
    assert_true(line_says(&r, 0, DZ_REQUEST_THEN, "within the minimum"));
    assert_true(dz_request_says(&r, "held-for", "case?7"));
    assert_int_equal(fate(&w, 0).why, DZ_RETENTION_MINIMUM);

    memcpy(one, w.names[2], sizeof one);
    memcpy(two, w.names[1], sizeof two);
    assert_int_equal(dz_ask_for(&w.c, w.v.tmpfd, dz_action_find("delete"), &typed, "somebody",
                                "because", LIFE, &many, &err),
                     DZ_OK);
    assert_int_equal(many.n_snapshots, 2);
    assert_true(line_says(&many, 0, DZ_REQUEST_ID, one));
    assert_true(line_says(&many, 0, DZ_REQUEST_THEN, "newest"));
    assert_true(line_says(&many, 1, DZ_REQUEST_THEN, "within the minimum"));
    dz_request_release(&r);
    dz_request_release(&many);
    memcpy(two, one, sizeof two);
    assert_int_equal(dz_ask_for(&w.c, w.v.tmpfd, dz_action_find("delete"), &typed, "somebody",
                                "because", LIFE, &many, &err),
                     DZ_E_USAGE);
    end(&w);

    begin(&w); /* a source of three: one is held, the newest stays */
    assert_int_equal(
        dz_ask_for(&w.c, w.v.tmpfd, dz_action_find("loosen-policy"),
                   &(struct dz_operands){ .what = (char *[]){ (char[]){ "src,minimum=0,daily=1" } },
                                          .n = 1 },
                   "somebody", "because", LIFE, &r, &err),
        DZ_OK);
    today = dz_request_value(&r, "today");
    if (!memmem(today.data, today.len, "1 of 3 snapshots", 16))
        fail_msg("%.*s", (int) today.len, (const char *) today.data);
    dz_request_release(&r);
    end(&w);
}

static void all_snapshots_of_a_request_go(void **state) {
    char one[DZ_SNAPSHOT_ID_TEXT], two[DZ_SNAPSHOT_ID_TEXT];
    char *const both[] = { one, two };
    const struct dz_operands typed = { .what = both, .n = 2 };
    struct dz_request r = { 0 };
    struct world w;
    dz_err err = { 0 };

    (void) state;
    begin(&w);
    memcpy(one, w.names[0], sizeof one);
    memcpy(two, w.names[1], sizeof two);
    assert_int_equal(dz_ask_for(&w.c, w.v.tmpfd, dz_action_find("delete"), &typed, "somebody",
                                "because", LIFE, &r, &err),
                     DZ_OK);
    ask_read(&w.c);
    sign_by(&w, &r, "12");
    assert_int_equal(dz_ask_carry_out(&w.c, w.v.tmpfd, &w.c.quorum.asks[0], &err), DZ_OK);
    assert_int_equal(fate(&w, 0).why, DZ_RETENTION_HELD); /* until that ends */
    assert_true(fate(&w, 0).approved);
    assert_int_equal(fate(&w, 1).why, DZ_RETENTION_APPROVED);
    assert_int_equal(fate(&w, 2).why, DZ_RETENTION_NEWEST);
    dz_request_release(&r);
    r = ask_and_do(&w, &kinds[HOLD]);
    assert_int_equal(fate(&w, 0).why, DZ_RETENTION_APPROVED);
    dz_request_release(&r);
    end(&w);
}

static void what_cannot_be_is_not_asked(void **state) {
    static const struct {
        const char *word, *operand;
        dz_status want;
    } rows[] = {
        { "release-hold", "0", DZ_E_NOT_FOUND },
        { "release-hold", "x", DZ_E_NOT_FOUND },
        { "release-hold", "99", DZ_E_NOT_FOUND },
        { "delete-snapshot", "00000000", DZ_E_NOT_FOUND },
        { "acknowledge-alarm", "0", DZ_E_NOT_FOUND },
        { "acknowledge-alarm", "00000000", DZ_E_NOT_FOUND },
        { "acknowledge-alarm", "latest:src", DZ_E_POLICY },
        { "acknowledge-alarm", "x", DZ_E_USAGE },
        { "loosen-policy", "other,minimum=1", DZ_E_POLICY },
        { "loosen-policy", "src,minimum=91", DZ_E_POLICY },
        { "loosen-policy", "src,minimum=", DZ_E_USAGE },
        { "loosen-policy", "src,minimum=1x", DZ_E_USAGE },
        { "loosen-policy", "src,weekly=3", DZ_E_USAGE },
        { "loosen-policy", ",", DZ_E_USAGE },
    };
    struct world w;

    (void) state;
    begin(&w);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_err err = { 0 };
        dz_status s = ask_for(&w.v, &w.c, rows[i].word, rows[i].operand, LIFE, &err);

        if (s != rows[i].want)
            fail_msg("%s %s: %s, %s", rows[i].word, rows[i].operand, dz_status_name(s), err.what);
    }
    ask_read(&w.c);
    assert_int_equal(w.c.quorum.n_asks, 0);
    end(&w);
}

static void a_clock_is_not_acknowledged_but_set_right(void **state) {
    char operand[ASK_ROOM];
    struct world w;
    dz_err err = { 0 };

    (void) state;
    begin(&w);
    raise_alarm(&w, "clock-jumped", NULL, "an hour", &w.alarm);
    alarm_of(&w, operand);
    assert_int_equal(ask_for(&w.v, &w.c, "acknowledge-alarm", operand, LIFE, &err), DZ_E_POLICY);
    assert_non_null(strstr(err.what, "unfreeze-clock"));
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happens_without_the_operators),
        cmocka_unit_test(it_happens_when_two_have_signed),
        cmocka_unit_test(an_exchange_is_good_for_once),
        cmocka_unit_test(a_text_that_shows_another_snapshot_than_it_names_does_nothing),
        cmocka_unit_test(a_hold_is_the_one_that_is_shown),
        cmocka_unit_test(an_alarm_is_the_one_that_is_shown),
        cmocka_unit_test(an_alarm_is_settled_with_those_like_it_before),
        cmocka_unit_test(what_two_witnesses_contradict_is_settled_one_by_one),
        cmocka_unit_test(alarms_of_a_snapshot_no_longer_keep_it_nor_the_one_before),
        cmocka_unit_test(rules_that_changed_meanwhile_are_not_overrun),
        cmocka_unit_test(a_request_shows_what_will_be),
        cmocka_unit_test(all_snapshots_of_a_request_go),
        cmocka_unit_test(what_cannot_be_is_not_asked),
        cmocka_unit_test(a_clock_is_not_acknowledged_but_set_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
