/* A source has sent one chunk in one run and is expected each hour, and the vault remembers it:
 * leave_caches VAULT SOURCE TEXT */
#include <stdio.h>

#include "daemon/expected.h"
#include "intake/last_runs.h"
#include "intake/quota.h"
#include "intake/sent.h"

static dz_status expect(struct dz_vault *v, const char *source, dz_err *err) {
    const dz_schedule hourly = { .every_us = INT64_C(3600) * 1000000 };
    DZ_CLEANUP(dz_expected_release) struct dz_expected e = { .zone = strdup("UTC") };

    DZ_TRY(dz_expected_add(&e, source, NULL, &hourly, hourly.every_us, 0, err));
    return dz_expected_store(v, &e, err);
}

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
    DZ_TRY(dz_quota_take(q, DZ_WIRE_RUNS, 1, &fits, err));
    dz_last_runs_note(v, v->tmpfd, source,
                      &(struct dz_wire_done){ .snapshot = { 7 }, .entries = 1 });
    return expect(v, source, err);
}

int main(int argc, char **argv) {
    dz_err err = { 0 };

    if (argc != 4 || run(argv[1], argv[2], argv[3], &err) != DZ_OK) {
        (void) fprintf(stderr, "leave_caches: %s\n", argc != 4 ? "VAULT SOURCE TEXT" : err.what);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
