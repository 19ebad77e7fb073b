/* Every format of ours is read through dz_reader.
 *
 * Property: a stream of varints, zigzag numbers and fields that reads to its end without `bad`
 * is written back by dz_buf as the very same bytes: one value has one spelling. */
#include "core/buf.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_reader r = dz_reader_over((dz_slice){ data, size });
    dz_autobuf dz_buf again = { 0 };
    unsigned turn = 0;

    while (dz_reader_left(&r) > 0 && dz_reader_ok(&r)) {
        switch (turn++ % 3) {
        case 0:
            dz_buf_put_varint(&again, dz_read_varint(&r));
            break;
        case 1:
            dz_buf_put_svarint(&again, dz_read_svarint(&r));
            break;
        default:
            dz_buf_put_field(&again, dz_read_field(&r));
            break;
        }
    }
    if (dz_reader_done(&r) && dz_buf_ok(&again))
        MUST(dz_slice_eq(dz_buf_slice(&again), (dz_slice){ data, size }));
    return 0;
}
