/* The bytes that Samba keeps beside a file, against what a Samba 4.17 wrote. */
#include "intake/samba_attr.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static dz_slice slice(const char *s) {
    return (dz_slice){ (const uint8_t *) s, strlen(s) };
}

static void is_hex(const dz_buf *b, const char *want) {
    dz_autobuf dz_buf hex = { 0 };

    for (size_t i = 0; i < b->len; i++)
        dz_buf_printf(&hex, "%02x", b->data[i]);
    dz_buf_put_u8(&hex, 0);
    assert_string_equal((const char *) hex.data, want);
}

static void test_dos_attributes(void **state) {
    static const struct timespec samba = { 1795852629, 324452500 }, unknown = { 0, 0 };
    dz_autobuf dz_buf b = { 0 };

    (void) state;
    dz_samba_put_dos(&b, 0x20, &samba);
    is_hex(&b, "000005000500000011000000200000006d7aa4110e7fdd01");
    dz_buf_clear(&b);
    dz_samba_put_dos(&b, DZ_DOS_NORMAL | 1, &unknown);
    is_hex(&b, "000005000500000001000000010000000000000000000000");
}

static void test_stream(void **state) {
    dz_autobuf dz_buf b = { 0 };

    (void) state;
    dz_samba_put_stream(&b, slice("stream-data\n"));
    is_hex(&b, "73747265616d2d646174610a00");
}

struct row {
    const char *name;
    const char *text;
    dz_status status;
    const char *hex; /* behind the version; NULL: not looked at */
};

/* clang-format off */
static const struct row rows[] = {
    { "permissions that were not inherited are protected",
      "REVISION:1,OWNER:S-1-5-18,GROUP:S-1-22-2-0,ACL:S-1-1-0:0/0/0x001200a9", DZ_OK,
      "0100" "0490" "1c000000" "28000000" "00000000" "38000000"
      "010100000000000512000000" "01020000000000160200000000000000"
      "02001c0001000000" "00001400a9001200" "010100000000000100000000" },
    { "inherited ones are not",
      "REVISION:1,OWNER:S-1-5-18,GROUP:S-1-5-18,ACL:S-1-1-0:1/19/0x80000000", DZ_OK,
      "0100" "0484" "1c000000" "28000000" "00000000" "34000000"
      "010100000000000512000000" "010100000000000512000000"
      "02001c0001000000" "0113140000000080" "010100000000000100000000" },
    { "without permissions nobody is let in", "REVISION:1", DZ_OK,
      "0100" "0490" "00000000" "00000000" "00000000" "1c000000" "0200080000000000" },
    { "an authority of 48 bits", "REVISION:1,OWNER:S-1-0x123456789abc-1", DZ_OK, NULL },
    { "fifteen parts", "REVISION:1,OWNER:S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15", DZ_OK, NULL },
    { "sixteen parts", "REVISION:1,OWNER:S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15-16", DZ_E_MALFORMED, NULL },
    { "an authority of 49 bits", "REVISION:1,OWNER:S-1-0x1123456789abc", DZ_E_MALFORMED, NULL },
    { "a part of 33 bits", "REVISION:1,OWNER:S-1-5-4294967296", DZ_E_MALFORMED, NULL },
    { "no revision", "OWNER:S-1-5-18", DZ_E_MALFORMED, NULL },
    { "another revision", "REVISION:2", DZ_E_MALFORMED, NULL },
    { "nothing", "", DZ_E_MALFORMED, NULL },
    { "a name instead of a number", "REVISION:1,OWNER:DOMAIN\\user", DZ_E_MALFORMED, NULL },
    { "something behind", "REVISION:1,OWNER:S-1-5-18,", DZ_E_MALFORMED, NULL },
    { "the group first", "REVISION:1,GROUP:S-1-5-18,OWNER:S-1-5-18", DZ_E_MALFORMED, NULL },
    { "a permission without its mask", "REVISION:1,ACL:S-1-1-0:0/0", DZ_E_MALFORMED, NULL },
    { "flags of 9 bits", "REVISION:1,ACL:S-1-1-0:0/256/0x1", DZ_E_MALFORMED, NULL },
    { "a mask of 33 bits", "REVISION:1,ACL:S-1-1-0:0/0/0x100000000", DZ_E_MALFORMED, NULL },
    { "a permission of an object type", "REVISION:1,ACL:S-1-1-0:5/0/0x1", DZ_E_UNSUPPORTED, NULL },
    { "a permission under a condition", "REVISION:1,ACL:S-1-1-0:9/0/0x1", DZ_E_UNSUPPORTED, NULL },
};
/* clang-format on */

static void test_row(void **state) {
    const struct row *row = *state;
    dz_autobuf dz_buf b = { 0 };
    dz_err err = { 0 };

    dz_buf_put_u8(&b, 'x');
    assert_int_equal(dz_samba_put_acl(&b, slice(row->text), &err), row->status);
    if (row->status != DZ_OK) {
        assert_int_equal(b.len, 1);
        return;
    }
    assert_memory_equal(b.data + 1, "\x01\0\x01\0\0\0\x02\0", 8);
    if (row->hex) {
        memmove(b.data, b.data + 9, b.len - 9);
        b.len -= 9;
        is_hex(&b, row->hex);
    }
}

/* 36 bytes without any, 20 for each; 64 KiB in an attribute of Linux. */
static void test_as_many_as_fit(void **state) {
    static const char ace[] = ",ACL:S-1-1-0:0/0/0x1"; /* 20 bytes */
    dz_autobuf dz_buf text = { 0 };
    dz_autobuf dz_buf b = { 0 };

    (void) state;
    dz_buf_put_slice(&text, slice("REVISION:1"));
    for (unsigned i = 0; i < (DZ_SAMBA_VALUE_MAX - 36) / 20; i++)
        dz_buf_put_slice(&text, slice(ace));
    assert_int_equal(dz_samba_put_acl(&b, dz_buf_slice(&text), NULL), DZ_OK);
    assert_int_equal(b.len, 36 + (DZ_SAMBA_VALUE_MAX - 36) / 20 * 20);
    dz_buf_put_slice(&text, slice(ace));
    dz_buf_clear(&b);
    assert_int_equal(dz_samba_put_acl(&b, dz_buf_slice(&text), NULL), DZ_E_LIMIT);
    assert_int_equal(b.len, 0);
}

int main(void) {
    struct CMUnitTest tests[3 + sizeof rows / sizeof *rows] = {
        cmocka_unit_test(test_dos_attributes),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_as_many_as_fit),
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[3 + i] = (struct CMUnitTest){ .name = rows[i].name,
                                            .test_func = test_row,
                                            .initial_state = (void *) (uintptr_t) &rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
