/* Tile files and their names come from a directory that somebody may have planted.
 *
 * The first byte says how many entries the rest must hold as a bundle; the rest is tried as a
 * name, too.  Properties: the entries lie one behind the other and, with their lengths, are the
 * whole bundle; a name that is accepted has one spelling. */
#include "store/tile.h"
#include "tests/fuzz/fuzz.h"

static void try_bundle(dz_slice bundle, unsigned count) {
    dz_slice entries[DZ_TILE_WIDTH];
    size_t used = 0;

    if (!dz_bundle_split(bundle, count, false, entries))
        return;
    for (unsigned i = 0; i < count; i++) {
        MUST(bundle.data[used] == entries[i].len >> 8);
        MUST(bundle.data[used + 1] == (entries[i].len & 0xff));
        MUST(entries[i].len == 0 || entries[i].data == bundle.data + used + 2);
        used += 2 + entries[i].len;
    }
    MUST(used == bundle.len);
    MUST(dz_bundle_split(bundle, count, true, entries));
    MUST(count == 0 || dz_bundle_split(bundle, count - 1, true, entries));
    MUST(!dz_bundle_split(bundle, count + 1, true, entries));
}

static void try_name(dz_slice bytes) {
    char name[64] = { 0 }, again[DZ_TILE_PATH_MAX];
    dz_tile_name tile;

    if (bytes.len >= sizeof name)
        return;
    if (bytes.len > 0)
        memcpy(name, bytes.data, bytes.len);
    if (!dz_tile_parse_path(name, &tile))
        return;
    MUST(tile.level >= DZ_TILE_ENTRIES && tile.level < DZ_TILE_LEVELS);
    MUST(tile.width >= 1 && tile.width <= DZ_TILE_WIDTH && tile.index >> 32 == 0);
    dz_tile_path(tile, again);
    MUST(strcmp(name, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    try_bundle((dz_slice){ data + 1, size - 1 }, data[0]);
    try_name((dz_slice){ data + 1, size - 1 });
    return 0;
}
