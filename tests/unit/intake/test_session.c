/* What a session kept is there for the next one, with a snapshot or without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/session.h"
#include "store/snapshot.h"
#include "tests/unit/intake/scratch.h"

static const char text[] = "a chunk that comes in two runs";

static struct dz_lane *begin(struct dz_vault *v, struct dz_session **ret_session) {
    struct dz_lane *lane;

    assert_int_equal(dz_session_begin(v, ret_session, NULL), DZ_OK);
    assert_int_equal(dz_session_lane(*ret_session, &lane, NULL), DZ_OK);
    return lane;
}

static void put(struct dz_lane *lane, dz_id *ret_id) {
    assert_int_equal(dz_lane_put(lane, DZ_KIND_DATA, DZ_SLICE_LIT(text), false, ret_id, NULL, NULL),
                     DZ_OK);
}

static bool has(struct dz_lane *lane, const dz_id *id) {
    bool yes;

    assert_int_equal(dz_lane_has(lane, DZ_KIND_DATA, id, &yes, NULL), DZ_OK);
    return yes;
}

static void a_session_has_what_it_took(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_session) session = NULL;
    struct dz_lane *lane;
    dz_id id, other = { { 1 } };
    bool node;

    scratch_vault(s);
    v = scratch_open(s, false);
    lane = begin(v, &session);
    put(lane, &id);
    assert_true(has(lane, &id));
    assert_false(has(lane, &other));
    assert_int_equal(dz_lane_has(lane, DZ_KIND_NODE, &id, &node, NULL), DZ_OK);
    assert_false(node); /* an object of another kind is another object */
}

static void what_is_kept_without_a_snapshot_is_there_for_the_next(void **state) {
    struct scratch *s = *state;
    const struct {
        const char *name;
        bool keep;
    } rows[] = { { "abandoned", false }, { "kept", true } };

    scratch_vault(s);
    for (size_t i = 0; i < 2; i++) {
        DZ_AUTO(dz_vault) v = scratch_open(s, false);
        struct dz_session *first = NULL;
        DZ_AUTO(dz_session) second = NULL;
        struct dz_snapshot none;
        dz_id id;

        put(begin(v, &first), &id);
        if (rows[i].keep)
            assert_int_equal(dz_session_keep(first, NULL), DZ_OK);
        dz_session_free(first);
        if (has(begin(v, &second), &id) != rows[i].keep)
            fail_msg("%s", rows[i].name);
        assert_int_equal(dz_snapshot_find(v, "latest", &none, NULL), DZ_E_NOT_FOUND);
    }
}

static void a_snapshot_may_be_given_its_id(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    const uint8_t id[DZ_SNAPSHOT_ID_BYTES] = "sixteen bytes id";

    scratch_vault(s);
    v = scratch_open(s, false);
    for (int given = 0; given < 2; given++) {
        DZ_AUTO(dz_session) session = NULL;
        struct dz_commit c = { .source = "s", .sent_bytes = 12345 };
        struct dz_snapshot snap;

        (void) begin(v, &session);
        if (given)
            memcpy(c.id, id, sizeof id);
        assert_int_equal(dz_session_commit(session, &c, NULL), DZ_OK);
        assert_int_equal(dz_snapshot_find(v, "latest:s", &snap, NULL), DZ_OK);
        assert_memory_equal(snap.commit.id, c.id, sizeof c.id);
        assert_int_equal(snap.commit.sent_bytes, 12345);
        assert_int_equal(memcmp(c.id, id, sizeof id) == 0, given);
        dz_snapshot_release(&snap);
        dz_commit_release(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_session_has_what_it_took, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(what_is_kept_without_a_snapshot_is_there_for_the_next,
                                        scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_may_be_given_its_id, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
