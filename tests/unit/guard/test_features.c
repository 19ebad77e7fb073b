/* The judge's record: what it says of plain, packed, encrypted and disguised content, and that it
 * is the same however the bytes arrived and whatever processor counted them. */
#include "guard/features.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "core/cpu.h"
#include "guard/histogram.h"
#include "guard/histogram_ops.h"

enum { LEN = 300 * 1000 };
static uint8_t data[LEN];

static void fill_random(uint8_t *p, size_t len, uint32_t seed) {
    uint8_t wide[randombytes_SEEDBYTES] = { 0 };

    dz_store_le(wide, 4, seed);
    randombytes_buf_deterministic(p, len, wide);
}

static void fill_hl7(uint8_t *p, size_t len) {
    dz_autobuf dz_buf b = { 0 };

    for (unsigned i = 0; b.len < len; i++)
        dz_buf_printf(&b,
                      "MSH|^~\\&|HIS|HOSP|LIS|LAB|20221031%06u||ORU^R01|%08u|P|2.5\rPID|1||%06u\n",
                      i % 240000, i * 7919u, i * 31u % 999983u);
    assert_true(dz_buf_ok(&b));
    memcpy(p, b.data, len);
}

static void fill_base64(uint8_t *p, size_t len) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    fill_random(p, len, 77);
    for (size_t i = 0; i < len; i++)
        p[i] = i % 77 == 76 ? '\n' : (uint8_t) alphabet[p[i] & 63];
}

static dz_feature_record record_of(const uint8_t *p, size_t len, const char *name) {
    static struct dz_features f;
    dz_feature_record r;

    dz_features_init(&f);
    dz_features_update(&f, (dz_slice){ p, len });
    dz_features_finish(&f, (dz_slice){ (const uint8_t *) name, strlen(name) }, NULL, &r);
    return r;
}

static bool same_record(const dz_feature_record *a, const dz_feature_record *b) {
    dz_autobuf dz_buf x = { 0 };
    dz_autobuf dz_buf y = { 0 };

    dz_feature_record_put(&x, a);
    dz_feature_record_put(&y, b);
    return dz_buf_ok(&x) && dz_buf_ok(&y) && dz_slice_eq(dz_buf_slice(&x), dz_buf_slice(&y));
}

static void encrypted_content_looks_random_everywhere(void **state) {
    dz_feature_record r;

    (void) state;
    fill_random(data, LEN, 1);
    r = record_of(data, LEN, "karte.docx");
    assert_in_range(r.whole.entropy, 32750, 32768);
    assert_in_range(r.first.entropy, 32500, 32768);
    assert_in_range(dz_chi2_value(r.whole.chi2), 165, 345);
    assert_in_range(dz_chi2_value(r.first.chi2), 165, 345);
    assert_true(r.random_share > 65535 / 100 * 95);
    assert_int_equal(r.text_kind, DZ_TEXT_NOT);
    assert_int_equal(r.type, DZ_TYPE_NONE);
    assert_int_equal(r.fit, DZ_FIT_MISSING);
}

static void messages_are_text_and_far_from_random(void **state) {
    dz_feature_record r;

    (void) state;
    fill_hl7(data, LEN);
    r = record_of(data, LEN, "1.hl7");
    assert_in_range(r.whole.entropy, 4 * 4096, 6 * 4096);
    assert_true(dz_chi2_value(r.most.chi2) > 10000);
    assert_int_equal(r.random_share, 0);
    assert_int_equal(r.text_kind, DZ_TEXT_ASCII);
    assert_int_equal(r.text_share, 255);
    assert_in_range(r.line_len, 60, 100);
    assert_int_equal(r.type, DZ_TYPE_HL7);
    assert_int_equal(r.fit, DZ_FIT_YES);
}

static void base64_is_seen_through(void **state) {
    dz_feature_record r;

    (void) state;
    fill_base64(data, LEN);
    r = record_of(data, LEN, "karte.docx");
    assert_in_range(r.whole.entropy, 6 * 4096 - 100, 6 * 4096 + 500);
    assert_int_equal(r.base64_share, 255);
    assert_int_equal(r.line_len, 77);
    assert_int_equal(r.text_kind, DZ_TEXT_ASCII);
    assert_int_equal(r.fit, DZ_FIT_MISSING);
    fill_hl7(data, LEN);
    r = record_of(data, LEN, "1.hl7");
    assert_true(r.base64_share < 200);
}

static void one_encrypted_block_stands_out_from_text(void **state) {
    dz_feature_record r;

    (void) state;
    fill_hl7(data, LEN);
    fill_random(data + 10 * 4096, 4096, 2);
    r = record_of(data, LEN, "1.txt");
    assert_in_range(dz_chi2_value(r.most.chi2), 165, 345);
    assert_in_range(r.random_share, 65535 / 74 - 20, 65535 / 73 + 20);
    assert_true(dz_chi2_value(r.first.chi2) > 10000);
    assert_true(dz_chi2_value(r.least.chi2) > 10000);
}

static void an_encrypted_head_shows_in_the_first_block(void **state) {
    dz_feature_record r;

    (void) state;
    fill_hl7(data, LEN);
    fill_random(data, 4096, 3);
    r = record_of(data, LEN, "1.txt");
    assert_in_range(dz_chi2_value(r.first.chi2), 165, 345);
    assert_true(dz_chi2_value(r.whole.chi2) > 10000);
    assert_int_equal(r.type, DZ_TYPE_NONE);
}

static void known_values_come_out_exactly(void **state) {
    dz_feature_record r;

    (void) state;
    memset(data, 'x', 8192);
    r = record_of(data, 8192, "");
    assert_int_equal(r.whole.entropy, 0);
    /* 2^21 and less: 255 times 8192 = 2088960, of which 11 bits are kept */
    assert_int_equal(dz_chi2_value(r.whole.chi2), 2088960);
    for (size_t i = 0; i < 8192; i++)
        data[i] = (uint8_t) i;
    r = record_of(data, 8192, "");
    assert_int_equal(r.whole.entropy, 8 * 4096);
    assert_int_equal(dz_chi2_value(r.whole.chi2), 0);
    assert_int_equal(r.random_share, 0); /* too even to be random */
    for (size_t i = 0; i < 1024; i++)
        data[i] = i % 2 ? 'a' : 'b';
    r = record_of(data, 1024, "");
    assert_int_equal(r.whole.entropy, 4096);
    assert_int_equal(r.base64_share, 255);
    assert_int_equal(r.line_len, 0);
}

static void short_and_empty_files_have_records(void **state) {
    static const size_t lens[] = { 0, 1, 2, 255, 256, 4095, 4096, 4097, 4351, 4352, 8191 };

    (void) state;
    fill_random(data, LEN, 4);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        dz_feature_record r = record_of(data, lens[i], "a");

        assert_int_equal(r.len, lens[i]);
        if (lens[i] <= 4096) {
            assert_memory_equal(&r.first, &r.whole, sizeof r.whole);
            assert_memory_equal(&r.least, &r.whole, sizeof r.whole);
        }
        if (lens[i] == 4351) /* a last block of 255 bytes is left out */
            assert_memory_equal(&r.least, &r.first, sizeof r.first);
        if (lens[i] == 4352)
            assert_memory_not_equal(&r.least, &r.most, sizeof r.first);
    }
}

static void slices_and_spans_make_no_difference(void **state) {
    static struct dz_features f, g;
    dz_feature_record want, got;
    uint32_t x = 5;

    (void) state;
    fill_hl7(data, LEN);
    fill_random(data + LEN / 2, LEN / 4, 5);
    want = record_of(data, LEN, "a.bin");
    for (int round = 0; round < 30; round++) {
        size_t at = 0;

        dz_features_init(&f);
        while (at < LEN) { /* spans of whole blocks, each taken in odd slices, then joined */
            size_t span, end;

            x = x * 1664525u + 1013904223u;
            span = ((x >> 24) % 20 + 1) * DZ_FEATURE_BLOCK;
            end = at + span < LEN ? at + span : LEN;
            dz_features_init(&g);
            while (at < end) {
                size_t n;

                x = x * 1664525u + 1013904223u;
                n = (x >> 16) % (round % 2 ? 200 : 9000) + 1;
                if (n > end - at)
                    n = end - at;
                dz_features_update(&g, (dz_slice){ data + at, n });
                at += n;
            }
            dz_features_merge(&f, &g);
        }
        dz_features_finish(&f, DZ_SLICE_LIT("a.bin"), NULL, &got);
        assert_true(same_record(&want, &got));
    }
}

static void vectors_count_like_plain_code(void **state) {
    static dz_feature_record want[200];

    (void) state;
    for (int pass = 0; pass < 2; pass++) {
        dz_cpu_force(pass ? DZ_CPU_AVX512 : DZ_CPU_PLAIN);
        for (uint32_t i = 0; i < 200; i++) {
            dz_feature_record r;

            if (i % 4 == 0)
                fill_hl7(data, LEN);
            else if (i % 4 == 1)
                fill_random(data, LEN, i);
            else
                memset(data, (int) i, LEN);
            if (i % 4 == 3) /* two values: sums of logarithms above 2^31 */
                memset(data, (int) i + 1, LEN / 2 + 1000);
            r = record_of(data + i, 100 + i * 1234, "a");
            if (pass)
                assert_true(same_record(&want[i], &r));
            want[i] = r;
        }
    }
#if defined(__x86_64__)
    if (dz_cpu_level() == DZ_CPU_AVX512) { /* the extremes: all in one, and all alike */
        static const uint32_t no_logs[DZ_HISTOGRAM_MAX + 1] = {
            [4096] = 12 * 65536, [16] = 4 * 65536
        };
        uint16_t counts[256] = { [255] = 4096 };

        for (int i = 0; i < 2; i++) {
            struct dz_histogram_sums a = dz_histogram_plain.sums(counts, no_logs);
            struct dz_histogram_sums b = dz_histogram_avx512.sums(counts, no_logs);

            assert_int_equal(a.squares, b.squares);
            assert_int_equal(a.clogc, b.clogc);
            assert_int_equal(a.squares, i ? 256 * 256 : 4096 * 4096);
            for (int k = 0; k < 256; k++)
                counts[k] = 16;
        }
    }
#endif
}

static void logarithms_are_close_and_never_above(void **state) {
    (void) state;
    assert_int_equal(dz_log2_fixed(1), 0);
    assert_int_equal(dz_log2_fixed(3), 103872);    /* 1.5849625 * 65536 = 103872.1 */
    assert_int_equal(dz_log2_fixed(4095), 786408); /* 11.9996477 * 65536 = 786408.9 */
    for (unsigned bit = 0; bit < 64; bit++)
        assert_int_equal(dz_log2_fixed(1ull << bit), bit << 16);
    assert_int_equal(dz_log2_fixed(UINT64_MAX), (64u << 16) - 1);
    for (uint64_t v = 1; v < 1u << 20; v += 7)
        assert_true(dz_log2_fixed(v + 1) >= dz_log2_fixed(v));
}

static void japanese_text_is_told_apart(void **state) {
    static const struct {
        const char *bytes;
        dz_text_kind kind;
    } rows[] = {
        { "plain words, and a line\n", DZ_TEXT_ASCII },
        { "\xe6\x82\xa3\xe8\x80\x85\xe6\xb0\x8f\xe5\x90\x8d ABC\n", DZ_TEXT_UTF8 },
        { "\x8a\xb3\x8e\xd2\x8e\x81\x96\xbc ABC\n", DZ_TEXT_SHIFT_JIS },
        { "\xb4\xb5\xbc\xd4\xbb\xe1\xcc\xbe ABC\n", DZ_TEXT_EUC_JP },
        { "\x1b$B45<T;aL>\x1b(B ABC and some more words here\n", DZ_TEXT_ISO2022JP },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].bytes);

        for (size_t k = 0; k < 64; k++)
            memcpy(data + k * len, rows[i].bytes, len);
        assert_int_equal(record_of(data, 64 * len, "a.txt").text_kind, rows[i].kind);
        assert_int_equal(record_of(data, 64 * len, "a.txt").fit, DZ_FIT_YES);
    }
    memcpy(data, "\xff\xfeP\0I\0D\0|\0", 10);
    assert_int_equal(record_of(data, 10, "a.txt").text_kind, DZ_TEXT_UTF16);
}

static void dense_bytes_are_not_worth_compressing(void **state) {
    static struct dz_features f;

    (void) state;
    fill_random(data, LEN, 6);
    assert_true(dz_histogram_says_incompressible(data, LEN));
    assert_true(dz_histogram_says_incompressible(data, 300));
    assert_false(dz_histogram_says_incompressible(data, 100));
    dz_features_init(&f);
    assert_false(dz_features_last_incompressible(&f));
    dz_features_update(&f, (dz_slice){ data, 65536 });
    assert_true(dz_features_last_incompressible(&f));
    fill_base64(data, LEN);
    assert_false(dz_histogram_says_incompressible(data, LEN)); /* 6 bits in 8 */
    fill_hl7(data, LEN);
    assert_false(dz_histogram_says_incompressible(data, LEN));
    dz_features_update(&f, (dz_slice){ data, 65536 });
    assert_false(dz_features_last_incompressible(&f));
}

static void chi_square_codes_keep_order_and_eleven_bits(void **state) {
    (void) state;
    for (unsigned c = 0; c < 56319; c++)
        assert_true(dz_chi2_value((uint16_t) c) < dz_chi2_value((uint16_t) (c + 1)));
    assert_int_equal(dz_chi2_value(2047), 2047);
    assert_int_equal(dz_chi2_value(2048), 2048);
    assert_int_equal(dz_chi2_value(2049), 2050);
}

static void a_record_survives_its_bytes(void **state) {
    static const uint8_t digest[DZ_FEATURE_DIGEST] = "sixteen bytes...";
    static struct dz_features f;
    dz_autobuf dz_buf b = { 0 };
    dz_feature_record r, back;
    dz_reader in;

    (void) state;
    fill_hl7(data, LEN);
    dz_features_init(&f);
    dz_features_update(&f, (dz_slice){ data, LEN });
    dz_features_finish(&f, DZ_SLICE_LIT("1.hl7"), digest, &r);
    dz_feature_record_put(&b, &r);
    assert_true(dz_buf_ok(&b));
    assert_int_equal(b.len, 2 + 42);
    in = dz_reader_over(dz_buf_slice(&b));
    assert_int_equal(dz_feature_record_read(&in, &back, NULL), DZ_OK);
    assert_true(dz_reader_done(&in));
    assert_true(same_record(&r, &back));
    assert_memory_equal(back.digest, digest, sizeof digest);

    for (size_t cut = 0; cut < b.len; cut++) { /* cut short anywhere: refused */
        in = dz_reader_over((dz_slice){ b.data, cut });
        assert_int_equal(dz_feature_record_read(&in, &back, NULL), DZ_E_MALFORMED);
    }
}

static void a_newer_record_is_read_as_far_as_it_is_known(void **state) {
    dz_autobuf dz_buf b = { 0 };
    dz_feature_record r, back;
    dz_reader in;

    (void) state;
    r = record_of((const uint8_t *) "abc", 3, "a.txt");
    dz_feature_record_put(&b, &r);
    dz_buf_put(&b, "new fields", 10);
    assert_true(dz_buf_ok(&b));
    b.data[1] = (uint8_t) (b.data[1] + 10);
    in = dz_reader_over(dz_buf_slice(&b));
    assert_int_equal(dz_feature_record_read(&in, &back, NULL),
                     DZ_E_MALFORMED); /* not in version 1 */
    b.data[0] = 2;
    in = dz_reader_over(dz_buf_slice(&b));
    assert_int_equal(dz_feature_record_read(&in, &back, NULL), DZ_OK);
    assert_true(dz_reader_done(&in));
    assert_true(same_record(&r, &back));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encrypted_content_looks_random_everywhere),
        cmocka_unit_test(messages_are_text_and_far_from_random),
        cmocka_unit_test(base64_is_seen_through),
        cmocka_unit_test(one_encrypted_block_stands_out_from_text),
        cmocka_unit_test(an_encrypted_head_shows_in_the_first_block),
        cmocka_unit_test(known_values_come_out_exactly),
        cmocka_unit_test(short_and_empty_files_have_records),
        cmocka_unit_test(slices_and_spans_make_no_difference),
        cmocka_unit_test(vectors_count_like_plain_code),
        cmocka_unit_test(logarithms_are_close_and_never_above),
        cmocka_unit_test(japanese_text_is_told_apart),
        cmocka_unit_test(dense_bytes_are_not_worth_compressing),
        cmocka_unit_test(chi_square_codes_keep_order_and_eleven_bits),
        cmocka_unit_test(a_record_survives_its_bytes),
        cmocka_unit_test(a_newer_record_is_read_as_far_as_it_is_known),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
