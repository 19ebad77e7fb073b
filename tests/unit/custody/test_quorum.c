/* Who may approve and what was approved: by the log alone, whoever wrote into it.
 *
 * The log is made by hand, leaf by leaf, so that it can hold what no honest vault writes.
 * Signatures are made by software that signs as an SSH agent does, and by the real ssh-keygen. */
#include "tests/unit/custody/vault_fixture.h"

#include "core/run.h"
#include "custody/quorum.h"

enum { LEAVES = 64, DAY = 24 * 3600 };
#define SECOND INT64_C(1000000)
static const int64_t MADE = INT64_C(1764151200) * SECOND; /* 2025-11-26T10:00:00Z */
static const char FINGERPRINT[] = "2aa9-4db9-c04e-884d";

/* --- a log by hand ---------------------------------------------------------------------------- */

struct log {
    dz_ledger_leaf leaves[LEAVES];
    dz_leaf_object objects[LEAVES];
    struct dz_ledger ledger;
    char *lines[8]; /* operators of the genesis */
    struct dz_quorum_start start;
    int64_t now_us;
};

/* Every head is one whose root's first byte is its size. */
static dz_status was_head(void *ctx, const dz_checkpoint *head, bool *ret_was, dz_err *err) {
    (void) ctx;
    (void) err;
    *ret_was = head->root.b[0] == (uint8_t) head->size;
    return DZ_OK;
}

static uint64_t add(struct log *l, uint16_t kind, const uint8_t *request, json_t *text) {
    size_t i = l->ledger.n++;

    assert_true(i < LEAVES);
    l->now_us += SECOND;
    l->objects[i] = (dz_leaf_object){ .type = DZ_LEAF_OBJ_REQUEST };
    if (request)
        memcpy(l->objects[i].name, request, 32);
    l->leaves[i] = (dz_ledger_leaf){ .index = i,
                                     .kind = kind,
                                     .time_us = l->now_us,
                                     .until_us = l->now_us,
                                     .objects = &l->objects[i],
                                     .n_objects = request != NULL,
                                     .text = text };
    l->ledger.size = i + 1;
    return i;
}

/* n operators, op1, op2, ... from the seeds 1 to n; any k approve. */
static void begin(struct log *l, unsigned n, unsigned k) {
    *l = (struct log){ .now_us = MADE };
    l->ledger.leaves = l->leaves;
    l->ledger.tail_us = INT64_MIN;
    for (unsigned i = 0; i < n; i++)
        l->lines[i] = ssh_operator_line(i + 1);
    l->start = (struct dz_quorum_start){ .vault = { { 'v' } },
                                         .fingerprint = FINGERPRINT,
                                         .operators = l->lines,
                                         .n_operators = n,
                                         .approvals = k,
                                         .was_head = was_head };
    (void) add(l, DZ_LEAF_GENESIS, NULL, NULL);
}

static void end(struct log *l) {
    for (size_t i = 0; i < l->ledger.n; i++)
        json_decref(l->leaves[i].text);
    for (size_t i = 0; i < 8; i++)
        free(l->lines[i]);
}

static struct dz_quorum replay(const struct log *l) {
    struct dz_quorum q = { 0 };
    dz_err err = { 0 };

    if (dz_quorum_replay(&l->start, &l->ledger, &q, &err) != DZ_OK)
        fail_msg("%s", err.what);
    return q;
}

/* What an operator's request says, and what may be wrong with it. */
struct change {
    bool remove;
    uint8_t seed;
    const char *name;
    const char *afterwards; /* NULL: what is true */
    const char *fingerprint;
    uint8_t vault;
    const char *vault_fingerprint, *comment;
    uint64_t head;
    uint8_t root;
    int64_t created_us, life_us;
};

static struct dz_request make(const struct log *l, const struct change *c) {
    struct ssh_signer s = ssh_signer_of(c->seed, false);
    dz_autobuf dz_buf line = { 0 }, afterwards = { 0 };
    char fingerprint[DZ_SSH_FINGERPRINT_TEXT];
    struct dz_quorum q = replay(l);
    struct dz_request_new n = {
        .vault = { { c->vault ? c->vault : 'v' } },
        .fingerprint = c->vault_fingerprint ? c->vault_fingerprint : FINGERPRINT,
        .head = { .size = c->head ? c->head : l->ledger.n },
        .kind = c->remove ? DZ_REQUEST_OPERATOR_REMOVE : DZ_REQUEST_OPERATOR_ADD,
        .asked_by = "somebody",
        .why = "because",
        .created_us = c->created_us ? c->created_us : l->now_us,
    };
    struct dz_request made = { 0 };
    dz_ssh_key key;
    dz_err err = { 0 };

    n.head.root.b[0] = c->root ? c->root : (uint8_t) n.head.size;
    n.expires_us = n.created_us + (c->life_us ? c->life_us : DZ_REQUEST_LIFE_US);
    ssh_put_line(&s, "", &line);
    line.data[line.len - 1] = 0; /* the space before no name */
    assert_int_equal(dz_ssh_key_parse((dz_slice){ line.data, line.len - 1 }, &key, NULL, NULL),
                     DZ_OK);
    dz_ssh_key_fingerprint(&key, fingerprint);
    if (c->comment) {
        line.len--;
        dz_buf_printf(&line, " %s", c->comment);
        dz_buf_put_u8(&line, 0);
    }
    dz_quorum_afterwards(&q, c->remove ? dz_quorum_find_key(&q, &key) : NULL,
                         c->remove ? NULL : c->name, &afterwards);
    dz_buf_put_u8(&afterwards, 0);
    n.subject[0] = c->name;
    n.subject[1] = (const char *) line.data;
    n.subject[2] = c->fingerprint ? c->fingerprint : fingerprint;
    n.subject[3] = c->afterwards ? c->afterwards : (const char *) afterwards.data;
    if (dz_request_make(&n, &made, &err) != DZ_OK)
        fail_msg("%s", err.what);
    dz_quorum_release(&q);
    return made;
}

static void log_text(struct log *l, const struct dz_request *r) {
    (void) add(l, DZ_LEAF_REQUEST, r->id,
               json_pack("{s:s%}", "text", (const char *) r->text.data, r->text.len));
}

static struct dz_request ask(struct log *l, const struct change *c) {
    struct dz_request r = make(l, c);

    log_text(l, &r);
    return r;
}

static json_t *signature(uint8_t seed, const char *name_space, const struct dz_request *r) {
    struct ssh_signer s = ssh_signer_of(seed, false);
    dz_autobuf dz_buf blob = { 0 }, armor = { 0 };

    ssh_sign(&s, name_space, dz_buf_slice(&r->text), &blob);
    dz_sshsig_armor(dz_buf_slice(&blob), &armor);
    return json_pack("{s:s%}", "signature", (const char *) armor.data, armor.len);
}

static void approve(struct log *l, uint8_t seed, const struct dz_request *r) {
    (void) add(l, DZ_LEAF_APPROVE, r->id, signature(seed, DZ_REQUEST_NAMESPACE, r));
}

static uint64_t carry_out(struct log *l, const struct dz_request *r) {
    return add(l, dz_quorum_effect(r->kind), r->id, json_object());
}

static void asked_and_done(struct log *l, const struct change *c, uint8_t a, uint8_t b) {
    struct dz_request r = ask(l, c);

    approve(l, a, &r);
    approve(l, b, &r);
    (void) carry_out(l, &r);
    dz_request_release(&r);
}

static const struct change add_4 = { .seed = 4, .name = "op4" };
static const struct change remove_1 = { .remove = true, .seed = 1, .name = "op1" };

/* --- what should work ------------------------------------------------------------------------- */

static void two_of_three_add_a_fourth(void **state) {
    struct dz_request r;
    struct dz_quorum q;
    struct log l;
    uint64_t leaf;

    (void) state;
    begin(&l, 3, 2);
    r = ask(&l, &add_4);
    assert_true(dz_request_says(&r, "afterwards", "any 2 of these 4 approve: op1, op2, op3, op4"));
    approve(&l, 1, &r);
    q = replay(&l);
    assert_int_equal(q.n_asks, 1);
    assert_int_equal(dz_quorum_count(&q, &q.asks[0]), 1);
    assert_false(dz_quorum_enough(&q, &q.asks[0]));
    dz_quorum_release(&q);

    approve(&l, 3, &r);
    q = replay(&l);
    assert_true(dz_quorum_enough(&q, &q.asks[0]));
    assert_int_equal(q.asks[0].done, 0);
    assert_int_equal(q.n_present, 3); /* until a leaf says so */
    dz_quorum_release(&q);

    leaf = carry_out(&l, &r);
    q = replay(&l);
    assert_int_equal(q.n_present, 4);
    assert_int_equal(dz_quorum_find(&q, "op4")->since, leaf);
    assert_ptr_equal(dz_quorum_approved(&q, leaf), &q.asks[0]);
    assert_null(dz_quorum_approved(&q, leaf - 1));
    assert_null(dz_quorum_approved(&q, 0));
    assert_int_equal(q.forged, 0);
    dz_quorum_release(&q);
    dz_request_release(&r);
    end(&l);
}

static void the_fourth_approves_and_the_first_leaves(void **state) {
    struct dz_quorum q;
    struct log l;

    (void) state;
    begin(&l, 3, 2);
    asked_and_done(&l, &add_4, 1, 2);
    asked_and_done(&l, &remove_1, 4, 2);
    q = replay(&l);
    assert_int_equal(q.n_present, 3);
    assert_null(dz_quorum_find(&q, "op1"));
    assert_non_null(dz_quorum_find(&q, "op4"));
    assert_int_equal(q.forged, 0);
    dz_quorum_release(&q);
    end(&l);
}

/* --- what must not ---------------------------------------------------------------------------- */

/* Whether the request is refused at all, with two good signatures behind it. */
static void a_request_must_be_of_this_vault_and_its_past(void **state) {
    const struct {
        const char *what;
        struct change c;
        bool taken;
    } rows[] = {
        { "as it should be", add_4, true },
        { "of another vault", { .seed = 4, .name = "op4", .vault = 'w' }, false },
        { "with another vault's fingerprint",
          { .seed = 4, .name = "op4", .vault_fingerprint = "2aa9-4db9-c04e-884e" },
          false },
        { "a head that is yet to come", { .seed = 4, .name = "op4", .head = 2 }, false },
        { "a head that was never there", { .seed = 4, .name = "op4", .root = 9 }, false },
        { "dated in the future",
          { .seed = 4, .name = "op4", .created_us = MADE + 7 * DAY * SECOND },
          false },
        { "expired before it was logged",
          { .seed = 4, .name = "op4", .created_us = MADE - 8 * DAY * SECOND },
          false },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_quorum q;
        struct log l;

        begin(&l, 3, 2);
        asked_and_done(&l, &rows[i].c, 1, 2);
        q = replay(&l);
        if (q.n_asks != rows[i].taken || q.n_present != 3u + rows[i].taken ||
            q.forged != !rows[i].taken || q.first_forged != (rows[i].taken ? 0 : 4))
            fail_msg("%s: %zu requests, %zu operators, %llu forged", rows[i].what, q.n_asks,
                     q.n_present, (unsigned long long) q.forged);
        dz_quorum_release(&q);
        end(&l);
    }
}

static void a_request_must_say_what_will_be(void **state) {
    const struct {
        const char *what;
        struct change c;
    } rows[] = {
        { "another outcome", { .seed = 4, .name = "op4", .afterwards = "any 2 of these 3" } },
        { "another key's fingerprint",
          { .seed = 4,
            .name = "op4",
            .fingerprint = "SHA256:0000000000000000000000000000000000000000000" } },
        { "a key with words behind it", { .seed = 4, .name = "op4", .comment = "op4" } },
        { "a key that is there already", { .seed = 2, .name = "op4" } },
        { "a name that is there already", { .seed = 4, .name = "op2" } },
        { "a name of two words", { .seed = 4, .name = "op 4" } },
        { "somebody leaves who is not there", { .remove = true, .seed = 4, .name = "op4" } },
        { "somebody leaves under another's name", { .remove = true, .seed = 1, .name = "op2" } },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_quorum q;
        struct log l;

        begin(&l, 3, 2);
        asked_and_done(&l, &rows[i].c, 1, 2);
        q = replay(&l);
        if (q.n_asks != 1 || q.n_present != 3 || q.forged != 1 || q.n_approvals != 0)
            fail_msg("%s: %zu operators", rows[i].what, q.n_present);
        dz_quorum_release(&q);
        end(&l);
    }
}

static void each_key_counts_once_and_only_an_operators(void **state) {
    static const struct {
        const char *what;
        uint8_t seeds[4];
        size_t count;
    } rows[] = {
        { "nobody", { 0 }, 0 },
        { "one", { 1 }, 1 },
        { "one, twice", { 1, 1, 1 }, 1 },
        { "one, and who is to come", { 1, 4 }, 1 },
        { "one, and a stranger", { 1, 9, 9 }, 1 },
        { "two", { 2, 3 }, 2 },
        { "all", { 1, 2, 3, 1 }, 3 },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_request r;
        struct dz_quorum q;
        struct log l;
        uint64_t leaf;

        begin(&l, 3, 2);
        r = ask(&l, &add_4);
        for (size_t k = 0; k < 4 && rows[i].seeds[k]; k++)
            approve(&l, rows[i].seeds[k], &r);
        leaf = carry_out(&l, &r);
        q = replay(&l);
        if (dz_quorum_count(&q, &q.asks[0]) != rows[i].count ||
            (dz_quorum_approved(&q, leaf) != NULL) != (rows[i].count >= 2) ||
            q.n_present != (rows[i].count >= 2 ? 4 : 3))
            fail_msg("%s: %zu count", rows[i].what, dz_quorum_count(&q, &q.asks[0]));
        dz_quorum_release(&q);
        dz_request_release(&r);
        end(&l);
    }
}

static void a_signature_is_for_one_text_and_one_purpose(void **state) {
    struct dz_request r, same;
    struct dz_quorum q;
    struct log l;

    (void) state;
    begin(&l, 3, 2);
    r = ask(&l, &add_4);
    same = ask(&l, &add_4); /* but for the random number and the head */
    approve(&l, 1, &r);
    (void) add(&l, DZ_LEAF_APPROVE, same.id, signature(1, DZ_REQUEST_NAMESPACE, &r));
    (void) add(&l, DZ_LEAF_APPROVE, r.id, signature(2, "file", &r));
    (void) add(&l, DZ_LEAF_APPROVE, r.id, json_pack("{s:s}", "signature", "nonsense"));
    (void) add(&l, DZ_LEAF_APPROVE, r.id, json_object());
    (void) add(&l, DZ_LEAF_APPROVE, NULL, signature(2, DZ_REQUEST_NAMESPACE, &r));
    q = replay(&l);
    assert_int_equal(q.n_asks, 2);
    assert_int_equal(dz_quorum_count(&q, &q.asks[0]), 1);
    assert_int_equal(dz_quorum_count(&q, &q.asks[1]), 0);
    dz_quorum_release(&q);
    dz_request_release(&r);
    dz_request_release(&same);
    end(&l);
}

static void a_text_that_was_changed_is_another_request(void **state) {
    dz_autobuf dz_buf text = { 0 };
    struct dz_request r, changed;
    struct dz_quorum q;
    struct log l;
    uint8_t *why;

    (void) state;
    begin(&l, 3, 2);
    r = make(&l, &add_4);
    dz_buf_put_slice(&text, dz_buf_slice(&r.text));
    why = memmem(text.data, text.len, "because", 7);
    assert_non_null(why);
    memcpy(why, "BECAUSE", 7);
    assert_int_equal(dz_request_parse(dz_buf_slice(&text), &changed, NULL), DZ_OK);
    log_text(&l, &changed);
    (void) add(&l, DZ_LEAF_APPROVE, changed.id, signature(1, DZ_REQUEST_NAMESPACE, &r));
    (void) add(&l, DZ_LEAF_APPROVE, changed.id, signature(2, DZ_REQUEST_NAMESPACE, &r));
    (void) carry_out(&l, &changed);
    q = replay(&l);
    assert_int_equal(q.n_asks, 1);
    assert_int_equal(q.n_approvals, 0);
    assert_int_equal(q.n_present, 3);
    assert_int_equal(q.forged, 1);
    dz_quorum_release(&q);
    dz_request_release(&r);
    dz_request_release(&changed);
    end(&l);
}

static void a_request_is_used_once(void **state) {
    dz_err err = { 0 };
    struct dz_request r;
    struct dz_quorum q;
    struct log l;

    (void) state;
    begin(&l, 3, 2);
    r = ask(&l, &add_4);
    approve(&l, 1, &r);
    approve(&l, 2, &r);
    (void) carry_out(&l, &r);
    asked_and_done(&l, &(struct change){ .remove = true, .seed = 4, .name = "op4" }, 1, 2);
    /* the whole exchange again, as who kept a copy of it would try */
    log_text(&l, &r);
    approve(&l, 1, &r);
    approve(&l, 2, &r);
    assert_int_equal(dz_quorum_effect(r.kind), DZ_LEAF_OPERATOR_ADD);
    (void) carry_out(&l, &r);
    q = replay(&l);
    assert_int_equal(q.n_asks, 2);
    assert_int_equal(q.n_present, 3);
    assert_int_equal(q.n_approvals, 4);
    assert_int_equal(dz_quorum_check_open(&q, &q.asks[0], MADE, &err), DZ_E_POLICY);
    assert_non_null(strstr(err.what, "carried out"));
    assert_int_equal(q.forged, 0); /* and it is no forgery: two may carry it out at once */
    dz_quorum_release(&q);
    dz_request_release(&r);
    end(&l);
}

static void who_has_left_does_not_count(void **state) {
    struct dz_request r;
    struct dz_quorum q;
    struct log l;

    (void) state;
    begin(&l, 4, 2);
    r = ask(&l, &(struct change){ .seed = 5,
                                  .name = "op5",
                                  .afterwards = "any 2 of these 4 approve: op2, op3, op4, op5" });
    approve(&l, 1, &r); /* not counted: it says what is not so yet */
    asked_and_done(&l, &remove_1, 2, 3);
    approve(&l, 1, &r);
    approve(&l, 2, &r);
    (void) carry_out(&l, &r);
    q = replay(&l);
    assert_int_equal(dz_quorum_count(&q, &q.asks[0]), 1);
    assert_int_equal(q.n_present, 3);
    assert_int_equal(q.forged, 1);
    dz_quorum_release(&q);
    dz_request_release(&r);
    end(&l);
}

static void a_removal_takes_the_approvals_along(void **state) {
    struct dz_request r;
    struct dz_quorum q;
    struct log l;

    (void) state;
    begin(&l, 4, 2);
    r = ask(&l, &(struct change){ .seed = 5, .name = "op5" });
    approve(&l, 1, &r);
    approve(&l, 2, &r);
    q = replay(&l);
    assert_int_equal(dz_quorum_count(&q, &q.asks[0]), 2);
    dz_quorum_release(&q);
    asked_and_done(&l, &remove_1, 2, 3);
    (void) carry_out(&l, &r);
    q = replay(&l);
    assert_int_equal(dz_quorum_count(&q, &q.asks[0]), 1);
    assert_int_equal(q.n_present, 3);
    dz_quorum_release(&q);
    dz_request_release(&r);
    end(&l);
}

static void nobody_leaves_when_too_few_would_stay(void **state) {
    struct dz_quorum q;
    struct log l;

    (void) state;
    begin(&l, 2, 2);
    asked_and_done(&l, &remove_1, 1, 2);
    q = replay(&l);
    assert_int_equal(q.n_present, 2);
    assert_int_equal(q.forged, 1);
    dz_quorum_release(&q);
    end(&l);
}

static void time_that_the_log_has_seen_is_over(void **state) {
    static const struct {
        const char *what;
        int64_t before_us, commits_us, tail_us; /* after the request; 0: no such leaf */
        bool done;
    } rows[] = {
        { "at once", 0, 0, 0, true },
        { "a day later", DAY * SECOND, 0, 0, true },
        { "the clock went on for 8 days, and was set back", 8 * DAY * SECOND, 0, 0, false },
        { "only commits saw it", 0, 8 * DAY * SECOND, 0, false },
        { "commits after the last leaf saw it", 0, 0, 8 * DAY * SECOND, true },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_request r;
        struct dz_quorum q;
        struct log l;
        uint64_t leaf;

        begin(&l, 3, 2);
        r = ask(&l, &add_4);
        approve(&l, 1, &r);
        if (rows[i].before_us)
            l.leaves[add(&l, DZ_LEAF_HOLD, NULL, NULL)].until_us = MADE + rows[i].before_us;
        approve(&l, 2, &r);
        if (rows[i].commits_us)
            l.leaves[l.ledger.n - 1].until_us = MADE + rows[i].commits_us;
        leaf = carry_out(&l, &r);
        if (rows[i].tail_us)
            l.ledger.tail_us = MADE + rows[i].tail_us;
        q = replay(&l);
        if ((dz_quorum_approved(&q, leaf) != NULL) != rows[i].done)
            fail_msg("%s", rows[i].what);
        assert_int_equal(q.n_present, rows[i].done ? 4 : 3);
        dz_quorum_release(&q);
        dz_request_release(&r);
        end(&l);
    }
}

static void what_is_open_is_said(void **state) {
    const int64_t week = DZ_REQUEST_LIFE_US;
    struct dz_request r;
    struct dz_quorum q;
    struct log l;
    dz_err err = { 0 };

    (void) state;
    begin(&l, 3, 2);
    r = ask(&l, &add_4);
    l.ledger.tail_us = MADE + DAY * SECOND;
    q = replay(&l);
    assert_int_equal(dz_quorum_check_open(&q, &q.asks[0], MADE, &err), DZ_OK);
    assert_int_equal(dz_quorum_check_open(&q, &q.asks[0], MADE + week + SECOND + 1, &err),
                     DZ_E_POLICY);
    assert_non_null(strstr(err.what, "expired"));
    dz_quorum_release(&q);
    l.ledger.tail_us = MADE + 8 * DAY * SECOND;
    q = replay(&l);
    assert_int_equal(dz_quorum_check_open(&q, &q.asks[0], MADE, &err), DZ_E_POLICY);
    dz_quorum_release(&q);
    dz_request_release(&r);
    end(&l);

    begin(&l, 0, 0); /* without operators, nobody is enough */
    r = ask(&l, &add_4);
    (void) carry_out(&l, &r);
    q = replay(&l);
    assert_false(dz_quorum_enough(&q, &q.asks[0]));
    assert_int_equal(dz_quorum_check_open(&q, &q.asks[0], MADE, &err), DZ_E_POLICY);
    assert_int_equal(q.n_present, 0);
    assert_int_equal(q.forged, 1);
    dz_quorum_release(&q);
    dz_request_release(&r);
    end(&l);
}

static void a_leaf_without_a_request_changes_nothing(void **state) {
    struct dz_request r;
    struct dz_quorum q;
    struct log l;
    const uint8_t unknown[32] = { 1 };

    (void) state;
    begin(&l, 3, 2);
    (void) add(&l, DZ_LEAF_OPERATOR_ADD, NULL, json_object());
    (void) add(&l, DZ_LEAF_OPERATOR_REMOVE, unknown, json_object());
    (void) add(&l, DZ_LEAF_REQUEST, NULL, json_pack("{s:s}", "text", "nonsense"));
    (void) add(&l, DZ_LEAF_REQUEST, NULL, NULL);
    r = ask(&l, &add_4);
    approve(&l, 1, &r);
    approve(&l, 2, &r);
    (void) add(&l, DZ_LEAF_OPERATOR_REMOVE, r.id, json_object()); /* the other kind */
    (void) add(&l, DZ_LEAF_HOLD, NULL, json_object());            /* claims nothing */
    q = replay(&l);
    assert_int_equal(q.n_present, 3);
    assert_int_equal(q.forged, 3);
    assert_int_equal(q.first_forged, 1);
    assert_int_equal(q.asks[0].done, 0);
    dz_quorum_release(&q);
    dz_request_release(&r);
    end(&l);
}

/* --- in a vault, with the real ssh-keygen ------------------------------------------------------
 */

static void shell(const char *dir, const char *script, dz_slice in, dz_buf *out) {
    const char *const argv[] = { "/bin/sh", "-ec", script, dir, NULL };
    dz_err err = { 0 };
    int code = -1;

    if (dz_run(argv, in, 64 << 10, 30000, out, &code, &err) != DZ_OK || code != 0)
        fail_msg("%s: exit %d %s", script, code, err.what);
    dz_buf_put_u8(out, 0);
    out->len--;
}

static void ssh_keygen_signs_in_a_vault(void **state) {
    static const char *const types[] = { "ed25519", "ecdsa", "rsa" };
    struct custody_vault c = { 0 };
    char *lines[3];
    dz_vault_id id = { { 'k' } };
    const uint8_t root[DZ_ROOT_BYTES] = { 'k' };
    struct dz_vault_new how = { .operators = lines, .n_operators = 3, .approvals = 3, .now_us = 1 };
    dz_autobuf dz_buf afterwards = { 0 };
    struct dz_request_new n = { .kind = DZ_REQUEST_OPERATOR_ADD,
                                .asked_by = "somebody",
                                .why = "because" };
    DZ_AUTO(dz_ledger) l = NULL;
    struct dz_request r = { 0 };
    struct dz_quorum q = { 0 };
    struct ssh_signer four = ssh_signer_of(4, false);
    dz_autobuf dz_buf key = { 0 };
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_REQUEST };
    char fingerprint[DZ_FINGERPRINT_TEXT], key_print[DZ_SSH_FINGERPRINT_TEXT];
    dz_ssh_key parsed;
    uint64_t leaf;

    (void) state;
    custody_open(&c, 1, 0, 0); /* for its directory; the vault with these keys stands beside it */
    for (size_t i = 0; i < 3; i++) {
        dz_buf line = { 0 };
        char script[160];

        (void) snprintf(script, sizeof script,
                        "cd \"$0\"; ssh-keygen -q -t %s -N '' -C k%zu -f k%zu; cat k%zu.pub",
                        types[i], i, i, i);
        shell(c.dir, script, (dz_slice){ 0 }, &line);
        line.data[line.len - 1] = 0; /* the newline */
        lines[i] = (char *) line.data;
    }
    dz_vault_tmp_drop(c.v, c.tmp_name, c.tmpfd);
    dz_vault_free(c.v);
    (void) snprintf(c.path, sizeof c.path, "%s/signed", c.dir);
    how.path = c.path;
    assert_int_equal(dz_vault_create(&how, root, &id, NULL, NULL), DZ_OK);
    assert_int_equal(dz_vault_open(c.path, &c.v, NULL), DZ_OK);
    assert_int_equal(dz_vault_tmp_make(c.v, c.tmp_name, &c.tmpfd, NULL), DZ_OK);
    for (size_t i = 0; i < 3; i++)
        free(lines[i]);

    assert_int_equal(dz_ledger_read(c.v, &l, NULL), DZ_OK);
    assert_int_equal(dz_quorum_read(c.v, l, &q, NULL), DZ_OK);
    assert_int_equal(q.n_present, 3);
    ssh_put_line(&four, "", &key);
    key.data[key.len - 1] = 0;
    assert_int_equal(dz_ssh_key_parse((dz_slice){ key.data, key.len - 1 }, &parsed, NULL, NULL),
                     DZ_OK);
    dz_ssh_key_fingerprint(&parsed, key_print);
    dz_quorum_afterwards(&q, NULL, "four", &afterwards);
    dz_buf_put_u8(&afterwards, 0);
    dz_quorum_release(&q);
    n.vault = id;
    dz_keys_fingerprint(c.v->host, fingerprint);
    n.fingerprint = fingerprint;
    n.head = dz_tlog_head(c.v->log);
    n.created_us = dz_now_us();
    n.expires_us = n.created_us + DZ_REQUEST_LIFE_US;
    n.subject[0] = "four";
    n.subject[1] = (const char *) key.data;
    n.subject[2] = key_print;
    n.subject[3] = (const char *) afterwards.data;
    assert_int_equal(dz_request_make(&n, &r, NULL), DZ_OK);
    memcpy(object.name, r.id, sizeof r.id);
    assert_int_equal(
        dz_ledger_note(c.v, c.tmpfd, DZ_LEAF_REQUEST, 0, &object, 1,
                       json_pack("{s:s%}", "text", (const char *) r.text.data, r.text.len), NULL,
                       NULL),
        DZ_OK);
    for (size_t i = 0; i < 3; i++) {
        dz_autobuf dz_buf armor = { 0 };
        char script[120];

        (void) snprintf(script, sizeof script,
                        "cd \"$0\"; ssh-keygen -q -Y sign -n dozo-approval -f k%zu", i);
        shell(c.dir, script, dz_buf_slice(&r.text), &armor);
        assert_int_equal(dz_ledger_note(c.v, c.tmpfd, DZ_LEAF_APPROVE, 0, &object, 1,
                                        json_pack("{s:s}", "signature", (char *) armor.data), NULL,
                                        NULL),
                         DZ_OK);
    }
    assert_int_equal(dz_ledger_note(c.v, c.tmpfd, DZ_LEAF_OPERATOR_ADD, 0, &object, 1,
                                    json_object(), &leaf, NULL),
                     DZ_OK);
    dz_ledger_free(l);
    l = NULL;
    assert_int_equal(dz_ledger_read(c.v, &l, NULL), DZ_OK);
    assert_int_equal(dz_quorum_read(c.v, l, &q, NULL), DZ_OK);
    assert_int_equal(q.n_approvals, 3);
    assert_int_equal(q.n_present, 4);
    assert_int_equal(dz_quorum_find(&q, "four")->since, leaf);
    dz_quorum_release(&q);

    /* a head that this log never had: the same request, but for one bit of its root */
    dz_request_release(&r);
    n.head.root.b[0] ^= 1;
    assert_int_equal(dz_request_make(&n, &r, NULL), DZ_OK);
    assert_int_equal(
        dz_ledger_note(c.v, c.tmpfd, DZ_LEAF_REQUEST, 0, NULL, 0,
                       json_pack("{s:s%}", "text", (const char *) r.text.data, r.text.len), NULL,
                       NULL),
        DZ_OK);
    dz_ledger_free(l);
    l = NULL;
    assert_int_equal(dz_ledger_read(c.v, &l, NULL), DZ_OK);
    assert_int_equal(dz_quorum_read(c.v, l, &q, NULL), DZ_OK);
    assert_int_equal(q.n_asks, 1);
    dz_quorum_release(&q);
    dz_request_release(&r);
    custody_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_of_three_add_a_fourth),
        cmocka_unit_test(the_fourth_approves_and_the_first_leaves),
        cmocka_unit_test(a_request_must_be_of_this_vault_and_its_past),
        cmocka_unit_test(a_request_must_say_what_will_be),
        cmocka_unit_test(each_key_counts_once_and_only_an_operators),
        cmocka_unit_test(a_signature_is_for_one_text_and_one_purpose),
        cmocka_unit_test(a_text_that_was_changed_is_another_request),
        cmocka_unit_test(a_request_is_used_once),
        cmocka_unit_test(who_has_left_does_not_count),
        cmocka_unit_test(a_removal_takes_the_approvals_along),
        cmocka_unit_test(nobody_leaves_when_too_few_would_stay),
        cmocka_unit_test(time_that_the_log_has_seen_is_over),
        cmocka_unit_test(what_is_open_is_said),
        cmocka_unit_test(a_leaf_without_a_request_changes_nothing),
        cmocka_unit_test(ssh_keygen_signs_in_a_vault),
    };

    return dz_crypto_init(NULL) == DZ_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
