#include "store/node.h"

void dz_node_header_put(dz_buf *to, uint8_t magic) {
    const uint8_t header[DZ_NODE_HEADER] = { magic, DZ_NODE_VERSION, 0, 0 };
    dz_buf_put(to, header, sizeof header);
}

dz_status dz_node_header_read(dz_reader *r, uint8_t magic, dz_err *err) {
    dz_slice h = dz_read_bytes(r, DZ_NODE_HEADER);

    if (h.len == 0 || h.data[0] != magic)
        return DZ_FAIL(err, DZ_E_CORRUPT, "not a node of type '%c'", magic);
    if (h.data[1] != DZ_NODE_VERSION || h.data[3] != 0)
        return DZ_FAIL(err, DZ_E_UNSUPPORTED, "node of version %u with features %#x", h.data[1],
                       h.data[3]);
    return DZ_OK;
}

void dz_inner_item_put(const dz_inner_item *item, dz_slice previous, dz_buf *to) {
    dz_path_encode(item->path, previous, to);
    dz_buf_put(to, item->node.b, sizeof item->node.b);
    dz_buf_put_varint(to, item->entries);
    dz_buf_put_varint(to, item->bytes);
}

void dz_node_done(struct dz_node *n) {
    dz_buf_release(&n->bytes);
    dz_buf_release(&n->path);
}

dz_status dz_node_begin(struct dz_node *n, uint8_t height, dz_err *err) {
    n->r = dz_reader_over(dz_buf_slice(&n->bytes));
    n->height = height;
    n->first = true;
    n->items = 0;
    dz_buf_clear(&n->path);
    if (height == 0)
        return dz_node_header_read(&n->r, DZ_NODE_LEAF, err);
    DZ_TRY(dz_node_header_read(&n->r, DZ_NODE_INNER, err));
    if (dz_read_u8(&n->r) != height)
        return DZ_FAIL(err, DZ_E_CORRUPT, "a node of another height than %u", height);
    return DZ_OK;
}

dz_status dz_leaf_next(struct dz_node *n, dz_entry *ret_entry, dz_err *err) {
    DZ_TRY(dz_entry_decode(&n->r, n->first, &n->path, ret_entry, err));
    n->first = false;
    n->items++;
    return DZ_OK;
}

dz_status dz_inner_next(struct dz_node *n, dz_inner_item *ret_item, dz_err *err) {
    dz_inner_item item = { 0 };
    dz_slice id;

    if (n->items == DZ_INNER_ITEMS_MAX)
        return DZ_FAIL(err, DZ_E_CORRUPT, "more than %d children", DZ_INNER_ITEMS_MAX);
    DZ_TRY(dz_path_decode(&n->r, n->first, &n->path, err));
    id = dz_read_bytes(&n->r, sizeof item.node.b);
    item.path = dz_buf_slice(&n->path);
    item.entries = dz_read_varint(&n->r);
    item.bytes = dz_read_varint(&n->r);
    if (!dz_reader_ok(&n->r))
        return DZ_FAIL(err, DZ_E_CORRUPT, "an item that does not fit");
    if (item.entries == 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "a child without entries");
    memcpy(item.node.b, id.data, sizeof item.node.b);
    n->first = false;
    n->items++;
    *ret_item = item;
    return DZ_OK;
}

dz_status dz_node_check(struct dz_node *n, uint8_t height, dz_node_sum *ret_sum, dz_err *err) {
    dz_node_sum sum = { 0 };

    DZ_TRY(dz_node_begin(n, height, err));
    while (dz_node_more(n)) {
        if (height == 0) {
            dz_entry e;
            DZ_TRY(dz_leaf_next(n, &e, err));
            sum.entries++;
            sum.bytes = dz_sum_sizes(sum.bytes, e.size);
        } else {
            dz_inner_item item;
            DZ_TRY(dz_inner_next(n, &item, err));
            if (__builtin_add_overflow(sum.entries, item.entries, &sum.entries))
                return DZ_FAIL(err, DZ_E_CORRUPT, "more entries than can be counted");
            sum.bytes = dz_sum_sizes(sum.bytes, item.bytes);
        }
    }
    if (height > 0 && n->items == 0)
        return DZ_FAIL(err, DZ_E_CORRUPT, "an inner node without children");
    DZ_TRY(dz_node_begin(n, height, err));
    *ret_sum = sum;
    return DZ_OK;
}
