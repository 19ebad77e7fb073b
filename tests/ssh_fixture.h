/* tests/ssh_fixture.h -- signs as an SSH agent or a FIDO token would, from a seed and without one.
 *
 * Written from PROTOCOL.sshsig and PROTOCOL.u2f, apart from src/crypto/sshsig.c: what the two agree
 * on is not one's mistake copied.  Ed25519 keys only; test_sshsig.c has the other kinds. */
#pragma once

#include <sodium.h>

#include "core/buf.h"
#include "crypto/hash.h"

struct ssh_signer {
    bool token;
    uint8_t flags;    /* token: what it claims to have seen */
    uint32_t counter; /* token */
    uint8_t public_key[32], secret_key[64];
};

static inline void ssh_put_u32(dz_buf *to, size_t n) {
    const uint8_t b[] = { (uint8_t) (n >> 24), (uint8_t) (n >> 16), (uint8_t) (n >> 8),
                          (uint8_t) n };

    dz_buf_put(to, b, sizeof b);
}

static inline void ssh_put(dz_buf *to, const void *bytes, size_t len) {
    ssh_put_u32(to, len);
    dz_buf_put(to, bytes, len);
}

static inline void ssh_put_text(dz_buf *to, const char *text) {
    ssh_put(to, text, strlen(text));
}

static inline struct ssh_signer ssh_signer_of(uint8_t seed, bool token) {
    struct ssh_signer s = { .token = token, .flags = 1, .counter = 7 };
    const uint8_t bytes[32] = { seed, 's', 's', 'h' };

    (void) crypto_sign_seed_keypair(s.public_key, s.secret_key, bytes);
    return s;
}

static inline const char *ssh_type(const struct ssh_signer *s) {
    return s->token ? "sk-ssh-ed25519@openssh.com" : "ssh-ed25519";
}

static inline void ssh_put_key(const struct ssh_signer *s, dz_buf *to) {
    ssh_put_text(to, ssh_type(s));
    ssh_put(to, s->public_key, sizeof s->public_key);
    if (s->token)
        ssh_put_text(to, "ssh:");
}

/* "TYPE BASE64 NAME" and NUL. */
static inline void ssh_put_line(const struct ssh_signer *s, const char *name, dz_buf *to) {
    dz_autobuf dz_buf blob = { 0 };
    char base64[256];

    ssh_put_key(s, &blob);
    (void) sodium_bin2base64(base64, sizeof base64, blob.data, blob.len,
                             sodium_base64_VARIANT_ORIGINAL);
    dz_buf_printf(to, "%s %s %s", ssh_type(s), base64, name);
    dz_buf_put_u8(to, 0);
    to->len--;
}

/* What is signed, for any kind of key. */
static inline void ssh_put_signed(const char *name_space, dz_slice text, dz_buf *to) {
    uint8_t hash[crypto_hash_sha512_BYTES];

    (void) crypto_hash_sha512(hash, text.data, text.len);
    dz_buf_put(to, "SSHSIG", 6);
    ssh_put_text(to, name_space);
    ssh_put_text(to, "");
    ssh_put_text(to, "sha512");
    ssh_put(to, hash, sizeof hash);
}

/* What a token signs instead. */
static inline void ssh_wrap(uint8_t flags, uint32_t counter, dz_buf *message) {
    uint8_t app[32], hash[32];

    dz_sha256(DZ_SLICE_LIT("ssh:"), app);
    dz_sha256(dz_buf_slice(message), hash);
    dz_buf_clear(message);
    dz_buf_put(message, app, sizeof app);
    dz_buf_put_u8(message, flags);
    ssh_put_u32(message, counter);
    dz_buf_put(message, hash, sizeof hash);
}

/* The blob round a key and its own signature. */
static inline void ssh_put_blob(dz_slice key, const char *name_space, dz_slice signature,
                                dz_buf *to) {
    dz_buf_put(to, "SSHSIG\0\0\0\1", 10);
    ssh_put(to, key.data, key.len);
    ssh_put_text(to, name_space);
    ssh_put_text(to, "");
    ssh_put_text(to, "sha512");
    ssh_put(to, signature.data, signature.len);
}

static inline void ssh_sign(const struct ssh_signer *s, const char *name_space, dz_slice text,
                            dz_buf *ret_blob) {
    dz_autobuf dz_buf message = { 0 }, key = { 0 }, signature = { 0 };
    uint8_t sig[64];

    ssh_put_signed(name_space, text, &message);
    if (s->token)
        ssh_wrap(s->flags, s->counter, &message);
    (void) crypto_sign_detached(sig, NULL, message.data, message.len, s->secret_key);
    ssh_put_text(&signature, ssh_type(s));
    ssh_put(&signature, sig, sizeof sig);
    if (s->token) {
        dz_buf_put_u8(&signature, s->flags);
        ssh_put_u32(&signature, s->counter);
    }
    ssh_put_key(s, &key);
    ssh_put_blob(dz_buf_slice(&key), name_space, dz_buf_slice(&signature), ret_blob);
}

/* The line of operator `i`, called op`i`, from the seed `i`; the caller frees it. */
static inline char *ssh_operator_line(unsigned i) {
    struct ssh_signer s = ssh_signer_of((uint8_t) i, false);
    dz_buf line = { 0 };
    char name[16];

    (void) snprintf(name, sizeof name, "op%u", i);
    ssh_put_line(&s, name, &line);
    return (char *) line.data;
}
