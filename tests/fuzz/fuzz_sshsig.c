/* A signature comes by mail, from a token, or from somebody who would like to be an operator.
 *
 * Properties: what was accepted is made of the parts that were read, and goes into its armor and
 * out again as the same bytes; a key's line gives the key back; what verifies does so for one text,
 * one purpose and the key that it names.  The corpus has true signatures of the text below. */
#include "crypto/sshsig.h"
#include "tests/fuzz/fuzz.h"
#include "tests/ssh_fixture.h"

static void same_bytes(dz_slice blob, const dz_sshsig *sig) {
    dz_autobuf dz_buf again = { 0 };

    dz_buf_put(&again, "SSHSIG\0\0\0\1", 10);
    ssh_put(&again, sig->key.blob, sig->key.len);
    ssh_put(&again, sig->name_space.data, sig->name_space.len);
    ssh_put(&again, sig->reserved.data, sig->reserved.len);
    ssh_put_text(&again, sig->sha512 ? "sha512" : "sha256");
    MUST(!dz_buf_ok(&again) || /* behind it stands the inner signature and its length */
         (again.len + 4 < blob.len && memcmp(again.data, blob.data, again.len) == 0));
}

static void same_armor(dz_slice blob) {
    dz_autobuf dz_buf armor = { 0 }, again = { 0 };

    dz_sshsig_armor(blob, &armor);
    if (dz_buf_ok(&armor) && dz_sshsig_dearmor(dz_buf_slice(&armor), &again, NULL) != DZ_E_NOMEM)
        MUST(dz_slice_eq(dz_buf_slice(&again), blob));
}

static void same_key(const dz_ssh_key *key) {
    dz_autobuf dz_buf line = { 0 };
    dz_ssh_key again;

    dz_ssh_key_write(key, &line);
    if (!dz_buf_ok(&line))
        return;
    MUST(dz_ssh_key_parse(dz_buf_slice(&line), &again, NULL, NULL) == DZ_OK);
    MUST(dz_ssh_key_eq(key, &again));
}

static void one_text(const dz_sshsig *sig) {
    const dz_slice text = DZ_SLICE_LIT("delete\n"), other = DZ_SLICE_LIT("delete \n");
    struct ssh_signer stranger = ssh_signer_of(9, false);
    dz_autobuf dz_buf blob = { 0 };
    dz_ssh_key key;

    if (dz_sshsig_verify(sig, &sig->key, "dozo-fuzz", text, NULL) != DZ_OK)
        return;
    MUST(dz_sshsig_verify(sig, &sig->key, "dozo-fuzz", other, NULL) == DZ_E_POLICY);
    MUST(dz_sshsig_verify(sig, &sig->key, "file", text, NULL) == DZ_E_POLICY);
    ssh_put_key(&stranger, &blob);
    if (dz_buf_ok(&blob) && dz_ssh_key_read(dz_buf_slice(&blob), &key, NULL) == DZ_OK)
        MUST(dz_sshsig_verify(sig, &key, "dozo-fuzz", text, NULL) == DZ_E_POLICY);
}

static void look(dz_slice blob) {
    dz_sshsig sig;

    if (dz_sshsig_read(blob, &sig, NULL) != DZ_OK)
        return;
    same_bytes(blob, &sig);
    same_armor(blob);
    same_key(&sig.key);
    one_text(&sig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_slice input = { data, size };
    dz_autobuf dz_buf blob = { 0 };
    dz_ssh_key key;

    if (dz_sshsig_dearmor(input, &blob, NULL) == DZ_OK)
        look(dz_buf_slice(&blob));
    else
        look(input);
    if (dz_ssh_key_parse(input, &key, NULL, NULL) == DZ_OK ||
        dz_ssh_key_read(input, &key, NULL) == DZ_OK)
        same_key(&key);
    return 0;
}
