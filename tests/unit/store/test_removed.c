/* A snapshot is gone only by two leaves in their order, with six days between them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "store/removed.h"

#define DAY (INT64_C(86400) * 1000000)

enum { I = DZ_LEAF_PRUNE_INTENT, D = DZ_LEAF_PRUNE_DONE };

struct step {
    uint16_t kind; /* 0 ends the list */
    uint8_t type, name;
    int64_t time_us;
};

static const struct row {
    const char *what;
    struct step steps[5];
    bool gone; /* record 7 */
} rows[] = {
    { "nothing", { { 0 } }, false },
    { "announced only", { { I, 1, 7, 0 } }, false },
    { "removed, never announced", { { D, 1, 7, 9 * DAY } }, false },
    { "announced, and removed six days later", { { I, 1, 7, 0 }, { D, 1, 7, 6 * DAY } }, true },
    { "a microsecond too early", { { I, 1, 7, 0 }, { D, 1, 7, 6 * DAY - 1 } }, false },
    { "removed before it was announced", { { D, 1, 7, 9 * DAY }, { I, 1, 7, 0 } }, false },
    { "another was announced", { { I, 1, 8, 0 }, { D, 1, 7, 9 * DAY } }, false },
    { "another was removed", { { I, 1, 7, 0 }, { D, 1, 8, 9 * DAY } }, false },
    { "announced twice, the first time in time",
      { { I, 1, 7, 0 }, { I, 1, 7, 8 * DAY }, { D, 1, 7, 9 * DAY } },
      true },
    { "removed twice, the second time in time",
      { { I, 1, 7, 0 }, { D, 1, 7, DAY }, { D, 1, 7, 9 * DAY } },
      true },
    { "objects of another type", { { I, 2, 7, 0 }, { D, 2, 7, 9 * DAY } }, false },
    { "times as far apart as can be", { { I, 1, 7, INT64_MIN }, { D, 1, 7, INT64_MAX } }, true },
    { "the same backwards", { { I, 1, 7, INT64_MAX }, { D, 1, 7, INT64_MIN } }, false },
    { "leaves of other kinds", { { DZ_LEAF_HOLD, 1, 7, 0 }, { D, 1, 7, 9 * DAY } }, false },
};

static void take(struct dz_removed *r, const struct step *s) {
    dz_leaf_object object = { .type = s->type, .name = { s->name } };
    const dz_leaf leaf = {
        .kind = s->kind, .time_us = s->time_us, .objects = &object, .object_count = 1
    };

    assert_int_equal(dz_removed_take(r, &leaf, NULL), DZ_OK);
}

static void each_history_has_its_answer_both_ways(void **state) {
    const uint8_t seven[DZ_SHA256_BYTES] = { 7 };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DZ_AUTO(dz_removed) forwards = NULL;
        DZ_AUTO(dz_removed) backwards = NULL;
        size_t n = 0;

        assert_int_equal(dz_removed_new(false, &forwards, NULL), DZ_OK);
        assert_int_equal(dz_removed_new(true, &backwards, NULL), DZ_OK);
        for (; rows[i].steps[n].kind; n++)
            take(forwards, &rows[i].steps[n]);
        while (n-- > 0)
            take(backwards, &rows[i].steps[n]);
        if (dz_removed_snapshot(forwards, seven) != rows[i].gone)
            fail_msg("%s", rows[i].what);
        if (dz_removed_snapshot(backwards, seven) != rows[i].gone)
            fail_msg("%s, read backwards", rows[i].what);
    }
}

static void packs_are_removed_by_one_leaf(void **state) {
    const uint8_t seven[DZ_SHA256_BYTES] = { 7 };
    DZ_AUTO(dz_removed) r = NULL;

    (void) state;
    assert_int_equal(dz_removed_new(false, &r, NULL), DZ_OK);
    take(r, &(struct step){ I, DZ_LEAF_OBJ_PACK, 7, 0 });
    assert_false(dz_removed_pack(r, seven));
    take(r, &(struct step){ D, DZ_LEAF_OBJ_PACK, 7, 0 });
    assert_true(dz_removed_pack(r, seven));
    assert_false(dz_removed_snapshot(r, seven));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_history_has_its_answer_both_ways),
        cmocka_unit_test(packs_are_removed_by_one_leaf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
