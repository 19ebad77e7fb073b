/* cache/expected: dozo status reads it of any vault it is pointed at.
 *
 * Property: what is accepted can be written, reads again as the same, and gives times at once. */
#include "daemon/expected.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    DZ_CLEANUP(dz_expected_release) struct dz_expected e = { 0 }, again = { 0 };
    dz_autobuf dz_buf text = { 0 };

    if (dz_expected_read((dz_slice){ data, size }, &e, NULL) != DZ_OK)
        return 0;
    MUST(e.zone && dz_expected_write(&e, &text, NULL) == DZ_OK);
    MUST(dz_expected_read(dz_buf_slice(&text), &again, NULL) == DZ_OK);
    MUST(again.n == e.n && strcmp(again.zone, e.zone) == 0);
    for (size_t i = 0; i < e.n; i++) {
        int64_t due = dz_expected_due(&e.list[i], INT64_MIN);

        MUST(strcmp(e.list[i].name, again.list[i].name) == 0);
        MUST(dz_expected_same(&e.list[i], &again.list[i]));
        MUST(e.list[i].since_us == again.list[i].since_us);
        MUST(e.list[i].late_after_us == again.list[i].late_after_us);
        MUST(due > e.list[i].since_us);
        MUST(dz_expected_late(&e.list[i], INT64_MIN) >= due);
    }
    return 0;
}
