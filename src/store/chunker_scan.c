#include "store/chunker_scan.h"

#include "store/chunker.h"

/* Gear: every step doubles the hash and adds the byte's word.  After 32 steps a byte has been
 * shifted out at the top, so the hash is a function of the last 32 bytes. */
static inline uint32_t step(const uint32_t gear[256], uint32_t h, uint8_t byte) {
    return (h << 1) + gear[byte];
}

static size_t scan_plain(const uint32_t gear[256], const uint8_t *data, size_t from, size_t to,
                         uint32_t limit) {
    uint32_t h = 0;
    size_t n = from;

    for (size_t i = from - DZ_CHUNK_WINDOW; i < from; i++)
        h = step(gear, h, data[i]);
    for (; n < to; n++) {
        if (h < limit)
            return n;
        h = step(gear, h, data[n]);
    }
    return to;
}

dz_chunker_scan *dz_chunker_scan_for(enum dz_cpu_level level) {
    (void) level;
    return scan_plain;
}
