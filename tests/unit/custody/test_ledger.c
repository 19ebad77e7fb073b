/* What a custody leaf says comes back, in order, and only to who has this vault's keys. */
#include "tests/unit/custody/vault_fixture.h"

#include "custody/ledger.h"
#include "store/leaf_text.h"

static void leaves_come_back_in_order(void **state) {
    const dz_leaf_object object = { DZ_LEAF_OBJ_COMMIT, { 7 } };
    DZ_AUTO(dz_ledger) l = NULL;
    struct custody_vault c = { 0 };
    uint64_t index = 0;
    dz_err err = { 0 };

    (void) state;
    custody_open(&c, 1, 0, 0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(dz_ledger_note(c.v, c.tmpfd, DZ_LEAF_HOLD, (uint16_t) i, &object, 1,
                                        json_pack("{s:s}", "why", "an inquest"), &index, &err),
                         DZ_OK);
    assert_int_equal(index, 300);
    assert_int_equal(dz_ledger_read(c.v, &l, &err), DZ_OK);
    assert_int_equal(l->n, 301); /* with the genesis */
    assert_int_equal(l->size, 301);
    assert_int_equal(l->leaves[0].kind, DZ_LEAF_GENESIS);
    assert_null(l->leaves[0].text);
    for (size_t i = 1; i < l->n; i++) {
        assert_int_equal(l->leaves[i].index, i);
        assert_int_equal(l->leaves[i].flags, i - 1);
        assert_string_equal(dz_ledger_text(&l->leaves[i], "why"), "an inquest");
        assert_null(dz_ledger_text(&l->leaves[i], "who"));
        assert_int_equal(dz_ledger_object(&l->leaves[i], DZ_LEAF_OBJ_COMMIT, 0)->name[0], 7);
        assert_null(dz_ledger_object(&l->leaves[i], DZ_LEAF_OBJ_COMMIT, 1));
    }
    custody_close(&c);
}

static void a_text_belongs_to_its_kind_and_vault(void **state) {
    struct custody_vault c = { 0 }, other = { 0 };
    dz_autobuf dz_buf entry = { 0 }, text = { 0 };
    dz_leaf leaf;

    (void) state;
    custody_open(&c, 1, 0, 0);
    custody_open(&other, 2, 0, 0);
    assert_int_equal(
        dz_vault_note(c.v, c.tmpfd, DZ_LEAF_HOLD, 0, NULL, 0, DZ_SLICE_LIT("{}"), NULL, NULL),
        DZ_OK);
    assert_int_equal(dz_tlog_read(c.v->log, 1, &entry, NULL), DZ_OK);
    assert_int_equal(dz_leaf_read(dz_buf_slice(&entry), &leaf, NULL), DZ_OK);
    assert_int_equal(dz_leaf_text_open(c.v->host, &leaf, &text, NULL), DZ_OK);
    assert_true(dz_slice_eq(dz_buf_slice(&text), DZ_SLICE_LIT("{}")));
    assert_int_equal(dz_leaf_text_open(other.v->host, &leaf, &text, NULL), DZ_E_CORRUPT);
    leaf.kind = DZ_LEAF_RELEASE;
    assert_int_equal(dz_leaf_text_open(c.v->host, &leaf, &text, NULL), DZ_E_CORRUPT);
    leaf.kind = DZ_LEAF_HOLD;
    leaf.commitment[0] ^= 1;
    assert_int_equal(dz_leaf_text_open(c.v->host, &leaf, &text, NULL), DZ_E_CORRUPT);
    custody_close(&c);
    custody_close(&other);
}

static void a_text_that_is_too_long_is_refused(void **state) {
    static const uint8_t bytes[DZ_LEAF_PLAIN_MAX + 1];
    struct custody_vault c = { 0 };

    (void) state;
    custody_open(&c, 1, 0, 0);
    assert_int_equal(dz_vault_note(c.v, c.tmpfd, DZ_LEAF_HOLD, 0, NULL, 0,
                                   (dz_slice){ bytes, sizeof bytes - 1 }, NULL, NULL),
                     DZ_OK);
    assert_int_equal(dz_vault_note(c.v, c.tmpfd, DZ_LEAF_HOLD, 0, NULL, 0,
                                   (dz_slice){ bytes, sizeof bytes }, NULL, NULL),
                     DZ_E_LIMIT);
    custody_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_come_back_in_order),
        cmocka_unit_test(a_text_belongs_to_its_kind_and_vault),
        cmocka_unit_test(a_text_that_is_too_long_is_refused),
    };

    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
