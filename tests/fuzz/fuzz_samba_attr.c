/* The text of a security descriptor is made of what a file server says.
 *
 * Properties: what is accepted becomes a descriptor whose parts lie one after the other, whose
 * permissions end where their list ends, and which Linux can hold; otherwise nothing is written. */
#include "intake/samba_attr.h"
#include "tests/fuzz/fuzz.h"

/* A SID ends inside; gives where. */
static size_t sid_end(dz_slice b, size_t at) {
    MUST(at + 8 <= b.len);
    MUST(b.data[at] == 1 && b.data[at + 1] <= 15);
    at += 8 + 4 * (size_t) b.data[at + 1];
    MUST(at <= b.len);
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dz_autobuf dz_buf to = { 0 };
    dz_slice b;
    size_t at, end;
    unsigned count;

    if (dz_samba_put_acl(&to, (dz_slice){ data, size }, NULL) != DZ_OK) {
        MUST(to.len == 0);
        return 0;
    }
    b = dz_buf_slice(&to);
    MUST(b.len >= 36 && b.len <= DZ_SAMBA_VALUE_MAX);
    at = 28;
    for (unsigned i = 0; i < 2; i++) { /* owner, group */
        size_t said = (size_t) dz_load_le(b.data + 12 + 4 * i, 4);
        MUST(said == 0 || said == at);
        if (said)
            at = sid_end(b, at);
    }
    MUST(dz_load_le(b.data + 20, 4) == 0 && dz_load_le(b.data + 24, 4) == at);
    MUST(at + 8 <= b.len);
    end = at + (size_t) dz_load_le(b.data + at + 2, 2);
    count = (unsigned) dz_load_le(b.data + at + 4, 2);
    MUST(end == b.len);
    for (at += 8; count > 0; count--) {
        size_t next = sid_end(b, at + 8);
        MUST(b.data[at] <= 1 && next == at + (size_t) dz_load_le(b.data + at + 2, 2));
        at = next;
    }
    MUST(at == end);
    return 0;
}
