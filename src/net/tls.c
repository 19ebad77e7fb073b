#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

enum { CERT_LIST_MAX = 8 << 10 /* bytes of certificates that the other side may show */ };

struct dz_tls {
    SSL_CTX *ctx;
    SSL *ssl;
    uint8_t fingerprint[DZ_CA_FINGERPRINT];
    bool by_fingerprint;
    short wants;
    unsigned long error;
};

/* --- whom to believe -------------------------------------------------------------------------- */

static void free_cert(X509 **slot) {
    X509_free(*slot);
}

static X509 *read_cert(dz_slice der) {
    const uint8_t *at = der.data;

    return der.len > 0 && der.len <= DZ_CERT_MAX ? d2i_X509(NULL, &at, (long) der.len) : NULL;
}

static bool is_the_authority(const struct dz_tls *t, X509 *cert) {
    uint8_t hash[DZ_CA_FINGERPRINT];
    unsigned len = sizeof hash;

    return X509_digest(cert, EVP_sha256(), hash, &len) == 1 && len == sizeof hash &&
           memcmp(hash, t->fingerprint, sizeof hash) == 0;
}

/* Who knows the authority by its fingerprint alone finds it among what the vault shows. */
static int verify(X509_STORE_CTX *ctx, void *arg) {
    const struct dz_tls *t = arg;
    STACK_OF(X509) *shown = X509_STORE_CTX_get0_untrusted(ctx);

    for (int i = 0; t->by_fingerprint && i < sk_X509_num(shown); i++)
        if (is_the_authority(t, sk_X509_value(shown, i)) &&
            X509_STORE_add_cert(X509_STORE_CTX_get0_store(ctx), sk_X509_value(shown, i)) != 1)
            return 0;
    return X509_verify_cert(ctx);
}

static bool trust(struct dz_tls *t, const struct dz_tls_how *how) {
    __attribute__((cleanup(free_cert))) X509 *authority = NULL;
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(t->ctx);
    int mode = SSL_VERIFY_PEER;

    if (how->authority.len > 0) {
        authority = read_cert(how->authority);
        if (!authority || X509_STORE_add_cert(SSL_CTX_get_cert_store(t->ctx), authority) != 1)
            return false;
        /* shown too: to who knows its fingerprint */
        if (how->vault && SSL_CTX_add1_chain_cert(t->ctx, authority) != 1)
            return false;
    }
    if (how->fingerprint) {
        t->by_fingerprint = true;
        memcpy(t->fingerprint, how->fingerprint, sizeof t->fingerprint);
    }
    if (how->vault && !how->strangers)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(t->ctx, mode, NULL);
    SSL_CTX_set_cert_verify_callback(t->ctx, verify, t);
    SSL_CTX_set_verify_depth(t->ctx, 0); /* nobody between the authority and the key */
    SSL_CTX_set_max_cert_list(t->ctx, CERT_LIST_MAX);
    return X509_VERIFY_PARAM_set_purpose(param, how->vault ? X509_PURPOSE_SSL_CLIENT
                                                           : X509_PURPOSE_SSL_SERVER) == 1 &&
           X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_NO_CHECK_TIME);
}

/* --- making ----------------------------------------------------------------------------------- */

static bool limit(SSL_CTX *ctx) {
    char groups[] = "X25519:P-256", algorithm[] = "ed25519"; /* OpenSSL's macros drop a const */

    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 0) == 1 && SSL_CTX_set_max_early_data(ctx, 0) == 1 &&
           SSL_CTX_set1_groups_list(ctx, groups) == 1 &&
           SSL_CTX_set1_sigalgs_list(ctx, algorithm) == 1 &&
           SSL_CTX_set1_client_sigalgs_list(ctx, algorithm) == 1;
}

static bool show(SSL_CTX *ctx, const struct dz_tls_how *how) {
    __attribute__((cleanup(free_cert))) X509 *cert = read_cert(how->cert);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, how->seed, DZ_CA_KEY);
    bool ok = cert && key && SSL_CTX_use_certificate(ctx, cert) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;

    EVP_PKEY_free(key);
    return ok;
}

dz_status dz_tls_new(const struct dz_tls_how *how, int fd, struct dz_tls **ret_tls, dz_err *err) {
    DZ_AUTO(dz_tls) t = calloc(1, sizeof *t);

    if (!t || OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return DZ_FAIL(err, DZ_E_NOMEM, "TLS: out of memory");
    t->ctx = SSL_CTX_new(how->vault ? TLS_server_method() : TLS_client_method());
    if (!t->ctx || !limit(t->ctx))
        return DZ_FAIL(err, DZ_E_NOMEM, "TLS: out of memory");
    if (!trust(t, how) || (how->cert.len > 0 && !show(t->ctx, how)))
        return DZ_FAIL(err, DZ_E_MALFORMED, "TLS: a certificate of our own, or its key, is none");
    t->ssl = SSL_new(t->ctx);
    if (!t->ssl || SSL_set_fd(t->ssl, fd) != 1)
        return DZ_FAIL(err, DZ_E_NOMEM, "TLS: out of memory");
    if (how->vault)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    *ret_tls = DZ_TAKE(t);
    return DZ_OK;
}

void dz_tls_free(struct dz_tls *t) {
    if (!t)
        return;
    SSL_free(t->ssl);
    SSL_CTX_free(t->ctx);
    free(t);
}

/* --- talking ---------------------------------------------------------------------------------- */

static enum dz_tls_result result(struct dz_tls *t, int n) {
    int e;

    if (n > 0)
        return DZ_TLS_OK;
    e = SSL_get_error(t->ssl, n);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
        t->wants = e == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        return DZ_TLS_WAIT;
    }
    if (e == SSL_ERROR_ZERO_RETURN)
        return DZ_TLS_END;
    t->error = ERR_peek_last_error();
    return DZ_TLS_FAILED;
}

enum dz_tls_result dz_tls_handshake(struct dz_tls *t) {
    ERR_clear_error();
    return result(t, SSL_do_handshake(t->ssl));
}

bool dz_tls_peer_key(const struct dz_tls *t, uint8_t ret_key[DZ_CA_KEY]) {
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    EVP_PKEY *key = cert ? X509_get0_pubkey(cert) : NULL;
    size_t len = DZ_CA_KEY;

    return key && SSL_get_verify_result(t->ssl) == X509_V_OK &&
           EVP_PKEY_get_id(key) == EVP_PKEY_ED25519 &&
           EVP_PKEY_get_raw_public_key(key, ret_key, &len) == 1 && len == DZ_CA_KEY;
}

enum dz_tls_result dz_tls_read(struct dz_tls *t, uint8_t *to, size_t room, size_t *ret_n) {
    ERR_clear_error();
    return result(t, SSL_read_ex(t->ssl, to, room, ret_n));
}

enum dz_tls_result dz_tls_write(struct dz_tls *t, dz_slice bytes, size_t *ret_n) {
    ERR_clear_error();
    return result(t, SSL_write_ex(t->ssl, bytes.data, bytes.len, ret_n));
}

enum dz_tls_result dz_tls_close(struct dz_tls *t) {
    int n;

    ERR_clear_error();
    n = SSL_shutdown(t->ssl);
    return n == 0 ? DZ_TLS_OK : result(t, n); /* 0: said; what the other side says is not awaited */
}

short dz_tls_wants(const struct dz_tls *t) {
    return t->wants;
}

bool dz_tls_lost(const struct dz_tls *t) {
    return t->error == 0 || ERR_GET_REASON(t->error) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

const char *dz_tls_why(const struct dz_tls *t) {
    const char *why = t->error ? ERR_reason_error_string(t->error) : NULL;

    return why ? why : "the connection was lost";
}
