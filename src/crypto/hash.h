/* crypto/hash.h -- SHA-256 (FIPS 180-4), by OpenSSL, and the keyed names made from it.
 *
 * The identity of content is the SHA-256 of its bytes.  The name under which the vault finds it
 * again is a keyed PRF of that identity, so that names tell nothing to who has no host key. */
#pragma once

#include "core/cleanup.h"
#include "core/error.h"
#include "core/slice.h"

enum { DZ_SHA256_BYTES = 32, DZ_NAME_BYTES = 16 };

typedef struct dz_id { /* SHA-256 of the plaintext: the identity of content */
    uint8_t b[DZ_SHA256_BYTES];
} dz_id;

typedef struct dz_name { /* keyed, 128 bits: the deduplication name */
    uint8_t b[DZ_NAME_BYTES];
} dz_name;

/* One-shot hash.  Thread-safe; keeps a context per thread.  Aborts if OpenSSL has no SHA-256,
 * which only a broken installation can cause, or if a thread's first context finds no memory. */
void dz_sha256(dz_slice bytes, uint8_t ret[DZ_SHA256_BYTES]);

/* Hash of several slices, one after the other. */
void dz_sha256v(const dz_slice *parts, size_t n, uint8_t ret[DZ_SHA256_BYTES]);

/* Incremental.  One hasher belongs to one thread at a time. */
struct dz_hasher;
dz_status dz_hasher_new(struct dz_hasher **ret_hasher, dz_err *err) DZ_MUST_CHECK;
void dz_hasher_free(struct dz_hasher *h); /* NULL is fine */
DZ_DEFINE_AUTO(dz_hasher, dz_hasher_free)
void dz_hasher_update(struct dz_hasher *h, dz_slice bytes);
/* Gives the hash and starts afresh. */
void dz_hasher_final(struct dz_hasher *h, uint8_t ret[DZ_SHA256_BYTES]);

/* BLAKE2b (RFC 7693) with this key and a 16-byte output, over kind (1 byte) and id, by libsodium:
 * the name of the object with this identity.
 * `kind` separates data chunks from manifest nodes and reference nodes. */
dz_name dz_name_of(const uint8_t key[32], uint8_t kind, const dz_id *id);
