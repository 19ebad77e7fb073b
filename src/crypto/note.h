/* crypto/note.h -- signed notes (C2SP signed-note v1): a text, a blank line, signature lines.
 *
 *   text ─▶ [sign] ─▶ text "\n" "— name base64\n" ...  ─▶ [parse] ─▶ [verify with a known key]
 *
 * The log's checkpoint is one (docs/format/log.md).  A note may carry lines by keys that we do not
 * know: they are kept as they are and prove nothing.  Thread-safe: nothing here keeps state. */
#pragma once

#include "core/buf.h"
#include "core/error.h"

enum {
    DZ_NOTE_MAX = 128 * 1024,    /* bytes of a whole note */
    DZ_NOTE_SIGNATURES_MAX = 64, /* lines; C2SP wants at least 16 */
    DZ_NOTE_NAME_MAX = 255,      /* bytes of a key name */
};

enum dz_note_type { /* signature types, as C2SP numbers them */
                    DZ_NOTE_ED25519 = 1,
                    DZ_NOTE_COSIGNATURE =
                        4, /* timestamped, by a witness; parsed, not verified here */
};

/* One signature line; the slices are borrowed from the note. */
typedef struct dz_note_line {
    dz_slice name;
    dz_slice base64; /* of key id (4 bytes, big-endian) and signature; known to decode */
    uint32_t key_id;
} dz_note_line;

typedef struct dz_note {
    dz_slice text;  /* with its last newline; borrowed */
    dz_slice lines; /* all signature lines as they stand; borrowed */
    size_t line_count;
    dz_note_line line[DZ_NOTE_SIGNATURES_MAX];
} dz_note;

/* The first 4 bytes of SHA-256(name || "\n" || type || public key), big-endian. */
uint32_t dz_note_key_id(dz_slice name, enum dz_note_type type, const uint8_t public_key[32]);

/* Appends the signed note of `text` to `to`: text, blank line, one line by this Ed25519 key.
 * The public half is taken from libsodium's form of the secret key.
 *   DZ_E_USAGE  text or name is not what a note may hold;  DZ_E_NOMEM */
dz_status dz_note_sign(dz_slice text, dz_slice name, const uint8_t secret_key[64], dz_buf *to,
                       dz_err *err) DZ_MUST_CHECK;

/* Splits a note and checks its form: UTF-8, no control characters, at least one signature line,
 * limits above.  No signature is checked yet: do not act on the text.  The slices in *ret_note
 * are borrowed from `bytes`.  DZ_E_MALFORMED, DZ_E_LIMIT. */
dz_status dz_note_parse(dz_slice bytes, dz_note *ret_note, dz_err *err) DZ_MUST_CHECK;

/* Checks every line of this name and Ed25519 key.  Other lines are ignored, even with the same
 * name.  DZ_E_CORRUPT: there is no such line, or one of them does not verify. */
dz_status dz_note_verify(const dz_note *note, dz_slice name, const uint8_t public_key[32],
                         dz_err *err) DZ_MUST_CHECK;
