/* The hierarchy, the fingerprint, the host key file.  The values themselves: tests/golden. */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "tests/unit/crypto/fixture.h"

static void starting_forbids_core_dumps(void **state) {
    struct rlimit limit;
    (void) state;

    assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    assert_int_equal(limit.rlim_max, 0);
}

static void keys_depend_on_root_vault_and_epoch(void **state) {
    struct vault a, epoch2, other;
    DZ_AUTO(dz_host_keys) moved = NULL;
    (void) state;

    vault_make(&a, 1, 1);
    vault_make(&epoch2, 1, 2);
    vault_make(&other, 2, 1);
    assert_int_equal(dz_keys_derive(a.root, &other.host->vault, 1, &moved, NULL, NULL), DZ_OK);

    /* A new epoch of one root: another pair, the same names. */
    assert_memory_not_equal(a.host->recipient, epoch2.host->recipient, DZ_KEY_BYTES);
    assert_memory_equal(a.host->master, epoch2.host->master, DZ_KEY_BYTES);
    assert_memory_equal(a.host->name, epoch2.host->name, DZ_KEY_BYTES);
    assert_memory_equal(a.host->hedge, epoch2.host->hedge, DZ_KEY_BYTES);
    /* Another vault of one root: nothing is the same. */
    assert_memory_not_equal(a.host->recipient, moved->recipient, DZ_KEY_BYTES);
    assert_memory_not_equal(a.host->master, moved->master, DZ_KEY_BYTES);
    assert_memory_not_equal(a.host->hedge, moved->hedge, DZ_KEY_BYTES);
    assert_memory_not_equal(a.host->name, moved->name, DZ_KEY_BYTES);
    assert_memory_not_equal(a.host->recipient, other.host->recipient, DZ_KEY_BYTES);
    vault_free(&a);
    vault_free(&epoch2);
    vault_free(&other);
}

static void labels_and_contexts_do_not_run_together(void **state) {
    static const uint8_t parent[DZ_KEY_BYTES] = { 1 };
    uint8_t a[DZ_KEY_BYTES], b[DZ_KEY_BYTES];
    (void) state;

    dz_key_derive(parent, "ab", DZ_SLICE_LIT("c"), a);
    dz_key_derive(parent, "a", DZ_SLICE_LIT("bc"), b);
    assert_memory_not_equal(a, b, sizeof a);
    memcpy(b, parent, sizeof b);
    dz_key_derive(b, "ab", DZ_SLICE_LIT("c"), b); /* onto itself */
    assert_memory_equal(a, b, sizeof a);
}

static void epoch_0_is_refused(void **state) {
    static const uint8_t root[DZ_ROOT_BYTES] = { 1 };
    struct dz_host_keys *host = NULL;
    const dz_vault_id id = { { 1 } };
    (void) state;

    assert_int_equal(dz_keys_derive(root, &id, 0, &host, NULL, NULL), DZ_E_USAGE);
    assert_null(host);
}

static void made_keys_cannot_be_written(void **state) {
    struct vault v;
    pid_t child;
    int how = 0;
    (void) state;

    vault_make(&v, 1, 1);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void) signal(SIGSEGV, SIG_DFL);
        *(volatile uint8_t *) v.host->master ^= 1;
        _exit(0);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_false(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    vault_free(&v);
}

static void the_fingerprint_is_four_groups_of_four(void **state) {
    char text[DZ_FINGERPRINT_TEXT], other[DZ_FINGERPRINT_TEXT];
    struct vault a, b;
    (void) state;

    vault_make(&a, 1, 1);
    vault_make(&b, 1, 2);
    dz_keys_fingerprint(a.host, text);
    dz_keys_fingerprint(b.host, other);
    assert_int_equal(strlen(text), 19);
    for (size_t i = 0; i < 19; i++)
        assert_true(i % 5 == 4 ? text[i] == '-' : strchr("0123456789abcdef", text[i]) != NULL);
    assert_string_not_equal(text, other);
    vault_free(&a);
    vault_free(&b);
}

/* Rows edit a good file at one place; the checksum is made to fit again where `fix` says so. */
struct row {
    const char *name;
    size_t at;
    uint8_t value;
    int grow; /* bytes more or less */
    bool fix;
    dz_status want;
};
static const struct row rows[] = {
    { "as written", 0, 'D', 0, false, DZ_OK },
    { "another magic", 0, 'X', 0, true, DZ_E_MALFORMED },
    { "a newer version", 8, 2, 0, true, DZ_E_UNSUPPORTED },
    { "an unknown compatible feature", 12, 1, 0, true, DZ_OK },
    { "an unknown incompatible feature", 16, 1, 0, true, DZ_E_UNSUPPORTED },
    { "a length that is not the file's", 20, 157, 0, true, DZ_E_MALFORMED },
    { "epoch 0", 40, 0, 0, true, DZ_E_MALFORMED },
    { "one byte short", 0, 'D', -1, false, DZ_E_MALFORMED },
    { "one byte long", 0, 'D', 1, false, DZ_E_MALFORMED },
    { "only a head", 0, 'D', -132, false, DZ_E_MALFORMED },
    { "half a head", 0, 'D', -140, false, DZ_E_MALFORMED },
    { "over the limit", 0, 'D', 4000, false, DZ_E_LIMIT },
};

static void fix_sum(uint8_t *file, size_t len) {
    uint8_t hash[DZ_SHA256_BYTES];

    dz_sha256((dz_slice){ file, len - 16 }, hash);
    memcpy(file + len - 16, hash, 16);
}

static void the_host_key_file_is_read_with_care(void **state) {
    dz_autobuf_secret dz_buf good = { 0 };
    struct vault v;
    (void) state;

    vault_make(&v, 3, 1);
    dz_host_keys_write(v.host, &good);
    assert_true(dz_buf_ok(&good));
    assert_int_equal(good.len, 156);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        DZ_AUTO(dz_host_keys) got = NULL;
        uint8_t file[8192] = { 0 };
        size_t len = (size_t) ((int) good.len + rows[i].grow);

        print_message("  %s\n", rows[i].name);
        memcpy(file, good.data, good.len);
        file[rows[i].at] = rows[i].value;
        if (rows[i].fix)
            fix_sum(file, len);
        assert_int_equal(dz_host_keys_read((dz_slice){ file, len }, &got, NULL), rows[i].want);
        if (rows[i].want == DZ_OK)
            assert_memory_equal(got, v.host, sizeof *got);
        else
            assert_null(got);
    }
    vault_free(&v);
}

static void every_flipped_bit_of_it_is_noticed(void **state) {
    dz_autobuf_secret dz_buf file = { 0 };
    struct vault v;
    (void) state;

    vault_make(&v, 3, 1);
    dz_host_keys_write(v.host, &file);
    assert_true(dz_buf_ok(&file));
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        DZ_AUTO(dz_host_keys) got = NULL;

        file.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
        assert_int_not_equal(dz_host_keys_read(dz_buf_slice(&file), &got, NULL), DZ_OK);
        file.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
    }
    vault_free(&v);
}

static void a_recipient_of_small_order_is_refused(void **state) {
    dz_autobuf_secret dz_buf file = { 0 };
    DZ_AUTO(dz_host_keys) got = NULL;
    struct vault v;
    (void) state;

    vault_make(&v, 3, 1);
    dz_host_keys_write(v.host, &file);
    assert_true(dz_buf_ok(&file));
    memset(file.data + 44, 0, DZ_KEY_BYTES);
    fix_sum(file.data, file.len);
    assert_int_equal(dz_host_keys_read(dz_buf_slice(&file), &got, NULL), DZ_E_MALFORMED);
    file.data[44] = 1;
    fix_sum(file.data, file.len);
    assert_int_equal(dz_host_keys_read(dz_buf_slice(&file), &got, NULL), DZ_E_MALFORMED);
    vault_free(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starting_forbids_core_dumps),
        cmocka_unit_test(keys_depend_on_root_vault_and_epoch),
        cmocka_unit_test(labels_and_contexts_do_not_run_together),
        cmocka_unit_test(epoch_0_is_refused),
        cmocka_unit_test(made_keys_cannot_be_written),
        cmocka_unit_test(the_fingerprint_is_four_groups_of_four),
        cmocka_unit_test(the_host_key_file_is_read_with_care),
        cmocka_unit_test(every_flipped_bit_of_it_is_noticed),
        cmocka_unit_test(a_recipient_of_small_order_is_refused),
    };
    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
