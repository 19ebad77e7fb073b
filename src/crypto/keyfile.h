/* crypto/keyfile.h -- the root in a file: raw for machines, under a passphrase for people.
 *
 * Text, so that it survives mail and paper: a header line, the vault's id, epoch and fingerprint,
 * the body in base64, a checksum line (docs/format/keys.md).  Protected files use Argon2id
 * (RFC 9106; memory 256 MiB, 3 passes; parameters are in the file and bounded on reading: at most
 * 1 GiB and 16 passes) and XChaCha20-Poly1305, by libsodium. */
#pragma once

#include "crypto/keys.h"

enum { DZ_KEYFILE_MAX = 16384 /* bytes of a key file */ };

/* Appends the file's text.  `passphrase` may be empty: then the file is raw.  DZ_E_NOMEM. */
dz_status dz_keyfile_write(const uint8_t root[DZ_ROOT_BYTES], const struct dz_host_keys *host,
                           dz_slice passphrase, dz_buf *to, dz_err *err) DZ_MUST_CHECK;

/* What kind of opener a file is, by its first line.  Never fails. */
enum dz_keyfile_kind {
    DZ_KEYFILE_UNKNOWN,
    DZ_KEYFILE_RAW,
    DZ_KEYFILE_PASSPHRASE,
    DZ_KEYFILE_SHARE
};
enum dz_keyfile_kind dz_keyfile_kind(dz_slice file);

/* Opens a key file for this vault.  `ret_root` belongs to the caller, to be wiped.
 * DZ_E_MALFORMED (not a key file; truncated; mistyped: the line is named), DZ_E_POLICY (of
 * another vault: says which), DZ_E_CLOSED (needs a passphrase, or the passphrase is wrong),
 * DZ_E_UNSUPPORTED, DZ_E_LIMIT, DZ_E_NOMEM. */
dz_status dz_keyfile_read(dz_slice file, const struct dz_host_keys *host, dz_slice passphrase,
                          uint8_t ret_root[DZ_ROOT_BYTES], dz_err *err) DZ_MUST_CHECK;
