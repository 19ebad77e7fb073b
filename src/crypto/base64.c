#include "crypto/base64.h"

#include <sodium.h>

size_t dz_base64_decode(dz_slice text, uint8_t *to, size_t max) {
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] >= 0x80)
            return 0;
    if (text.len == 0 || sodium_base642bin(to, max, (const char *) text.data, text.len, NULL, &len,
                                           NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return 0;
    return len;
}
