/* What the tests of src/crypto share: cmocka, hexadecimal, and the keys of a made-up vault. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hex.h"
#include "crypto/keys.h"

#define HEX_MAX 256

static inline dz_slice unhex(const char *text, uint8_t bytes[HEX_MAX]) {
    size_t len = strlen(text) / 2;

    assert_true(len <= HEX_MAX && dz_unhex(text, 2 * len, bytes, len));
    return (dz_slice){ bytes, len };
}

/* A vault whose root and id are `seed` repeated. */
struct vault {
    uint8_t root[DZ_ROOT_BYTES];
    struct dz_host_keys *host;
    struct dz_open_keys *open;
};

static inline void vault_make(struct vault *v, uint8_t seed, uint32_t epoch) {
    dz_vault_id id;

    memset(v->root, seed, sizeof v->root);
    memset(&id, seed, sizeof id);
    assert_int_equal(dz_keys_derive(v->root, &id, epoch, &v->host, &v->open, NULL), DZ_OK);
}

static inline void vault_free(struct vault *v) {
    dz_host_keys_free(v->host);
    dz_open_keys_free(v->open);
}
