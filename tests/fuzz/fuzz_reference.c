/* Reference nodes: what the closed host reads, and prune deletes by.
 *
 * Property: an accepted node, taken apart and put together again in reverse, is the same bytes. */
#include "store/node.h"
#include "store/reftree.h"
#include "tests/fuzz/fuzz.h"

static dz_status keep(void *ctx, enum dz_kind kind, dz_slice bytes, dz_id *ret_id, dz_err *err) {
    (void) ret_id, (void) err;
    MUST(kind == DZ_KIND_REF && bytes.len <= DZ_OBJECT_MAX);
    dz_buf_put_slice(ctx, bytes);
    return DZ_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    DZ_CLEANUP(dz_refnode_builder_done) struct dz_refnode_builder b = { 0 };
    dz_autobuf dz_buf again = { 0 };
    const struct dz_sink sink = { .put = keep, .ctx = &again };
    dz_refnode node;
    dz_id id;

    if (dz_refnode_read((dz_slice){ data, size }, &node, NULL) != DZ_OK)
        return 0;
    for (size_t at = node.names.len; at > 0; at -= DZ_NAME_BYTES) {
        dz_name name;
        memcpy(name.b, node.names.data + at - DZ_NAME_BYTES, DZ_NAME_BYTES);
        dz_refnode_add_name(&b, &name);
    }
    for (size_t at = node.children.len; at > 0; at -= DZ_SHA256_BYTES) {
        dz_id child;
        memcpy(child.b, node.children.data + at - DZ_SHA256_BYTES, DZ_SHA256_BYTES);
        dz_refnode_add_child(&b, &child);
    }
    MUST(dz_refnode_put(&b, &sink, &id, NULL) == DZ_OK);
    MUST(again.len == size);
    /* The compatible bits are the writer's. */
    MUST(memcmp(again.data, data, 2) == 0);
    MUST(memcmp(again.data + DZ_NODE_HEADER, data + DZ_NODE_HEADER, size - DZ_NODE_HEADER) == 0);
    return 0;
}
