/* A path cache: a file that anybody on the vault's host may have edited.
 *
 * Property: a look-up misses, or gives a value whose record (its own nonce over it, and it under
 * the key) stands in the file; so nothing but a record made under that very key is ever used.
 *
 * The file is the input; bits of its byte 63, which is reserved, mend it first.  Bit 0: magic,
 * version, and sizes that fit.  Bit 1: the first L bytes of records (L in bytes 40..41) are taken
 * for a value and sealed under key 0, and key 0's slot points to them. */
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/os.h"
#include "intake/path_cache.h"
#include "tests/fuzz/fuzz_keys.h"

enum { HEADER = 64, SLOT = 16, NONCE = 16, LENGTH_AT = 40, MODE_AT = 63, KEYS = 3 };

static int file = -1;
static struct dz_path_key keys[KEYS];

/* Whatever the cache opens is the input. */
static int open_file(int dirfd, const char *name, int flags, mode_t mode) {
    (void) dirfd, (void) name, (void) flags, (void) mode;
    return fcntl(file, F_DUPFD_CLOEXEC, 0);
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
    file = memfd_create("path cache", MFD_CLOEXEC);
    MUST(file >= 0);
}

/* The record that holds this value under this key. */
static void make_record(const struct dz_path_key *key, dz_slice value, uint8_t *to) {
    MUST(crypto_generichash(to, NONCE, value.data, value.len, key->mac, sizeof key->mac) == 0);
    MUST(crypto_stream_chacha20_ietf_xor(to + NONCE, value.data, value.len, to, key->cipher) == 0);
}

static void mend(uint8_t *b, size_t size) {
    uint64_t slots = dz_load_le(b + 32, 8) % 16 + 1, records, first;
    size_t len = (size_t) dz_load_le(b + LENGTH_AT, 2);
    uint8_t value[65536], *slot;

    if (size < HEADER + slots * SLOT)
        return;
    records = size - HEADER - slots * SLOT;
    memcpy(b, "DZPATH1\n\1\0", 10);
    dz_store_le(b + 24, 8, records);
    dz_store_le(b + 32, 8, slots);
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
    struct dz_vault vault = { .cachefd = -1 };

    if (file < 0)
        set_up();
    MUST(b);
    if (size)
        memcpy(b, data, size);
    if (size > HEADER && (b[MODE_AT] & 1))
        mend(b, size);
    MUST(ftruncate(file, 0) == 0 && pwrite(file, b, size, 0) == (ssize_t) size);
    vault.host = host;
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
