/* A tree is walked whole: mount points, deep trees, and what names a file system.  The rows with
 * mounts want root, and are skipped without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>

#include "intake/scan.h"

static char top[] = "/tmp/dozo-scan-XXXXXX";
static bool mounted;

static const char *at(const char *name) {
    static char path[8][PATH_MAX];
    static unsigned turn;
    char *p = path[turn++ % 8];

    (void) snprintf(p, PATH_MAX, "%s%s", top, name);
    return p;
}

static void make_file(const char *name) {
    int fd = open(at(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void) close(fd);
}

static int setup(void **state) {
    (void) state;
    if (!mkdtemp(top) || mkdir(at("/a"), 0700) < 0 || mkdir(at("/b"), 0700) < 0 ||
        mkdir(at("/b/c"), 0700) < 0)
        return -1;
    mounted = unshare(CLONE_NEWNS) == 0 &&
              mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
              mount("x", at("/a"), "tmpfs", 0, "size=1m") == 0 &&
              mount("y", at("/b/c"), "tmpfs", 0, "size=1m") == 0;
    make_file("/a/file"); /* the first inode of each tmpfs */
    make_file("/b/c/file");
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void) st;
    (void) type;
    (void) ftw;
    return remove(path);
}

static int teardown(void **state) {
    (void) state;
    if (mounted && (umount(at("/a")) < 0 || umount(at("/b/c")) < 0))
        return -1;
    return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* The item with this path below `top`; false when the walk does not give it. */
static bool find(const struct dz_scan_how *how, const char *name, struct dz_scan_item *ret_item) {
    const char *want = at(name);
    DZ_AUTO(dz_scan) s = NULL;
    bool end = false, found = false;

    assert_int_equal(dz_scan_new(how, &s, NULL), DZ_OK);
    for (;;) {
        struct dz_scan_item item;
        assert_int_equal(dz_scan_next(s, &item, &end, NULL), DZ_OK);
        if (end)
            return found;
        if (strcmp((const char *) item.path.data, want + 1) == 0) {
            found = true;
            *ret_item = item;
        }
    }
}

/* clang-format off */
static const struct row {
    const char *what;
    const char *paths[3];
    bool one;
    const char *name;
    bool given;
} rows[] = {
    { "what is mounted below is entered",                        { "" },             false, "/a/file",   true },
    { "with one file system it is not",                          { "" },             true,  "/a/file",   false },
    { "its mount point is given all the same",                   { "" },             true,  "/a",        true },
    { "a path that is a mount point is entered",                 { "/a" },           true,  "/a/file",   true },
    { "a mount point named beside the tree above it is entered", { "", "/a" },       true,  "/a/file",   true },
    { "so is one on the way to a named path",                    { "", "/b/c/file" }, true, "/b/c/file", true },
    { "a mount point not named stays out beside a named one",    { "", "/a" },       true,  "/b/c/file", false },
};
/* clang-format on */

static void test_mount_points(void **state) {
    (void) state;
    if (!mounted)
        skip();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        const char *paths[3];
        struct dz_scan_how how = { .paths = paths, .one_file_system = r->one };
        struct dz_scan_item item;

        for (; r->paths[how.n_paths]; how.n_paths++)
            paths[how.n_paths] = at(r->paths[how.n_paths]);
        print_message("%s\n", r->what);
        assert_int_equal(find(&how, r->name, &item), r->given);
    }
}

/* Otherwise their hardlinks would be taken for each other's. */
static void test_two_file_systems_never_share_a_name(void **state) {
    const char *paths[] = { top };
    const struct dz_scan_how how = { .paths = paths, .n_paths = 1 };
    struct dz_scan_item a, b, above;

    (void) state;
    if (!mounted)
        skip();
    assert_true(find(&how, "/a/file", &a));
    assert_true(find(&how, "/b/c/file", &b));
    assert_true(find(&how, "/b", &above));
    assert_int_equal(a.st.st_ino, b.st.st_ino);
    assert_int_not_equal(a.fs, b.fs);
    assert_int_not_equal(a.fs, above.fs);
}

static void test_a_file_system_is_named_alike_from_above_and_from_within(void **state) {
    const char *outer[] = { top }, *inner[] = { at("/a") };
    struct dz_scan_item a, b;

    (void) state;
    assert_true(find(&(struct dz_scan_how){ .paths = outer, .n_paths = 1 }, "/a/file", &a));
    assert_true(find(&(struct dz_scan_how){ .paths = inner, .n_paths = 1 }, "/a/file", &b));
    assert_int_equal(a.fs, b.fs);
}

static void test_what_lies_too_deep_is_named_and_the_rest_goes_on(void **state) {
    const char *paths[] = { top };
    const struct dz_scan_how how = { .paths = paths, .n_paths = 1, .depth_max = 1 };
    struct dz_scan_item item;

    (void) state;
    assert_true(find(&how, "/a", &item));
    assert_int_equal(item.list_errno, ENAMETOOLONG);
    assert_false(item.gone);
    assert_false(find(&how, "/a/file", &item));
    assert_true(find(&how, "/b", &item));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mount_points),
        cmocka_unit_test(test_two_file_systems_never_share_a_name),
        cmocka_unit_test(test_a_file_system_is_named_alike_from_above_and_from_within),
        cmocka_unit_test(test_what_lies_too_deep_is_named_and_the_rest_goes_on),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
