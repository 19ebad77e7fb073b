/* Removals in the log that no prune would have written. */
#include "tests/unit/custody/vault_fixture.h"

#include "core/clock.h"
#include <fcntl.h>
#include <sys/file.h>

#include "core/hex.h"
#include "core/os.h"
#include "custody/action.h"
#include "custody/prune.h"
#include "store/session.h"
#include "store/snapshot.h"

#define DAY (INT64_C(86400) * 1000000)

static void note(struct custody_vault *c, enum dz_leaf_kind kind, uint8_t name) {
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_COMMIT, .name = { name } };

    assert_int_equal(dz_ledger_note(c->v, c->tmpfd, kind, 0, &object, 1, json_object(), NULL, NULL),
                     DZ_OK);
}

/* Days pass, or only seem to. */
static void days(struct custody_vault *c, int64_t n, bool truly) {
    struct dz_clock_sample now;

    dz_clock_ahead_us += n * DAY;
    dz_clock_sample(&now);
    if (truly)
        assert_int_equal(dz_clock_tick(c->v, c->tmpfd, &now, 0, NULL, NULL), DZ_OK);
}

static uint64_t untimely(struct custody_vault *c) {
    struct dz_custody read = { .v = c->v };
    struct dz_clock_sample now;
    uint64_t n;

    dz_clock_sample(&now);
    assert_int_equal(dz_custody_read(&read, NULL), DZ_OK);
    assert_int_equal(dz_prune_untimely(read.ledger, &read.quorum, &now, &n, NULL), DZ_OK);
    dz_custody_release(&read);
    return n;
}

static dz_status prune(struct custody_vault *c, dz_err *err) {
    struct dz_prune_how how = { .sweep = { .sparse_pct = 50 } };
    struct dz_prune_result r;

    dz_clock_sample(&how.now);
    return dz_prune_run(c->v, &how, &r, err);
}

static void a_week_of_trusted_time_must_have_passed(void **state) {
    struct custody_vault c;
    dz_err err = { 0 };

    (void) state;
    custody_open(&c, 1, 0, 0);
    days(&c, 0, true);
    note(&c, DZ_LEAF_PRUNE_INTENT, 1);
    days(&c, 7, true);
    note(&c, DZ_LEAF_PRUNE_DONE, 1);
    assert_int_equal(untimely(&c), 0);
    assert_int_equal(prune(&c, &err), DZ_OK);

    note(&c, DZ_LEAF_PRUNE_INTENT, 2);
    days(&c, 7, false); /* the leaves' times say so, no tick does */
    note(&c, DZ_LEAF_PRUNE_DONE, 2);
    assert_int_equal(untimely(&c), 1);
    assert_int_equal(prune(&c, &err), DZ_E_POLICY);
    assert_non_null(strstr(err.what, "somebody else"));

    note(&c, DZ_LEAF_PRUNE_DONE, 3); /* never announced */
    assert_int_equal(untimely(&c), 2);
    custody_close(&c);
}

/* A tick as who has the host's keys writes it: so much later than the real clocks. */
static void forge_tick(struct custody_vault *c, const char *boot, int64_t later_us) {
    struct dz_clock_sample now;

    dz_clock_sample(&now);
    (void) snprintf(now.boot, sizeof now.boot, "%s", boot);
    now.up_us = later_us;
    now.wall_us += later_us;
    assert_int_equal(dz_ledger_note(c->v, c->tmpfd, DZ_LEAF_CLOCK_TICK, 0, NULL, 0,
                                    dz_clock_sample_text(&now), NULL, NULL),
                     DZ_OK);
}

/* And back to the real clocks, a minute a boot, so that nothing seems to jump. */
static void walk_back(struct custody_vault *c, int64_t from_us) {
    const int64_t minute = 59 * INT64_C(1000000);
    char boot[24];

    for (int64_t back = from_us; back > -minute; back -= minute) {
        (void) snprintf(boot, sizeof boot, "b%lld", (long long) back);
        forge_tick(c, boot, back > 0 ? back : 0);
    }
}

static void note_dated(struct custody_vault *c, enum dz_leaf_kind kind, int64_t days_ahead) {
    dz_clock_ahead_us += days_ahead * DAY;
    note(c, kind, 1);
    dz_clock_ahead_us -= days_ahead * DAY;
}

static void forged_ticks_make_no_week(void **state) {
    static const struct {
        const char *what;
        int64_t announced, ticks, done; /* days ahead of now */
        bool back;
    } rows[] = {
        { "by ticks alone", 0, 8, 0, false },
        { "announced with a date of before", -8, 8, 0, false },
        { "by dates alone", -8, 0, 0, false },
        { "removed with a date of later", 0, 7, 7, true },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int64_t ahead = dz_clock_ahead_us;
        struct custody_vault c;

        custody_made_us = dz_now_us();
        custody_open(&c, (uint8_t) (10 + i), 0, 0);
        days(&c, 0, true);
        note_dated(&c, DZ_LEAF_PRUNE_INTENT, rows[i].announced);
        for (int64_t day = 0; day <= rows[i].ticks; day += 7)
            forge_tick(&c, "forged", day * DAY);
        note_dated(&c, DZ_LEAF_PRUNE_DONE, rows[i].done);
        if (rows[i].back)
            walk_back(&c, rows[i].ticks * DAY);
        if (untimely(&c) != 1)
            fail_msg("%s", rows[i].what);
        dz_clock_ahead_us += 8 * DAY; /* who announces, and waits for a week, has announced */
        if (untimely(&c) != (rows[i].back ? 0 : 1))
            fail_msg("%s, a week later", rows[i].what);
        dz_clock_ahead_us = ahead;
        custody_close(&c);
    }
}

/* Its record is there, so it can be read; prune alone deletes records, and only what it may. */
static void a_leaf_alone_removes_no_snapshot(void **state) {
    struct dz_commit commit = { .source = "s" };
    char id[DZ_SNAPSHOT_ID_TEXT], name[2 * DZ_SHA256_BYTES + 1];
    static const char *const names[] = { "latest", "latest:s", NULL };
    dz_leaf_object object = { .type = DZ_LEAF_OBJ_COMMIT };
    struct dz_snapshot snap = { 0 };
    struct dz_session *s = NULL;
    struct custody_vault c;
    dz_err err = { 0 };

    (void) state;
    custody_made_us = dz_now_us();
    custody_open(&c, 3, 0, 0);
    days(&c, 0, true);
    assert_int_equal(dz_session_begin(c.v, &s, &err), DZ_OK);
    assert_int_equal(dz_session_commit(s, &commit, &err), DZ_OK);
    dz_session_free(s);
    dz_snapshot_id_text(commit.id, id);
    assert_int_equal(dz_snapshot_find(c.v, id, &snap, &err), DZ_OK);
    memcpy(object.name, snap.file, sizeof object.name);
    dz_hex(snap.file, sizeof snap.file, name);
    dz_snapshot_release(&snap);
    dz_commit_release(&commit);
    for (int i = 0; i < 2; i++) {
        dz_clock_ahead_us -= i == 0 ? 8 * DAY : -8 * DAY;
        assert_int_equal(dz_ledger_note(c.v, c.tmpfd, i ? DZ_LEAF_PRUNE_DONE : DZ_LEAF_PRUNE_INTENT,
                                        0, &object, 1, json_object(), NULL, NULL),
                         DZ_OK);
    }
    for (int gone = 0; gone < 2; gone++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            dz_status got = dz_snapshot_find(c.v, names[i] ? names[i] : id, &snap, &err);

            assert_int_equal(got, gone ? DZ_E_NOT_FOUND : DZ_OK);
            if (got == DZ_OK)
                dz_snapshot_release(&snap);
        }
        assert_int_equal(prune(&c, &err), DZ_E_POLICY); /* deletes nothing */
        assert_int_equal(dz_os->unlinkat(c.v->commitsfd, name, 0), gone ? -1 : 0);
    }
    custody_close(&c);
}

static void one_prune_runs_at_a_time(void **state) {
    struct custody_vault c;
    dz_err err = { 0 };
    int fd;

    (void) state;
    custody_open(&c, 2, 0, 0);
    fd = dz_os->openat(c.v->commitsfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(prune(&c, &err), DZ_E_BUSY);
    (void) close(fd);
    assert_int_equal(prune(&c, &err), DZ_OK);
    custody_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_week_of_trusted_time_must_have_passed),
        cmocka_unit_test(forged_ticks_make_no_week),
        cmocka_unit_test(a_leaf_alone_removes_no_snapshot),
        cmocka_unit_test(one_prune_runs_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
