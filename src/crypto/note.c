#include "crypto/note.h"

#include <sodium.h>

#include "core/utf8.h"
#include "crypto/base64.h"
#include "crypto/hash.h"

static const char EM_DASH[] = "\xe2\x80\x94 "; /* U+2014 and the space behind it */
enum { EM_DASH_LEN = sizeof EM_DASH - 1, SIGNATURE_MAX = 8 * 1024 };

static bool is_space(uint32_t point) { /* Unicode White_Space */
    return point <= 0x20 || point == 0x85 || point == 0xa0 || point == 0x1680 ||
           (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
           point == 0x202f || point == 0x205f || point == 0x3000;
}

static bool name_is_good(dz_slice name) {
    dz_reader r = dz_reader_over(name);
    uint32_t point;

    if (name.len == 0 || name.len > DZ_NOTE_NAME_MAX)
        return false;
    while (dz_reader_left(&r) > 0)
        if (!dz_utf8_take(&r, &point) || is_space(point) || point == '+')
            return false;
    return true;
}

uint32_t dz_note_key_id(dz_slice name, enum dz_note_type type, const uint8_t public_key[32]) {
    const uint8_t mid[2] = { '\n', (uint8_t) type };
    const dz_slice parts[] = { name, { mid, sizeof mid }, { public_key, 32 } };
    uint8_t hash[DZ_SHA256_BYTES];

    dz_sha256v(parts, 3, hash);
    return (uint32_t) hash[0] << 24 | (uint32_t) hash[1] << 16 | (uint32_t) hash[2] << 8 | hash[3];
}

dz_status dz_note_sign(dz_slice text, dz_slice name, const uint8_t secret_key[64], dz_buf *to,
                       dz_err *err) {
    uint8_t sig[4 + crypto_sign_BYTES];
    char base64[sodium_base64_ENCODED_LEN(sizeof sig, sodium_base64_VARIANT_ORIGINAL)];
    uint32_t id = dz_note_key_id(name, DZ_NOTE_ED25519, secret_key + 32);

    if (text.len == 0 || text.len > DZ_NOTE_MAX / 2 || text.data[text.len - 1] != '\n' ||
        !dz_utf8_clean(text, true))
        return DZ_FAIL(err, DZ_E_USAGE, "note: the text is not lines of UTF-8, at most %d bytes",
                       DZ_NOTE_MAX / 2);
    if (!name_is_good(name))
        return DZ_FAIL(err, DZ_E_USAGE, "note: not a key name");
    for (unsigned i = 0; i < 4; i++)
        sig[i] = (uint8_t) (id >> (24 - 8 * i));
    (void) crypto_sign_detached(sig + 4, NULL, text.data, text.len, secret_key);
    (void) sodium_bin2base64(base64, sizeof base64, sig, sizeof sig,
                             sodium_base64_VARIANT_ORIGINAL);
    dz_buf_put_slice(to, text);
    dz_buf_printf(to, "\n%s", EM_DASH);
    dz_buf_put_slice(to, name);
    dz_buf_printf(to, " %s\n", base64);
    if (!dz_buf_ok(to))
        return DZ_FAIL(err, DZ_E_NOMEM, "note: out of memory");
    return DZ_OK;
}

static bool parse_line(dz_slice bytes, dz_note_line *ret_line) {
    dz_reader r = dz_reader_over(bytes);
    dz_slice dash = dz_read_bytes(&r, EM_DASH_LEN);
    dz_slice name = dz_read_until(&r, ' ');
    dz_slice base64 = dz_read_bytes(&r, dz_reader_left(&r));
    uint8_t sig[SIGNATURE_MAX];
    size_t len;

    if (!dz_reader_ok(&r) || memcmp(dash.data, EM_DASH, EM_DASH_LEN) != 0 || !name_is_good(name))
        return false;
    len = dz_base64_decode(base64, sig, sizeof sig);
    if (len <= 4)
        return false;
    *ret_line = (dz_note_line){ .name = name,
                                .base64 = base64,
                                .key_id = (uint32_t) sig[0] << 24 | (uint32_t) sig[1] << 16 |
                                          (uint32_t) sig[2] << 8 | sig[3] };
    return true;
}

dz_status dz_note_parse(dz_slice bytes, dz_note *ret_note, dz_err *err) {
    size_t split = 0;
    dz_reader r;

    if (bytes.len > DZ_NOTE_MAX)
        return DZ_FAIL(err, DZ_E_LIMIT, "note: %zu bytes, the limit is %d", bytes.len, DZ_NOTE_MAX);
    if (!dz_utf8_clean(bytes, true))
        return DZ_FAIL(err, DZ_E_MALFORMED, "note: not UTF-8, or control characters");
    for (size_t i = 1; i < bytes.len; i++) /* the text may hold empty lines: the last one counts */
        if (bytes.data[i] == '\n' && bytes.data[i - 1] == '\n')
            split = i;
    if (split == 0 || split + 1 == bytes.len)
        return DZ_FAIL(err, DZ_E_MALFORMED, "note: no signature lines");
    ret_note->text = (dz_slice){ bytes.data, split };
    ret_note->lines = (dz_slice){ bytes.data + split + 1, bytes.len - split - 1 };
    ret_note->line_count = 0;
    r = dz_reader_over(ret_note->lines);
    while (dz_reader_left(&r) > 0) {
        dz_slice line = dz_read_until(&r, '\n');

        if (ret_note->line_count == DZ_NOTE_SIGNATURES_MAX)
            return DZ_FAIL(err, DZ_E_LIMIT, "note: more than %d signature lines",
                           DZ_NOTE_SIGNATURES_MAX);
        if (!dz_reader_ok(&r) || !parse_line(line, &ret_note->line[ret_note->line_count]))
            return DZ_FAIL(err, DZ_E_MALFORMED, "note: signature line %zu is malformed",
                           ret_note->line_count + 1);
        ret_note->line_count++;
    }
    return DZ_OK;
}

dz_status dz_note_verify(const dz_note *note, dz_slice name, const uint8_t public_key[32],
                         dz_err *err) {
    uint32_t id = dz_note_key_id(name, DZ_NOTE_ED25519, public_key);
    bool found = false;

    for (size_t i = 0; i < note->line_count; i++) {
        const dz_note_line *l = &note->line[i];
        uint8_t sig[4 + crypto_sign_BYTES];

        if (l->key_id != id || !dz_slice_eq(l->name, name))
            continue;
        if (dz_base64_decode(l->base64, sig, sizeof sig) != sizeof sig ||
            crypto_sign_verify_detached(sig + 4, note->text.data, note->text.len, public_key) != 0)
            return DZ_FAIL(err, DZ_E_CORRUPT, "note: signature line %zu does not verify", i + 1);
        found = true;
    }
    if (!found)
        return DZ_FAIL(err, DZ_E_CORRUPT, "note: not signed by the expected key (id %08x)", id);
    return DZ_OK;
}
