/* store/place.h -- where a chunk lies: what the index answers and a pack reader asks.
 *
 * A value: copy and forget. */
#pragma once

#include <stdint.h>

enum {
    DZ_CHUNK_NAME_LEN = 16, /* bytes: 128 bits of the keyed chunk name, uniform */
    DZ_PACK_NAME_LEN = 32,  /* bytes: SHA-256 of the pack file */
};

typedef struct dz_place {
    uint8_t pack[DZ_PACK_NAME_LEN];
    uint32_t seg_offset; /* bytes from the start of the pack to the sealed segment */
    uint32_t seg_len;    /* bytes of the sealed segment */
    uint16_t slot;       /* which chunk of the segment, from 0 */
    uint8_t type;        /* segment type, as the pack's table has it */
} dz_place;
