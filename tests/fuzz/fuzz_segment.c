/* Segments: what lies in packs, and where compressed bytes of others meet zstd.
 *
 * Properties: objects of an accepted segment lie one after the other inside its raw bytes and fill
 * them; memory stays within the limits of raw bytes, whatever a frame promises; bytes that were
 * not compressed come out as they went in; the closed vault opens kind REF alone.
 *
 * Byte 0 chooses.  0: the rest is a whole segment.  Else it is fabricated under known keys: byte 1
 * kind, bytes 2..3 length of the directory, directory, payload.  1: payload sealed as it is;
 * 2: compressed first; 3: a frame of as many zeros as its first 4 bytes say (a bomb). */
#include <zstd.h>

#include "crypto/aead.h"
#include "crypto/recipient.h"
#include "store/segment.h"
#include "tests/fuzz/fuzz_keys.h"

enum { ZEROS_MAX = 20 << 20 }; /* more than a segment may hold */

static void put_sealed(dz_buf *to, const uint8_t key[DZ_KEY_BYTES], const uint8_t *id, uint8_t kind,
                       uint8_t number, dz_slice plain) {
    uint8_t aad[53] = "dozo segment v1 ", *out = dz_buf_extend(to, plain.len + DZ_AEAD_TAG_BYTES);

    memcpy(aad + 16, host->vault.b, DZ_VAULT_ID_BYTES);
    memcpy(aad + 32, id, DZ_SEGMENT_ID_BYTES);
    aad[48] = kind;
    aad[49] = number;
    MUST(out &&
         dz_aead_seal(key, number, (dz_slice){ aad, sizeof aad }, plain, out, NULL) == DZ_OK);
}

static void fabricate(dz_buf *to, uint8_t kind, dz_slice directory, dz_slice payload) {
    const uint8_t id[DZ_SEGMENT_ID_BYTES] = "segment number 1";
    const dz_slice context = { id, sizeof id };
    uint8_t head[DZ_SEGMENT_HEADER_BYTES] = "DZSG\1", key[DZ_KEY_BYTES];

    head[5] = kind;
    memcpy(head + 16, id, sizeof id);
    dz_buf_put(to, head, sizeof head);
    MUST((kind == DZ_KIND_REF ? dz_recipient_seal_host(host, context, to, key, NULL)
                              : dz_recipient_seal(host, context, to, key, NULL)) == DZ_OK);
    dz_buf_put_le32(to, (uint32_t) directory.len + DZ_AEAD_TAG_BYTES);
    put_sealed(to, key, id, kind, 0, directory);
    put_sealed(to, key, id, kind, 1, payload);
    dz_store_le(to->data + 8, 4, to->len);
}

/* What mode 2 and 3 seal as payload. */
static dz_slice compressed(uint8_t mode, dz_slice payload, dz_buf *to) {
    dz_autofree uint8_t *zeros = NULL;
    size_t bound, n;

    if (mode == 3) {
        dz_reader r = dz_reader_over(payload);
        payload.len = dz_read_le32(&r) % ZEROS_MAX;
        payload.data = zeros = calloc(1, payload.len + 1);
        MUST(zeros);
    }
    bound = ZSTD_compressBound(payload.len);
    MUST(dz_buf_extend(to, bound));
    n = ZSTD_compress(to->data, bound, payload.data, payload.len, 1);
    MUST(!ZSTD_isError(n));
    return (dz_slice){ to->data, n };
}

static void must_be_sound(const struct dz_segment *seg) {
    size_t at = 0;

    MUST(seg->count > 0 && seg->count <= DZ_SEGMENT_OBJECTS_MAX);
    MUST(seg->raw.len <= DZ_SEGMENT_RAW_MAX && seg->raw.cap <= 2 * DZ_SEGMENT_RAW_MAX);
    for (uint32_t i = 0; i < seg->count; i++) {
        dz_slice o = dz_segment_object(seg, i);
        MUST(o.data == seg->raw.data + at && o.len <= seg->raw.len - at);
        at += o.len;
    }
    MUST(at == seg->raw.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_reader r = dz_reader_over((dz_slice){ data, size });
    uint8_t mode = dz_read_u8(&r) & 3;
    dz_autobuf dz_buf sealed = { 0 }, frame = { 0 };
    static struct dz_coder *coder;
    struct dz_segment seg = { 0 };
    dz_slice directory, payload;
    dz_segment_head head;
    uint8_t kind = 0;

    need_keys();
    MUST(coder || dz_coder_new(&coder, NULL) == DZ_OK);
    if (mode == 0) {
        payload = dz_read_bytes(&r, dz_reader_left(&r));
        dz_buf_put_slice(&sealed, payload);
    } else {
        kind = dz_read_u8(&r);
        directory = dz_read_bytes(&r, dz_read_le16(&r));
        payload = dz_read_bytes(&r, dz_reader_left(&r));
        if (!dz_reader_ok(&r))
            return 0;
        fabricate(&sealed, kind, directory,
                  mode == 1 ? payload : compressed(mode, payload, &frame));
    }
    if (dz_segment_open(coder, host, open_keys, dz_buf_slice(&sealed), &seg, NULL) != DZ_OK)
        return 0;
    MUST(mode != 0); /* or AES-GCM is broken */
    must_be_sound(&seg);
    MUST(dz_segment_peek(dz_buf_slice(&sealed), &head, NULL) == DZ_OK && head.kind == kind &&
         head.length == sealed.len && seg.kind == kind);
    if (directory.data[0] == (mode == 2 ? DZ_CODEC_ZSTD : DZ_CODEC_NONE) && mode != 3)
        MUST(dz_slice_eq(dz_buf_slice(&seg.raw), payload));
    dz_segment_release(&seg);
    MUST(dz_segment_open(coder, host, NULL, dz_buf_slice(&sealed), &seg, NULL) ==
         (kind == DZ_KIND_REF ? DZ_OK : DZ_E_CLOSED));
    dz_segment_release(&seg);
    return 0;
}
