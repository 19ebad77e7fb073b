/* vault.yaml: the first bytes that a command reads of a vault it was pointed at.
 *
 * Property: what is accepted can be written, and reads again as the same. */
#include "store/vault.h"
#include "tests/fuzz/fuzz.h"

static void must_agree(const struct dz_vault_config *a, const struct dz_vault_config *b) {
    MUST(memcmp(a->id.b, b->id.b, sizeof a->id.b) == 0 && a->epoch == b->epoch &&
         a->created_us == b->created_us);
    MUST(memcmp(a->recipient, b->recipient, sizeof a->recipient) == 0 &&
         memcmp(a->log_public, b->log_public, sizeof a->log_public) == 0);
    MUST(strcmp(a->host_key, b->host_key) == 0);
    MUST(a->custodians == b->custodians && a->threshold == b->threshold &&
         a->approvals == b->approvals);
    MUST(memcmp(a->commitments, b->commitments, (size_t) 32 * a->custodians) == 0);
    MUST(a->n_operators == b->n_operators && a->approvals <= a->n_operators);
    for (size_t i = 0; i < a->n_operators; i++)
        MUST(strcmp(a->operators[i], b->operators[i]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    DZ_CLEANUP(dz_vault_config_release) struct dz_vault_config c = { 0 }, again = { 0 };
    dz_autobuf dz_buf text = { 0 };

    if (dz_vault_config_read((dz_slice){ data, size }, &c, NULL) != DZ_OK)
        return 0;
    MUST(dz_vault_config_write(&c, &text, NULL) == DZ_OK);
    MUST(dz_vault_config_read(dz_buf_slice(&text), &again, NULL) == DZ_OK);
    must_agree(&c, &again);
    return 0;
}
