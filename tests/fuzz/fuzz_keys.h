/* tests/fuzz/fuzz_keys.h -- the keys under which targets seal a fuzzer's bytes: without them no
 * fuzzer would ever get past an AEAD.  Whoever has host keys can make such bytes. */
#pragma once

#include "crypto/keys.h"
#include "tests/fuzz/fuzz.h"

static struct dz_host_keys *host;
static struct dz_open_keys *open_keys;

static inline void need_keys(void) {
    const uint8_t root[DZ_ROOT_BYTES] = { 1 };
    const dz_vault_id id = { { 1 } };

    if (!host)
        MUST(dz_crypto_init(NULL) == DZ_OK &&
             dz_keys_derive(root, &id, 1, &host, &open_keys, NULL) == DZ_OK);
}
