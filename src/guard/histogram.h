/* guard/histogram.h -- counting bytes, and what the counts say, in integers only.
 *
 * The inner part of guard/features; definitions in docs/format/features.md.  Pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DZ_HISTOGRAM_MAX = 4096 }; /* bytes in one block */

/* How the byte values of some bytes are spread. */
struct dz_spread {
    uint32_t entropy;    /* Shannon, bits per byte times 65536; 0 .. 8 * 65536 */
    uint32_t collisions; /* chance that two of the bytes are equal, times 2^32; random: 2^24 */
    uint64_t chi2;       /* against equal shares of 256 values, rounded down */
};

/* Adds the bytes of `data` to `counts`, whose sum stays within DZ_HISTOGRAM_MAX. */
void dz_histogram_count(uint16_t counts[256], const uint8_t *data, size_t len);
/* Adds a block's counts to those of a file. */
void dz_histogram_add(uint64_t totals[256], const uint16_t counts[256]);

/* `len` is the sum of the counts.  All zero when len is 0. */
struct dz_spread dz_spread_of_block(const uint16_t counts[256], uint32_t len);
struct dz_spread dz_spread_of_file(const uint64_t counts[256], uint64_t len);

/* log2(v) * 65536 for v >= 1.  Up to 4096: rounded down.  Above: linear between neighbours of 12
 * significant bits, at most 2 below. */
uint32_t dz_log2_fixed(uint64_t v);
