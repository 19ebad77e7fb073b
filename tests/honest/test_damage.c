/* Every byte of the truth: flipped, cut off, deleted, swapped; verification finds it and names it.
 */
#include "core/durable.h"
#include "tests/honest/vault_fixture.h"

static struct fixture fx;
static struct findings found;

static void a_vault_that_nobody_touched_is_whole(void **state) {
    (void) state;
    for (int with = CLOSED; with <= WITH_DATA; with++) {
        fixture_copy(&fx);
        fixture_verify(&fx, fx.vault, (enum fixture_with) with, &found);
        if (found.n != 0 || found.not_opened)
            found_fail(&found, "damage where there is none");
        assert_int_equal(found.result.snapshots, FIXTURE_SNAPS);
        assert_int_equal(found.result.rebuilt, 0);
        assert_int_equal(found.result.leftovers, 0);
        assert_true(found.result.packs >= 3);
        assert_true(found.result.objects > 10);
        assert_int_equal(found.result.opened, with == WITH_DATA ? found.result.objects : 0);
    }
}

static int setup(void **state) {
    (void) state;
    fixture_make(&fx);
    return 0;
}

static int teardown(void **state) {
    (void) state;
    fixture_drop(&fx);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vault_that_nobody_touched_is_whole),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
