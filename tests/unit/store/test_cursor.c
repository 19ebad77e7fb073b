#include "store/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/node.h"
#include "tests/unit/store/model_tree.h"

static void random_tree(struct model_tree *t, struct rng *r, size_t count) {
    while (t->count < count)
        random_change(t, r);
}

static size_t model_behind(const struct model_tree *t, size_t at) {
    dz_slice dir = t->entries[at].e.path;

    while (at < t->count && dz_path_within(t->entries[at].e.path, dir))
        at++;
    return at;
}

static void assert_next_is(struct dz_cursor *c, const struct model_tree *t, size_t at) {
    dz_err err = { 0 };
    bool end = false;
    dz_entry e;

    if (dz_cursor_next(c, &e, &end, &err) != DZ_OK)
        fail_msg("next: %s", err.what);
    assert_int_equal(end, at == t->count);
    if (!end)
        assert_true(entries_equal(&e, &t->entries[at].e));
}

static void cursors_go_where_the_sorted_array_goes(void **state) {
    (void) state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
        DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
        struct rng r = rng_start("cursor", seed);
        struct dz_source source = dz_memory_source(m);
        DZ_AUTO(dz_cursor) c = NULL;
        dz_manifest_root root;
        size_t at = 0; /* what next gives */
        bool given = false;

        random_tree(&t, &r, seed == 1 ? 40 : 5000);
        root = model_tree_build(&t, m);
        assert_int_equal(dz_cursor_new(&source, &root, &c, NULL), DZ_OK);
        for (int i = 0; i < 6000; i++) {
            dz_autobuf dz_buf path = { 0 };
            size_t hit;
            dz_entry e;

            random_path(&r, &path);
            if (rng_below(&r, 2))
                dz_buf_clear(&path),
                    dz_buf_put_slice(&path, t.entries[rng_below(&r, t.count)].e.path);
            hit = model_tree_find(&t, dz_buf_slice(&path));
            switch (rng_below(&r, 8)) {
            case 0:
                assert_int_equal(dz_cursor_seek(c, dz_buf_slice(&path), NULL), DZ_OK);
                at = hit;
                given = false;
                break;
            case 1:
                if (hit < t.count && dz_slice_eq(t.entries[hit].e.path, dz_buf_slice(&path))) {
                    assert_int_equal(dz_cursor_find(c, dz_buf_slice(&path), &e, NULL), DZ_OK);
                    assert_true(entries_equal(&e, &t.entries[hit].e));
                    at = hit + 1;
                    given = true;
                } else {
                    assert_int_equal(dz_cursor_find(c, dz_buf_slice(&path), &e, NULL),
                                     DZ_E_NOT_FOUND);
                    at = hit;
                    given = false;
                }
                break;
            case 2:
                assert_int_equal(dz_cursor_skip_below(c, NULL), given ? DZ_OK : DZ_E_USAGE);
                if (given)
                    at = model_behind(&t, at - 1);
                given = false;
                break;
            default:
                assert_next_is(c, &t, at);
                given = at < t.count;
                at += given;
                break;
            }
        }
    }
}

static void finding_a_path_reads_one_node_per_level(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    struct rng r = rng_start("find", 3);
    struct dz_source source = dz_memory_source(m);
    dz_manifest_root root;

    (void) state;
    random_tree(&t, &r, 8000);
    root = model_tree_build(&t, m);
    for (int i = 0; i < 100; i++) {
        DZ_AUTO(dz_cursor) c = NULL;
        size_t gets = dz_memory_objects_stats(m).gets;
        dz_entry e;
        assert_int_equal(dz_cursor_new(&source, &root, &c, NULL), DZ_OK);
        assert_int_equal(dz_cursor_find(c, t.entries[rng_below(&r, t.count)].e.path, &e, NULL),
                         DZ_OK);
        assert_int_equal(dz_memory_objects_stats(m).gets - gets, root.depth + 1u);
    }
}

static void a_directory_that_is_skipped_is_not_read(void **state) {
    enum { COUNT = 100000 };
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    struct dz_source source = dz_memory_source(m);
    DZ_AUTO(dz_cursor) c = NULL;
    dz_manifest_root root;
    size_t gets, n = 0;
    dz_entry e;
    bool end = false;

    (void) state;
    model_tree_set(&t, &(dz_entry){ .path = DZ_SLICE_LIT("large"), .type = DZ_ENTRY_DIR });
    for (unsigned i = 0; i < COUNT; i++) {
        char path[32];
        (void) snprintf(path, sizeof path, "large/file%06u", i);
        model_tree_set(&t, &(dz_entry){ .path = { (const uint8_t *) path, strlen(path) },
                                        .type = DZ_ENTRY_FILE });
    }
    model_tree_set(&t, &(dz_entry){ .path = DZ_SLICE_LIT("large!"), .type = DZ_ENTRY_FILE });
    root = model_tree_build(&t, m);
    assert_int_equal(dz_cursor_new(&source, &root, &c, NULL), DZ_OK);
    assert_int_equal(dz_cursor_next(c, &e, &end, NULL), DZ_OK);
    gets = dz_memory_objects_stats(m).gets;
    assert_int_equal(dz_cursor_skip_below(c, NULL), DZ_OK);
    assert_int_equal(dz_cursor_next(c, &e, &end, NULL), DZ_OK);
    assert_true(dz_slice_eq(e.path, DZ_SLICE_LIT("large!")));
    assert_in_range(dz_memory_objects_stats(m).gets - gets, 0, 6);
    assert_int_equal(dz_cursor_seek(c, (dz_slice){ 0 }, NULL), DZ_OK);
    for (end = false; !end; n += !end)
        assert_int_equal(dz_cursor_next(c, &e, &end, NULL), DZ_OK);
    assert_int_equal(n, COUNT + 2);
}

/* Loses or forges each node in turn: the cursor names it, and reads all that is not below it. */
static void a_lost_node_is_named_and_passed_by(void **state) {
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    struct rng r = rng_start("lost", 5);
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    struct dz_source source = dz_memory_source(m);
    dz_manifest_root root;

    (void) state;
    random_tree(&t, &r, 3000);
    root = model_tree_build(&t, m);
    assert_true(root.depth > 0);
    for (size_t n = 0; n < dz_memory_objects_count(m); n++) {
        DZ_AUTO(dz_cursor) c = NULL;
        dz_autobuf dz_buf keep = { 0 };
        uint64_t entries = 0, lost = 0;
        enum dz_kind kind;
        dz_slice bytes, first;
        dz_entry e;
        dz_err err = { 0 };
        bool end = false;
        dz_id id;

        dz_memory_objects_at(m, n, &kind, &id, &bytes);
        if (kind != DZ_KIND_NODE)
            continue;
        dz_buf_put_slice(&keep, bytes);
        if (n % 2)
            dz_memory_objects_forge(m, kind, &id, (dz_slice){ keep.data, keep.len - 1 });
        else
            dz_memory_objects_forge(m, kind, &id, DZ_SLICE_LIT("L\x01\0\0"));
        assert_int_equal(dz_cursor_new(&source, &root, &c, NULL), DZ_OK);
        while (!end) {
            dz_status status = dz_cursor_next(c, &e, &end, &err);
            if (status == DZ_OK) {
                entries += !end;
                continue;
            }
            assert_int_equal(status, DZ_E_CORRUPT);
            assert_non_null(strstr(err.what, "manifest node "));
            if (dz_cursor_skip_lost(c, &first, &lost, NULL) != DZ_OK) {
                lost = root.entries; /* the root itself */
                break;
            }
            assert_true(dz_slice_eq(first, t.entries[entries].e.path));
        }
        assert_true(lost > 0);
        assert_int_equal(entries + lost, root.entries);
        dz_memory_objects_forge(m, kind, &id, dz_buf_slice(&keep));
    }
}

static dz_id put(struct dz_memory_objects *m, dz_slice bytes) {
    struct dz_sink sink = dz_memory_sink(m);
    dz_id id = { 0 };

    assert_int_equal(sink.put(sink.ctx, DZ_KIND_NODE, bytes, &id, NULL), DZ_OK);
    return id;
}

#define RECORD "\x08\x01\x00\x00\x00\x00\x00\x00\x00"

/* Two leaves, {b, d} and {f, h}, under an inner node that tells the truth or lies about them. */
static void nodes_that_disagree_are_refused(void **state) {
    static const struct {
        const char *why;
        const char *first, *second; /* first paths promised */
        uint64_t entries;           /* of the first leaf, promised */
        uint8_t height, depth;
        bool swap, same;
        dz_status status;
    } rows[] = {
        { "the truth", "b", "f", 2, 1, 1, false, false, DZ_OK },
        { "another first path", "c", "f", 2, 1, 1, false, false, DZ_E_CORRUPT },
        { "an earlier first path", "a", "f", 2, 1, 1, false, false, DZ_E_CORRUPT },
        { "more entries", "b", "f", 3, 1, 1, false, false, DZ_E_CORRUPT },
        { "no entries", "b", "f", 0, 1, 1, false, false, DZ_E_CORRUPT },
        { "overlapping leaves", "b", "c", 2, 1, 1, false, false, DZ_E_CORRUPT },
        { "leaves in the wrong order", "f", "b", 2, 1, 1, true, false, DZ_E_CORRUPT },
        { "the same leaf twice", "b", "b", 2, 1, 1, false, true, DZ_E_CORRUPT },
        { "height 2 over leaves", "b", "f", 2, 2, 2, false, false, DZ_E_CORRUPT },
        { "another height than the root says", "b", "f", 2, 1, 2, false, false, DZ_E_CORRUPT },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
        struct dz_source source = dz_memory_source(m);
        DZ_AUTO(dz_cursor) c = NULL;
        dz_id low = put(m, DZ_SLICE_LIT("L\x01\0\0\x00\x01"
                                        "b" RECORD "\x00\x01"
                                        "d" RECORD));
        dz_id high = put(m, DZ_SLICE_LIT("L\x01\0\0\x00\x01"
                                         "f" RECORD "\x00\x01"
                                         "h" RECORD));
        dz_inner_item a = { .path = { (const uint8_t *) rows[i].first, 1 },
                            .node = rows[i].swap ? high : low,
                            .entries = rows[i].entries };
        dz_inner_item b = { .path = { (const uint8_t *) rows[i].second, 1 },
                            .node = rows[i].swap || rows[i].same ? low : high,
                            .entries = 2 };
        dz_autobuf dz_buf inner = { 0 };
        dz_manifest_root root = { .depth = rows[i].depth, .entries = rows[i].entries + 2 };
        dz_status status = DZ_OK;
        dz_err err = { 0 };
        bool end = false;
        dz_entry e;

        dz_node_header_put(&inner, DZ_NODE_INNER);
        dz_buf_put_u8(&inner, rows[i].height);
        dz_inner_item_put(&a, (dz_slice){ 0 }, &inner);
        dz_inner_item_put(&b, a.path, &inner);
        root.node = put(m, dz_buf_slice(&inner));
        assert_int_equal(dz_cursor_new(&source, &root, &c, NULL), DZ_OK);
        while (status == DZ_OK && !end)
            status = dz_cursor_next(c, &e, &end, &err);
        if (status != rows[i].status)
            fail_msg("%s: %s %s", rows[i].why, dz_status_name(status), err.what);
        if (status != DZ_OK)
            assert_non_null(strstr(err.what, "manifest node "));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursors_go_where_the_sorted_array_goes),
        cmocka_unit_test(finding_a_path_reads_one_node_per_level),
        cmocka_unit_test(a_directory_that_is_skipped_is_not_read),
        cmocka_unit_test(a_lost_node_is_named_and_passed_by),
        cmocka_unit_test(nodes_that_disagree_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
