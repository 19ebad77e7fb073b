/* Somebody without a certificate, who has a token or says so.
 *
 * Properties: who shows a token has proved to have the key, over this connection's nonce, whatever
 * else was said; nothing but HELLO and ENROL is taken; what is answered is WELCOME, then CERT or
 * REFUSED, and then nothing.
 *
 * The input: a byte says how, the rest is what is said instead of an ENROL, or what becomes of one:
 * pairs of a place and bits that are turned round. */
#include <sodium.h>

#include "intake/take.h"
#include "tests/fuzz/fuzz.h"

static unsigned calls;
static uint8_t key[DZ_WIRE_KEY], token[DZ_WIRE_TOKEN];
static bool right; /* the frame is just what was signed */

static dz_status enrol(void *ctx, const struct dz_wire_enrol *m,
                       char ret_source[DZ_SOURCE_NAME_MAX + 1], dz_buf *cert, dz_buf *authority,
                       dz_err *err) {
    (void) ctx;
    calls++;
    MUST(right && memcmp(m->key, key, sizeof key) == 0);
    if (memcmp(m->token, token, sizeof token) != 0)
        return DZ_FAIL(err, DZ_E_POLICY, "a token that no invitation has");
    memcpy(ret_source, "emr", sizeof "emr");
    dz_buf_put(cert, "certificate", 11);
    dz_buf_put(authority, "authority", 9);
    return DZ_OK;
}

/* The next frame that was answered; 0: there is none. */
static uint8_t answer(struct dz_take *t, dz_buf *path, struct dz_wire_message *m) {
    dz_slice out = dz_take_out(t), payload;
    uint8_t type;
    size_t used;

    if (out.len == 0)
        return 0;
    MUST(dz_wire_frame(out, &type, &payload, &used, NULL) == DZ_OK && used > 0);
    MUST(dz_wire_read(type, payload, path, m, NULL) == DZ_OK);
    dz_take_sent(t, used);
    return type;
}

/* An honest ENROL over this nonce. */
static void put_enrol(dz_buf *to, const uint8_t nonce[DZ_WIRE_NONCE], bool known) {
    const uint8_t seed[crypto_sign_SEEDBYTES] = { 1 };
    uint8_t secret[crypto_sign_SECRETKEYBYTES], digest[DZ_SHA256_BYTES];
    struct dz_wire_enrol m = { .token = { (uint8_t) !known } };

    MUST(crypto_sign_seed_keypair(key, secret, seed) == 0);
    memcpy(m.key, key, sizeof key);
    dz_wire_enrol_digest(nonce, &m, digest);
    MUST(crypto_sign_detached(m.proof, NULL, digest, sizeof digest, secret) == 0);
    dz_wire_put_enrol(to, &m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dz_take_how how = { .enrol = enrol };
    dz_reader in = dz_reader_over((dz_slice){ data, size });
    dz_autobuf dz_buf say = { 0 }, path = { 0 }, honest = { 0 };
    DZ_AUTO(dz_take) t = NULL;
    struct dz_wire_message m;
    uint8_t mode = dz_read_u8(&in);

    MUST(sodium_init() >= 0 && dz_take_new(&how, &t, NULL) == DZ_OK);
    calls = 0;
    dz_wire_put_hello(&say, &(struct dz_wire_hello){ 1, 1 });
    dz_take_feed(t, dz_buf_slice(&say));
    MUST(answer(t, &path, &m) == DZ_WIRE_WELCOME);
    put_enrol(&honest, m.welcome.nonce, !(mode & 2));
    dz_buf_clear(&say);
    if (mode & 1) {
        dz_buf_put_slice(&say, dz_read_bytes(&in, dz_reader_left(&in)));
    } else {
        dz_buf_put_slice(&say, dz_buf_slice(&honest));
        while (dz_reader_left(&in) >= 2) {
            uint8_t at = dz_read_u8(&in);
            say.data[at % say.len] ^= dz_read_u8(&in);
        }
    }
    right = dz_slice_eq(dz_buf_slice(&say), dz_buf_slice(&honest));
    dz_take_feed(t, dz_buf_slice(&say));
    MUST(calls == right);
    if (right)
        MUST(answer(t, &path, &m) == (mode & 2 ? DZ_WIRE_REFUSED : DZ_WIRE_CERT));
    else if (dz_take_state(t)->is != DZ_TAKE_OPEN)
        MUST(answer(t, &path, &m) == DZ_WIRE_REFUSED);
    MUST(dz_take_out(t).len == 0 && dz_take_state(t)->enrolled == (right && !(mode & 2)));
    return 0;
}
