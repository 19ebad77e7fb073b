#include "store/tile.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/durable.h"

void dz_tile_path(dz_tile_name tile, char ret_path[DZ_TILE_PATH_MAX]) {
    char *end = ret_path + DZ_TILE_PATH_MAX, *at = ret_path;
    uint64_t unit = 1;

    if (tile.level == DZ_TILE_ENTRIES)
        at += snprintf(at, (size_t) (end - at), "tile/entries");
    else
        at += snprintf(at, (size_t) (end - at), "tile/%d", tile.level);
    while (tile.index / unit >= 1000)
        unit *= 1000;
    for (; unit > 0; unit /= 1000)
        at += snprintf(at, (size_t) (end - at), unit > 1 ? "/x%03u" : "/%03u",
                       (unsigned) (tile.index / unit % 1000));
    if (tile.width < DZ_TILE_WIDTH)
        (void) snprintf(at, (size_t) (end - at), ".p/%u", tile.width);
}

/* Takes digits up to `stop` or the end; false for none, too many, or anything else. */
static bool take_number(const char **at, size_t max_digits, unsigned *ret_number) {
    unsigned v = 0;
    size_t n = 0;

    for (; **at >= '0' && **at <= '9' && n < max_digits; n++)
        v = v * 10 + (unsigned) (*(*at)++ - '0');
    *ret_number = v;
    return n > 0;
}

bool dz_tile_parse_path(const char *path, dz_tile_name *ret_tile) {
    dz_tile_name t = { .width = DZ_TILE_WIDTH };
    char again[DZ_TILE_PATH_MAX];
    const char *at = path;
    unsigned part = 0;

    if (strncmp(at, "tile/", 5) != 0)
        return false;
    at += 5;
    if (strncmp(at, "entries", 7) == 0) {
        t.level = DZ_TILE_ENTRIES;
        at += 7;
    } else {
        if (!take_number(&at, 1, &part) || part >= DZ_TILE_LEVELS)
            return false;
        t.level = (int) part;
    }
    for (bool more = true; more;) {
        if (*at++ != '/' || t.index >> 32 != 0)
            return false;
        more = *at == 'x';
        at += more;
        if (!take_number(&at, 3, &part))
            return false;
        t.index = t.index * 1000 + part;
    }
    if (strncmp(at, ".p/", 3) == 0) {
        at += 3;
        if (!take_number(&at, 3, &t.width) || t.width == 0 || t.width >= DZ_TILE_WIDTH)
            return false;
    }
    if (*at != '\0' || t.index >> 32 != 0)
        return false;
    dz_tile_path(t, again); /* one name has one spelling */
    if (strcmp(path, again) != 0)
        return false;
    *ret_tile = t;
    return true;
}

uint64_t dz_tile_count(int level, uint64_t size, unsigned *ret_last_width) {
    uint64_t hashes = level == DZ_TILE_ENTRIES ? size : size >> (8 * level);
    unsigned rest = (unsigned) (hashes % DZ_TILE_WIDTH);

    *ret_last_width = rest > 0 || hashes == 0 ? rest : DZ_TILE_WIDTH;
    return hashes / DZ_TILE_WIDTH + (rest > 0);
}

bool dz_bundle_split(dz_slice bundle, unsigned count, bool more,
                     dz_slice ret_entries[DZ_TILE_WIDTH]) {
    dz_reader r = dz_reader_over(bundle);

    if (count > DZ_TILE_WIDTH)
        return false;
    for (unsigned i = 0; i < count; i++) {
        size_t len = (size_t) dz_read_u8(&r) << 8; /* big-endian: this format is not ours */
        len |= dz_read_u8(&r);
        ret_entries[i] = dz_read_bytes(&r, len);
    }
    return dz_reader_ok(&r) && (more || dz_reader_left(&r) == 0);
}

/* Reads a tile's file; *ret_full tells that the full tile stood in for a partial one. */
static dz_status read_tile_file(int logfd, dz_tile_name tile, size_t limit, dz_buf *ret_content,
                                bool *ret_full, dz_err *err) {
    char path[DZ_TILE_PATH_MAX];
    dz_status s;

    dz_tile_path(tile, path);
    s = dz_read_file(logfd, path, limit, ret_content, err);
    *ret_full = tile.width == DZ_TILE_WIDTH;
    if (s == DZ_E_NOT_FOUND && !*ret_full) {
        dz_tile_name full = { tile.level, tile.index, DZ_TILE_WIDTH };
        char full_path[DZ_TILE_PATH_MAX];

        dz_tile_path(full, full_path);
        if (dz_read_file(logfd, full_path, limit, ret_content, NULL) == DZ_OK) {
            *ret_full = true;
            return DZ_OK;
        }
    }
    if (s == DZ_E_LIMIT || s == DZ_E_MALFORMED)
        s = DZ_FAIL(err, DZ_E_CORRUPT, "%s: too large, or not a regular file", path);
    return s;
}

dz_status dz_tile_read(int logfd, dz_tile_name tile, dz_merkle_hash ret_hashes[DZ_TILE_WIDTH],
                       dz_err *err) {
    dz_autobuf dz_buf content = { 0 };
    size_t want = tile.width * sizeof(dz_merkle_hash);
    char path[DZ_TILE_PATH_MAX];
    bool full;

    DZ_TRY(
        read_tile_file(logfd, tile, DZ_TILE_WIDTH * sizeof(dz_merkle_hash), &content, &full, err));
    dz_tile_path(tile, path);
    if (content.len != (full ? DZ_TILE_WIDTH * sizeof(dz_merkle_hash) : want))
        return DZ_FAIL(err, DZ_E_CORRUPT, "%s: %zu bytes, must be %zu", path, content.len, want);
    memcpy(ret_hashes, content.data, want);
    return DZ_OK;
}

dz_status dz_bundle_read(int logfd, dz_tile_name tile, dz_buf *ret_bundle,
                         dz_slice ret_entries[DZ_TILE_WIDTH], dz_err *err) {
    dz_autobuf dz_buf content = { 0 };
    char path[DZ_TILE_PATH_MAX];
    bool full;

    DZ_TRY(read_tile_file(logfd, tile, DZ_BUNDLE_MAX, &content, &full, err));
    dz_tile_path(tile, path);
    if (!dz_bundle_split(dz_buf_slice(&content), tile.width, full && tile.width < DZ_TILE_WIDTH,
                         ret_entries))
        return DZ_FAIL(err, DZ_E_CORRUPT, "%s: does not hold %u entries", path, tile.width);
    *ret_bundle = content;
    content = (dz_buf){ 0 };
    return DZ_OK;
}
