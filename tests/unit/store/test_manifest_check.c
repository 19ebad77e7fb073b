#include "store/manifest_check.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "store/content.h"
#include "tests/unit/store/model_tree.h"

/* A tree with contents of lists and of lists of lists. */
static void large_tree(struct model_tree *t, struct rng *r, struct dz_memory_objects *m) {
    struct dz_sink sink = dz_memory_sink(m);
    DZ_AUTO(dz_content_builder) b = NULL;

    assert_int_equal(dz_content_builder_new(&sink, model_name_key, &b, NULL), DZ_OK);
    for (size_t i = 0; i < 1500; i++) {
        dz_autobuf dz_buf path = { 0 }, fields = { 0 };
        size_t chunks = i == 3 ? 100000 : i % 400 == 7 ? 3000 : 1;

        random_path(r, &path);
        for (size_t n = chunks; n > 0; n--) {
            dz_id id = { 0 };
            dz_store_le(id.b, 8, rng_next(r));
            assert_int_equal(dz_content_builder_add(b, &id, 1000, NULL), DZ_OK);
        }
        assert_int_equal(dz_content_builder_finish(b, &fields, NULL), DZ_OK);
        model_tree_set(t, &(dz_entry){ .path = dz_buf_slice(&path),
                                       .type = DZ_ENTRY_FILE,
                                       .size = chunks * 1000,
                                       .fields = dz_buf_slice(&fields) });
    }
}

static void what_was_built_agrees_and_is_read_once(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    struct rng r = rng_start("agree", 61);
    struct dz_source source = dz_memory_source(m);
    DZ_AUTO(dz_manifest_check) c = NULL;
    dz_err err = { 0 };
    dz_manifest_root root;
    size_t gets;

    (void) state;
    large_tree(&t, &r, m);
    root = model_tree_build(&t, m);
    assert_int_equal(dz_manifest_check_new(&source, model_name_key, &c, NULL), DZ_OK);
    if (dz_manifest_check_root(c, &root, &err) != DZ_OK)
        fail_msg("%s", err.what);
    assert_int_equal(dz_memory_objects_stats(m).gets,
                     dz_memory_objects_stats(m).objects[DZ_KIND_NODE]);
    model_tree_remove(&t, t.count / 2);
    root = model_tree_build(&t, m);
    gets = dz_memory_objects_stats(m).gets;
    assert_int_equal(dz_manifest_check_root(c, &root, NULL), DZ_OK);
    assert_in_range(dz_memory_objects_stats(m).gets - gets, 1, root.depth + 3u);
}

static void a_reference_tree_of_something_else_is_refused(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    struct rng r = rng_start("disagree", 62);
    struct dz_source source = dz_memory_source(m);
    DZ_AUTO(dz_manifest_check) c = NULL;
    dz_manifest_root root, other;
    dz_err err = { 0 };

    (void) state;
    for (int i = 0; i < 500; i++)
        random_change(&t, &r);
    model_tree_set(&t, &(dz_entry){ .path = DZ_SLICE_LIT("zz"), .type = DZ_ENTRY_FIFO });
    for (size_t i = 0; i < t.count; i++) { /* their contents are not there */
        dz_entry e = t.entries[i].e;
        e.fields = (dz_slice){ 0 };
        e.size = 0;
        model_tree_set(&t, &e);
    }
    other = model_tree_build(&t, m);
    model_tree_remove(&t, t.count / 3);
    root = model_tree_build(&t, m);
    assert_int_equal(dz_manifest_check_new(&source, model_name_key, &c, NULL), DZ_OK);
    assert_int_equal(dz_manifest_check_root(c, &root, &err), DZ_OK);
    root.ref = other.ref;
    assert_int_equal(dz_manifest_check_root(c, &root, &err), DZ_E_CORRUPT);
    assert_non_null(strstr(err.what, "does not agree"));
}

static void a_list_with_the_reference_node_of_another_is_refused(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    struct dz_sink sink = dz_memory_sink(m);
    struct dz_source source = dz_memory_source(m);
    DZ_AUTO(dz_content_builder) b = NULL;
    DZ_AUTO(dz_manifest_check) c = NULL;
    dz_autobuf dz_buf fields = { 0 };
    dz_manifest_root root;
    dz_err err = { 0 };

    (void) state;
    assert_int_equal(dz_content_builder_new(&sink, model_name_key, &b, NULL), DZ_OK);
    for (unsigned i = 0; i <= DZ_CONTENT_DIRECT; i++)
        assert_int_equal(dz_content_builder_add(b, &(dz_id){ { 1, 1, (uint8_t) i } }, 9, NULL),
                         DZ_OK);
    assert_int_equal(dz_content_builder_finish(b, &fields, NULL), DZ_OK);
    fields.data[fields.len - 1] ^= 1; /* the reference node's id is the last */
    model_tree_set(&t, &(dz_entry){ .path = DZ_SLICE_LIT("a"),
                                    .type = DZ_ENTRY_FILE,
                                    .fields = dz_buf_slice(&fields) });
    root = model_tree_build(&t, m);
    assert_int_equal(dz_manifest_check_new(&source, model_name_key, &c, NULL), DZ_OK);
    assert_int_equal(dz_manifest_check_root(c, &root, &err), DZ_E_CORRUPT);
    assert_non_null(strstr(err.what, "content list "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_built_agrees_and_is_read_once),
        cmocka_unit_test(a_reference_tree_of_something_else_is_refused),
        cmocka_unit_test(a_list_with_the_reference_node_of_another_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
