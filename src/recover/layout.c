#include "recover/layout.h"

bool dz_layout_fits(const dz_entry *e, uint64_t content, uint64_t *ret_size) {
    bool sparse = dz_entry_field(e, DZ_TAG_EXTENTS).data != NULL;
    uint64_t bytes;

    *ret_size = sparse ? e->size : content;
    if (*ret_size > INT64_MAX)
        return false;
    if (!sparse)
        return content == e->size || (e->flags & DZ_ENTRY_CHANGED);
    return dz_entry_content_bytes(e, &bytes) && bytes == content;
}

dz_layout dz_layout_begin(dz_slice extents, uint64_t size) {
    return (dz_layout){ .extents = dz_reader_over(extents),
                        .sparse = extents.data != NULL,
                        .left = extents.data ? 0 : size };
}

void dz_layout_align(dz_slice extents, uint32_t block, dz_buf *to, uint64_t *ret_data) {
    dz_layout l = dz_layout_begin(extents, 0);
    uint64_t end = 0;           /* of what was put */
    uint64_t from = 0, len = 0; /* the run that is being gathered */

    *ret_data = 0;
    while (dz_layout_step(&l)) {
        uint64_t whole = len + (block - len % block) % block;

        if (len > 0 && l.at <= from + whole) {
            len = l.at + l.left - from;
        } else {
            if (len > 0) {
                dz_buf_put_varint(to, from - end);
                dz_buf_put_varint(to, whole);
                end = from + whole;
                *ret_data += whole;
            }
            from = l.at;
            len = l.left;
        }
        dz_layout_take(&l, l.left);
    }
    if (len > 0) {
        dz_buf_put_varint(to, from - end);
        dz_buf_put_varint(to, len);
        *ret_data += len;
    }
}

bool dz_layout_step(dz_layout *l) {
    while (l->left == 0 && l->sparse && dz_reader_left(&l->extents) > 0) {
        l->at += dz_read_varint(&l->extents);
        l->left = dz_read_varint(&l->extents);
    }
    return l->left > 0;
}
