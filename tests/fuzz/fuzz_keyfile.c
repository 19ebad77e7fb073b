/* Key files, as they are and with the checks of their lines made to fit.
 *
 * Properties: only the root of the vault ever comes out.  A file under a passphrase is accepted as
 * far as the passphrase only when its cost lies inside the bounds: a hostile file cannot make the
 * reader allocate more than 1 GiB, and nothing at all is allocated for a cost outside them. */
#include <stdio.h>

#include "core/hex.h"
#include "crypto/hash.h"
#include "crypto/keyfile.h"
#include "tests/fuzz/fuzz.h"

static const uint8_t root[DZ_ROOT_BYTES] = { 1 };
static struct dz_host_keys *host;

static void read_file(dz_slice file) {
    uint8_t got[DZ_ROOT_BYTES];
    dz_status st = dz_keyfile_read(file, host, (dz_slice){ 0 }, got, NULL);

    if (st == DZ_OK) {
        MUST(dz_keyfile_kind(file) == DZ_KEYFILE_RAW);
        MUST(memcmp(got, root, sizeof got) == 0);
    } else if (st == DZ_E_CLOSED) {
        unsigned memory_kib = 0, passes = 0;
        dz_autobuf dz_buf text = { 0 };
        const char *line;

        MUST(dz_keyfile_kind(file) == DZ_KEYFILE_PASSPHRASE);
        dz_buf_put_slice(&text, file);
        dz_buf_put_u8(&text, 0);
        MUST(dz_buf_ok(&text));
        line = strstr((char *) text.data, "argon2id ");
        MUST(line && sscanf(line, "argon2id %u %u", &memory_kib, &passes) == 2);
        MUST(memory_kib >= 8 && memory_kib <= DZ_KEYFILE_MEMORY_KIB_MAX);
        MUST(passes >= 1 && passes <= DZ_KEYFILE_PASSES_MAX);
        if (memory_kib <= 64 && passes <= 2) {
            st = dz_keyfile_read(file, host, DZ_SLICE_LIT("a horse"), got, NULL);
            MUST(st == DZ_OK ? memcmp(got, root, sizeof got) == 0 : st == DZ_E_CLOSED);
        }
    }
}

/* Puts a fitting check on every line but the first and the last, which becomes the file's. */
static void fit(dz_slice file, dz_buf *to) {
    unsigned number = 0;
    uint8_t hash[DZ_SHA256_BYTES];
    char hex[17];

    while (file.len > 0) {
        const uint8_t *end = memchr(file.data, '\n', file.len);
        size_t len = end ? (size_t) (end - file.data) : file.len;
        dz_slice words = { file.data, len };
        uint8_t n = (uint8_t) ++number;
        const dz_slice parts[] = { DZ_SLICE_LIT("dozo key line"), { &n, 1 }, words };

        file = (dz_slice){ file.data + len + (end != NULL), file.len - len - (end != NULL) };
        if (len >= 6 && memcmp(words.data, "check ", 6) == 0)
            break;
        dz_buf_put_slice(to, words);
        if (number > 1) {
            dz_sha256v(parts, 3, hash);
            dz_hex(hash, 4, hex);
            dz_buf_printf(to, "  %s", hex);
        }
        dz_buf_put_u8(to, '\n');
    }
    if (dz_buf_ok(to)) {
        const dz_slice parts[] = { DZ_SLICE_LIT("dozo key file"), dz_buf_slice(to) };

        dz_sha256v(parts, 2, hash);
        dz_hex(hash, 8, hex);
        dz_buf_printf(to, "check %s\n", hex);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const dz_vault_id id = { { 1 } };
    dz_autobuf dz_buf fitted = { 0 };

    if (!host)
        MUST(dz_crypto_init(NULL) == DZ_OK &&
             dz_keys_derive(root, &id, 1, &host, NULL, NULL) == DZ_OK);
    read_file((dz_slice){ data, size });
    fit((dz_slice){ data, size }, &fitted);
    if (dz_buf_ok(&fitted))
        read_file(dz_buf_slice(&fitted));
    return 0;
}
