/* What was sealed opens under the same key, number and associated data, and under nothing else. */
#include <sodium.h>

#include "crypto/aead.h"
#include "tests/unit/crypto/fixture.h"

struct row {
    const char *name, *key;
    uint32_t number;
    const char *aad, *plain, *sealed;
};

#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
#define COUNT "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
/* clang-format off */
static const struct row rows[] = {
    /* McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13 and 14 */
    { "nothing under zeros", ZERO, 0, "", "", "530f8afbc74536b9a963b4f1c4cb738b" },
    { "one block under zeros", ZERO, 0, "", "00000000000000000000000000000000",
      "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919" },
    /* made with another implementation, to hold the nonce's byte order */
    { "number 1, with associated data", COUNT, 1, "aabbcc", "00112233445566778899", "e23da00ce0fa8a70c29dd2830b6ddba1701a7bf136010737412e" },
    { "the last number", COUNT, 65535, "", "ff", "a757d9bb58fca27128f6818ea00d40ed51" },
};
/* clang-format on */

static void sealing_gives_known_values(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t key[HEX_MAX], aad[HEX_MAX], plain[HEX_MAX], want[HEX_MAX], got[HEX_MAX];
        dz_slice a = unhex(rows[i].aad, aad), p = unhex(rows[i].plain, plain);
        dz_slice w = unhex(rows[i].sealed, want);

        print_message("  %s\n", rows[i].name);
        (void) unhex(rows[i].key, key);
        assert_int_equal(dz_aead_seal(key, rows[i].number, a, p, got, NULL), DZ_OK);
        assert_memory_equal(got, want, w.len);
        assert_int_equal(dz_aead_open(key, rows[i].number, a, w, got, NULL), DZ_OK);
        assert_memory_equal(got, plain, p.len);
    }
}

static void another_library_seals_the_same(void **state) {
    static uint8_t plain[70000], ours[sizeof plain + 16], theirs[sizeof plain + 16];
    static const size_t lengths[] = { 0, 1, 15, 16, 17, 255, 4096, 65537, sizeof plain };
    uint8_t key[DZ_AEAD_KEY_BYTES], nonce[12];
    (void) state;

    if (!crypto_aead_aes256gcm_is_available())
        skip();
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint32_t number = (uint32_t) i * 257;
        dz_slice aad = { plain, i };

        dz_random(key, sizeof key);
        dz_random(plain, lengths[i]);
        memset(nonce, 0, sizeof nonce);
        dz_store_le(nonce, 4, number);
        assert_int_equal(
            dz_aead_seal(key, number, aad, (dz_slice){ plain, lengths[i] }, ours, NULL), DZ_OK);
        (void) crypto_aead_aes256gcm_encrypt(theirs, NULL, plain, lengths[i], aad.data, aad.len,
                                             NULL, nonce, key);
        assert_memory_equal(ours, theirs, lengths[i] + 16);
    }
}

static void every_flipped_bit_is_noticed(void **state) {
    static const uint8_t key[DZ_AEAD_KEY_BYTES] = { 7 }, plain[40] = { 1, 2, 3 };
    static const uint8_t aad[5] = { 9, 8, 7, 6, 5 };
    uint8_t sealed[sizeof plain + 16], got[sizeof plain], zero[sizeof plain] = { 0 };
    (void) state;

    assert_int_equal(dz_aead_seal(key, 5, (dz_slice){ aad, sizeof aad },
                                  (dz_slice){ plain, sizeof plain }, sealed, NULL),
                     DZ_OK);
    for (size_t bit = 0; bit < sizeof sealed * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t) (1u << bit % 8);
        memset(got, 0xee, sizeof got);
        assert_int_equal(dz_aead_open(key, 5, (dz_slice){ aad, sizeof aad },
                                      (dz_slice){ sealed, sizeof sealed }, got, NULL),
                         DZ_E_CORRUPT);
        assert_memory_equal(got, zero, sizeof got); /* nothing unproved is handed out */
        sealed[bit / 8] ^= (uint8_t) (1u << bit % 8);
    }
}

static void wrong_circumstances_are_noticed(void **state) {
    static const uint8_t key[DZ_AEAD_KEY_BYTES] = { 7 }, other[DZ_AEAD_KEY_BYTES] = { 8 };
    const dz_slice aad = DZ_SLICE_LIT("here"), elsewhere = DZ_SLICE_LIT("there");
    uint8_t sealed[5 + 16], got[5 + 16];
    const dz_slice whole = { sealed, sizeof sealed };
    const struct {
        const char *name;
        const uint8_t *key;
        uint32_t number;
        dz_slice aad, sealed;
        dz_status want;
    } cases[] = {
        { "as it was", key, 5, aad, whole, DZ_OK },
        { "another key", other, 5, aad, whole, DZ_E_CORRUPT },
        { "another number", key, 6, aad, whole, DZ_E_CORRUPT },
        { "number 0", key, 0, aad, whole, DZ_E_CORRUPT },
        { "other associated data", key, 5, elsewhere, whole, DZ_E_CORRUPT },
        { "no associated data", key, 5, { 0 }, whole, DZ_E_CORRUPT },
        { "one byte short", key, 5, aad, { sealed, sizeof sealed - 1 }, DZ_E_CORRUPT },
        { "only a tag", key, 5, aad, { sealed, 16 }, DZ_E_CORRUPT },
        { "less than a tag", key, 5, aad, { sealed, 15 }, DZ_E_CORRUPT },
        { "nothing", key, 5, aad, { 0 }, DZ_E_CORRUPT },
        { "a number over the limit", key, DZ_AEAD_MESSAGES_MAX, aad, whole, DZ_E_LIMIT },
    };
    (void) state;

    assert_int_equal(dz_aead_seal(key, 5, aad, DZ_SLICE_LIT("hello"), sealed, NULL), DZ_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("  %s\n", cases[i].name);
        assert_int_equal(
            dz_aead_open(cases[i].key, cases[i].number, cases[i].aad, cases[i].sealed, got, NULL),
            cases[i].want);
    }
}

static void works_in_place_and_keeps_its_limits(void **state) {
    static const uint8_t key[DZ_AEAD_KEY_BYTES] = { 7 };
    uint8_t at[5 + 16] = "hello", apart[5 + 16];
    const dz_slice none = { 0 };
    (void) state;

    assert_int_equal(dz_aead_seal(key, 1, none, DZ_SLICE_LIT("hello"), apart, NULL), DZ_OK);
    assert_int_equal(dz_aead_seal(key, 1, none, (dz_slice){ at, 5 }, at, NULL), DZ_OK);
    assert_memory_equal(at, apart, sizeof at);
    assert_int_equal(dz_aead_open(key, 1, none, (dz_slice){ at, sizeof at }, at, NULL), DZ_OK);
    assert_memory_equal(at, "hello", 5);
    assert_int_equal(dz_aead_seal(key, DZ_AEAD_MESSAGES_MAX, none, none, at, NULL), DZ_E_LIMIT);
    /* The length alone is refused: the bytes are not looked at. */
    assert_int_equal(dz_aead_seal(key, 0, none, (dz_slice){ at, DZ_AEAD_BYTES_MAX + 1 }, at, NULL),
                     DZ_E_LIMIT);
    assert_int_equal(dz_aead_open(key, 0, none, (dz_slice){ at, DZ_AEAD_BYTES_MAX + 17 }, at, NULL),
                     DZ_E_LIMIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealing_gives_known_values),
        cmocka_unit_test(another_library_seals_the_same),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(wrong_circumstances_are_noticed),
        cmocka_unit_test(works_in_place_and_keeps_its_limits),
    };
    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
