/* store/chunker_scan.h -- the chunker's inner loop, plain and in vectors.  Only chunker.c, its
 * tests and benchmarks look in here. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/cpu.h"

/* The gear table: a word for each byte value, and the same words taken apart, since the vector
 * path looks up bytes.  plane[k][b] is byte k of word[b], the lowest first. */
struct dz_gear {
    uint32_t word[256];
    uint8_t plane[4][256];
};

/* The first n in [from, to) where the hash of data[n - 32 .. n) is below `limit`; `to` when there
 * is none.  Reads nothing at or after data + to; from is at least 32. */
typedef size_t dz_chunker_scan(const struct dz_gear *gear, const uint8_t *data, size_t from,
                               size_t to, uint32_t limit);

/* The fastest loop for a processor of this level.  All give the same answers. */
dz_chunker_scan *dz_chunker_scan_for(enum dz_cpu_level level);

dz_chunker_scan dz_chunker_scan_plain;
#if defined(__x86_64__)
dz_chunker_scan dz_chunker_scan_avx512; /* needs DZ_CPU_AVX512 */
#endif
