#include "crypto/aead.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

/* As in hash.c: the algorithm is fetched once, and each thread keeps one context a direction.
 * Setting a NULL cipher with a new key keeps the context's memory; naming the cipher again would
 * free and allocate it. */
enum { NONCE_BYTES = 12, DECRYPT = 0, ENCRYPT = 1 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *aes256gcm;
static pthread_key_t thread_key[2]; /* only free the contexts when their thread ends */
static _Thread_local EVP_CIPHER_CTX *thread_ctx[2];

static void free_ctx(void *ctx) {
    EVP_CIPHER_CTX_free(ctx); /* wipes the key schedule */
}

static void start(void) {
    aes256gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (!aes256gcm || pthread_key_create(&thread_key[DECRYPT], free_ctx) != 0 ||
        pthread_key_create(&thread_key[ENCRYPT], free_ctx) != 0)
        abort();
}

static EVP_CIPHER_CTX *context(int direction) {
    EVP_CIPHER_CTX *ctx = thread_ctx[direction];

    if (ctx)
        return ctx;
    (void) pthread_once(&once, start);
    ctx = EVP_CIPHER_CTX_new();
    if (!ctx || EVP_CipherInit_ex2(ctx, aes256gcm, NULL, NULL, direction, NULL) != 1 ||
        pthread_setspecific(thread_key[direction], ctx) != 0) {
        EVP_CIPHER_CTX_free(ctx);
        return NULL;
    }
    return thread_ctx[direction] = ctx;
}

static dz_status begin(int direction, const uint8_t key[DZ_AEAD_KEY_BYTES], uint32_t number,
                       dz_slice aad, EVP_CIPHER_CTX **ret_ctx, dz_err *err) {
    uint8_t nonce[NONCE_BYTES] = { 0 };
    EVP_CIPHER_CTX *ctx;
    int n;

    if (number >= DZ_AEAD_MESSAGES_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "message %u under one key; at most %d are allowed", number,
                       DZ_AEAD_MESSAGES_MAX);
    if (aad.len > DZ_AEAD_BYTES_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "%zu bytes of associated data; at most %d are allowed",
                       aad.len, DZ_AEAD_BYTES_MAX);
    dz_store_le(nonce, 4, number);
    ctx = context(direction);
    if (!ctx || EVP_CipherInit_ex2(ctx, NULL, key, nonce, direction, NULL) != 1)
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for an AES-256-GCM context");
    if (aad.len > 0 && EVP_CipherUpdate(ctx, NULL, &n, aad.data, (int) aad.len) != 1)
        abort(); /* a context that took its key takes bytes */
    *ret_ctx = ctx;
    return DZ_OK;
}

dz_status dz_aead_seal(const uint8_t key[DZ_AEAD_KEY_BYTES], uint32_t number, dz_slice aad,
                       dz_slice plain, uint8_t *ret_sealed, dz_err *err) {
    EVP_CIPHER_CTX *ctx;
    uint8_t none[16];
    int n = 0;

    if (plain.len > DZ_AEAD_BYTES_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "a message of %zu bytes; at most %d are allowed", plain.len,
                       DZ_AEAD_BYTES_MAX);
    DZ_TRY(begin(ENCRYPT, key, number, aad, &ctx, err));
    if ((plain.len > 0 &&
         EVP_CipherUpdate(ctx, ret_sealed, &n, plain.data, (int) plain.len) != 1) ||
        (size_t) n != plain.len || EVP_CipherFinal_ex(ctx, none, &n) != 1 || n != 0 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, DZ_AEAD_TAG_BYTES,
                            ret_sealed + plain.len) != 1)
        abort();
    return DZ_OK;
}

dz_status dz_aead_open(const uint8_t key[DZ_AEAD_KEY_BYTES], uint32_t number, dz_slice aad,
                       dz_slice sealed, uint8_t *ret_plain, dz_err *err) {
    uint8_t tag[DZ_AEAD_TAG_BYTES], none[16];
    EVP_CIPHER_CTX *ctx;
    size_t len;
    int n = 0;

    if (sealed.len < DZ_AEAD_TAG_BYTES)
        return DZ_FAIL(err, DZ_E_CORRUPT, "sealed message of %zu bytes; a tag alone has %d",
                       sealed.len, DZ_AEAD_TAG_BYTES);
    len = sealed.len - DZ_AEAD_TAG_BYTES;
    if (len > DZ_AEAD_BYTES_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "a message of %zu bytes; at most %d are allowed", len,
                       DZ_AEAD_BYTES_MAX);
    DZ_TRY(begin(DECRYPT, key, number, aad, &ctx, err));
    memcpy(tag, sealed.data + len, sizeof tag);
    if ((len > 0 && EVP_CipherUpdate(ctx, ret_plain, &n, sealed.data, (int) len) != 1) ||
        (size_t) n != len ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, DZ_AEAD_TAG_BYTES, tag) != 1)
        abort();
    if (EVP_CipherFinal_ex(ctx, none, &n) != 1) {
        if (len > 0) /* unauthenticated bytes never reach the caller */
            memset(ret_plain, 0, len);
        return DZ_FAIL(err, DZ_E_CORRUPT,
                       "message %u (%zu bytes) is not what was sealed under this key", number, len);
    }
    return DZ_OK;
}
