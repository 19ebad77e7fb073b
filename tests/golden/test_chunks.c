/* Cuts and feature records of format version 1 come out as they always did.
 *
 *   test_chunks chunks-v1.txt features-v1.txt
 *
 * The inputs are made as tests/golden/vectors.py makes them. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/cpu.h"
#include "core/durable.h"
#include "core/hex.h"
#include "crypto/hash.h"
#include "guard/features.h"
#include "store/chunker.h"

static const char *chunks_file, *features_file;

static void put_random(dz_buf *b, size_t len) {
    size_t end = b->len + len;

    for (uint64_t i = 0; b->len < end && dz_buf_ok(b); i++) {
        uint8_t count[8], hash[DZ_SHA256_BYTES];

        dz_store_le(count, 8, i);
        dz_sha256((dz_slice){ count, 8 }, hash);
        dz_buf_put(b, hash, end - b->len < sizeof hash ? end - b->len : sizeof hash);
    }
}

static void put_text(dz_buf *b, size_t len) {
    size_t end = b->len + len;

    for (unsigned i = 0; b->len < end && dz_buf_ok(b); i++)
        dz_buf_printf(b, "line %u of the message log\n", i);
    b->len = end;
}

static void put_zeros(dz_buf *b, size_t len) {
    uint8_t *to = dz_buf_extend(b, len);

    if (to)
        memset(to, 0, len);
}

static bool is(dz_slice name, const char *what) {
    return name.len == strlen(what) && memcmp(name.data, what, name.len) == 0;
}

static void make_input(dz_slice name, dz_buf *b) {
    if (is(name, "empty")) {
        return;
    } else if (is(name, "short")) {
        dz_buf_printf(b, "MSH|^~\\&|A\r");
    } else if (is(name, "random")) {
        put_random(b, 1 << 20);
    } else if (is(name, "text")) {
        put_text(b, 700000);
    } else if (is(name, "zeros")) {
        put_zeros(b, 600000);
    } else if (is(name, "mixed")) {
        put_text(b, 100000);
        put_random(b, 70000);
        put_zeros(b, 5000);
        put_text(b, 90001);
    } else if (is(name, "block")) {
        put_random(b, 4096);
    } else if (is(name, "odd")) {
        put_text(b, 4096);
        put_random(b, 4096);
        put_text(b, 255);
    } else {
        fail_msg("no such input: %.*s", (int) name.len, (const char *) name.data);
    }
    assert_true(dz_buf_ok(b));
}

/* The next "name = value" line; false at the end. */
static bool next_line(dz_reader *r, dz_slice *ret_name, dz_slice *ret_value) {
    while (dz_reader_left(r) > 0) {
        dz_slice line = dz_read_until(r, '\n');

        assert_true(dz_reader_ok(r));
        for (size_t i = 0; i + 3 <= line.len && line.data[0] != '#'; i++) {
            if (memcmp(line.data + i, " = ", 3) == 0) {
                *ret_name = (dz_slice){ line.data, i };
                *ret_value = (dz_slice){ line.data + i + 3, line.len - i - 3 };
                return true;
            }
        }
    }
    return false;
}

static void expect(dz_slice name, dz_slice want, const dz_buf *got) {
    assert_true(dz_buf_ok(got));
    if (!dz_slice_eq(want, dz_buf_slice(got)))
        fail_msg("%.*s: got %.*s", (int) name.len, (const char *) name.data, (int) got->len,
                 (const char *) got->data);
}

static void put_hex(dz_buf *out, dz_slice bytes) {
    uint8_t *to = dz_buf_extend(out, 2 * bytes.len + 1);

    assert_non_null(to);
    dz_hex(bytes.data, bytes.len, (char *) to);
    out->len--; /* the NUL */
}

static void check_cuts(const struct dz_chunker *c, bool small, dz_slice name, dz_slice want) {
    dz_autobuf dz_buf data = { 0 };
    dz_autobuf dz_buf got = { 0 };
    dz_autobuf dz_buf words = { 0 };
    dz_slice input = name;

    if (small)
        input.len -= strlen("_small");
    make_input(input, &data);
    for (size_t at = 0, chunk; at < data.len; at += chunk) {
        chunk = dz_chunker_next(c, data.data + at, data.len - at, true);
        dz_buf_put_le32(&words, (uint32_t) chunk);
        if (!small)
            dz_buf_printf(&got, "%s%zu", at ? " " : "", chunk);
    }
    if (small) {
        uint8_t hash[DZ_SHA256_BYTES];

        dz_sha256(dz_buf_slice(&words), hash);
        dz_buf_printf(&got, "%zu ", words.len / 4);
        put_hex(&got, (dz_slice){ hash, sizeof hash });
    } else if (data.len == 0) {
        dz_buf_printf(&got, "none");
    }
    expect(name, want, &got);
}

static void cuts_stay_where_they_are(void **state) {
    static const struct dz_chunker_params small_params = { 256, 1024, 4096 };
    dz_autobuf dz_buf file = { 0 };
    uint8_t key[DZ_CHUNK_KEY_BYTES];
    dz_slice name, value;

    (void) state;
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t) i;
    assert_int_equal(dz_read_file(AT_FDCWD, chunks_file, 1 << 20, &file, NULL), DZ_OK);
    for (enum dz_cpu_level level = DZ_CPU_PLAIN; level <= DZ_CPU_AVX512; level++) {
        DZ_AUTO(dz_chunker) vault = NULL;
        DZ_AUTO(dz_chunker) small = NULL;
        dz_reader r = dz_reader_over(dz_buf_slice(&file));
        unsigned rows = 0;

        dz_cpu_force(level);
        assert_int_equal(dz_chunker_new(key, DZ_CHUNKER_DEFAULTS, &vault, NULL), DZ_OK);
        assert_int_equal(dz_chunker_new(key, small_params, &small, NULL), DZ_OK);
        while (next_line(&r, &name, &value)) {
            bool is_small = name.len > 6 && memcmp(name.data + name.len - 6, "_small", 6) == 0;

            if (is(name, "key") || is(name, "gear"))
                continue; /* for other implementations */
            check_cuts(is_small ? small : vault, is_small, name, value);
            rows++;
        }
        assert_int_equal(rows, 16);
    }
}

static void records_stay_as_they_are(void **state) {
    static struct dz_features f;
    dz_autobuf dz_buf file = { 0 };
    uint8_t digest[DZ_FEATURE_DIGEST];
    dz_slice name, value;

    (void) state;
    for (size_t i = 0; i < sizeof digest; i++)
        digest[i] = (uint8_t) (16 + i);
    assert_int_equal(dz_read_file(AT_FDCWD, features_file, 1 << 20, &file, NULL), DZ_OK);
    for (enum dz_cpu_level level = DZ_CPU_PLAIN; level <= DZ_CPU_AVX512; level++) {
        dz_reader r = dz_reader_over(dz_buf_slice(&file));
        unsigned rows = 0;

        dz_cpu_force(level);
        while (next_line(&r, &name, &value)) {
            dz_autobuf dz_buf data = { 0 };
            dz_autobuf dz_buf bytes = { 0 };
            dz_autobuf dz_buf got = { 0 };
            dz_reader words = dz_reader_over(name);
            dz_slice input = dz_read_until(&words, ' ');
            dz_slice file_name = dz_read_bytes(&words, dz_reader_left(&words));
            dz_feature_record record;

            make_input(input, &data);
            dz_features_init(&f);
            dz_features_update(&f, dz_buf_slice(&data));
            dz_features_finish(&f, file_name, digest, &record);
            dz_feature_record_put(&bytes, &record);
            put_hex(&got, dz_buf_slice(&bytes));
            expect(name, value, &got);
            rows++;
        }
        assert_int_equal(rows, 8);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_stay_where_they_are),
        cmocka_unit_test(records_stay_as_they_are),
    };

    if (argc != 3)
        return 2;
    chunks_file = argv[1];
    features_file = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
