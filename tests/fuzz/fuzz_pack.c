/* Pack files: what the closed host builds its index from.
 *
 * Properties: accepted rows lie between header and table, ascend without overlap, and count what
 * is there; no row holds more raw bytes than a segment can; the table written again is the very
 * same plaintext.
 *
 * Byte 0 chooses: bit 0 clear, the rest is the whole file; set, bytes 1..4 place the table and the
 * rest is its plaintext, sealed here under the table key. */
#include <sys/mman.h>
#include <unistd.h>

#include "crypto/aead.h"
#include "store/pack.h"
#include "store/segment.h"
#include "tests/fuzz/fuzz_keys.h"

enum { TRAILER = 48, TABLE_AT_MAX = 100 << 20 };

static void put_at(int fd, const void *bytes, size_t len, uint64_t at) {
    MUST(pwrite(fd, bytes, len, (off_t) at) == (ssize_t) len);
}

/* A pack that is sound but for its table.  Gives its size. */
static uint64_t fabricate(int fd, dz_slice plain, uint64_t table_at) {
    uint8_t header[DZ_PACK_HEADER_BYTES] = "DZPACK1\n\1", trailer[TRAILER] = { 7 }, aad[40];
    uint64_t len = plain.len + DZ_AEAD_TAG_BYTES;
    dz_autofree uint8_t *sealed = malloc(len);
    uint8_t key[DZ_KEY_BYTES];

    MUST(sealed);
    memcpy(header + 16, host->vault.b, DZ_VAULT_ID_BYTES);
    memcpy(aad, "dozo pack table ", 16);
    memcpy(aad + 16, host->vault.b, DZ_VAULT_ID_BYTES);
    dz_store_le(aad + 32, 8, table_at);
    dz_key_derive(host->table, "pack table", (dz_slice){ trailer, 16 }, key);
    MUST(dz_aead_seal(key, 0, (dz_slice){ aad, sizeof aad }, plain, sealed, NULL) == DZ_OK);
    dz_store_le(trailer + 16, 8, table_at);
    dz_store_le(trailer + 24, 8, len);
    memcpy(trailer + 40, "DZPEND1\n", 8);
    put_at(fd, header, sizeof header, 0);
    put_at(fd, sealed, len, table_at);
    put_at(fd, trailer, sizeof trailer, table_at + len);
    return table_at + len + sizeof trailer;
}

static void must_be_sound(const dz_pack_table *t, uint64_t table_at) {
    uint64_t at = DZ_PACK_HEADER_BYTES, names = 0;

    for (size_t i = 0; i < t->n_segments; i++) {
        const dz_pack_segment *s = &t->segments[i];
        uint64_t raw = 0;

        MUST(s->offset >= at && s->length >= DZ_SEGMENT_HEADER_BYTES);
        at = (uint64_t) s->offset + s->length;
        MUST(at <= table_at && s->first == names && s->count > 0);
        names += s->count;
        MUST(names <= t->n_names);
        for (uint32_t k = 0; k < s->count; k++)
            raw += t->lengths[s->first + k];
        MUST(raw <= DZ_SEGMENT_RAW_MAX);
    }
    MUST(names == t->n_names);
}

static void must_rewrite(const dz_pack_table *t, dz_slice plain) {
    dz_autobuf dz_buf again = { 0 };

    dz_buf_put_varint(&again, t->n_segments);
    for (size_t i = 0; i < t->n_segments; i++) {
        const dz_pack_segment *s = &t->segments[i];

        dz_buf_put_u8(&again, s->kind);
        dz_buf_put_varint(&again, s->offset);
        dz_buf_put_varint(&again, s->length);
        dz_buf_put_varint(&again, s->count);
        dz_buf_put(&again, t->names + s->first, s->count * sizeof *t->names);
        for (uint32_t k = 0; k < s->count; k++)
            dz_buf_put_varint(&again, t->lengths[s->first + k]);
    }
    MUST(dz_slice_eq(dz_buf_slice(&again), plain));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_reader r = dz_reader_over((dz_slice){ data, size });
    bool fabricated = dz_read_u8(&r) & 1;
    uint64_t table_at = 0, len;
    dz_pack_table t = { 0 };
    static int fd = -1;
    dz_slice rest;

    need_keys();
    if (fabricated)
        table_at = DZ_PACK_HEADER_BYTES + dz_read_le32(&r) % TABLE_AT_MAX;
    if (!dz_reader_ok(&r))
        return 0;
    rest = dz_read_bytes(&r, dz_reader_left(&r));
    if (fd < 0)
        fd = memfd_create("pack", MFD_CLOEXEC);
    MUST(fd >= 0 && ftruncate(fd, 0) == 0);
    len = fabricated ? fabricate(fd, rest, table_at) : rest.len;
    if (!fabricated)
        put_at(fd, rest.data, rest.len, 0);
    if (dz_pack_table_read(fd, len, host, &t, NULL) != DZ_OK)
        return 0;
    MUST(fabricated); /* or AES-GCM is broken */
    must_be_sound(&t, table_at);
    must_rewrite(&t, rest);
    dz_pack_table_release(&t);
    return 0;
}
