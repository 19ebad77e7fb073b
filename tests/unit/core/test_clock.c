/* Durations as people write them, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/clock.h"

static void durations(void **state) {
    static const struct {
        const char *text;
        int64_t seconds; /* 0: refused */
    } rows[] = {
        { "1s", 1 },         { "30m", 1800 },
        { "12h", 43200 },    { "90d", 7776000 },
        { "1d12h", 129600 }, { "2d3h4m5s", 183845 },
        { "0d1s", 1 },       { "365250d", INT64_C(365250) * 86400 },
        { "", 0 },           { "0s", 0 },
        { "7", 0 },          { "d", 0 },
        { "1y", 0 },         { "1h1d", 0 }, /* the larger unit stands first */
        { "1h1h", 0 },       { "1 d", 0 },
        { "-1d", 0 },        { "1d ", 0 },
        { "1.5d", 0 },       { "365251d", 0 },
        { "365250d1s", 0 },  { "99999999999999999999d", 0 },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t us = 0;
        bool ok = dz_duration_parse(rows[i].text, &us);

        if (ok != (rows[i].seconds != 0) || us != rows[i].seconds * 1000000)
            fail_msg("\"%s\": %lld us", rows[i].text, (long long) us);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(durations) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
