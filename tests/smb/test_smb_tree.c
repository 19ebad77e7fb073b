/* A share of a real Samba: what a walk gives and in which order, what a file's bytes and attributes
 * are, and what it says of what cannot be read.  tests/e2e/samba.py starts the server. */
#include "intake/smb_object.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "core/launch.h"
#include "intake/samba_attr.h"
#include "store/entry.h"

static const char *hold; /* the second client */
static struct dz_smb *smb;
static int share = -1; /* the server's directory */

static dz_slice slice(const char *s) {
    return (dz_slice){ (const uint8_t *) s, strlen(s) };
}

/* --- making files on the server ----------------------------------------------------------------
 */

static void make(const char *path, const void *bytes, size_t n) {
    int fd = openat(share, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(close(fd), 0);
}

static void make_dir(const char *path) {
    assert_int_equal(mkdirat(share, path, 0755), 0);
}

/* --- walking -----------------------------------------------------------------------------------
 */

struct seen {
    struct dz_smb_entry entry;
    char *path; /* owned */
};
struct walk {
    struct seen *rows; /* owned */
    size_t n, cap;
};

static void forget(struct walk *w) {
    for (size_t i = 0; i < w->n; i++)
        free(w->rows[i].path);
    free(w->rows);
    *w = (struct walk){ 0 };
}

static void walk(const char *const *excludes, size_t n_excludes, struct walk *w) {
    DZ_AUTO(dz_smb_tree) t = NULL;
    dz_err err = { 0 };
    bool end;

    *w = (struct walk){ 0 };
    assert_int_equal(dz_smb_tree_new(smb, excludes, n_excludes, &t, &err), DZ_OK);
    for (;;) {
        struct dz_smb_entry e;

        if (dz_smb_tree_next(t, &e, &end, &err) != DZ_OK)
            fail_msg("%s", err.what);
        if (end)
            break;
        assert_true(dz_path_ok(e.path));
        assert_int_equal(e.path.data[e.path.len], 0);
        if (w->n == w->cap) {
            w->cap = 2 * w->cap + 64;
            w->rows = realloc(w->rows, w->cap * sizeof *w->rows);
            assert_non_null(w->rows);
        }
        w->rows[w->n].entry = e;
        w->rows[w->n].path = strdup((const char *) e.path.data);
        assert_non_null(w->rows[w->n].path);
        /* strictly ascending, as a manifest wants it */
        if (w->n && e.problem != EILSEQ)
            assert_true(dz_path_cmp(slice(w->rows[w->n - 1].path), e.path) < 0);
        w->n++;
    }
}

static const struct seen *find(const struct walk *w, const char *path) {
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->rows[i].path, path) == 0)
            return &w->rows[i];
    return NULL;
}

/* --- the tests ---------------------------------------------------------------------------------
 */

static void test_order_is_that_of_paths(void **state) {
    static const char *const want[] = { "",
                                        "o",
                                        "o/a",
                                        "o/a/b",
                                        "o/a/b/x",
                                        "o/a b",
                                        "o/a-b",
                                        "o/a.b",
                                        "o/a0",
                                        "o/か\xe3\x82\x99", /* NFD */
                                        "o/が",             /* NFC */
                                        "o/\xef\x80\xa2", /* '"' as Windows stores it for others */
                                        "o/😀" };
    struct walk w;

    (void) state;
    make_dir("o");
    make_dir("o/a");
    make_dir("o/a/b");
    make("o/a/b/x", "", 0);
    for (size_t i = 5; i < sizeof want / sizeof *want; i++)
        make(want[i], "x", 1);
    walk(NULL, 0, &w);
    for (size_t i = 0, at = 0; i < w.n; i++) {
        if (i > 0 && strncmp(w.rows[i].path, "o", 1) != 0)
            continue;
        assert_true(at < sizeof want / sizeof *want);
        assert_string_equal(w.rows[i].path, want[at]);
        at++;
        assert_true(i + 1 < w.n || at == sizeof want / sizeof *want);
    }
    forget(&w);
}

static void test_thousands_of_names(void **state) {
    enum { DIRS = 3, FILES = 1500 };
    char path[64];
    struct walk w;
    size_t n = 0;

    (void) state;
    make_dir("many");
    for (int d = 0; d < DIRS; d++) {
        (void) snprintf(path, sizeof path, "many/部門 %d", d);
        make_dir(path);
        for (int i = 0; i < FILES; i++) {
            (void) snprintf(path, sizeof path, "many/部門 %d/記録-%d.txt", d, i * 7919 % 10007);
            make(path, "1", 1);
        }
    }
    walk(NULL, 0, &w);
    for (size_t i = 0; i < w.n; i++)
        n += strncmp(w.rows[i].path, "many/部門 ", strlen("many/部門 ")) == 0;
    assert_int_equal(n, DIRS * (FILES + 1));
    forget(&w);
}

static void test_long_paths(void **state) {
    char path[2048] = "l";
    struct dz_smb_file *f;
    struct walk w;

    (void) state;
    make_dir("l");
    while (strlen(path) < 1000) {
        size_t n = strlen(path);
        (void) snprintf(path + n, sizeof path - n, "/長い名前-%03zu-%060d", n, 0);
        make_dir(path);
    }
    (void) snprintf(path + strlen(path), sizeof path - strlen(path), "/終.txt");
    make(path, "deep", 4);
    walk(NULL, 0, &w);
    assert_non_null(find(&w, path));
    assert_int_equal(dz_smb_file_open(smb, slice(path), NULL, &f), 0);
    dz_smb_file_close(f);
    forget(&w);
}

static void test_size_times_attributes(void **state) {
    static const struct timespec times[2] = { { 1, 0 }, { 1234567890, 123456700 } };
    const struct seen *s;
    dz_autobuf dz_buf dos = { 0 };
    struct timespec created = { 1000000000, 0 };
    struct walk w;

    (void) state;
    make("attr", "12345", 5);
    dz_samba_put_dos(&dos, 0x23, &created); /* read-only, hidden, archive */
    assert_int_equal(utimensat(share, "attr", times, 0), 0);
    {
        int fd = openat(share, "attr", O_RDONLY | O_CLOEXEC);
        assert_int_equal(fsetxattr(fd, DZ_SAMBA_DOS, dos.data, dos.len, 0), 0);
        assert_int_equal(close(fd), 0);
    }
    walk(NULL, 0, &w);
    s = find(&w, "attr");
    assert_non_null(s);
    assert_false(s->entry.dir);
    assert_int_equal(s->entry.is.size, 5);
    assert_int_equal(s->entry.is.attributes, 0x23);
    assert_int_equal(s->entry.is.modified.tv_sec, 1234567890);
    assert_int_equal(s->entry.is.modified.tv_nsec, 123456700);
    assert_int_equal(s->entry.is.created.tv_sec, 1000000000);
    forget(&w);
}

static void test_globs_leave_out(void **state) {
    static const char *const excludes[] = { "*.TMP", "/g/Cache", "/g/keep/*.log" };
    struct walk w;

    (void) state;
    make_dir("g");
    make_dir("g/cache");
    make("g/cache/x", "", 0);
    make_dir("g/keep");
    make("g/keep/a.tmp", "", 0);
    make("g/keep/a.log", "", 0);
    make("g/keep/a.txt", "", 0);
    walk(excludes, 3, &w);
    assert_null(find(&w, "g/cache"));
    assert_null(find(&w, "g/cache/x"));
    assert_null(find(&w, "g/keep/a.tmp"));
    assert_null(find(&w, "g/keep/a.log"));
    assert_non_null(find(&w, "g/keep/a.txt"));
    forget(&w);
}

static void test_bytes_are_those_of_the_file(void **state) {
    enum { N = 3 << 20 };
    uint8_t *bytes = malloc(N), *back = malloc(N + 1);
    struct dz_smb_file *f;
    struct dz_smb_item is;
    size_t n;

    (void) state;
    assert_non_null(bytes);
    assert_non_null(back);
    for (size_t i = 0; i < N; i++)
        bytes[i] = (uint8_t) (i * 2654435761u >> 13);
    make("big", bytes, N);
    assert_int_equal(dz_smb_file_open(smb, slice("big"), NULL, &f), 0);
    assert_int_equal(dz_smb_file_stat(f, &is), 0);
    assert_int_equal(is.size, N);
    assert_int_equal(dz_smb_file_read(f, back, N + 1, &n), 0);
    assert_int_equal(n, N);
    assert_memory_equal(back, bytes, N);
    assert_int_equal(dz_smb_file_read(f, back, 1, &n), 0);
    assert_int_equal(n, 0);
    dz_smb_file_close(f);
    free(bytes);
    free(back);
}

static void test_streams_are_read_by_name(void **state) {
    struct dz_smb_file *f;
    char back[16];
    size_t n;
    int fd;

    (void) state;
    make("plain", "content", 7);
    fd = openat(share, "plain", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fsetxattr(fd, DZ_SAMBA_STREAM "Zone.Identifier:$DATA", "zone", 5, 0), 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(dz_smb_file_open(smb, slice("plain"), "Zone.Identifier", &f), 0);
    assert_int_equal(dz_smb_file_read(f, back, sizeof back, &n), 0);
    assert_int_equal(n, 4);
    assert_memory_equal(back, "zone", 4);
    dz_smb_file_close(f);
    assert_int_equal(dz_smb_file_open(smb, slice("plain"), "Other", &f), ENOENT);
}

/* What we make of a descriptor, Samba reads as that descriptor. */
static void test_descriptors_come_back(void **state) {
    static const char *const texts[] = {
        "REVISION:1,OWNER:S-1-5-21-1-2-4294967295-1000,GROUP:S-1-22-2-0,"
        "ACL:S-1-1-0:1/0/0x001f01ff,ACL:S-1-5-32-544:0/3/0x001f01ff,"
        "ACL:S-1-5-21-1-2-4294967295-1000:0/19/0x001301bf,ACL:S-1-5-18:0/16/0x001f01ff",
        "REVISION:1,OWNER:S-1-5-32-544,GROUP:S-1-5-18,ACL:S-1-0x123456789abc-7:0/11/0x80000000",
    };

    (void) state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        dz_autobuf dz_buf text = { 0 };
        dz_autobuf dz_buf acl = { 0 };
        dz_err err = { 0 };
        char name[8];
        int fd;

        (void) snprintf(name, sizeof name, "acl%zu", i);
        make(name, "x", 1);
        assert_int_equal(dz_smb_acl(smb, slice(name), &text), 0); /* Samba's own default */
        if (dz_samba_put_acl(&acl, dz_buf_slice(&text), &err) != DZ_OK)
            fail_msg("%s", err.what);
        dz_buf_clear(&acl);
        dz_buf_clear(&text);
        if (dz_samba_put_acl(&acl, slice(texts[i]), &err) != DZ_OK)
            fail_msg("%s", err.what);
        fd = openat(share, name, O_RDONLY | O_CLOEXEC);
        assert_int_equal(fsetxattr(fd, DZ_SAMBA_ACL, acl.data, acl.len, 0), 0);
        assert_int_equal(close(fd), 0);
        assert_int_equal(dz_smb_acl(smb, slice(name), &text), 0);
        dz_buf_put_u8(&text, 0);
        assert_string_equal((const char *) text.data, texts[i]);
    }
}

static void test_a_descriptor_that_cannot_be_had(void **state) {
    dz_autobuf dz_buf text = { 0 };

    (void) state;
    assert_int_not_equal(dz_smb_acl(smb, slice("not there"), &text), 0);
    assert_int_equal(text.len, 0);
}

/* --- objects -----------------------------------------------------------------------------------
 */

struct noted {
    char text[4][64]; /* "path what errno" */
    size_t n;
};

static void note(void *ctx, dz_slice path, uint8_t what, int e) {
    struct noted *noted = ctx;

    assert_true(noted->n < 4);
    (void) snprintf(noted->text[noted->n++], sizeof noted->text[0], "%.*s %u %d", (int) path.len,
                    (const char *) path.data, what, e);
}

/* The value of one attribute in an entry's fields; NULL data: there is none. */
static dz_slice xattr_of(const dz_entry *e, const char *name) {
    dz_reader r = dz_reader_over(dz_entry_field(e, DZ_TAG_XATTRS));
    dz_slice last = { 0 };

    while (dz_reader_left(&r) > 0) {
        dz_slice key = dz_read_field(&r), value = dz_read_field(&r);

        assert_true(dz_reader_ok(&r));
        if (last.data) /* strictly ascending */
            assert_true(memcmp(last.data, key.data, last.len < key.len ? last.len : key.len) < 0);
        last = key;
        if (dz_slice_eq(key, slice(name)))
            return value;
    }
    return (dz_slice){ 0 };
}

/* What an entry holds is what the server has on its disk. */
static void test_an_entry_has_what_samba_has(void **state) {
    static const char *const names[] = { DZ_SAMBA_DOS, DZ_SAMBA_STREAM "Zone.Identifier:$DATA",
                                         DZ_SAMBA_STREAM "AFP_AfpInfo:$DATA" };
    struct noted noted = { 0 };
    const struct dz_smb_notes notes = { note, &noted };
    struct timespec created = { 1000000000, 123456700 };
    dz_autobuf dz_buf dos = { 0 };
    dz_autobuf dz_buf fields = { 0 };
    const struct seen *seen;
    struct dz_smb_entry of;
    struct walk w;
    dz_entry e;
    int fd;

    (void) state;
    make("object", "content", 7);
    fd = openat(share, "object", O_RDONLY | O_CLOEXEC);
    dz_samba_put_dos(&dos, 0x26, &created); /* hidden, system, archive */
    assert_int_equal(fsetxattr(fd, names[0], dos.data, dos.len, 0), 0);
    assert_int_equal(fsetxattr(fd, names[1], "[ZoneTransfer]", 15, 0), 0);
    assert_int_equal(fsetxattr(fd, names[2], "\0\1\2", 4, 0), 0);
    walk(NULL, 0, &w);
    seen = find(&w, "object");
    assert_non_null(seen);
    of = seen->entry;
    of.path = slice(seen->path);
    assert_int_equal(dz_smb_put_xattrs(smb, &of, &notes, &fields, NULL), DZ_OK);
    e = dz_smb_entry_of(&of, 0, dz_buf_slice(&fields));
    assert_int_equal(dz_entry_check(&e, NULL), DZ_OK);
    assert_int_equal(noted.n, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint8_t on_disk[64];
        ssize_t n = fgetxattr(fd, names[i], on_disk, sizeof on_disk);
        dz_slice value = xattr_of(&e, names[i]);

        assert_true(n > 0);
        assert_int_equal(value.len, n);
        assert_memory_equal(value.data, on_disk, (size_t) n);
    }
    assert_true(xattr_of(&e, DZ_SAMBA_ACL).len > 36);
    assert_null(xattr_of(&e, DZ_SAMBA_STREAM "AFP_Resource:$DATA").data);
    assert_int_equal(close(fd), 0);
    forget(&w);
}

static void test_what_vanished_is_noted(void **state) {
    static const struct dz_smb_entry gone = { .path = { (const uint8_t *) "gone", 4 } };
    struct noted noted = { 0 };
    const struct dz_smb_notes notes = { note, &noted };
    dz_autobuf dz_buf fields = { 0 };

    (void) state;
    assert_int_equal(dz_smb_put_xattrs(smb, &gone, &notes, &fields, NULL), DZ_OK);
    assert_int_equal(noted.n, 1);
    assert_string_equal(noted.text[0], "gone 3 2"); /* partly, ENOENT */
}

static void test_a_locked_file_is_busy(void **state) {
    const char *const argv[] = { hold, "locked", NULL };
    int in[2], out[2], status;
    struct dz_smb_file *f;
    char said[8];
    pid_t pid;

    (void) state;
    make("locked", "x", 1);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(dz_launch(argv, in[0], out[1], false, &pid), 0);
    assert_int_equal(close(in[0]), 0);
    assert_int_equal(close(out[1]), 0);
    assert_int_equal(read(out[0], said, 5), 5);
    assert_int_equal(dz_smb_file_open(smb, slice("locked"), NULL, &f), EBUSY);
    assert_false(dz_smb_lost(smb));
    assert_int_equal(close(in[1]), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(close(out[0]), 0);
    assert_int_equal(dz_smb_file_open(smb, slice("locked"), NULL, &f), 0);
    dz_smb_file_close(f);
}

static void test_a_directory_as_root(void **state) {
    struct walk w;
    char text[256];
    struct dz_smb_where where;
    struct dz_smb_login login;
    dz_err err = { 0 };

    (void) state;
    make_dir("s");
    make_dir("s/日本 語");
    make("s/日本 語/x", "", 0);
    dz_smb_close(DZ_TAKE(smb));
    (void) snprintf(text, sizeof text, "%s/s/日本 語", getenv("DOZO_SMB_WHERE"));
    assert_int_equal(dz_smb_where_read(text, &where, &err), DZ_OK);
    assert_int_equal(dz_smb_login_read(getenv("DOZO_SMB_CREDENTIALS"), &login, &err), DZ_OK);
    if (dz_smb_open(&where, &login, DZ_SMB_ENCRYPTED, &smb, &err) != DZ_OK)
        fail_msg("%s", err.what);
    walk(NULL, 0, &w);
    assert_int_equal(w.n, 2);
    assert_string_equal(w.rows[0].path, "");
    assert_true(w.rows[0].entry.dir);
    assert_string_equal(w.rows[1].path, "x");
    forget(&w);
}

static int open_share(void **state) {
    struct dz_smb_where where;
    struct dz_smb_login login;
    dz_err err = { 0 };

    (void) state;
    share = open(getenv("DOZO_SMB_SHARE"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (share < 0 || dz_smb_where_read(getenv("DOZO_SMB_WHERE"), &where, &err) != DZ_OK ||
        dz_smb_login_read(getenv("DOZO_SMB_CREDENTIALS"), &login, &err) != DZ_OK ||
        dz_smb_open(&where, &login, DZ_SMB_ENCRYPTED, &smb, &err) != DZ_OK) {
        print_error("%s\n", err.what);
        return -1;
    }
    return 0;
}

static int close_share(void **state) {
    (void) state;
    dz_smb_close(smb);
    return close(share);
}

int main(int argc, char **argv) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_is_that_of_paths),
        cmocka_unit_test(test_thousands_of_names),
        cmocka_unit_test(test_long_paths),
        cmocka_unit_test(test_size_times_attributes),
        cmocka_unit_test(test_globs_leave_out),
        cmocka_unit_test(test_bytes_are_those_of_the_file),
        cmocka_unit_test(test_streams_are_read_by_name),
        cmocka_unit_test(test_descriptors_come_back),
        cmocka_unit_test(test_a_descriptor_that_cannot_be_had),
        cmocka_unit_test(test_an_entry_has_what_samba_has),
        cmocka_unit_test(test_what_vanished_is_noted),
        cmocka_unit_test(test_a_locked_file_is_busy),
        cmocka_unit_test(test_a_directory_as_root),
    };

    hold = argc > 1 ? argv[1] : "";
    return cmocka_run_group_tests(tests, open_share, close_share);
}
