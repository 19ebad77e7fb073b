#include "store/segment.h"

#include <zstd.h>

#include "crypto/aead.h"
#include "crypto/recipient.h"

/* Header, 32 bytes: magic "DZSG", version, kind, feature bits (none yet), length, reserved, id. */
static const uint8_t magic[4] = { 'D', 'Z', 'S', 'G' };
enum { VERSION = 1, DIRECTORY_MESSAGE = 0, PAYLOAD_MESSAGE = 1, DIRECTORY_MAX = 6 + 4 * 65536 };

struct dz_coder {
    ZSTD_CCtx *cctx;
    ZSTD_DCtx *dctx;
    dz_buf scratch; /* compressed or decrypted payload */
};

dz_status dz_coder_new(struct dz_coder **ret_coder, dz_err *err) {
    DZ_AUTO(dz_coder) c = calloc(1, sizeof *c);

    if (c) {
        c->cctx = ZSTD_createCCtx();
        c->dctx = ZSTD_createDCtx();
    }
    if (!c || !c->cctx || !c->dctx)
        return DZ_FAIL(err, DZ_E_NOMEM, "compression state: out of memory");
    *ret_coder = DZ_TAKE(c);
    return DZ_OK;
}

void dz_coder_free(struct dz_coder *c) {
    if (!c)
        return;
    (void) ZSTD_freeCCtx(c->cctx);
    (void) ZSTD_freeDCtx(c->dctx);
    dz_buf_release(&c->scratch);
    free(c);
}

/* Associated data of message `number`: what the segment is, and nothing of where it lies. */
enum { AAD_BYTES = 16 + DZ_VAULT_ID_BYTES + DZ_SEGMENT_ID_BYTES + 1 + 4 };
static dz_slice aad_of(uint8_t room[AAD_BYTES], const dz_vault_id *vault, const uint8_t *id,
                       uint8_t kind, uint32_t number) {
    memcpy(room, "dozo segment v1 ", 16);
    memcpy(room + 16, vault->b, DZ_VAULT_ID_BYTES);
    memcpy(room + 32, id, DZ_SEGMENT_ID_BYTES);
    room[48] = kind;
    dz_store_le(room + 49, 4, number);
    return (dz_slice){ room, AAD_BYTES };
}

static dz_status put_sealed(const uint8_t key[DZ_KEY_BYTES], uint32_t number, dz_slice aad,
                            dz_slice plain, dz_buf *to, dz_err *err) {
    uint8_t *out = dz_buf_extend(to, plain.len + DZ_AEAD_TAG_BYTES);

    if (!out)
        return DZ_FAIL(err, DZ_E_NOMEM, "sealing %zu bytes: out of memory", plain.len);
    return dz_aead_seal(key, number, aad, plain, out, err);
}

/* Compresses into the coder's scratch.  Gives the raw bytes back where that saves nothing. */
static enum dz_codec compress(struct dz_coder *c, dz_slice raw, int level, dz_slice *ret_payload) {
    size_t bound = ZSTD_compressBound(raw.len), n;
    uint8_t *to;

    *ret_payload = raw;
    if (level == 0)
        return DZ_CODEC_NONE;
    dz_buf_clear(&c->scratch);
    to = dz_buf_extend(&c->scratch, bound);
    if (!to)
        return DZ_CODEC_NONE; /* stored as it is: larger, not lost */
    n = ZSTD_compressCCtx(c->cctx, to, bound, raw.data, raw.len, level);
    if (ZSTD_isError(n) || n >= raw.len)
        return DZ_CODEC_NONE;
    *ret_payload = (dz_slice){ to, n };
    return DZ_CODEC_ZSTD;
}

dz_status dz_segment_seal(struct dz_coder *c, const struct dz_host_keys *host, enum dz_kind kind,
                          dz_slice raw, const uint32_t *lengths, size_t n, int level, dz_buf *to,
                          dz_err *err) {
    uint8_t id[DZ_SEGMENT_ID_BYTES], key[DZ_KEY_BYTES], room[AAD_BYTES];
    dz_autobuf dz_buf directory = { 0 };
    size_t start = to->len;
    dz_slice payload;
    dz_status s;

    if (raw.len > DZ_SEGMENT_RAW_MAX || n == 0 || n > DZ_SEGMENT_OBJECTS_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "segment of %zu objects, %zu bytes: limits are %d and %d",
                       n, raw.len, DZ_SEGMENT_OBJECTS_MAX, DZ_SEGMENT_RAW_MAX);
    dz_random(id, sizeof id);

    dz_buf_put_u8(&directory, (uint8_t) compress(c, raw, level, &payload));
    dz_buf_put_le32(&directory, (uint32_t) raw.len);
    dz_buf_put_varint(&directory, n);
    for (size_t i = 0; i < n; i++)
        dz_buf_put_varint(&directory, lengths[i]);

    dz_buf_put(to, magic, sizeof magic);
    dz_buf_put_u8(to, VERSION);
    dz_buf_put_u8(to, (uint8_t) kind);
    dz_buf_put_le16(to, 0);
    dz_buf_put_le32(to, 0); /* the length, known below */
    dz_buf_put_le32(to, 0);
    dz_buf_put(to, id, sizeof id);
    s = kind == DZ_KIND_REF
            ? dz_recipient_seal_host(host, (dz_slice){ id, sizeof id }, to, key, err)
            : dz_recipient_seal(host, (dz_slice){ id, sizeof id }, to, key, err);
    if (s == DZ_OK) {
        dz_buf_put_le32(to, (uint32_t) (directory.len + DZ_AEAD_TAG_BYTES));
        s = put_sealed(key, DIRECTORY_MESSAGE,
                       aad_of(room, &host->vault, id, (uint8_t) kind, DIRECTORY_MESSAGE),
                       dz_buf_slice(&directory), to, err);
    }
    if (s == DZ_OK)
        s = put_sealed(key, PAYLOAD_MESSAGE,
                       aad_of(room, &host->vault, id, (uint8_t) kind, PAYLOAD_MESSAGE), payload, to,
                       err);
    explicit_bzero(key, sizeof key);
    if (s == DZ_OK && (!dz_buf_ok(to) || !dz_buf_ok(&directory)))
        s = DZ_FAIL(err, DZ_E_NOMEM, "sealing a segment: out of memory");
    if (s != DZ_OK) {
        to->len = start;
        return s;
    }
    dz_store_le(to->data + start + 8, 4, to->len - start);
    return DZ_OK;
}

dz_status dz_segment_peek(dz_slice bytes, dz_segment_head *ret_head, dz_err *err) {
    dz_reader r = dz_reader_over(bytes);
    dz_slice m = dz_read_bytes(&r, sizeof magic), id;
    uint8_t version = dz_read_u8(&r), kind = dz_read_u8(&r);
    uint16_t features = dz_read_le16(&r);
    uint32_t length = dz_read_le32(&r);

    (void) dz_read_le32(&r);
    id = dz_read_bytes(&r, DZ_SEGMENT_ID_BYTES);
    if (!dz_reader_ok(&r) || memcmp(m.data, magic, sizeof magic) != 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "not a segment");
    if (version != VERSION || features != 0)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED,
                       "segment version %u, features %#x: a newer dozo wrote it", version,
                       features);
    if (length < DZ_SEGMENT_HEADER_BYTES || length > DZ_SEGMENT_SEALED_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "segment of %u bytes: limit is %d", length,
                       DZ_SEGMENT_SEALED_MAX);
    ret_head->kind = kind;
    ret_head->length = length;
    memcpy(ret_head->id, id.data, DZ_SEGMENT_ID_BYTES);
    return DZ_OK;
}

void dz_segment_release(struct dz_segment *s) {
    free(s->ends);
    dz_buf_release(&s->raw);
    *s = (struct dz_segment){ 0 };
}

dz_slice dz_segment_object(const struct dz_segment *s, uint32_t slot) {
    uint32_t from = slot ? s->ends[slot - 1] : 0;
    return (dz_slice){ s->raw.data + from, s->ends[slot] - from };
}

/* The directory: codec, raw length, lengths of the objects.  They must add up. */
static dz_status read_directory(dz_slice directory, struct dz_segment *seg,
                                enum dz_codec *ret_codec, uint32_t *ret_raw_len, dz_err *err) {
    dz_reader r = dz_reader_over(directory);
    uint8_t codec = dz_read_u8(&r);
    uint32_t raw_len = dz_read_le32(&r);
    uint64_t n = dz_read_varint(&r), sum = 0;

    if (!dz_reader_ok(&r) || n == 0 || n > DZ_SEGMENT_OBJECTS_MAX || raw_len > DZ_SEGMENT_RAW_MAX)
        return DZ_FAIL(err, DZ_E_CORRUPT,
                       "segment directory: %llu objects, %u bytes over the limits",
                       (unsigned long long) n, raw_len);
    if (codec != DZ_CODEC_NONE && codec != DZ_CODEC_ZSTD)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "segment codec %u: a newer dozo wrote it", codec);
    seg->ends = calloc(n, sizeof *seg->ends);
    if (!seg->ends)
        return DZ_FAIL(err, DZ_E_NOMEM, "segment directory: out of memory");
    for (uint64_t i = 0; i < n; i++) {
        uint64_t length = dz_read_varint(&r);
        if (length > raw_len - sum)
            return DZ_FAIL(err, DZ_E_CORRUPT, "segment directory: lengths exceed %u bytes",
                           raw_len);
        sum += length;
        seg->ends[i] = (uint32_t) sum;
    }
    if (!dz_reader_done(&r) || sum != raw_len)
        return DZ_FAIL(err, DZ_E_CORRUPT, "segment directory: lengths do not add up to %u bytes",
                       raw_len);
    seg->count = (uint32_t) n;
    *ret_codec = (enum dz_codec) codec;
    *ret_raw_len = raw_len;
    return DZ_OK;
}

/* Decrypts `sealed` as the numbered message into `to`, which is cleared first. */
static dz_status get_sealed(const uint8_t key[DZ_KEY_BYTES], uint32_t number, dz_slice aad,
                            dz_slice sealed, dz_buf *to, dz_err *err) {
    uint8_t *out;

    dz_buf_clear(to);
    if (sealed.len < DZ_AEAD_TAG_BYTES)
        return DZ_FAIL(err, DZ_E_CORRUPT, "segment: cut short");
    out = dz_buf_extend(to, sealed.len - DZ_AEAD_TAG_BYTES);
    if (!out)
        return DZ_FAIL(err, DZ_E_NOMEM, "opening a segment of %zu bytes: out of memory",
                       sealed.len);
    return dz_aead_open(key, number, aad, sealed, out, err);
}

static dz_status open_with_key(struct dz_coder *c, const dz_vault_id *vault,
                               const dz_segment_head *head, const uint8_t key[DZ_KEY_BYTES],
                               dz_reader *r, struct dz_segment *seg, dz_err *err) {
    uint32_t directory_len = dz_read_le32(r), raw_len = 0;
    dz_slice directory, payload;
    enum dz_codec codec = DZ_CODEC_NONE;
    uint8_t room[AAD_BYTES], *to;
    size_t n;

    if (directory_len > DIRECTORY_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "segment directory of %u bytes: limit is %d", directory_len,
                       DIRECTORY_MAX);
    directory = dz_read_bytes(r, directory_len);
    payload = dz_read_bytes(r, dz_reader_left(r));
    if (!dz_reader_ok(r))
        return DZ_FAIL(err, DZ_E_CORRUPT, "segment: cut short");

    DZ_TRY(get_sealed(key, DIRECTORY_MESSAGE,
                      aad_of(room, vault, head->id, head->kind, DIRECTORY_MESSAGE), directory,
                      &c->scratch, err));
    DZ_TRY(read_directory(dz_buf_slice(&c->scratch), seg, &codec, &raw_len, err));
    (void) aad_of(room, vault, head->id, head->kind, PAYLOAD_MESSAGE);
    if (codec == DZ_CODEC_NONE) {
        if (payload.len != (size_t) raw_len + DZ_AEAD_TAG_BYTES)
            return DZ_FAIL(err, DZ_E_CORRUPT, "segment: %zu bytes of payload for %u raw",
                           payload.len, raw_len);
        return get_sealed(key, PAYLOAD_MESSAGE, (dz_slice){ room, AAD_BYTES }, payload, &seg->raw,
                          err);
    }
    DZ_TRY(
        get_sealed(key, PAYLOAD_MESSAGE, (dz_slice){ room, AAD_BYTES }, payload, &c->scratch, err));
    to = dz_buf_extend(&seg->raw, raw_len);
    if (!to)
        return DZ_FAIL(err, DZ_E_NOMEM, "segment of %u bytes: out of memory", raw_len);
    n = ZSTD_decompressDCtx(c->dctx, to, raw_len, c->scratch.data, c->scratch.len);
    if (ZSTD_isError(n) || n != raw_len)
        return DZ_FAIL(err, DZ_E_CORRUPT, "segment: decompression gave %s, not %u bytes",
                       ZSTD_isError(n) ? ZSTD_getErrorName(n) : "another length", raw_len);
    return DZ_OK;
}

dz_status dz_segment_open(struct dz_coder *c, const struct dz_host_keys *host,
                          const struct dz_open_keys *open, dz_slice sealed,
                          struct dz_segment *ret_segment, dz_err *err) {
    struct dz_segment seg = { 0 };
    uint8_t key[DZ_KEY_BYTES];
    dz_segment_head head;
    dz_reader r;
    dz_status s;

    DZ_TRY(dz_segment_peek(sealed, &head, err));
    if (head.length != sealed.len)
        return DZ_FAIL(err, DZ_E_CORRUPT, "segment says %u bytes, has %zu", head.length,
                       sealed.len);
    r = dz_reader_over(sealed);
    (void) dz_read_bytes(&r, DZ_SEGMENT_HEADER_BYTES);
    DZ_TRY(dz_recipient_open(host, open, (dz_slice){ head.id, sizeof head.id }, &r, key, err));
    seg.kind = head.kind;
    s = open_with_key(c, &host->vault, &head, key, &r, &seg, err);
    explicit_bzero(key, sizeof key);
    if (s != DZ_OK) {
        dz_segment_release(&seg);
        return s;
    }
    *ret_segment = seg;
    return DZ_OK;
}
