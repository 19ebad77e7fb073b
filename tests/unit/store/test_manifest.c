#include "store/manifest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "store/cursor.h"
#include "tests/unit/store/model_tree.h"

static void assert_root_equal(const dz_manifest_root *a, const dz_manifest_root *b) {
    assert_memory_equal(a->node.b, b->node.b, sizeof a->node.b);
    assert_memory_equal(a->ref.b, b->ref.b, sizeof a->ref.b);
    assert_int_equal(a->depth, b->depth);
    assert_int_equal(a->entries, b->entries);
    assert_int_equal(a->bytes, b->bytes);
}

static void assert_holds(struct dz_memory_objects *m, const dz_manifest_root *root,
                         const struct model_tree *t) {
    struct dz_source source = dz_memory_source(m);
    DZ_AUTO(dz_cursor) c = NULL;
    dz_err err = { 0 };
    dz_entry e;
    bool end = false;

    assert_int_equal(root->entries, t->count);
    assert_int_equal(dz_cursor_new(&source, root, &c, &err), DZ_OK);
    for (size_t i = 0; i < t->count; i++) {
        if (dz_cursor_next(c, &e, &end, &err) != DZ_OK)
            fail_msg("next: %s", err.what);
        assert_false(end);
        assert_true(entries_equal(&e, &t->entries[i].e));
    }
    assert_int_equal(dz_cursor_next(c, &e, &end, &err), DZ_OK);
    assert_true(end);
}

static void what_is_built_is_read_back(void **state) {
    static const size_t sizes[] = { 0, 1, 2, 3, 60, 1000, 6000 };

    (void) state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
        DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
        struct rng r = rng_start("read back", i + 1);
        dz_manifest_root root;

        while (t.count < sizes[i])
            random_change(&t, &r);
        root = model_tree_build(&t, m);
        assert_holds(m, &root, &t);
    }
}

static void same_entries_give_the_same_root_whatever_the_history(void **state) {
    (void) state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
        DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 }, again = { 0 };
        struct rng r = rng_start("history", seed);
        dz_manifest_root before, root;

        for (size_t i = 0; i < 3000; i++)
            random_change(&t, &r);
        before = model_tree_build(&t, m);
        for (size_t i = 0; i < t.count; i++) /* a copy, to come back to */
            model_tree_set(&again, &t.entries[i].e);
        for (size_t i = 0; i < 500; i++)
            random_change(&t, &r);
        root = model_tree_build(&t, m);
        assert_memory_not_equal(root.node.b, before.node.b, sizeof root.node.b);
        for (size_t i = 0; i < t.count; i++) /* and back, by what differs alone */
            if (model_tree_find(&again, t.entries[i].e.path) == again.count ||
                !dz_slice_eq(again.entries[model_tree_find(&again, t.entries[i].e.path)].e.path,
                             t.entries[i].e.path))
                model_tree_remove(&t, i--);
        for (size_t i = 0; i < again.count; i++)
            model_tree_set(&t, &again.entries[i].e);
        root = model_tree_build(&t, m);
        assert_root_equal(&root, &before);
        if (getenv("DZ_TEST_SEED"))
            break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_built_is_read_back),
        cmocka_unit_test(same_entries_give_the_same_root_whatever_the_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
