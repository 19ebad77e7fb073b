#include "crypto/hash.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>

#include "core/cleanup.h"

/* Fetching an algorithm and making a context each cost as much as hashing a small file, so both
 * are kept: the algorithm for the process, a context for each thread. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;
static pthread_key_t thread_ctx_key; /* only frees the context when its thread ends */
static _Thread_local EVP_MD_CTX *thread_ctx;

static void free_ctx(void *ctx) {
    EVP_MD_CTX_free(ctx);
}

static void start(void) {
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256 || pthread_key_create(&thread_ctx_key, free_ctx) != 0)
        abort();
}

static EVP_MD_CTX *new_ctx(void) {
    EVP_MD_CTX *ctx;

    (void) pthread_once(&once, start);
    ctx = EVP_MD_CTX_new();
    if (ctx && EVP_DigestInit_ex2(ctx, sha256, NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

static void update(EVP_MD_CTX *ctx, dz_slice bytes) {
    if (bytes.len > 0 && EVP_DigestUpdate(ctx, bytes.data, bytes.len) != 1)
        abort();
}

/* Leaves the context ready for the next message; a NULL algorithm means "the same again". */
static void final(EVP_MD_CTX *ctx, uint8_t ret[DZ_SHA256_BYTES]) {
    if (EVP_DigestFinal_ex(ctx, ret, NULL) != 1 || EVP_DigestInit_ex2(ctx, NULL, NULL) != 1)
        abort();
}

void dz_sha256v(const dz_slice *parts, size_t n, uint8_t ret[DZ_SHA256_BYTES]) {
    if (!thread_ctx) {
        /* A few hundred bytes, once a thread: nothing sensible goes on without them. */
        if (!(thread_ctx = new_ctx()) || pthread_setspecific(thread_ctx_key, thread_ctx) != 0)
            abort();
    }
    for (size_t i = 0; i < n; i++)
        update(thread_ctx, parts[i]);
    final(thread_ctx, ret);
}

void dz_sha256(dz_slice bytes, uint8_t ret[DZ_SHA256_BYTES]) {
    dz_sha256v(&bytes, 1, ret);
}

struct dz_hasher {
    EVP_MD_CTX *ctx;
};

dz_status dz_hasher_new(struct dz_hasher **ret_hasher, dz_err *err) {
    DZ_AUTO(dz_hasher) h = calloc(1, sizeof *h);

    if (!h || !(h->ctx = new_ctx()))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a SHA-256 context");
    *ret_hasher = DZ_TAKE(h);
    return DZ_OK;
}

void dz_hasher_free(struct dz_hasher *h) {
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void dz_hasher_update(struct dz_hasher *h, dz_slice bytes) {
    update(h->ctx, bytes);
}

void dz_hasher_final(struct dz_hasher *h, uint8_t ret[DZ_SHA256_BYTES]) {
    final(h->ctx, ret);
}

dz_name dz_name_of(const uint8_t key[32], uint8_t kind, const dz_id *id) {
    uint8_t in[1 + DZ_SHA256_BYTES];
    dz_name name;

    in[0] = kind;
    memcpy(in + 1, id->b, sizeof id->b);
    /* Fails only for lengths out of range; these are constants. */
    (void) crypto_generichash_blake2b(name.b, sizeof name.b, in, sizeof in, key, 32);
    return name;
}
