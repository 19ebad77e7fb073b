#include "intake/cut.h"

enum { READ_BYTES = 1 << 20 /* at a time: what the second-level cache holds */ };

struct dz_cutter {
    const struct dz_chunker *chunker;
    uint8_t *buffer; /* READ_BYTES and the largest chunk */
    size_t max;
};

dz_status dz_cutter_new(const struct dz_chunker *chunker, struct dz_cutter **ret_cutter,
                        dz_err *err) {
    struct dz_cutter *c = calloc(1, sizeof *c);

    if (c) {
        c->chunker = chunker;
        c->max = dz_chunker_params(chunker).max;
        c->buffer = malloc(READ_BYTES + c->max);
    }
    if (!c || !c->buffer) {
        free(c);
        return DZ_FAIL(err, DZ_E_NOMEM, "cutting: out of memory");
    }
    *ret_cutter = c;
    return DZ_OK;
}

void dz_cutter_free(struct dz_cutter *c) {
    if (!c)
        return;
    free(c->buffer);
    free(c);
}

static dz_status take_chunk(const struct dz_cutter_ends *ends, dz_slice bytes, struct dz_span *span,
                            dz_err *err) {
    dz_id id;

    dz_features_update(&span->features, bytes);
    DZ_TRY(ends->put(ends->ctx, bytes, dz_features_last_incompressible(&span->features), &id, err));
    dz_buf_put(&span->chunks, id.b, sizeof id.b);
    dz_buf_put_le32(&span->chunks, (uint32_t) bytes.len);
    return dz_buf_ok(&span->chunks) ? DZ_OK : DZ_FAIL(err, DZ_E_NOMEM, "chunk list: out of memory");
}

dz_status dz_cutter_span(struct dz_cutter *c, const struct dz_cutter_ends *ends, uint64_t len,
                         struct dz_span *ret_span, dz_err *err) {
    size_t have = 0, used = 0;
    bool ended = len == 0;

    dz_buf_clear(&ret_span->chunks);
    dz_features_init(&ret_span->features);
    ret_span->read = 0;
    ret_span->failed = 0;
    while (!ended || used < have) {
        size_t cut;

        while (!ended && have - used < c->max) {
            size_t want = READ_BYTES + c->max - have;
            ssize_t n;

            if (used > 0) { /* once per buffer: move what is left to the front */
                memmove(c->buffer, c->buffer + used, have - used);
                have -= used;
                used = 0;
                want = READ_BYTES + c->max - have;
            }
            if (want > len - ret_span->read)
                want = (size_t) (len - ret_span->read);
            n = ends->read(ends->ctx, c->buffer + have, want);
            if (n < 0)
                ret_span->failed = errno;
            else
                ret_span->read += (uint64_t) n;
            have += n > 0 ? (size_t) n : 0;
            ended = n <= 0 || ret_span->read == len;
        }
        cut = dz_chunker_next(c->chunker, c->buffer + used, have - used, ended);
        if (cut == 0)
            break;
        DZ_TRY(take_chunk(ends, (dz_slice){ c->buffer + used, cut }, ret_span, err));
        used += cut;
    }
    return DZ_OK;
}

void dz_span_identity(const struct dz_span *span, struct dz_hasher *h) {
    for (size_t at = 0; at < span->chunks.len; at += 36)
        dz_hasher_update(h, (dz_slice){ span->chunks.data + at, DZ_SHA256_BYTES });
}

dz_status dz_span_put(const struct dz_span *span, struct dz_content_builder *content, dz_err *err) {
    dz_reader r = dz_reader_over(dz_buf_slice(&span->chunks));

    while (dz_reader_left(&r) > 0) {
        dz_id id;
        memcpy(id.b, dz_read_bytes(&r, sizeof id.b).data, sizeof id.b);
        DZ_TRY(dz_content_builder_add(content, &id, dz_read_le32(&r), err));
    }
    return DZ_OK;
}
