/* What a walk gives, in which order, and what it does when it cannot. */
#include "intake/scan.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/buf.h"
#include "store/entry.h"
#include "tests/unit/intake/scratch.h"

/* Everything that one walk gave. */
struct seen {
    struct {
        char *path; /* owned; below the tree: relative to it, above: "^" and the absolute path */
        size_t len;
        struct stat st;
        uint64_t fs;
        bool mount_point, gone;
        int list_errno;
    } * rows;
    size_t n, cap;
};

static void forget(struct seen *seen) {
    for (size_t i = 0; i < seen->n; i++)
        free(seen->rows[i].path);
    free(seen->rows);
    *seen = (struct seen){ 0 };
}

static void walk(struct scratch *s, const struct dz_scan_how *how, struct seen *seen) {
    DZ_AUTO(dz_scan) scan = NULL;
    dz_autobuf dz_buf last = { 0 };
    struct dz_scan_item item;
    size_t tree = strlen(s->tree + 1);
    dz_err err = { 0 };
    bool end, first = true;

    *seen = (struct seen){ 0 };
    if (dz_scan_new(how, &scan, &err) != DZ_OK)
        fail_msg("%s", err.what);
    for (;;) {
        dz_slice below;

        if (dz_scan_next(scan, &item, &end, &err) != DZ_OK)
            fail_msg("%s", err.what);
        if (end)
            break;
        assert_true(dz_path_ok(item.path));
        assert_int_equal(item.path.data[item.path.len], 0);
        assert_ptr_equal(item.name, strrchr((const char *) item.path.data - 1, '/') + 1);
        assert_true(first || dz_path_cmp(dz_buf_slice(&last), item.path) < 0);
        first = false;
        dz_buf_clear(&last);
        dz_buf_put_slice(&last, item.path);
        if (seen->n == seen->cap) {
            seen->cap = 2 * seen->cap + 64;
            seen->rows = realloc(seen->rows, seen->cap * sizeof *seen->rows);
            assert_non_null(seen->rows);
        }
        below = item.path;
        if (item.path.len > tree && memcmp(item.path.data, s->tree + 1, tree) == 0)
            below = (dz_slice){ item.path.data + tree + 1, item.path.len - tree - 1 };
        else
            below = (dz_slice){ item.path.data - 1, item.path.len + 1 };
        seen->rows[seen->n].path = malloc(below.len + 1);
        assert_non_null(seen->rows[seen->n].path);
        memcpy(seen->rows[seen->n].path, below.data, below.len + 1);
        seen->rows[seen->n].len = below.len;
        seen->rows[seen->n].st = item.st;
        seen->rows[seen->n].fs = item.fs;
        seen->rows[seen->n].mount_point = item.mount_point;
        seen->rows[seen->n].gone = item.gone;
        seen->rows[seen->n].list_errno = item.list_errno;
        seen->n++;
    }
    assert_int_equal(dz_scan_open_dirs(scan), 1); /* the last leading one */
}

static void walk_tree(struct scratch *s, struct seen *seen) {
    const char *const paths[] = { s->tree };

    walk(s, &(struct dz_scan_how){ .paths = paths, .n_paths = 1 }, seen);
}

/* Index of the row, or -1. */
static long row_of(const struct seen *seen, const char *path) {
    for (size_t i = 0; i < seen->n; i++)
        if (strcmp(seen->rows[i].path, path) == 0)
            return (long) i;
    return -1;
}

/* The rows at or below the tree are exactly these, in this order. */
static void assert_below(const struct seen *seen, const char *const *paths) {
    size_t at = 0;

    while (at < seen->n && seen->rows[at].path[0] == '/') /* above the tree */
        at++;
    for (size_t i = 0; paths[i]; i++) {
        assert_true(at + i < seen->n);
        assert_string_equal(seen->rows[at + i].path, paths[i]);
        if (!paths[i + 1])
            assert_int_equal(at + i + 1, seen->n);
    }
}

/* --- order ------------------------------------------------------------------------------------ */

static void items_come_in_the_order_of_the_manifest(void **state) {
    struct scratch *s = *state;
    static const char *const expected[] = { "\x01", "a",     "a/x",  "a/x/y", "a/\xff", "a\x01",
                                            "a b",  "a b/z", "a-",   "a.b",   "a.b/c",  "a0",
                                            "aa",   "b",     "\x7f", "\xff",  "\xff/q", NULL };
    struct seen seen;

    /* made in another order than they are to come */
    scratch_dir(s, "\xff");
    scratch_dir(s, "a.b");
    scratch_dir(s, "a b");
    scratch_dir(s, "a");
    scratch_dir(s, "a/x");
    scratch_text(s, "\xff/q", "");
    scratch_text(s, "b", "");
    scratch_text(s, "\x7f", "");
    scratch_text(s, "aa", "");
    scratch_text(s, "a0", "");
    scratch_text(s, "a.b/c", "");
    scratch_text(s, "a-", "");
    scratch_text(s, "a b/z", "");
    scratch_text(s, "a\x01", "");
    scratch_text(s, "a/x/y", "");
    scratch_text(s, "a/\xff", "");
    scratch_text(s, "\x01", "");
    walk_tree(s, &seen);
    assert_below(&seen, expected);
    forget(&seen);
}

static void roots_share_the_directories_above_them(void **state) {
    struct scratch *s = *state;
    static const char *const expected[] = { "p",       "p/q",       "p/q/1", "p/q.d",
                                            "p/q.d/r", "p/q.d/r/2", "z",     NULL };
    char p[6][128];
    const char *paths[6];
    struct seen seen;

    scratch_dir(s, "p");
    scratch_dir(s, "p/q");
    scratch_dir(s, "p/not");
    scratch_dir(s, "p/q.d");
    scratch_dir(s, "p/q.d/r");
    scratch_text(s, "p/q/1", "");
    scratch_text(s, "p/q.d/r/2", "");
    scratch_text(s, "p/q.d/not", "");
    scratch_text(s, "z", "");
    for (size_t i = 0; i < 6; i++) {
        /* unsorted, one inside another, one twice, one with dots */
        static const char *const names[] = { "z", "p/q.d/r", "p/q", "p/q/1", "p/q", "p/not/../q" };
        (void) snprintf(p[i], sizeof p[i], "%s/%s", s->tree, names[i]);
        paths[i] = p[i];
    }
    walk(s, &(struct dz_scan_how){ .paths = paths, .n_paths = 6 }, &seen);
    assert_below(&seen, expected);
    for (size_t i = 0; i < seen.n; i++) /* the leading ones: once each */
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(seen.rows[i].path, seen.rows[k].path);
    forget(&seen);
}

static void a_root_that_is_a_link_is_followed_and_others_are_not(void **state) {
    struct scratch *s = *state;
    static const char *const expected[] = { "real", "real/f", "real/inner", NULL };
    struct seen seen;
    char link[128];
    const char *const paths[] = { link };

    scratch_dir(s, "real");
    scratch_text(s, "real/f", "");
    assert_int_equal(symlink("/", scratch_at(s, "real/inner")), 0);
    assert_int_equal(symlink("real", scratch_at(s, "link")), 0);
    (void) snprintf(link, sizeof link, "%s/link", s->tree);
    walk(s, &(struct dz_scan_how){ .paths = paths, .n_paths = 1 }, &seen);
    assert_below(&seen, expected);
    assert_true(S_ISLNK(seen.rows[row_of(&seen, "real/inner")].st.st_mode));
    forget(&seen);
}

static void a_path_that_is_not_there_is_named_by_its_number(void **state) {
    struct scratch *s = *state;
    const char *const paths[] = { s->tree, scratch_at(s, "nothing") };
    struct dz_scan *scan = NULL;
    dz_err err = { 0 };

    assert_int_equal(
        dz_scan_new(&(struct dz_scan_how){ .paths = paths, .n_paths = 2 }, &scan, &err),
        DZ_E_NOT_FOUND);
    assert_non_null(strstr(err.what, "2"));
    assert_null(scan);
}

/* --- what is left out ------------------------------------------------------------------------- */

static void globs_leave_out_names_or_paths(void **state) {
    struct scratch *s = *state;
    char by_path[128];
    const char *const excludes[] = { "*.tmp", by_path, "cache" };
    const char *const paths[] = { s->tree };
    static const char *const expected[] = { "a", "a/keep", "b", "b/down", "b/keep", NULL };
    struct seen seen;

    (void) snprintf(by_path, sizeof by_path, "%s/a/down", s->tree);
    scratch_dir(s, "a");
    scratch_dir(s, "a/down");
    scratch_dir(s, "a/cache");
    scratch_dir(s, "b");
    scratch_dir(s, "b/down");
    scratch_text(s, "a/keep", "");
    scratch_text(s, "a/down/x", "");
    scratch_text(s, "a/cache/x", "");
    scratch_text(s, "a/\xff.tmp", "");
    scratch_text(s, "b/keep", "");
    scratch_text(s, "x.tmp", "");
    walk(s,
         &(struct dz_scan_how){
             .paths = paths, .n_paths = 1, .excludes = excludes, .n_excludes = 3 },
         &seen);
    assert_below(&seen, expected);
    forget(&seen);
}

static void a_directory_above_a_root_is_never_left_out(void **state) {
    struct scratch *s = *state;
    const char *const excludes[] = { "up" };
    char root[128];
    const char *const paths[] = { root };
    static const char *const expected[] = { "up", "up/in", "up/in/f", NULL };
    struct seen seen;

    scratch_dir(s, "up");
    scratch_dir(s, "up/in");
    scratch_text(s, "up/in/f", "");
    scratch_dir(s, "up/in/up");
    (void) snprintf(root, sizeof root, "%s/up/in", s->tree);
    walk(s,
         &(struct dz_scan_how){
             .paths = paths, .n_paths = 1, .excludes = excludes, .n_excludes = 1 },
         &seen);
    assert_below(&seen, expected);
    forget(&seen);
}

static void one_directory_is_left_out_wherever_it_is_met(void **state) {
    struct scratch *s = *state;
    const char *const paths[] = { s->tree };
    static const char *const expected[] = { "a", "a/keep", NULL };
    struct seen seen;
    struct stat st;

    scratch_dir(s, "a");
    scratch_dir(s, "a/vault");
    scratch_text(s, "a/vault/x", "");
    scratch_text(s, "a/keep", "");
    assert_int_equal(stat(scratch_at(s, "a/vault"), &st), 0);
    walk(s,
         &(struct dz_scan_how){
             .paths = paths, .n_paths = 1, .skip_dev = st.st_dev, .skip_ino = st.st_ino },
         &seen);
    assert_below(&seen, expected);
    forget(&seen);
}

/* --- file systems ----------------------------------------------------------------------------- */

static bool mount_at(struct scratch *s, const char *path) {
    scratch_dir(s, path);
    return mount("none", scratch_at(s, path), "tmpfs", 0, "size=1m,mode=0755") == 0;
}

/* Both file systems give their first files the same inode numbers. */
static void files_of_two_file_systems_are_never_one(void **state) {
    struct scratch *s = *state;
    const char *const paths[] = { s->tree };
    struct seen seen;
    long a, b, m, n;

    if (!mount_at(s, "m"))
        skip();
    assert_true(mount_at(s, "n"));
    scratch_text(s, "m/f", "m");
    scratch_text(s, "n/f", "n");
    scratch_text(s, "z", "");
    walk_tree(s, &seen);
    a = row_of(&seen, "m/f");
    b = row_of(&seen, "n/f");
    m = row_of(&seen, "m");
    n = row_of(&seen, "z");
    assert_int_equal(seen.rows[a].st.st_ino, seen.rows[b].st.st_ino);
    assert_true(seen.rows[a].fs != seen.rows[b].fs);
    assert_true(seen.rows[a].fs != seen.rows[n].fs);
    assert_true(seen.rows[a].fs == seen.rows[m].fs);
    assert_true(seen.rows[m].mount_point);
    assert_false(seen.rows[a].mount_point);
    forget(&seen);

    walk(s, &(struct dz_scan_how){ .paths = paths, .n_paths = 1, .one_file_system = true }, &seen);
    assert_true(row_of(&seen, "m") >= 0); /* the directory is kept, what is in it not */
    assert_true(seen.rows[row_of(&seen, "m")].mount_point);
    assert_int_equal(row_of(&seen, "m/f"), -1);
    forget(&seen);
    (void) umount(scratch_at(s, "m"));
    (void) umount(scratch_at(s, "n"));
}

static void the_root_directory_has_no_item_of_its_own(void **state) {
    struct scratch *s = *state;
    const char *const paths[] = { "/" };
    /* only the first level: everything in it is left out by path */
    const char *const excludes[] = { "/*/*" };
    struct seen seen;

    walk(s,
         &(struct dz_scan_how){
             .paths = paths, .n_paths = 1, .excludes = excludes, .n_excludes = 1 },
         &seen);
    assert_true(row_of(&seen, "/usr") >= 0);
    assert_int_equal(row_of(&seen, "/"), -1);
    forget(&seen);
}

/* --- what cannot be read ---------------------------------------------------------------------- */

/* Runs as another user when this one may everything.  Gives the child's verdict. */
static bool as_nobody(struct scratch *s, bool (*look)(struct scratch *s)) {
    pid_t child = fork();
    int status = 0;

    assert_true(child >= 0);
    if (child == 0) {
        bool ok = geteuid() != 0 || (setgid(65534) == 0 && setuid(65534) == 0);
        _exit(ok && look(s) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool look_at_locked(struct scratch *s) {
    struct seen seen;
    long locked, blind;
    bool ok;

    walk_tree(s, &seen);
    locked = row_of(&seen, "locked");
    blind = row_of(&seen, "blind/x");
    ok = locked >= 0 && seen.rows[locked].list_errno == EACCES && !seen.rows[locked].gone &&
         blind >= 0 && seen.rows[blind].gone && seen.rows[blind].list_errno == EACCES &&
         row_of(&seen, "open/f") >= 0;
    forget(&seen);
    return ok;
}

static void what_cannot_be_listed_is_an_item_and_the_rest_follows(void **state) {
    struct scratch *s = *state;

    scratch_dir(s, "locked"); /* may not be listed */
    scratch_text(s, "locked/x", "");
    scratch_dir(s, "blind"); /* may be listed, but what is in it not looked at */
    scratch_text(s, "blind/x", "");
    scratch_dir(s, "open");
    scratch_text(s, "open/f", "");
    if (geteuid() == 0)
        assert_int_equal(chown(s->tree, 65534, 65534), 0);
    assert_int_equal(chmod(scratch_at(s, "locked"), 0), 0);
    assert_int_equal(chmod(scratch_at(s, "blind"), 0744), 0);
    if (geteuid() != 0)
        assert_int_equal(chmod(scratch_at(s, "blind"), 0444), 0);
    assert_true(as_nobody(s, look_at_locked));
    assert_int_equal(chmod(scratch_at(s, "locked"), 0755), 0);
    assert_int_equal(chmod(scratch_at(s, "blind"), 0755), 0);
}

static bool look_below_searchable(struct scratch *s) {
    char root[128];
    const char *const paths[] = { root };
    struct seen seen;
    bool ok;

    (void) snprintf(root, sizeof root, "%s/house/me", s->tree);
    walk(s, &(struct dz_scan_how){ .paths = paths, .n_paths = 1 }, &seen);
    ok = row_of(&seen, "house") >= 0 && row_of(&seen, "house/me/f") >= 0;
    forget(&seen);
    return ok;
}

static void directories_above_a_root_need_not_be_readable(void **state) {
    struct scratch *s = *state;

    scratch_dir(s, "house");
    scratch_dir(s, "house/me");
    scratch_text(s, "house/me/f", "");
    assert_int_equal(chmod(scratch_at(s, "house"), 0711), 0);
    if (geteuid() != 0)
        assert_int_equal(chmod(scratch_at(s, "house"), 0111), 0);
    assert_true(as_nobody(s, look_below_searchable));
    assert_int_equal(chmod(scratch_at(s, "house"), 0755), 0);
}

static void an_object_that_vanishes_is_named(void **state) {
    struct scratch *s = *state;
    const char *const paths[] = { s->tree };
    DZ_AUTO(dz_scan) scan = NULL;
    struct dz_scan_item item;
    unsigned gone = 0, found = 0;
    bool end = false;

    scratch_text(s, "a", "");
    scratch_text(s, "b", "");
    scratch_dir(s, "c");
    scratch_text(s, "d", "");
    assert_int_equal(
        dz_scan_new(&(struct dz_scan_how){ .paths = paths, .n_paths = 1 }, &scan, NULL), DZ_OK);
    while (dz_scan_next(scan, &item, &end, NULL) == DZ_OK && !end) {
        if (strcmp(item.name, "a") == 0) { /* all names were listed by now */
            assert_int_equal(unlink(scratch_at(s, "b")), 0);
            assert_int_equal(rmdir(scratch_at(s, "c")), 0);
        }
        if (item.gone) {
            assert_int_equal(item.list_errno, ENOENT);
            gone++;
        }
        found += strcmp(item.name, "d") == 0;
    }
    assert_true(end);
    assert_int_equal(gone, 2);
    assert_int_equal(found, 1);
}

/* --- size ------------------------------------------------------------------------------------- */

static void a_path_may_be_longer_than_the_kernel_takes(void **state) {
    struct scratch *s = *state;
    enum { DEEP = 60, NAME = 200 };
    char name[NAME + 1];
    struct seen seen;
    int fd = open(s->tree, O_PATH | O_DIRECTORY | O_CLOEXEC);

    memset(name, 'd', NAME);
    name[NAME] = '\0';
    for (int i = 0; i < DEEP; i++) {
        int sub;
        assert_int_equal(mkdirat(fd, name, 0755), 0);
        sub = openat(fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_true(sub >= 0);
        (void) close(fd);
        fd = sub;
    }
    (void) close(openat(fd, "bottom", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    (void) close(fd);
    walk_tree(s, &seen);
    assert_true(seen.rows[seen.n - 1].len == (size_t) DEEP * (NAME + 1) + strlen("bottom"));
    assert_true(seen.rows[seen.n - 1].len > PATH_MAX);
    assert_true(S_ISREG(seen.rows[seen.n - 1].st.st_mode));
    forget(&seen);
}

static void a_directory_of_very_many_names_is_listed_whole(void **state) {
    struct scratch *s = *state;
    enum { MANY = 100000 };
    const char *const paths[] = { s->tree };
    DZ_AUTO(dz_scan) scan = NULL;
    struct dz_scan_item item;
    size_t n = 0;
    bool end = false;
    int fd;

    scratch_dir(s, "many");
    scratch_text(s, "one", "");
    fd = open(scratch_at(s, "many"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < MANY; i++) {
        char name[32];
        /* hard links are cheaper than files; ext4 takes 65,000 of one */
        if (i % 50000 == 0)
            scratch_text(s, i ? "two" : "three", "");
        (void) snprintf(name, sizeof name, "%x", (unsigned) i * 2654435761u);
        assert_int_equal(linkat(AT_FDCWD, scratch_at(s, i < 50000 ? "three" : "two"), fd, name, 0),
                         0);
    }
    (void) close(fd);
    assert_int_equal(
        dz_scan_new(&(struct dz_scan_how){ .paths = paths, .n_paths = 1 }, &scan, NULL), DZ_OK);
    while (dz_scan_next(scan, &item, &end, NULL) == DZ_OK && !end)
        n += dz_path_within(item.path, (dz_slice){ (const uint8_t *) scratch_at(s, "many") + 1,
                                                   strlen(scratch_at(s, "many")) - 1 });
    assert_true(end);
    assert_int_equal(n, MANY + 1);
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest rows[] = {
        ROW(items_come_in_the_order_of_the_manifest),
        ROW(roots_share_the_directories_above_them),
        ROW(a_root_that_is_a_link_is_followed_and_others_are_not),
        ROW(a_path_that_is_not_there_is_named_by_its_number),
        ROW(globs_leave_out_names_or_paths),
        ROW(a_directory_above_a_root_is_never_left_out),
        ROW(one_directory_is_left_out_wherever_it_is_met),
        ROW(files_of_two_file_systems_are_never_one),
        ROW(the_root_directory_has_no_item_of_its_own),
        ROW(what_cannot_be_listed_is_an_item_and_the_rest_follows),
        ROW(directories_above_a_root_need_not_be_readable),
        ROW(an_object_that_vanishes_is_named),
        ROW(a_path_may_be_longer_than_the_kernel_takes),
        ROW(a_directory_of_very_many_names_is_listed_whole),
    };

    return cmocka_run_group_tests(rows, NULL, NULL);
}
