#include "store/content.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "store/node.h"
#include "tests/unit/store/model_tree.h"

struct chunk {
    dz_id id;
    uint32_t length;
};

static void chunks_make(struct rng *r, struct chunk *chunks, size_t count) {
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < sizeof chunks[i].id.b; k += 8)
            dz_store_le(chunks[i].id.b + k, 8, rng_next(r));
        chunks[i].length = 1 + (uint32_t) rng_below(r, DZ_OBJECT_MAX);
    }
}

/* Gives the value of the content field. */
static void build(struct dz_memory_objects *m, const struct chunk *chunks, size_t count,
                  dz_buf *ret_field) {
    struct dz_sink sink = dz_memory_sink(m);
    DZ_AUTO(dz_content_builder) b = NULL;
    dz_autobuf dz_buf fields = { 0 };
    dz_err err = { 0 };
    dz_entry e = { 0 };

    assert_int_equal(dz_content_builder_new(&sink, model_name_key, &b, &err), DZ_OK);
    for (size_t i = 0; i < count; i++)
        if (dz_content_builder_add(b, &chunks[i].id, chunks[i].length, &err) != DZ_OK)
            fail_msg("%s", err.what);
    assert_int_equal(dz_content_builder_finish(b, &fields, &err), DZ_OK);
    e.fields = dz_buf_slice(&fields);
    dz_buf_clear(ret_field);
    dz_buf_put_slice(ret_field, dz_entry_field(&e, DZ_TAG_CONTENT));
}

static void assert_reads(struct dz_content_reader *reader, dz_slice field,
                         const struct chunk *chunks, size_t count, size_t from, uint64_t offset,
                         uint64_t start) {
    dz_content_span span;
    bool end = false;
    dz_err err = { 0 };

    if (dz_content_reader_start(reader, field, offset, &err) != DZ_OK)
        fail_msg("%s", err.what);
    for (size_t i = from; i < count; i++) {
        if (dz_content_reader_next(reader, &span, &end, &err) != DZ_OK)
            fail_msg("%s", err.what);
        assert_false(end);
        assert_int_equal(span.offset, start);
        assert_int_equal(span.length, chunks[i].length);
        assert_memory_equal(span.id.b, chunks[i].id.b, sizeof span.id.b);
        start += span.length;
    }
    assert_int_equal(dz_content_reader_next(reader, &span, &end, &err), DZ_OK);
    assert_true(end);
    assert_int_equal(dz_content_reader_size(reader), count ? start : 0);
}

static void contents_of_any_length_are_read_back(void **state) {
    static const size_t counts[] = { 0, 1, 2, 128, 129, 130, 2048, 2049, 5000, 100000 };
    struct rng r = rng_start("contents", 11);

    (void) state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
        struct dz_source source = dz_memory_source(m);
        DZ_AUTO(dz_content_reader) reader = NULL;
        dz_autofree struct chunk *chunks = calloc(counts[i] + 1, sizeof *chunks);
        dz_autobuf dz_buf field = { 0 };
        dz_memory_stats stats;
        uint64_t at = 0;

        assert_non_null(chunks);
        chunks_make(&r, chunks, counts[i]);
        build(m, chunks, counts[i], &field);
        stats = dz_memory_objects_stats(m);
        assert_int_equal(stats.objects[DZ_KIND_NODE] > 0, counts[i] > DZ_CONTENT_DIRECT);
        assert_int_equal(stats.objects[DZ_KIND_NODE], stats.objects[DZ_KIND_REF]);
        assert_int_equal(dz_content_reader_new(&source, &reader, NULL), DZ_OK);
        assert_reads(reader, dz_buf_slice(&field), chunks, counts[i], 0, 0, 0);
        for (size_t k = 0; k < counts[i]; k++) { /* from some chunk's first, inner or last byte */
            if (counts[i] < 200 ? k % 7 == 0 : k % (counts[i] / 5) == 3) {
                uint64_t in = rng_below(&r, 3) * (chunks[k].length - 1) / 2;
                size_t gets = dz_memory_objects_stats(m).gets;
                assert_int_equal(
                    dz_content_reader_start(reader, dz_buf_slice(&field), at + in, NULL), DZ_OK);
                assert_in_range(dz_memory_objects_stats(m).gets - gets, 0, 3);
                assert_reads(reader, dz_buf_slice(&field), chunks, counts[i], k, at + in, at);
            }
            at += chunks[k].length;
        }
        assert_reads(reader, dz_buf_slice(&field), chunks, counts[i], counts[i], at, at);
        assert_reads(reader, dz_buf_slice(&field), chunks, counts[i], counts[i], UINT64_MAX, at);
    }
}

static void a_change_in_the_middle_makes_few_new_lists(void **state) {
    enum { COUNT = 50000 };
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    dz_autofree struct chunk *chunks = calloc(COUNT, sizeof *chunks);
    dz_autobuf dz_buf field = { 0 };
    struct rng r = rng_start("change", 12);
    dz_memory_stats before, after;

    (void) state;
    assert_non_null(chunks);
    chunks_make(&r, chunks, COUNT);
    build(m, chunks, COUNT, &field);
    before = dz_memory_objects_stats(m);
    memmove(&chunks[COUNT / 2], &chunks[COUNT / 2 + 3], (COUNT / 2 - 3) * sizeof *chunks);
    build(m, chunks, COUNT - 3, &field);
    after = dz_memory_objects_stats(m);
    assert_true(before.objects[DZ_KIND_NODE] > 20);
    assert_in_range(after.objects[DZ_KIND_NODE] - before.objects[DZ_KIND_NODE], 1, 6);
}

static void the_builder_refuses_chunks_of_no_or_too_many_bytes(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    struct dz_sink sink = dz_memory_sink(m);
    DZ_AUTO(dz_content_builder) b = NULL;
    dz_id id = { 0 };

    (void) state;
    assert_int_equal(dz_content_builder_new(&sink, model_name_key, &b, NULL), DZ_OK);
    assert_int_equal(dz_content_builder_add(b, &id, 0, NULL), DZ_E_USAGE);
    assert_int_equal(dz_content_builder_add(b, &id, DZ_OBJECT_MAX + 1, NULL), DZ_E_USAGE);
}

static void a_failed_put_loses_one_file_only(void **state) {
    DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
    struct dz_sink sink = dz_memory_sink(m);
    DZ_AUTO(dz_content_builder) b = NULL;
    struct chunk chunks[DZ_CONTENT_DIRECT + 1];
    dz_autobuf dz_buf fields = { 0 }, again = { 0 };
    struct rng r = { 13 };

    (void) state;
    chunks_make(&r, chunks, DZ_CONTENT_DIRECT + 1);
    assert_int_equal(dz_content_builder_new(&sink, model_name_key, &b, NULL), DZ_OK);
    for (int round = 0; round < 2; round++) {
        dz_memory_objects_fail_put(m, round == 0 ? 2 : 0);
        for (size_t i = 0; i <= DZ_CONTENT_DIRECT; i++)
            (void) !dz_content_builder_add(b, &chunks[i].id, chunks[i].length, NULL);
        assert_int_equal(dz_content_builder_finish(b, &fields, NULL), round == 0 ? DZ_E_IO : DZ_OK);
        assert_int_equal(fields.len > 0, round == 1);
    }
    build(m, chunks, DZ_CONTENT_DIRECT + 1, &again);
    assert_memory_equal(fields.data + fields.len - again.len, again.data, again.len);
}

#define ID "0123456789abcdef0123456789abcdef"

static void hostile_fields_are_refused(void **state) {
    static const struct {
        const char *why;
        dz_slice field;
        dz_status status;
    } rows[] = {
        { "good", DZ_SLICE_LIT("\x00\x01\x05" ID), DZ_OK },
        { "depth 9", DZ_SLICE_LIT("\x09\x01\x05" ID ID), DZ_E_LIMIT },
        { "no items", DZ_SLICE_LIT("\x00\x00"), DZ_E_CORRUPT },
        { "129 items", DZ_SLICE_LIT("\x00\x81\x01"), DZ_E_LIMIT },
        { "count without items", DZ_SLICE_LIT("\x00\x02\x05" ID), DZ_E_CORRUPT },
        { "bytes behind", DZ_SLICE_LIT("\x00\x01\x05" ID "x"), DZ_E_CORRUPT },
        { "a chunk of no bytes", DZ_SLICE_LIT("\x00\x01\x00" ID), DZ_E_CORRUPT },
        { "a chunk of 2 MiB", DZ_SLICE_LIT("\x00\x01\x80\x80\x80\x01" ID), DZ_E_CORRUPT },
        { "a sum beyond 2^64",
          DZ_SLICE_LIT("\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" ID ID "\x01" ID ID),
          DZ_E_CORRUPT },
        { "one byte", DZ_SLICE_LIT("\x00"), DZ_E_CORRUPT },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dz_content_list list;
        dz_err err = { 0 };
        if (dz_content_field_read(rows[i].field, &list, &err) != rows[i].status)
            fail_msg("%s: %s", rows[i].why, err.what);
    }
}

/* A field that promises what the list does not keep, and lists that lie. */
static void lists_that_do_not_keep_their_promise_are_refused(void **state) {
    static const struct {
        const char *why;
        dz_slice list;
        uint8_t promised; /* bytes, in a field of depth 1 */
        dz_status status;
    } rows[] = {
        { "good", DZ_SLICE_LIT("C\x01\0\0\x00\x02\x05" ID "\x06" ID), 11, DZ_OK },
        { "fewer bytes", DZ_SLICE_LIT("C\x01\0\0\x00\x02\x05" ID "\x06" ID), 12, DZ_E_CORRUPT },
        { "another depth", DZ_SLICE_LIT("C\x01\0\0\x01\x01\x0b" ID ID), 11, DZ_E_CORRUPT },
        { "a leaf", DZ_SLICE_LIT("L\x01\0\0\x00\x01\x0b" ID), 11, DZ_E_CORRUPT },
        { "version 2", DZ_SLICE_LIT("C\x02\0\0\x00\x01\x0b" ID), 11, DZ_E_UNSUPPORTED },
        { "an unknown incompatible bit", DZ_SLICE_LIT("C\x01\0\x01\x00\x01\x0b" ID), 11,
          DZ_E_UNSUPPORTED },
        { "an unknown compatible bit", DZ_SLICE_LIT("C\x01\x01\0\x00\x01\x0b" ID), 11, DZ_OK },
        { "empty", DZ_SLICE_LIT(""), 11, DZ_E_CORRUPT },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        DZ_AUTO(dz_memory_objects) m = dz_memory_objects_new();
        struct dz_sink sink = dz_memory_sink(m);
        struct dz_source source = dz_memory_source(m);
        DZ_AUTO(dz_content_reader) reader = NULL;
        dz_autobuf dz_buf field = { 0 };
        dz_err err = { 0 };
        dz_id id;

        assert_int_equal(sink.put(sink.ctx, DZ_KIND_NODE, rows[i].list, &id, NULL), DZ_OK);
        dz_buf_put_varint(&field, 1);
        dz_buf_put_varint(&field, 1);
        dz_buf_put_varint(&field, rows[i].promised);
        dz_buf_put(&field, id.b, sizeof id.b);
        dz_buf_put(&field, id.b, sizeof id.b);
        assert_int_equal(dz_content_reader_new(&source, &reader, NULL), DZ_OK);
        if (dz_content_reader_start(reader, dz_buf_slice(&field), 0, &err) != rows[i].status)
            fail_msg("%s: %s", rows[i].why, err.what);
        if (rows[i].status != DZ_OK)
            assert_non_null(strstr(err.what, "content list "));
        dz_memory_objects_lose(m, DZ_KIND_NODE, &id);
        assert_int_equal(dz_content_reader_start(reader, dz_buf_slice(&field), 0, &err),
                         DZ_E_NOT_FOUND);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_of_any_length_are_read_back),
        cmocka_unit_test(a_change_in_the_middle_makes_few_new_lists),
        cmocka_unit_test(the_builder_refuses_chunks_of_no_or_too_many_bytes),
        cmocka_unit_test(a_failed_put_loses_one_file_only),
        cmocka_unit_test(hostile_fields_are_refused),
        cmocka_unit_test(lists_that_do_not_keep_their_promise_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
