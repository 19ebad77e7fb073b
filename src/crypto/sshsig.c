#include "crypto/sshsig.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <sodium.h>

#include "crypto/base64.h"
#include "crypto/hash.h"

enum { ED25519_KEY = 32, ED25519_SIG = 64, APPLICATION_MAX = 255, LINE = 70 };
enum { TOUCHED = 1 };

static const char MAGIC[] = "SSHSIG", BEGIN[] = "-----BEGIN SSH SIGNATURE-----",
                  END[] = "-----END SSH SIGNATURE-----";

/* What the types have in common, and in what they differ. */
static const struct type {
    const char *name;
    const char *curve; /* ECDSA: as SSH calls it */
    const char *group; /* ... and OpenSSL */
    const char *hash;  /* over what is signed */
    size_t number;     /* bytes of a number of the curve */
    bool token;
} types[DZ_SSH_TYPE_COUNT] = {
    [DZ_SSH_ED25519] = { .name = "ssh-ed25519" },
    [DZ_SSH_ECDSA_P256] = { "ecdsa-sha2-nistp256", "nistp256", "prime256v1", "SHA256", 32, false },
    [DZ_SSH_ECDSA_P384] = { "ecdsa-sha2-nistp384", "nistp384", "secp384r1", "SHA384", 48, false },
    [DZ_SSH_ECDSA_P521] = { "ecdsa-sha2-nistp521", "nistp521", "secp521r1", "SHA512", 66, false },
    [DZ_SSH_RSA] = { .name = "ssh-rsa" },
    [DZ_SSH_SK_ED25519] = { .name = "sk-ssh-ed25519@openssh.com", .token = true },
    [DZ_SSH_SK_ECDSA_P256] = { "sk-ecdsa-sha2-nistp256@openssh.com", "nistp256", "prime256v1",
                               "SHA256", 32, true },
};

const char *dz_ssh_type_name(enum dz_ssh_type type) {
    return types[type].name;
}

/* --- SSH's own encoding (RFC 4251, section 5) ------------------------------------------------- */

static uint32_t read_u32(dz_reader *r) {
    dz_slice s = dz_read_bytes(r, 4);

    return s.len ? (uint32_t) s.data[0] << 24 | (uint32_t) s.data[1] << 16 |
                       (uint32_t) s.data[2] << 8 | s.data[3]
                 : 0;
}

static dz_slice read_string(dz_reader *r) {
    return dz_read_bytes(r, read_u32(r));
}

/* A positive number in its shortest form; given without the zero that keeps it positive. */
static dz_slice read_number(dz_reader *r) {
    dz_slice s = read_string(r);

    if (s.len == 0 || s.data[0] >= 0x80 || (s.data[0] == 0 && (s.len == 1 || s.data[1] < 0x80))) {
        r->bad = true;
        return (dz_slice){ s.data, 0 };
    }
    return s.data[0] ? s : (dz_slice){ s.data + 1, s.len - 1 };
}

static bool is(dz_slice s, const char *word) {
    return dz_slice_eq(s, (dz_slice){ (const uint8_t *) word, strlen(word) });
}

static void put_string(dz_buf *to, dz_slice s) {
    const uint8_t len[] = { (uint8_t) (s.len >> 24), (uint8_t) (s.len >> 16),
                            (uint8_t) (s.len >> 8), (uint8_t) s.len };

    dz_buf_put(to, len, sizeof len);
    dz_buf_put_slice(to, s);
}

/* A word from outside, fit for a message. */
enum { WORD = 48 };
static const char *printable(dz_slice s, char to[WORD]) {
    size_t n = s.len < WORD - 1 ? s.len : WORD - 1;

    for (size_t i = 0; i < n; i++) {
        uint8_t letter = s.data[i] > ' ' && s.data[i] < 0x7f ? s.data[i] : (uint8_t) '?';

        to[i] = (char) letter;
    }
    to[n] = 0;
    return to;
}

static bool type_of(dz_slice name, enum dz_ssh_type *ret_type) {
    for (size_t i = 0; i < DZ_SSH_TYPE_COUNT; i++)
        if (is(name, types[i].name)) {
            *ret_type = (enum dz_ssh_type) i;
            return true;
        }
    return false;
}

/* --- public keys ------------------------------------------------------------------------------ */

/* The parts of a key's blob, behind its type. */
struct parts {
    dz_slice point;       /* Ed25519, ECDSA */
    dz_slice e, n;        /* RSA */
    dz_slice application; /* tokens: for whom they sign; "ssh:" mostly */
};

static bool take_parts(enum dz_ssh_type type, dz_reader *r, struct parts *ret_parts) {
    const struct type *t = &types[type];
    struct parts p = { 0 };
    bool ok = true;

    if (type == DZ_SSH_RSA) {
        p.e = read_number(r);
        p.n = read_number(r);
    } else if (t->curve) {
        ok = is(read_string(r), t->curve);
        p.point = read_string(r);
        ok = ok && p.point.len == 1 + 2 * t->number && p.point.data[0] == 4; /* not compressed */
    } else {
        p.point = read_string(r);
        ok = p.point.len == ED25519_KEY;
    }
    if (t->token) {
        p.application = read_string(r);
        ok = ok && p.application.len > 0 && p.application.len <= APPLICATION_MAX;
    }
    *ret_parts = p;
    return ok && dz_reader_done(r);
}

static size_t bits(dz_slice number) {
    return number.len == 0 ? 0 : 8 * number.len - (size_t) (__builtin_clz(number.data[0]) - 24);
}

dz_status dz_ssh_key_read(dz_slice blob, dz_ssh_key *ret_key, dz_err *err) {
    dz_reader r = dz_reader_over(blob);
    dz_slice name = read_string(&r);
    enum dz_ssh_type type;
    struct parts p;
    char word[WORD];

    if (!dz_reader_ok(&r))
        return DZ_FAIL(err, DZ_E_MALFORMED, "SSH key: cut short");
    if (!type_of(name, &type))
        return DZ_FAIL(err, DZ_E_UNSUPPORTED,
                       "SSH key: of type %s; ssh-ed25519, ecdsa, ssh-rsa and their forms on a "
                       "token (sk-) can sign",
                       printable(name, word));
    if (blob.len > DZ_SSH_KEY_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "SSH key: %zu bytes, the limit is %d", blob.len,
                       (int) DZ_SSH_KEY_MAX);
    if (!take_parts(type, &r, &p))
        return DZ_FAIL(err, DZ_E_MALFORMED, "SSH key: damaged");
    if (type == DZ_SSH_RSA) {
        if (bits(p.n) < DZ_SSH_RSA_BITS_MIN || bits(p.n) > DZ_SSH_RSA_BITS_MAX)
            return DZ_FAIL(err, DZ_E_LIMIT, "SSH key: RSA with %zu bits, taken are %d to %d",
                           bits(p.n), (int) DZ_SSH_RSA_BITS_MIN, (int) DZ_SSH_RSA_BITS_MAX);
        /* 1 would make every message its own signature; more than 64 bits OpenSSL refuses */
        if (bits(p.e) < 2 || bits(p.e) > 64 || !(p.e.data[p.e.len - 1] & 1))
            return DZ_FAIL(err, DZ_E_MALFORMED, "SSH key: an RSA exponent that nobody uses");
    }
    ret_key->type = type;
    ret_key->len = blob.len;
    memcpy(ret_key->blob, blob.data, blob.len);
    return DZ_OK;
}

static bool blank(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static dz_slice take_word(dz_slice *rest) {
    dz_slice word;
    size_t n = 0;

    while (rest->len > 0 && blank(rest->data[0])) {
        rest->data++;
        rest->len--;
    }
    while (n < rest->len && !blank(rest->data[n]))
        n++;
    word = (dz_slice){ rest->data, n };
    rest->data += n;
    rest->len -= n;
    return word;
}

dz_status dz_ssh_key_parse(dz_slice line, dz_ssh_key *ret_key, dz_slice *ret_comment, dz_err *err) {
    uint8_t blob[DZ_SSH_KEY_MAX];
    dz_slice rest = line, type, base64;
    dz_ssh_key key;
    char word[WORD];
    size_t len;

    if (line.len > DZ_SSH_KEY_LINE_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "SSH key: a line of %zu bytes, the limit is %d", line.len,
                       (int) DZ_SSH_KEY_LINE_MAX);
    type = take_word(&rest);
    base64 = take_word(&rest);
    while (rest.len > 0 && blank(rest.data[rest.len - 1]))
        rest.len--;
    while (rest.len > 0 && blank(rest.data[0])) {
        rest.data++;
        rest.len--;
    }
    for (size_t i = 0; i < rest.len; i++)
        if (rest.data[i] == '\n' || rest.data[i] == 0)
            return DZ_FAIL(err, DZ_E_MALFORMED, "SSH key: more than one line");
    len = dz_base64_decode(base64, blob, sizeof blob);
    if (len == 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "SSH key: no \"TYPE BASE64 NAME\" as in a .pub file");
    DZ_TRY(dz_ssh_key_read((dz_slice){ blob, len }, &key, err));
    if (!is(type, types[key.type].name))
        return DZ_FAIL(err, DZ_E_MALFORMED, "SSH key: the line says %s, the key is %s",
                       printable(type, word), types[key.type].name);
    *ret_key = key;
    if (ret_comment)
        *ret_comment = rest;
    return DZ_OK;
}

void dz_ssh_key_write(const dz_ssh_key *key, dz_buf *to) {
    char base64[sodium_base64_ENCODED_LEN(DZ_SSH_KEY_MAX, sodium_base64_VARIANT_ORIGINAL)];

    (void) sodium_bin2base64(base64, sizeof base64, key->blob, key->len,
                             sodium_base64_VARIANT_ORIGINAL);
    dz_buf_printf(to, "%s %s", types[key->type].name, base64);
}

bool dz_ssh_key_eq(const dz_ssh_key *a, const dz_ssh_key *b) {
    return dz_slice_eq((dz_slice){ a->blob, a->len }, (dz_slice){ b->blob, b->len });
}

void dz_ssh_key_fingerprint(const dz_ssh_key *key, char ret_text[DZ_SSH_FINGERPRINT_TEXT]) {
    uint8_t hash[DZ_SHA256_BYTES];

    dz_sha256((dz_slice){ key->blob, key->len }, hash);
    memcpy(ret_text, "SHA256:", 7);
    (void) sodium_bin2base64(ret_text + 7, DZ_SSH_FINGERPRINT_TEXT - 7, hash, sizeof hash,
                             sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

/* --- signatures ------------------------------------------------------------------------------- */

/* The inner signature: its algorithm, then what the algorithm says. */
static bool take_signature(dz_sshsig *sig, dz_slice bytes) {
    const struct type *t = &types[sig->key.type];
    dz_reader r = dz_reader_over(bytes), inner;
    dz_slice name = read_string(&r), body = read_string(&r);
    bool ok;

    if (sig->key.type == DZ_SSH_RSA) {
        sig->rsa_sha512 = is(name, "rsa-sha2-512");
        sig->raw = body;
        ok = (sig->rsa_sha512 || is(name, "rsa-sha2-256")) && body.len > 0;
    } else if (t->curve) {
        inner = dz_reader_over(body);
        sig->r = read_number(&inner);
        sig->s = read_number(&inner);
        ok = is(name, t->name) && dz_reader_done(&inner) && sig->r.len <= t->number &&
             sig->s.len <= t->number;
    } else {
        sig->raw = body;
        ok = is(name, t->name) && body.len == ED25519_SIG;
    }
    if (t->token) {
        sig->flags = dz_read_u8(&r);
        sig->counter = read_u32(&r);
    }
    return ok && dz_reader_done(&r);
}

dz_status dz_sshsig_read(dz_slice blob, dz_sshsig *ret_sig, dz_err *err) {
    dz_reader r = dz_reader_over(blob);
    dz_slice key, hash, signature;
    dz_sshsig sig = { 0 };

    if (blob.len > DZ_SSHSIG_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "SSH signature: %zu bytes, the limit is %d", blob.len,
                       (int) DZ_SSHSIG_MAX);
    if (!is(dz_read_bytes(&r, sizeof MAGIC - 1), MAGIC))
        return DZ_FAIL(err, DZ_E_MALFORMED, "SSH signature: does not begin with SSHSIG");
    if (read_u32(&r) != 1)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "SSH signature: not of version 1");
    key = read_string(&r);
    sig.name_space = read_string(&r);
    sig.reserved = read_string(&r);
    hash = read_string(&r);
    signature = read_string(&r);
    if (!dz_reader_done(&r) || sig.name_space.len == 0 ||
        sig.name_space.len > DZ_SSHSIG_NAMESPACE_MAX)
        return DZ_FAIL(err, DZ_E_MALFORMED, "SSH signature: damaged");
    sig.sha512 = is(hash, "sha512");
    if (!sig.sha512 && !is(hash, "sha256"))
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "SSH signature: a hash that is not sha256 or sha512");
    DZ_TRY(dz_ssh_key_read(key, &sig.key, err));
    if (!take_signature(&sig, signature))
        return DZ_FAIL(err, DZ_E_MALFORMED,
                       "SSH signature: not one that a key of type %s makes (RSA: with SHA-2)",
                       types[sig.key.type].name);
    *ret_sig = sig;
    return DZ_OK;
}

/* Steps over `word` and the end of its line. */
static bool take_line(dz_slice *rest, const char *word) {
    size_t len = strlen(word);

    if (rest->len < len || memcmp(rest->data, word, len) != 0 ||
        (rest->len > len && !blank(rest->data[len])))
        return false;
    rest->data += len;
    rest->len -= len;
    return true;
}

dz_status dz_sshsig_dearmor(dz_slice armor, dz_buf *ret_blob, dz_err *err) {
    uint8_t packed[DZ_SSHSIG_ARMOR_MAX];
    dz_slice rest = armor;
    size_t n = 0;
    uint8_t *to;

    dz_buf_clear(ret_blob);
    if (armor.len > DZ_SSHSIG_ARMOR_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "SSH signature: %zu bytes, the limit is %d", armor.len,
                       (int) DZ_SSHSIG_ARMOR_MAX);
    while (rest.len > 0 && blank(rest.data[rest.len - 1]))
        rest.len--;
    if (!take_line(&rest, BEGIN))
        return DZ_FAIL(err, DZ_E_MALFORMED, "SSH signature: no line \"%s\"", BEGIN);
    while (rest.len > 0 && rest.data[0] != '-') {
        if (!blank(rest.data[0]))
            packed[n++] = rest.data[0];
        rest.data++;
        rest.len--;
    }
    if (!take_line(&rest, END) || rest.len > 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "SSH signature: no line \"%s\" at the end", END);
    to = dz_buf_extend(ret_blob, DZ_SSHSIG_MAX);
    if (!to)
        return DZ_FAIL(err, DZ_E_NOMEM, "SSH signature: out of memory");
    ret_blob->len = dz_base64_decode((dz_slice){ packed, n }, to, DZ_SSHSIG_MAX);
    if (ret_blob->len == 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "SSH signature: not base64, or over %d bytes",
                       (int) DZ_SSHSIG_MAX);
    return DZ_OK;
}

void dz_sshsig_armor(dz_slice blob, dz_buf *to) {
    char base64[sodium_base64_ENCODED_LEN(DZ_SSHSIG_MAX, sodium_base64_VARIANT_ORIGINAL)];
    size_t len;

    (void) sodium_bin2base64(base64, sizeof base64, blob.data, blob.len,
                             sodium_base64_VARIANT_ORIGINAL);
    len = strlen(base64);
    dz_buf_printf(to, "%s\n", BEGIN);
    for (size_t at = 0; at < len; at += LINE)
        dz_buf_printf(to, "%.*s\n", LINE, base64 + at);
    dz_buf_printf(to, "%s\n", END);
}

/* --- verification ----------------------------------------------------------------------------- */

/* What the key signs: a frame round the hash of the text, so that no signature made for another
 * protocol, or another namespace, fits. */
static void put_signed(const dz_sshsig *sig, dz_slice text, dz_buf *to) {
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (!EVP_Digest(text.data, text.len, hash, &len, sig->sha512 ? EVP_sha512() : EVP_sha256(),
                    NULL)) {
        to->bad = true;
        return;
    }
    dz_buf_put(to, MAGIC, sizeof MAGIC - 1);
    put_string(to, sig->name_space);
    put_string(to, sig->reserved);
    put_string(to, sig->sha512 ? DZ_SLICE_LIT("sha512") : DZ_SLICE_LIT("sha256"));
    put_string(to, (dz_slice){ hash, len });
}

/* A token signs hashes of application and message, and between them what it saw and counted
 * (PROTOCOL.u2f; CTAP 2.1, section 6.1). */
static void wrap_for_token(const dz_sshsig *sig, dz_slice application, dz_buf *message) {
    uint8_t app[DZ_SHA256_BYTES], hash[DZ_SHA256_BYTES];
    const uint8_t seen[] = { sig->flags, (uint8_t) (sig->counter >> 24),
                             (uint8_t) (sig->counter >> 16), (uint8_t) (sig->counter >> 8),
                             (uint8_t) sig->counter };

    dz_sha256(application, app);
    dz_sha256(dz_buf_slice(message), hash);
    dz_buf_clear(message);
    dz_buf_put(message, app, sizeof app);
    dz_buf_put(message, seen, sizeof seen);
    dz_buf_put(message, hash, sizeof hash);
}

static EVP_PKEY *make_key(const char *kind, OSSL_PARAM *params) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    EVP_PKEY *key = NULL;

    if (ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* OpenSSL refuses a point that is not on the curve. */
static EVP_PKEY *ec_key(const struct type *t, dz_slice point) {
    char group[16];
    uint8_t copy[1 + 2 * 66];
    OSSL_PARAM params[3];

    (void) snprintf(group, sizeof group, "%s", t->group);
    memcpy(copy, point.data, point.len);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, point.len);
    params[2] = OSSL_PARAM_construct_end();
    return make_key("EC", params);
}

/* OSSL_PARAM takes numbers in the machine's own order, which here is the little end first. */
static void reversed(dz_slice number, uint8_t *to) {
    for (size_t i = 0; i < number.len; i++)
        to[i] = number.data[number.len - 1 - i];
}

static EVP_PKEY *rsa_key(dz_slice e, dz_slice n) {
    uint8_t e_bytes[8], n_bytes[DZ_SSH_RSA_BITS_MAX / 8];
    OSSL_PARAM params[3];

    reversed(e, e_bytes);
    reversed(n, n_bytes);
    params[0] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, e_bytes, e.len);
    params[1] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n_bytes, n.len);
    params[2] = OSSL_PARAM_construct_end();
    return make_key("RSA", params);
}

/* RFC 3279's form of an ECDSA signature, which OpenSSL wants. */
static uint8_t *der_of(dz_slice r, dz_slice s, int *ret_len) {
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *br = BN_bin2bn(r.data, (int) r.len, NULL), *bs = BN_bin2bn(s.data, (int) s.len, NULL);
    uint8_t *der = NULL;

    if (sig && br && bs && ECDSA_SIG_set0(sig, br, bs) == 1) {
        br = bs = NULL; /* they are the signature's now */
        *ret_len = i2d_ECDSA_SIG(sig, &der);
    }
    BN_free(br);
    BN_free(bs);
    ECDSA_SIG_free(sig);
    return der && *ret_len > 0 ? der : NULL;
}

static bool evp_verify(EVP_PKEY *key, const char *hash, dz_slice signature, dz_slice message) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && key && /* for RSA the padding is PKCS #1 v1.5, as RFC 8332 wants */
              EVP_DigestVerifyInit_ex(ctx, NULL, hash, NULL, NULL, key, NULL) == 1 &&
              EVP_DigestVerify(ctx, signature.data, signature.len, message.data, message.len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool ecdsa_verify(const dz_sshsig *sig, dz_slice point, dz_slice message) {
    const struct type *t = &types[sig->key.type];
    EVP_PKEY *key = ec_key(t, point);
    int len = 0;
    uint8_t *der = der_of(sig->r, sig->s, &len);
    bool ok = der && evp_verify(key, t->hash, (dz_slice){ der, (size_t) len }, message);

    OPENSSL_free(der);
    EVP_PKEY_free(key);
    return ok;
}

static bool rsa_verify(const dz_sshsig *sig, dz_slice e, dz_slice n, dz_slice message) {
    uint8_t padded[DZ_SSH_RSA_BITS_MAX / 8] = { 0 }; /* some leave leading zeros out */
    EVP_PKEY *key;
    bool ok;

    if (sig->raw.len > n.len)
        return false;
    memcpy(padded + n.len - sig->raw.len, sig->raw.data, sig->raw.len);
    key = rsa_key(e, n);
    ok = evp_verify(key, sig->rsa_sha512 ? "SHA512" : "SHA256", (dz_slice){ padded, n.len },
                    message);
    EVP_PKEY_free(key);
    return ok;
}

dz_status dz_sshsig_verify(const dz_sshsig *sig, const dz_ssh_key *key, const char *name_space,
                           dz_slice text, dz_err *err) {
    const struct type *t = &types[sig->key.type];
    dz_reader r = dz_reader_over((dz_slice){ sig->key.blob, sig->key.len });
    dz_autobuf dz_buf message = { 0 };
    char word[WORD];
    struct parts p;
    bool ok;

    if (!dz_ssh_key_eq(&sig->key, key))
        return DZ_FAIL(err, DZ_E_POLICY, "SSH signature: made with another key");
    if (!is(sig->name_space, name_space))
        return DZ_FAIL(err, DZ_E_POLICY, "SSH signature: made for \"%s\", not for \"%s\"",
                       printable(sig->name_space, word), name_space);
    if (t->token && !(sig->flags & TOUCHED))
        return DZ_FAIL(err, DZ_E_POLICY, "SSH signature: nobody touched the token");
    (void) read_string(&r);
    if (!take_parts(sig->key.type, &r, &p))
        return DZ_FAIL(err, DZ_E_MALFORMED, "SSH key: damaged");
    put_signed(sig, text, &message);
    if (dz_buf_ok(&message) && t->token)
        wrap_for_token(sig, p.application, &message);
    if (!dz_buf_ok(&message))
        return DZ_FAIL(err, DZ_E_NOMEM, "SSH signature: out of memory");
    if (sig->key.type == DZ_SSH_RSA)
        ok = rsa_verify(sig, p.e, p.n, dz_buf_slice(&message));
    else if (t->curve)
        ok = ecdsa_verify(sig, p.point, dz_buf_slice(&message));
    else
        ok = crypto_sign_verify_detached(sig->raw.data, message.data, message.len, p.point.data) ==
             0;
    return ok ? DZ_OK
              : DZ_FAIL(err, DZ_E_POLICY, "SSH signature: not of this text, or not by this key");
}
