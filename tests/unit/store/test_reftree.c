#include "store/reftree.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "core/hex.h"
#include "store/node.h"
#include "tests/unit/store/model_tree.h"

static dz_name name_at(uint64_t n) {
    dz_name name = { 0 };

    dz_store_le(name.b, 8, n);
    return name;
}

struct counted {
    size_t nodes, names;
    uint64_t sum;
};

static dz_status count_node(void *ctx, const dz_id *ref, dz_err *err) {
    (void) ref, (void) err;
    ((struct counted *) ctx)->nodes++;
    return DZ_OK;
}

static dz_status count_name(void *ctx, const dz_name *name, dz_err *err) {
    (void) err;
    ((struct counted *) ctx)->names++;
    ((struct counted *) ctx)->sum += dz_load_le(name->b, 8);
    return DZ_OK;
}

static dz_status walk(struct dz_memory_objects *m, const dz_id *root, struct dz_id_set *seen,
                      struct counted *c, dz_err *err) {
    struct dz_source source = dz_memory_source(m);
    const struct dz_reftree_visitor v = { .node = count_node, .name = count_name, .ctx = c };

    return dz_reftree_walk(&source, root, seen, &v, err);
}

/* Puts a node with one name and up to two children. */
static dz_id put(struct dz_memory_objects *m, uint64_t name, const dz_id *a, const dz_id *b) {
    struct dz_sink sink = dz_memory_sink(m);
    DZ_CLEANUP(dz_refnode_builder_done) struct dz_refnode_builder builder = { 0 };
    dz_name n = name_at(name);
    dz_id ref = { 0 };

    dz_refnode_add_name(&builder, &n);
    if (a)
        dz_refnode_add_child(&builder, a);
    if (b)
        dz_refnode_add_child(&builder, b);
    assert_int_equal(dz_refnode_put(&builder, &sink, &ref, NULL), DZ_OK);
    return ref;
}

static void a_node_is_the_same_whatever_the_order_it_was_filled_in(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    struct dz_sink sink = dz_memory_sink(m);
    struct dz_source source = dz_memory_source(m);
    DZ_CLEANUP(dz_refnode_builder_done) struct dz_refnode_builder b = { 0 };
    dz_autobuf dz_buf bytes = { 0 };
    dz_refnode node;
    dz_id one = { 0 }, other = { 0 };

    (void) state;
    for (uint64_t i = 0; i < 100; i++) {
        dz_name n = name_at(i * 7919 % 50);
        dz_id child = { .b = { (uint8_t) (i % 10) } };
        dz_refnode_add_name(&b, &n);
        dz_refnode_add_child(&b, &child);
    }
    assert_int_equal(dz_refnode_put(&b, &sink, &one, NULL), DZ_OK);
    for (uint64_t i = 0; i < 50; i++) {
        dz_name n = name_at(49 - i);
        dz_id child = { .b = { (uint8_t) (i % 10) } };
        dz_refnode_add_name(&b, &n);
        dz_refnode_add_child(&b, &child);
    }
    assert_int_equal(dz_refnode_put(&b, &sink, &other, NULL), DZ_OK);
    assert_memory_equal(one.b, other.b, sizeof one.b);
    assert_int_equal(source.get(source.ctx, DZ_KIND_REF, &one, &bytes, NULL), DZ_OK);
    assert_int_equal(dz_refnode_read(dz_buf_slice(&bytes), &node, NULL), DZ_OK);
    assert_int_equal(node.names.len, 50 * DZ_NAME_BYTES);
    assert_int_equal(node.children.len, 10 * DZ_SHA256_BYTES);
}

static void what_was_seen_is_not_walked_again(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    DZ_AUTO(dz_id_set) seen = NULL;
    struct counted c = { 0 };
    dz_id leaf = put(m, 1, NULL, NULL), mid = put(m, 2, &leaf, NULL);
    dz_id a = put(m, 4, &mid, &leaf), b = put(m, 8, &mid, NULL);
    size_t gets;

    (void) state;
    assert_int_equal(dz_id_set_new(&seen, NULL), DZ_OK);
    assert_int_equal(walk(m, &a, seen, &c, NULL), DZ_OK);
    assert_int_equal(c.nodes, 3);
    assert_int_equal(c.sum, 1 + 2 + 4);
    gets = dz_memory_objects_stats(m).gets;
    assert_int_equal(walk(m, &b, seen, &c, NULL), DZ_OK);
    assert_int_equal(dz_memory_objects_stats(m).gets - gets, 1);
    assert_int_equal(c.nodes, 4);
    assert_int_equal(c.sum, 15);
    assert_int_equal(dz_id_set_count(seen), 4);
}

static void a_missing_or_forged_node_ends_the_walk_and_is_named(void **state) {
    (void) state;
    for (int forged = 0; forged < 2; forged++) {
        DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
        DZ_AUTO(dz_id_set) seen = NULL;
        struct counted c = { 0 };
        dz_err err = { 0 };
        char hex[2 * DZ_SHA256_BYTES + 1];
        dz_id leaf = put(m, 1, NULL, NULL), root = put(m, 2, &leaf, NULL);
        dz_id other = put(m, 3, NULL, NULL);
        struct dz_source source = dz_memory_source(m);
        dz_autobuf dz_buf bytes = { 0 };

        assert_int_equal(source.get(source.ctx, DZ_KIND_REF, &other, &bytes, NULL), DZ_OK);
        assert_int_equal(dz_id_set_new(&seen, NULL), DZ_OK);
        if (forged)
            dz_memory_objects_forge(m, DZ_KIND_REF, &leaf, dz_buf_slice(&bytes));
        else
            dz_memory_objects_lose(m, DZ_KIND_REF, &leaf);
        assert_int_equal(walk(m, &root, seen, &c, &err), forged ? DZ_E_CORRUPT : DZ_E_NOT_FOUND);
        dz_hex(leaf.b, sizeof leaf.b, hex);
        assert_non_null(strstr(err.what, hex));
    }
}

static void a_tree_that_is_too_deep_is_refused(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    dz_id ref = put(m, 0, NULL, NULL);
    struct counted c = { 0 };

    (void) state;
    for (unsigned depth = 1; depth <= DZ_REFTREE_DEPTH_MAX; depth++) {
        DZ_AUTO(dz_id_set) seen = NULL;
        assert_int_equal(dz_id_set_new(&seen, NULL), DZ_OK);
        assert_int_equal(walk(m, &ref, seen, &c, NULL), DZ_OK);
        ref = put(m, depth, &ref, NULL);
        if (depth == DZ_REFTREE_DEPTH_MAX)
            assert_int_equal(walk(m, &ref, seen, &c, NULL), DZ_OK); /* the rest was seen */
    }
    DZ_AUTO(dz_id_set) seen = NULL;
    assert_int_equal(dz_id_set_new(&seen, NULL), DZ_OK);
    assert_int_equal(walk(m, &ref, seen, &c, NULL), DZ_E_LIMIT);
}

#define NAME "0123456789abcdef"
#define NAME2 "0123456789abcdeg"

static void hostile_nodes_are_refused(void **state) {
    static const struct {
        const char *why;
        dz_slice bytes;
        dz_status status;
    } rows[] = {
        { "good", DZ_SLICE_LIT("R\x01\0\0\x02" NAME NAME2 "\x01" NAME NAME), DZ_OK },
        { "empty lists", DZ_SLICE_LIT("R\x01\0\0\0\0"), DZ_OK },
        { "nothing", DZ_SLICE_LIT(""), DZ_E_CORRUPT },
        { "another magic", DZ_SLICE_LIT("C\x01\0\0\0\0"), DZ_E_CORRUPT },
        { "version 2", DZ_SLICE_LIT("R\x02\0\0\0\0"), DZ_E_UNSUPPORTED },
        { "names out of order", DZ_SLICE_LIT("R\x01\0\0\x02" NAME2 NAME "\0"), DZ_E_CORRUPT },
        { "a name twice", DZ_SLICE_LIT("R\x01\0\0\x02" NAME NAME "\0"), DZ_E_CORRUPT },
        { "too many names", DZ_SLICE_LIT("R\x01\0\0\x81\x80\x02"), DZ_E_LIMIT },
        { "names without bytes", DZ_SLICE_LIT("R\x01\0\0\x80\x80\x02"), DZ_E_CORRUPT },
        { "too many children", DZ_SLICE_LIT("R\x01\0\0\0\x81\x40"), DZ_E_LIMIT },
        { "half a child", DZ_SLICE_LIT("R\x01\0\0\0\x01" NAME), DZ_E_CORRUPT },
        { "bytes behind", DZ_SLICE_LIT("R\x01\0\0\0\0x"), DZ_E_CORRUPT },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dz_refnode node;
        dz_err err = { 0 };
        if (dz_refnode_read(rows[i].bytes, &node, &err) != rows[i].status)
            fail_msg("%s: %s", rows[i].why, err.what);
    }
}

static void a_set_holds_what_was_added(void **state) {
    DZ_AUTO(dz_id_set) s = NULL;
    bool added = false;

    (void) state;
    assert_int_equal(dz_id_set_new(&s, NULL), DZ_OK);
    for (int round = 0; round < 2; round++)
        for (uint64_t i = 0; i < 20000; i++) { /* 0: the id of zeros */
            dz_id id = { 0 };
            dz_store_le(id.b + 20, 8, i);
            assert_int_equal(dz_id_set_has(s, &id), round == 1);
            assert_int_equal(dz_id_set_add(s, &id, &added, NULL), DZ_OK);
            assert_int_equal(added, round == 0);
        }
    assert_int_equal(dz_id_set_count(s), 20000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_is_the_same_whatever_the_order_it_was_filled_in),
        cmocka_unit_test(what_was_seen_is_not_walked_again),
        cmocka_unit_test(a_missing_or_forged_node_ends_the_walk_and_is_named),
        cmocka_unit_test(a_tree_that_is_too_deep_is_refused),
        cmocka_unit_test(hostile_nodes_are_refused),
        cmocka_unit_test(a_set_holds_what_was_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
