/* The stanzas that seal a key.
 *
 * Properties: opening and skipping accept the same lists and stand at the same place afterwards;
 * an accepted list says its own length; the closed vault opens nothing that is sealed to X25519. */
#include "crypto/recipient.h"
#include "tests/fuzz/fuzz.h"

static struct dz_host_keys *host;
static struct dz_open_keys *open_keys;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t root[DZ_ROOT_BYTES] = { 1 };
    const dz_vault_id id = { { 1 } };
    dz_reader skip = dz_reader_over((dz_slice){ data, size }), closed = skip, opened = skip;
    uint8_t key[DZ_KEY_BYTES];
    dz_status skipped, st;
    size_t expected = 1;

    if (!host)
        MUST(dz_crypto_init(NULL) == DZ_OK &&
             dz_keys_derive(root, &id, 1, &host, &open_keys, NULL) == DZ_OK);
    skipped = dz_recipient_skip(&skip, NULL);
    if (skipped == DZ_OK) {
        MUST(size >= 1 && data[0] >= 1 && data[0] <= DZ_RECIPIENTS_MAX);
        for (unsigned i = 0; i < data[0]; i++)
            expected += 8 + (size_t) dz_load_le(data + expected + 2, 2);
        MUST(expected == size - dz_reader_left(&skip));
    }
    st = dz_recipient_open(host, NULL, DZ_SLICE_LIT("segment 1"), &closed, key, NULL);
    if (skipped != DZ_OK)
        MUST(st == skipped);
    else {
        MUST(st == DZ_OK || st == DZ_E_CLOSED || st == DZ_E_CORRUPT);
        MUST(closed.cur == skip.cur);
        if (data[0] == 1 && dz_load_le(data + 1, 2) == DZ_RECIPIENT_X25519)
            MUST(st == DZ_E_CLOSED);
    }
    st = dz_recipient_open(host, open_keys, DZ_SLICE_LIT("segment 1"), &opened, key, NULL);
    MUST(skipped == DZ_OK ? opened.cur == skip.cur : st == skipped);
    return 0;
}
