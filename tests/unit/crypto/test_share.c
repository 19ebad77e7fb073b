/* k shares open, fewer do not; what is wrong with a share, or with its text, is named. */
#include <stdio.h>

#include "crypto/gf256.h"
#include "crypto/share.h"
#include "tests/unit/crypto/fixture.h"

static struct vault ours, other;
static dz_share five[5]; /* of ours, threshold 3 */
static uint8_t given[5 * 32];

static int set_up(void **state) {
    (void) state;
    vault_make(&ours, 1, 1);
    vault_make(&other, 2, 1);
    assert_int_equal(dz_share_split(ours.root, ours.host, 5, 3, five, NULL), DZ_OK);
    for (size_t i = 0; i < 5; i++)
        dz_share_commitment(&five[i], given + 32 * i);
    return 0;
}

static int tear_down(void **state) {
    (void) state;
    vault_free(&ours);
    vault_free(&other);
    return 0;
}

/* ---- the field and the splitting ---- */

static void the_field_is_a_field(void **state) {
    (void) state;
    /* 2 * 128 = x^8 = x^4+x^3+x^2+1; 3 * 7 = x^3+1 ; 0x53 and its product by hand */
    assert_int_equal(dz_gf256_mul(2, 128), 0x1d);
    assert_int_equal(dz_gf256_mul(3, 7), 9);
    assert_int_equal(dz_gf256_inv(0), 0);
    for (unsigned a = 0; a < 256; a++) {
        assert_int_equal(dz_gf256_mul((uint8_t) a, 1), a);
        if (a)
            assert_int_equal(dz_gf256_mul((uint8_t) a, dz_gf256_inv((uint8_t) a)), 1);
        for (unsigned b = 0; b < 256; b++) {
            uint8_t ab = dz_gf256_mul((uint8_t) a, (uint8_t) b);

            assert_int_equal(ab, dz_gf256_mul((uint8_t) b, (uint8_t) a));
            assert_int_equal(dz_gf256_mul((uint8_t) a, (uint8_t) (b ^ 0x35)),
                             ab ^ dz_gf256_mul((uint8_t) a, 0x35));
        }
    }
}

static void every_subset_of_k_opens_and_none_of_fewer(void **state) {
    (void) state;
    for (unsigned n = 2; n <= 6; n++)
        for (unsigned k = 2; k <= n; k++) {
            dz_share all[6];

            assert_int_equal(dz_share_split(ours.root, ours.host, n, k, all, NULL), DZ_OK);
            for (unsigned subset = 1; subset < 1u << n; subset++) {
                uint8_t got[DZ_ROOT_BYTES] = { 0 }, zero[DZ_ROOT_BYTES] = { 0 };
                dz_share some[6];
                unsigned have = 0;
                dz_status st;

                for (unsigned i = n; i-- > 0;) /* in falling order: order does not matter */
                    if (subset >> i & 1)
                        some[have++] = all[i];
                st = dz_share_combine(some, have, ours.host, NULL, 0, got, NULL, NULL);
                if (have < k) {
                    assert_int_equal(st, DZ_E_CLOSED);
                    assert_memory_equal(got, zero, sizeof got);
                } else {
                    assert_int_equal(st, DZ_OK);
                    assert_memory_equal(got, ours.root, sizeof got);
                }
            }
        }
}

static void the_largest_splitting_opens(void **state) {
    static dz_share all[DZ_SHARES_MAX];
    uint8_t got[DZ_ROOT_BYTES];
    (void) state;

    assert_int_equal(dz_share_split(ours.root, ours.host, 255, 255, all, NULL), DZ_OK);
    assert_int_equal(dz_share_combine(all, 255, ours.host, NULL, 0, got, NULL, NULL), DZ_OK);
    assert_memory_equal(got, ours.root, sizeof got);
    assert_int_equal(dz_share_combine(all, 254, ours.host, NULL, 0, got, NULL, NULL), DZ_E_CLOSED);
}

static void splittings_that_make_no_sense_are_refused(void **state) {
    static const struct {
        unsigned n, k;
    } rows[] = { { 0, 0 }, { 1, 1 }, { 5, 1 }, { 5, 0 }, { 5, 6 }, { 256, 2 }, { 1, 2 } };
    dz_share none[1];
    dz_err err;
    (void) state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(dz_share_split(ours.root, ours.host, rows[i].n, rows[i].k, none, NULL),
                         DZ_E_USAGE);
    assert_int_equal(dz_share_split(ours.root, ours.host, 5, 1, none, &err), DZ_E_USAGE);
    assert_non_null(strstr(err.what, "key file"));
}

static void wrong_shares_are_named(void **state) {
    dz_share twin[5], foreign[5], wrong = five[1], wrong_number = five[1], epoch = five[1];
    const struct {
        const char *name;
        dz_share shares[5];
        size_t n;
        bool commitments;
        dz_status want;
        const char *says;
    } rows[] = {
        { "none", { { .x = 1 } }, 0, true, DZ_E_CLOSED, "no share" },
        { "one of three", { five[0] }, 1, true, DZ_E_CLOSED, "2 still missing" },
        { "two of three", { five[0], five[4] }, 2, true, DZ_E_CLOSED, "1 still missing" },
        { "one given three times",
          { five[0], five[0], five[0] },
          3,
          true,
          DZ_E_CLOSED,
          "2 still missing" },
        { "three, one of them twice", { five[2], five[0], five[2], five[4] }, 4, true, DZ_OK, "" },
    };
    (void) state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t got[DZ_ROOT_BYTES];
        dz_err err = { 0 };

        print_message("  %s\n", rows[i].name);
        assert_int_equal(
            dz_share_combine(rows[i].shares, rows[i].n, ours.host, given, 5, got, NULL, &err),
            rows[i].want);
        assert_non_null(strstr(err.what, rows[i].says));
    }

    assert_int_equal(dz_share_split(ours.root, ours.host, 5, 3, twin, NULL), DZ_OK);
    assert_int_equal(dz_share_split(other.root, other.host, 5, 3, foreign, NULL), DZ_OK);
    wrong.y[31] ^= 1;
    wrong_number.x = 4;
    epoch.epoch = 2;
    const struct {
        const char *name;
        const dz_share *second;
        bool commitments;
        dz_status want;
        const char *says;
    } seconds[] = {
        { "a right one", &five[1], true, DZ_OK, "" },
        { "of another vault", &foreign[1], true, DZ_E_POLICY, "share 2 is of another vault" },
        { "of another splitting", &twin[1], true, DZ_E_POLICY, "share 2 (number 2) is of another" },
        { "of another epoch", &epoch, true, DZ_E_POLICY, "share 2 is of epoch 2" },
        { "changed, with commitments", &wrong, true, DZ_E_MALFORMED,
          "share 2 (number 2) is wrong" },
        { "changed, without", &wrong, false, DZ_E_MALFORMED, "at least one" },
        { "renumbered, with commitments", &wrong_number, true, DZ_E_MALFORMED,
          "share 2 (number 4) is wrong" },
        { "renumbered, without", &wrong_number, false, DZ_E_MALFORMED, "at least one" },
    };
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        const dz_share shares[] = { five[0], *seconds[i].second, five[2] };
        uint8_t got[DZ_ROOT_BYTES];
        size_t which = 99;
        dz_err err = { 0 };

        print_message("  the second share is %s\n", seconds[i].name);
        assert_int_equal(dz_share_combine(shares, 3, ours.host,
                                          seconds[i].commitments ? given : NULL, 5, got, &which,
                                          &err),
                         seconds[i].want);
        assert_non_null(strstr(err.what, seconds[i].says));
        assert_int_equal(which, strncmp(seconds[i].says, "share 2", 7) == 0 ? 2 : 0);
    }
}

static void more_wrong_shares_are_named(void **state) {
    dz_share wrong = five[1], twin[5], out_of_range = five[1];
    uint8_t got[DZ_ROOT_BYTES];
    dz_err err = { 0 };
    (void) state;

    wrong.y[0] ^= 0x80;
    const dz_share twice[] = { five[1], wrong, five[0] };
    assert_int_equal(dz_share_combine(twice, 3, ours.host, NULL, 0, got, NULL, &err),
                     DZ_E_MALFORMED);
    assert_non_null(strstr(err.what, "share 2 is a second, different number 2"));

    const dz_share spare[] = { five[0], five[2], five[3], wrong }; /* more than needed */
    assert_int_equal(dz_share_combine(spare, 4, ours.host, NULL, 0, got, NULL, &err),
                     DZ_E_MALFORMED);
    assert_non_null(strstr(err.what, "do not fit each other"));

    /* The stray one is named even when it comes first. */
    assert_int_equal(dz_share_split(ours.root, ours.host, 5, 3, twin, NULL), DZ_OK);
    const dz_share stray[] = { twin[0], five[1], five[2] };
    assert_int_equal(dz_share_combine(stray, 3, ours.host, given, 5, got, NULL, &err), DZ_E_POLICY);
    assert_non_null(strstr(err.what, "share 1"));

    out_of_range.x = 6;
    const dz_share outside[] = { five[0], out_of_range, five[2] };
    assert_int_equal(dz_share_combine(outside, 3, ours.host, given, 5, got, NULL, &err),
                     DZ_E_MALFORMED);
    /* A vault that keeps fewer commitments than the shares say never reads past them. */
    assert_int_equal(dz_share_combine(five, 3, ours.host, given, 2, got, NULL, &err),
                     DZ_E_MALFORMED);
    assert_non_null(strstr(err.what, "share 3"));
}

/* ---- the text ---- */

static void same_share(const dz_share *a, const dz_share *b) {
    uint8_t x[32], y[32];

    dz_share_commitment(a, x);
    dz_share_commitment(b, y);
    assert_memory_equal(x, y, sizeof x);
}

static void text_gives_the_share_back(void **state) {
    dz_autobuf_secret dz_buf text = { 0 };
    dz_share got = { 0 };
    (void) state;

    assert_int_equal(dz_share_write(&five[3], "0123-4567-89ab-cdef", &text, NULL), DZ_OK);
    assert_true(text.len < DZ_SHARE_TEXT_MAX);
    assert_true(dz_share_looks_like(dz_buf_slice(&text)));
    assert_int_equal(dz_share_read(dz_buf_slice(&text), &got, NULL), DZ_OK);
    same_share(&got, &five[3]);

    dz_buf_clear(&text);
    memset(&got, 0, sizeof got);
    assert_int_equal(dz_share_write_qr(&five[3], &text, NULL), DZ_OK);
    assert_true(dz_share_looks_like(dz_buf_slice(&text)));
    for (size_t i = 0; i < text.len; i++) /* what QR's alphanumeric mode can say */
        assert_non_null(memchr("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:", text.data[i], 45));
    assert_int_equal(dz_share_read(dz_buf_slice(&text), &got, NULL), DZ_OK);
    same_share(&got, &five[3]);
}

/* A share of known bytes, so that its letters are the format's and never change. */
static dz_share known_share(void) {
    dz_share s = { .epoch = 1, .x = 2, .threshold = 3, .count = 5 };

    for (uint8_t i = 0; i < sizeof s.vault.b; i++)
        s.vault.b[i] = i;
    memset(s.set, 0xa5, sizeof s.set);
    for (uint8_t i = 0; i < sizeof s.y; i++)
        s.y[i] = (uint8_t) (0xff - i);
    return s;
}
static const char known_letters[] =
    "0400520G380G2GVC1R8A14505P30D51R7GH2000202JTBB9D5HMPJTZB98290C2ZGZZQX1"
    "ZKXZ4NYFRZYZVFRBX7KWYBRZ21VZEAXQPEGQTQ9DX3KYJDSF4YWFHEE3R4WZQ47A5PEDB1";

static void letters_are_those_of_the_format(void **state) {
    const dz_share s = known_share();
    char got[DZ_SHARE_LETTERS + 1];
    (void) state;

    dz_share_letters(&s, got);
    assert_string_equal(got, known_letters);
}

/* The letters in groups, with a separator after each, and one before all. */
static void put_groups(dz_buf *b, const char *letters, const char *before, const char *after) {
    dz_buf_printf(b, "%s", before);
    for (size_t g = 0; g < DZ_SHARE_GROUPS; g++)
        dz_buf_printf(b, "%.5s%s", letters + 5 * g, after);
    assert_true(dz_buf_ok(b));
}

static void typing_habits_do_not_matter(void **state) {
    static const struct {
        const char *name, *before, *after;
    } rows[] = {
        { "one group a line", "", "\n" },
        { "Windows line ends", "", "\r\n" },
        { "one long word", "", "" },
        { "hyphens instead of spaces", "", "-" },
        { "a byte order mark and tabs", "\xef\xbb\xbf", "\t" },
        { "wide spaces", "", "\xe3\x80\x80" },
        { "a label and a mail's quoting", "> 1: ", " " },
        { "the QR text, broken into words", "DOZO1:", " " },
        { "under the file's first line", "dozo share v1\n1: ", " " },
        { "the file, with words for people", "dozo share v1\nVault OPEN ME\n 1: ", " " },
    };
    const dz_share want = known_share();
    (void) state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dz_autobuf dz_buf b = { 0 };
        dz_share got = { 0 };

        print_message("  %s\n", rows[i].name);
        put_groups(&b, known_letters, rows[i].before, rows[i].after);
        assert_true(dz_share_looks_like(dz_buf_slice(&b)));
        assert_int_equal(dz_share_read(dz_buf_slice(&b), &got, NULL), DZ_OK);
        same_share(&got, &want);
    }
}

static void look_alikes_and_wide_letters_are_taken_as_meant(void **state) {
    const dz_share want = known_share();
    static const char from[] = "011V0", to[] = "OiLuo";
    dz_autobuf dz_buf wide = { 0 };
    char text[DZ_SHARE_LETTERS + 1];
    dz_share got = { 0 };
    (void) state;

    for (size_t way = 0; way < sizeof from - 1; way++) {
        memcpy(text, known_letters, sizeof text);
        for (size_t i = 0; i < DZ_SHARE_LETTERS; i++)
            if (text[i] == from[way])
                text[i] = to[way];
            else if (text[i] >= 'A')
                text[i] = (char) (text[i] - 'A' + 'a');
        assert_int_equal(dz_share_read((dz_slice){ (uint8_t *) text, sizeof text - 1 }, &got, NULL),
                         DZ_OK);
        same_share(&got, &want);
    }
    for (size_t i = 0; i < DZ_SHARE_LETTERS; i++) { /* U+FF01 is '!' */
        unsigned point = 0xff01u + (unsigned) (known_letters[i] - '!');
        dz_buf_put_u8(&wide, 0xef);
        dz_buf_put_u8(&wide, (uint8_t) (0x80 | (point >> 6 & 63)));
        dz_buf_put_u8(&wide, (uint8_t) (0x80 | (point & 63)));
    }
    assert_true(dz_buf_ok(&wide));
    assert_int_equal(dz_share_read(dz_buf_slice(&wide), &got, NULL), DZ_OK);
    same_share(&got, &want);
}

static dz_status read_letters(const char *letters, dz_err *err) {
    dz_autobuf dz_buf b = { 0 };
    dz_share got;

    put_groups(&b, letters, "", " ");
    return dz_share_read(dz_buf_slice(&b), &got, err);
}

static void every_single_wrong_letter_is_named(void **state) {
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    char text[DZ_SHARE_LETTERS + 1], says[64];
    (void) state;

    memcpy(text, known_letters, sizeof text);
    for (size_t at = 0; at < DZ_SHARE_LETTERS; at++) {
        (void) snprintf(says, sizeof says, "group %zu is mistyped", at / 5 + 1);
        for (const char *c = alphabet; *c; c++) {
            dz_err err = { 0 };

            if (*c == known_letters[at])
                continue;
            text[at] = *c;
            assert_int_equal(read_letters(text, &err), DZ_E_MALFORMED);
            assert_non_null(strstr(err.what, says));
        }
        text[at] = known_letters[at];
    }
}

static void every_exchange_inside_a_group_is_named(void **state) {
    char text[DZ_SHARE_LETTERS + 1], says[64];
    dz_share s = known_share();
    (void) state;

    memset(s.y, 0x1b, sizeof s.y);
    for (unsigned round = 0; round < 20; round++) {
        char good[DZ_SHARE_LETTERS + 1];

        dz_random(s.y, sizeof s.y);
        dz_share_letters(&s, good);
        for (size_t at = 0; at < DZ_SHARE_LETTERS; at++)
            for (size_t with = at + 1; with % 5 != 0; with++) {
                dz_err err = { 0 };

                if (good[at] == good[with])
                    continue;
                memcpy(text, good, sizeof text);
                text[at] = good[with];
                text[with] = good[at];
                (void) snprintf(says, sizeof says, "group %zu is mistyped", at / 5 + 1);
                assert_int_equal(read_letters(text, &err), DZ_E_MALFORMED);
                assert_non_null(strstr(err.what, says));
            }
    }
}

static void groups_in_wrong_places_are_named(void **state) {
    char text[DZ_SHARE_LETTERS + 1], says[64];
    (void) state;

    for (size_t a = 0; a < DZ_SHARE_GROUPS; a++)
        for (size_t b = a + 1; b < DZ_SHARE_GROUPS; b++) {
            dz_err err = { 0 };

            memcpy(text, known_letters, sizeof text);
            memcpy(text + 5 * a, known_letters + 5 * b, 5);
            memcpy(text + 5 * b, known_letters + 5 * a, 5);
            (void) snprintf(says, sizeof says, "2 groups are mistyped: %zu, %zu", a + 1, b + 1);
            assert_int_equal(read_letters(text, &err), DZ_E_MALFORMED);
            assert_non_null(strstr(err.what, says));
        }
}

static void a_missing_or_doubled_group_is_named(void **state) {
    (void) state;
    for (size_t g = 0; g < DZ_SHARE_GROUPS; g++) {
        dz_autobuf dz_buf missing = { 0 };
        dz_autobuf dz_buf short_one = { 0 };
        dz_autobuf dz_buf doubled = { 0 };
        dz_autobuf dz_buf long_one = { 0 };
        dz_err err = { 0 };
        char says[64];
        dz_share got;

        for (size_t i = 0; i < DZ_SHARE_GROUPS; i++) {
            const char *group = known_letters + 5 * i;

            if (i != g)
                dz_buf_printf(&missing, "%.5s ", group);
            dz_buf_printf(&short_one, "%.*s ", i == g ? 4 : 5, group);
            dz_buf_printf(&long_one, "%.5s%s ", group, i == g ? "7" : "");
            dz_buf_printf(&doubled, "%.5s ", group);
            if (i == g)
                dz_buf_printf(&doubled, "%.5s ", group);
        }
        assert_int_equal(dz_share_read(dz_buf_slice(&missing), &got, &err), DZ_E_MALFORMED);
        if (g + 1 < DZ_SHARE_GROUPS)
            (void) snprintf(says, sizeof says, "1 of 28 groups missing, the first about group %zu",
                            g + 1);
        else
            (void) snprintf(says, sizeof says, "the last 1 of 28 groups are missing");
        assert_non_null(strstr(err.what, says));
        (void) snprintf(says, sizeof says, "group %zu does not have 5 letters", g + 1);
        assert_int_equal(dz_share_read(dz_buf_slice(&short_one), &got, &err), DZ_E_MALFORMED);
        assert_non_null(strstr(err.what, says));
        assert_int_equal(dz_share_read(dz_buf_slice(&long_one), &got, &err), DZ_E_MALFORMED);
        assert_non_null(strstr(err.what, says));
        assert_int_equal(dz_share_read(dz_buf_slice(&doubled), &got, &err), DZ_E_MALFORMED);
        assert_non_null(strstr(err.what, "29 groups"));
    }
}

static void every_cut_of_a_file_is_noticed(void **state) {
    dz_autobuf_secret dz_buf text = { 0 };
    dz_share got;
    (void) state;

    assert_int_equal(dz_share_write(&five[0], "0123-4567-89ab-cdef", &text, NULL), DZ_OK);
    for (size_t len = 0; len + 1 < text.len; len++) /* only the last line end may be missing */
        assert_int_equal(dz_share_read((dz_slice){ text.data, len }, &got, NULL), DZ_E_MALFORMED);
}

static void other_texts_are_refused(void **state) {
    static uint8_t large[DZ_SHARE_TEXT_MAX + 1];
    static const struct {
        const char *name, *text, *says;
    } rows[] = {
        { "nothing", "", "no groups" },
        { "only white space", " \n\t ", "no groups" },
        { "a file without groups", "dozo share v1\nhello\n", "no groups" },
        { "a strange character", "ABC!E", "group 1 has a character" },
        { "one in the second group", "0433F VM#SK", "group 2 has a character" },
        { "a byte that is no text", "\xff\xfe", "group 1 has a character" },
        { "half a wide letter", "\xef\xbc", "group 1 has a character" },
    };
    dz_share got;
    (void) state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dz_err err = { 0 };

        print_message("  %s\n", rows[i].name);
        assert_int_equal(
            dz_share_read((dz_slice){ (const uint8_t *) rows[i].text, strlen(rows[i].text) }, &got,
                          &err),
            DZ_E_MALFORMED);
        assert_non_null(strstr(err.what, rows[i].says));
    }
    assert_false(dz_share_looks_like(DZ_SLICE_LIT("a short word or two")));
    memset(large, ' ', sizeof large);
    assert_false(dz_share_looks_like((dz_slice){ large, sizeof large }));
    assert_int_equal(dz_share_read((dz_slice){ large, sizeof large }, &got, NULL), DZ_E_LIMIT);
    /* Every byte but NUL and line ends alone: never a crash, never a share. */
    for (unsigned c = 0; c < 256; c++) {
        uint8_t byte = (uint8_t) c;
        assert_int_not_equal(dz_share_read((dz_slice){ &byte, 1 }, &got, NULL), DZ_OK);
    }
}

static void impossible_numbers_are_refused(void **state) {
    static const struct {
        const char *name;
        uint32_t epoch;
        uint8_t x, threshold, count;
    } rows[] = {
        { "number 0", 1, 0, 3, 5 },    { "a number over the count", 1, 6, 3, 5 },
        { "threshold 1", 1, 1, 1, 5 }, { "a threshold over the count", 1, 1, 6, 5 },
        { "epoch 0", 0, 1, 3, 5 },     { "a count of 0", 1, 1, 2, 0 },
    };
    (void) state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dz_share s = known_share();
        char letters[DZ_SHARE_LETTERS + 1];

        print_message("  %s\n", rows[i].name);
        s.epoch = rows[i].epoch;
        s.x = rows[i].x;
        s.threshold = rows[i].threshold;
        s.count = rows[i].count;
        dz_share_letters(&s, letters);
        assert_int_equal(read_letters(letters, NULL), DZ_E_MALFORMED);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_field_is_a_field),
        cmocka_unit_test(every_subset_of_k_opens_and_none_of_fewer),
        cmocka_unit_test(the_largest_splitting_opens),
        cmocka_unit_test(splittings_that_make_no_sense_are_refused),
        cmocka_unit_test(wrong_shares_are_named),
        cmocka_unit_test(more_wrong_shares_are_named),
        cmocka_unit_test(text_gives_the_share_back),
        cmocka_unit_test(letters_are_those_of_the_format),
        cmocka_unit_test(typing_habits_do_not_matter),
        cmocka_unit_test(look_alikes_and_wide_letters_are_taken_as_meant),
        cmocka_unit_test(every_single_wrong_letter_is_named),
        cmocka_unit_test(every_exchange_inside_a_group_is_named),
        cmocka_unit_test(groups_in_wrong_places_are_named),
        cmocka_unit_test(a_missing_or_doubled_group_is_named),
        cmocka_unit_test(every_cut_of_a_file_is_noticed),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(impossible_numbers_are_refused),
    };
    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
