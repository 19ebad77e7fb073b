#include "store/entry.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/store/model_tree.h"

static dz_slice text(const char *s) {
    return (dz_slice){ (const uint8_t *) s, strlen(s) };
}

static void a_directory_comes_right_before_all_below_it(void **state) {
    static const char *const ascending[] = { "",     "a",      "a/b",     "a/b/c", "a/b!",
                                             "a/c",  "a\x01",  "a\x01/x", "a ",    "a!",
                                             "a!/z", "a-",     "a.",      "a0",    "aa",
                                             "b",    "b/\xff", "\xff",    "\xff/a" };

    (void) state;
    for (size_t i = 0; i < sizeof ascending / sizeof ascending[0]; i++)
        for (size_t k = 0; k < sizeof ascending / sizeof ascending[0]; k++) {
            int order = dz_path_cmp(text(ascending[i]), text(ascending[k]));
            assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
        }
}

static void a_path_is_within_a_directory_only_at_a_slash(void **state) {
    static const struct {
        const char *path, *dir;
        bool within;
    } rows[] = {
        { "a", "", true },     { "", "", true },     { "a/b", "a", true },
        { "a", "a", true },    { "ab", "a", false }, { "a!", "a", false },
        { "a", "a/b", false }, { "", "a", false },   { "a/bc", "a/b", false },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(dz_path_within(text(rows[i].path), text(rows[i].dir)), rows[i].within);
}

static void what_may_not_stand_in_a_manifest_is_no_path(void **state) {
    static const char *const bad[] = { "/",   "/a",   "a/",  "a//b", ".",     "..",
                                       "a/.", "a/..", "./a", "../a", "a/./b", "a/../b" };
    static const char *const good[] = {
        "", "a", "...", ".a", "..a", "a/...", "a/.b/c..", "\xff\n"
    };

    (void) state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(dz_path_ok(text(bad[i])));
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(dz_path_ok(text(good[i])));
    assert_false(dz_path_ok(DZ_SLICE_LIT("a\0b")));
}

static void entries_that_make_no_sense_are_refused(void **state) {
    const dz_entry good = { .path = DZ_SLICE_LIT("a/b"),
                            .type = DZ_ENTRY_FILE,
                            .mode = 0644,
                            .size = 5,
                            .fields = DZ_SLICE_LIT("\x01\x01x\x03\x00") };
    struct {
        const char *why;
        dz_entry e;
        dz_status status;
    } rows[] = {
        { "good as it is", good, DZ_OK },
        { "type 0", good, DZ_E_USAGE },
        { "type 8", good, DZ_E_USAGE },
        { "mode with the type's bits", good, DZ_E_USAGE },
        { "10^9 nanoseconds", good, DZ_E_USAGE },
        { "a directory with a size", good, DZ_E_USAGE },
        { "tags that descend", good, DZ_E_USAGE },
        { "a tag twice", good, DZ_E_USAGE },
        { "a field that is cut short", good, DZ_E_USAGE },
        { "tag 0", good, DZ_E_USAGE },
        { "the root as a file", good, DZ_E_USAGE },
        { "a path with a dot", good, DZ_E_USAGE },
        { "fields beyond the limit", good, DZ_E_LIMIT },
        { "a path beyond the limit", good, DZ_E_LIMIT },
    };
    dz_autobuf dz_buf large = { 0 }, fields = { 0 };

    (void) state;
    memset(dz_buf_extend(&large, DZ_ENTRY_MAX), 'a', DZ_ENTRY_MAX);
    dz_entry_put_field(&fields, DZ_TAG_XATTRS, dz_buf_slice(&large));
    rows[1].e.type = 0;
    rows[2].e.type = 8;
    rows[3].e.mode = 0100644;
    rows[4].e.mtime_ns = 1000000000;
    rows[5].e.type = DZ_ENTRY_DIR;
    rows[6].e.fields = DZ_SLICE_LIT("\x03\x00\x01\x01x");
    rows[7].e.fields = DZ_SLICE_LIT("\x03\x00\x03\x00");
    rows[8].e.fields = DZ_SLICE_LIT("\x03\x05x");
    rows[9].e.fields = DZ_SLICE_LIT("\x00\x00");
    rows[10].e.path = DZ_SLICE_LIT("");
    rows[11].e.path = DZ_SLICE_LIT("a/./b");
    rows[12].e.fields = dz_buf_slice(&fields);
    rows[13].e.path = (dz_slice){ large.data, DZ_PATH_MAX + 1 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dz_err err = { 0 };
        if (dz_entry_check(&rows[i].e, &err) != rows[i].status)
            fail_msg("%s: %s", rows[i].why, err.what);
    }
}

static void entries_are_read_back_as_they_were(void **state) {
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    struct rng r = rng_start("entries", 7);
    dz_autobuf dz_buf bytes = { 0 }, again = { 0 }, path = { 0 };
    dz_slice previous = { 0 };
    dz_reader in;

    (void) state;
    model_tree_set(&t, &(dz_entry){ .type = DZ_ENTRY_DIR, .mode = 0755, .mtime_s = INT64_MIN });
    model_tree_set(&t, &(dz_entry){ .path = DZ_SLICE_LIT("a"),
                                    .type = DZ_ENTRY_FILE,
                                    .mode = 07777,
                                    .uid = UINT32_MAX,
                                    .gid = UINT32_MAX,
                                    .mtime_s = INT64_MAX,
                                    .mtime_ns = 999999999,
                                    .size = UINT64_MAX,
                                    .flags = UINT32_MAX });
    for (int i = 0; i < 3000; i++)
        random_change(&t, &r);
    for (size_t i = 0; i < t.count; i++) {
        size_t before = bytes.len, size = dz_entry_encoded_size(&t.entries[i].e, previous);
        dz_entry_encode(&t.entries[i].e, previous, &bytes);
        assert_int_equal(bytes.len - before, size);
        previous = t.entries[i].e.path;
    }
    in = dz_reader_over(dz_buf_slice(&bytes));
    previous = (dz_slice){ 0 };
    for (size_t i = 0; i < t.count; i++) {
        dz_err err = { 0 };
        dz_entry e;
        if (dz_entry_decode(&in, i == 0, &path, &e, &err) != DZ_OK)
            fail_msg("%s", err.what);
        assert_true(entries_equal(&e, &t.entries[i].e));
        dz_entry_encode(&e, previous, &again);
        previous = t.entries[i].e.path;
    }
    assert_true(dz_reader_done(&in));
    assert_true(dz_slice_eq(dz_buf_slice(&bytes), dz_buf_slice(&again)));
}

/* shared, suffix length, suffix, record length, type, mode, uid, gid, mtime_s, ns, size, flags */
#define RECORD "\x08\x01\x00\x00\x00\x00\x00\x00\x00"

static void hostile_entries_are_refused(void **state) {
    static const struct {
        const char *why;
        dz_slice bytes; /* after an entry with the path "d/f" */
        dz_status status;
    } rows[] = {
        { "good: d/g", DZ_SLICE_LIT("\x02\x01g" RECORD), DZ_OK },
        { "shares more than there is", DZ_SLICE_LIT("\x04\x01g" RECORD), DZ_E_CORRUPT },
        { "the same path again", DZ_SLICE_LIT("\x03\x00" RECORD), DZ_E_CORRUPT },
        { "a path before: d", DZ_SLICE_LIT("\x01\x00" RECORD), DZ_E_CORRUPT },
        { "a path before: d/e",
          DZ_SLICE_LIT("\x02\x01"
                       "e" RECORD),
          DZ_E_CORRUPT },
        { "shares less than it could", DZ_SLICE_LIT("\x01\x02/g" RECORD), DZ_E_CORRUPT },
        { "shares nothing of d/g",
          DZ_SLICE_LIT("\x00\x03"
                       "d/g" RECORD),
          DZ_E_CORRUPT },
        { "a NUL", DZ_SLICE_LIT("\x02\x02g\0" RECORD), DZ_E_CORRUPT },
        { "ends in a slash", DZ_SLICE_LIT("\x03\x01/" RECORD), DZ_E_CORRUPT },
        { "a dot", DZ_SLICE_LIT("\x03\x02/." RECORD), DZ_E_CORRUPT },
        { "two dots", DZ_SLICE_LIT("\x03\x05/../x" RECORD), DZ_E_CORRUPT },
        { "two slashes", DZ_SLICE_LIT("\x03\x03//x" RECORD), DZ_E_CORRUPT },
        { "a long number", DZ_SLICE_LIT("\x82\x00\x01g" RECORD), DZ_E_CORRUPT },
        { "record too short", DZ_SLICE_LIT("\x02\x01g\x07\x01\x00\x00\x00\x00\x00\x00"),
          DZ_E_CORRUPT },
        { "record cut off", DZ_SLICE_LIT("\x02\x01g\x08\x01\x00"), DZ_E_CORRUPT },
        { "type 9", DZ_SLICE_LIT("\x02\x01g\x08\x09\x00\x00\x00\x00\x00\x00\x00"), DZ_E_CORRUPT },
        { "mode 010000", DZ_SLICE_LIT("\x02\x01g\x09\x01\x80\x20\x00\x00\x00\x00\x00\x00"),
          DZ_E_CORRUPT },
        { "half a field", DZ_SLICE_LIT("\x02\x01g\x0a\x01\x00\x00\x00\x00\x00\x00\x00\x01\x01"),
          DZ_E_CORRUPT },
        { "nothing", DZ_SLICE_LIT(""), DZ_E_CORRUPT },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dz_autobuf dz_buf path = { 0 };
        dz_reader r = dz_reader_over(rows[i].bytes);
        dz_err err = { 0 };
        dz_entry e;

        dz_buf_put_slice(&path, DZ_SLICE_LIT("d/f"));
        if (dz_entry_decode(&r, false, &path, &e, &err) != rows[i].status)
            fail_msg("%s: %s", rows[i].why, err.what);
    }
}

static void a_field_is_found_by_its_tag(void **state) {
    dz_autobuf dz_buf fields = { 0 };
    dz_entry e = { 0 };

    (void) state;
    dz_entry_put_field(&fields, DZ_TAG_CONTENT, DZ_SLICE_LIT("c"));
    dz_entry_put_field(&fields, DZ_TAG_TARGET, DZ_SLICE_LIT(""));
    dz_entry_put_field(&fields, DZ_TAG_FEATURES, DZ_SLICE_LIT("ff"));
    e.fields = dz_buf_slice(&fields);
    assert_int_equal(dz_entry_field(&e, DZ_TAG_CONTENT).len, 1);
    assert_non_null(dz_entry_field(&e, DZ_TAG_TARGET).data);
    assert_int_equal(dz_entry_field(&e, DZ_TAG_FEATURES).len, 2);
    assert_null(dz_entry_field(&e, DZ_TAG_XATTRS).data);
    assert_null(dz_entry_field(&e, DZ_TAG_CLASS).data);
}

enum { END = 777 };

static void the_content_of_an_entry_is_its_size_or_its_extents(void **state) {
    static const struct {
        const char *name;
        uint64_t size;
        uint64_t extents[5]; /* hole, data, hole, data, end */
        bool ok;
        uint64_t content;
    } rows[] = {
        /* clang-format off */
        { "without holes it is the size",       10, { END },             true,  10 },
        { "nothing but a hole",                 10, { 10, 0, END },      true,  0  },
        { "two runs of data",                   10, { 1, 2, 3, 4, END }, true,  6  },
        { "a hole at the end needs no words",   10, { 1, 2, END },       true,  2  },
        { "data beyond the end",                10, { 1, 2, 3, 5, END }, false, 0  },
        { "a hole beyond the end",              10, { 11, 0, END },      false, 0  },
        { "a sum that goes round",              10, { 1, UINT64_MAX - 1, END }, false, 0 },
        { "a hole without data",                10, { 5, END },          false, 0  },
        { "larger than files get",      1ULL << 63, { END },             false, 0  },
        /* clang-format on */
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_autobuf dz_buf extents = { 0 }, fields = { 0 };
        dz_entry e = { .type = DZ_ENTRY_FILE, .size = rows[i].size };
        uint64_t content = 0;

        for (size_t k = 0; k < 5 && rows[i].extents[k] != END; k++)
            dz_buf_put_varint(&extents, rows[i].extents[k]);
        if (extents.len > 0)
            dz_entry_put_field(&fields, DZ_TAG_EXTENTS, dz_buf_slice(&extents));
        e.fields = dz_buf_slice(&fields);
        if (dz_entry_content_bytes(&e, &content) != rows[i].ok || content != rows[i].content)
            fail_msg("%s", rows[i].name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_comes_right_before_all_below_it),
        cmocka_unit_test(a_path_is_within_a_directory_only_at_a_slash),
        cmocka_unit_test(what_may_not_stand_in_a_manifest_is_no_path),
        cmocka_unit_test(entries_that_make_no_sense_are_refused),
        cmocka_unit_test(entries_are_read_back_as_they_were),
        cmocka_unit_test(hostile_entries_are_refused),
        cmocka_unit_test(a_field_is_found_by_its_tag),
        cmocka_unit_test(the_content_of_an_entry_is_its_size_or_its_extents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
