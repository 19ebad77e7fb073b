#include "core/utf8.h"

bool dz_utf8_take(dz_reader *r, uint32_t *ret_point) {
    static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
    uint8_t b = dz_read_u8(r);
    unsigned more = b < 0x80 ? 0 : b < 0xc2 ? 4 : b < 0xe0 ? 1 : b < 0xf0 ? 2 : b < 0xf5 ? 3 : 4;
    uint32_t point;

    if (more == 4)
        return false;
    point = more == 0 ? b : b & (0x3fu >> more);
    for (unsigned i = 0; i < more; i++) {
        uint8_t c = dz_read_u8(r);
        if ((c & 0xc0) != 0x80)
            return false;
        point = (point << 6) | (c & 0x3f);
    }
    if (!dz_reader_ok(r) || point < least[more] || (point >= 0xd800 && point < 0xe000) ||
        point > 0x10ffff)
        return false;
    *ret_point = point;
    return true;
}

bool dz_utf8_clean(dz_slice s, bool lines) {
    dz_reader r = dz_reader_over(s);
    uint32_t point;

    while (dz_reader_left(&r) > 0)
        if (!dz_utf8_take(&r, &point) || (point < 0x20 && !(lines && point == '\n')))
            return false;
    return true;
}

static bool hidden(uint32_t p) {
    return p == 0x7f || (p >= 0x80 && p < 0xa0) || p == 0xad || p == 0x61c ||
           (p >= 0x200b && p <= 0x200f) || (p >= 0x2028 && p <= 0x202e) ||
           (p >= 0x2060 && p <= 0x206f) || p == 0xfeff || (p >= 0xfff9 && p <= 0xfffb) ||
           (p >= 0xe0000 && p <= 0xe0fff);
}

bool dz_utf8_plain(dz_slice s) {
    dz_reader r = dz_reader_over(s);
    uint32_t point;

    while (dz_reader_left(&r) > 0)
        if (!dz_utf8_take(&r, &point) || point < 0x20 || hidden(point))
            return false;
    return true;
}
