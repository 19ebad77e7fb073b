#include "net/ca.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "core/hex.h"
#include "crypto/hash.h"

enum { SERIAL_BYTES = 16 };

struct dz_ca {
    EVP_PKEY *key;
    X509 *own; /* its certificate; NULL while that is made */
    uint8_t vault_seed[DZ_CA_KEY];
    char name[64]; /* of the authority: which vault's */
    int64_t created_us;
    dz_buf cert;
};

static void free_cert(X509 **slot) {
    X509_free(*slot);
}
static void free_key(EVP_PKEY **slot) {
    EVP_PKEY_free(*slot);
}
static void free_extension(X509_EXTENSION **slot) {
    X509_EXTENSION_free(*slot);
}

static dz_status no_memory(dz_err *err) {
    return DZ_FAIL(err, DZ_E_NOMEM, "certificate: out of memory");
}

void dz_cert_fingerprint(dz_slice der, uint8_t ret[DZ_CA_FINGERPRINT]) {
    dz_sha256(der, ret);
}

bool dz_cert_key(dz_slice der, uint8_t ret_key[DZ_CA_KEY]) {
    const uint8_t *at = der.data;
    __attribute__((cleanup(free_cert))) X509 *cert =
        der.len > 0 && der.len <= DZ_CERT_MAX ? d2i_X509(NULL, &at, (long) der.len) : NULL;
    EVP_PKEY *key = cert ? X509_get0_pubkey(cert) : NULL;
    size_t len = DZ_CA_KEY;

    return key && EVP_PKEY_get_id(key) == EVP_PKEY_ED25519 &&
           EVP_PKEY_get_raw_public_key(key, ret_key, &len) == 1 && len == DZ_CA_KEY;
}

/* --- one certificate -------------------------------------------------------------------------- */

struct role {
    int name_type;                              /* NID of the attribute of the subject */
    const char *constraints, *usage, *extended; /* NULL: none */
};
static const struct role authority = { NID_commonName, "critical,CA:TRUE,pathlen:0",
                                       "critical,keyCertSign", NULL };
static const struct role server = { NID_commonName, "critical,CA:FALSE",
                                    "critical,digitalSignature", "serverAuth" };
/* id-at-name: as long as a source's name may be, which a common name is not */
static const struct role source_role = { NID_name, "critical,CA:FALSE", "critical,digitalSignature",
                                         "clientAuth" };

static bool add_extension(const struct dz_ca *ca, X509 *cert, int nid, const char *value) {
    __attribute__((cleanup(free_extension))) X509_EXTENSION *x = NULL;
    X509V3_CTX ctx;

    if (!value)
        return true;
    X509V3_set_ctx(&ctx, ca->own, cert, NULL, NULL, 0);
    x = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    return x && X509_add_ext(cert, x, -1) == 1;
}

/* The same key has the same number: there is one certificate for it. */
static bool set_serial(X509 *cert, const uint8_t key[DZ_CA_KEY]) {
    uint8_t hash[DZ_SHA256_BYTES];
    BIGNUM *n;
    bool ok;

    dz_sha256((dz_slice){ key, DZ_CA_KEY }, hash);
    hash[0] = (uint8_t) ((hash[0] & 0x7f) | 0x40); /* positive, and of one length */
    n = BN_bin2bn(hash, SERIAL_BYTES, NULL);
    ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok;
}

static bool set_times(X509 *cert, int64_t from_us) {
    /* "no well-defined expiration date": RFC 5280, 4.1.2.5 */
    return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t) (from_us / 1000000)) &&
           ASN1_TIME_set_string(X509_getm_notAfter(cert), "99991231235959Z") == 1;
}

static bool set_name(X509_NAME *to, int nid, const char *name) {
    return X509_NAME_add_entry_by_NID(to, nid, MBSTRING_UTF8, (const uint8_t *) name, -1, -1, 0) ==
           1;
}

static bool fill(const struct dz_ca *ca, const struct role *role, const char *subject,
                 const uint8_t key[DZ_CA_KEY], int64_t from_us, X509 *cert) {
    __attribute__((cleanup(free_key))) EVP_PKEY *public =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, DZ_CA_KEY);

    return public && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert, key) &&
           set_times(cert, from_us) && X509_set_pubkey(cert, public) == 1 &&
           set_name(X509_get_issuer_name(cert), authority.name_type, ca->name) &&
           set_name(X509_get_subject_name(cert), role->name_type, subject) &&
           add_extension(ca, cert, NID_basic_constraints, role->constraints) &&
           add_extension(ca, cert, NID_key_usage, role->usage) &&
           add_extension(ca, cert, NID_ext_key_usage, role->extended) &&
           add_extension(ca, cert, NID_subject_key_identifier, "hash") &&
           add_extension(ca, cert, NID_authority_key_identifier, ca->own ? "keyid" : NULL) &&
           X509_sign(cert, ca->key, NULL) > 0;
}

static dz_status issue(const struct dz_ca *ca, const struct role *role, const char *subject,
                       const uint8_t key[DZ_CA_KEY], int64_t from_us, dz_buf *to, dz_err *err) {
    __attribute__((cleanup(free_cert))) X509 *cert = X509_new();
    uint8_t *at;
    int len;

    if (!cert || !fill(ca, role, subject, key, from_us, cert))
        return no_memory(err);
    len = i2d_X509(cert, NULL);
    if (len <= 0 || len > DZ_CERT_MAX)
        return no_memory(err);
    at = dz_buf_extend(to, (size_t) len);
    return at && i2d_X509(cert, &at) == len ? DZ_OK : no_memory(err);
}

/* --- the authority ---------------------------------------------------------------------------- */

static bool public_of(const uint8_t seed[DZ_CA_KEY], EVP_PKEY **ret_key, uint8_t ret[DZ_CA_KEY]) {
    size_t len = DZ_CA_KEY;

    *ret_key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, DZ_CA_KEY);
    return *ret_key && EVP_PKEY_get_raw_public_key(*ret_key, ret, &len) == 1 && len == DZ_CA_KEY;
}

dz_status dz_ca_new(const struct dz_host_keys *host, int64_t created_us, struct dz_ca **ret_ca,
                    dz_err *err) {
    const dz_slice vault = { host->vault.b, sizeof host->vault.b };
    DZ_AUTO(dz_ca) ca = calloc(1, sizeof *ca);
    uint8_t seed[DZ_CA_KEY], key[DZ_CA_KEY];
    char id[2 * DZ_VAULT_ID_BYTES + 1];
    const uint8_t *der;
    bool ok;

    if (!ca)
        return no_memory(err);
    ca->created_us = created_us;
    dz_hex(host->vault.b, sizeof host->vault.b, id);
    (void) snprintf(ca->name, sizeof ca->name, "dozo vault %s", id);
    dz_key_derive(host->master, "tls vault", vault, ca->vault_seed);
    dz_key_derive(host->master, "tls authority", vault, seed);
    ok = public_of(seed, &ca->key, key);
    explicit_bzero(seed, sizeof seed);
    if (!ok)
        return no_memory(err);
    DZ_TRY(issue(ca, &authority, ca->name, key, created_us, &ca->cert, err));
    der = ca->cert.data;
    ca->own = d2i_X509(NULL, &der, (long) ca->cert.len);
    if (!ca->own)
        return no_memory(err);
    *ret_ca = DZ_TAKE(ca);
    return DZ_OK;
}

void dz_ca_free(struct dz_ca *ca) {
    if (!ca)
        return;
    EVP_PKEY_free(ca->key);
    X509_free(ca->own);
    dz_buf_release(&ca->cert);
    explicit_bzero(ca, sizeof *ca);
    free(ca);
}

dz_slice dz_ca_cert(const struct dz_ca *ca) {
    return dz_buf_slice(&ca->cert);
}

dz_status dz_ca_vault(const struct dz_ca *ca, uint8_t ret_seed[DZ_CA_KEY], dz_buf *to,
                      dz_err *err) {
    __attribute__((cleanup(free_key))) EVP_PKEY *pair = NULL;
    uint8_t key[DZ_CA_KEY];

    if (!public_of(ca->vault_seed, &pair, key))
        return no_memory(err);
    DZ_TRY(issue(ca, &server, "dozo", key, ca->created_us, to, err));
    memcpy(ret_seed, ca->vault_seed, DZ_CA_KEY);
    return DZ_OK;
}

dz_status dz_ca_source(const struct dz_ca *ca, const char *source, const uint8_t key[DZ_CA_KEY],
                       int64_t since_us, dz_buf *to, dz_err *err) {
    return issue(ca, &source_role, source, key, since_us, to, err);
}
