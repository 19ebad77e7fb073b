/* How much time has passed, whatever a stranger does to the clocks. */
#include "tests/unit/custody/vault_fixture.h"

#include "custody/clock_guard.h"

#define MINUTE (INT64_C(60) * 1000000)
#define DAY (INT64_C(86400) * 1000000)

struct step {
    unsigned boot;
    double up_days, wall_days;
    double witness_days; /* then a witness is met whose clock says so; 0: none is */
};

static void meet(struct custody_vault *c, int64_t clock_us) {
    assert_int_equal(
        dz_ledger_note(c->v, c->tmpfd, DZ_LEAF_WITNESS, 0, NULL, 0,
                       json_pack("{s:s,s:s,s:I,s:I,s:I}", "event", "confirmed", "name", "w", "size",
                                 (json_int_t) 1, "time_us", (json_int_t) clock_us, "clock_us",
                                 (json_int_t) clock_us),
                       NULL, NULL),
        DZ_OK);
}

static void trusted(struct custody_vault *c, struct dz_clock_guard *ret) {
    DZ_AUTO(dz_ledger) ledger = NULL;
    struct dz_quorum q = { 0 };

    assert_int_equal(dz_ledger_read(c->v, &ledger, NULL), DZ_OK);
    assert_int_equal(dz_quorum_read(c->v, ledger, &q, NULL), DZ_OK);
    dz_clock_guard_read(ledger, &q, ret);
    dz_quorum_release(&q);
}

static void each_history_gives_its_time(void **state) {
    static const struct {
        const char *what;
        struct step steps[6]; /* up to the first with boot 0 */
        double trusted_days;
        bool frozen;
    } rows[] = {
        { "one tick proves nothing", { { 1, 5, 5 } }, 0, false },
        { "two clocks that go on alike", { { 1, 1, 1 }, { 1, 2, 2 }, { 1, 9, 9 } }, 8, false },
        { "time off does not count",
          { { 1, 1, 1 }, { 1, 2, 2 }, { 2, 0, 5 }, { 2, 1, 6 } },
          2,
          false },
        { "a jump of ten years", { { 1, 1, 1 }, { 1, 2, 2 }, { 1, 2.1, 3652 } }, 1, true },
        { "a jump of a day", { { 1, 1, 1 }, { 1, 2, 2 }, { 1, 3, 4 } }, 1, true },
        { "a day back", { { 1, 1, 1 }, { 1, 2, 2 }, { 1, 3, 2 } }, 1, true },
        { "a jump that is taken back", { { 1, 1, 1 }, { 1, 2, 4 }, { 1, 3, 3 } }, 0, true },
        { "nothing counts after a jump", { { 1, 1, 1 }, { 1, 2, 4 }, { 1, 9, 11 } }, 0, true },
        { "back over a reboot", { { 1, 1, 5 }, { 2, 0, 4 } }, 0, true },
        { "forwards over a reboot: as if it had been off",
          { { 1, 1, 1 }, { 2, 0, 3652 }, { 2, 1, 3653 } },
          1,
          false },
        { "a clock that runs an hour a day fast", { { 1, 1, 1 }, { 1, 2, 2.04 } }, 0, true },
        { "half a minute of drift a day is no jump: the lesser counts",
          { { 1, 1, 1 }, { 1, 2, 2.0003 }, { 1, 3, 3 } },
          1.9997,
          false },
        { "time off counts once a witness has seen it pass",
          { { 1, 1, 1, 1 }, { 2, 0, 5 }, { 2, 1, 6, 6 } },
          5,
          false },
        { "... and once only",
          { { 1, 1, 1, 1 }, { 2, 0, 5, 5 }, { 2, 0, 5, 5 }, { 2, 1, 6, 6 } },
          5,
          false },
        { "... not by the first meeting", { { 1, 1, 1 }, { 2, 0, 5 }, { 2, 1, 6, 6 } }, 1, false },
        { "... not when the witness says another time than the wall clock",
          { { 1, 1, 1, 1 }, { 2, 0, 5 }, { 2, 1, 6, 5 } },
          1,
          false },
        { "... nor when the wall clock was set forwards and back while it was off",
          { { 1, 1, 1, 1 }, { 2, 0, 9 }, { 3, 0, 2 }, { 3, 1, 3, 3 } },
          0,
          true },
        { "... not what did not pass for the wall clock",
          { { 1, 1, 1, 1 }, { 2, 0, 2 }, { 2, 1, 3, 3 } },
          2,
          false },
        { "... and fourteen days at most, should both have been moved",
          { { 1, 1, 1, 1 }, { 2, 0, 3652 }, { 2, 1, 3653, 3653 } },
          15,
          false },
        { "a jump that the witness makes, too", { { 1, 1, 1, 1 }, { 1, 2, 99, 99 } }, 0, true },
        { "time since boot that goes back", { { 1, 5, 5 }, { 1, 4, 6 } }, 0, true },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct custody_vault c;
        struct dz_clock_guard g = { 0 };
        int64_t start, late;

        custody_open(&c, (uint8_t) i, 0, 0);
        for (size_t k = 0; k < 6 && rows[i].steps[k].boot > 0; k++) {
            const struct step *s = &rows[i].steps[k];
            struct dz_clock_sample now = { .up_us = (int64_t) (s->up_days * (double) DAY),
                                           .wall_us = (int64_t) (s->wall_days * (double) DAY) };

            (void) snprintf(now.boot, sizeof now.boot, "boot-%u", s->boot);
            assert_int_equal(dz_clock_tick(c.v, c.tmpfd, &now, 0, NULL, NULL), DZ_OK);
            if (s->witness_days > 0)
                meet(&c, (int64_t) (s->witness_days * (double) DAY));
        }
        trusted(&c, &g);
        start = 1; /* of the vault: custody_open() */
        late = g.trusted_us - start - (int64_t) (rows[i].trusted_days * (double) DAY);
        if (late < -MINUTE || late > MINUTE || g.frozen != rows[i].frozen)
            fail_msg("%s: %lld s, %s", rows[i].what, (long long) (g.trusted_us / 1000000),
                     g.frozen ? "frozen" : "not frozen");
        custody_close(&c);
    }
}

static unsigned count(struct dz_vault *v, uint16_t kind) {
    DZ_AUTO(dz_ledger) ledger = NULL;
    unsigned n = 0;

    assert_int_equal(dz_ledger_read(v, &ledger, NULL), DZ_OK);
    for (size_t i = 0; i < ledger->n; i++)
        n += ledger->leaves[i].kind == kind;
    return n;
}

static void a_young_tick_is_not_repeated_and_a_jump_alarms_once(void **state) {
    struct dz_clock_sample now = { .boot = "b", .up_us = DAY, .wall_us = DAY };
    struct custody_vault c;

    (void) state;
    custody_open(&c, 1, 0, 0);
    assert_int_equal(dz_clock_tick(c.v, c.tmpfd, &now, 3600, NULL, NULL), DZ_OK);
    now.up_us += 59 * MINUTE;
    now.wall_us += 59 * MINUTE;
    assert_int_equal(dz_clock_tick(c.v, c.tmpfd, &now, 3600, NULL, NULL), DZ_OK);
    assert_int_equal(count(c.v, DZ_LEAF_CLOCK_TICK), 1);
    now.up_us += MINUTE;
    now.wall_us += MINUTE;
    assert_int_equal(dz_clock_tick(c.v, c.tmpfd, &now, 3600, NULL, NULL), DZ_OK);
    assert_int_equal(count(c.v, DZ_LEAF_CLOCK_TICK), 2);
    now.wall_us += DAY;
    for (int i = 0; i < 3; i++)
        assert_int_equal(dz_clock_tick(c.v, c.tmpfd, &now, 3600, NULL, NULL), DZ_OK);
    assert_int_equal(count(c.v, DZ_LEAF_CLOCK_TICK), 3);
    assert_int_equal(count(c.v, DZ_LEAF_ALARM), 1);
    custody_close(&c);
}

static void a_tick_that_says_nothing_is_passed_over(void **state) {
    static const char *const texts[] = {
        "{}",
        "{\"boot\":\"b\",\"up_us\":-1,\"wall_us\":5}",
        "{\"boot\":\"b\",\"up_us\":\"1\",\"wall_us\":5}",
        "{\"boot\":\"b\",\"up_us\":1,\"wall_us\":9223372036854775807}",
        "{\"boot\":\"0123456789012345678901234567890123456789\",\"up_us\":1,\"wall_us\":5}",
    };
    struct dz_clock_sample now = { .boot = "b", .up_us = DAY, .wall_us = DAY };
    struct custody_vault c;
    struct dz_clock_guard g;

    (void) state;
    custody_open(&c, 2, 0, 0);
    assert_int_equal(dz_clock_tick(c.v, c.tmpfd, &now, 0, NULL, NULL), DZ_OK);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(dz_ledger_note(c.v, c.tmpfd, DZ_LEAF_CLOCK_TICK, 0, NULL, 0,
                                        json_loads(texts[i], 0, NULL), NULL, NULL),
                         DZ_OK);
    now.up_us += DAY;
    now.wall_us += DAY;
    assert_int_equal(dz_clock_tick(c.v, c.tmpfd, &now, 0, &g, NULL), DZ_OK);
    assert_int_equal(g.trusted_us, 1 + DAY);
    assert_int_equal(g.ticks, 2);
    assert_false(g.frozen);
    custody_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_history_gives_its_time),
        cmocka_unit_test(a_young_tick_is_not_repeated_and_a_jump_alarms_once),
        cmocka_unit_test(a_tick_that_says_nothing_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
