/* A checkpoint may come from a printout, a witness, or a vault directory that somebody planted.
 *
 * Properties: a note that parses is exactly its text, a newline and its lines, and the lines are
 * made of the parts that were read; a checkpoint text of three lines has one spelling; what the
 * log's reader accepts carries a signature line. */
#include "crypto/note.h"
#include "store/checkpoint.h"
#include "tests/fuzz/fuzz.h"

static void same_lines(const dz_note *note) {
    dz_autobuf dz_buf again = { 0 };

    for (size_t i = 0; i < note->line_count; i++) {
        dz_buf_put(&again, "\xe2\x80\x94 ", 4);
        dz_buf_put_slice(&again, note->line[i].name);
        dz_buf_put_u8(&again, ' ');
        dz_buf_put_slice(&again, note->line[i].base64);
        dz_buf_put_u8(&again, '\n');
    }
    MUST(!dz_buf_ok(&again) || dz_slice_eq(dz_buf_slice(&again), note->lines));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const dz_vault_id vault = { { 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19,
                                         0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f } };
    static const uint8_t public_key[32] = { 1 };
    dz_slice bytes = { data, size }, origin;
    dz_checkpoint head, ours;
    dz_note note;
    bool accepted = dz_checkpoint_read(bytes, &vault, public_key, &ours, NULL) == DZ_OK;

    if (dz_note_parse(bytes, &note, NULL) != DZ_OK) {
        MUST(!accepted);
        return 0;
    }
    MUST(note.line_count > 0 && note.line_count <= DZ_NOTE_SIGNATURES_MAX);
    MUST(note.text.data == data && note.text.len + 1 + note.lines.len == size);
    MUST(data[note.text.len - 1] == '\n' && data[note.text.len] == '\n');
    same_lines(&note);
    if (dz_checkpoint_parse_text(note.text, &origin, &head, NULL) == DZ_OK) {
        dz_autobuf dz_buf again = { 0 };

        MUST(head.size <= DZ_LOG_SIZE_MAX);
        dz_checkpoint_write_text(origin, &head, &again);
        if (dz_buf_ok(&again)) { /* extension lines may follow */
            MUST(again.len <= note.text.len);
            MUST(memcmp(again.data, note.text.data, again.len) == 0);
        }
    } else {
        MUST(!accepted);
    }
    return 0;
}
