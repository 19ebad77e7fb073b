/* Sixteen stretches of the data side by side, one in each 32-bit lane.
 *
 * The gear words are looked up a byte plane at a time: 64 bytes of data select 64 table bytes with
 * four vpermb, one for each quarter of the 256-byte plane.  Unpacking the four planes gives the
 * words.  Of the hashes only the least is kept; when it is a hit, the plain loop walks that one
 * stretch again to say where.  The loops are unrolled so that the small arrays stay in registers.
 * Built for x86-64 only. */
#include "store/chunker_scan.h"

#include <immintrin.h>

#include "store/chunker.h"

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")))
#define AVX512_INLINE AVX512 static inline __attribute__((always_inline))

enum { LANES = 16, STRETCH = 256, BLOCK = LANES * STRETCH };

struct planes {
    __m512i quarter[4][4];
};

AVX512_INLINE __m512i load16(const uint8_t *at) {
    return _mm512_castsi128_si512(_mm_loadu_si128((const __m128i_u *) (const void *) at));
}

/* Bytes at[lane * STRETCH .. + 16) of all lanes, turned so that ret[q] holds in its lane l the
 * four bytes 4q..4q+3 of stretch l. */
AVX512_INLINE void load_lanes(const uint8_t *at, __m512i ret[4]) {
    __m512i z[4], lo01, lo23, hi01, hi23;

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const uint8_t *p = at + i * STRETCH;
        z[i] = load16(p);
        z[i] = _mm512_inserti32x4(z[i], _mm512_castsi512_si128(load16(p + 4 * STRETCH)), 1);
        z[i] = _mm512_inserti32x4(z[i], _mm512_castsi512_si128(load16(p + 8 * STRETCH)), 2);
        z[i] = _mm512_inserti32x4(z[i], _mm512_castsi512_si128(load16(p + 12 * STRETCH)), 3);
    }
    lo01 = _mm512_unpacklo_epi32(z[0], z[1]);
    lo23 = _mm512_unpacklo_epi32(z[2], z[3]);
    hi01 = _mm512_unpackhi_epi32(z[0], z[1]);
    hi23 = _mm512_unpackhi_epi32(z[2], z[3]);
    ret[0] = _mm512_unpacklo_epi64(lo01, lo23);
    ret[1] = _mm512_unpackhi_epi64(lo01, lo23);
    ret[2] = _mm512_unpacklo_epi64(hi01, hi23);
    ret[3] = _mm512_unpackhi_epi64(hi01, hi23);
}

/* ret[i], lane l: the gear word of byte i of lane l of `bytes`. */
AVX512_INLINE void look_up(const struct planes *t, __m512i bytes, __m512i ret[4]) {
    const __m512i by_place =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    __m512i at = _mm512_shuffle_epi8(bytes, by_place); /* so that unpacking puts lanes back */
    __mmask64 bit7 = _mm512_movepi8_mask(at);
    __mmask64 bit6 = _mm512_test_epi8_mask(at, _mm512_set1_epi8(0x40));
    __m512i plane[4], lo01, lo23, hi01, hi23;

#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        __m512i v = _mm512_permutexvar_epi8(at, t->quarter[k][0]);
        v = _mm512_mask_permutexvar_epi8(v, bit6 & ~bit7, at, t->quarter[k][1]);
        v = _mm512_mask_permutexvar_epi8(v, bit7 & ~bit6, at, t->quarter[k][2]);
        plane[k] = _mm512_mask_permutexvar_epi8(v, bit7 & bit6, at, t->quarter[k][3]);
    }
    lo01 = _mm512_unpacklo_epi8(plane[0], plane[1]);
    lo23 = _mm512_unpacklo_epi8(plane[2], plane[3]);
    hi01 = _mm512_unpackhi_epi8(plane[0], plane[1]);
    hi23 = _mm512_unpackhi_epi8(plane[2], plane[3]);
    ret[0] = _mm512_unpacklo_epi16(lo01, lo23);
    ret[1] = _mm512_unpackhi_epi16(lo01, lo23);
    ret[2] = _mm512_unpacklo_epi16(hi01, hi23);
    ret[3] = _mm512_unpackhi_epi16(hi01, hi23);
}

/* Walks 16 bytes in each lane from hashes *h, and lowers *least to the least hash met on the way,
 * before each byte. */
AVX512_INLINE void walk16(const struct planes *t, const uint8_t *at, __m512i *h, __m512i *least) {
    __m512i bytes[4], words[4];

    load_lanes(at, bytes);
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
        look_up(t, bytes[q], words);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            *least = _mm512_min_epu32(*least, *h);
            *h = _mm512_add_epi32(_mm512_slli_epi32(*h, 1), words[i]);
        }
    }
}

AVX512 size_t dz_chunker_scan_avx512(const struct dz_gear *gear, const uint8_t *data, size_t from,
                                     size_t to, uint32_t limit) {
    const __m512i limits = _mm512_set1_epi32((int) limit);
    struct planes t;
    size_t n = from;

#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++)
            t.quarter[k][q] = _mm512_loadu_si512(gear->plane[k] + q * 64);
    for (; to - n >= BLOCK; n += BLOCK) {
        __m512i h = _mm512_setzero_si512(), least = h;
        __mmask16 hits;

        for (int i = -DZ_CHUNK_WINDOW; i < 0; i += 16)
            walk16(&t, data + n + i, &h, &least);
        least = _mm512_set1_epi32(-1); /* what was met in the run-up does not count */
        for (size_t i = 0; i < STRETCH; i += 16)
            walk16(&t, data + n + i, &h, &least);
        hits = _mm512_cmplt_epu32_mask(least, limits);
        if (hits) {
            size_t at = n + (size_t) __builtin_ctz(hits) * STRETCH;
            return dz_chunker_scan_plain(gear, data, at, at + STRETCH, limit);
        }
    }
    return n < to ? dz_chunker_scan_plain(gear, data, n, to, limit) : to;
}
