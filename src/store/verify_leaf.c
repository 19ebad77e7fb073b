/* What the log keeps of a verification: that it was, which packs were bad, and, readable by the
 * closed host alone, its counts. */
#include "core/clock.h"
#include "crypto/aead.h"
#include "store/leaf.h"
#include "store/verify_parts.h"

enum { TEXT_VERSION = 1 };

/* Sealed: nonce (16), then salt and text under the nonce's own key.  The salt must not show: the
 * text is a few small numbers, and with the salt the commitment would confirm who guesses them. */
enum { NONCE_BYTES = 16 };

static void text_key(const struct dz_host_keys *host, dz_slice nonce,
                     uint8_t ret_key[DZ_KEY_BYTES]) {
    dz_key_derive(host->text, "verify leaf", nonce, ret_key);
}

dz_status dz_verify_log(struct dz_verify *x, const dz_pack_id *bad, size_t n_bad, dz_err *err) {
    dz_leaf leaf = { .kind = DZ_LEAF_VERIFY, .time_us = dz_now_us() };
    dz_autofree dz_leaf_object *objects = NULL;
    uint8_t nonce[NONCE_BYTES], salt[DZ_LEAF_SALT_BYTES], key[DZ_KEY_BYTES];
    dz_autobuf dz_buf text = { 0 }, sealed = { 0 }, entry = { 0 };
    dz_status s;
    uint8_t *to;

    leaf.object_count = n_bad < DZ_LEAF_OBJECTS_MAX ? n_bad : DZ_LEAF_OBJECTS_MAX;
    objects = calloc(leaf.object_count + 1, sizeof *objects);
    if (!objects)
        return DZ_FAIL(err, DZ_E_NOMEM, "verify: out of memory");
    for (size_t i = 0; i < leaf.object_count; i++) {
        objects[i].type = DZ_LEAF_OBJ_PACK;
        memcpy(objects[i].name, bad[i].b, sizeof objects[i].name);
    }
    leaf.objects = objects;

    dz_random(nonce, sizeof nonce);
    dz_random(salt, sizeof salt);
    dz_buf_put(&text, salt, sizeof salt);
    dz_buf_put_u8(&text, TEXT_VERSION);
    dz_buf_put_u8(&text, x->how->data);
    dz_buf_put_varint(&text, x->result.damaged);
    dz_buf_put_varint(&text, x->result.packs);
    dz_buf_put_varint(&text, x->result.bytes);
    dz_buf_put_varint(&text, x->result.objects);
    dz_buf_put_varint(&text, x->result.snapshots);
    dz_buf_put(&sealed, nonce, sizeof nonce);
    to = dz_buf_extend(&sealed, text.len + DZ_AEAD_TAG_BYTES);
    if (!to || !dz_buf_ok(&text))
        return DZ_FAIL(err, DZ_E_NOMEM, "verify: out of memory");
    dz_leaf_commit_text(salt, (dz_slice){ text.data + sizeof salt, text.len - sizeof salt },
                        leaf.commitment);
    text_key(x->v->host, (dz_slice){ nonce, sizeof nonce }, key);
    s = dz_aead_seal(key, 0, (dz_slice){ nonce, sizeof nonce }, dz_buf_slice(&text), to, err);
    explicit_bzero(key, sizeof key);
    DZ_TRY(s);
    leaf.sealed = dz_buf_slice(&sealed);
    DZ_TRY(dz_leaf_write(&leaf, &entry, err));
    return dz_vault_append(x->v, x->tmpfd, dz_buf_slice(&entry), err);
}

static dz_status read_text(const struct dz_vault *v, const dz_leaf *leaf, dz_verify_last *last,
                           dz_err *err) {
    dz_reader r = dz_reader_over(leaf->sealed);
    dz_slice nonce = dz_read_bytes(&r, NONCE_BYTES), sealed, salt;
    uint8_t key[DZ_KEY_BYTES], commitment[32];
    dz_autobuf dz_buf text = { 0 };
    dz_status s;

    sealed = dz_read_bytes(&r, dz_reader_left(&r));
    if (!dz_reader_ok(&r) || sealed.len <= DZ_LEAF_SALT_BYTES + DZ_AEAD_TAG_BYTES ||
        !dz_buf_extend(&text, sealed.len - DZ_AEAD_TAG_BYTES))
        return DZ_FAIL(err, DZ_E_CORRUPT, "the text of a verification is cut short");
    text_key(v->host, nonce, key);
    s = dz_aead_open(key, 0, nonce, sealed, text.data, err);
    explicit_bzero(key, sizeof key);
    DZ_TRY(s);
    r = dz_reader_over(dz_buf_slice(&text));
    salt = dz_read_bytes(&r, DZ_LEAF_SALT_BYTES);
    dz_leaf_commit_text(salt.data, (dz_slice){ r.cur, dz_reader_left(&r) }, commitment);
    if (memcmp(commitment, leaf->commitment, sizeof commitment) != 0 ||
        dz_read_u8(&r) != TEXT_VERSION)
        return DZ_FAIL(err, DZ_E_CORRUPT, "the text of a verification is not the one bound");
    last->data = dz_read_u8(&r) != 0;
    last->damaged = dz_read_varint(&r);
    last->packs = dz_read_varint(&r);
    last->bytes = dz_read_varint(&r);
    last->objects = dz_read_varint(&r);
    last->snapshots = dz_read_varint(&r);
    return dz_reader_ok(&r) ? DZ_OK
                            : DZ_FAIL(err, DZ_E_CORRUPT, "the text of a verification is malformed");
}

dz_status dz_verify_last_read(struct dz_vault *v, dz_verify_last *ret_last, bool *ret_found,
                              dz_err *err) {
    for (uint64_t i = dz_tlog_head(v->log).size; i-- > 1;) {
        dz_autobuf dz_buf entry = { 0 };
        dz_verify_last last = { .leaf = i };
        dz_leaf leaf;

        DZ_TRY(dz_tlog_read(v->log, i, &entry, err));
        if (dz_leaf_read(dz_buf_slice(&entry), &leaf, NULL) != DZ_OK || leaf.kind != DZ_LEAF_VERIFY)
            continue;
        last.when_us = leaf.time_us;
        DZ_TRY(read_text(v, &leaf, &last, err));
        *ret_last = last;
        *ret_found = true;
        return DZ_OK;
    }
    *ret_found = false;
    return DZ_OK;
}
