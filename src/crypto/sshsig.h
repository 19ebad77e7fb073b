/* crypto/sshsig.h -- signatures that people make with the SSH keys they have (`ssh-keygen -Y
 * sign`).
 *
 *   "ssh-ed25519 AAAA... name" ─▶ [key]      text ─▶ ssh-keygen -Y sign -n NAMESPACE ─▶ armor
 *   armor ─▶ [dearmor] ─▶ blob ─▶ [read] ─▶ [verify: this key, purpose, text] ─▶ they said so
 *
 * The format is OpenSSH's PROTOCOL.sshsig, version 1; keys and signatures are those of RFC 4253
 * (RSA), RFC 5656 (ECDSA), RFC 8332 (rsa-sha2), RFC 8709 (Ed25519) and OpenSSH's PROTOCOL.u2f
 * (tokens).  Ed25519 is verified by libsodium, the rest by OpenSSL.
 *
 * Taken: Ed25519, ECDSA on NIST P-256, P-384 and P-521, RSA from 2048 bits with SHA-2, and the two
 * kinds of FIDO tokens, whose signature must say that somebody touched them.  Not taken:
 * certificates, DSA, RSA with SHA-1, signatures made by a browser for a web page (webauthn).
 *
 * All numbers here are big-endian, as everywhere in SSH.  Thread-safe: nothing keeps state. */
#pragma once

#include "core/buf.h"
#include "core/error.h"

enum {
    DZ_SSH_KEY_MAX = 2100,      /* bytes of a public key blob: RSA with 16,384 bits */
    DZ_SSH_KEY_LINE_MAX = 4096, /* bytes of "TYPE BASE64 COMMENT" */
    DZ_SSHSIG_MAX = 6 * 1024,   /* bytes of a signature, decoded */
    DZ_SSHSIG_ARMOR_MAX = 16 * 1024,
    DZ_SSHSIG_NAMESPACE_MAX = 64,
    DZ_SSH_RSA_BITS_MIN = 2048,
    DZ_SSH_RSA_BITS_MAX = 16384,
};

enum dz_ssh_type {
    DZ_SSH_ED25519,
    DZ_SSH_ECDSA_P256,
    DZ_SSH_ECDSA_P384,
    DZ_SSH_ECDSA_P521,
    DZ_SSH_RSA,
    DZ_SSH_SK_ED25519,    /* on a token */
    DZ_SSH_SK_ECDSA_P256, /* on a token */
    DZ_SSH_TYPE_COUNT
};

/* A public key: its blob, known to be whole and of one of the types above. */
typedef struct dz_ssh_key {
    enum dz_ssh_type type;
    size_t len; /* bytes of blob */
    uint8_t blob[DZ_SSH_KEY_MAX];
} dz_ssh_key;

/* A signature, taken apart.  The slices are borrowed from the bytes that were read. */
typedef struct dz_sshsig {
    dz_ssh_key key; /* that claims to have signed */
    dz_slice name_space;
    dz_slice reserved; /* signed as it stands; empty today */
    bool sha512;       /* the text was hashed with SHA-512, else SHA-256 */
    bool rsa_sha512;   /* RSA only: of the signature itself */
    dz_slice r, s;     /* ECDSA: numbers without leading zeros */
    dz_slice raw;      /* Ed25519, RSA: the signature's bytes */
    uint8_t flags;     /* token: 1 somebody touched it, 4 it checked a PIN or finger */
    uint32_t counter;  /* token: covered by the signature, and not judged: tokens count all their
                          uses, and some do not count at all */
} dz_sshsig;

/* "ssh-ed25519", "sk-ssh-ed25519@openssh.com", ...  Static. */
const char *dz_ssh_type_name(enum dz_ssh_type type);

/* Reads a key's blob.  DZ_E_MALFORMED (not a key, or has two spellings), DZ_E_LIMIT (RSA too short
 * or too long), DZ_E_UNSUPPORTED (another type; named). */
dz_status dz_ssh_key_read(dz_slice blob, dz_ssh_key *ret_key, dz_err *err) DZ_MUST_CHECK;

/* Reads "TYPE BASE64 [COMMENT]" as in id_ed25519.pub and authorized_keys, without options.
 * *ret_comment (may be NULL) is borrowed from the line; empty when there is none.
 * As dz_ssh_key_read(); DZ_E_MALFORMED also when TYPE is not the blob's. */
dz_status dz_ssh_key_parse(dz_slice line, dz_ssh_key *ret_key, dz_slice *ret_comment,
                           dz_err *err) DZ_MUST_CHECK;
/* Appends "TYPE BASE64".  Fails by to->bad only. */
void dz_ssh_key_write(const dz_ssh_key *key, dz_buf *to);
bool dz_ssh_key_eq(const dz_ssh_key *a, const dz_ssh_key *b);

/* "SHA256:" and 43 digits of base64: as `ssh-keygen -l` shows it. */
enum { DZ_SSH_FINGERPRINT_TEXT = 51 };
void dz_ssh_key_fingerprint(const dz_ssh_key *key, char ret_text[DZ_SSH_FINGERPRINT_TEXT]);

/* Takes a signature out of its armor ("-----BEGIN SSH SIGNATURE-----"): lines of any length, ended
 * by LF or CR LF.  *ret_blob is cleared first; the caller releases it.
 * DZ_E_MALFORMED, DZ_E_LIMIT, DZ_E_NOMEM. */
dz_status dz_sshsig_dearmor(dz_slice armor, dz_buf *ret_blob, dz_err *err) DZ_MUST_CHECK;
/* Appends the armor as ssh-keygen writes it.  Fails by to->bad only. */
void dz_sshsig_armor(dz_slice blob, dz_buf *to);

/* Takes a signature apart.  Nothing is verified: do not act on it.  What is accepted has no other
 * spelling.  DZ_E_MALFORMED, DZ_E_LIMIT, DZ_E_UNSUPPORTED (named). */
dz_status dz_sshsig_read(dz_slice blob, dz_sshsig *ret_sig, dz_err *err) DZ_MUST_CHECK;

/* Whether `key` signed `text` for this purpose.  DZ_OK: it did.
 * DZ_E_POLICY: by another key, for another purpose, of another text, or nobody touched the token
 * (says which); DZ_E_NOMEM. */
dz_status dz_sshsig_verify(const dz_sshsig *sig, const dz_ssh_key *key, const char *name_space,
                           dz_slice text, dz_err *err) DZ_MUST_CHECK;
