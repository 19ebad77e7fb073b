/* How a share is named, and who may read the file with its password. */
#include "intake/smb_login.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

struct where_row {
    const char *name;
    const char *text;
    const char *url; /* of "a b/ü%"; NULL: refused */
    uint16_t port;
};

/* clang-format off */
static const struct where_row wheres[] = {
    { "a share", "//filer/data", "smb://filer/data/a%20b/%C3%BC%25", 0 },
    { "with a port", "//filer.example:8445/data", "smb://filer.example/data/a%20b/%C3%BC%25", 8445 },
    { "a directory in it", "//filer/data/x/部門", "smb://filer/data/x/%E9%83%A8%E9%96%80/a%20b/%C3%BC%25", 0 },
    { "as Windows writes it", "\\\\filer\\data", "smb://filer/data/a%20b/%C3%BC%25", 0 },
    { "a slash behind", "//filer/data/", "smb://filer/data/a%20b/%C3%BC%25", 0 },
    { "a share with blanks and a dollar", "//filer/my data$", "smb://filer/my%20data%24/a%20b/%C3%BC%25", 0 },
    { "no share", "//filer", NULL, 0 },
    { "an empty share", "//filer/", NULL, 0 },
    { "one slash", "/filer/data", NULL, 0 },
    { "a user", "//user@filer/data", NULL, 0 },
    { "a user and password", "//user:1@filer/data", NULL, 0 },
    { "an escape", "//fi%6Cer/data", NULL, 0 },
    { "no port", "//filer:/data", NULL, 0 },
    { "port 0", "//filer:0/data", NULL, 0 },
    { "port 65536", "//filer:65536/data", NULL, 0 },
    { "a port that is none", "//filer:44x/data", NULL, 0 },
    { "a directory that leads out", "//filer/data/../c", NULL, 0 },
    { "an empty directory", "//filer/data/a//b", NULL, 0 },
    { "a slash behind the directory", "//filer/data/a/", NULL, 0 },
    { "a directory with a backslash", "//filer/data/a\\b", NULL, 0 },
    { "a control character", "//filer/data/a\nb", NULL, 0 },
    { "no UTF-8", "//filer/data/\xff", NULL, 0 },
    { "nothing", "", NULL, 0 },
};

struct login_row {
    const char *name;
    const char *text;
    const char *domain, *user, *password; /* user NULL: refused */
};
static const struct login_row logins[] = {
    { "as mount.cifs has it", "username=backup\npassword=a=b c#\ndomain=CLINIC\n", "CLINIC", "backup", "a=b c#" },
    { "as smbclient has it, from Windows", "# x\r\n\r\nusername = 太郎\r\npassword = パス\r\n", "", "太郎", "パス" },
    { "no newline at the end", "username=u\npassword=p", "", "u", "p" },
    { "no password", "username=u\n", NULL, NULL, NULL },
    { "an empty password", "username=u\npassword=\n", NULL, NULL, NULL },
    { "no user", "password=p\n", NULL, NULL, NULL },
    { "a word that is not known", "username=u\npassword=p\nport=4\n", NULL, NULL, NULL },
    { "no word", "username=u\npassword=p\nx\n", NULL, NULL, NULL },
    { "twice", "username=u\npassword=p\npassword=q\n", NULL, NULL, NULL },
    { "a control character", "username=u\npassword=p\x01q\n", NULL, NULL, NULL },
    { "nothing", "", NULL, NULL, NULL },
};
/* clang-format on */

static void test_where(void **state) {
    const struct where_row *row = *state;
    struct dz_smb_where w;
    dz_autobuf dz_buf url = { 0 };
    dz_status s = dz_smb_where_read(row->text, &w, NULL);

    assert_int_equal(s, row->url ? DZ_OK : DZ_E_USAGE);
    if (!row->url)
        return;
    assert_int_equal(w.port, row->port);
    dz_smb_url(&w, DZ_SLICE_LIT("a b/ü%"), &url);
    assert_string_equal((const char *) url.data, row->url);
}

static void test_login(void **state) {
    const struct login_row *row = *state;
    struct dz_smb_login l;
    dz_err err = { 0 };
    dz_slice text = { (const uint8_t *) row->text, strlen(row->text) };

    assert_int_equal(dz_smb_login_parse(text, &l, &err), row->user ? DZ_OK : DZ_E_USAGE);
    if (!row->user)
        return;
    assert_string_equal(l.domain, row->domain);
    assert_string_equal(l.user, row->user);
    assert_string_equal(l.password, row->password);
}

static void test_longest(void **state) {
    struct dz_smb_login l;
    dz_autobuf dz_buf text = { 0 };

    (void) state;
    dz_buf_printf(&text, "username=u\npassword=%0*d", DZ_SMB_LOGIN_MAX, 0);
    assert_int_equal(dz_smb_login_parse(dz_buf_slice(&text), &l, NULL), DZ_OK);
    assert_int_equal(strlen(l.password), DZ_SMB_LOGIN_MAX);
    dz_buf_put_u8(&text, '0');
    assert_int_equal(dz_smb_login_parse(dz_buf_slice(&text), &l, NULL), DZ_E_LIMIT);
}

struct file {
    char dir[64], path[80];
};

static int file_setup(void **state) {
    static struct file f;

    (void) snprintf(f.dir, sizeof f.dir, "/tmp/dozo-login-XXXXXX");
    if (!mkdtemp(f.dir))
        return -1;
    (void) snprintf(f.path, sizeof f.path, "%s/file", f.dir);
    *state = &f;
    return 0;
}

static int file_teardown(void **state) {
    struct file *f = *state;
    return unlink(f->path) == 0 ? rmdir(f->dir) : -1;
}

static void write_file(const char *path, size_t padding, mode_t mode) {
    static const char text[] = "username=u\npassword=p\n#";
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    for (; padding > 0; padding--)
        assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static void test_others_may_not_read_it(void **state) {
    static const mode_t open_modes[] = { 0640, 0604, 0620, 0602, 0610, 0644 };
    const struct file *f = *state;
    struct dz_smb_login l;
    dz_err err = { 0 };

    for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        write_file(f->path, 0, open_modes[i]);
        assert_int_equal(dz_smb_login_read(f->path, &l, &err), DZ_E_POLICY);
    }
    write_file(f->path, 0, 0600);
    assert_int_equal(dz_smb_login_read(f->path, &l, &err), DZ_OK);
    assert_string_equal(l.user, "u");
    write_file(f->path, 0, 0400);
    assert_int_equal(dz_smb_login_read(f->path, &l, &err), DZ_OK);
    if (geteuid() == 0) { /* somebody else's file: who owns it can open it to all */
        assert_int_equal(chown(f->path, 65534, 65534), 0);
        assert_int_equal(dz_smb_login_read(f->path, &l, &err), DZ_E_POLICY);
        assert_int_equal(chown(f->path, 0, 0), 0);
    }
}

static void test_only_a_plain_small_file(void **state) {
    const struct file *f = *state;
    struct dz_smb_login l;
    dz_err err = { 0 };
    char other[96];

    write_file(f->path, DZ_SMB_LOGIN_FILE_MAX, 0600);
    assert_int_equal(dz_smb_login_read(f->path, &l, &err), DZ_E_LIMIT);
    write_file(f->path, 0, 0600);
    (void) snprintf(other, sizeof other, "%s-link", f->path);
    assert_int_equal(symlink(f->path, other), 0);
    assert_int_equal(dz_smb_login_read(other, &l, &err), DZ_E_IO);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(mkfifo(other, 0600), 0);
    assert_int_equal(dz_smb_login_read(other, &l, &err), DZ_E_USAGE);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(dz_smb_login_read(f->dir, &l, &err), DZ_E_USAGE);
    assert_int_equal(dz_smb_login_read(other, &l, &err), DZ_E_IO);
    assert_int_equal(err.sys_errno, ENOENT);
}

int main(void) {
    enum { WHERES = sizeof wheres / sizeof *wheres, LOGINS = sizeof logins / sizeof *logins };
    struct CMUnitTest tests[3 + WHERES + LOGINS] = {
        cmocka_unit_test(test_longest),
        cmocka_unit_test_setup_teardown(test_others_may_not_read_it, file_setup, file_teardown),
        cmocka_unit_test_setup_teardown(test_only_a_plain_small_file, file_setup, file_teardown),
    };
    size_t n = 3;

    for (size_t i = 0; i < WHERES; i++)
        tests[n++] = (struct CMUnitTest){ .name = wheres[i].name,
                                          .test_func = test_where,
                                          .initial_state = (void *) (uintptr_t) &wheres[i] };
    for (size_t i = 0; i < LOGINS; i++)
        tests[n++] = (struct CMUnitTest){ .name = logins[i].name,
                                          .test_func = test_login,
                                          .initial_state = (void *) (uintptr_t) &logins[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
