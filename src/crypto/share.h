/* crypto/share.h -- the root split among custodians (Shamir 1979, over GF(2^8)).
 *
 *   root ─▶ dz_share_split ─▶ n shares ─▶ file, page, QR ─▶ dz_share_read ─▶ dz_share_combine
 *
 * A share is 32 bytes of y-values at one x, with the vault, the set, its number and the threshold.
 * As text it stands in groups of 5 letters, the last of which is a check letter, with a checksum
 * over all, so a mistyped group is named; the same text is in the file, on the printed page and in
 * the QR code (docs/format/shares.md).  The vault keeps a commitment to each share, so that a wrong
 * one among right ones is named too.  GF(2^8) uses x^8+x^4+x^3+x^2+1, as libgfshare does, in
 * constant time: the test combines our shares with gfcombine.
 *
 * Thread-safe.  A dz_share is a secret value: whoever holds one wipes it (sodium_memzero). */
#pragma once

#include "crypto/keys.h"

enum {
    DZ_SHARES_MAX = 255,
    DZ_SHARE_TEXT_MAX =
        4096, /* bytes that dz_share_read takes, and more than dz_share_write gives */
    DZ_SHARE_GROUPS = 28,
    DZ_SHARE_GROUP_LETTERS = 5,
    DZ_SHARE_LETTERS = DZ_SHARE_GROUPS * DZ_SHARE_GROUP_LETTERS,
    DZ_SHARE_LINE_GROUPS = 4, /* groups on a line of the file and of the page */
    DZ_SHARE_LINES = DZ_SHARE_GROUPS / DZ_SHARE_LINE_GROUPS,
};

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
 * DZ_E_USAGE (k or n out of 2 <= k <= n <= 255; k = 1 is a key file, say so), DZ_E_NOMEM. */
dz_status dz_share_split(const uint8_t root[DZ_ROOT_BYTES], const struct dz_host_keys *host,
                         unsigned n, unsigned k, dz_share *ret_shares, dz_err *err) DZ_MUST_CHECK;

/* SHA-256("dozo share v1" || all fields || y): what the vault keeps of each share.  It hides y,
 * which is 256 random bits. */
void dz_share_commitment(const dz_share *share, uint8_t ret[32]);

/* The root from shares of one set.  Repeated shares count once.
 * `commitments` (n * 32 bytes, by x - 1; may be NULL) tells which share is wrong.
 * What comes out is checked against the vault's public key, with and without commitments.
 * Messages count the arguments from 1; so does *reterr_share (may be NULL), which on failure is the
 * one share that the message is about, or 0 when it is about none or several.
 * DZ_E_CLOSED: too few: says how many are still missing.
 * DZ_E_POLICY: foreign: share of another vault, epoch or set: says which argument.
 * DZ_E_MALFORMED: a share that does not match its commitment: says which; without commitments,
 * that the shares do not fit each other or the vault.  DZ_E_NOMEM. */
dz_status dz_share_combine(const dz_share *shares, size_t n, const struct dz_host_keys *host,
                           const uint8_t *commitments, size_t n_commitments,
                           uint8_t ret_root[DZ_ROOT_BYTES], size_t *reterr_share,
                           dz_err *err) DZ_MUST_CHECK;

/* The letters of all groups, without spaces, and a NUL. */
void dz_share_letters(const dz_share *share, char ret_text[DZ_SHARE_LETTERS + 1]);

/* Appends the share's file text.  The caller releases `to` with dz_buf_release_secret().
 * DZ_E_NOMEM. */
dz_status dz_share_write(const dz_share *share, const char *fingerprint, dz_buf *to,
                         dz_err *err) DZ_MUST_CHECK;

/* Appends what the QR code says: "DOZO1:" and the letters, QR's alphanumeric mode.  DZ_E_NOMEM. */
dz_status dz_share_write_qr(const dz_share *share, dz_buf *to, dz_err *err) DZ_MUST_CHECK;

/* True for what is probably meant as a share: a share file or QR text by its beginning, or nothing
 * but letters and decorations, about as many as a share has.  dz_share_read() then says what is
 * wrong with it, if anything. */
bool dz_share_looks_like(dz_slice text);

/* Reads a share file, a scanned QR text, or what was typed from the page: white space, case, full
 * width and the decorations around the groups do not matter; letters that look alike are taken as
 * meant.  Messages never repeat a letter of the share.
 * DZ_E_MALFORMED names the group that is mistyped, or how many groups are missing.
 * DZ_E_LIMIT (text over DZ_SHARE_TEXT_MAX), DZ_E_UNSUPPORTED (of a newer dozo). */
dz_status dz_share_read(dz_slice text, dz_share *ret_share, dz_err *err) DZ_MUST_CHECK;
