/* Base64 has one spelling, and nothing else is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/base64.h"

static const struct row {
    const char *name, *text;
    size_t len; /* of what it decodes to; 0: refused */
} rows[] = {
    { "nothing", "", 0 },
    { "one byte", "AQ==", 1 },
    { "three bytes", "AQID", 3 },
    { "as much as there is room for", "AQIDBAU=", 5 },
    { "more than there is room for", "AQIDBAUG", 0 },
    { "padding left out", "AQ", 0 },
    { "padding too long", "AQID=", 0 },
    { "bits beyond the last byte", "AR==", 0 },
    { "a line break", "AQ\nID", 0 },
    { "the URL alphabet", "__--", 0 },
};

static void text_is_read_or_refused(void **state) {
    const struct row *row = *state;
    uint8_t to[5];

    assert_int_equal(dz_base64_decode((dz_slice){ (const uint8_t *) row->text, strlen(row->text) },
                                      to, sizeof to),
                     row->len);
    for (size_t i = 0; i < row->len; i++)
        assert_int_equal(to[i], i + 1);
}

static void only_the_64_letters_are_digits(void **state) {
    unsigned taken = 0;

    (void) state;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t text[4] = { 'A', (uint8_t) byte, 'A', 'A' }, to[3];
        taken += dz_base64_decode((dz_slice){ text, 4 }, to, sizeof to) == 3;
    }
    assert_int_equal(taken, 64);
}

int main(void) {
    enum { ROWS = sizeof rows / sizeof *rows };
    struct CMUnitTest tests[ROWS + 1];

    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name,
                                        .test_func = text_is_read_or_refused,
                                        .initial_state = (void *) (uintptr_t) &rows[i] };
    tests[ROWS] = (struct CMUnitTest) cmocka_unit_test(only_the_64_letters_are_digits);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
