/* What a gate is told: as it was said, or refused. */
#include "net/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void what_is_said_is_heard(void **state) {
    const struct dz_gate_config c = { .strangers = true,
                                      .sandbox = true,
                                      .seed = { 7 },
                                      .cert = DZ_SLICE_LIT("certificate"),
                                      .authority = DZ_SLICE_LIT("authority") };
    struct dz_gate_config heard;
    dz_autobuf dz_buf bytes = { 0 };

    (void) state;
    dz_gate_config_put(&bytes, &c);
    assert_int_equal(dz_gate_config_read(dz_buf_slice(&bytes), &heard, NULL), DZ_OK);
    assert_true(heard.strangers && heard.sandbox);
    assert_memory_equal(heard.seed, c.seed, sizeof c.seed);
    assert_true(dz_slice_eq(heard.cert, c.cert) && dz_slice_eq(heard.authority, c.authority));
    for (size_t n = 0; n < bytes.len; n++)
        assert_int_equal(dz_gate_config_read((dz_slice){ bytes.data, n }, &heard, NULL),
                         DZ_E_MALFORMED);
    bytes.data[1] = 2; /* no third way about the sandbox */
    assert_int_equal(dz_gate_config_read(dz_buf_slice(&bytes), &heard, NULL), DZ_E_MALFORMED);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_said_is_heard) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
