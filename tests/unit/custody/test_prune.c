/* Removals in the log that no prune would have written. */
#include "tests/unit/custody/vault_fixture.h"

#include "core/clock.h"
#include <fcntl.h>
#include <sys/file.h>

#include "custody/action.h"
#include "custody/prune.h"

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
    uint64_t n;

    assert_int_equal(dz_custody_read(&read, NULL), DZ_OK);
    assert_int_equal(dz_prune_untimely(read.ledger, &read.quorum, &n, NULL), DZ_OK);
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
        cmocka_unit_test(one_prune_runs_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
