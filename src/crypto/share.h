/* crypto/share.h -- the root split among custodians (Shamir 1979, over GF(2^8)).
 *
 * A share is 32 bytes of y-values at one x, with the vault, the set, its number and the threshold.
 * As text it stands in groups of 5 letters with a check letter each and a checksum over all, so a
 * mistyped group is named; the same text is in the file, on the printed page and in the QR code
 * (docs/format/shares.md).  The vault keeps a salted commitment to each share, so that a wrong one
 * among right ones is named too.  GF(2^8) uses x^8+x^4+x^3+x^2+1, as libgfshare does, in constant
 * time: the test combines our shares with gfcombine. */
#pragma once

#include "crypto/keys.h"

enum { DZ_SHARES_MAX = 255, DZ_SHARE_TEXT_MAX = 4096 };

typedef struct dz_share {
    dz_vault_id vault;
    uint32_t epoch;
    uint8_t set[8];    /* random; shares of one splitting */
    uint8_t x;         /* 1..255 */
    uint8_t threshold; /* k */
    uint8_t count;     /* n */
    uint8_t y[DZ_ROOT_BYTES];
} dz_share;

/* Splits the root into n shares of which any k open.  ret_shares has room for n.
 * DZ_E_USAGE (k or n out of 2 <= k <= n <= 255; k = 1 is a key file, say so). */
dz_status dz_share_split(const uint8_t root[DZ_ROOT_BYTES], const struct dz_host_keys *host,
                         unsigned n, unsigned k, dz_share *ret_shares, dz_err *err) DZ_MUST_CHECK;

/* SHA-256("dozo share v1" || all fields || y): what the vault keeps of each share. */
void dz_share_commitment(const dz_share *share, uint8_t ret[32]);

/* The root from shares of one set.  Repeated shares count once.
 * `commitments` (n * 32 bytes, by x - 1; may be NULL) tells which share is wrong.
 * DZ_E_CLOSED: too few: says how many are still missing.
 * DZ_E_POLICY: foreign: share of another vault or another set: says which argument.
 * DZ_E_MALFORMED: a share that does not match its commitment: says which. */
dz_status dz_share_combine(const dz_share *shares, size_t n, const struct dz_host_keys *host,
                           const uint8_t *commitments, size_t n_commitments,
                           uint8_t ret_root[DZ_ROOT_BYTES], dz_err *err) DZ_MUST_CHECK;

/* The share's file text.  DZ_E_NOMEM. */
dz_status dz_share_write(const dz_share *share, const char *fingerprint, dz_buf *to,
                         dz_err *err) DZ_MUST_CHECK;

/* Reads a share file, a scanned QR text, or what was typed from the page: white space, case and
 * the decorations around the groups do not matter; letters that look alike are taken as meant.
 * DZ_E_MALFORMED names the group that is mistyped, or how many groups are missing. */
dz_status dz_share_read(dz_slice text, dz_share *ret_share, dz_err *err) DZ_MUST_CHECK;
