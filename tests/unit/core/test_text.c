/* The language is chosen as a Debian user expects, and the table is fit for the search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/text.h"
#include "core/text_table.h"

struct row {
    const char *name;
    const char *lang, *lc_all, *lc_messages, *lang_env;
    bool known;
    const char *chosen;
};

/* clang-format off */
static const struct row rows[] = {
    /* name                                  --lang  LC_ALL         LC_MESSAGES    LANG           known  chosen */
    { "nothing set is English",              NULL,   NULL,          NULL,          NULL,          true,  "en" },
    { "LANG alone chooses Japanese",         NULL,   NULL,          NULL,          "ja_JP.UTF-8", true,  "ja" },
    { "a bare ja is Japanese",               NULL,   NULL,          NULL,          "ja",          true,  "ja" },
    { "LC_MESSAGES beats LANG",              NULL,   NULL,          "C",           "ja_JP.UTF-8", true,  "en" },
    { "LC_ALL beats LC_MESSAGES",            NULL,   "ja_JP.UTF-8", "C",           "C",           true,  "ja" },
    { "an empty LC_ALL counts as not set",   NULL,   "",            "ja_JP.UTF-8", "C",           true,  "ja" },
    { "another language is English",         NULL,   NULL,          NULL,          "jam_JM",      true,  "en" },
    { "--lang ja beats the environment",     "ja",   "C",           "C",           "C",           true,  "ja" },
    { "--lang en beats the environment",     "en",   "ja_JP.UTF-8", NULL,          NULL,          true,  "en" },
    { "--lang fr is refused, English stays", "fr",   "ja_JP.UTF-8", NULL,          NULL,          false, "en" },
};
/* clang-format on */

static void set(const char *name, const char *value) {
    if (value)
        assert_int_equal(setenv(name, value, 1), 0);
    else
        assert_int_equal(unsetenv(name), 0);
}

static void language_is_chosen(void **state) {
    const struct row *row = *state;

    set("LC_ALL", row->lc_all);
    set("LC_MESSAGES", row->lc_messages);
    set("LANG", row->lang_env);
    assert_int_equal(dz_text_init(row->lang), row->known);
    assert_string_equal(dz_text_language(), row->chosen);
}

static void every_pair_is_found(void **state) {
    (void) state;
    assert_true(dz_text_init("ja"));
    for (size_t i = 0; i < dz_text_table_len; i++)
        assert_ptr_equal(dz_text(dz_text_table[i].english), dz_text_table[i].japanese);
}

static void unknown_text_stays_as_it_is(void **state) {
    static const char unknown[] = "no catalogue knows this sentence";

    (void) state;
    assert_true(dz_text_init("ja"));
    assert_ptr_equal(dz_text(unknown), unknown);
}

int main(void) {
    enum { ROWS = sizeof rows / sizeof *rows };
    struct CMUnitTest tests[ROWS + 2];

    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name,
                                        .test_func = language_is_chosen,
                                        .initial_state = (void *) (uintptr_t) &rows[i] };
    tests[ROWS] = (struct CMUnitTest) cmocka_unit_test(every_pair_is_found);
    tests[ROWS + 1] = (struct CMUnitTest) cmocka_unit_test(unknown_text_stays_as_it_is);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
