/* A source has sent one chunk, and the vault remembers it: send_chunk VAULT SOURCE TEXT */
#include <stdio.h>

#include "intake/quota.h"
#include "intake/sent.h"

static dz_status run(const char *path, const char *source, const char *text, dz_err *err) {
    const dz_slice bytes = { (const uint8_t *) text, strlen(text) };
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_sent) s = NULL;
    DZ_AUTO(dz_quota) q = NULL;
    bool fits;
    dz_id id;

    DZ_TRY(dz_crypto_init(err));
    DZ_TRY(dz_vault_open(path, &v, err));
    DZ_TRY(dz_sent_open(v, source, v->tmpfd, &s, err));
    dz_sha256(bytes, id.b);
    DZ_TRY(dz_sent_add(s, &id, (uint32_t) bytes.len, err));
    DZ_TRY(dz_sent_keep(s, true, err));
    DZ_TRY(dz_quota_open(v, source, v->tmpfd, &DZ_QUOTA_LIMITS_DEFAULT, &q, err));
    return dz_quota_take(q, DZ_WIRE_RUNS, 1, &fits, err);
}

int main(int argc, char **argv) {
    dz_err err = { 0 };

    if (argc != 4 || run(argv[1], argv[2], argv[3], &err) != DZ_OK) {
        (void) fprintf(stderr, "send_chunk: %s\n", argc != 4 ? "VAULT SOURCE TEXT" : err.what);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
