#include "store/manifest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "core/hex.h"
#include "store/content.h"
#include "store/cursor.h"
#include "store/node.h"
#include "store/reftree.h"
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

/* A set of names, by way of the set of ids. */
static void name_add(struct dz_id_set *s, const dz_name *name) {
    dz_id id = { 0 };
    bool added = false;

    memcpy(id.b, name->b, sizeof name->b);
    assert_int_equal(dz_id_set_add(s, &id, &added, NULL), DZ_OK);
}

static dz_status name_visit(void *ctx, const dz_name *name, dz_err *err) {
    (void) err;
    name_add(ctx, name);
    return DZ_OK;
}

static void object_add(struct dz_id_set *s, enum dz_kind kind, const dz_id *id) {
    dz_name name = dz_name_of(model_name_key, (uint8_t) kind, id);

    name_add(s, &name);
}

/* What the manifest references, read without the reference tree. */
static void content_names(const struct dz_source *source, dz_content_list *list,
                          struct dz_id_set *s) {
    dz_content_item item;

    while (dz_content_list_next(list, &item)) {
        dz_autobuf dz_buf bytes = { 0 };
        dz_content_list below;

        object_add(s, list->depth > 0 ? DZ_KIND_NODE : DZ_KIND_DATA, &item.id);
        if (list->depth == 0)
            continue;
        assert_int_equal(source->get(source->ctx, DZ_KIND_NODE, &item.id, &bytes, NULL), DZ_OK);
        assert_int_equal(dz_content_list_read(dz_buf_slice(&bytes), &below, NULL), DZ_OK);
        content_names(source, &below, s);
    }
}

static void node_names(const struct dz_source *source, const dz_id *id, uint8_t height,
                       struct dz_id_set *s) {
    DZ_CLEANUP(dz_node_done) struct dz_node n = { 0 };

    object_add(s, DZ_KIND_NODE, id);
    assert_int_equal(source->get(source->ctx, DZ_KIND_NODE, id, &n.bytes, NULL), DZ_OK);
    assert_int_equal(dz_node_begin(&n, height, NULL), DZ_OK);
    while (dz_node_more(&n)) {
        dz_inner_item item;
        dz_content_list list;
        dz_slice content;
        dz_entry e;

        if (height > 0) {
            assert_int_equal(dz_inner_next(&n, &item, NULL), DZ_OK);
            node_names(source, &item.node, (uint8_t) (height - 1), s);
            continue;
        }
        assert_int_equal(dz_leaf_next(&n, &e, NULL), DZ_OK);
        content = dz_entry_field(&e, DZ_TAG_CONTENT);
        if (content.data) {
            assert_int_equal(dz_content_field_read(content, &list, NULL), DZ_OK);
            content_names(source, &list, s);
        }
    }
}

/* Makes contents of up to 20,000 chunks for some files, so that lists of lists are among them. */
static void large_contents(struct model_tree *t, struct rng *r, struct dz_memory_objects *m) {
    struct dz_sink sink = dz_memory_sink(m);
    DZ_AUTO(dz_content_builder) b = NULL;

    assert_int_equal(dz_content_builder_new(&sink, model_name_key, &b, NULL), DZ_OK);
    for (size_t i = 0; i < t->count; i++) {
        dz_autobuf dz_buf fields = { 0 };
        dz_entry e = t->entries[i].e;
        size_t chunks = i % 500 == 3 ? 20000 * (i % 1000) / 1000 : 1 + i % 3;

        if (e.type != DZ_ENTRY_FILE)
            continue;
        while (chunks-- > 0) {
            dz_id id = { 0 };
            dz_store_le(id.b, 8, rng_next(r));
            assert_int_equal(dz_content_builder_add(b, &id, 1000, NULL), DZ_OK);
        }
        assert_int_equal(dz_content_builder_finish(b, &fields, NULL), DZ_OK);
        e.fields = dz_buf_slice(&fields);
        model_tree_set(t, &e);
    }
}

static void the_reference_tree_holds_the_names_of_the_manifest_and_no_others(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    struct rng r = rng_start("references", 41);
    struct dz_source source = dz_memory_source(m);
    DZ_AUTO(dz_id_set) expected = NULL;
    DZ_AUTO(dz_id_set) walked = NULL;
    DZ_AUTO(dz_id_set) seen = NULL;
    struct dz_reftree_visitor visitor = { .name = name_visit };
    dz_manifest_root root;
    dz_err err = { 0 };
    size_t both;

    (void) state;
    while (t.count < 5000) {
        dz_autobuf dz_buf path = { 0 };
        random_path(&r, &path);
        model_tree_set(&t, &(dz_entry){ .path = dz_buf_slice(&path),
                                        .type = rng_below(&r, 4) ? DZ_ENTRY_FILE : DZ_ENTRY_DIR });
    }
    large_contents(&t, &r, m);
    root = model_tree_build(&t, m);
    assert_int_equal(dz_id_set_new(&expected, NULL), DZ_OK);
    assert_int_equal(dz_id_set_new(&walked, NULL), DZ_OK);
    assert_int_equal(dz_id_set_new(&seen, NULL), DZ_OK);
    node_names(&source, &root.node, root.depth, expected);
    visitor.ctx = walked;
    if (dz_reftree_walk(&source, &root.ref, seen, &visitor, &err) != DZ_OK)
        fail_msg("%s", err.what);
    assert_int_equal(dz_id_set_count(expected), dz_id_set_count(walked));
    both = dz_id_set_count(expected);
    visitor.ctx = expected; /* the union is no larger: they are the same */
    dz_id_set_free(DZ_TAKE(seen));
    assert_int_equal(dz_id_set_new(&seen, NULL), DZ_OK);
    assert_int_equal(dz_reftree_walk(&source, &root.ref, seen, &visitor, NULL), DZ_OK);
    assert_int_equal(dz_id_set_count(expected), both);
    assert_int_equal(dz_id_set_count(seen), dz_memory_objects_stats(m).objects[DZ_KIND_REF]);
}

static void an_entry_out_of_order_is_refused_and_the_next_may_follow(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    struct dz_sink sink = dz_memory_sink(m);
    DZ_AUTO(dz_manifest_builder) b = NULL;
    const dz_entry first = { .path = DZ_SLICE_LIT("b/c"), .type = DZ_ENTRY_FILE };
    const dz_entry wrong[] = {
        { .path = DZ_SLICE_LIT("b/c"), .type = DZ_ENTRY_FILE },
        { .path = DZ_SLICE_LIT("b"), .type = DZ_ENTRY_DIR },
        { .path = DZ_SLICE_LIT("c/../d"), .type = DZ_ENTRY_FILE },
        { .path = DZ_SLICE_LIT("c"), .type = 0 },
    };
    const dz_entry next = { .path = DZ_SLICE_LIT("b!"), .type = DZ_ENTRY_FILE };
    const dz_entry hostile = { .path = DZ_SLICE_LIT("c"),
                               .type = DZ_ENTRY_FILE,
                               .fields = DZ_SLICE_LIT("\x01\x01\x00") };
    dz_manifest_root root = { 0 }, expected;

    (void) state;
    assert_int_equal(dz_manifest_builder_new(&sink, model_name_key, MODEL_SEED, &b, NULL), DZ_OK);
    assert_int_equal(dz_manifest_builder_add(b, &first, NULL), DZ_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(dz_manifest_builder_add(b, &wrong[i], NULL), DZ_E_USAGE);
    assert_int_equal(dz_manifest_builder_add(b, &hostile, NULL), DZ_E_CORRUPT);
    assert_int_equal(dz_manifest_builder_add(b, &next, NULL), DZ_OK);
    assert_int_equal(dz_manifest_builder_finish(b, &root, NULL), DZ_OK);
    model_tree_set(&t, &first);
    model_tree_set(&t, &next);
    expected = model_tree_build(&t, m);
    assert_root_equal(&root, &expected);
}

/* Paths and fields near their limits: every node stays an object, the tree stays flat. */
static void large_entries_fit(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    dz_autobuf dz_buf path = { 0 }, value = { 0 }, fields = { 0 };
    dz_manifest_root root;

    (void) state;
    memset(dz_buf_extend(&value, DZ_ENTRY_MAX / 2 - 256), 'v', DZ_ENTRY_MAX / 2 - 256);
    dz_entry_put_field(&fields, DZ_TAG_XATTRS, dz_buf_slice(&value));
    for (unsigned i = 0; i < 12; i++) {
        dz_buf_clear(&path);
        dz_buf_printf(&path, "%02u", i);
        while (path.len < DZ_PATH_MAX)
            dz_buf_put_u8(&path, path.len % 200 == 0 ? '/' : 'p');
        if (path.data[path.len - 1] == '/')
            path.data[path.len - 1] = 'p';
        model_tree_set(&t, &(dz_entry){ .path = dz_buf_slice(&path),
                                        .type = DZ_ENTRY_FILE,
                                        .fields = dz_buf_slice(&fields) });
    }
    root = model_tree_build(&t, m);
    assert_holds(m, &root, &t);
    assert_true(root.depth <= 4);
}

static void a_failed_put_fails_the_manifest(void **state) {
    DZ_CLEANUP(model_tree_done) struct model_tree t = { 0 };
    struct rng r = rng_start("failed put", 51);

    (void) state;
    while (t.count < 700)
        random_change(&t, &r);
    for (size_t n = 1;; n++) {
        DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
        struct dz_sink sink = dz_memory_sink(m);
        DZ_AUTO(dz_manifest_builder) b = NULL;
        dz_status status = DZ_OK;
        dz_manifest_root root;

        dz_memory_objects_fail_put(m, n);
        assert_int_equal(dz_manifest_builder_new(&sink, model_name_key, MODEL_SEED, &b, NULL),
                         DZ_OK);
        for (size_t i = 0; status == DZ_OK && i < t.count; i++)
            status = dz_manifest_builder_add(b, &t.entries[i].e, NULL);
        if (status == DZ_OK)
            status = dz_manifest_builder_finish(b, &root, NULL);
        if (n > dz_memory_objects_stats(m).puts)
            break; /* none was left to fail */
        assert_int_equal(status, DZ_E_IO);
    }
}

/* docs/format/manifest.md and reference.md show these bytes: they never change. */
static void the_example_of_the_format_pages_comes_out(void **state) {
    static const uint8_t key[32];
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    struct dz_sink sink = dz_memory_sink(m);
    DZ_AUTO(dz_manifest_builder) b = NULL;
    DZ_AUTO(dz_content_builder) content = NULL;
    dz_autobuf dz_buf fields = { 0 };
    char node[2 * DZ_SHA256_BYTES + 1], ref[2 * DZ_SHA256_BYTES + 1];
    dz_manifest_root root = { 0 };
    dz_id hello;

    (void) state;
    dz_sha256(DZ_SLICE_LIT("hello"), hello.b);
    assert_int_equal(dz_content_builder_new(&sink, key, &content, NULL), DZ_OK);
    assert_int_equal(dz_content_builder_add(content, &hello, 5, NULL), DZ_OK);
    assert_int_equal(dz_content_builder_finish(content, &fields, NULL), DZ_OK);
    const dz_entry entries[] = {
        { .path = DZ_SLICE_LIT("srv"), .type = DZ_ENTRY_DIR, .mode = 0755, .mtime_s = 1700000000 },
        { .path = DZ_SLICE_LIT("srv/a"),
          .type = DZ_ENTRY_FILE,
          .mode = 0640,
          .uid = 1000,
          .gid = 100,
          .mtime_s = -1,
          .mtime_ns = 500,
          .size = 5,
          .fields = dz_buf_slice(&fields) },
        { .path = DZ_SLICE_LIT("srv/b"),
          .type = DZ_ENTRY_SYMLINK,
          .mode = 0777,
          .size = 1,
          .fields = DZ_SLICE_LIT("\x04\x01"
                                 "a") },
    };
    assert_int_equal(dz_manifest_builder_new(&sink, key, 1, &b, NULL), DZ_OK);
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        assert_int_equal(dz_manifest_builder_add(b, &entries[i], NULL), DZ_OK);
    assert_int_equal(dz_manifest_builder_finish(b, &root, NULL), DZ_OK);
    dz_hex(root.node.b, sizeof root.node.b, node);
    dz_hex(root.ref.b, sizeof root.ref.b, ref);
    assert_string_equal(node, "a778e17105143c3c9b84daf13e11ca237efc047294b7073e89f5c75f25c4ecc6");
    assert_string_equal(ref, "7870e0544b2b59c483e4b453b7a98d93635882eac3ba7699cbbe3841cf3d48ae");
}

static void a_root_is_read_back_and_a_hostile_one_refused(void **state) {
    const dz_manifest_root root = {
        .node = { { 1 } }, .ref = { { 2 } }, .depth = 3, .entries = 1 << 20, .bytes = UINT64_MAX
    };
    dz_autobuf dz_buf bytes = { 0 };
    dz_manifest_root again;
    dz_reader r;

    (void) state;
    dz_manifest_root_write(&root, &bytes);
    assert_in_range(bytes.len, 1, DZ_MANIFEST_ROOT_MAX);
    r = dz_reader_over(dz_buf_slice(&bytes));
    assert_int_equal(dz_manifest_root_read(&r, &again, NULL), DZ_OK);
    assert_true(dz_reader_done(&r));
    assert_root_equal(&again, &root);
    r = dz_reader_over((dz_slice){ bytes.data, bytes.len - 1 });
    assert_int_equal(dz_manifest_root_read(&r, &again, NULL), DZ_E_CORRUPT);
    bytes.data[64] = DZ_MANIFEST_DEPTH_MAX + 1;
    r = dz_reader_over(dz_buf_slice(&bytes));
    assert_int_equal(dz_manifest_root_read(&r, &again, NULL), DZ_E_LIMIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_built_is_read_back),
        cmocka_unit_test(same_entries_give_the_same_root_whatever_the_history),
        cmocka_unit_test(the_reference_tree_holds_the_names_of_the_manifest_and_no_others),
        cmocka_unit_test(an_entry_out_of_order_is_refused_and_the_next_may_follow),
        cmocka_unit_test(large_entries_fit),
        cmocka_unit_test(a_failed_put_fails_the_manifest),
        cmocka_unit_test(the_example_of_the_format_pages_comes_out),
        cmocka_unit_test(a_root_is_read_back_and_a_hostile_one_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
