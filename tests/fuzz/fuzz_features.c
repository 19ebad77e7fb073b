/* The feature record, and the bytes it is made from.
 *
 * Properties: a record of our version that is accepted is written back as the same bytes; and a
 * file taken in two spans and odd slices gives the record of the file taken at once. */
#include "core/buf.h"
#include "guard/features.h"
#include "tests/fuzz/fuzz.h"

static void reads_back(dz_slice input) {
    dz_reader r = dz_reader_over(input);
    dz_autobuf dz_buf again = { 0 };
    dz_feature_record record;

    if (dz_feature_record_read(&r, &record, NULL) != DZ_OK)
        return;
    dz_feature_record_put(&again, &record);
    if (input.data[0] == DZ_FEATURE_VERSION && dz_buf_ok(&again))
        MUST(dz_slice_eq(dz_buf_slice(&again),
                         (dz_slice){ input.data, input.len - dz_reader_left(&r) }));
}

static void spans_agree(dz_slice input) {
    static struct dz_features whole, first, second;
    dz_autobuf dz_buf a = { 0 };
    dz_autobuf dz_buf b = { 0 };
    dz_feature_record record;
    size_t cut, slice;

    if (input.len < 2)
        return;
    cut = input.data[0] * (size_t) DZ_FEATURE_BLOCK;
    slice = 1 + 8 * (size_t) input.data[1];
    if (cut > input.len)
        cut = input.len / DZ_FEATURE_BLOCK * DZ_FEATURE_BLOCK;

    dz_features_init(&whole);
    dz_features_update(&whole, input);
    dz_features_finish(&whole, DZ_SLICE_LIT("a.txt"), NULL, &record);
    dz_feature_record_put(&a, &record);

    dz_features_init(&first);
    dz_features_update(&first, (dz_slice){ input.data, cut });
    dz_features_init(&second);
    for (size_t at = cut; at < input.len; at += slice)
        dz_features_update(&second, (dz_slice){ input.data + at,
                                                slice < input.len - at ? slice : input.len - at });
    dz_features_merge(&first, &second);
    dz_features_finish(&first, DZ_SLICE_LIT("a.txt"), NULL, &record);
    dz_feature_record_put(&b, &record);
    if (dz_buf_ok(&a) && dz_buf_ok(&b))
        MUST(dz_slice_eq(dz_buf_slice(&a), dz_buf_slice(&b)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    reads_back((dz_slice){ data, size });
    spans_agree((dz_slice){ data, size });
    return 0;
}
