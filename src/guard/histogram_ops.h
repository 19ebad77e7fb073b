/* guard/histogram_ops.h -- the parts of guard/histogram that are done in vectors where the
 * processor can.  Only histogram*.c, tests and benchmarks look in here. */
#pragma once

#include <stdint.h>

enum { DZ_HISTOGRAM_TABLES = 8 };

struct dz_histogram_sums {
    uint32_t squares; /* of counts: at most 4096 squared */
    uint32_t clogc;   /* of count * log2(count) * 65536: at most 4096 * 12 * 65536 */
};

/* Counts are of one block: their sum is at most DZ_HISTOGRAM_MAX. */
struct dz_histogram_ops {
    /* Adds all tables to the counts. */
    void (*fold)(uint16_t counts[256], uint16_t table[DZ_HISTOGRAM_TABLES][256]);
    /* log[c] is log2(c) * 65536 for c up to DZ_HISTOGRAM_MAX. */
    struct dz_histogram_sums (*sums)(const uint16_t counts[256], const uint32_t *log);
    void (*add)(uint64_t totals[256], const uint16_t counts[256]);
};

extern const struct dz_histogram_ops dz_histogram_plain;
#if defined(__x86_64__)
extern const struct dz_histogram_ops dz_histogram_avx512; /* needs DZ_CPU_AVX512 */
#endif
