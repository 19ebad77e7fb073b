/* What people and scripts read: sizes, file names of any bytes, exit codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/open.h"
#include "cli/output.h"

static void sizes_have_one_decimal_and_binary_units(void **state) {
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        { 0, "0 B" },
        { 1023, "1023 B" },
        { 1024, "1.0 KiB" },
        { 1536, "1.5 KiB" },
        { (1 << 20) - 1, "1.0 MiB" }, /* never "1024.0 KiB" */
        { UINT64_C(5) << 30, "5.0 GiB" },
        { UINT64_MAX, "16.0 EiB" },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[DZ_SIZE_TEXT];
        dz_size_text(rows[i].bytes, text);
        assert_string_equal(text, rows[i].text);
    }
}

/* JSON gets U+FFFD for each byte that is not UTF-8 (RFC 3629), and then the exact bytes too. */
static void names_of_any_bytes_go_into_json(void **state) {
    static const struct {
        const char *name;
        const char *path, *json, *base64;
    } rows[] = {
        { "plain", "a/b", "a/b", NULL },
        { "empty", "", "", NULL },
        { "Japanese", "\xe5\x9c\x9f\xe8\x94\xb5", "\xe5\x9c\x9f\xe8\x94\xb5", NULL },
        { "beyond the first plane", "\xf0\x9f\x8f\xa5", "\xf0\x9f\x8f\xa5", NULL },
        { "a byte alone", "a\xff", "a\xef\xbf\xbd", "Yf8=" },
        { "Shift_JIS", "\x83\x41", "\xef\xbf\xbd\x41", "g0E=" },
        { "overlong", "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd", "wK8=" },
        { "a surrogate", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "7aCA" },
        { "cut short", "a\xe5\x9c", "a\xef\xbf\xbd\xef\xbf\xbd", "YeWc" },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *j = json_object();
        const char *base64;
        dz_json_text(j, "path", rows[i].path);
        base64 = json_string_value(json_object_get(j, "path_base64"));
        assert_string_equal(json_string_value(json_object_get(j, "path")), rows[i].json);
        if (rows[i].base64)
            assert_string_equal(base64, rows[i].base64);
        else
            assert_null(base64);
        json_decref(j);
    }
}

static void columns_count_wide_characters_twice(void **state) {
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);

    (void) state;
    assert_non_null(to);
    dz_put_padded(to, "ab", 4);
    dz_put_padded(to, "\xe5\x9c\x9f", 4);
    dz_put_padded(to, "ab", -4);
    dz_put_padded(to, "too long", 4);
    assert_int_equal(fclose(to), 0);
    assert_string_equal(text, "ab  \xe5\x9c\x9f    abtoo long");
    free(text);
}

static void every_status_has_an_exit_code(void **state) {
    (void) state;
    for (int s = DZ_E_NOMEM; s < DZ_STATUS_COUNT; s++)
        assert_in_range(dz_exit_of((dz_status) s), DZ_EXIT_USAGE, DZ_EXIT_REFUSED);
    assert_int_equal(dz_exit_of(DZ_OK), DZ_EXIT_OK);
    assert_int_equal(dz_exit_of(DZ_E_CLOSED), DZ_EXIT_REFUSED);
    assert_int_equal(dz_exit_of(DZ_E_IO), DZ_EXIT_COULD_NOT);
}

static void the_nearest_name_is_near(void **state) {
    static const char *const names[] = { "source", "exclude", "one-file-system",
                                         "reread", "vault",   NULL };
    static const struct {
        const char *word, *nearest;
    } rows[] = {
        { "sourec", "source" },  { "suorce", "source" },
        { "vualt", "vault" },    { "onefilesystem", "one-file-system" },
        { "re-read", "reread" }, { "exc", "exclude" },
        { "zzzzz", NULL },       { "", NULL },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *nearest = dz_cli_nearest(rows[i].word, names);
        if (rows[i].nearest) {
            assert_non_null(nearest);
            assert_string_equal(nearest, rows[i].nearest);
        } else {
            assert_null(nearest);
        }
    }
}

static void paths_are_taken_with_and_without_slashes(void **state) {
    static const char *const rows[] = { "a/b", "/a/b", "//a/b/", "a/b//" };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(dz_slice_eq(dz_cli_path(rows[i]), DZ_SLICE_LIT("a/b")));
    assert_int_equal(dz_cli_path("/").len, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_have_one_decimal_and_binary_units),
        cmocka_unit_test(names_of_any_bytes_go_into_json),
        cmocka_unit_test(columns_count_wide_characters_twice),
        cmocka_unit_test(every_status_has_an_exit_code),
        cmocka_unit_test(the_nearest_name_is_near),
        cmocka_unit_test(paths_are_taken_with_and_without_slashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
