#include "store/leaf_text.h"

#include "core/clock.h"
#include "crypto/aead.h"

enum { NONCE_BYTES = 16, AAD_BYTES = NONCE_BYTES + 2 };

static void key_and_aad(const struct dz_host_keys *host, const uint8_t nonce[NONCE_BYTES],
                        uint16_t kind, uint8_t ret_key[DZ_KEY_BYTES], uint8_t ret_aad[AAD_BYTES]) {
    dz_key_derive(host->text, "leaf text", (dz_slice){ nonce, NONCE_BYTES }, ret_key);
    memcpy(ret_aad, nonce, NONCE_BYTES);
    dz_store_le(ret_aad + NONCE_BYTES, 2, kind);
}

/* Fills in commitment and sealed text; the latter is borrowed from `sealed`. */
static dz_status seal(const struct dz_host_keys *host, dz_slice text, dz_leaf *leaf, dz_buf *sealed,
                      dz_err *err) {
    uint8_t nonce[NONCE_BYTES], salt[DZ_LEAF_SALT_BYTES], key[DZ_KEY_BYTES], aad[AAD_BYTES];
    dz_autobuf dz_buf plain = { 0 };
    dz_status s;
    uint8_t *to;

    if (text.len > DZ_LEAF_PLAIN_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "log leaf: a text of %zu bytes, the limit is %d", text.len,
                       (int) DZ_LEAF_PLAIN_MAX);
    dz_random(nonce, sizeof nonce);
    dz_random(salt, sizeof salt); /* sealed too: with it, the commitment would confirm a guess */
    dz_leaf_commit_text(salt, text, leaf->commitment);
    dz_buf_put(&plain, salt, sizeof salt);
    dz_buf_put_slice(&plain, text);
    dz_buf_put(sealed, nonce, sizeof nonce);
    to = dz_buf_extend(sealed, plain.len + DZ_AEAD_TAG_BYTES);
    if (!to || !dz_buf_ok(&plain))
        return DZ_FAIL(err, DZ_E_NOMEM, "log leaf: out of memory");
    key_and_aad(host, nonce, leaf->kind, key, aad);
    s = dz_aead_seal(key, 0, (dz_slice){ aad, sizeof aad }, dz_buf_slice(&plain), to, err);
    explicit_bzero(key, sizeof key);
    leaf->sealed = dz_buf_slice(sealed);
    return s;
}

dz_status dz_vault_note(struct dz_vault *v, int tmpfd, enum dz_leaf_kind kind, uint16_t flags,
                        const dz_leaf_object *objects, size_t n, dz_slice text, uint64_t *ret_index,
                        dz_err *err) {
    dz_leaf leaf = { .kind = (uint16_t) kind,
                     .flags = flags,
                     .time_us = dz_now_us(),
                     .objects = objects,
                     .object_count = n };
    dz_autobuf dz_buf sealed = { 0 }, entry = { 0 };

    DZ_TRY(seal(v->host, text, &leaf, &sealed, err));
    DZ_TRY(dz_leaf_write(&leaf, &entry, err));
    return dz_vault_append_at(v, tmpfd, dz_buf_slice(&entry), ret_index, err);
}

dz_status dz_leaf_text_open(const struct dz_host_keys *host, const dz_leaf *leaf, dz_buf *ret_text,
                            dz_err *err) {
    uint8_t key[DZ_KEY_BYTES], aad[AAD_BYTES], commitment[32];
    dz_autobuf dz_buf plain = { 0 };
    dz_slice sealed, text;
    dz_status s;

    dz_buf_clear(ret_text);
    if (leaf->sealed.len < NONCE_BYTES + DZ_LEAF_SALT_BYTES + DZ_AEAD_TAG_BYTES)
        return DZ_FAIL(err, DZ_E_CORRUPT, "log leaf: its text is cut short");
    sealed = (dz_slice){ leaf->sealed.data + NONCE_BYTES, leaf->sealed.len - NONCE_BYTES };
    if (!dz_buf_extend(&plain, sealed.len - DZ_AEAD_TAG_BYTES))
        return DZ_FAIL(err, DZ_E_NOMEM, "log leaf: out of memory");
    key_and_aad(host, leaf->sealed.data, leaf->kind, key, aad);
    s = dz_aead_open(key, 0, (dz_slice){ aad, sizeof aad }, sealed, plain.data, err);
    explicit_bzero(key, sizeof key);
    DZ_TRY(s);
    text = (dz_slice){ plain.data + DZ_LEAF_SALT_BYTES, plain.len - DZ_LEAF_SALT_BYTES };
    dz_leaf_commit_text(plain.data, text, commitment);
    if (memcmp(commitment, leaf->commitment, sizeof commitment) != 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "log leaf: its text is not the one bound");
    dz_buf_put_slice(ret_text, text);
    return dz_buf_ok(ret_text) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "log leaf: out of memory");
}
