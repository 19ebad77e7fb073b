/* The printed page is a PDF whose QR code, read by another program, is the share.
 * Exit 77 (skipped) where pdftoppm or zbarimg is not installed, or dozo is built without PDF. */
#include "core/buf.h"
#include "core/durable.h"
#include "crypto/share_page.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/crypto/tool.h"

/* fontconfig keeps what it read of the machine's fonts until the process ends; cairo 1.16 loses a
 * few hundred bytes with each font that it puts into a PDF. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libfontconfig\nleak:libcairo\n";
}

static struct vault vault;
static dz_share shares[5];
static char fingerprint[DZ_FINGERPRINT_TEXT];

static void the_qr_code_is_the_share(void **state) {
    char dir[] = "/tmp/dozo-page-XXXXXX";
    char *to_image[] = { (char[]){ "pdftoppm" },    (char[]){ "-r" },
                         (char[]){ "150" },         (char[]){ "-gray" },
                         (char[]){ "-singlefile" }, (char[]){ "page.pdf" },
                         (char[]){ "page" },        NULL };
    char *to_text[] = { (char[]){ "zbarimg" }, (char[]){ "--quiet" }, (char[]){ "--raw" },
                        (char[]){ "page.pgm" }, NULL };
    (void) state;

    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    for (size_t i = 0; i < 2; i++) {
        dz_autobuf_secret dz_buf pdf = { 0 };
        dz_autobuf_secret dz_buf text = { 0 };
        dz_autoclose int fd = -1;
        uint8_t want[32], got[32];
        dz_share share;

        assert_int_equal(dz_share_page(&shares[i], fingerprint, &pdf, NULL), DZ_OK);
        fd = open("page.pdf", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0 && dz_write_all(fd, dz_buf_slice(&pdf)) == 0);
        assert_int_equal(tool_run(to_image, "/dev/null"), 0);
        assert_int_equal(tool_run(to_text, "qr.txt"), 0);
        assert_int_equal(dz_read_file(AT_FDCWD, "qr.txt", 4096, &text, NULL), DZ_OK);
        assert_int_equal(dz_share_read(dz_buf_slice(&text), &share, NULL), DZ_OK);
        dz_share_commitment(&shares[i], want);
        dz_share_commitment(&share, got);
        assert_memory_equal(want, got, sizeof want);
    }
    (void) unlink("page.pdf");
    (void) unlink("page.pgm");
    (void) unlink("qr.txt");
    (void) rmdir(dir);
}

/* What `dozo init` runs: its path is the argument of this test. */
static char *program;

static void the_program_prints_a_page_from_a_share_file(void **state) {
    char dir[] = "/tmp/dozo-page-XXXXXX", shell[] = "sh", c[] = "-c", name[] = "sh";
    char script[] = "\"$1\" \"$2\" <share.txt";
    char *print[] = { shell, c, script, name, program, fingerprint, NULL };
    dz_autobuf_secret dz_buf file = { 0 };
    dz_autobuf_secret dz_buf want = { 0 };
    dz_autobuf_secret dz_buf got = { 0 };
    dz_autoclose int fd = -1;
    (void) state;

    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(dz_share_write(&shares[0], fingerprint, &file, NULL), DZ_OK);
    fd = open("share.txt", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && dz_write_all(fd, dz_buf_slice(&file)) == 0);
    assert_int_equal(tool_run(print, "page.pdf"), 0);
    assert_int_equal(dz_share_page(&shares[0], fingerprint, &want, NULL), DZ_OK);
    assert_int_equal(dz_read_file(AT_FDCWD, "page.pdf", 16 << 20, &got, NULL), DZ_OK);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.data, want.data, got.len);

    assert_int_equal(ftruncate(fd, (off_t) file.len - 10),
                     0); /* a share cut short prints nothing */
    assert_int_equal(tool_run(print, "page.pdf"), 3);
    (void) unlink("share.txt");
    (void) unlink("page.pdf");
    (void) rmdir(dir);
}

static void the_same_share_gives_the_same_page(void **state) {
    dz_autobuf_secret dz_buf a = { 0 };
    dz_autobuf_secret dz_buf b = { 0 };
    (void) state;

    assert_int_equal(dz_share_page(&shares[0], fingerprint, &a, NULL), DZ_OK);
    (void) sleep(1); /* a time in the file would be another one */
    assert_int_equal(dz_share_page(&shares[0], fingerprint, &b, NULL), DZ_OK);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_memory_equal(a.data, "%PDF-", 5);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_qr_code_is_the_share),
        cmocka_unit_test(the_same_share_gives_the_same_page),
        cmocka_unit_test(the_program_prints_a_page_from_a_share_file),
    };
    dz_autobuf_secret dz_buf b = { 0 };
    int failed;

    if (argc != 2 || dz_crypto_init(NULL) != DZ_OK)
        return 1;
    program = realpath(argv[1], NULL); /* the tests change the directory */
    if (!program)
        return 1;
    vault_make(&vault, 1, 1);
    dz_keys_fingerprint(vault.host, fingerprint);
    if (dz_share_split(vault.root, vault.host, 5, 3, shares, NULL) != DZ_OK)
        return 1;
    if (!tool_there("pdftoppm") || !tool_there("zbarimg") ||
        dz_share_page(&shares[0], fingerprint, &b, NULL) == DZ_E_UNSUPPORTED)
        return SKIP;
    (void) setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* of the program: see above */
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(program);
    vault_free(&vault);
    return failed;
}
