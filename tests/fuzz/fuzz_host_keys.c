/* The host key file, as is and with its length and checksum made to fit.
 *
 * Property: an accepted file without later additions is written back as the same bytes. */
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "tests/fuzz/fuzz.h"

enum { FILE_BYTES = 156, CHECK_BYTES = 16 };

static void read_and_write(dz_slice file) {
    DZ_AUTO(dz_host_keys) host = NULL;
    dz_autobuf dz_buf again = { 0 };

    if (dz_host_keys_read(file, &host, NULL) != DZ_OK) {
        MUST(!host);
        return;
    }
    dz_host_keys_write(host, &again);
    MUST(dz_buf_ok(&again) && again.len == FILE_BYTES && file.len >= FILE_BYTES);
    if (file.len == FILE_BYTES && dz_load_le(file.data + 12, 4) == 0)
        MUST(dz_slice_eq(dz_buf_slice(&again), file));
    else
        MUST(memcmp(again.data + 24, file.data + 24, FILE_BYTES - 24 - CHECK_BYTES) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t hash[DZ_SHA256_BYTES];
    uint8_t *fitted;

    MUST(dz_crypto_init(NULL) == DZ_OK);
    read_and_write((dz_slice){ data, size });
    if (size < 24 + CHECK_BYTES || !(fitted = malloc(size)))
        return 0;
    memcpy(fitted, data, size);
    dz_store_le(fitted + 20, 4, size);
    dz_sha256((dz_slice){ fitted, size - CHECK_BYTES }, hash);
    memcpy(fitted + size - CHECK_BYTES, hash, CHECK_BYTES);
    read_and_write((dz_slice){ fitted, size });
    free(fitted);
    return 0;
}
