/* A path cache: a file that anybody on the vault's host may have edited.
 *
 * Property: a look-up misses, or gives a value whose record (its own nonce over it, and it under
 * the key) stands in the file; so nothing but a record made under that very key is ever used.
 *
 * The file is the input; bits of its byte 63, which is reserved, mend it first.  Bit 0: magic,
 * version, sizes that fit, a list of packs that are there.  Bit 1: the first L bytes of records
 * (L in bytes 56..57) are taken for a value and sealed under key 0, whose slot then names them. */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/os.h"
#include "crypto/hash.h"
#include "intake/path_cache.h"
#include "tests/fuzz/fuzz_keys.h"

enum { HEADER = 64, SLOT = 16, PACK = 8, NONCE = 16, LENGTH_AT = 56, MODE_AT = 63, KEYS = 3 };

static int file = -1, packs = -1;
static struct dz_path_key keys[KEYS];

/* The cache's file is the input, and no pack was found damaged. */
static int open_file(int dirfd, const char *name, int flags, mode_t mode) {
    if (strncmp(name, "path-", 5) == 0)
        return fcntl(file, F_DUPFD_CLOEXEC, 0);
    return dz_os_real.openat(dirfd, name, flags, mode);
}

static char path[] = "/tmp/dozo-fuzz-XXXXXX", name[65];

static void drop_packs(void) {
    (void) unlinkat(packs, name, AT_REMOVEDIR);
    (void) rmdir(path);
}

/* A directory with one pack, whose name is 32 zero bytes. */
static void make_packs(void) {
    MUST(mkdtemp(path));
    packs = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    memset(name, '0', 64);
    MUST(packs >= 0 && mkdirat(packs, name, 0700) == 0);
    MUST(atexit(drop_packs) == 0);
}

static void set_up(void) {
    static struct dz_os os;
    uint8_t context[DZ_KEY_BYTES];

    need_keys();
    os = dz_os_real;
    os.openat = open_file;
    dz_os = &os;
    dz_path_context(host, "source", context);
    for (uint64_t i = 0; i < KEYS; i++) {
        const struct stat st = { .st_size = (off_t) i };
        dz_path_key(context, DZ_SLICE_LIT("home/file"), 1, &st, &keys[i]);
    }
    make_packs();
    file = memfd_create("path cache", MFD_CLOEXEC);
    MUST(file >= 0);
}

/* The record that holds this value under this key. */
static void make_record(const struct dz_path_key *key, dz_slice value, uint8_t *to) {
    MUST(crypto_generichash(to, NONCE, value.data, value.len, key->mac, sizeof key->mac) == 0);
    MUST(crypto_stream_chacha20_ietf_xor(to + NONCE, value.data, value.len, to, key->cipher) == 0);
}

static void mend(uint8_t *b, size_t size) {
    uint64_t slots = dz_load_le(b + 32, 8) % 16 + 1, n_packs = b[40] & 1, records, first;
    size_t tail = (size_t) (slots * SLOT + n_packs * PACK);
    size_t len = (size_t) dz_load_le(b + LENGTH_AT, 2);
    uint8_t value[65536], hash[DZ_SHA256_BYTES], *slot, *list = b + size - n_packs * PACK;

    if (size < HEADER + tail)
        return;
    records = size - HEADER - tail;
    memcpy(b, "DZPATH1\n\1\0", 10);
    dz_store_le(b + 24, 8, records);
    dz_store_le(b + 32, 8, slots);
    dz_store_le(b + 40, 8, n_packs);
    memset(list, 0, n_packs * PACK);
    dz_sha256((dz_slice){ list, n_packs * PACK }, hash);
    memcpy(b + 48, hash, 8);
    if (!(b[MODE_AT] & 2) || len + NONCE > records)
        return;
    memcpy(value, b + HEADER, len);
    make_record(&keys[0], (dz_slice){ value, len }, b + HEADER);
    first = (uint64_t) (((unsigned __int128) dz_load_le(keys[0].tag, 8) * slots) >> 64);
    slot = b + HEADER + records + first * SLOT;
    memcpy(slot, keys[0].tag, 8);
    dz_store_le(slot + 8, 8, (uint64_t) (len + NONCE) << 40);
}

static void must_stand_there(const struct dz_path_key *key, const dz_buf *value, const uint8_t *b,
                             size_t size) {
    dz_autofree uint8_t *record = malloc(value->len + NONCE);

    MUST(record);
    make_record(key, dz_buf_slice(value), record);
    MUST(memmem(b, size, record, value->len + NONCE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_autofree uint8_t *b = malloc(size ? size : 1);
    struct dz_path_window window = { 0 };
    DZ_AUTO(dz_path_cache) cache = NULL;
    struct dz_vault vault = { .cachefd = -1, .packsfd = -1 };

    if (file < 0)
        set_up();
    MUST(b);
    if (size)
        memcpy(b, data, size);
    if (size > HEADER && (b[MODE_AT] & 1))
        mend(b, size);
    MUST(ftruncate(file, 0) == 0 && pwrite(file, b, size, 0) == (ssize_t) size);
    vault.host = host;
    vault.packsfd = vault.cachefd = packs;
    MUST(dz_path_cache_open(&vault, "source", &cache, NULL) == DZ_OK);
    for (size_t i = 0; i < KEYS; i++) {
        dz_autobuf dz_buf value = { 0 };

        if (dz_path_cache_get(cache, &keys[i], &window, &value))
            must_stand_there(&keys[i], &value, b, size);
        else
            MUST(value.len == 0);
    }
    dz_buf_release(&window.bytes);
    return 0;
}
