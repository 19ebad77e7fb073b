/* A key file gives the root back to its own vault, and names what is wrong with it. */
#include <stdio.h>

#include "crypto/keyfile.h"
#include "crypto/share.h"
#include "tests/unit/crypto/fixture.h"

enum { KIB = 64, PASSES = 1 }; /* cheap: the cost itself is libsodium's business */

static struct vault ours, other, later;
static const dz_slice none = { 0 }, phrase = { (const uint8_t *) "a horse, a battery", 18 };

static int set_up(void **state) {
    (void) state;
    vault_make(&ours, 1, 1);
    vault_make(&other, 2, 1);
    vault_make(&later, 1, 2);
    return 0;
}

static int tear_down(void **state) {
    (void) state;
    vault_free(&ours);
    vault_free(&other);
    vault_free(&later);
    return 0;
}

static void write_file(dz_slice passphrase, dz_buf *to) {
    assert_int_equal(dz_keyfile_write_cost(ours.root, ours.host, passphrase, KIB, PASSES, to, NULL),
                     DZ_OK);
}

static void a_file_opens_its_own_vault(void **state) {
    const dz_slice wrong = DZ_SLICE_LIT("a horse, a batterz");
    const struct {
        const char *name;
        bool locked;
        const struct dz_host_keys *host;
        dz_slice passphrase;
        dz_status want;
        const char *says;
    } rows[] = {
        { "raw", false, ours.host, none, DZ_OK, "" },
        { "raw, with a passphrase nobody asked for", false, ours.host, phrase, DZ_OK, "" },
        { "raw, for another vault", false, other.host, none, DZ_E_POLICY,
          "of 01010101010101010101010101010101, this is 0202" },
        { "raw, for a later epoch", false, later.host, none, DZ_E_POLICY, "of epoch 1" },
        { "locked", true, ours.host, phrase, DZ_OK, "" },
        { "locked, without a passphrase", true, ours.host, none, DZ_E_CLOSED, "needs" },
        { "locked, with a wrong one", true, ours.host, wrong, DZ_E_CLOSED, "does not open" },
        { "locked, for another vault", true, other.host, phrase, DZ_E_POLICY, "another vault" },
    };
    (void) state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t got[DZ_ROOT_BYTES] = { 0 }, zero[DZ_ROOT_BYTES] = { 0 };
        dz_autobuf_secret dz_buf file = { 0 };
        dz_err err = { 0 };

        print_message("  %s\n", rows[i].name);
        write_file(rows[i].locked ? phrase : none, &file);
        assert_int_equal(dz_keyfile_kind(dz_buf_slice(&file)),
                         rows[i].locked ? DZ_KEYFILE_PASSPHRASE : DZ_KEYFILE_RAW);
        assert_int_equal(
            dz_keyfile_read(dz_buf_slice(&file), rows[i].host, rows[i].passphrase, got, &err),
            rows[i].want);
        assert_memory_equal(got, rows[i].want == DZ_OK ? ours.root : zero, sizeof got);
        assert_non_null(strstr(err.what, rows[i].says));
    }
}

static void a_file_with_another_vaults_key_is_refused(void **state) {
    dz_autobuf_secret dz_buf file = { 0 };
    uint8_t got[DZ_ROOT_BYTES];
    (void) state;

    assert_int_equal(dz_keyfile_write(other.root, ours.host, none, &file, NULL), DZ_OK);
    assert_int_equal(dz_keyfile_read(dz_buf_slice(&file), ours.host, none, got, NULL),
                     DZ_E_MALFORMED);
}

/* Every byte that is not a line end, changed: the line it stands in is named. */
static void every_mistyped_line_is_named(void **state) {
    (void) state;
    for (unsigned locked = 0; locked < 2; locked++) {
        dz_autobuf_secret dz_buf file = { 0 };
        unsigned line = 1;

        write_file(locked ? phrase : none, &file);
        for (size_t at = 0; at < file.len; at++) {
            uint8_t keep = file.data[at], got[DZ_ROOT_BYTES];
            dz_err err = { 0 };
            char says[32];
            dz_status st;

            if (keep == '\n') {
                line++;
                continue;
            }
            file.data[at] = keep == 'x' ? 'y' : 'x';
            st = dz_keyfile_read(dz_buf_slice(&file), ours.host, phrase, got, &err);
            file.data[at] = keep;
            assert_true(st == DZ_E_MALFORMED || (line == 1 && st == DZ_E_UNSUPPORTED));
            (void) snprintf(says, sizeof says, "line %u", line);
            if (line > 1)
                assert_non_null(strstr(err.what, says));
        }
    }
}

static void every_cut_is_noticed(void **state) {
    dz_autobuf_secret dz_buf file = { 0 };
    uint8_t got[DZ_ROOT_BYTES];
    (void) state;

    write_file(phrase, &file);
    for (size_t len = 0; len + 1 < file.len; len++) /* only the last line end may be missing */
        assert_int_not_equal(
            dz_keyfile_read((dz_slice){ file.data, len }, ours.host, phrase, got, NULL), DZ_OK);
    assert_int_equal(
        dz_keyfile_read((dz_slice){ file.data, file.len - 1 }, ours.host, phrase, got, NULL),
        DZ_OK);
}

static void what_mail_does_to_a_file_does_not_matter(void **state) {
    dz_autobuf_secret dz_buf file = { 0 };
    dz_autobuf_secret dz_buf mailed = { 0 };
    uint8_t got[DZ_ROOT_BYTES];
    (void) state;

    write_file(none, &file);
    dz_buf_printf(&mailed, "\xef\xbb\xbf\r\n");
    for (size_t i = 0; i < file.len; i++) {
        if (file.data[i] == '\n')
            dz_buf_printf(&mailed, " \r\n\r\n  ");
        else
            dz_buf_put_u8(&mailed, file.data[i]);
    }
    assert_true(dz_buf_ok(&mailed));
    assert_int_equal(dz_keyfile_kind(dz_buf_slice(&mailed)), DZ_KEYFILE_RAW);
    assert_int_equal(dz_keyfile_read(dz_buf_slice(&mailed), ours.host, none, got, NULL), DZ_OK);
    assert_memory_equal(got, ours.root, sizeof got);
    dz_buf_printf(&mailed, "and more\n");
    assert_int_equal(dz_keyfile_read(dz_buf_slice(&mailed), ours.host, none, got, NULL),
                     DZ_E_MALFORMED);
}

static void costs_are_bounded(void **state) {
    static const struct {
        uint32_t memory_kib, passes;
        dz_status want;
    } rows[] = {
        { 8, 1, DZ_OK },
        { 7, 1, DZ_E_LIMIT },
        { 0, 1, DZ_E_LIMIT },
        { 8, 0, DZ_E_LIMIT },
        { 8, 16, DZ_OK },
        { 8, 17, DZ_E_LIMIT },
        { 8, UINT32_MAX, DZ_E_LIMIT },
        { DZ_KEYFILE_MEMORY_KIB_MAX + 1, 1, DZ_E_LIMIT },
        { UINT32_MAX, 1, DZ_E_LIMIT },
    };
    static uint8_t long_phrase[DZ_KEYFILE_PASSPHRASE_MAX + 1];
    dz_autobuf_secret dz_buf file = { 0 };
    (void) state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dz_buf_clear(&file);
        assert_int_equal(dz_keyfile_write_cost(ours.root, ours.host, phrase, rows[i].memory_kib,
                                               rows[i].passes, &file, NULL),
                         rows[i].want);
    }
    memset(long_phrase, 'a', sizeof long_phrase);
    assert_int_equal(dz_keyfile_write(ours.root, ours.host,
                                      (dz_slice){ long_phrase, sizeof long_phrase }, &file, NULL),
                     DZ_E_LIMIT);
}

static void the_usual_cost_is_written(void **state) {
    dz_autobuf_secret dz_buf file = { 0 };
    (void) state;

    assert_int_equal(dz_keyfile_write(ours.root, ours.host, phrase, &file, NULL), DZ_OK);
    dz_buf_put_u8(&file, 0);
    assert_non_null(strstr((const char *) file.data, "\nargon2id 262144 3 "));
}

static void other_files_are_told_apart(void **state) {
    static uint8_t large[DZ_KEYFILE_MAX + 1];
    static const struct {
        const char *text;
        enum dz_keyfile_kind kind;
        dz_status want;
    } rows[] = {
        { "", DZ_KEYFILE_UNKNOWN, DZ_E_MALFORMED },
        { "\n\n", DZ_KEYFILE_UNKNOWN, DZ_E_MALFORMED },
        { "hello\n", DZ_KEYFILE_UNKNOWN, DZ_E_MALFORMED },
        { "dozo key v1", DZ_KEYFILE_RAW, DZ_E_MALFORMED },
        { "dozo key v2\n", DZ_KEYFILE_UNKNOWN, DZ_E_UNSUPPORTED },
        { "dozo locked key v1\n", DZ_KEYFILE_PASSPHRASE, DZ_E_MALFORMED },
        { "dozo locked key v9\n", DZ_KEYFILE_UNKNOWN, DZ_E_UNSUPPORTED },
        { "dozo share v1\n", DZ_KEYFILE_SHARE, DZ_E_MALFORMED },
        { "DOZO1:ABC", DZ_KEYFILE_SHARE, DZ_E_MALFORMED },
    };
    uint8_t got[DZ_ROOT_BYTES];
    (void) state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dz_slice file = { (const uint8_t *) rows[i].text, strlen(rows[i].text) };

        assert_int_equal(dz_keyfile_kind(file), rows[i].kind);
        assert_int_equal(dz_keyfile_read(file, ours.host, none, got, NULL), rows[i].want);
    }
    assert_int_equal(dz_keyfile_read((dz_slice){ large, sizeof large }, ours.host, none, got, NULL),
                     DZ_E_LIMIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_opens_its_own_vault),
        cmocka_unit_test(a_file_with_another_vaults_key_is_refused),
        cmocka_unit_test(every_mistyped_line_is_named),
        cmocka_unit_test(every_cut_is_noticed),
        cmocka_unit_test(what_mail_does_to_a_file_does_not_matter),
        cmocka_unit_test(costs_are_bounded),
        cmocka_unit_test(the_usual_cost_is_written),
        cmocka_unit_test(other_files_are_told_apart),
    };
    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
