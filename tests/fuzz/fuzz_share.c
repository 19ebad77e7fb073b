/* What custodians type, scan and hand in.
 *
 * Properties: an accepted text says the same when it is written and read again, as letters, file
 * and QR text.  Any numbers in a share survive the way through letters, or are refused.  Shares
 * that the vault did not give out never open it. */
#include "crypto/share.h"
#include "tests/fuzz/fuzz.h"

static struct dz_host_keys *host;

static void start(void) {
    /* no root that shares of a few bytes could come to by chance: { 1 } was found in minutes */
    const uint8_t root[DZ_ROOT_BYTES] = { 0x9e, 0x37, 0x79, 0xb9, 0x7f, 0x4a, 0x7c, 0x15,
                                          0xf3, 0x9c, 0xc0, 0x60, 0x5c, 0xed, 0xc8, 0x34,
                                          0x10, 0x82, 0x27, 0x6b, 0xf3, 0xa2, 0x72, 0x51,
                                          0xf8, 0x6c, 0x6a, 0x11, 0xd0, 0xc1, 0x8e, 0x95 };
    const dz_vault_id id = { { 1 } };

    if (!host)
        MUST(dz_crypto_init(NULL) == DZ_OK &&
             dz_keys_derive(root, &id, 1, &host, NULL, NULL) == DZ_OK);
}

static bool same(const dz_share *a, const dz_share *b) {
    uint8_t x[32], y[32];

    dz_share_commitment(a, x);
    dz_share_commitment(b, y);
    return memcmp(x, y, sizeof x) == 0;
}

static void write_and_read(const dz_share *s) {
    char letters[DZ_SHARE_LETTERS + 1];
    dz_autobuf dz_buf file = { 0 };
    dz_autobuf dz_buf qr = { 0 };
    dz_share again;

    dz_share_letters(s, letters);
    MUST(dz_share_read((dz_slice){ (uint8_t *) letters, DZ_SHARE_LETTERS }, &again, NULL) ==
             DZ_OK &&
         same(s, &again));
    MUST(dz_share_write(s, "0123-4567-89ab-cdef", &file, NULL) == DZ_OK);
    MUST(dz_share_read(dz_buf_slice(&file), &again, NULL) == DZ_OK && same(s, &again));
    MUST(dz_share_write_qr(s, &qr, NULL) == DZ_OK);
    MUST(dz_share_read(dz_buf_slice(&qr), &again, NULL) == DZ_OK && same(s, &again));
}

static dz_share share_of(dz_reader *r) {
    dz_share s = { .vault = host->vault, .epoch = 1 };
    uint8_t ways = dz_read_u8(r);
    dz_slice y;

    if (ways & 1)
        s.vault.b[0] = dz_read_u8(r);
    if (ways & 2)
        s.epoch = dz_read_le32(r);
    s.set[0] = dz_read_u8(r);
    s.x = dz_read_u8(r);
    s.threshold = dz_read_u8(r);
    s.count = dz_read_u8(r);
    y = dz_read_bytes(r, ways & 4 ? sizeof s.y : 1);
    if (y.len > 0)
        memcpy(s.y, y.data, y.len);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_reader r = dz_reader_over((dz_slice){ data, size });
    uint8_t commitments[4 * 32] = { 0 }, root[DZ_ROOT_BYTES];
    dz_share shares[8], read;
    size_t n = 0;

    start();
    if (dz_share_read((dz_slice){ data, size }, &read, NULL) == DZ_OK)
        write_and_read(&read);

    while (n < 8 && dz_reader_left(&r) > 0)
        shares[n++] = share_of(&r);
    for (size_t i = 0; i < n; i++) {
        const dz_share *s = &shares[i];
        char letters[DZ_SHARE_LETTERS + 1];

        dz_share_letters(s, letters);
        MUST((dz_share_read((dz_slice){ (uint8_t *) letters, DZ_SHARE_LETTERS }, &read, NULL) ==
              DZ_OK) == (s->epoch >= 1 && s->threshold >= 2 && s->threshold <= s->count &&
                         s->x >= 1 && s->x <= s->count));
    }
    MUST(dz_share_combine(shares, n, host, NULL, 0, root, NULL, NULL) != DZ_OK);
    MUST(dz_share_combine(shares, n, host, commitments, 4, root, NULL, NULL) != DZ_OK);
    return 0;
}
