#include "store/chunker.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sodium.h>

#include "core/cpu.h"
#include "core/hex.h"
#include "store/chunker_scan.h"

static const uint8_t test_key[32] = "the chunk key of the tests, 32 B";

static void fill_random(uint8_t *p, size_t len, uint32_t seed) {
    uint8_t wide[randombytes_SEEDBYTES] = { 0 };

    dz_store_le(wide, 4, seed);
    randombytes_buf_deterministic(p, len, wide);
}

static void fill_text(uint8_t *p, size_t len, uint32_t seed) {
    static const char words[] = "PID|1||000123^^^HOSP||YAMADA^TARO||19600101|M\rOBX|1|NM|GLU||";
    uint32_t x = seed;

    for (size_t i = 0; i < len; i++) {
        if (i % 16 == 0)
            x = x * 1664525u + 1013904223u;
        p[i] = (uint8_t) words[((x >> 20) + i % 16) % (sizeof words - 1)];
    }
}

static struct dz_chunker *small_chunker(void) {
    struct dz_chunker *c = NULL;
    struct dz_chunker_params p = { .min = 256, .avg = 1024, .max = 4096 };

    assert_int_equal(dz_chunker_new(test_key, p, &c, NULL), DZ_OK);
    return c;
}

/* Offsets where chunks end.  Gives how many; the last is len. */
static size_t cuts_of(const struct dz_chunker *c, const uint8_t *data, size_t len, size_t *ret_cuts,
                      size_t most) {
    size_t at = 0, n = 0;

    while (at < len) {
        size_t chunk = dz_chunker_next(c, data + at, len - at, true);

        assert_in_range(chunk, 1, dz_chunker_params(c).max);
        assert_true(chunk >= dz_chunker_params(c).min || at + chunk == len);
        assert_true(n < most);
        at += chunk;
        ret_cuts[n++] = at;
    }
    assert_int_equal(at, len);
    return n;
}

static bool contains(const size_t *cuts, size_t n, size_t at) {
    for (size_t i = 0; i < n; i++)
        if (cuts[i] == at)
            return true;
    return false;
}

enum { LEN = 1 << 20, CUTS = 8192 };
static uint8_t data[LEN + 64], edited[LEN + 64];
static size_t cuts[CUTS], cuts2[CUTS];

static void an_insertion_moves_only_the_cuts_near_it(void **state) {
    DZ_AUTO(dz_chunker) c = small_chunker();
    size_t n, n2, same = 0, at = LEN / 3;

    (void) state;
    fill_random(data, LEN, 1);
    memcpy(edited, data, at);
    memcpy(edited + at, "inserted", 8);
    memcpy(edited + at + 8, data + at, LEN - at);
    n = cuts_of(c, data, LEN, cuts, CUTS);
    n2 = cuts_of(c, edited, LEN + 8, cuts2, CUTS);
    for (size_t i = 0; i < n; i++) {
        size_t moved = cuts[i] <= at ? cuts[i] : cuts[i] + 8;
        same += contains(cuts2, n2, moved);
    }
    assert_true(n > LEN / 4096);
    assert_true(same + 12 >= n); /* a dozen chunks of 1 KiB to fall into step again */
}

static void a_cut_depends_on_the_window_and_not_on_what_is_before(void **state) {
    DZ_AUTO(dz_chunker) c = small_chunker();
    size_t first;

    (void) state;
    fill_random(data, 8192, 2);
    first = dz_chunker_next(c, data, 8192, true);
    assert_in_range(first, 256 + 1, 4095);
    memset(data, 0xaa, first - 32 < 224 ? first - 32 : 224); /* below min less the window */
    assert_int_equal(dz_chunker_next(c, data, 8192, true), first);
    data[first] ^= 1; /* the byte after the cut */
    assert_int_equal(dz_chunker_next(c, data, 8192, true), first);
    data[first - 32] ^= 1; /* the oldest byte of the window */
    assert_int_not_equal(dz_chunker_next(c, data, 8192, true), first);
}

static void what_follows_max_bytes_does_not_matter(void **state) {
    DZ_AUTO(dz_chunker) c = small_chunker();

    (void) state;
    for (uint32_t seed = 0; seed < 200; seed++) {
        size_t want;
        fill_random(data, 8192, seed);
        want = dz_chunker_next(c, data, 8192, false);
        assert_int_equal(dz_chunker_next(c, data, 4096, false), want);
        assert_int_equal(dz_chunker_next(c, data, 4096, true), want);
    }
}

static void a_run_of_any_byte_value_is_cut_at_max(void **state) {
    DZ_AUTO(dz_chunker) c = small_chunker();

    (void) state;
    for (int b = 0; b < 256; b++) {
        memset(data, b, 8192);
        assert_int_equal(dz_chunker_next(c, data, 8192, true), 4096);
    }
}

static void short_input_is_one_chunk(void **state) {
    DZ_AUTO(dz_chunker) c = small_chunker();

    (void) state;
    fill_random(data, 4096, 3);
    for (size_t len = 0; len <= 256; len++)
        assert_int_equal(dz_chunker_next(c, data, len, true), len);
}

static void another_key_cuts_elsewhere(void **state) {
    static const uint8_t other_key[32] = "another key of the tests, 32 B..";
    struct dz_chunker_params p = { .min = 256, .avg = 1024, .max = 4096 };
    DZ_AUTO(dz_chunker) c = small_chunker();
    DZ_AUTO(dz_chunker) other = NULL;
    size_t n, n2, same = 0;

    (void) state;
    assert_int_equal(dz_chunker_new(other_key, p, &other, NULL), DZ_OK);
    fill_random(data, LEN, 4);
    n = cuts_of(c, data, LEN, cuts, CUTS);
    n2 = cuts_of(other, data, LEN, cuts2, CUTS);
    for (size_t i = 0; i < n; i++)
        same += contains(cuts2, n2, cuts[i]);
    assert_true(same < n / 50);
}

static void parameters_outside_the_limits_are_refused(void **state) {
    static const struct dz_chunker_params refused[] = {
        { 256, 1000, 4096 },  { 256, 512, 4096 },      { 31, 1024, 4096 },
        { 2048, 1024, 4096 }, { 256, 1024, 1024 },     { 256, 8 << 20, 16 << 20 },
        { 0, 0, 0 },          { 256, 1024, 65 << 20 },
    };
    struct dz_chunker *c = NULL;

    (void) state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(dz_chunker_new(test_key, refused[i], &c, NULL), DZ_E_LIMIT);
        assert_null(c);
    }
}

/* Every vector path against the plain one: alignments, lengths, kinds of data, dense and rare
 * hits, and hits at each place of a vector. */
static void vector_paths_cut_where_the_plain_one_does(void **state) {
    static const uint32_t limits[] = { 1u << 14, 1u << 18, 1u << 24, 1u << 31 };
    dz_chunker_scan *plain = dz_chunker_scan_for(DZ_CPU_PLAIN);
    enum dz_cpu_level have = dz_cpu_level();
    static struct dz_gear gear;

    (void) state;
    fill_random((uint8_t *) gear.word, sizeof gear.word, 5);
    for (size_t i = 0; i < 1024; i++)
        gear.plane[i / 256][i % 256] = (uint8_t) (gear.word[i % 256] >> (8 * (i / 256)));
    for (int kind = 0; kind < 3; kind++) {
        if (kind == 0)
            fill_random(data, LEN, 6);
        else if (kind == 1)
            fill_text(data, LEN, 7);
        else
            memset(data, 0, LEN);
        for (enum dz_cpu_level level = DZ_CPU_AVX2; level <= have; level++) {
            dz_chunker_scan *fast = dz_chunker_scan_for(level);

            for (size_t i = 0; i < 4000; i++) {
                uint32_t limit = limits[i % 4];
                size_t start = i * 37 % 997, from = 32 + i * 13 % 200;
                size_t to = from + (i < 2000 ? i : i * 29 % 70000);
                assert_int_equal(fast(&gear, data + start, from, to, limit),
                                 plain(&gear, data + start, from, to, limit));
            }
        }
    }
}

static void a_forced_plain_chunker_cuts_the_same(void **state) {
    DZ_AUTO(dz_chunker) fast = NULL;
    DZ_AUTO(dz_chunker) plain = NULL;
    size_t n, n2;

    (void) state;
    assert_int_equal(dz_chunker_new(test_key, DZ_CHUNKER_DEFAULTS, &fast, NULL), DZ_OK);
    dz_cpu_force(DZ_CPU_PLAIN);
    assert_int_equal(dz_cpu_level(), DZ_CPU_PLAIN);
    assert_int_equal(dz_chunker_new(test_key, DZ_CHUNKER_DEFAULTS, &plain, NULL), DZ_OK);
    dz_cpu_force(DZ_CPU_AVX512);
    fill_random(data, LEN, 8);
    n = cuts_of(fast, data, LEN, cuts, CUTS);
    n2 = cuts_of(plain, data, LEN, cuts2, CUTS);
    assert_int_equal(n, n2);
    assert_memory_equal(cuts, cuts2, n * sizeof *cuts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_insertion_moves_only_the_cuts_near_it),
        cmocka_unit_test(a_cut_depends_on_the_window_and_not_on_what_is_before),
        cmocka_unit_test(what_follows_max_bytes_does_not_matter),
        cmocka_unit_test(a_run_of_any_byte_value_is_cut_at_max),
        cmocka_unit_test(short_input_is_one_chunk),
        cmocka_unit_test(another_key_cuts_elsewhere),
        cmocka_unit_test(parameters_outside_the_limits_are_refused),
        cmocka_unit_test(vector_paths_cut_where_the_plain_one_does),
        cmocka_unit_test(a_forced_plain_chunker_cuts_the_same),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
