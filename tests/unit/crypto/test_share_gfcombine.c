/* Another implementation of the same field, libgfshare's gfcombine, opens our shares.
 * Exit 77 (skipped) where it is not installed. */
#include "core/buf.h"
#include "core/durable.h"
#include "crypto/share.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/crypto/tool.h"

static void gfcombine_opens_our_shares(void **state) {
    static const struct {
        unsigned n, k, first;
    } rows[] = { { 2, 2, 0 }, { 5, 3, 0 }, { 5, 3, 2 }, { 9, 7, 1 }, { 200, 40, 155 } };
    char dir[] = "/tmp/dozo-gfcombine-XXXXXX";
    struct vault v;
    (void) state;

    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    vault_make(&v, 0x5a, 1);
    dz_random(v.root, sizeof v.root);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dz_share shares[200];
        char names[40][16],
            *argv[4 + 40] = { (char[]){ "gfcombine" }, (char[]){ "-o" }, (char[]){ "root" } };
        dz_autobuf dz_buf got = { 0 };

        print_message("  %u of %u, from number %u on\n", rows[i].k, rows[i].n, rows[i].first + 1);
        assert_int_equal(dz_share_split(v.root, v.host, rows[i].n, rows[i].k, shares, NULL), DZ_OK);
        for (unsigned s = 0; s < rows[i].k; s++) {
            const dz_share *share = &shares[rows[i].first + s];
            dz_autoclose int fd = -1;

            (void) snprintf(names[s], sizeof names[s], "share.%03u", share->x);
            fd = open(names[s], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
            assert_true(fd >= 0);
            assert_int_equal(dz_write_all(fd, (dz_slice){ share->y, sizeof share->y }), 0);
            argv[3 + s] = names[s];
        }
        assert_int_equal(tool_run(argv, "/dev/null"), 0);
        assert_int_equal(dz_read_file(AT_FDCWD, "root", 1024, &got, NULL), DZ_OK);
        assert_int_equal(got.len, DZ_ROOT_BYTES);
        assert_memory_equal(got.data, v.root, DZ_ROOT_BYTES);
        for (unsigned s = 0; s < rows[i].k; s++)
            (void) unlink(names[s]);
        (void) unlink("root");
    }
    vault_free(&v);
    (void) rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(gfcombine_opens_our_shares) };

    if (!tool_there("gfcombine"))
        return SKIP;
    if (dz_crypto_init(NULL) != DZ_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
