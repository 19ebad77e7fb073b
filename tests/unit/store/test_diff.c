#include "store/diff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/store/model_tree.h"

/* Walks both arrays beside the diff: each call must be the next difference of the arrays. */
struct expect {
    const struct model_tree *a, *b;
    size_t at_a, at_b;
    size_t calls;
};

/* The next difference by the arrays; false when there is none. */
static bool expect_next(struct expect *x, enum dz_change *change, const dz_entry **before,
                        const dz_entry **after) {
    while (x->at_a < x->a->count || x->at_b < x->b->count) {
        const dz_entry *a = x->at_a < x->a->count ? &x->a->entries[x->at_a].e : NULL;
        const dz_entry *b = x->at_b < x->b->count ? &x->b->entries[x->at_b].e : NULL;
        int order = !a ? 1 : !b ? -1 : dz_path_cmp(a->path, b->path);

        x->at_a += order <= 0;
        x->at_b += order >= 0;
        *before = order <= 0 ? a : NULL;
        *after = order >= 0 ? b : NULL;
        *change = order < 0   ? DZ_CHANGE_REMOVED
                  : order > 0 ? DZ_CHANGE_ADDED
                              : dz_entry_compare(a, b);
        if (*change != 0)
            return true;
    }
    return false;
}

static dz_status check(void *ctx, enum dz_change change, const dz_entry *before,
                       const dz_entry *after, dz_err *err) {
    struct expect *x = ctx;
    const dz_entry *a, *b;
    enum dz_change expected;

    (void) err;
    assert_true(expect_next(x, &expected, &a, &b));
    assert_int_equal(change, expected);
    assert_int_equal(before != NULL, a != NULL);
    assert_int_equal(after != NULL, b != NULL);
    assert_true(!a || entries_equal(a, before));
    assert_true(!b || entries_equal(b, after));
    x->calls++;
    return DZ_OK;
}

static size_t assert_diff(struct dz_memory_objects *m, const struct model_tree *a,
                          const dz_manifest_root *root_a, const struct model_tree *b,
                          const dz_manifest_root *root_b) {
    struct dz_source source = dz_memory_source(m);
    struct expect x = { .a = a, .b = b };
    const dz_entry *before, *after;
    enum dz_change change;
    dz_err err = { 0 };

    if (dz_diff(&source, root_a, &source, root_b, check, &x, &err) != DZ_OK)
        fail_msg("%s", err.what);
    assert_false(expect_next(&x, &change, &before, &after));
    return x.calls;
}

static void a_diff_tells_what_two_sorted_arrays_tell(void **state) {
    static const size_t sizes[] = { 0, 1, 50, 700, 4000 };

    (void) state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
        DZ_CLEANUP(model_tree_done) struct model_tree a = { 0 }, b = { 0 }, none = { 0 };
        struct rng r = rng_start("diff", 20 + i);
        dz_manifest_root root_a, root_b, root_none = model_tree_build(&none, m);

        while (a.count < sizes[i])
            random_change(&a, &r);
        for (size_t k = 0; k < a.count; k++)
            model_tree_set(&b, &a.entries[k].e);
        root_a = model_tree_build(&a, m);
        for (size_t changes = 1; changes < 3000; changes *= 3) {
            for (size_t k = 0; k < changes; k++)
                random_change(&b, &r);
            root_b = model_tree_build(&b, m);
            (void) assert_diff(m, &a, &root_a, &b, &root_b);
            (void) assert_diff(m, &b, &root_b, &a, &root_a);
        }
        assert_int_equal(assert_diff(m, &a, &root_a, &a, &root_a), 0);
        assert_int_equal(assert_diff(m, &none, &root_none, &a, &root_a), a.count);
        assert_int_equal(assert_diff(m, &a, &root_a, &none, &root_none), a.count);
    }
}

static void manifests_cut_by_another_seed_compare_too(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    struct rng r = rng_start("seeds", 31);
    struct dz_sink sink = dz_memory_sink(m);
    DZ_AUTO(dz_manifest_builder) b = NULL;
    dz_manifest_root one, other = { 0 };

    (void) state;
    while (t.count < 3000)
        random_change(&t, &r);
    one = model_tree_build(&t, m);
    assert_int_equal(dz_manifest_builder_new(&sink, model_name_key, MODEL_SEED + 1, &b, NULL),
                     DZ_OK);
    for (size_t i = 0; i < t.count; i++)
        assert_int_equal(dz_manifest_builder_add(b, &t.entries[i].e, NULL), DZ_OK);
    assert_int_equal(dz_manifest_builder_finish(b, &other, NULL), DZ_OK);
    assert_memory_not_equal(one.node.b, other.node.b, sizeof one.node.b);
    assert_int_equal(assert_diff(m, &t, &one, &t, &other), 0);
}

static void the_cost_follows_the_difference(void **state) {
    enum { COUNT = 50000, CHANGES = 10 };
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_CLEANUP(model_tree_done) struct model_tree a = { 0 }, b = { 0 };
    dz_manifest_root root_a, root_b;
    size_t gets;

    (void) state;
    for (unsigned i = 0; i < COUNT; i++) {
        char path[32];
        dz_entry e = { .path = { (const uint8_t *) path, 0 }, .type = DZ_ENTRY_FILE };
        (void) snprintf(path, sizeof path, "d%03u/f%06u", i / 100, i);
        e.path.len = strlen(path);
        model_tree_set(&a, &e);
        if (i % (COUNT / CHANGES) == 77) { /* changed, missing or new */
            if (i % 3 == 0)
                e.size = 1;
            else if (i % 3 == 1)
                continue;
            else
                path[e.path.len - 1]++;
        }
        model_tree_set(&b, &e);
    }
    root_a = model_tree_build(&a, m);
    root_b = model_tree_build(&b, m);
    gets = dz_memory_objects_stats(m).gets;
    assert_in_range(assert_diff(m, &a, &root_a, &b, &root_b), CHANGES, 2 * CHANGES);
    /* On each side and for each change at most a few leaves and the way down to them. */
    assert_in_range(dz_memory_objects_stats(m).gets - gets, 1, 2 * CHANGES * 6);
}

static void entries_differ_in_type_content_or_meta(void **state) {
    const dz_entry file = { .path = DZ_SLICE_LIT("a"),
                            .type = DZ_ENTRY_FILE,
                            .mode = 0644,
                            .size = 5,
                            .fields = DZ_SLICE_LIT("\x01\x01x\x03\x01x\x07\x01x") };
    struct {
        const char *why;
        dz_entry e;
        enum dz_change change;
    } rows[] = {
        { "nothing", file, 0 },
        { "type", file, DZ_CHANGE_TYPE },
        { "size", file, DZ_CHANGE_CONTENT },
        { "content", file, DZ_CHANGE_CONTENT },
        { "content gone", file, DZ_CHANGE_CONTENT },
        { "extents", file, DZ_CHANGE_CONTENT },
        { "mode", file, DZ_CHANGE_META },
        { "mtime", file, DZ_CHANGE_META },
        { "flags", file, DZ_CHANGE_META },
        { "xattrs", file, DZ_CHANGE_META },
        { "an unknown field", file, DZ_CHANGE_META },
        { "xattrs and content", file, DZ_CHANGE_CONTENT },
        { "the judge's record only", file, 0 },
        { "the judge's record gone", file, 0 },
    };

    (void) state;
    rows[1].e.type = DZ_ENTRY_FIFO;
    rows[2].e.size = 6;
    rows[3].e.fields = DZ_SLICE_LIT("\x01\x01y\x03\x01x\x07\x01x");
    rows[4].e.fields = DZ_SLICE_LIT("\x03\x01x\x07\x01x");
    rows[5].e.fields = DZ_SLICE_LIT("\x01\x01x\x02\x01y\x03\x01x\x07\x01x");
    rows[6].e.mode = 0600;
    rows[7].e.mtime_ns = 1;
    rows[8].e.flags = DZ_ENTRY_CHANGED;
    rows[9].e.fields = DZ_SLICE_LIT("\x01\x01x\x03\x01y\x07\x01x");
    rows[10].e.fields = DZ_SLICE_LIT("\x01\x01x\x03\x01x\x07\x01x\x4d\x01x");
    rows[11].e.fields = DZ_SLICE_LIT("\x01\x01y\x03\x01y\x07\x01x");
    rows[12].e.fields = DZ_SLICE_LIT("\x01\x01x\x03\x01x\x07\x01y");
    rows[13].e.fields = DZ_SLICE_LIT("\x01\x01x\x03\x01x");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (dz_entry_compare(&file, &rows[i].e) != rows[i].change ||
            dz_entry_compare(&rows[i].e, &file) != rows[i].change)
            fail_msg("%s", rows[i].why);
}

static dz_status stop(void *ctx, enum dz_change change, const dz_entry *before,
                      const dz_entry *after, dz_err *err) {
    (void) change, (void) before, (void) after;
    ++*(size_t *) ctx;
    return DZ_FAIL(err, DZ_E_BUSY, "enough");
}

static void the_caller_may_stop(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 }, none = { 0 };
    struct dz_source source = dz_memory_source(m);
    dz_manifest_root a, b;
    size_t calls = 0;

    (void) state;
    model_tree_set(&t, &(dz_entry){ .path = DZ_SLICE_LIT("a"), .type = DZ_ENTRY_FIFO });
    model_tree_set(&t, &(dz_entry){ .path = DZ_SLICE_LIT("b"), .type = DZ_ENTRY_FIFO });
    a = model_tree_build(&t, m);
    b = model_tree_build(&none, m);
    assert_int_equal(dz_diff(&source, &a, &source, &b, stop, &calls, NULL), DZ_E_BUSY);
    assert_int_equal(calls, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_diff_tells_what_two_sorted_arrays_tell),
        cmocka_unit_test(manifests_cut_by_another_seed_compare_too),
        cmocka_unit_test(the_cost_follows_the_difference),
        cmocka_unit_test(entries_differ_in_type_content_or_meta),
        cmocka_unit_test(the_caller_may_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
