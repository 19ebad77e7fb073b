/* The vector twin of guard/histogram's plain parts.  Built for x86-64 only. */
#include <immintrin.h>

#include "guard/histogram_ops.h"

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

AVX512 static void fold_avx512(uint16_t counts[256], uint16_t table[DZ_HISTOGRAM_TABLES][256]) {
    for (int b = 0; b < 256; b += 32) {
        __m512i sum = _mm512_loadu_si512(counts + b);

#pragma GCC unroll 8
        for (int k = 0; k < DZ_HISTOGRAM_TABLES; k++)
            sum = _mm512_add_epi16(sum, _mm512_loadu_si512(table[k] + b));
        _mm512_storeu_si512(counts + b, sum);
    }
}

/* Not _mm512_reduce_add_epi32: it adds as int, where these sums overflow. */
AVX512 static uint32_t sum_lanes(__m512i v) {
    uint32_t lane[16], sum = 0;

    _mm512_storeu_si512(lane, v);
    for (int i = 0; i < 16; i++)
        sum += lane[i];
    return sum;
}

AVX512 static struct dz_histogram_sums sums_avx512(const uint16_t counts[256],
                                                   const uint32_t *log) {
    __m512i squares = _mm512_setzero_si512(), clogc = squares;

    for (int b = 0; b < 256; b += 16) {
        __m512i c = _mm512_cvtepu16_epi32(
            _mm256_loadu_si256((const __m256i_u *) (const void *) (counts + b)));
        __m512i logs = _mm512_i32gather_epi32(c, log, 4);

        squares = _mm512_add_epi32(squares, _mm512_mullo_epi32(c, c));
        clogc = _mm512_add_epi32(clogc, _mm512_mullo_epi32(c, logs));
    }
    return (struct dz_histogram_sums){ sum_lanes(squares), sum_lanes(clogc) };
}

AVX512 static void add_avx512(uint64_t totals[256], const uint16_t counts[256]) {
    for (int b = 0; b < 256; b += 8) {
        __m512i c =
            _mm512_cvtepu16_epi64(_mm_loadu_si128((const __m128i_u *) (const void *) (counts + b)));

        _mm512_storeu_si512(totals + b, _mm512_add_epi64(_mm512_loadu_si512(totals + b), c));
    }
}

const struct dz_histogram_ops dz_histogram_avx512 = { fold_avx512, sums_avx512, add_avx512 };
