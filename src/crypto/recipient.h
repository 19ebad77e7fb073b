/* crypto/recipient.h -- seals a fresh segment key to those who may open it.
 *
 * A sealed key is a list of stanzas, one a recipient, as in age: count (1 byte), then for each
 * algorithm (2 bytes), length of the body (2), epoch (4), body; little-endian.  A reader opens
 * the first stanza it has a key for and skips algorithms it does not know, so that keys can rotate
 * and a post-quantum recipient can join.  docs/format/keys.md draws the bytes.
 *
 *   DZ_RECIPIENT_X25519  body = ephemeral public key (32) || AEAD(wrap key, segment key) (48), the
 *                        8 bytes of the stanza's head being the associated data;
 *                        wrap key = dz_key_derive(hedge, "wrap", X25519 shared secret || ephemeral
 *                        || recipient || vault id || context)
 *   DZ_RECIPIENT_HOST    body = salt (32, random); segment key = dz_key_derive(reference key,
 *                        "segment", salt || context): readable by the closed host, meant for
 *                        reference nodes only.  The salt keeps keys fresh even if a context
 *                        should ever come twice
 *
 * Thread-safe. */
#pragma once

#include "crypto/keys.h"

enum {
    DZ_RECIPIENT_HOST = 1,
    DZ_RECIPIENT_X25519 = 2,
    DZ_RECIPIENTS_MAX = 8,            /* stanzas a reader accepts */
    DZ_RECIPIENT_BODY_MAX = 4096,     /* room for a post-quantum ciphertext */
    DZ_SEALED_KEY_BYTES = 1 + 8 + 80, /* what dz_recipient_seal writes: count, one X25519 stanza */
    DZ_SEALED_HOST_KEY_BYTES = 1 + 8 + 32, /* what dz_recipient_seal_host writes */
};

/* Makes a fresh random key and appends the stanzas that seal it.  `context` binds the stanzas to
 * their place (the segment id).  ret_key is the caller's, to be wiped.  DZ_E_NOMEM; DZ_E_CORRUPT
 * (the recipient is no usable point: the host key file was tampered with). */
dz_status dz_recipient_seal(const struct dz_host_keys *host, dz_slice context, dz_buf *to,
                            uint8_t ret_key[DZ_KEY_BYTES], dz_err *err) DZ_MUST_CHECK;

/* The same for what the closed host must read again (DZ_RECIPIENT_HOST). */
dz_status dz_recipient_seal_host(const struct dz_host_keys *host, dz_slice context, dz_buf *to,
                                 uint8_t ret_key[DZ_KEY_BYTES], dz_err *err) DZ_MUST_CHECK;

/* Reads the stanzas from r (leaving it after them) and opens the key.  `open` may be NULL.
 * DZ_E_CLOSED (only sealed to keys we do not have), DZ_E_CORRUPT (a stanza that is ours does not
 * open), DZ_E_MALFORMED (not a stanza list), DZ_E_LIMIT. */
dz_status dz_recipient_open(const struct dz_host_keys *host, const struct dz_open_keys *open,
                            dz_slice context, dz_reader *r, uint8_t ret_key[DZ_KEY_BYTES],
                            dz_err *err) DZ_MUST_CHECK;

/* Steps over the stanzas without opening them. */
dz_status dz_recipient_skip(dz_reader *r, dz_err *err) DZ_MUST_CHECK;
