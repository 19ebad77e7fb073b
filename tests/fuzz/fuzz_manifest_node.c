/* Manifest nodes, leaves and inner ones: what an opened vault reads of its own, or of a forger's.
 *
 * Property: a node that is read to its end is written again as the very same bytes, its entries
 * pass the check that a scan's entries must pass, and its paths strictly ascend. */
#include "store/node.h"
#include "tests/fuzz/fuzz.h"

static void must_ascend(bool first, dz_slice previous, dz_slice path) {
    MUST(dz_path_ok(path));
    MUST(first || dz_path_cmp(previous, path) < 0);
}

/* Writes all items again behind the header; false when one of them was refused. */
static bool rewrite(struct dz_node *n, dz_buf *to) {
    dz_autobuf dz_buf previous = { 0 };

    for (bool first = true; dz_node_more(n); first = false) {
        dz_inner_item item = { 0 };
        dz_entry e = { 0 };

        if (n->height > 0) {
            if (dz_inner_next(n, &item, NULL) != DZ_OK)
                return false;
            must_ascend(first, dz_buf_slice(&previous), item.path);
            dz_inner_item_put(&item, dz_buf_slice(&previous), to);
        } else {
            if (dz_leaf_next(n, &e, NULL) != DZ_OK)
                return false;
            MUST(dz_entry_check(&e, NULL) == DZ_OK);
            must_ascend(first, dz_buf_slice(&previous), e.path);
            dz_entry_encode(&e, dz_buf_slice(&previous), to);
        }
        dz_buf_clear(&previous);
        dz_buf_put_slice(&previous, dz_buf_slice(&n->path));
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t height = size > DZ_NODE_HEADER && data[0] == DZ_NODE_INNER ? data[DZ_NODE_HEADER] : 0;
    DZ_CLEANUP(dz_node_done) struct dz_node n = { 0 };
    dz_autobuf dz_buf again = { 0 };
    dz_node_sum sum;
    bool whole, rewritten;

    dz_buf_put(&n.bytes, data, size);
    whole = dz_node_check(&n, height, &sum, NULL) == DZ_OK;
    if (dz_node_begin(&n, height, NULL) != DZ_OK)
        return 0;
    MUST(!whole || sum.entries >= n.items);
    dz_buf_put(&again, data, size - dz_reader_left(&n.r));
    rewritten = rewrite(&n, &again);
    MUST(rewritten || !whole);
    if (rewritten) /* sums may still be refused; the bytes are the same */
        MUST(dz_slice_eq(dz_buf_slice(&again), (dz_slice){ data, size }));
    return 0;
}
