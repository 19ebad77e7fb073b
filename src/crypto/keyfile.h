/* crypto/keyfile.h -- the root in a file: raw for machines, under a passphrase for people.
 *
 *   dozo key v1                 ("dozo locked key v1" when under a passphrase)
 *   vault 00112233445566778899aabbccddeeff  5a0c8e11
 *   epoch 1  77e1b0c2
 *   fingerprint 1a2b-3c4d-5e6f-7081  90ab4f3d
 *   key <base64>  c3d2e9a7
 *   check 0123456789abcdef
 *
 * Text, so that it survives mail and paper: each line ends with a check of its own, so that a
 * mistyped line is named (docs/format/keys.md).  Locked files use Argon2id (RFC 9106; memory
 * 256 MiB, 3 passes; parameters are in the file and bounded on reading: at most 1 GiB and 16
 * passes) and XChaCha20-Poly1305, by libsodium.  Thread-safe. */
#pragma once

#include "crypto/keys.h"

enum {
    DZ_KEYFILE_MAX = 16384, /* bytes of a key file */
    DZ_KEYFILE_MEMORY_KIB = 262144,
    DZ_KEYFILE_MEMORY_KIB_MAX = 1048576,
    DZ_KEYFILE_PASSES = 3,
    DZ_KEYFILE_PASSES_MAX = 16,
    DZ_KEYFILE_PASSPHRASE_MAX = 1024, /* bytes */
};

/* Appends the file's text.  `passphrase` may be empty: then the file is raw.  The caller releases
 * `to` with dz_buf_release_secret().  DZ_E_NOMEM, DZ_E_LIMIT (passphrase too long). */
dz_status dz_keyfile_write(const uint8_t root[DZ_ROOT_BYTES], const struct dz_host_keys *host,
                           dz_slice passphrase, dz_buf *to, dz_err *err) DZ_MUST_CHECK;

/* The same with another cost of guessing a passphrase; tests use a small one.
 * DZ_E_LIMIT: out of 8 .. DZ_KEYFILE_MEMORY_KIB_MAX, 1 .. DZ_KEYFILE_PASSES_MAX. */
dz_status dz_keyfile_write_cost(const uint8_t root[DZ_ROOT_BYTES], const struct dz_host_keys *host,
                                dz_slice passphrase, uint32_t memory_kib, uint32_t passes,
                                dz_buf *to, dz_err *err) DZ_MUST_CHECK;

/* What kind of opener a file is, by its first line or, for a share, its looks.  Never fails. */
enum dz_keyfile_kind {
    DZ_KEYFILE_UNKNOWN,
    DZ_KEYFILE_RAW,
    DZ_KEYFILE_PASSPHRASE,
    DZ_KEYFILE_SHARE /* dz_share_looks_like(): go on with dz_share_read() */
};
enum dz_keyfile_kind dz_keyfile_kind(dz_slice file);

/* Opens a key file for this vault.  `ret_root` belongs to the caller, to be wiped.  The root is
 * checked against the vault's public key.
 * DZ_E_MALFORMED (not a key file; truncated; mistyped: the line is named), DZ_E_POLICY (of
 * another vault or epoch: says which), DZ_E_CLOSED (needs a passphrase, or the passphrase is
 * wrong), DZ_E_UNSUPPORTED (newer version), DZ_E_LIMIT (length, or a cost over the bounds above:
 * refused before anything is allocated), DZ_E_NOMEM. */
dz_status dz_keyfile_read(dz_slice file, const struct dz_host_keys *host, dz_slice passphrase,
                          uint8_t ret_root[DZ_ROOT_BYTES], dz_err *err) DZ_MUST_CHECK;
