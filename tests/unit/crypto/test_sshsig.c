/* What ssh-keygen and tokens sign verifies here, for that key, purpose and text; nothing else does.
 *
 * The signatures are made by the real ssh-keygen, and by software that signs as a FIDO token does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include "core/durable.h"
#include "crypto/sshsig.h"
#include "tests/ssh_fixture.h"
#include "tests/unit/crypto/tool.h"

#define PURPOSE "dozo-test"
static const dz_slice text = { (const uint8_t *) "delete a snapshot\n", 18 };

static char dir[] = "/tmp/dozo-sshsig-XXXXXX";

static dz_status check(dz_slice blob, const dz_ssh_key *key, const char *purpose, dz_slice what) {
    dz_sshsig sig;
    dz_status s = dz_sshsig_read(blob, &sig, NULL);

    return s == DZ_OK ? dz_sshsig_verify(&sig, key, purpose, what, NULL) : s;
}

/* --- by ssh-keygen ---------------------------------------------------------------------------- */

static const struct {
    const char *name, *type, *bits, *hash;
    enum dz_ssh_type want;
} made[] = {
    { "Ed25519", "ed25519", NULL, "sha512", DZ_SSH_ED25519 },
    { "Ed25519, the text hashed with SHA-256", "ed25519", NULL, "sha256", DZ_SSH_ED25519 },
    { "ECDSA on P-256", "ecdsa", "256", "sha512", DZ_SSH_ECDSA_P256 },
    { "ECDSA on P-384", "ecdsa", "384", "sha512", DZ_SSH_ECDSA_P384 },
    { "ECDSA on P-521", "ecdsa", "521", "sha256", DZ_SSH_ECDSA_P521 },
    { "RSA with 2048 bits", "rsa", "2048", "sha512", DZ_SSH_RSA },
    { "RSA with 3072 bits, the text hashed with SHA-256", "rsa", "3072", "sha256", DZ_SSH_RSA },
};

static void put_file(const char *name, dz_slice bytes) {
    char path[64];
    FILE *f;

    (void) snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, f), bytes.len);
    assert_int_equal(fclose(f), 0);
}

static void get_file(const char *name, dz_buf *to) {
    char path[64];

    (void) snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(dz_read_file(AT_FDCWD, path, 65536, to, NULL), DZ_OK);
}

static void sign_by_keygen(size_t row, dz_buf *ret_line, dz_buf *ret_armor) {
    char command[512], *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, command, NULL }, out[64];

    put_file("text", text);
    (void) snprintf(out, sizeof out, "%s/out", dir);
    (void) snprintf(command, sizeof command,
                    "cd %s && rm -f key key.pub text.sig && ssh-keygen -q -t %s %s%s -N '' -C "
                    "'an operator' -f key && ssh-keygen -Y sign -q -O hashalg=%s -n " PURPOSE
                    " -f key text",
                    dir, made[row].type, made[row].bits ? "-b " : "",
                    made[row].bits ? made[row].bits : "", made[row].hash);
    if (tool_run(argv, out) != 0)
        fail_msg("%s: ssh-keygen does not sign", made[row].name);
    get_file("key.pub", ret_line);
    get_file("text.sig", ret_armor);
}

static void what_ssh_keygen_signs_verifies(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        dz_autobuf dz_buf line = { 0 }, armor = { 0 }, blob = { 0 }, again = { 0 };
        char fingerprint[DZ_SSH_FINGERPRINT_TEXT];
        dz_slice comment;
        dz_ssh_key key;
        dz_err err = { 0 };

        sign_by_keygen(i, &line, &armor);
        if (dz_ssh_key_parse(dz_buf_slice(&line), &key, &comment, &err) != DZ_OK ||
            dz_sshsig_dearmor(dz_buf_slice(&armor), &blob, &err) != DZ_OK)
            fail_msg("%s: %s", made[i].name, err.what);
        assert_int_equal(key.type, made[i].want);
        assert_true(dz_slice_eq(comment, DZ_SLICE_LIT("an operator")));
        dz_ssh_key_fingerprint(&key, fingerprint);
        assert_int_equal(strlen(fingerprint), 50);
        dz_sshsig_armor(dz_buf_slice(&blob), &again);
        assert_true(dz_slice_eq(dz_buf_slice(&again), dz_buf_slice(&armor)));
        if (check(dz_buf_slice(&blob), &key, PURPOSE, text) != DZ_OK)
            fail_msg("%s: does not verify", made[i].name);
        assert_int_equal(check(dz_buf_slice(&blob), &key, "file", text), DZ_E_POLICY);
        assert_int_equal(check(dz_buf_slice(&blob), &key, PURPOSE, DZ_SLICE_LIT("another\n")),
                         DZ_E_POLICY);
        assert_int_equal(check(dz_buf_slice(&blob), &key, PURPOSE, (dz_slice){ NULL, 0 }),
                         DZ_E_POLICY);
        for (size_t at = 0; at < blob.len; at++) { /* no byte of it may change */
            blob.data[at] ^= 1;
            if (check(dz_buf_slice(&blob), &key, PURPOSE, text) == DZ_OK)
                fail_msg("%s: byte %zu does not matter", made[i].name, at);
            blob.data[at] ^= 1;
        }
        for (size_t len = 0; len < blob.len; len++)
            assert_int_not_equal(check((dz_slice){ blob.data, len }, &key, PURPOSE, text), DZ_OK);
    }
}

static void short_rsa_keys_are_refused(void **state) {
    char command[256], *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, command, NULL }, out[64];
    dz_autobuf dz_buf line = { 0 };
    dz_ssh_key key;

    (void) state;
    (void) snprintf(out, sizeof out, "%s/out", dir);
    (void) snprintf(command, sizeof command,
                    "cd %s && rm -f key key.pub && ssh-keygen -q -t rsa -b 1024 -N '' -f key", dir);
    if (tool_run(argv, out) != 0)
        skip(); /* a later ssh-keygen may not make them */
    get_file("key.pub", &line);
    assert_int_equal(dz_ssh_key_parse(dz_buf_slice(&line), &key, NULL, NULL), DZ_E_LIMIT);
}

/* --- by tokens -------------------------------------------------------------------------------- */

static dz_ssh_key key_of(dz_slice blob) {
    dz_ssh_key key;

    assert_int_equal(dz_ssh_key_read(blob, &key, NULL), DZ_OK);
    return key;
}

static void a_token_that_was_touched_verifies(void **state) {
    static const struct {
        const char *name;
        uint8_t flags;
        dz_status want;
    } rows[] = {
        { "touched", 1, DZ_OK },
        { "touched, and a PIN was asked for", 5, DZ_OK },
        { "nobody touched it", 0, DZ_E_POLICY },
        { "a PIN alone is no touch", 4, DZ_E_POLICY },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ssh_signer token = ssh_signer_of(1, true), other = ssh_signer_of(2, true);
        dz_autobuf dz_buf blob = { 0 }, key = { 0 }, other_key = { 0 };
        dz_ssh_key k;
        dz_sshsig sig;

        token.flags = rows[i].flags;
        ssh_put_key(&token, &key);
        ssh_put_key(&other, &other_key);
        ssh_sign(&token, PURPOSE, text, &blob);
        k = key_of(dz_buf_slice(&key));
        if (check(dz_buf_slice(&blob), &k, PURPOSE, text) != rows[i].want)
            fail_msg("%s", rows[i].name);
        assert_int_equal(dz_sshsig_read(dz_buf_slice(&blob), &sig, NULL), DZ_OK);
        assert_int_equal(sig.flags, rows[i].flags);
        assert_int_equal(sig.counter, 7);
        k = key_of(dz_buf_slice(&other_key));
        assert_int_equal(check(dz_buf_slice(&blob), &k, PURPOSE, text), DZ_E_POLICY);
    }
}

/* Flags and counter stand at the end, and are signed. */
static void what_a_token_saw_cannot_be_changed(void **state) {
    struct ssh_signer token = ssh_signer_of(1, true);
    dz_autobuf dz_buf blob = { 0 }, key = { 0 };
    dz_ssh_key k;

    (void) state;
    token.flags = 0;
    ssh_put_key(&token, &key);
    k = key_of(dz_buf_slice(&key));
    ssh_sign(&token, PURPOSE, text, &blob);
    blob.data[blob.len - 5] = 1; /* "somebody touched it" */
    assert_int_equal(check(dz_buf_slice(&blob), &k, PURPOSE, text), DZ_E_POLICY);
    blob.data[blob.len - 5] = 0;
    blob.data[blob.len - 1] ^= 1;
    assert_int_equal(check(dz_buf_slice(&blob), &k, PURPOSE, text), DZ_E_POLICY);
}

/* A number as SSH writes it, from OpenSSL's. */
static void put_number(dz_buf *to, const BIGNUM *n) {
    uint8_t bytes[67] = { 0 };
    int len = BN_bn2bin(n, bytes + 1);
    int sign = len > 0 && bytes[1] >= 0x80;

    ssh_put(to, bytes + 1 - sign, (size_t) (len + sign));
}

static void an_ecdsa_token_verifies(void **state) {
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    dz_autobuf dz_buf key = { 0 }, message = { 0 }, numbers = { 0 }, signature = { 0 },
                      blob = { 0 };
    uint8_t point[65], der[80];
    const uint8_t *at = der;
    size_t point_len = 0, der_len = sizeof der;
    ECDSA_SIG *sig;
    dz_ssh_key k;

    (void) state;
    assert_int_equal(EVP_PKEY_get_octet_string_param(pair, OSSL_PKEY_PARAM_PUB_KEY, point,
                                                     sizeof point, &point_len),
                     1);
    ssh_put_text(&key, "sk-ecdsa-sha2-nistp256@openssh.com");
    ssh_put_text(&key, "nistp256");
    ssh_put(&key, point, point_len);
    ssh_put_text(&key, "ssh:");
    ssh_put_signed(PURPOSE, text, &message);
    ssh_wrap(1, 41, &message);
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pair), 1);
    assert_int_equal(EVP_DigestSign(ctx, der, &der_len, message.data, message.len), 1);
    sig = d2i_ECDSA_SIG(NULL, &at, (long) der_len);
    assert_non_null(sig);
    put_number(&numbers, ECDSA_SIG_get0_r(sig));
    put_number(&numbers, ECDSA_SIG_get0_s(sig));
    ssh_put_text(&signature, "sk-ecdsa-sha2-nistp256@openssh.com");
    ssh_put(&signature, numbers.data, numbers.len);
    dz_buf_put_u8(&signature, 1);
    ssh_put_u32(&signature, 41);
    ssh_put_blob(dz_buf_slice(&key), PURPOSE, dz_buf_slice(&signature), &blob);
    k = key_of(dz_buf_slice(&key));
    assert_int_equal(check(dz_buf_slice(&blob), &k, PURPOSE, text), DZ_OK);
    blob.data[blob.len - 1] ^= 1;
    assert_int_equal(check(dz_buf_slice(&blob), &k, PURPOSE, text), DZ_E_POLICY);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pair);
}

/* --- forms ------------------------------------------------------------------------------------ */

#define ED "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

static void lines_are_told_apart(void **state) {
    static const struct {
        const char *name, *line;
        dz_status want;
    } rows[] = {
        { "a key", "ssh-ed25519 " ED, DZ_OK },
        { "a key and a name", "ssh-ed25519 " ED " alice@ward", DZ_OK },
        { "blanks around", "  ssh-ed25519\t" ED "  alice \r\n", DZ_OK },
        { "nothing", "", DZ_E_MALFORMED },
        { "a type alone", "ssh-ed25519", DZ_E_MALFORMED },
        { "options of authorized_keys", "restrict ssh-ed25519 " ED, DZ_E_MALFORMED },
        { "another type than the key's", "ssh-rsa " ED, DZ_E_MALFORMED },
        { "two lines", "ssh-ed25519 " ED " a\nssh-ed25519 " ED " b\n", DZ_E_MALFORMED },
        { "base64 with a second spelling",
          "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4=",
          DZ_E_MALFORMED },
        { "DSA", "ssh-dss AAAAB3NzaC1kc3MAAAAA", DZ_E_UNSUPPORTED },
        { "a certificate",
          "ssh-ed25519-cert-v01@openssh.com "
          "AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAAA==",
          DZ_E_UNSUPPORTED },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_ssh_key key;
        dz_slice comment;
        dz_status s =
            dz_ssh_key_parse((dz_slice){ (const uint8_t *) rows[i].line, strlen(rows[i].line) },
                             &key, &comment, NULL);

        if (s != rows[i].want)
            fail_msg("%s: %s", rows[i].name, dz_status_name(s));
    }
}

static void armor_is_told_apart(void **state) {
    static const struct {
        const char *name, *armor;
        dz_status want;
    } rows[] = {
        { "a few bytes", "-----BEGIN SSH SIGNATURE-----\nU1NI\nU0lH\n-----END SSH SIGNATURE-----\n",
          DZ_OK },
        { "CR LF, one line",
          "-----BEGIN SSH SIGNATURE-----\r\nU1NIU0lH\r\n-----END SSH SIGNATURE-----", DZ_OK },
        { "nothing", "", DZ_E_MALFORMED },
        { "no bytes", "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n",
          DZ_E_MALFORMED },
        { "no end", "-----BEGIN SSH SIGNATURE-----\nU1NI\n", DZ_E_MALFORMED },
        { "something before", "x\n-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----",
          DZ_E_MALFORMED },
        { "something behind", "-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----\nx",
          DZ_E_MALFORMED },
        { "another armor", "-----BEGIN PGP SIGNATURE-----\nU1NI\n-----END PGP SIGNATURE-----",
          DZ_E_MALFORMED },
        { "a word that goes on", "-----BEGIN SSH SIGNATURE-----U1NI\n-----END SSH SIGNATURE-----",
          DZ_E_MALFORMED },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_autobuf dz_buf blob = { 0 };
        dz_status s = dz_sshsig_dearmor(
            (dz_slice){ (const uint8_t *) rows[i].armor, strlen(rows[i].armor) }, &blob, NULL);

        if (s != rows[i].want)
            fail_msg("%s: %s", rows[i].name, dz_status_name(s));
    }
}

/* A key of one type with a signature of another must not get as far as a verifier. */
static void types_cannot_be_mixed(void **state) {
    struct ssh_signer plain = ssh_signer_of(1, false), token = ssh_signer_of(1, true);
    dz_autobuf dz_buf plain_key = { 0 }, token_key = { 0 }, signature = { 0 }, blob = { 0 };
    const uint8_t sig[64] = { 1 };
    dz_sshsig got;

    (void) state;
    ssh_put_key(&plain, &plain_key);
    ssh_put_key(&token, &token_key);
    ssh_put_text(&signature, "ssh-ed25519");
    ssh_put(&signature, sig, sizeof sig);
    ssh_put_blob(dz_buf_slice(&plain_key), PURPOSE, dz_buf_slice(&signature), &blob);
    assert_int_equal(dz_sshsig_read(dz_buf_slice(&blob), &got, NULL), DZ_OK);
    dz_buf_clear(&blob);
    ssh_put_blob(dz_buf_slice(&token_key), PURPOSE, dz_buf_slice(&signature), &blob);
    assert_int_equal(dz_sshsig_read(dz_buf_slice(&blob), &got, NULL), DZ_E_MALFORMED);
    dz_buf_clear(&blob);
    dz_buf_put_u8(&signature, 1);
    ssh_put_u32(&signature, 0);
    ssh_put_blob(dz_buf_slice(&plain_key), PURPOSE, dz_buf_slice(&signature), &blob);
    assert_int_equal(dz_sshsig_read(dz_buf_slice(&blob), &got, NULL), DZ_E_MALFORMED);
}

static int make_dir(void **state) {
    (void) state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
    char *argv[] = { (char[]){ "rm" }, (char[]){ "-rf" }, dir, NULL };

    (void) state;
    return tool_run(argv, "/dev/null");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_ssh_keygen_signs_verifies),
        cmocka_unit_test(short_rsa_keys_are_refused),
        cmocka_unit_test(a_token_that_was_touched_verifies),
        cmocka_unit_test(what_a_token_saw_cannot_be_changed),
        cmocka_unit_test(an_ecdsa_token_verifies),
        cmocka_unit_test(lines_are_told_apart),
        cmocka_unit_test(armor_is_told_apart),
        cmocka_unit_test(types_cannot_be_mixed),
    };

    return cmocka_run_group_tests_name("SSH signatures", tests, make_dir, remove_dir);
}
