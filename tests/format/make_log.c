/* Makes a log for readers that are not ours: make_log DIR [SIZE...]
 *
 * DIR gets the log, grown to each SIZE in turn.  Key, vault and leaves are always the same, so the
 * bytes are, too: docs/format/log.md shows those of `make_log DIR 2`.  Prints the public key. */
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

#include "core/hex.h"
#include "store/leaf.h"
#include "store/tlog.h"

static dz_status put_leaf(uint64_t index, dz_buf *to, dz_err *err) {
    static const uint16_t kinds[] = { DZ_LEAF_GENESIS, DZ_LEAF_COMMIT, DZ_LEAF_CLOCK_TICK,
                                      DZ_LEAF_FEED_BATCH };
    const uint8_t salt[DZ_LEAF_SALT_BYTES] = { (uint8_t) index };
    dz_leaf_object objects[3] = { { .type = DZ_LEAF_OBJ_COMMIT },
                                  { .type = DZ_LEAF_OBJ_PACK },
                                  { .type = DZ_LEAF_OBJ_REF } };
    char text[40];
    int len = snprintf(text, sizeof text, "text of leaf %" PRIu64, index);
    dz_slice bytes = { (const uint8_t *) text, (size_t) len };
    dz_leaf leaf = { .kind = kinds[index == 0 ? 0 : 1 + (index - 1) % 3],
                     .flags = index == 3,
                     .time_us = 1790000000000000 + (int64_t) index * 3600000000,
                     .objects = objects,
                     .object_count = index % 4,
                     .sealed = { bytes.data, 4 } }; /* stands for sealed bytes: opaque here */

    for (size_t i = 0; i < 3; i++)
        memset(objects[i].name, (int) (16 * (i + 1) + index % 16), sizeof objects[i].name);
    dz_leaf_commit_text(salt, bytes, leaf.commitment);
    return dz_leaf_write(&leaf, to, err);
}

static dz_status grow(struct dz_tlog *log, int tmpfd, const uint8_t secret[64], uint64_t to,
                      dz_err *err) {
    uint64_t from = dz_tlog_head(log).size, first;
    size_t n = to > from ? (size_t) (to - from) : 0;
    dz_autofree dz_slice *entries = calloc(n + 1, sizeof *entries);
    dz_autofree size_t *end = calloc(n + 1, sizeof *end);
    dz_autobuf dz_buf all = { 0 };

    if (!entries || !end)
        return DZ_FAIL(err, DZ_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        DZ_TRY(put_leaf(from + i, &all, err));
        end[i + 1] = all.len;
    }
    for (size_t i = 0; i < n; i++)
        entries[i] = (dz_slice){ all.data + end[i], end[i + 1] - end[i] };
    return n ? dz_tlog_append(log, tmpfd, secret, entries, n, &first, err) : DZ_OK;
}

static dz_status make(int argc, char **argv, dz_err *err) {
    dz_vault_id vault;
    uint8_t seed[32], pub[32], secret[64];
    DZ_AUTO(dz_tlog) log = NULL;
    dz_autoclose int dirfd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char hex[65];

    if (dirfd < 0)
        return DZ_FAIL_ERRNO(err, "opening the directory");
    for (uint8_t i = 0; i < 32; i++)
        seed[i] = i;
    for (uint8_t i = 0; i < sizeof vault.b; i++)
        vault.b[i] = (uint8_t) (0x10 + i);
    (void) crypto_sign_seed_keypair(pub, secret, seed);
    DZ_TRY(dz_tlog_create(dirfd, dirfd, &vault, secret, err));
    DZ_TRY(dz_tlog_open(dirfd, &vault, pub, &log, err));
    for (int i = 2; i < argc; i++)
        DZ_TRY(grow(log, dirfd, secret, strtoull(argv[i], NULL, 10), err));
    dz_hex(pub, sizeof pub, hex);
    return puts(hex) < 0 ? DZ_FAIL(err, DZ_E_IO, "writing") : DZ_OK;
}

int main(int argc, char **argv) {
    dz_err err = { 0 };

    if (argc < 2 || sodium_init() < 0 || make(argc, argv, &err) != DZ_OK) {
        (void) fprintf(stderr, "make_log: %s\n", argc < 2 ? "DIR [SIZE...]" : err.what);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
