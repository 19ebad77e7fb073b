/* The authority's certificates hold by OpenSSL's own rules, each for one purpose. */
#include "net/ca.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static const int64_t created_us = INT64_C(1700000000) * 1000000;
static const uint8_t source_key[DZ_CA_KEY] = { 7, 7, 7 };

static struct dz_host_keys *host_of(uint8_t n, uint32_t epoch) {
    const uint8_t root[DZ_ROOT_BYTES] = { n };
    const dz_vault_id id = { { 'v', n } };
    struct dz_host_keys *host = NULL;

    assert_int_equal(dz_crypto_init(NULL), DZ_OK);
    assert_int_equal(dz_keys_derive(root, &id, epoch, &host, NULL, NULL), DZ_OK);
    return host;
}

static struct dz_ca *ca_of(uint8_t n, uint32_t epoch) {
    DZ_AUTO(dz_host_keys) host = host_of(n, epoch);
    struct dz_ca *ca = NULL;

    assert_int_equal(dz_ca_new(host, created_us, &ca, NULL), DZ_OK);
    return ca;
}

static X509 *cert_of(dz_slice der) {
    const uint8_t *at = der.data;
    X509 *cert = d2i_X509(NULL, &at, (long) der.len);

    assert_non_null(cert);
    assert_ptr_equal(at, der.data + der.len);
    return cert;
}

/* Whether it is a certificate for this purpose, to who trusts this authority and nothing else. */
static bool holds(dz_slice der, const struct dz_ca *ca, int purpose) {
    X509 *cert = cert_of(der), *root = cert_of(dz_ca_cert(ca));
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok;

    assert_true(store && ctx);
    assert_int_equal(X509_STORE_add_cert(store, root), 1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, cert, NULL), 1);
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
    assert_int_equal(X509_STORE_CTX_set_purpose(ctx, purpose), 1);
    ok = X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(cert);
    X509_free(root);
    return ok;
}

static void a_certificate_is_for_one_purpose_and_of_one_vault(void **state) {
    DZ_AUTO(dz_ca) ca = ca_of(1, 1);
    DZ_AUTO(dz_ca) other = ca_of(2, 1);
    dz_autobuf dz_buf vault = { 0 }, source = { 0 };
    uint8_t seed[DZ_CA_KEY];

    (void) state;
    assert_int_equal(dz_ca_vault(ca, seed, &vault, NULL), DZ_OK);
    assert_int_equal(dz_ca_source(ca, "emr", source_key, created_us, &source, NULL), DZ_OK);
    assert_true(holds(dz_buf_slice(&vault), ca, X509_PURPOSE_SSL_SERVER));
    assert_false(holds(dz_buf_slice(&vault), ca, X509_PURPOSE_SSL_CLIENT));
    assert_true(holds(dz_buf_slice(&source), ca, X509_PURPOSE_SSL_CLIENT));
    assert_false(holds(dz_buf_slice(&source), ca, X509_PURPOSE_SSL_SERVER));
    assert_false(holds(dz_buf_slice(&source), other, X509_PURPOSE_SSL_CLIENT));
    assert_false(holds(dz_buf_slice(&vault), other, X509_PURPOSE_SSL_SERVER));
}

static void one_bit_more_or_less_and_it_does_not_hold(void **state) {
    DZ_AUTO(dz_ca) ca = ca_of(1, 1);
    dz_autobuf dz_buf source = { 0 };
    size_t held = 0;

    (void) state;
    assert_int_equal(dz_ca_source(ca, "emr", source_key, created_us, &source, NULL), DZ_OK);
    for (size_t bit = 0; bit < source.len * 8; bit += 5) {
        const uint8_t *at = source.data;
        X509 *cert;

        source.data[bit / 8] ^= (uint8_t) (1 << bit % 8);
        cert = d2i_X509(NULL, &at, (long) source.len);
        held += cert && at == source.data + source.len &&
                holds(dz_buf_slice(&source), ca, X509_PURPOSE_SSL_CLIENT);
        X509_free(cert);
        source.data[bit / 8] ^= (uint8_t) (1 << bit % 8);
    }
    assert_int_equal(held, 0);
}

static void the_same_can_be_made_again(void **state) {
    DZ_AUTO(dz_ca) first = ca_of(1, 1);
    DZ_AUTO(dz_ca) again = ca_of(1, 2); /* a new epoch, as a vault that was opened widely starts */
    dz_autobuf dz_buf a = { 0 }, b = { 0 };

    (void) state;
    assert_true(dz_slice_eq(dz_ca_cert(first), dz_ca_cert(again)));
    assert_int_equal(dz_ca_source(first, "emr", source_key, created_us, &a, NULL), DZ_OK);
    assert_int_equal(dz_ca_source(again, "emr", source_key, created_us, &b, NULL), DZ_OK);
    assert_true(dz_slice_eq(dz_buf_slice(&a), dz_buf_slice(&b)));
}

static void it_has_the_key_and_the_name(void **state) {
    /* as long as a source's name may be, in UTF-8 */
    char name[128 + 1] = "\xe6\xa4\x9c\xe6\x9f\xbb";
    uint8_t key[DZ_CA_KEY];
    DZ_AUTO(dz_ca) ca = ca_of(1, 1);
    dz_autobuf dz_buf der = { 0 };
    size_t len = sizeof key;
    char text[256];
    X509 *cert;

    (void) state;
    memset(name + 6, 'a', 122);
    assert_int_equal(dz_ca_source(ca, name, source_key, created_us, &der, NULL), DZ_OK);
    cert = cert_of(dz_buf_slice(&der));
    assert_int_equal(EVP_PKEY_get_raw_public_key(X509_get0_pubkey(cert), key, &len), 1);
    assert_memory_equal(key, source_key, sizeof key);
    assert_int_equal(
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_name, text, sizeof text), 128);
    assert_string_equal(text, name);
    assert_int_equal(X509_cmp_time(X509_get0_notAfter(cert), &(time_t){ 4102444800 }), 1);
    X509_free(cert);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_is_for_one_purpose_and_of_one_vault),
        cmocka_unit_test(one_bit_more_or_less_and_it_does_not_hold),
        cmocka_unit_test(the_same_can_be_made_again),
        cmocka_unit_test(it_has_the_key_and_the_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
