#include "crypto/recipient.h"

#include <sodium.h>

#include "crypto/aead.h"

enum {
    HEAD_BYTES = 8,
    X25519_BODY = DZ_KEY_BYTES + DZ_KEY_BYTES + DZ_AEAD_TAG_BYTES,
    SALT_BYTES = 32,
};

static void put_head(uint8_t head[HEAD_BYTES], uint16_t algorithm, uint16_t length,
                     uint32_t epoch) {
    dz_store_le(head, 2, algorithm);
    dz_store_le(head + 2, 2, length);
    dz_store_le(head + 4, 4, epoch);
}

/* Who can compute both the X25519 secret and the hedge gets the wrap key; either alone is
 * useless.  All public inputs go in, so a stanza fits one vault, one recipient, one place.
 * DZ_E_CORRUPT: `theirs` is a point of small order. */
static dz_status wrap_key(const struct dz_host_keys *host, const uint8_t secret[DZ_KEY_BYTES],
                          const uint8_t theirs[DZ_KEY_BYTES], const uint8_t ephemeral[DZ_KEY_BYTES],
                          const uint8_t recipient[DZ_KEY_BYTES], dz_slice context,
                          uint8_t ret_key[DZ_KEY_BYTES], dz_err *err) {
    dz_autobuf_secret dz_buf in = { 0 };
    uint8_t *shared = dz_buf_extend(&in, DZ_KEY_BYTES);

    if (shared && crypto_scalarmult_curve25519(shared, secret, theirs) != 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "X25519 key of small order");
    dz_buf_put(&in, ephemeral, DZ_KEY_BYTES);
    dz_buf_put(&in, recipient, DZ_KEY_BYTES);
    dz_buf_put(&in, host->vault.b, sizeof host->vault.b);
    dz_buf_put_slice(&in, context);
    if (!dz_buf_ok(&in))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory to wrap a key");
    dz_key_derive(host->hedge, "wrap", dz_buf_slice(&in), ret_key);
    return DZ_OK;
}

dz_status dz_recipient_seal(const struct dz_host_keys *host, dz_slice context, dz_buf *to,
                            uint8_t ret_key[DZ_KEY_BYTES], dz_err *err) {
    struct { /* one block, so that one wipe takes all */
        uint8_t ephemeral[DZ_KEY_BYTES], wrap[DZ_KEY_BYTES], key[DZ_KEY_BYTES];
    } secret;
    uint8_t out[DZ_SEALED_KEY_BYTES] = { 1 }; /* count */
    uint8_t *head = out + 1, *body = out + 1 + HEAD_BYTES;
    dz_status st;

    put_head(head, DZ_RECIPIENT_X25519, X25519_BODY, host->epoch);
    dz_random(&secret, sizeof secret);
    (void) crypto_scalarmult_curve25519_base(body, secret.ephemeral);
    st = wrap_key(host, secret.ephemeral, host->recipient, body, host->recipient, context,
                  secret.wrap, err);
    if (st == DZ_OK)
        st = dz_aead_seal(secret.wrap, 0, (dz_slice){ head, HEAD_BYTES },
                          (dz_slice){ secret.key, sizeof secret.key }, body + DZ_KEY_BYTES, err);
    if (st == DZ_OK) {
        dz_buf_put(to, out, sizeof out);
        if (dz_buf_ok(to))
            memcpy(ret_key, secret.key, sizeof secret.key);
        else
            st = DZ_FAIL(err, DZ_E_NOMEM, "no memory for a sealed key");
    }
    sodium_memzero(&secret, sizeof secret);
    return st;
}

static void host_key(const struct dz_host_keys *host, const uint8_t salt[SALT_BYTES],
                     dz_slice context, dz_buf *in, uint8_t ret_key[DZ_KEY_BYTES]) {
    dz_buf_put(in, salt, SALT_BYTES);
    dz_buf_put_slice(in, context);
    if (dz_buf_ok(in))
        dz_key_derive(host->reference, "segment", dz_buf_slice(in), ret_key);
}

dz_status dz_recipient_seal_host(const struct dz_host_keys *host, dz_slice context, dz_buf *to,
                                 uint8_t ret_key[DZ_KEY_BYTES], dz_err *err) {
    uint8_t out[DZ_SEALED_HOST_KEY_BYTES] = { 1 }; /* count */
    uint8_t *salt = out + 1 + HEAD_BYTES;
    dz_autobuf dz_buf in = { 0 };

    put_head(out + 1, DZ_RECIPIENT_HOST, SALT_BYTES, host->epoch);
    dz_random(salt, SALT_BYTES);
    dz_buf_put(to, out, sizeof out);
    if (dz_buf_ok(to))
        host_key(host, salt, context, &in, ret_key);
    if (!dz_buf_ok(to) || !dz_buf_ok(&in))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory for a sealed key");
    return DZ_OK;
}

/* One stanza of the list. */
typedef struct stanza {
    dz_slice head; /* the 8 bytes as they stand */
    uint16_t algorithm;
    uint32_t epoch;
    dz_slice body;
} stanza;

static dz_status read_count(dz_reader *r, unsigned *ret_count, dz_err *err) {
    unsigned count = dz_read_u8(r);

    if (!dz_reader_ok(r) || count == 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "sealed key without a recipient");
    if (count > DZ_RECIPIENTS_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "sealed key with %u recipients; at most %d are read", count,
                       DZ_RECIPIENTS_MAX);
    *ret_count = count;
    return DZ_OK;
}

static dz_status read_stanza(dz_reader *r, stanza *ret_stanza, dz_err *err) {
    stanza s = { .head = dz_read_bytes(r, HEAD_BYTES) };
    size_t length;

    if (!dz_reader_ok(r))
        return DZ_FAIL(err, DZ_E_MALFORMED, "sealed key cut short");
    s.algorithm = (uint16_t) dz_load_le(s.head.data, 2);
    length = (size_t) dz_load_le(s.head.data + 2, 2);
    s.epoch = (uint32_t) dz_load_le(s.head.data + 4, 4);
    if (length > DZ_RECIPIENT_BODY_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "recipient of %zu bytes; at most %d are read", length,
                       DZ_RECIPIENT_BODY_MAX);
    s.body = dz_read_bytes(r, length);
    if (!dz_reader_ok(r))
        return DZ_FAIL(err, DZ_E_MALFORMED, "sealed key cut short");
    *ret_stanza = s;
    return DZ_OK;
}

static dz_status ask_elsewhere(const struct dz_open_keys *open, dz_slice context, const stanza *s,
                               uint8_t ret_key[DZ_KEY_BYTES], dz_err *err) {
    uint8_t list[DZ_SEALED_KEY_BYTES] = { 1 }; /* count */

    memcpy(list + 1, s->head.data, HEAD_BYTES);
    memcpy(list + 1 + HEAD_BYTES, s->body.data, X25519_BODY);
    return open->ask(open->who, context, (dz_slice){ list, sizeof list }, ret_key, err);
}

static dz_status open_x25519(const struct dz_host_keys *host, const struct dz_open_keys *open,
                             dz_slice context, const stanza *s, uint8_t ret_key[DZ_KEY_BYTES],
                             dz_err *err) {
    uint8_t wrap[DZ_KEY_BYTES], key[DZ_KEY_BYTES];
    dz_status st;

    if (s->body.len != X25519_BODY)
        return DZ_FAIL(err, DZ_E_CORRUPT, "X25519 recipient of %zu bytes, not %d", s->body.len,
                       X25519_BODY);
    if (open->ask)
        return ask_elsewhere(open, context, s, ret_key, err);
    st = wrap_key(host, open->recipient_secret, s->body.data, s->body.data, open->recipient,
                  context, wrap, err);
    if (st == DZ_OK)
        st = dz_aead_open(wrap, 0, s->head,
                          (dz_slice){ s->body.data + DZ_KEY_BYTES, X25519_BODY - DZ_KEY_BYTES },
                          key, err);
    if (st == DZ_OK)
        memcpy(ret_key, key, sizeof key);
    sodium_memzero(wrap, sizeof wrap);
    sodium_memzero(key, sizeof key);
    return dz_err_context(err, st, "sealed key of epoch %u", s->epoch);
}

static dz_status open_host(const struct dz_host_keys *host, dz_slice context, const stanza *s,
                           uint8_t ret_key[DZ_KEY_BYTES], dz_err *err) {
    dz_autobuf dz_buf in = { 0 };

    if (s->body.len != SALT_BYTES)
        return DZ_FAIL(err, DZ_E_CORRUPT, "host recipient of %zu bytes, not %d", s->body.len,
                       SALT_BYTES);
    host_key(host, s->body.data, context, &in, ret_key);
    if (!dz_buf_ok(&in))
        return DZ_FAIL(err, DZ_E_NOMEM, "no memory to open a key");
    return DZ_OK;
}

dz_status dz_recipient_open(const struct dz_host_keys *host, const struct dz_open_keys *open,
                            dz_slice context, dz_reader *r, uint8_t ret_key[DZ_KEY_BYTES],
                            dz_err *err) {
    uint32_t other_epoch = 0; /* of the last X25519 stanza that is not ours */
    stanza ours = { 0 };
    unsigned count = 0;

    /* The whole list is read before any key is used: r stands after it whatever opens. */
    DZ_TRY(read_count(r, &count, err));
    for (unsigned i = 0; i < count; i++) {
        stanza s;

        DZ_TRY(read_stanza(r, &s, err));
        if (ours.algorithm != 0)
            continue;
        if (s.algorithm == DZ_RECIPIENT_HOST ||
            (s.algorithm == DZ_RECIPIENT_X25519 && open && s.epoch == open->epoch))
            ours = s;
        else if (s.algorithm == DZ_RECIPIENT_X25519)
            other_epoch = s.epoch;
    }
    if (ours.algorithm == DZ_RECIPIENT_HOST)
        return open_host(host, context, &ours, ret_key, err);
    if (ours.algorithm == DZ_RECIPIENT_X25519)
        return open_x25519(host, open, context, &ours, ret_key, err);
    if (other_epoch != 0 && open)
        return DZ_FAIL(err, DZ_E_CLOSED, "sealed to epoch %u; the keys at hand are of epoch %u",
                       other_epoch, open->epoch);
    return DZ_FAIL(err, DZ_E_CLOSED, "sealed to %u recipient(s), none of which is at hand", count);
}

dz_status dz_recipient_skip(dz_reader *r, dz_err *err) {
    unsigned count = 0;

    DZ_TRY(read_count(r, &count, err));
    for (unsigned i = 0; i < count; i++) {
        stanza s;
        DZ_TRY(read_stanza(r, &s, err));
    }
    return DZ_OK;
}
