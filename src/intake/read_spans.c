#include "intake/read_spans.h"

struct dz_file_reader {
    struct dz_cutter *cutter;
    struct dz_lane *lane;
};

dz_status dz_file_reader_new(const struct dz_chunker *chunker, struct dz_lane *lane,
                             struct dz_file_reader **ret_reader, dz_err *err) {
    DZ_AUTO(dz_file_reader) r = calloc(1, sizeof *r);

    if (!r)
        return DZ_FAIL(err, DZ_E_NOMEM, "file reader: out of memory");
    r->lane = lane;
    DZ_TRY(dz_cutter_new(chunker, &r->cutter, err));
    *ret_reader = DZ_TAKE(r);
    return DZ_OK;
}

void dz_file_reader_free(struct dz_file_reader *r) {
    if (!r)
        return;
    dz_cutter_free(r->cutter);
    free(r);
}

/* A file that is being read, and where its chunks go. */
struct reading {
    int fd;
    const struct dz_extents *x;
    uint64_t at;
    struct dz_lane *lane;
};

static ssize_t read_next(void *ctx, uint8_t *to, size_t room) {
    struct reading *r = ctx;
    ssize_t n = dz_extents_read(r->fd, r->x, r->at, to, room);

    r->at += n > 0 ? (uint64_t) n : 0;
    return n;
}

static dz_status put_chunk(void *ctx, dz_slice bytes, bool incompressible, dz_id *ret_id,
                           dz_err *err) {
    const struct reading *r = ctx;

    return dz_lane_put(r->lane, DZ_KIND_DATA, bytes, incompressible, ret_id, NULL, err);
}

dz_status dz_file_reader_span(struct dz_file_reader *r, int fd, const struct dz_extents *x,
                              uint64_t from, uint64_t len, struct dz_span *ret_span, dz_err *err) {
    struct reading reading = { fd, x, from, r->lane };

    return dz_cutter_span(r->cutter, &(struct dz_cutter_ends){ read_next, put_chunk, &reading },
                          len, ret_span, err);
}
