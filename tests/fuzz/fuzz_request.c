/* The text of a request, as it comes back from a log that others may have written to.
 *
 * Properties: an accepted text is kept as it came, its name is its hash, it lives within its
 * bounds, and no value in it goes over a line. */
#include "crypto/hash.h"
#include "custody/request.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const dz_slice text = { data, size };
    struct dz_request r = { 0 };
    uint8_t id[DZ_SHA256_BYTES];

    if (dz_request_parse(text, &r, NULL) != DZ_OK)
        return 0;
    MUST(dz_slice_eq(dz_buf_slice(&r.text), text));
    dz_sha256(text, id);
    MUST(memcmp(id, r.id, sizeof id) == 0);
    MUST(r.expires_us > r.created_us && r.expires_us - r.created_us <= DZ_REQUEST_LIFE_MAX_US);
    for (const char *const *field = dz_request_fields(r.kind); *field; field++) {
        dz_slice value = dz_request_value(&r, *field);

        MUST(value.len > 0 && !memchr(value.data, '\n', value.len));
    }
    dz_request_release(&r);
    return 0;
}
