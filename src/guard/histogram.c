#include "guard/histogram.h"

#include <pthread.h>

#include "core/cpu.h"
#include "guard/histogram_ops.h"

typedef unsigned __int128 u128;

/* ---- logarithms ---- */

enum { LOG_EXACT = DZ_HISTOGRAM_MAX, LOG_BITS = 12 };
static uint32_t log_table[LOG_EXACT + 1]; /* log2(i) * 65536, rounded down; [0] is 0 */
static pthread_once_t log_once = PTHREAD_ONCE_INIT;

/* Squaring doubles a logarithm, so each squaring brings out one more of its binary digits. */
static uint32_t log2_by_squaring(uint32_t v) {
    unsigned whole = 31u - (unsigned) __builtin_clz(v);
    uint64_t x = (uint64_t) v << (62 - whole); /* in [1, 2), 62 fraction bits */
    uint32_t log = whole;

    for (int digit = 0; digit < 16; digit++) {
        u128 square = ((u128) x * x) >> 62;
        log <<= 1;
        if (square >> 63) {
            log |= 1;
            square >>= 1;
        }
        x = (uint64_t) square;
    }
    return log;
}

static void fill_log_table(void) {
    for (uint32_t i = 1; i <= LOG_EXACT; i++)
        log_table[i] = i % 2 ? log2_by_squaring(i) : log_table[i / 2] + 65536;
}

static const uint32_t *logs(void) {
    (void) pthread_once(&log_once, fill_log_table);
    return log_table;
}

static uint32_t log2_from(const uint32_t *table, uint64_t v) {
    unsigned shift;
    uint64_t step, fraction;
    uint32_t base;

    if (v <= LOG_EXACT)
        return table[v];
    shift = 64u - LOG_BITS - (unsigned) __builtin_clzll(v);
    base = table[v >> shift];
    step = table[(v >> shift) + 1] - base;
    fraction = v & ((1ull << shift) - 1);
    fraction = shift > 16 ? fraction >> (shift - 16) : fraction << (16 - shift);
    return (uint32_t) ((shift << 16) + base + (step * fraction >> 16));
}

uint32_t dz_log2_fixed(uint64_t v) {
    return log2_from(logs(), v);
}

/* ---- the parts that have a vector twin ---- */

/* restrict, and the tables outside: compilers then add eight or sixteen counts at a time. */
static void fold_plain(uint16_t counts[restrict 256],
                       uint16_t table[restrict DZ_HISTOGRAM_TABLES][256]) {
    for (size_t k = 0; k < DZ_HISTOGRAM_TABLES; k++)
        for (size_t b = 0; b < 256; b++)
            counts[b] = (uint16_t) (counts[b] + table[k][b]);
}

static struct dz_histogram_sums sums_plain(const uint16_t counts[256], const uint32_t *log) {
    struct dz_histogram_sums s = { 0 };

    for (size_t b = 0; b < 256; b++) {
        uint32_t c = counts[b];
        s.squares += c * c;
        s.clogc += c * log[c];
    }
    return s;
}

static void add_plain(uint64_t totals[restrict 256], const uint16_t counts[restrict 256]) {
    for (size_t b = 0; b < 256; b++)
        totals[b] += counts[b];
}

const struct dz_histogram_ops dz_histogram_plain = { fold_plain, sums_plain, add_plain };

static const struct dz_histogram_ops *ops(void) {
#if defined(__x86_64__)
    if (dz_cpu_level() == DZ_CPU_AVX512)
        return &dz_histogram_avx512;
#endif
    return &dz_histogram_plain;
}

/* ---- counting ---- */

/* Eight tables: a run of one byte value would otherwise wait for its own counter each time. */
void dz_histogram_count(uint16_t counts[256], const uint8_t *data, size_t len) {
    enum { TABLES_PAY = 512 }; /* bytes */
    size_t i = 0;

    if (len >= TABLES_PAY) {
        uint16_t table[DZ_HISTOGRAM_TABLES][256] = { 0 };

        for (; i + DZ_HISTOGRAM_TABLES <= len; i += DZ_HISTOGRAM_TABLES) {
            table[0][data[i]]++;
            table[1][data[i + 1]]++;
            table[2][data[i + 2]]++;
            table[3][data[i + 3]]++;
            table[4][data[i + 4]]++;
            table[5][data[i + 5]]++;
            table[6][data[i + 6]]++;
            table[7][data[i + 7]]++;
        }
        ops()->fold(counts, table);
    }
    for (; i < len; i++)
        counts[data[i]]++;
}

void dz_histogram_add(uint64_t totals[256], const uint16_t counts[256]) {
    ops()->add(totals, counts);
}

/* ---- spread ---- */

static uint32_t collision_chance(u128 squares, uint64_t len) {
    u128 pairs = (u128) len * (len - 1);
    u128 chance;

    if (len < 2)
        return UINT32_MAX;
    /* Keep 32 fraction bits within 128 for the longest files: give the low bits up together. */
    for (squares -= len; pairs >> 96; pairs >>= 1)
        squares >>= 1;
    chance = (squares << 32) / pairs;
    return chance > UINT32_MAX ? UINT32_MAX : (uint32_t) chance;
}

static struct dz_spread spread_from(u128 squares, u128 clogc, uint32_t log_len, uint64_t len) {
    struct dz_spread s = { .collisions = collision_chance(squares, len) };
    uint32_t mean_log = (uint32_t) (clogc / len);

    s.entropy = log_len > mean_log ? log_len - mean_log : 0;
    if (s.entropy > 8 * 65536)
        s.entropy = 8 * 65536;
    s.chi2 = (uint64_t) ((squares << 8) / len) - len;
    return s;
}

struct dz_spread dz_spread_of_block(const uint16_t counts[256], uint32_t len) {
    const uint32_t *table = logs();
    struct dz_histogram_sums s;

    if (len == 0)
        return (struct dz_spread){ 0 };
    s = ops()->sums(counts, table);
    return spread_from(s.squares, s.clogc, table[len], len);
}

struct dz_spread dz_spread_of_file(const uint64_t counts[256], uint64_t len) {
    const uint32_t *table = logs();
    u128 squares = 0, clogc = 0;

    if (len == 0)
        return (struct dz_spread){ 0 };
    for (size_t b = 0; b < 256; b++) {
        uint64_t c = counts[b];
        squares += (u128) c * c;
        if (c)
            clogc += (u128) c * log2_from(table, c);
    }
    return spread_from(squares, clogc, log2_from(table, len), len);
}
