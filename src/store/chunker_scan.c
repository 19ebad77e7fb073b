#include "store/chunker_scan.h"

#include <stdbool.h>

#include "store/chunker.h"

/* Gear: every step doubles the hash and adds the byte's word.  After 32 steps a byte has been
 * shifted out at the top, so the hash is a function of the last 32 bytes. */
static inline uint32_t step(const uint32_t word[256], uint32_t h, uint8_t byte) {
    return (h << 1) + word[byte];
}

static uint32_t hash_before(const uint32_t word[256], const uint8_t *at) {
    uint32_t h = 0;

    for (int i = -DZ_CHUNK_WINDOW; i < 0; i++)
        h = step(word, h, at[i]);
    return h;
}

/* From n, where the hash is h. */
static size_t scan_on(const uint32_t word[256], const uint8_t *data, size_t n, size_t to,
                      uint32_t limit, uint32_t h) {
    for (; n < to && h >= limit; n++)
        h = step(word, h, data[n]);
    return n;
}

/* Each step waits for the one before.  So two stretches are walked side by side; that the second
 * needs its own 32 bytes of run-up costs less than the waiting. */
size_t dz_chunker_scan_plain(const struct dz_gear *gear, const uint8_t *data, size_t from,
                             size_t to, uint32_t limit) {
    enum { STRETCH = 1024 };
    const uint32_t *word = gear->word;
    size_t n = from;

    for (; to - n >= 2 * STRETCH; n += 2 * STRETCH) {
        const uint8_t *a = data + n, *b = a + STRETCH;
        uint32_t ha = hash_before(word, a), hb = hash_before(word, b);
        size_t i = 0;

        while (i < STRETCH && ha >= limit && hb >= limit) {
            ha = step(word, ha, a[i]);
            hb = step(word, hb, b[i]);
            i++;
        }
        if (i < STRETCH) { /* one of them hit; the first stretch goes before the second */
            size_t hit = scan_on(word, data, n + i, n + STRETCH, limit, ha);
            return hit < n + STRETCH ? hit : hit + i;
        }
    }
    return n < to ? scan_on(word, data, n, to, limit, hash_before(word, data + n)) : to;
}

dz_chunker_scan *dz_chunker_scan_for(enum dz_cpu_level level) {
#if defined(__x86_64__)
    /* AVX2 has no byte look-up wide enough, and its gathers are no faster than the plain loop. */
    if (level == DZ_CPU_AVX512)
        return dz_chunker_scan_avx512;
#endif
    (void) level;
    return dz_chunker_scan_plain;
}
