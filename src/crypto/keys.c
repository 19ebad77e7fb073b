#include "crypto/keys.h"

#include <sodium.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "core/hex.h"
#include "crypto/hash.h"

dz_status dz_crypto_init(dz_err *err) {
    const struct rlimit none = { 0, 0 };

    if (sodium_init() < 0)
        return DZ_FAIL(err, DZ_E_IO, "libsodium does not start: no source of random bytes");
    if (prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
        return DZ_FAIL_ERRNO(err, "cannot forbid core dumps");
    return DZ_OK;
}

void dz_random(void *to, size_t len) {
    randombytes_buf(to, len);
}

void dz_key_derive(const uint8_t parent[DZ_KEY_BYTES], const char *label, dz_slice context,
                   uint8_t ret_key[DZ_KEY_BYTES]) {
    static const char prefix[] = "dozo v1 ";
    crypto_generichash_blake2b_state st;

    /* These fail only for lengths out of range, and the lengths are constants. */
    (void) crypto_generichash_blake2b_init(&st, parent, DZ_KEY_BYTES, DZ_KEY_BYTES);
    (void) crypto_generichash_blake2b_update(&st, (const uint8_t *) prefix, sizeof prefix - 1);
    (void) crypto_generichash_blake2b_update(&st, (const uint8_t *) label, strlen(label) + 1);
    if (context.len > 0)
        (void) crypto_generichash_blake2b_update(&st, context.data, context.len);
    (void) crypto_generichash_blake2b_final(&st, ret_key, DZ_KEY_BYTES);
    sodium_memzero(&st, sizeof st);
}

/* Fills in what follows from vault and master. */
static void derive_children(struct dz_host_keys *k) {
    const dz_slice vault = { k->vault.b, sizeof k->vault.b };
    uint8_t seed[crypto_sign_SEEDBYTES];

    dz_key_derive(k->master, "name", vault, k->name);
    dz_key_derive(k->master, "chunk", vault, k->chunk);
    dz_key_derive(k->master, "table", vault, k->table);
    dz_key_derive(k->master, "reference", vault, k->reference);
    dz_key_derive(k->master, "cache", vault, k->cache);
    dz_key_derive(k->master, "text", vault, k->text);
    dz_key_derive(k->master, "log", vault, seed);
    (void) crypto_sign_seed_keypair(k->log_public, k->log_secret, seed); /* never fails */
    sodium_memzero(seed, sizeof seed);
}

static dz_status new_host_keys(struct dz_host_keys **ret_host, dz_err *err) {
    struct dz_host_keys *k = sodium_malloc(sizeof *k);

    if (!k)
        return DZ_FAIL(err, DZ_E_NOMEM, "no guarded memory for host keys (%zu bytes)", sizeof *k);
    sodium_memzero(k, sizeof *k);
    *ret_host = k;
    return DZ_OK;
}

dz_status dz_keys_derive(const uint8_t root[DZ_ROOT_BYTES], const dz_vault_id *vault,
                         uint32_t epoch, struct dz_host_keys **ret_host,
                         struct dz_open_keys **ret_open, dz_err *err) {
    DZ_AUTO(dz_host_keys) host = NULL;
    DZ_AUTO(dz_open_keys) open = NULL;
    uint8_t context[DZ_VAULT_ID_BYTES + 4];

    if (epoch == 0)
        return DZ_FAIL(err, DZ_E_USAGE, "epoch 0; the first epoch is 1");
    open = sodium_malloc(sizeof *open);
    if (!open)
        return DZ_FAIL(err, DZ_E_NOMEM, "no guarded memory for open keys (%zu bytes)",
                       sizeof *open);
    memcpy(context, vault->b, DZ_VAULT_ID_BYTES);
    dz_store_le(context + DZ_VAULT_ID_BYTES, 4, epoch);
    sodium_memzero(open, sizeof *open);
    open->epoch = epoch;
    dz_key_derive(root, "x25519", (dz_slice){ context, sizeof context }, open->recipient_secret);
    (void) crypto_scalarmult_curve25519_base(open->recipient, open->recipient_secret);

    if (ret_host) {
        DZ_TRY(new_host_keys(&host, err));
        host->vault = *vault;
        host->epoch = epoch;
        memcpy(host->recipient, open->recipient, sizeof host->recipient);
        dz_key_derive(root, "hedge", (dz_slice){ vault->b, sizeof vault->b }, host->hedge);
        dz_key_derive(root, "master", (dz_slice){ vault->b, sizeof vault->b }, host->master);
        derive_children(host);
        (void) sodium_mprotect_readonly(host);
        *ret_host = DZ_TAKE(host);
    }
    if (ret_open) {
        (void) sodium_mprotect_readonly(open);
        *ret_open = DZ_TAKE(open);
    }
    return DZ_OK;
}

void dz_keys_fingerprint(const struct dz_host_keys *host, char ret_text[DZ_FINGERPRINT_TEXT]) {
    uint8_t epoch[4], hash[DZ_SHA256_BYTES];
    const dz_slice parts[] = {
        DZ_SLICE_LIT("dozo fingerprint v1"),
        { host->vault.b, sizeof host->vault.b },
        { epoch, sizeof epoch },
        { host->recipient, sizeof host->recipient },
        { host->log_public, sizeof host->log_public },
    };

    dz_store_le(epoch, sizeof epoch, host->epoch);
    dz_sha256v(parts, sizeof parts / sizeof parts[0], hash);
    for (size_t i = 0; i < 4; i++) {
        dz_hex(hash + 2 * i, 2, ret_text + 5 * i);
        ret_text[5 * i + 4] = i < 3 ? '-' : '\0';
    }
}

/* The host key file: fixed fields, room for later ones, a checksum over all before it. */
enum {
    FILE_VERSION = 1,
    FILE_CHECK_BYTES = 16,
    FILE_BYTES = 8 + 4 * 4 + DZ_VAULT_ID_BYTES + 4 + 3 * DZ_KEY_BYTES + FILE_CHECK_BYTES,
    FILE_MAX = 4096,
};
static const uint8_t magic[8] = "DOZOHOST";

static void file_check(dz_slice before, uint8_t ret[FILE_CHECK_BYTES]) {
    uint8_t hash[DZ_SHA256_BYTES];

    dz_sha256(before, hash);
    memcpy(ret, hash, FILE_CHECK_BYTES);
}

void dz_host_keys_write(const struct dz_host_keys *host, dz_buf *to) {
    uint8_t check[FILE_CHECK_BYTES];
    size_t start = to->len;

    dz_buf_put(to, magic, sizeof magic);
    dz_buf_put_le32(to, FILE_VERSION);
    dz_buf_put_le32(to, 0); /* compatible features */
    dz_buf_put_le32(to, 0); /* incompatible features */
    dz_buf_put_le32(to, FILE_BYTES);
    dz_buf_put(to, host->vault.b, sizeof host->vault.b);
    dz_buf_put_le32(to, host->epoch);
    dz_buf_put(to, host->recipient, sizeof host->recipient);
    dz_buf_put(to, host->hedge, sizeof host->hedge);
    dz_buf_put(to, host->master, sizeof host->master);
    if (!dz_buf_ok(to))
        return;
    file_check((dz_slice){ to->data + start, to->len - start }, check);
    dz_buf_put(to, check, sizeof check);
}

/* A recipient of small order gives every sender the same "secret": refuse it before it is used. */
static bool usable_point(const uint8_t point[DZ_KEY_BYTES]) {
    static const uint8_t scalar[DZ_KEY_BYTES] = { 8 };
    uint8_t shared[DZ_KEY_BYTES];

    return crypto_scalarmult_curve25519(shared, scalar, point) == 0;
}

dz_status dz_host_keys_read(dz_slice file, struct dz_host_keys **ret_host, dz_err *err) {
    DZ_AUTO(dz_host_keys) k = NULL;
    uint8_t check[FILE_CHECK_BYTES];
    dz_reader r = dz_reader_over(file);
    dz_slice head, stored;
    uint32_t version, incompatible, length;

    if (file.len > FILE_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "host key file of %zu bytes; at most %d are read", file.len,
                       FILE_MAX);
    head = dz_read_bytes(&r, sizeof magic);
    if (!dz_slice_eq(head, (dz_slice){ magic, sizeof magic }))
        return DZ_FAIL(err, DZ_E_MALFORMED, "not a host key file: it does not begin with DOZOHOST");
    version = dz_read_le32(&r);
    (void) dz_read_le32(&r); /* compatible features may be ignored */
    incompatible = dz_read_le32(&r);
    length = dz_read_le32(&r);
    if (!dz_reader_ok(&r))
        return DZ_FAIL(err, DZ_E_MALFORMED, "host key file cut short: %zu bytes", file.len);
    if (version != FILE_VERSION || incompatible != 0)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED,
                       "host key file of version %u, features %x: this dozo reads version %d",
                       version, incompatible, FILE_VERSION);
    if (length != file.len || length < FILE_BYTES)
        return DZ_FAIL(err, DZ_E_MALFORMED,
                       "host key file of %zu bytes says it has %u; least is %d", file.len, length,
                       FILE_BYTES);
    file_check((dz_slice){ file.data, file.len - FILE_CHECK_BYTES }, check);
    stored = (dz_slice){ file.data + file.len - FILE_CHECK_BYTES, FILE_CHECK_BYTES };
    if (!dz_slice_eq(stored, (dz_slice){ check, sizeof check }))
        return DZ_FAIL(err, DZ_E_MALFORMED, "host key file: its checksum does not fit");

    DZ_TRY(new_host_keys(&k, err));
    memcpy(k->vault.b, dz_read_bytes(&r, sizeof k->vault.b).data, sizeof k->vault.b);
    k->epoch = dz_read_le32(&r);
    memcpy(k->recipient, dz_read_bytes(&r, DZ_KEY_BYTES).data, DZ_KEY_BYTES);
    memcpy(k->hedge, dz_read_bytes(&r, DZ_KEY_BYTES).data, DZ_KEY_BYTES);
    memcpy(k->master, dz_read_bytes(&r, DZ_KEY_BYTES).data, DZ_KEY_BYTES);
    if (k->epoch == 0 || !usable_point(k->recipient))
        return DZ_FAIL(err, DZ_E_MALFORMED,
                       "host key file: epoch %u, or a recipient of small order", k->epoch);
    derive_children(k);
    (void) sodium_mprotect_readonly(k);
    *ret_host = DZ_TAKE(k);
    return DZ_OK;
}

void dz_host_keys_free(struct dz_host_keys *k) {
    sodium_free(k); /* wipes */
}

dz_status dz_open_keys_elsewhere(const struct dz_host_keys *host,
                                 dz_status (*ask)(void *who, dz_slice context, dz_slice sealed,
                                                  uint8_t ret_key[DZ_KEY_BYTES], dz_err *err),
                                 void (*drop)(void *who), void *who, struct dz_open_keys **ret_open,
                                 dz_err *err) {
    struct dz_open_keys *open = sodium_malloc(sizeof *open);

    if (!open) {
        drop(who);
        return DZ_FAIL(err, DZ_E_NOMEM, "no guarded memory for open keys (%zu bytes)",
                       sizeof *open);
    }
    sodium_memzero(open, sizeof *open);
    open->epoch = host->epoch;
    memcpy(open->recipient, host->recipient, sizeof open->recipient);
    open->ask = ask;
    open->drop = drop;
    open->who = who;
    (void) sodium_mprotect_readonly(open);
    *ret_open = open;
    return DZ_OK;
}

void dz_open_keys_free(struct dz_open_keys *k) {
    if (k && k->drop)
        k->drop(k->who);
    sodium_free(k);
}
