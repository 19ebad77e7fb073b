#include "store/checkpoint.h"

#include <inttypes.h>
#include <sodium.h>

#include "core/hex.h"
#include "crypto/base64.h"
#include "crypto/note.h"

enum { ROOT_TEXT = sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL) /* with NUL */ };

void dz_log_origin(const dz_vault_id *vault, char ret_text[DZ_ORIGIN_TEXT]) {
    memcpy(ret_text, "dozo.vault/", 11);
    dz_hex(vault->b, sizeof vault->b, ret_text + 11);
}

void dz_checkpoint_write_text(dz_slice origin, const dz_checkpoint *head, dz_buf *to) {
    char root[ROOT_TEXT];

    (void) sodium_bin2base64(root, sizeof root, head->root.b, sizeof head->root.b,
                             sodium_base64_VARIANT_ORIGINAL);
    dz_buf_put_slice(to, origin);
    dz_buf_printf(to, "\n%" PRIu64 "\n%s\n", head->size, root);
}

dz_status dz_checkpoint_write(const dz_checkpoint *head, const dz_vault_id *vault,
                              const uint8_t log_secret[64], dz_buf *to, dz_err *err) {
    dz_autobuf dz_buf text = { 0 };
    char origin[DZ_ORIGIN_TEXT];
    dz_slice name = { (const uint8_t *) origin, DZ_ORIGIN_TEXT - 1 };

    dz_log_origin(vault, origin);
    dz_checkpoint_write_text(name, head, &text);
    if (!dz_buf_ok(&text))
        return DZ_FAIL(err, DZ_E_NOMEM, "checkpoint: out of memory");
    return dz_note_sign(dz_buf_slice(&text), name, log_secret, to, err);
}

static bool parse_size(dz_slice s, uint64_t *ret_size) {
    uint64_t v = 0;

    if (s.len == 0 || s.len > 13 || (s.len > 1 && s.data[0] == '0')) /* 2^40 has 13 digits */
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        v = v * 10 + (uint64_t) (s.data[i] - '0');
    }
    *ret_size = v;
    return v <= DZ_LOG_SIZE_MAX;
}

dz_status dz_checkpoint_parse_text(dz_slice text, dz_slice *ret_origin, dz_checkpoint *ret_head,
                                   dz_err *err) {
    dz_reader r = dz_reader_over(text);
    dz_slice origin = dz_read_until(&r, '\n');
    dz_slice size = dz_read_until(&r, '\n');
    dz_slice root = dz_read_until(&r, '\n');
    dz_checkpoint head;

    if (!dz_reader_ok(&r) || origin.len == 0)
        return DZ_FAIL(err, DZ_E_MALFORMED, "checkpoint: fewer than three lines");
    while (dz_reader_left(&r) > 0)
        if (dz_read_until(&r, '\n').len == 0)
            return DZ_FAIL(err, DZ_E_MALFORMED, "checkpoint: an empty extension line");
    if (!parse_size(size, &head.size))
        return DZ_FAIL(err, DZ_E_MALFORMED, "checkpoint: the tree size is not a number up to 2^40");
    if (dz_base64_decode(root, head.root.b, sizeof head.root.b) != sizeof head.root.b)
        return DZ_FAIL(err, DZ_E_MALFORMED, "checkpoint: the root is not 32 bytes in base64");
    *ret_origin = origin;
    *ret_head = head;
    return DZ_OK;
}

dz_status dz_checkpoint_read(dz_slice note, const dz_vault_id *vault, const uint8_t log_public[32],
                             dz_checkpoint *ret_head, dz_err *err) {
    char name[DZ_ORIGIN_TEXT];
    dz_slice want = { (const uint8_t *) name, DZ_ORIGIN_TEXT - 1 }, origin;
    dz_checkpoint head;
    dz_note parsed;

    dz_log_origin(vault, name);
    DZ_TRY(dz_note_parse(note, &parsed, err));
    DZ_TRY(dz_note_verify(&parsed, want, log_public, err));
    DZ_TRY(dz_checkpoint_parse_text(parsed.text, &origin, &head, err));
    if (!dz_slice_eq(origin, want))
        return DZ_FAIL(err, DZ_E_CORRUPT, "checkpoint: of another log");
    *ret_head = head;
    return DZ_OK;
}
