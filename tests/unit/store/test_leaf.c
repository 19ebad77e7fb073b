/* A leaf is read back as it was written, and has one spelling only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hex.h"
#include "store/leaf.h"

static dz_leaf_object objects[DZ_LEAF_OBJECTS_MAX];
static uint8_t text[DZ_LEAF_TEXT_MAX];

static void what_was_written_is_read(void **state) {
    static const struct {
        const char *name;
        dz_leaf leaf;
    } rows[] = {
        { "nothing but kind and time", { .kind = DZ_LEAF_CLOCK_TICK, .time_us = 1 } },
        { "a time before 1970", { .kind = DZ_LEAF_CLOCK_EVENT, .time_us = INT64_MIN } },
        { "one object", { .kind = DZ_LEAF_COMMIT, .objects = objects, .object_count = 1 } },
        { "text and flags",
          { .kind = DZ_LEAF_HOLD,
            .flags = 0xffff,
            .commitment = { 1, 2 },
            .sealed = { text, 9 } } },
        { "all that fits",
          { .kind = DZ_LEAF_APPROVE,
            .objects = objects,
            .object_count = DZ_LEAF_OBJECTS_MAX,
            .sealed = { text, DZ_LEAF_TEXT_MAX } } },
        { "a kind of a later version", { .kind = 999 } },
        { "fields of a later version",
          { .kind = 1, .more = { (const uint8_t *) "\1\0\7\2ab", 6 } } },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const dz_leaf *want = &rows[i].leaf;
        dz_autobuf dz_buf b = { 0 }, again = { 0 };
        dz_leaf have;

        if (dz_leaf_write(want, &b, NULL) != DZ_OK ||
            dz_leaf_read(dz_buf_slice(&b), &have, NULL) != DZ_OK)
            fail_msg("%s", rows[i].name);
        assert_int_equal(have.kind, want->kind);
        assert_int_equal(have.flags, want->flags);
        assert_true(have.time_us == want->time_us);
        assert_int_equal(have.object_count, want->object_count);
        if (have.object_count > 0)
            assert_memory_equal(have.objects, want->objects, 33 * have.object_count);
        assert_memory_equal(have.commitment, want->commitment, 32);
        assert_true(dz_slice_eq(have.sealed, want->sealed));
        assert_true(dz_slice_eq(have.more, want->more));
        assert_int_equal(dz_leaf_write(&have, &again, NULL), DZ_OK);
        assert_true(dz_slice_eq(dz_buf_slice(&b), dz_buf_slice(&again)));
        for (size_t len = 0; len < 54; len++)
            assert_int_not_equal(dz_leaf_read((dz_slice){ b.data, len }, &have, NULL), DZ_OK);
    }
}

static void what_does_not_fit_is_refused(void **state) {
    dz_leaf many = { .kind = 1, .objects = objects, .object_count = DZ_LEAF_OBJECTS_MAX + 1 };
    dz_leaf long_text = { .kind = 1, .sealed = { text, DZ_LEAF_TEXT_MAX + 1 } };
    dz_leaf no_kind = { 0 };
    dz_leaf bad_more = { .kind = 1, .more = { (const uint8_t *) "\2\0\1\0", 4 } };
    dz_autobuf dz_buf b = { 0 };
    dz_leaf leaf = { .kind = 1 };

    (void) state;
    assert_int_equal(dz_leaf_write(&many, &b, NULL), DZ_E_LIMIT);
    assert_int_equal(dz_leaf_write(&long_text, &b, NULL), DZ_E_LIMIT);
    assert_int_equal(dz_leaf_write(&no_kind, &b, NULL), DZ_E_USAGE);
    assert_int_equal(dz_leaf_write(&bad_more, &b, NULL), DZ_E_USAGE);
    assert_int_equal(b.len, 0);
    assert_int_equal(dz_leaf_write(&leaf, &b, NULL), DZ_OK);
    b.data[4] = 2;
    assert_int_equal(dz_leaf_read(dz_buf_slice(&b), &leaf, NULL), DZ_E_UNSUPPORTED);
    b.data[4] = 1;
    b.data[6] = 1;
    assert_int_equal(dz_leaf_read(dz_buf_slice(&b), &leaf, NULL), DZ_E_UNSUPPORTED);
    b.data[6] = 0;
    b.data[20] = 1; /* an object that is not there */
    assert_int_equal(dz_leaf_read(dz_buf_slice(&b), &leaf, NULL), DZ_E_MALFORMED);
}

static void the_commitment_is_salted_sha256(void **state) {
    const uint8_t salt[16] = { 0 };
    uint8_t have[32], want[32];

    (void) state;
    dz_leaf_commit_text(salt, (dz_slice){ 0 }, have);
    assert_true(dz_unhex("374708fff7719dd5979ec875d56cd2286f6d3cf7ec317a3b25632aab28ec37bb", 64,
                         want, 32)); /* SHA-256 of 16 zero bytes */
    assert_memory_equal(have, want, 32);
}

static void kinds_have_names(void **state) {
    (void) state;
    assert_string_equal(dz_leaf_kind_name(DZ_LEAF_PRUNE_INTENT), "prune-intent");
    assert_string_equal(dz_leaf_kind_name(DZ_LEAF_APPROVE), "approve");
    assert_string_equal(dz_leaf_kind_name(0), "unknown");
    assert_string_equal(dz_leaf_kind_name(65535), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(the_commitment_is_salted_sha256),
        cmocka_unit_test(kinds_have_names),
    };

    return cmocka_run_group_tests_name("log leaves", tests, NULL, NULL);
}
