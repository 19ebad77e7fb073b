/* Content fields and content lists.
 *
 * Property: a list that is accepted is written again as the very same bytes and covers the sum of
 * its items; a reader started anywhere in an accepted field of chunks gives spans without a gap,
 * the first of which holds the offset, to the end. */
#include "store/content.h"
#include "store/node.h"
#include "tests/fuzz/fuzz.h"

static dz_status nothing(void *ctx, enum dz_kind kind, const dz_id *id, dz_buf *ret_bytes,
                         dz_err *err) {
    (void) ctx, (void) kind, (void) id, (void) ret_bytes;
    return DZ_FAIL(err, DZ_E_NOT_FOUND, "nothing is kept here");
}

static void must_rewrite(dz_content_list list, dz_slice header, dz_slice bytes) {
    dz_autobuf dz_buf again = { 0 };
    dz_content_item item;
    uint64_t sum = 0;
    uint32_t count = 0;

    dz_buf_put_slice(&again, header);
    dz_buf_put_varint(&again, list.depth);
    dz_buf_put_varint(&again, list.count);
    while (dz_content_list_next(&list, &item)) {
        dz_buf_put_varint(&again, item.bytes);
        dz_buf_put(&again, item.id.b, sizeof item.id.b);
        if (list.depth > 0)
            dz_buf_put(&again, item.ref.b, sizeof item.ref.b);
        sum += item.bytes;
        count++;
    }
    MUST(sum == list.bytes && count == list.count);
    MUST(dz_slice_eq(dz_buf_slice(&again), bytes));
}

static void must_read(dz_slice field, uint64_t size, uint64_t offset) {
    const struct dz_source source = { .get = nothing };
    DZ_AUTO(dz_content_reader) r = NULL;
    dz_content_span span;
    uint64_t at = offset;
    bool end = false;

    if (dz_content_reader_new(&source, &r, NULL) != DZ_OK)
        return;
    MUST(dz_content_reader_start(r, field, offset, NULL) == DZ_OK);
    MUST(dz_content_reader_size(r) == size);
    for (;;) {
        MUST(dz_content_reader_next(r, &span, &end, NULL) == DZ_OK);
        if (end)
            break;
        MUST(at == offset ? span.offset <= at && at - span.offset < span.length
                          : span.offset == at);
        at = span.offset + span.length;
    }
    MUST(at == (offset < size ? size : offset));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_slice all = { data, size };
    dz_content_list list;

    if (dz_content_list_read(all, &list, NULL) == DZ_OK)
        must_rewrite(list, (dz_slice){ data, DZ_NODE_HEADER }, all);
    if (dz_content_field_read(all, &list, NULL) == DZ_OK) {
        must_rewrite(list, (dz_slice){ 0 }, all);
        if (list.depth == 0) {
            must_read(all, list.bytes, 0);
            must_read(all, list.bytes, list.bytes / 2);
            must_read(all, list.bytes, list.bytes);
        }
    }
    return 0;
}
