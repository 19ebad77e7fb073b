/* Notes by others verify here, ours keep to the format, and what is not a note is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <sodium.h>

#include "crypto/note.h"

#define DASH "\xe2\x80\x94 "
#define SIG \
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="

/* The example of Go's note package: same format, another implementation. */
static const char TEXT[] = "If you think cryptography is the answer to your problem,\n"
                           "then you don't know what your problem is.\n";
#define NAME "PeterNeumann"
static const char KEY[] = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"; /* type, public key */

static uint8_t their_key[33];

static int decode_key(void **state) {
    size_t len = 0;

    (void) state;
    if (sodium_init() < 0 ||
        sodium_base642bin(their_key, sizeof their_key, KEY, sizeof KEY - 1, NULL, &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0)
        return -1;
    return len == sizeof their_key ? 0 : -1;
}

static void their_note_verifies(void **state) {
    char bytes[512];
    dz_note note;
    int n = snprintf(bytes, sizeof bytes, "%s\n" DASH NAME " " SIG "\n", TEXT);

    (void) state;
    assert_int_equal(dz_note_key_id(DZ_SLICE_LIT(NAME), DZ_NOTE_ED25519, their_key + 1),
                     0xc74f20a3);
    assert_int_equal(dz_note_parse((dz_slice){ (uint8_t *) bytes, (size_t) n }, &note, NULL),
                     DZ_OK);
    assert_true(dz_slice_eq(note.text, (dz_slice){ (const uint8_t *) TEXT, sizeof TEXT - 1 }));
    assert_int_equal(note.line_count, 1);
    assert_int_equal(note.line[0].key_id, 0xc74f20a3);
    assert_int_equal(dz_note_verify(&note, DZ_SLICE_LIT(NAME), their_key + 1, NULL), DZ_OK);
    assert_int_equal(dz_note_verify(&note, DZ_SLICE_LIT("PeterNeuman"), their_key + 1, NULL),
                     DZ_E_CORRUPT);
    bytes[3] ^= 1;
    assert_int_equal(dz_note_verify(&note, DZ_SLICE_LIT(NAME), their_key + 1, NULL), DZ_E_CORRUPT);
}

static const struct {
    const char *name;
    const char *bytes;
    dz_status status;
    size_t lines;
} rows[] = {
    { "nothing", "", DZ_E_MALFORMED, 0 },
    { "text only", "a\n", DZ_E_MALFORMED, 0 },
    { "no signature behind the blank line", "a\n\n", DZ_E_MALFORMED, 0 },
    { "no blank line", "a\n" DASH "n AAAAAAA=\n", DZ_E_MALFORMED, 0 },
    { "one line", "a\n\n" DASH "n AAAAAAA=\n", DZ_OK, 1 },
    { "empty lines in the text", "a\n\nb\n\n" DASH "n AAAAAAA=\n", DZ_OK, 1 },
    { "two lines by unknown keys", "a\n\n" DASH "n AAAAAAA=\n" DASH "m AAAAAAA=\n", DZ_OK, 2 },
    { "a name in Japanese", "a\n\n" DASH "\xe8\x94\xb5 AAAAAAA=\n", DZ_OK, 1 },
    { "no newline at the end", "a\n\n" DASH "n AAAAAAA=", DZ_E_MALFORMED, 0 },
    { "a hyphen for the dash", "a\n\n- n AAAAAAA=\n", DZ_E_MALFORMED, 0 },
    { "no name", "a\n\n" DASH " AAAAAAA=\n", DZ_E_MALFORMED, 0 },
    { "a plus in the name", "a\n\n" DASH "n+m AAAAAAA=\n", DZ_E_MALFORMED, 0 },
    { "an ideographic space in the name", "a\n\n" DASH "n\xe3\x80\x80m AAAAAAA=\n", DZ_E_MALFORMED,
      0 },
    { "a key id and no signature", "a\n\n" DASH "n AAAAAA==\n", DZ_E_MALFORMED, 0 },
    { "base64 without padding", "a\n\n" DASH "n AAAAAAA\n", DZ_E_MALFORMED, 0 },
    { "base64 with spare bits", "a\n\n" DASH "n AAAAAAB=\n", DZ_E_MALFORMED, 0 },
    { "base64 with a letter of another script",
      "a\n\n" DASH "n AAA\xe2\x94\x80"
      "AAAAAA=\n",
      DZ_E_MALFORMED, 0 },
    { "something behind the signature", "a\n\n" DASH "n AAAAAAA= x\n", DZ_E_MALFORMED, 0 },
    { "a carriage return", "a\r\n\n" DASH "n AAAAAAA=\n", DZ_E_MALFORMED, 0 },
    { "a tab", "a\tb\n\n" DASH "n AAAAAAA=\n", DZ_E_MALFORMED, 0 },
    { "a stray continuation byte", "a\x80\n\n" DASH "n AAAAAAA=\n", DZ_E_MALFORMED, 0 },
    { "an overlong slash", "a\xc0\xaf\n\n" DASH "n AAAAAAA=\n", DZ_E_MALFORMED, 0 },
    { "an overlong three-byte form", "a\xe0\x80\xaf\n\n" DASH "n AAAAAAA=\n", DZ_E_MALFORMED, 0 },
    { "a surrogate", "a\xed\xa0\x80\n\n" DASH "n AAAAAAA=\n", DZ_E_MALFORMED, 0 },
    { "beyond Unicode", "a\xf4\x90\x80\x80\n\n" DASH "n AAAAAAA=\n", DZ_E_MALFORMED, 0 },
};

static void forms_are_told_apart(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dz_note note = { 0 };
        dz_status s = dz_note_parse(
            (dz_slice){ (const uint8_t *) rows[i].bytes, strlen(rows[i].bytes) }, &note, NULL);

        if (s != rows[i].status || (s == DZ_OK && note.line_count != rows[i].lines))
            fail_msg("%s: %s", rows[i].name, dz_status_name(s));
    }
}

static void other_lines_are_kept_and_prove_nothing(void **state) {
    const dz_slice name = DZ_SLICE_LIT("dozo.vault/00"), text = DZ_SLICE_LIT("a\n\nb\n");
    const uint8_t seed[32] = { 7 };
    dz_autobuf dz_buf b = { 0 };
    uint8_t pub[32], sec[64], other[32] = { 9 };
    dz_note note;

    (void) state;
    (void) crypto_sign_seed_keypair(pub, sec, seed);
    assert_int_equal(dz_note_sign(text, name, sec, &b, NULL), DZ_OK);
    for (unsigned i = 0; i < 20; i++) /* witnesses; the same name with another key too */
        dz_buf_printf(&b, DASH "%s AAAAAA%cA\n", i % 2 ? "witness.example/a" : "dozo.vault/00",
                      'A' + (int) i);
    assert_int_equal(dz_note_parse(dz_buf_slice(&b), &note, NULL), DZ_OK);
    assert_int_equal(note.line_count, 21);
    assert_true(dz_slice_eq(note.text, text));
    assert_int_equal(note.lines.len, b.len - text.len - 1);
    assert_int_equal(dz_note_verify(&note, name, pub, NULL), DZ_OK);
    assert_int_equal(dz_note_verify(&note, name, other, NULL), DZ_E_CORRUPT);

    /* a second line of the very key that does not verify: the note is refused */
    dz_buf_clear(&b);
    assert_int_equal(dz_note_sign(DZ_SLICE_LIT("other\n"), name, sec, &b, NULL), DZ_OK);
    {
        dz_autobuf dz_buf two = { 0 };
        dz_slice line = { b.data + 7, b.len - 7 };

        assert_int_equal(dz_note_sign(text, name, sec, &two, NULL), DZ_OK);
        dz_buf_put_slice(&two, line);
        assert_int_equal(dz_note_parse(dz_buf_slice(&two), &note, NULL), DZ_OK);
        assert_int_equal(note.line_count, 2);
        assert_int_equal(dz_note_verify(&note, name, pub, NULL), DZ_E_CORRUPT);
    }
}

static void limits_hold(void **state) {
    dz_autobuf dz_buf b = { 0 };
    const uint8_t sec[64] = { 0 };
    dz_note note;

    (void) state;
    dz_buf_printf(&b, "a\n\n");
    for (unsigned i = 0; i < DZ_NOTE_SIGNATURES_MAX; i++)
        dz_buf_printf(&b, DASH "n AAAAAAA=\n");
    assert_int_equal(dz_note_parse(dz_buf_slice(&b), &note, NULL), DZ_OK);
    dz_buf_printf(&b, DASH "n AAAAAAA=\n");
    assert_int_equal(dz_note_parse(dz_buf_slice(&b), &note, NULL), DZ_E_LIMIT);
    assert_non_null(dz_buf_extend(&b, DZ_NOTE_MAX));
    assert_int_equal(dz_note_parse(dz_buf_slice(&b), &note, NULL), DZ_E_LIMIT);
    dz_buf_clear(&b);
    assert_int_equal(dz_note_sign(DZ_SLICE_LIT("no newline"), DZ_SLICE_LIT("n"), sec, &b, NULL),
                     DZ_E_USAGE);
    assert_int_equal(dz_note_sign(DZ_SLICE_LIT("a\n"), DZ_SLICE_LIT("n m"), sec, &b, NULL),
                     DZ_E_USAGE);
    assert_int_equal(b.len, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(their_note_verifies),
        cmocka_unit_test(forms_are_told_apart),
        cmocka_unit_test(other_lines_are_kept_and_prove_nothing),
        cmocka_unit_test(limits_hold),
    };

    return cmocka_run_group_tests_name("signed notes", tests, decode_key, NULL);
}
