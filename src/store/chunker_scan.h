/* store/chunker_scan.h -- the chunker's inner loop, plain and in vectors.  Only chunker.c and
 * its tests look in here. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/cpu.h"

/* The first n in [from, to) where the hash of data[n - 32 .. n) is below `limit`; `to` when there
 * is none.  Reads nothing at or after data + to; from is at least 32. */
typedef size_t dz_chunker_scan(const uint32_t gear[256], const uint8_t *data, size_t from,
                               size_t to, uint32_t limit);

/* The fastest loop for a processor of this level.  All give the same answers. */
dz_chunker_scan *dz_chunker_scan_for(enum dz_cpu_level level);
