/* What dozod's locked up process may send to the one that starts programs.
 *
 * Property: what is accepted is written again as the same bytes, and its texts are clean lines. */
#include "core/utf8.h"
#include "daemon/message.h"
#include "tests/fuzz/fuzz.h"

static bool clean(const char *text) {
    return dz_utf8_plain((dz_slice){ (const uint8_t *) text, strlen(text) });
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_autobuf dz_buf bytes = { 0 };
    dz_message m = { 0 };

    if (dz_message_read((dz_slice){ data, size }, &m, NULL) != DZ_OK)
        return 0;
    dz_message_write(&m, &bytes);
    MUST(dz_buf_ok(&bytes) && dz_slice_eq(dz_buf_slice(&bytes), (dz_slice){ data, size }));
    MUST(clean(m.source) && clean(m.detail));
    MUST(m.kind != DZ_MESSAGE_TELL || dz_event_name(m.event));
    return 0;
}
