/* What a source brings in a day is counted, whatever happens meanwhile. */
#include "intake/quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/clock.h"
#include "tests/unit/intake/peer.h"

static const struct dz_quota_limits limits = { .entries = 6400, .bytes = 640000, .runs = 3 };

/* What the machine's clocks say (ld --wrap): the wall clock may be set, and the machine may have
 * been started again. */
static int64_t wall_ahead_us;
static bool rebooted;
void __real_dz_clock_sample(struct dz_clock_sample *ret);
void __wrap_dz_clock_sample(struct dz_clock_sample *ret);
void __wrap_dz_clock_sample(struct dz_clock_sample *ret) {
    __real_dz_clock_sample(ret);
    ret->wall_us += wall_ahead_us;
    if (rebooted) {
        ret->boot[0] = ret->boot[0] == 'z' ? 'y' : 'z';
        ret->up_us = 1000000 + dz_clock_ahead_us;
    }
}

static int teardown(void **state) {
    dz_clock_ahead_us = wall_ahead_us = 0;
    rebooted = false;
    return scratch_teardown(state);
}

static struct dz_quota *open_quota(struct dz_vault *v, const char *source) {
    struct dz_quota *q = NULL;

    assert_int_equal(dz_quota_open(v, source, v->tmpfd, &limits, &q, NULL), DZ_OK);
    return q;
}

static bool take(struct dz_quota *q, enum dz_wire_what what, uint64_t n) {
    bool fits;

    assert_int_equal(dz_quota_take(q, what, n, &fits, NULL), DZ_OK);
    return fits;
}

static bool take_once(struct dz_vault *v, const char *source, enum dz_wire_what what, uint64_t n) {
    DZ_AUTO(dz_quota) q = open_quota(v, source);

    return take(q, what, n);
}

static void a_day_has_its_limits(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;

    scratch_vault(s);
    v = scratch_open(s, false);
    assert_true(take_once(v, "emr", DZ_WIRE_BYTES, 640000));
    assert_false(take_once(v, "emr", DZ_WIRE_BYTES, 1));
    assert_true(take_once(v, "emr", DZ_WIRE_ENTRIES, 6000)); /* each kind apart */
    assert_false(take_once(v, "emr", DZ_WIRE_ENTRIES, 401));
    assert_true(take_once(v, "lab", DZ_WIRE_BYTES, 640000)); /* each source apart */
    assert_false(take_once(v, "lab", DZ_WIRE_BYTES, UINT64_MAX));
    assert_false(take_once(v, "lab", DZ_WIRE_BYTES, UINT64_MAX)); /* and no sum goes round */
}

static void what_is_not_limited_is_not_counted(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_quota) q = NULL;
    const struct dz_quota_limits none = { 0 };

    scratch_vault(s);
    v = scratch_open(s, false);
    assert_int_equal(dz_quota_open(v, "emr", v->tmpfd, &none, &q, NULL), DZ_OK);
    assert_true(take(q, DZ_WIRE_BYTES, UINT64_MAX));
    assert_true(take(q, DZ_WIRE_BYTES, UINT64_MAX));
}

static void a_new_day_begins_after_24_hours(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_quota) q = NULL;

    scratch_vault(s);
    v = scratch_open(s, false);
    assert_true(take_once(v, "emr", DZ_WIRE_RUNS, 3));
    dz_clock_ahead_us += INT64_C(86000) * 1000000;
    assert_false(take_once(v, "emr", DZ_WIRE_RUNS, 1));
    q = open_quota(v, "emr");
    assert_true(dz_quota_left_s(q) >= 1 && dz_quota_left_s(q) <= 400);
    dz_clock_ahead_us += INT64_C(401) * 1000000;
    assert_true(take_once(v, "emr", DZ_WIRE_RUNS, 3));
    assert_false(take_once(v, "emr", DZ_WIRE_RUNS, 1));
}

static void setting_the_clock_gives_no_second_day(void **state) {
    struct scratch *s = *state;
    const int64_t day = INT64_C(86400) * 1000000;
    const struct {
        const char *name;
        int64_t wall_us; /* so much is it set */
        bool reboot, new_day;
    } rows[] = {
        { "a year ahead", 365 * day, false, false },
        { "a year back", -365 * day, false, false },
        { "a day ahead, over a reboot", day, true, true }, /* as if it had been off that long */
        { "a day back, over a reboot", -day, true, false },
    };

    scratch_vault(s);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DZ_AUTO(dz_vault) v = scratch_open(s, false);
        char source[2] = { (char) ('a' + i), 0 };

        wall_ahead_us = 0;
        rebooted = false;
        assert_true(take_once(v, source, DZ_WIRE_RUNS, 3));
        wall_ahead_us = rows[i].wall_us;
        rebooted = rows[i].reboot;
        if (take_once(v, source, DZ_WIRE_RUNS, 1) != rows[i].new_day)
            fail_msg("%s", rows[i].name);
        /* and however it stands, another day ends it */
        dz_clock_ahead_us += day;
        if (!take_once(v, source, DZ_WIRE_RUNS, 1))
            fail_msg("%s: for ever", rows[i].name);
    }
}

static void a_crash_makes_the_day_fuller_not_emptier(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_quota *crashed;
    uint64_t most = 0;

    scratch_vault(s);
    v = scratch_open(s, false);
    crashed = open_quota(v, "emr"); /* and never closed, as far as the file can tell */
    for (int i = 0; i < 1000; i++)
        assert_true(take(crashed, DZ_WIRE_BYTES, 100));
    for (; take_once(v, "emr", DZ_WIRE_BYTES, 1000); most += 1000)
        ;
    assert_true(most <= 640000 - 100000 && most >= 640000 - 100000 - 2 * 640000 / 64);
    dz_quota_close(crashed);
}

static void what_is_damaged_or_of_another_source_counts_for_nothing(void **state) {
    struct scratch *s = *state;
    const char *const argv[] = { "sh", "-c",
                                 "for f in \"$0\"/quota-*; do printf X | dd of=\"$f\" bs=1 seek=80 "
                                 "conv=notrunc status=none; done",
                                 NULL, NULL };
    const char *with[5];
    DZ_AUTO(dz_vault) v = NULL;
    char caches[160];

    scratch_vault(s);
    v = scratch_open(s, false);
    assert_true(take_once(v, "emr", DZ_WIRE_RUNS, 3));
    (void) snprintf(caches, sizeof caches, "%s/cache", s->vault);
    memcpy(with, argv, sizeof argv);
    with[3] = caches;
    assert_int_equal(scratch_run(with), 0);
    assert_true(take_once(v, "emr", DZ_WIRE_RUNS, 1));
}

/* --- a take ------------------------------------------------------------------------------------
 */

static void a_full_day_refuses_runs_and_keeps_what_came(void **state) {
    struct scratch *s = *state;
    const dz_slice a = DZ_SLICE_LIT("one chunk"), b = DZ_SLICE_LIT("and another one");
    struct dz_take_how how = { .source = "emr", .limits = DZ_TAKE_LIMITS_DEFAULT };
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_wire_message m;
    struct peer p;

    scratch_vault(s);
    v = scratch_open(s, false);
    how.day = (struct dz_quota_limits){ .bytes = 32 + a.len + 32 + b.len, .runs = 2 };
    peer_open(&p, v, &how);
    peer_begin(&p, "emr", 1);
    (void) peer_must_hear(&p, DZ_WIRE_READY);
    peer_chunk(&p, a);
    peer_chunk(&p, b);
    peer_entry(&p, DZ_ENTRY_FILE, "f", a.len + b.len, 0, NULL);
    peer_must_be_refused(&p, DZ_WIRE_QUOTA, "bytes");
    assert_int_equal(dz_take_state(p.take)->refused.number, DZ_WIRE_BYTES);
    assert_int_equal(dz_take_state(p.take)->refused.limit, how.day.bytes);
    assert_true(dz_take_state(p.take)->refused.after_s > 86000);
    peer_close(&p);

    how.day.bytes *= 4; /* the operator gives it more */
    peer_open(&p, v, &how);
    peer_begin(&p, "emr", 1);
    (void) peer_must_hear(&p, DZ_WIRE_READY);
    peer_have(&p, b);
    peer_ref(&p, a);
    peer_ref(&p, b);
    peer_entry(&p, DZ_ENTRY_FILE, "f", a.len + b.len, 0, NULL);
    peer_commit(&p, 1, a.len + b.len);
    peer_send(&p, 4096);
    m = peer_must_hear(&p, DZ_WIRE_HELD);
    assert_true(dz_wire_held(m.held.bits, 0));
    (void) peer_must_hear(&p, DZ_WIRE_DONE);
    peer_close(&p);

    peer_open(&p, v, &how);
    peer_begin(&p, "emr", 2);
    peer_must_be_refused(&p, DZ_WIRE_QUOTA, "runs");
    assert_int_equal(dz_take_state(p.take)->refused.number, DZ_WIRE_RUNS);
    peer_close(&p);
    assert_int_equal(peer_snapshots(v), 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_day_has_its_limits),
        TEST(what_is_not_limited_is_not_counted),
        TEST(a_new_day_begins_after_24_hours),
        TEST(setting_the_clock_gives_no_second_day),
        TEST(a_crash_makes_the_day_fuller_not_emptier),
        TEST(what_is_damaged_or_of_another_source_counts_for_nothing),
        TEST(a_full_day_refuses_runs_and_keeps_what_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
