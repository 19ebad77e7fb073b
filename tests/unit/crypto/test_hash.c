/* SHA-256 gives the standard's values by every way of asking; names depend on all their inputs. */
#include <pthread.h>

#include "crypto/hash.h"
#include "tests/unit/crypto/fixture.h"

struct row {
    const char *name, *text;
    unsigned repeat;
    const char *hash;
};

/* FIPS 180-4, examples of NIST's Cryptographic Toolkit. */
static const struct row rows[] = {
    { "nothing", "", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "one block", "abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "two blocks", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    { "a million letters", "a", 1000000,
      "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0" },
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static dz_slice row_bytes(const struct row *row, dz_buf *b) {
    for (unsigned i = 0; i < row->repeat; i++)
        dz_buf_put(b, row->text, strlen(row->text));
    assert_true(dz_buf_ok(b));
    return dz_buf_slice(b);
}

static void every_way_gives_the_standards_value(void **state) {
    DZ_AUTO(dz_hasher) h = NULL;
    (void) state;

    assert_int_equal(dz_hasher_new(&h, NULL), DZ_OK);
    for (size_t i = 0; i < ROWS; i++) {
        uint8_t want[HEX_MAX], got[DZ_SHA256_BYTES];
        dz_autobuf dz_buf b = { 0 };
        dz_slice bytes = row_bytes(&rows[i], &b);
        size_t half = bytes.len / 2;
        dz_slice parts[3] = { { bytes.data, half },
                              { 0 },
                              { half ? bytes.data + half : bytes.data, bytes.len - half } };

        print_message("  %s\n", rows[i].name);
        (void) unhex(rows[i].hash, want);
        dz_sha256(bytes, got);
        assert_memory_equal(got, want, sizeof got);
        dz_sha256v(parts, 3, got);
        assert_memory_equal(got, want, sizeof got);
        for (unsigned turn = 0; turn < 2; turn++) { /* the second time: final started afresh */
            for (size_t p = 0; p < 3; p++)
                dz_hasher_update(h, parts[p]);
            dz_hasher_final(h, got);
            assert_memory_equal(got, want, sizeof got);
        }
    }
}

static void *hash_often(void *ret_ok) {
    uint8_t want[HEX_MAX], got[DZ_SHA256_BYTES];
    bool ok = true;

    ok = dz_unhex(rows[1].hash, 64, want, 32);
    for (unsigned i = 0; i < 2000 && ok; i++) {
        dz_sha256(DZ_SLICE_LIT("abc"), got);
        ok = memcmp(got, want, sizeof got) == 0;
    }
    *(bool *) ret_ok = ok;
    return NULL;
}

static void threads_do_not_disturb_each_other(void **state) {
    pthread_t threads[4];
    bool ok[4] = { 0 };
    (void) state;

    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_often, &ok[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(ok[i]);
    }
}

static void a_name_is_blake2b_of_kind_and_identity(void **state) {
    uint8_t key[32], want[HEX_MAX];
    dz_id id;
    dz_name name;
    (void) state;

    /* hashlib.blake2b(bytes([3]) + bytes(range(32)), key=b"k"*32, digest_size=16) */
    memset(key, 'k', sizeof key);
    for (uint8_t i = 0; i < sizeof id.b; i++)
        id.b[i] = i;
    (void) unhex("23bbf92c4d251a8e404195c5c5952c06", want);
    name = dz_name_of(key, 3, &id);
    assert_memory_equal(name.b, want, sizeof name.b);
}

static void a_name_changes_with_key_kind_and_identity(void **state) {
    uint8_t key[32] = { 1 }, other_key[32] = { 2 };
    dz_id id = { { 1 } }, other_id = { { 2 } };
    dz_name name = dz_name_of(key, 1, &id), other;
    (void) state;

    other = dz_name_of(other_key, 1, &id);
    assert_memory_not_equal(name.b, other.b, sizeof name.b);
    other = dz_name_of(key, 2, &id);
    assert_memory_not_equal(name.b, other.b, sizeof name.b);
    other = dz_name_of(key, 1, &other_id);
    assert_memory_not_equal(name.b, other.b, sizeof name.b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_gives_the_standards_value),
        cmocka_unit_test(threads_do_not_disturb_each_other),
        cmocka_unit_test(a_name_is_blake2b_of_kind_and_identity),
        cmocka_unit_test(a_name_changes_with_key_kind_and_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
