/* store/tile.h -- names and contents of the log's tile files (C2SP tlog-tiles).
 *
 *   tile/<L>/<N>[.p/<W>]          256 (or W) hashes of level L: each the root of 256^L leaves
 *   tile/entries/<N>[.p/<W>]      the entries below tile N of level 0, each with its length
 *
 * N is written in groups of three digits, all but the last with an x: 1234067 is x001/x234/067.
 * Thread-safe. */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "core/slice.h"
#include "crypto/merkle.h"

enum {
    DZ_TILE_WIDTH = 256,      /* hashes or entries of a full tile */
    DZ_TILE_LEVELS = 6,       /* of a log of up to 2^40 leaves */
    DZ_TILE_ENTRIES = -1,     /* "level" of the entry bundles */
    DZ_TILE_PATH_MAX = 48,    /* bytes of the longest path, with its NUL */
    DZ_LOG_ENTRY_MAX = 65535, /* bytes of one entry */
    DZ_BUNDLE_MAX = DZ_TILE_WIDTH * (2 + DZ_LOG_ENTRY_MAX),
};

typedef struct dz_tile_name {
    int level;      /* 0 .. DZ_TILE_LEVELS - 1, or DZ_TILE_ENTRIES */
    uint64_t index; /* N, below 2^32 */
    unsigned width; /* 1 .. 256; 256 is a full tile */
} dz_tile_name;

/* The path below the log's directory: "tile/0/x001/234.p/7". */
void dz_tile_path(dz_tile_name tile, char ret_path[DZ_TILE_PATH_MAX]);
/* Reads what dz_tile_path() writes, and nothing else. */
bool dz_tile_parse_path(const char *path, dz_tile_name *ret_tile);

/* How many tiles of this level a log of `size` leaves has, and how wide the last of them is
 * (0 when there is none). */
uint64_t dz_tile_count(int level, uint64_t size, unsigned *ret_last_width);

/* Splits an entry bundle into exactly `count` <= 256 entries, borrowed from `bundle`; bytes behind
 * the last one are allowed only when `more`.  False when it does not split so. */
bool dz_bundle_split(dz_slice bundle, unsigned count, bool more,
                     dz_slice ret_entries[DZ_TILE_WIDTH]);

/* The tile's hashes, as the file has them: nothing is verified but the file's size.  A partial tile
 * that is gone because the log has grown is taken from its full tile.
 * DZ_E_NOT_FOUND, DZ_E_CORRUPT (wrong size), DZ_E_IO. */
dz_status dz_tile_read(int logfd, dz_tile_name tile, dz_merkle_hash ret_hashes[DZ_TILE_WIDTH],
                       dz_err *err) DZ_MUST_CHECK;

/* The same for an entry bundle: *ret_bundle is owned by the caller, the entries are borrowed from
 * it.  DZ_E_CORRUPT: the file does not split into the entries that its name says. */
dz_status dz_bundle_read(int logfd, dz_tile_name tile, dz_buf *ret_bundle,
                         dz_slice ret_entries[DZ_TILE_WIDTH], dz_err *err) DZ_MUST_CHECK;
