/* A segment key opens for the recipients it was sealed to, in its own place, and for nobody else.
 */
#include "crypto/recipient.h"
#include "tests/unit/crypto/fixture.h"

static struct vault ours, epoch2, other;

static int set_up(void **state) {
    (void) state;
    vault_make(&ours, 1, 1);
    vault_make(&epoch2, 1, 2);
    vault_make(&other, 2, 1);
    return 0;
}

static int tear_down(void **state) {
    (void) state;
    vault_free(&ours);
    vault_free(&epoch2);
    vault_free(&other);
    return 0;
}

static const dz_slice here = { (const uint8_t *) "segment 1", 9 };

static void a_sealed_key_opens_where_it_belongs(void **state) {
    struct dz_host_keys hedge = *ours.host, vault = *ours.host;
    const struct {
        const char *name;
        bool to_host;
        const struct dz_host_keys *host;
        const struct dz_open_keys *open;
        dz_slice context;
        dz_status want;
    } rows[] = {
        { "by the open vault", false, ours.host, ours.open, here, DZ_OK },
        { "not by the closed vault", false, ours.host, NULL, here, DZ_E_CLOSED },
        { "not by a later epoch", false, ours.host, epoch2.open, here, DZ_E_CLOSED },
        { "not by another vault", false, other.host, other.open, here, DZ_E_CORRUPT },
        { "not without the hedge", false, &hedge, ours.open, here, DZ_E_CORRUPT },
        { "not under another vault's name", false, &vault, ours.open, here, DZ_E_CORRUPT },
        { "not in another place", false, ours.host, ours.open, DZ_SLICE_LIT("segment 2"),
          DZ_E_CORRUPT },
        { "not without a place", false, ours.host, ours.open, { 0 }, DZ_E_CORRUPT },
        { "to the host: by the closed vault", true, ours.host, NULL, here, DZ_OK },
        { "to the host: by the open vault", true, ours.host, ours.open, here, DZ_OK },
    };
    (void) state;

    hedge.hedge[31] ^= 1;
    vault.vault.b[0] ^= 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t key[DZ_KEY_BYTES], got[DZ_KEY_BYTES] = { 0 }, zero[DZ_KEY_BYTES] = { 0 };
        dz_autobuf dz_buf b = { 0 };
        dz_reader r;

        print_message("  %s\n", rows[i].name);
        if (rows[i].to_host) {
            assert_int_equal(dz_recipient_seal_host(ours.host, here, &b, key, NULL), DZ_OK);
            assert_int_equal(b.len, DZ_SEALED_HOST_KEY_BYTES);
        } else {
            assert_int_equal(dz_recipient_seal(ours.host, here, &b, key, NULL), DZ_OK);
            assert_int_equal(b.len, DZ_SEALED_KEY_BYTES);
        }
        dz_buf_put_u8(&b, 0x55); /* what follows is left alone */
        r = dz_reader_over(dz_buf_slice(&b));
        assert_int_equal(
            dz_recipient_open(rows[i].host, rows[i].open, rows[i].context, &r, got, NULL),
            rows[i].want);
        if (rows[i].want == DZ_OK) {
            assert_memory_equal(got, key, sizeof key);
            assert_int_equal(dz_read_u8(&r), 0x55);
        } else
            assert_memory_equal(got, zero, sizeof got);
        r = dz_reader_over(dz_buf_slice(&b));
        assert_int_equal(dz_recipient_skip(&r, NULL), DZ_OK);
        assert_int_equal(dz_read_u8(&r), 0x55);
    }
}

static void the_host_key_depends_on_its_inputs(void **state) {
    struct dz_host_keys reference = *ours.host;
    uint8_t key[DZ_KEY_BYTES], got[DZ_KEY_BYTES];
    dz_autobuf dz_buf b = { 0 };
    dz_reader r;
    (void) state;

    assert_int_equal(dz_recipient_seal_host(ours.host, here, &b, key, NULL), DZ_OK);
    r = dz_reader_over(dz_buf_slice(&b));
    assert_int_equal(dz_recipient_open(ours.host, NULL, DZ_SLICE_LIT("segment 2"), &r, got, NULL),
                     DZ_OK);
    assert_memory_not_equal(got, key, sizeof key);
    reference.reference[0] ^= 1;
    r = dz_reader_over(dz_buf_slice(&b));
    assert_int_equal(dz_recipient_open(&reference, NULL, here, &r, got, NULL), DZ_OK);
    assert_memory_not_equal(got, key, sizeof key);
    /* The same place twice still gives two keys. */
    b.len = 0;
    assert_int_equal(dz_recipient_seal_host(ours.host, here, &b, got, NULL), DZ_OK);
    assert_memory_not_equal(got, key, sizeof key);
}

static void every_flipped_bit_is_noticed(void **state) {
    uint8_t key[DZ_KEY_BYTES], got[DZ_KEY_BYTES];
    dz_autobuf dz_buf b = { 0 };
    (void) state;

    assert_int_equal(dz_recipient_seal(ours.host, here, &b, key, NULL), DZ_OK);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        /* The top bit of an X25519 coordinate is ignored (RFC 7748), but not by the wrap key. */
        dz_reader r;

        b.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
        r = dz_reader_over(dz_buf_slice(&b));
        assert_int_not_equal(dz_recipient_open(ours.host, ours.open, here, &r, got, NULL), DZ_OK);
        b.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
    }
}

static void put_stanza(dz_buf *b, uint16_t algorithm, size_t body, uint32_t epoch) {
    dz_buf_put_le16(b, algorithm);
    dz_buf_put_le16(b, (uint16_t) body);
    dz_buf_put_le32(b, epoch);
    for (size_t i = 0; i < body; i++)
        dz_buf_put_u8(b, (uint8_t) i);
}

static void lists_are_read_as_the_format_says(void **state) {
    static const struct {
        const char *name;
        unsigned count, unknown; /* said; stanzas of unknown algorithms before ours */
        size_t body;             /* of those */
        bool ours;
        size_t cut; /* bytes missing at the end */
        dz_status want, skip;
    } rows[] = {
        { "ours alone", 1, 0, 0, true, 0, DZ_OK, DZ_OK },
        { "an unknown algorithm first", 2, 1, 1100, true, 0, DZ_OK, DZ_OK },
        { "seven of them first", 8, 7, 4096, true, 0, DZ_OK, DZ_OK },
        { "an empty unknown body", 2, 1, 0, true, 0, DZ_OK, DZ_OK },
        { "only unknown algorithms", 3, 3, 10, false, 0, DZ_E_CLOSED, DZ_OK },
        { "no recipient", 0, 0, 0, true, 0, DZ_E_MALFORMED, DZ_E_MALFORMED },
        { "nine recipients", 9, 8, 1, true, 0, DZ_E_LIMIT, DZ_E_LIMIT },
        { "a body over the limit", 2, 1, 4097, true, 0, DZ_E_LIMIT, DZ_E_LIMIT },
        { "one stanza less than said", 2, 0, 0, true, 0, DZ_E_MALFORMED, DZ_E_MALFORMED },
        { "cut in the body", 1, 0, 0, true, 1, DZ_E_MALFORMED, DZ_E_MALFORMED },
        { "cut in the head", 1, 0, 0, true, 81, DZ_E_MALFORMED, DZ_E_MALFORMED },
        { "cut after the count", 1, 0, 0, true, 88, DZ_E_MALFORMED, DZ_E_MALFORMED },
        { "nothing at all", 1, 0, 0, true, 89, DZ_E_MALFORMED, DZ_E_MALFORMED },
    };
    (void) state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t key[DZ_KEY_BYTES], got[DZ_KEY_BYTES];
        dz_autobuf dz_buf b = { 0 };
        dz_autobuf dz_buf sealed = { 0 };
        dz_reader r;

        print_message("  %s\n", rows[i].name);
        dz_buf_put_u8(&b, (uint8_t) rows[i].count);
        for (unsigned u = 0; u < rows[i].unknown; u++)
            put_stanza(&b, 900, rows[i].body, 1);
        assert_int_equal(dz_recipient_seal(ours.host, here, &sealed, key, NULL), DZ_OK);
        if (rows[i].ours)
            dz_buf_put(&b, sealed.data + 1, sealed.len - 1);
        assert_true(dz_buf_ok(&b));
        b.len -= rows[i].cut;
        r = dz_reader_over(dz_buf_slice(&b));
        assert_int_equal(dz_recipient_open(ours.host, ours.open, here, &r, got, NULL),
                         rows[i].want);
        if (rows[i].want == DZ_OK) {
            assert_memory_equal(got, key, sizeof key);
            assert_true(dz_reader_done(&r));
        }
        r = dz_reader_over(dz_buf_slice(&b));
        assert_int_equal(dz_recipient_skip(&r, NULL), rows[i].skip);
    }
}

static void a_stanza_of_ours_with_a_wrong_length_is_damage(void **state) {
    static const struct {
        const char *name;
        uint16_t algorithm;
        size_t body;
    } rows[] = {
        { "X25519, short", DZ_RECIPIENT_X25519, 79 }, { "X25519, empty", DZ_RECIPIENT_X25519, 0 },
        { "X25519, long", DZ_RECIPIENT_X25519, 81 },  { "host, short", DZ_RECIPIENT_HOST, 31 },
        { "host, empty", DZ_RECIPIENT_HOST, 0 },
    };
    (void) state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dz_autobuf dz_buf b = { 0 };
        uint8_t got[DZ_KEY_BYTES];
        dz_reader r;

        print_message("  %s\n", rows[i].name);
        dz_buf_put_u8(&b, 1);
        put_stanza(&b, rows[i].algorithm, rows[i].body, 1);
        assert_true(dz_buf_ok(&b));
        r = dz_reader_over(dz_buf_slice(&b));
        assert_int_equal(dz_recipient_open(ours.host, ours.open, here, &r, got, NULL),
                         DZ_E_CORRUPT);
    }
}

static void points_of_small_order_are_refused(void **state) {
    struct dz_host_keys zero = *ours.host;
    uint8_t key[DZ_KEY_BYTES];
    dz_autobuf dz_buf b = { 0 };
    dz_reader r;
    (void) state;

    memset(zero.recipient, 0, sizeof zero.recipient);
    assert_int_equal(dz_recipient_seal(&zero, here, &b, key, NULL), DZ_E_CORRUPT);
    assert_int_equal(b.len, 0);
    assert_int_equal(dz_recipient_seal(ours.host, here, &b, key, NULL), DZ_OK);
    memset(b.data + 9, 0, DZ_KEY_BYTES); /* the ephemeral key */
    r = dz_reader_over(dz_buf_slice(&b));
    assert_int_equal(dz_recipient_open(ours.host, ours.open, here, &r, key, NULL), DZ_E_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_key_opens_where_it_belongs),
        cmocka_unit_test(the_host_key_depends_on_its_inputs),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(lists_are_read_as_the_format_says),
        cmocka_unit_test(a_stanza_of_ours_with_a_wrong_length_is_damage),
        cmocka_unit_test(points_of_small_order_are_refused),
    };
    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
