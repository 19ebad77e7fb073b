/* crypto/aead.h -- AES-256-GCM (NIST SP 800-38D) by OpenSSL, for bulk bytes.
 *
 * Every key is fresh and seals at most DZ_AEAD_MESSAGES_MAX messages, numbered from 0; the number
 * is the nonce (12 bytes, little-endian), so no nonce repeats under a key.  The caller counts.  One
 * message is at most DZ_AEAD_BYTES_MAX bytes: both are far below GCM's limits (2^32 blocks a
 * message; see docs/design/crypto.md). All functions are thread-safe: contexts are kept per thread.
 */
#pragma once

#include "core/error.h"
#include "core/slice.h"

enum {
    DZ_AEAD_KEY_BYTES = 32,
    DZ_AEAD_TAG_BYTES = 16,
    DZ_AEAD_MESSAGES_MAX = 65536,
    DZ_AEAD_BYTES_MAX = 64 << 20,
};

/* Writes plain.len + DZ_AEAD_TAG_BYTES bytes to ret_sealed, which may be plain.data itself
 * (in place).  `aad` is authenticated and not stored.
 * DZ_E_LIMIT (number or length over the maximum), DZ_E_NOMEM. */
dz_status dz_aead_seal(const uint8_t key[DZ_AEAD_KEY_BYTES], uint32_t number, dz_slice aad,
                       dz_slice plain, uint8_t *ret_sealed, dz_err *err) DZ_MUST_CHECK;

/* Writes sealed.len - DZ_AEAD_TAG_BYTES bytes to ret_plain (may be in place).  On failure the
 * output is wiped.  DZ_E_CORRUPT: too short, or not what was sealed under this key, number, aad. */
dz_status dz_aead_open(const uint8_t key[DZ_AEAD_KEY_BYTES], uint32_t number, dz_slice aad,
                       dz_slice sealed, uint8_t *ret_plain, dz_err *err) DZ_MUST_CHECK;
