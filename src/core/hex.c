#include "core/hex.h"

void dz_hex(const uint8_t *bytes, size_t len, char *ret_text) {
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        ret_text[2 * i] = digits[bytes[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_text[2 * len] = '\0';
}

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool dz_unhex(const char *text, size_t text_len, uint8_t *ret_bytes, size_t len) {
    if (text_len != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int hi = digit(text[2 * i]), lo = digit(text[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        ret_bytes[i] = (uint8_t) (hi << 4 | lo);
    }
    return true;
}
