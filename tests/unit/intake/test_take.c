/* Whatever a source says, the vault has one snapshot of what it sent, or none. */
#include "intake/take.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "guard/features.h"
#include "store/content.h"
#include "store/cursor.h"
#include "store/fetch.h"
#include "store/snapshot.h"
#include "tests/unit/intake/peer.h"

static const dz_slice hello = { (const uint8_t *) "hello", 5 };
static const dz_slice world = { (const uint8_t *) "the world, a little longer", 26 };

struct place {
    struct scratch *s;
    struct dz_vault *v;
    struct peer p;
};

static int setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    void *s = NULL;

    if (!place || scratch_setup(&s) != 0)
        return -1;
    place->s = s;
    scratch_vault(place->s);
    place->v = scratch_open(place->s, true);
    *state = place;
    return 0;
}

static int teardown(void **state) {
    struct place *place = *state;
    void *s = place->s;

    peer_close(&place->p);
    dz_vault_free(place->v);
    free(place);
    return scratch_teardown(&s);
}

/* A whole run of one file; gives its DONE. */
static struct dz_wire_done keep(struct place *place, const char *source, uint8_t run,
                                dz_slice bytes) {
    struct dz_take_how how = { .source = source, .limits = DZ_TAKE_LIMITS_DEFAULT };
    struct dz_wire_done done;
    struct peer p;

    peer_open(&p, place->v, &how);
    peer_begin(&p, source, run);
    (void) peer_must_hear(&p, DZ_WIRE_READY);
    peer_file(&p, "file", bytes);
    peer_commit(&p, 1, bytes.len);
    peer_send(&p, 4096);
    done = peer_must_hear(&p, DZ_WIRE_DONE).done;
    assert_int_equal(dz_take_state(p.take)->is, DZ_TAKE_DONE);
    peer_close(&p);
    return done;
}

/* The entry of the newest snapshot of the source; the cursor owns it. */
static dz_entry find(struct place *place, const char *source, const char *path,
                     struct dz_fetch **ret_fetch, struct dz_cursor **ret_cursor) {
    struct dz_snapshot snap = { 0 };
    struct dz_source from;
    char name[80];
    dz_entry e;

    (void) snprintf(name, sizeof name, "latest:%s", source);
    assert_int_equal(dz_tlog_refresh(place->v->log, NULL), DZ_OK);
    assert_int_equal(dz_snapshot_find(place->v, name, &snap, NULL), DZ_OK);
    assert_int_equal(dz_fetch_new(place->v, 1 << 20, ret_fetch, NULL), DZ_OK);
    from = dz_fetch_source(*ret_fetch);
    assert_int_equal(dz_cursor_new(&from, &snap.commit.root, ret_cursor, NULL), DZ_OK);
    assert_int_equal(
        dz_cursor_find(*ret_cursor, (dz_slice){ (const uint8_t *) path, strlen(path) }, &e, NULL),
        DZ_OK);
    dz_snapshot_release(&snap);
    return e;
}

/* --- what is kept ------------------------------------------------------------------------------
 */

static void a_run_makes_a_snapshot_that_says_what_the_source_said(void **state) {
    struct place *place = *state;
    struct peer *p = &place->p;
    struct dz_snapshot snap;
    struct dz_wire_done done;
    dz_reader problems;
    dz_problem problem;

    peer_open(p, place->v, NULL);
    peer_begin(p, "emr", 1);
    (void) peer_must_hear(p, DZ_WIRE_READY);
    peer_entry(p, DZ_ENTRY_DIR, "", 0, 0, NULL);
    peer_entry(p, DZ_ENTRY_DIR, "srv", 0, DZ_ENTRY_MOUNT_POINT, NULL);
    peer_file(p, "srv/a", hello);
    dz_wire_put_problem(&p->say,
                        &(dz_problem){ DZ_SLICE_LIT("srv/b"), EACCES, DZ_PROBLEM_UNREADABLE });
    dz_wire_put_problem(&p->say,
                        &(dz_problem){ DZ_SLICE_LIT("srv/c"), EAGAIN, DZ_PROBLEM_CHANGED });
    peer_chunk(p, hello);
    peer_chunk(p, world);
    peer_entry(p, DZ_ENTRY_FILE, "srv/c", hello.len + world.len, DZ_ENTRY_CHANGED, NULL);
    peer_entry(p, DZ_ENTRY_FIFO, "z", 0, 0, NULL);
    peer_commit(p, 5, 2 * hello.len + world.len);
    peer_send(p, 1); /* however it comes in */
    done = peer_must_hear(p, DZ_WIRE_DONE).done;
    assert_int_equal(done.entries, 5);
    assert_int_equal(done.bytes, 2 * hello.len + world.len);
    assert_int_equal(done.sent, hello.len + world.len);

    assert_int_equal(dz_snapshot_find(place->v, "latest:emr", &snap, NULL), DZ_OK);
    assert_memory_equal(snap.commit.id, done.snapshot, sizeof done.snapshot);
    assert_int_equal(snap.commit.arrived_us, done.arrived_us);
    assert_int_equal(snap.commit.files, 2);
    assert_int_equal(snap.commit.dirs, 2);
    assert_int_equal(snap.commit.others, 1);
    assert_int_equal(snap.commit.errors, 1);
    assert_int_equal(snap.commit.changed, 1);
    assert_string_equal(snap.commit.host, "ward 7");
    problems = dz_reader_over(dz_buf_slice(&snap.commit.problems));
    assert_true(dz_commit_next_problem(&problems, &problem));
    assert_int_equal(problem.sys_errno, EACCES);
    assert_true(dz_slice_eq(problem.path, DZ_SLICE_LIT("srv/b")));
    dz_snapshot_release(&snap);
}

static void a_run_that_comes_again_is_answered_as_before(void **state) {
    struct place *place = *state;
    struct dz_wire_done first = keep(place, "emr", 1, hello), other, again;
    struct peer *p = &place->p;

    other = keep(place, "emr", 2, world);
    assert_memory_not_equal(first.snapshot, other.snapshot, sizeof first.snapshot);
    peer_open(p, place->v, NULL);
    peer_begin(p, "emr", 1);
    again = peer_must_hear(p, DZ_WIRE_DONE).done;
    assert_memory_equal(again.snapshot, first.snapshot, sizeof first.snapshot);
    assert_int_equal(again.arrived_us, first.arrived_us);
    assert_int_equal(again.entries, first.entries);
    assert_int_equal(again.bytes, first.bytes);
    assert_int_equal(again.sent, first.sent);
    assert_true(dz_take_state(p->take)->again);
    assert_int_equal(peer_snapshots(place->v), 2);
    /* the same run id of another source is another run */
    (void) keep(place, "lab", 1, hello);
    assert_int_equal(peer_snapshots(place->v), 3);
}

static void the_judges_record_is_made_of_the_bytes_or_marked(void **state) {
    struct place *place = *state;
    dz_autobuf dz_buf lie = { 0 }, value = { 0 };
    dz_feature_record record = { .len = 5, .type = 1, .text_share = 77 }, got;
    struct peer *p = &place->p;
    struct dz_features f;
    const struct {
        const char *path;
        bool claimed, any;
    } rows[] = { { "a", false, true }, { "b", true, true }, { "c", false, false } };

    dz_feature_record_put(&value, &record);
    dz_entry_put_field(&lie, DZ_TAG_FEATURES, dz_buf_slice(&value));
    peer_open(p, place->v, NULL);
    peer_begin(p, "emr", 1);
    peer_chunk(p, hello);
    peer_entry(p, DZ_ENTRY_FILE, "a", 5, 0,
               &lie); /* seen: the source's record counts for nothing */
    peer_ref(p, hello);
    peer_entry(p, DZ_ENTRY_FILE, "b", 5, 0, &lie);
    peer_ref(p, hello);
    peer_entry(p, DZ_ENTRY_FILE, "c", 5, 0, NULL);
    peer_commit(p, 3, 15);
    peer_send(p, 4096);
    (void) peer_must_hear(p, DZ_WIRE_READY);
    (void) peer_must_hear(p, DZ_WIRE_DONE);
    dz_features_init(&f);
    dz_features_update(&f, hello);
    for (size_t i = 0; i < 3; i++) {
        DZ_AUTO(dz_fetch) fetch = NULL;
        DZ_AUTO(dz_cursor) cursor = NULL;
        dz_entry e = find(place, "emr", rows[i].path, &fetch, &cursor);
        dz_slice field = dz_entry_field(&e, DZ_TAG_FEATURES);
        dz_reader r = dz_reader_over(field);

        assert_int_equal((e.flags & DZ_ENTRY_CLAIMED) != 0, rows[i].claimed);
        assert_int_equal(field.data != NULL, rows[i].any);
        if (!rows[i].any)
            continue;
        assert_int_equal(dz_feature_record_read(&r, &got, NULL), DZ_OK);
        assert_true(got.has_digest); /* the vault's own, of the content: the same in both */
        if (i == 0)
            memcpy(record.digest, got.digest, sizeof record.digest);
        assert_memory_equal(got.digest, record.digest, sizeof record.digest);
        assert_int_equal(got.text_share == 77, rows[i].claimed);
    }
}

static void an_unreadable_file_keeps_nothing_of_its_content(void **state) {
    struct place *place = *state;
    DZ_AUTO(dz_fetch) fetch = NULL;
    DZ_AUTO(dz_cursor) cursor = NULL;
    struct peer *p = &place->p;
    dz_entry e;

    peer_open(p, place->v, NULL);
    peer_begin(p, "emr", 1);
    peer_chunk(p, hello);
    peer_entry(p, DZ_ENTRY_FILE, "broken", 1000, DZ_ENTRY_UNREADABLE, NULL);
    peer_file(p, "whole", hello);
    peer_commit(p, 2, 1005);
    peer_send(p, 4096);
    (void) peer_must_hear(p, DZ_WIRE_READY);
    (void) peer_must_hear(p, DZ_WIRE_DONE);
    e = find(place, "emr", "broken", &fetch, &cursor);
    assert_null(dz_entry_field(&e, DZ_TAG_CONTENT).data);
    assert_int_equal(dz_cursor_find(cursor, DZ_SLICE_LIT("whole"), &e, NULL), DZ_OK);
    assert_non_null(dz_entry_field(&e, DZ_TAG_CONTENT).data);
}

/* --- what a source learns ----------------------------------------------------------------------
 */

static bool held(struct peer *p, dz_slice bytes) {
    struct dz_wire_message m;

    peer_have(p, bytes);
    peer_send(p, 4096);
    m = peer_must_hear(p, DZ_WIRE_HELD);
    assert_int_equal(m.held.n, 1);
    return dz_wire_held(m.held.bits, 0);
}

static void held_tells_only_of_what_this_source_sent(void **state) {
    struct place *place = *state;
    struct peer *p = &place->p;

    (void) keep(place, "emr", 1, hello);
    (void) keep(place, "lab", 1, world);
    peer_open(p, place->v, NULL);
    peer_begin(p, "emr", 2);
    (void) peer_must_hear(p, DZ_WIRE_READY);
    assert_true(held(p, hello));
    assert_false(held(p, world)); /* the vault has it, and this source is none the wiser */
    peer_file(p, "a", world);
    assert_true(held(p, world)); /* now it is its own */
    peer_ref(p, hello);
    peer_entry(p, DZ_ENTRY_FILE, "b", hello.len, 0, NULL);
    peer_commit(p, 2, hello.len + world.len);
    peer_send(p, 4096);
    assert_int_equal(peer_must_hear(p, DZ_WIRE_DONE).done.sent, world.len);
}

static void a_run_that_is_cut_off_need_not_be_sent_again(void **state) {
    struct place *place = *state;
    struct peer *p = &place->p;

    peer_open(p, place->v, NULL);
    peer_begin(p, "emr", 1);
    (void) peer_must_hear(p, DZ_WIRE_READY);
    peer_file(p, "a", hello);
    peer_chunk(p, world);
    peer_send(p, 4096);
    dz_take_cut(p->take);
    assert_int_equal(dz_take_state(p->take)->is, DZ_TAKE_CUT);
    peer_close(p);
    assert_int_equal(peer_snapshots(place->v), 0);

    peer_open(p, place->v, NULL);
    peer_begin(p, "emr", 1);
    (void) peer_must_hear(p, DZ_WIRE_READY);
    assert_true(held(p, hello));
    assert_true(held(p, world));
    peer_ref(p, world);
    peer_entry(p, DZ_ENTRY_FILE, "a", world.len, 0, NULL);
    peer_commit(p, 1, world.len);
    peer_send(p, 4096);
    (void) peer_must_hear(p, DZ_WIRE_DONE);
    assert_int_equal(peer_snapshots(place->v), 1);
}

static void what_a_broken_run_sent_is_forgotten(void **state) {
    struct place *place = *state;
    struct peer *p = &place->p;

    peer_open(p, place->v, NULL);
    peer_begin(p, "emr", 1);
    (void) peer_must_hear(p, DZ_WIRE_READY);
    peer_file(p, "a", hello);
    peer_commit(p, 7, hello.len);
    peer_must_be_refused(p, DZ_WIRE_MISMATCH, "counts");
    peer_close(p);
    peer_open(p, place->v, NULL);
    peer_begin(p, "emr", 1);
    (void) peer_must_hear(p, DZ_WIRE_READY);
    assert_false(held(p, hello));
}

static void one_run_of_a_source_at_a_time(void **state) {
    struct place *place = *state;
    struct peer *p = &place->p, second;

    peer_open(p, place->v, NULL);
    peer_begin(p, "emr", 1);
    (void) peer_must_hear(p, DZ_WIRE_READY);
    peer_open(&second, place->v, NULL);
    peer_begin(&second, "emr", 2);
    assert_true(peer_must_hear(&second, DZ_WIRE_REFUSED).refused.after_s > 0);
    assert_int_equal(dz_take_state(second.take)->refused.code, DZ_WIRE_BUSY);
    peer_close(&second);
    (void) keep(place, "lab", 1, hello); /* others go on */
}

static void a_source_waits_for_its_turn(void **state) {
    struct place *place = *state;
    struct peer *p = &place->p;
    const struct dz_take_how how = { .source = "emr",
                                     .wait = true,
                                     .limits = DZ_TAKE_LIMITS_DEFAULT };
    struct dz_wire_message m;

    peer_open(p, place->v, &how);
    dz_wire_put_hello(&p->say, &(struct dz_wire_hello){ 1, 9 });
    peer_send(p, 3);
    assert_false(peer_hear(p, &m));
    assert_true(dz_take_state(p->take)->waiting);
    dz_take_wait(p->take);
    dz_take_admit(p->take);
    dz_take_wait(p->take); /* too late to say */
    peer_send(p, 1);
    (void) peer_must_hear(p, DZ_WIRE_WAIT);
    assert_int_equal(peer_must_hear(p, DZ_WIRE_WELCOME).welcome.version, 1);
    assert_false(peer_hear(p, &m));
}

/* --- who may -----------------------------------------------------------------------------------
 */

struct keys {
    uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
    bool revoked;
};

static dz_status key_of(void *ctx, const char *source, uint8_t ret_key[DZ_WIRE_KEY], dz_err *err) {
    const struct keys *k = ctx;

    if (strcmp(source, "emr") != 0)
        return DZ_FAIL(err, DZ_E_POLICY, "not enrolled");
    memcpy(ret_key, k->public, DZ_WIRE_KEY);
    return DZ_OK;
}

enum proof { GOOD, NONE, OTHER_KEY, OTHER_NONCE, OTHER_RUN };

static void only_who_has_the_key_may_speak_for_a_source(void **state) {
    struct place *place = *state;
    struct keys keys[2];
    const struct dz_take_how by_key = { .key = key_of,
                                        .ctx = keys,
                                        .limits = DZ_TAKE_LIMITS_DEFAULT };
    const struct dz_take_how by_place = { .source = "emr", .limits = DZ_TAKE_LIMITS_DEFAULT };
    const struct {
        const char *name;
        const struct dz_take_how *how;
        const char *source;
        enum proof proof;
        bool ok;
    } rows[] = {
        { "its key signed", &by_key, "emr", GOOD, true },
        { "nobody signed", &by_key, "emr", NONE, false },
        { "another key signed", &by_key, "emr", OTHER_KEY, false },
        { "its key signed in another connection", &by_key, "emr", OTHER_NONCE, false },
        { "its key signed another run", &by_key, "emr", OTHER_RUN, false },
        { "a source that is not enrolled", &by_key, "lab", GOOD, false },
        { "on the host, no proof", &by_place, "emr", NONE, true },
        { "on the host, another name", &by_place, "lab", NONE, false },
        { "on the host, a proof", &by_place, "emr", GOOD, false },
    };

    for (size_t i = 0; i < 2; i++)
        (void) crypto_sign_keypair(keys[i].public, keys[i].secret);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *source = rows[i].source;
        struct dz_wire_begin m = { .source = { (const uint8_t *) source, strlen(source) },
                                   .run = { (uint8_t) i } };
        uint8_t digest[DZ_SHA256_BYTES], proof[DZ_WIRE_PROOF];
        struct peer *p = &place->p;

        peer_open(p, place->v, rows[i].how);
        dz_wire_put_hello(&p->say, &(struct dz_wire_hello){ 1, 1 });
        peer_send(p, 4096);
        memcpy(p->nonce, peer_must_hear(p, DZ_WIRE_WELCOME).welcome.nonce, sizeof p->nonce);
        p->nonce[0] ^= rows[i].proof == OTHER_NONCE;
        m.run[1] = rows[i].proof == OTHER_RUN;
        assert_int_equal(dz_wire_begin_digest(p->nonce, &m, digest, NULL), DZ_OK);
        m.run[1] = 0;
        (void) crypto_sign_detached(proof, NULL, digest, sizeof digest,
                                    keys[rows[i].proof == OTHER_KEY].secret);
        if (rows[i].proof != NONE)
            m.proof = (dz_slice){ proof, sizeof proof };
        dz_wire_put_begin(&p->say, &m);
        if (rows[i].ok) {
            peer_send(p, 4096);
            (void) peer_must_hear(p, DZ_WIRE_READY);
            assert_string_equal(dz_take_state(p->take)->source, "emr");
        } else {
            peer_must_be_refused(p, DZ_WIRE_NOT_ALLOWED, rows[i].name);
            assert_string_equal(dz_take_state(p->take)->source, "");
        }
        peer_close(p);
    }
}

/* The source, until it is revoked. */
static dz_status key_meanwhile(void *ctx, const char *source, uint8_t ret_key[DZ_WIRE_KEY],
                               dz_err *err) {
    const struct keys *k = ctx;

    (void) source;
    if (k->revoked)
        return DZ_FAIL(err, DZ_E_POLICY, "revoked");
    memcpy(ret_key, k->public, DZ_WIRE_KEY);
    return DZ_OK;
}

static void begin_signed(struct peer *p, const struct keys *k, uint8_t run) {
    struct dz_wire_begin m = { .source = DZ_SLICE_LIT("emr"), .run = { run } };
    uint8_t digest[DZ_SHA256_BYTES], proof[DZ_WIRE_PROOF];

    dz_wire_put_hello(&p->say, &(struct dz_wire_hello){ 1, 1 });
    peer_send(p, 4096);
    assert_int_equal(
        dz_wire_begin_digest(peer_must_hear(p, DZ_WIRE_WELCOME).welcome.nonce, &m, digest, NULL),
        DZ_OK);
    (void) crypto_sign_detached(proof, NULL, digest, sizeof digest, k->secret);
    m.proof = (dz_slice){ proof, sizeof proof };
    dz_wire_put_begin(&p->say, &m);
    peer_send(p, 4096);
    (void) peer_must_hear(p, DZ_WIRE_READY);
}

static void who_is_revoked_in_a_run_makes_no_snapshot(void **state) {
    struct place *place = *state;
    struct peer *p = &place->p;
    struct keys k = { 0 }, before;
    const struct dz_take_how how = { .key = key_meanwhile,
                                     .ctx = &k,
                                     .limits = DZ_TAKE_LIMITS_DEFAULT };

    for (int i = 0; i < 2; i++) {
        (void) crypto_sign_keypair(k.public, k.secret);
        k.revoked = false;
        before = k;
        peer_open(p, place->v, &how);
        begin_signed(p, &before, (uint8_t) i);
        peer_file(p, "a", hello);
        if (i == 0)
            k.revoked = true;
        else
            (void) crypto_sign_keypair(k.public, k.secret); /* another machine enrolled */
        peer_commit(p, 1, hello.len);
        peer_must_be_refused(p, DZ_WIRE_NOT_ALLOWED, "revoked");
        peer_close(p);
    }
    assert_int_equal(peer_snapshots(place->v), 0);
}

/* --- who enrols --------------------------------------------------------------------------------
 */

static dz_status enrol_some(void *ctx, const struct dz_wire_enrol *m,
                            char ret_source[DZ_SOURCE_NAME_MAX + 1], dz_buf *cert,
                            dz_buf *authority, dz_err *err) {
    const struct keys *k = ctx;

    if (m->token[0] != 7 || memcmp(m->key, k->public, sizeof m->key) != 0)
        return DZ_FAIL(err, DZ_E_POLICY, "a token that no invitation has");
    memcpy(ret_source, "emr", sizeof "emr");
    dz_buf_put(cert, "certificate", 11);
    dz_buf_put(authority, "authority", 9);
    return DZ_OK;
}

static void who_has_a_token_and_the_key_is_certified(void **state) {
    static const struct {
        const char *name;
        uint8_t token;
        enum proof proof;
        bool ok;
    } rows[] = {
        { "token and key", 7, GOOD, true },
        { "another token", 8, GOOD, false },
        { "nobody signed", 7, NONE, false },
        { "another key signed", 7, OTHER_KEY, false },
        { "signed in another connection", 7, OTHER_NONCE, false },
    };
    struct place *place = *state;
    struct peer *p = &place->p;
    struct keys keys[2] = { 0 };
    const struct dz_take_how how = { .enrol = enrol_some, .ctx = keys };

    for (size_t i = 0; i < 2; i++)
        (void) crypto_sign_keypair(keys[i].public, keys[i].secret);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_wire_enrol m = { .token = { rows[i].token } };
        uint8_t digest[DZ_SHA256_BYTES];
        struct dz_wire_message heard;

        peer_open(p, place->v, &how);
        dz_wire_put_hello(&p->say, &(struct dz_wire_hello){ 1, 1 });
        peer_send(p, 4096);
        memcpy(p->nonce, peer_must_hear(p, DZ_WIRE_WELCOME).welcome.nonce, sizeof p->nonce);
        p->nonce[0] ^= rows[i].proof == OTHER_NONCE;
        memcpy(m.key, keys->public, sizeof m.key);
        dz_wire_enrol_digest(p->nonce, &m, digest);
        if (rows[i].proof != NONE)
            (void) crypto_sign_detached(m.proof, NULL, digest, sizeof digest,
                                        keys[rows[i].proof == OTHER_KEY].secret);
        dz_wire_put_enrol(&p->say, &m);
        if (rows[i].ok) {
            peer_send(p, 4096);
            heard = peer_must_hear(p, DZ_WIRE_CERT);
            assert_true(dz_slice_eq(heard.cert.source, DZ_SLICE_LIT("emr")));
            assert_true(dz_slice_eq(heard.cert.cert, DZ_SLICE_LIT("certificate")));
            assert_true(dz_slice_eq(heard.cert.ca, DZ_SLICE_LIT("authority")));
            assert_true(dz_take_state(p->take)->enrolled);
        } else {
            peer_must_be_refused(p, DZ_WIRE_NOT_ALLOWED, rows[i].name);
        }
        peer_close(p);
    }
}

static void where_machines_enrol_nobody_sends(void **state) {
    struct place *place = *state;
    struct dz_wire_begin m = { .source = DZ_SLICE_LIT("emr") };
    const struct dz_take_how how = { .enrol = enrol_some, .limits = DZ_TAKE_LIMITS_DEFAULT };
    struct peer *p = &place->p;

    peer_open(p, place->v, &how);
    dz_wire_put_hello(&p->say, &(struct dz_wire_hello){ 1, 1 });
    peer_send(p, 4096);
    (void) peer_must_hear(p, DZ_WIRE_WELCOME);
    dz_wire_put_begin(&p->say, &m);
    peer_must_be_refused(p, DZ_WIRE_NOT_ALLOWED, "BEGIN");
    peer_close(p);
}

/* --- what is refused ---------------------------------------------------------------------------
 */

static void raw(struct peer *p, uint8_t type, uint8_t flags, uint32_t len, const char *payload) {
    dz_buf_put_u8(&p->say, type);
    dz_buf_put_u8(&p->say, flags);
    dz_buf_put_le32(&p->say, len);
    dz_buf_put(&p->say, payload, strlen(payload));
}

static void field(struct peer *p, enum dz_entry_type type, uint64_t size, enum dz_entry_tag tag,
                  const void *value, size_t len) {
    dz_autobuf dz_buf fields = { 0 };

    dz_entry_put_field(&fields, tag, (dz_slice){ value, len });
    peer_entry(p, type, "x", size, 0, &fields);
}

static void wrong_identity(struct peer *p) {
    struct dz_wire_chunk m = { peer_id(hello), world };

    dz_wire_put_chunk(&p->say, &m);
}
static void never_sent(struct peer *p) {
    peer_ref(p, DZ_SLICE_LIT("never sent"));
}
static void of_another(struct peer *p) {
    peer_ref(p, DZ_SLICE_LIT("lab"));
}
static void other_length(struct peer *p) {
    dz_id id = peer_id(hello);

    peer_file(p, "a", hello);
    dz_wire_put_ref(&p->rows, 6, &id);
    dz_wire_put_refs(&p->say, dz_buf_slice(&p->rows));
}
static void too_long(struct peer *p) {
    peer_chunk(p, hello);
    peer_entry(p, DZ_ENTRY_FILE, "a", 4, 0, NULL);
}
static void too_short(struct peer *p) {
    peer_chunk(p, hello);
    peer_entry(p, DZ_ENTRY_FILE, "a", 6, DZ_ENTRY_CHANGED, NULL);
}
static void no_content_at_all(struct peer *p) {
    peer_entry(p, DZ_ENTRY_FILE, "a", 6, 0, NULL);
}
static void content_of_a_directory(struct peer *p) {
    peer_chunk(p, hello);
    peer_entry(p, DZ_ENTRY_DIR, "a", 0, 0, NULL);
}
static void size_over_63_bits(struct peer *p) {
    peer_entry(p, DZ_ENTRY_FILE, "a", 1ULL << 63, DZ_ENTRY_UNREADABLE, NULL);
}
static void sum_over_63_bits(struct peer *p) {
    peer_entry(p, DZ_ENTRY_FILE, "a", INT64_MAX, DZ_ENTRY_UNREADABLE, NULL);
    peer_entry(p, DZ_ENTRY_FILE, "b", 1, DZ_ENTRY_UNREADABLE, NULL);
}
static void the_same_twice(struct peer *p) {
    peer_file(p, "a", hello);
    peer_file(p, "a", hello);
}
static void backwards(struct peer *p) {
    peer_file(p, "b", hello);
    peer_file(p, "a", hello);
}
static void out_of_tree_order(struct peer *p) { /* in byte order, but '/' comes first */
    peer_entry(p, DZ_ENTRY_DIR, "a", 0, 0, NULL);
    peer_entry(p, DZ_ENTRY_DIR, "a b", 0, 0, NULL);
    peer_entry(p, DZ_ENTRY_DIR, "a/b", 0, 0, NULL);
}
static void without_parent(struct peer *p) {
    peer_file(p, "a/b", hello);
}
static void below_a_file(struct peer *p) {
    peer_file(p, "a", hello);
    peer_file(p, "a/b", hello);
}
static void below_a_directory_that_is_missing(struct peer *p) {
    peer_entry(p, DZ_ENTRY_DIR, "a", 0, 0, NULL);
    peer_file(p, "a/b/c", hello);
}
static void below_a_link(struct peer *p) {
    field(p, DZ_ENTRY_SYMLINK, 1, DZ_TAG_TARGET, "/", 1);
    peer_file(p, "x/passwd", hello);
}
static void dot_dot(struct peer *p) {
    raw(p, DZ_WIRE_ENTRY, 0, 14, "\x01");
    p->say.len -= 1;
    dz_buf_put(&p->say, "\0\2..\x08\2\0\0\0\0\0\0\0", 13);
    dz_buf_put_u8(&p->say, 0);
}
static void claimed_flag(struct peer *p) {
    peer_entry(p, DZ_ENTRY_FILE, "a", 0, DZ_ENTRY_CLAIMED, NULL);
}
static void unknown_flag(struct peer *p) {
    peer_entry(p, DZ_ENTRY_DIR, "a", 0, 1U << 31, NULL);
}
static void content_field(struct peer *p) {
    field(p, DZ_ENTRY_FILE, 0, DZ_TAG_CONTENT, "\0\1", 2);
}
static void class_field(struct peer *p) {
    field(p, DZ_ENTRY_FILE, 0, DZ_TAG_CLASS, "x", 1);
}
static void extents_of_a_directory(struct peer *p) {
    field(p, DZ_ENTRY_DIR, 0, DZ_TAG_EXTENTS, "\0\0", 2);
}
static void extents_beyond_the_end(struct peer *p) {
    field(p, DZ_ENTRY_FILE, 5, DZ_TAG_EXTENTS, "\6\0", 2);
}
static void extents_cut_short(struct peer *p) {
    field(p, DZ_ENTRY_FILE, 5, DZ_TAG_EXTENTS, "\5", 1);
}
static void features_that_are_none(struct peer *p) {
    peer_file(p, "a", hello);
    peer_ref(p, hello);
    field(p, DZ_ENTRY_FILE, 5, DZ_TAG_FEATURES, "\1\1\1", 3);
}
static void features_of_a_link(struct peer *p) {
    field(p, DZ_ENTRY_FIFO, 0, DZ_TAG_FEATURES, "\1\1\1", 3);
}
static void link_without_target(struct peer *p) {
    peer_entry(p, DZ_ENTRY_SYMLINK, "a", 0, 0, NULL);
}
static void target_of_another_length(struct peer *p) {
    field(p, DZ_ENTRY_SYMLINK, 2, DZ_TAG_TARGET, "/", 1);
}
static void target_with_a_nul(struct peer *p) {
    field(p, DZ_ENTRY_SYMLINK, 3, DZ_TAG_TARGET, "a\0b", 3);
}
static void target_of_a_file(struct peer *p) {
    field(p, DZ_ENTRY_FILE, 0, DZ_TAG_TARGET, "a", 1);
}
static void device_without_number(struct peer *p) {
    peer_entry(p, DZ_ENTRY_CHAR, "a", 0, 0, NULL);
}
static void device_number_too_large(struct peer *p) {
    field(p, DZ_ENTRY_BLOCK, 0, DZ_TAG_RDEV, "\1\x80\x80\x80\x80\x10", 6);
}
static void device_number_of_a_file(struct peer *p) {
    field(p, DZ_ENTRY_FILE, 0, DZ_TAG_RDEV, "\1\1", 2);
}
static void hardlink_of_a_directory(struct peer *p) {
    field(p, DZ_ENTRY_DIR, 0, DZ_TAG_LINK, "0123456789abcdef", 16);
}
static void hardlink_of_17_bytes(struct peer *p) {
    field(p, DZ_ENTRY_FILE, 0, DZ_TAG_LINK, "0123456789abcdefg", 17);
}
static void attributes_out_of_order(struct peer *p) {
    field(p, DZ_ENTRY_DIR, 0, DZ_TAG_XATTRS, "\1b\0\1a\0", 6);
}
static void attribute_twice(struct peer *p) {
    field(p, DZ_ENTRY_DIR, 0, DZ_TAG_XATTRS, "\1a\0\1a\0", 6);
}
static void attribute_without_name(struct peer *p) {
    field(p, DZ_ENTRY_DIR, 0, DZ_TAG_XATTRS, "\0\1a", 3);
}
static void attributes_cut_short(struct peer *p) {
    field(p, DZ_ENTRY_DIR, 0, DZ_TAG_XATTRS, "\1a\2b", 4);
}
static void content_without_entry(struct peer *p) {
    peer_chunk(p, hello);
    peer_commit(p, 0, 0);
}
static void fewer_entries(struct peer *p) {
    peer_file(p, "a", hello);
    peer_commit(p, 2, hello.len);
}
static void fewer_bytes(struct peer *p) {
    peer_file(p, "a", hello);
    peer_commit(p, 1, hello.len + 1);
}
static void hello_again(struct peer *p) {
    dz_wire_put_hello(&p->say, &(struct dz_wire_hello){ 1, 1 });
}
static void begin_again(struct peer *p) {
    struct dz_wire_begin m = { .source = DZ_SLICE_LIT("emr") };

    dz_wire_put_begin(&p->say, &m);
}
static void enrol_in_a_run(struct peer *p) {
    dz_wire_put_enrol(&p->say, &(struct dz_wire_enrol){ { 0 }, { 0 }, { 0 } });
}
static void a_message_of_the_vault(struct peer *p) {
    dz_wire_put_done(&p->say, &(struct dz_wire_done){ { 0 }, 0, 0, 0, 0 });
}
static void no_such_type(struct peer *p) {
    raw(p, 99, 0, 0, "");
}
static void flags_of_a_frame(struct peer *p) {
    raw(p, DZ_WIRE_COMMIT, 1, 2, "  ");
}
static void a_gigantic_frame(struct peer *p) {
    raw(p, DZ_WIRE_CHUNK, 0, UINT32_MAX, "x");
}
static void an_empty_chunk(struct peer *p) {
    raw(p, DZ_WIRE_CHUNK, 0, 32, "01234567890123456789012345678901");
}
static void an_empty_question(struct peer *p) {
    raw(p, DZ_WIRE_HAVE, 0, 0, "");
}
static void half_an_identity(struct peer *p) {
    raw(p, DZ_WIRE_HAVE, 0, 16, "0123456789012345");
}
static void a_long_commit(struct peer *p) {
    raw(p, DZ_WIRE_COMMIT, 0, 3, "\1\1\1");
}

static void what_breaks_a_rule_is_refused_and_leaves_no_snapshot(void **state) {
    static const struct {
        const char *name;
        void (*say)(struct peer *);
        enum dz_wire_code code;
    } rows[] = {
        /* clang-format off */
        { "a chunk with another's identity",      wrong_identity,                    DZ_WIRE_BAD_CHUNK },
        { "a reference to what never came",       never_sent,                        DZ_WIRE_NOT_YOURS },
        { "a reference to another source's",      of_another,                          DZ_WIRE_NOT_YOURS },
        { "a reference with another length",      other_length,                      DZ_WIRE_NOT_YOURS },
        { "more content than the size",           too_long,                          DZ_WIRE_BAD_FRAME },
        { "less content than the size",           too_short,                         DZ_WIRE_BAD_FRAME },
        { "no content for a size",                no_content_at_all,                 DZ_WIRE_BAD_FRAME },
        { "content of a directory",               content_of_a_directory,            DZ_WIRE_BAD_FRAME },
        { "a size of 2^63",                       size_over_63_bits,                 DZ_WIRE_BAD_FRAME },
        { "sizes of 2^63 together",               sum_over_63_bits,                  DZ_WIRE_BAD_FRAME },
        { "the same path twice",                  the_same_twice,                    DZ_WIRE_BAD_FRAME },
        { "paths backwards",                      backwards,                         DZ_WIRE_BAD_FRAME },
        { "paths in plain byte order",            out_of_tree_order,                 DZ_WIRE_BAD_FRAME },
        { "a path without its directory",         without_parent,                    DZ_WIRE_BAD_FRAME },
        { "a path below a file",                  below_a_file,                      DZ_WIRE_BAD_FRAME },
        { "a path below a missing directory",     below_a_directory_that_is_missing, DZ_WIRE_BAD_FRAME },
        { "a path below a symbolic link",         below_a_link,                      DZ_WIRE_BAD_FRAME },
        { "a path that is ..",                    dot_dot,                           DZ_WIRE_BAD_FRAME },
        { "the vault's own flag",                 claimed_flag,                      DZ_WIRE_BAD_FRAME },
        { "a flag that nobody knows",             unknown_flag,                      DZ_WIRE_BAD_FRAME },
        { "a content field",                      content_field,                     DZ_WIRE_BAD_FRAME },
        { "a field of a later version",           class_field,                       DZ_WIRE_BAD_FRAME },
        { "holes of a directory",                 extents_of_a_directory,            DZ_WIRE_BAD_FRAME },
        { "holes beyond the end",                 extents_beyond_the_end,            DZ_WIRE_BAD_FRAME },
        { "holes cut short",                      extents_cut_short,                 DZ_WIRE_BAD_FRAME },
        { "a judge's record that is none",        features_that_are_none,            DZ_WIRE_BAD_FRAME },
        { "a judge's record of a FIFO",           features_of_a_link,                DZ_WIRE_BAD_FRAME },
        { "a symbolic link to nowhere",           link_without_target,               DZ_WIRE_BAD_FRAME },
        { "a target of another length",           target_of_another_length,          DZ_WIRE_BAD_FRAME },
        { "a target with a NUL",                  target_with_a_nul,                 DZ_WIRE_BAD_FRAME },
        { "a target of a file",                   target_of_a_file,                  DZ_WIRE_BAD_FRAME },
        { "a device without a number",            device_without_number,             DZ_WIRE_BAD_FRAME },
        { "a device number of 2^32",              device_number_too_large,           DZ_WIRE_BAD_FRAME },
        { "a device number of a file",            device_number_of_a_file,           DZ_WIRE_BAD_FRAME },
        { "a hard link of a directory",           hardlink_of_a_directory,           DZ_WIRE_BAD_FRAME },
        { "a hard link of 17 bytes",              hardlink_of_17_bytes,              DZ_WIRE_BAD_FRAME },
        { "attributes out of order",              attributes_out_of_order,           DZ_WIRE_BAD_FRAME },
        { "an attribute twice",                   attribute_twice,                   DZ_WIRE_BAD_FRAME },
        { "an attribute without a name",          attribute_without_name,            DZ_WIRE_BAD_FRAME },
        { "attributes cut short",                 attributes_cut_short,              DZ_WIRE_BAD_FRAME },
        { "content without an entry",             content_without_entry,             DZ_WIRE_BAD_FRAME },
        { "fewer entries than COMMIT says",       fewer_entries,                     DZ_WIRE_MISMATCH },
        { "fewer bytes than COMMIT says",         fewer_bytes,                       DZ_WIRE_MISMATCH },
        { "HELLO again",                          hello_again,                       DZ_WIRE_BAD_FRAME },
        { "BEGIN again",                          begin_again,                       DZ_WIRE_BAD_FRAME },
        { "ENROL in a run",                       enrol_in_a_run,                    DZ_WIRE_BAD_FRAME },
        { "a message of the vault",               a_message_of_the_vault,            DZ_WIRE_BAD_FRAME },
        { "no such type",                         no_such_type,                      DZ_WIRE_BAD_FRAME },
        { "a frame with flags",                   flags_of_a_frame,                  DZ_WIRE_BAD_FRAME },
        { "a frame of 4 GiB",                     a_gigantic_frame,                  DZ_WIRE_BAD_FRAME },
        { "an empty chunk",                       an_empty_chunk,                    DZ_WIRE_BAD_FRAME },
        { "an empty question",                    an_empty_question,                 DZ_WIRE_BAD_FRAME },
        { "half an identity",                     half_an_identity,                  DZ_WIRE_BAD_FRAME },
        { "a COMMIT with more behind it",         a_long_commit,                     DZ_WIRE_BAD_FRAME },
        /* clang-format on */
    };
    struct place *place = *state;
    struct peer *p = &place->p;

    (void) keep(place, "lab", 1, DZ_SLICE_LIT("lab"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        peer_open(p, place->v, NULL);
        peer_begin(p, "emr", (uint8_t) i);
        (void) peer_must_hear(p, DZ_WIRE_READY);
        rows[i].say(p);
        peer_must_be_refused(p, (uint16_t) rows[i].code, rows[i].name);
        peer_close(p);
    }
    assert_int_equal(peer_snapshots(place->v), 1);
}

static void before_a_run_only_its_messages_have_their_turn(void **state) {
    struct place *place = *state;
    struct peer *p = &place->p;
    struct dz_wire_begin begin = { .source = DZ_SLICE_LIT("emr") };

    peer_open(p, place->v, NULL);
    dz_wire_put_begin(&p->say, &begin);
    peer_must_be_refused(p, DZ_WIRE_BAD_FRAME, "BEGIN without HELLO");
    peer_close(p);
    peer_open(p, place->v, NULL);
    dz_wire_put_hello(&p->say, &(struct dz_wire_hello){ 2, 3 });
    peer_must_be_refused(p, DZ_WIRE_NO_VERSION, "a version of the future");
    assert_int_equal(dz_take_state(p->take)->refused.limit, DZ_WIRE_VERSION);
    peer_close(p);
    peer_open(p, place->v, NULL);
    dz_wire_put_hello(&p->say, &(struct dz_wire_hello){ 1, 1 });
    peer_commit(p, 0, 0);
    peer_must_be_refused(p, DZ_WIRE_BAD_FRAME, "COMMIT without BEGIN");
    peer_close(p);
    peer_open(p, place->v, NULL);
    dz_wire_put_hello(&p->say, &(struct dz_wire_hello){ 1, 1 });
    enrol_in_a_run(p);
    peer_must_be_refused(p, DZ_WIRE_NOT_ALLOWED, "ENROL where nobody enrols");
    peer_close(p);
    peer_open(p, place->v, &(struct dz_take_how){ .source = "emr", .wait = true });
    dz_wire_put_hello(&p->say, &(struct dz_wire_hello){ 1, 1 });
    dz_wire_put_begin(&p->say, &begin);
    peer_must_be_refused(p, DZ_WIRE_BAD_FRAME, "BEGIN before WELCOME");
    assert_int_equal(peer_snapshots(place->v), 0);
}

static void a_run_has_limits(void **state) {
    struct place *place = *state;
    struct peer *p = &place->p;
    struct dz_take_how how = { .source = "emr", .limits = { .entries = 2, .bytes = 1 << 20 } };

    peer_open(p, place->v, &how);
    peer_begin(p, "emr", 1);
    peer_file(p, "a", hello);
    peer_file(p, "b", hello);
    peer_file(p, "c", hello);
    peer_must_be_refused(p, DZ_WIRE_LIMIT, "three entries");
    assert_int_equal(dz_take_state(p->take)->refused.number, DZ_WIRE_ENTRIES);
    assert_int_equal(dz_take_state(p->take)->refused.limit, 2);
    peer_close(p);

    how.limits.bytes = 4 * 32;
    for (int n = 4; n <= 5; n++) { /* questions count as all that a run brings */
        peer_open(p, place->v, &how);
        peer_begin(p, "emr", 2);
        for (int i = 0; i < n; i++)
            peer_have(p, hello);
        if (n == 4) {
            peer_send(p, 4096);
            assert_int_equal(dz_take_state(p->take)->is, DZ_TAKE_OPEN);
        } else {
            peer_must_be_refused(p, DZ_WIRE_LIMIT, "five questions");
            assert_int_equal(dz_take_state(p->take)->refused.number, DZ_WIRE_BYTES);
        }
        peer_close(p);
    }
    assert_int_equal(peer_snapshots(place->v), 0);
}

static void who_serves_may_end_it(void **state) {
    struct place *place = *state;
    struct peer *p = &place->p;

    peer_open(p, place->v, NULL);
    peer_begin(p, "emr", 1);
    (void) peer_must_hear(p, DZ_WIRE_READY);
    peer_file(p, "a", hello);
    peer_send(p, 4096);
    dz_take_refuse(
        p->take, &(struct dz_wire_refused){ .code = DZ_WIRE_TOO_SLOW, .number = 60, .limit = 60 });
    peer_must_be_refused(p, DZ_WIRE_TOO_SLOW, "too slow");
    peer_close(p);
    (void) keep(place, "emr", 1, hello); /* and it may come again */
    assert_int_equal(peer_snapshots(place->v), 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_run_makes_a_snapshot_that_says_what_the_source_said),
        TEST(a_run_that_comes_again_is_answered_as_before),
        TEST(the_judges_record_is_made_of_the_bytes_or_marked),
        TEST(an_unreadable_file_keeps_nothing_of_its_content),
        TEST(held_tells_only_of_what_this_source_sent),
        TEST(a_run_that_is_cut_off_need_not_be_sent_again),
        TEST(what_a_broken_run_sent_is_forgotten),
        TEST(one_run_of_a_source_at_a_time),
        TEST(a_source_waits_for_its_turn),
        TEST(only_who_has_the_key_may_speak_for_a_source),
        TEST(who_is_revoked_in_a_run_makes_no_snapshot),
        TEST(who_has_a_token_and_the_key_is_certified),
        TEST(where_machines_enrol_nobody_sends),
        TEST(what_breaks_a_rule_is_refused_and_leaves_no_snapshot),
        TEST(before_a_run_only_its_messages_have_their_turn),
        TEST(a_run_has_limits),
        TEST(who_serves_may_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
