/* crypto/gf256.h -- the field of the shares: GF(2^8) modulo x^8+x^4+x^3+x^2+1.
 *
 * No tables and no branches on values: the time says nothing about the secret.  Addition is XOR.
 * Pure functions. */
#pragma once

#include <stdint.h>

static inline uint8_t dz_gf256_mul(uint8_t a, uint8_t b) {
    unsigned x = a, y = b, product = 0;

    for (unsigned i = 0; i < 8; i++) {
        product ^= x & (0u - (y & 1));
        y >>= 1;
        x = (x << 1) ^ (0x11d & (0u - (x >> 7)));
    }
    return (uint8_t) product;
}

/* 1/a as a^254; 0 gives 0. */
static inline uint8_t dz_gf256_inv(uint8_t a) {
    uint8_t power = a, inverse = 1;

    for (unsigned i = 0; i < 7; i++) { /* 254 = 2 + 4 + ... + 128 */
        power = dz_gf256_mul(power, power);
        inverse = dz_gf256_mul(inverse, power);
    }
    return inverse;
}
