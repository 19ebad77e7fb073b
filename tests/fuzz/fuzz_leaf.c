/* Leaves are read from a log that somebody may have written.
 *
 * Property: a leaf that is accepted lies inside the input, keeps the limits, and is written back
 * as the very same bytes. */
#include "store/leaf.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_autobuf dz_buf again = { 0 };
    dz_leaf leaf;

    if (dz_leaf_read((dz_slice){ data, size }, &leaf, NULL) != DZ_OK)
        return 0;
    MUST(size <= DZ_LEAF_MAX && leaf.object_count <= DZ_LEAF_OBJECTS_MAX);
    MUST(leaf.sealed.len <= DZ_LEAF_TEXT_MAX && leaf.kind != 0);
    MUST(dz_leaf_kind_name(leaf.kind) != NULL);
    MUST(dz_leaf_write(&leaf, &again, NULL) == DZ_OK || !dz_buf_ok(&again));
    if (dz_buf_ok(&again))
        MUST(dz_slice_eq(dz_buf_slice(&again), (dz_slice){ data, size }));
    return 0;
}
