/* The text that operators sign: it says everything, it has one spelling, and nothing hides in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "custody/request.h"

enum { SECOND = 1000000 };
static const int64_t MADE = INT64_C(1764151200) * SECOND; /* 2025-11-26T10:00:00Z */

static struct dz_request_new a_deletion(void) {
    struct dz_request_new n = {
        .fingerprint = "2aa9-4db9-c04e-884d",
        .head = { .size = 42 },
        .kind = DZ_REQUEST_DELETE,
        .snapshots = { { "00112233445566778899aabbccddeeff",
                         "00000000000000000000000000000000000000000000000000000000000000aa",
                         "fileserver", "2025-11-01T00:00:00Z", "3 files, 17 bytes", "goes" },
                       { "11112233445566778899aabbccddeeff",
                         "00000000000000000000000000000000000000000000000000000000000000bb",
                         "fileserver", "2025-11-02T00:00:00Z", "3 files, 18 bytes", "goes" } },
        .n_snapshots = 2,
        .asked_by = "operator 一",
        .why = "kept by mistake",
        .created_us = MADE,
        .expires_us = MADE + DZ_REQUEST_LIFE_US,
    };

    memset(n.vault.b, 0xa5, sizeof n.vault.b);
    memset(n.head.root.b, 0x5a, sizeof n.head.root.b);
    return n;
}

static void what_was_asked_is_what_is_read(void **state) {
    struct dz_request_new n = a_deletion();
    struct dz_request made = { 0 }, read = { 0 };

    (void) state;
    assert_int_equal(dz_request_make(&n, &made, NULL), DZ_OK);
    assert_int_equal(dz_request_parse(dz_buf_slice(&made.text), &read, NULL), DZ_OK);
    assert_memory_equal(read.id, made.id, sizeof read.id);
    assert_memory_equal(read.vault.b, n.vault.b, sizeof n.vault.b);
    assert_int_equal(read.head.size, 42);
    assert_memory_equal(read.head.root.b, n.head.root.b, sizeof n.head.root.b);
    assert_int_equal(read.kind, DZ_REQUEST_DELETE);
    assert_int_equal(read.created_us, n.created_us);
    assert_int_equal(read.expires_us, n.expires_us);
    assert_int_equal(read.n_snapshots, 2);
    for (size_t i = 0; i < 2; i++)
        for (size_t l = 0; l < DZ_REQUEST_LINES; l++) {
            dz_slice line = read.snapshots[i].line[l];

            assert_int_equal(line.len, strlen(n.snapshots[i][l]));
            assert_memory_equal(line.data, n.snapshots[i][l], line.len);
        }
    assert_int_equal(read.snapshots[1].file[31], 0xbb);
    assert_int_equal(dz_request_value(&read, "operator").len, 0);
    dz_request_release(&made);
    dz_request_release(&read);
}

static void every_kind_can_be_asked_for(void **state) {
    (void) state;
    for (int kind = 0; kind < DZ_REQUEST_KIND_COUNT; kind++) {
        struct dz_request_new n = a_deletion();
        struct dz_request made = { 0 };

        n.kind = (enum dz_request_kind) kind;
        for (size_t i = 0; i < DZ_REQUEST_SUBJECT_MAX; i++)
            n.subject[i] = "value";
        if (kind != DZ_REQUEST_DELETE && kind != DZ_REQUEST_RELEASE)
            n.n_snapshots = 0;
        assert_int_equal(dz_request_make(&n, &made, NULL), DZ_OK);
        assert_int_equal(made.kind, kind);
        dz_request_release(&made);
    }
}

static void how_many_snapshots_a_kind_names(void **state) {
    static const struct {
        const char *what;
        enum dz_request_kind kind;
        size_t n;
        dz_status want;
    } rows[] = {
        { "a deletion of nothing", DZ_REQUEST_DELETE, 0, DZ_E_USAGE },
        { "a deletion of one", DZ_REQUEST_DELETE, 1, DZ_OK },
        { "a deletion of as many as go", DZ_REQUEST_DELETE, DZ_REQUEST_SNAPSHOTS_MAX, DZ_OK },
        { "a release of nothing", DZ_REQUEST_RELEASE, 0, DZ_E_USAGE },
        { "an alarm of no snapshot", DZ_REQUEST_ALARM, 0, DZ_OK },
        { "an alarm of a snapshot, and the one before", DZ_REQUEST_ALARM, 2, DZ_OK },
        { "rules with a snapshot", DZ_REQUEST_POLICY, 1, DZ_E_USAGE },
        { "an operator with a snapshot", DZ_REQUEST_OPERATOR_ADD, 1, DZ_E_USAGE },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_request_new n = a_deletion();
        struct dz_request made = { 0 };

        n.kind = rows[i].kind;
        n.n_snapshots = rows[i].n;
        for (size_t k = 0; k < DZ_REQUEST_SUBJECT_MAX; k++)
            n.subject[k] = "value";
        for (size_t k = 2; k < rows[i].n; k++)
            memcpy(n.snapshots[k], n.snapshots[0], sizeof n.snapshots[k]);
        if (dz_request_make(&n, &made, NULL) != rows[i].want)
            fail_msg("%s", rows[i].what);
        assert_int_equal(made.n_snapshots, rows[i].want == DZ_OK ? rows[i].n : 0);
        dz_request_release(&made);
    }
}

static void two_requests_for_the_same_thing_are_two(void **state) {
    struct dz_request_new n = a_deletion();
    struct dz_request one = { 0 }, two = { 0 };

    (void) state;
    assert_int_equal(dz_request_make(&n, &one, NULL), DZ_OK);
    assert_int_equal(dz_request_make(&n, &two, NULL), DZ_OK);
    assert_memory_not_equal(one.id, two.id, sizeof one.id);
    dz_request_release(&one);
    dz_request_release(&two);
}

/* No change of a byte gives a text that is accepted under the name of the old one, and most give
 * none at all: in the fixed parts, every change is refused. */
static void a_changed_byte_is_another_request_or_none(void **state) {
    struct dz_request_new n = a_deletion();
    struct dz_request made = { 0 };
    size_t fixed;

    (void) state;
    assert_int_equal(dz_request_make(&n, &made, NULL), DZ_OK);
    fixed = (size_t) ((uint8_t *) memmem(made.text.data, made.text.len, "vault: ", 7) -
                      made.text.data) +
            7;
    for (size_t i = 0; i < made.text.len; i++) {
        struct dz_request read = { 0 };
        dz_status s;

        made.text.data[i] ^= 1;
        s = dz_request_parse(dz_buf_slice(&made.text), &read, NULL);
        if (i < fixed)
            assert_int_not_equal(s, DZ_OK);
        if (s == DZ_OK)
            assert_memory_not_equal(read.id, made.id, sizeof read.id);
        dz_request_release(&read);
        made.text.data[i] ^= 1;
    }
    for (size_t len = 0; len < made.text.len; len++) {
        struct dz_request read = { 0 };

        assert_int_not_equal(dz_request_parse((dz_slice){ made.text.data, len }, &read, NULL),
                             DZ_OK);
    }
    dz_request_release(&made);
}

static void what_cannot_be_asked_for(void **state) {
    static const struct {
        const char *what, *why;
        int64_t life_us;
    } rows[] = {
        { "no reason", "", SECOND },
        { "a second line in the reason", "fine\nkind: release-hold", SECOND },
        { "letters that run the other way", "fine \xe2\x80\xae gnp.exe", SECOND },
        { "bytes that are no UTF-8", "\xff\xfe", SECOND },
        { "it ends before it begins", "fine", -SECOND },
        { "it lives for longer than a month", "fine", DZ_REQUEST_LIFE_MAX_US + SECOND },
    };

    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dz_request_new n = a_deletion();
        struct dz_request made = { 0 };

        n.why = rows[i].why;
        n.expires_us = n.created_us + rows[i].life_us;
        if (dz_request_make(&n, &made, NULL) != DZ_E_USAGE)
            fail_msg("accepted: %s", rows[i].what);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_asked_is_what_is_read),
        cmocka_unit_test(every_kind_can_be_asked_for),
        cmocka_unit_test(how_many_snapshots_a_kind_names),
        cmocka_unit_test(two_requests_for_the_same_thing_are_two),
        cmocka_unit_test(a_changed_byte_is_another_request_or_none),
        cmocka_unit_test(what_cannot_be_asked_for),
    };

    return dz_crypto_init(NULL) == DZ_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
