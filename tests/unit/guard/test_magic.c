/* What the first bytes say, what the name promises, and whether the two agree. */
#include "guard/magic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct content_row {
    const char *name;
    const char *bytes;
    size_t len;
    uint64_t file_len; /* 0: len */
    dz_type type;
};
#define BYTES(s) (s), sizeof(s) - 1

/* clang-format off */
static const struct content_row contents[] = {
    { "an empty file is nothing",            BYTES(""), 0, DZ_TYPE_NONE },
    { "one byte is nothing",                 BYTES("<"), 0, DZ_TYPE_NONE },
    { "a comment sign is nothing",           BYTES("# hello"), 0, DZ_TYPE_NONE },
    { "plain text is nothing",               BYTES("PID|1||000123"), 0, DZ_TYPE_NONE },
    { "JPEG",                                BYTES("\xff\xd8\xff\xe0\0\x10JFIF"), 0, DZ_TYPE_JPEG },
    { "two of JPEG's three bytes",           BYTES("\xff\xd8\xfe\xe0"), 0, DZ_TYPE_NONE },
    { "ZIP and OOXML",                       BYTES("PK\3\4\x14\0\6\0"), 0, DZ_TYPE_ZIP },
    { "PDF",                                 BYTES("%PDF-1.7\n"), 0, DZ_TYPE_PDF },
    { "HL7",                                 BYTES("MSH|^~\\&|HIS|HOSP"), 0, DZ_TYPE_HL7 },
    { "HL7 in an MLLP frame",                BYTES("\x0bMSH|^~\\&|HIS|"), 0, DZ_TYPE_HL7 },
    { "XML after a byte order mark",         BYTES("\xef\xbb\xbf<?xml version"), 0, DZ_TYPE_XML },
    { "HTML in any case",                    BYTES("<!DocType HTML><html>"), 0, DZ_TYPE_HTML },
    { "a script",                            BYTES("#!/bin/sh\n"), 0, DZ_TYPE_SCRIPT },
    { "pg_dump, custom format",              BYTES("PGDMP\1\x0e\0"), 0, DZ_TYPE_PGDUMP },
    { "SQLite",                              BYTES("SQLite format 3\0\x10\0"), 0, DZ_TYPE_SQLITE },
    { "event log",                           BYTES("ElfFile\0\0\0"), 0, DZ_TYPE_EVTX },
    { "ELF",                                 BYTES("\x7f" "ELF\2\1\1"), 0, DZ_TYPE_ELF },
    { "bzip2 needs its level",               BYTES("BZhx1AY"), 0, DZ_TYPE_NONE },
    { "bzip2",                               BYTES("BZh91AY&SY"), 0, DZ_TYPE_BZIP2 },
    { "BMP that states its own length",      BYTES("BM\x0a\0\0\0\0\0\0\0"), 0, DZ_TYPE_BMP },
    { "BM by chance",                        BYTES("BM\x0a\0\0\0\0\0\0\0"), 11, DZ_TYPE_NONE },
    { "Java class",                          BYTES("\xca\xfe\xba\xbe\0\0\0\x41"), 0, DZ_TYPE_JAVA_CLASS },
    { "fat Mach-O is not a Java class",      BYTES("\xca\xfe\xba\xbe\0\0\0\2"), 0, DZ_TYPE_NONE },
    { "TrueType",                            BYTES("\0\1\0\0\0\x12\1\0\0\4\0\x20"), 0, DZ_TYPE_SFNT },
    { "Access, which begins like TrueType",  BYTES("\0\1\0\0Standard Jet DB\0"), 0, DZ_TYPE_JET },
    { "MZ alone is not a program",           BYTES("MZ\x90\0\3\0\0\0"), 0, DZ_TYPE_NONE },
};

static const struct {
    const char *name, *file;
    dz_type type;
    bool text;
    dz_type_fit fit;
} names[] = {
    { "a picture with its header",              "a.jpg",         DZ_TYPE_JPEG,  false, DZ_FIT_YES },
    { "extensions in capitals",                 "CT0001.DCM",    DZ_TYPE_DICOM, false, DZ_FIT_YES },
    { "a picture without it: header lost",      "a.jpg",         DZ_TYPE_NONE,  false, DZ_FIT_MISSING },
    { "a document turned into text",            "a.docx",        DZ_TYPE_NONE,  true,  DZ_FIT_MISSING },
    { "a document that is a picture",           "a.docx",        DZ_TYPE_JPEG,  false, DZ_FIT_OTHER },
    { "a document under a password",            "a.docx",        DZ_TYPE_OLE2,  false, DZ_FIT_YES },
    { "text that reads as text",                "a.csv",         DZ_TYPE_NONE,  true,  DZ_FIT_YES },
    { "text that does not",                     "a.csv",         DZ_TYPE_NONE,  false, DZ_FIT_NOT_TEXT },
    { "text that is an archive",                "a.csv",         DZ_TYPE_ZIP,   false, DZ_FIT_OTHER },
    { "text of a known kind",                   "a.txt",         DZ_TYPE_HL7,   true,  DZ_FIT_YES },
    { "an appended extension",                  "a.jpg.elbie",   DZ_TYPE_NONE,  false, DZ_FIT_UNKNOWN },
    { "no extension, known type",               "vmlinuz",       DZ_TYPE_PE,    false, DZ_FIT_NO_NAME },
    { "no extension, nothing known",            "16384",         DZ_TYPE_NONE,  false, DZ_FIT_UNKNOWN },
    { "a dot at the end",                       "a.",            DZ_TYPE_NONE,  false, DZ_FIT_UNKNOWN },
    { "an extension longer than any",           "a.abcdefghijkl", DZ_TYPE_NONE, false, DZ_FIT_UNKNOWN },
    { "a name that is only an extension",       ".png",          DZ_TYPE_PNG,   false, DZ_FIT_YES },
    { "an empty name",                          "",              DZ_TYPE_NONE,  false, DZ_FIT_UNKNOWN },
};
/* clang-format on */

static void first_bytes_name_the_type(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        const struct content_row *r = &contents[i];
        dz_slice head = { (const uint8_t *) r->bytes, r->len };
        dz_type got = dz_magic_type(head, r->file_len ? r->file_len : r->len);

        if (got != r->type)
            fail_msg("%s: got %s, want %s", r->name, dz_type_name(got), dz_type_name(r->type));
    }
}

static void names_promise_types(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        dz_slice name = { (const uint8_t *) names[i].file, strlen(names[i].file) };
        dz_type_fit got = dz_magic_fit(name, names[i].type, names[i].text);

        if (got != names[i].fit)
            fail_msg("%s: got %d, want %d", names[i].name, (int) got, (int) names[i].fit);
    }
}

static void marks_deep_in_the_head_are_found(void **state) {
    uint8_t head[DZ_MAGIC_HEAD] = { 0 };
    dz_slice s = { head, sizeof head };

    (void) state;
    memcpy(head + 128, "DICM", 4);
    assert_int_equal(dz_magic_type(s, 1000), DZ_TYPE_DICOM);
    assert_int_equal(dz_magic_type((dz_slice){ head, 131 }, 131), DZ_TYPE_NONE);
    memset(head, 0, sizeof head);
    memcpy(head + 257, "ustar", 5);
    assert_int_equal(dz_magic_type(s, 10240), DZ_TYPE_TAR);
    memset(head, 0, sizeof head);
    memcpy(head, "MZ", 2);
    dz_store_le(head + 60, 4, 0x80);
    assert_int_equal(dz_magic_type(s, 4096), DZ_TYPE_NONE);
    memcpy(head + 0x80, "PE\0\0", 4);
    assert_int_equal(dz_magic_type(s, 4096), DZ_TYPE_PE);
    dz_store_le(head + 60, 4, 0xfffffff0);
    assert_int_equal(dz_magic_type(s, 4096), DZ_TYPE_NONE);
}

static void a_postgresql_page_is_known_by_its_header(void **state) {
    uint8_t page[24] = { 0 };
    dz_slice s = { page, sizeof page };

    (void) state;
    dz_store_le(page + 0, 8, 0x16b374d848); /* pd_lsn */
    dz_store_le(page + 12, 2, 0x00d0);      /* pd_lower */
    dz_store_le(page + 14, 2, 0x0210);      /* pd_upper */
    dz_store_le(page + 16, 2, 0x2000);      /* pd_special */
    dz_store_le(page + 18, 2, 0x2004);      /* pd_pagesize_version */
    assert_int_equal(dz_magic_type(s, 8192 * 3), DZ_TYPE_PGPAGE);
    assert_int_equal(dz_magic_type(s, 8192 * 3 + 1), DZ_TYPE_NONE);
    dz_store_le(page + 14, 2, 0x0010); /* upper below lower */
    assert_int_equal(dz_magic_type(s, 8192 * 3), DZ_TYPE_NONE);
}

/* The reason for three bytes: chance must not find a type where encryption took it away. */
static void random_heads_have_no_type(void **state) {
    uint64_t x = 88172645463325252ull;
    unsigned named = 0;

    (void) state;
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t head[DZ_MAGIC_HEAD];

        for (size_t k = 0; k < sizeof head; k += 8) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            dz_store_le(head + k, 8, x);
        }
        named += dz_magic_type((dz_slice){ head, sizeof head }, 1 << 20) != DZ_TYPE_NONE;
    }
    assert_true(named <= 2);
}

static void every_type_has_a_name_of_its_own(void **state) {
    (void) state;
    for (unsigned i = 0; i < DZ_TYPE_COUNT; i++)
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(dz_type_name(i), dz_type_name(k));
    assert_string_equal(dz_type_name(DZ_TYPE_COUNT), "?");
    assert_string_equal(dz_type_name(65535), "?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_bytes_name_the_type),
        cmocka_unit_test(names_promise_types),
        cmocka_unit_test(marks_deep_in_the_head_are_found),
        cmocka_unit_test(a_postgresql_page_is_known_by_its_header),
        cmocka_unit_test(random_heads_have_no_type),
        cmocka_unit_test(every_type_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
