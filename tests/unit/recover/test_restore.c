/* What restore makes of a snapshot, in a target that may be hostile. */
#include "recover/restore.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "core/os.h"
#include "tests/unit/recover/kept_tree.h"

/* --- A scratch directory, and what was said --------------------------------------------------- */

struct said {
    unsigned left_out, partial, notes;
    char last[256]; /* the last path named */
    const char *what;
    int sys_errno;
};

struct place {
    char dir[64]; /* scratch; the target is "to" in it */
    char to[80];
    struct said said;
    struct dz_restore_how how;
    struct dz_restore_result got;
};

static void say(void *ctx, enum dz_restore_problem kind, dz_slice path, const char *what,
                int sys_errno) {
    struct said *s = ctx;
    size_t n = path.len < sizeof s->last - 1 ? path.len : sizeof s->last - 1;

    s->left_out += kind == DZ_RESTORE_LEFT_OUT;
    s->partial += kind == DZ_RESTORE_PARTIAL;
    s->notes += kind == DZ_RESTORE_NOTE;
    if (n > 0)
        memcpy(s->last, path.data, n);
    s->last[n] = '\0';
    s->what = what;
    s->sys_errno = sys_errno;
}

static void remove_tree(const char *path) {
    const char *const argv[] = { "rm", "-rf", "--", path, NULL };
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        execvp("rm", (char *const *) (uintptr_t) argv);
        _exit(127);
    }
    (void) waitpid(child, NULL, 0);
}

static int setup(void **state) {
    struct place *p = calloc(1, sizeof *p);
    const char *tmp = getenv("TMPDIR");

    (void) snprintf(p->dir, sizeof p->dir, "%s/dozo-restore-XXXXXX", tmp ? tmp : "/var/tmp");
    if (!mkdtemp(p->dir))
        return -1;
    (void) snprintf(p->to, sizeof p->to, "%s/to", p->dir);
    p->how = (struct dz_restore_how){ .to = p->to, .threads = 2, .problem = say, .ctx = &p->said };
    *state = p;
    return 0;
}

static int teardown(void **state) {
    struct place *p = *state;

    remove_tree(p->dir);
    free(p);
    return 0;
}

static void restore_ok(struct place *p, struct kept_tree *k) {
    struct dz_supply supply = kept_supply(k);
    dz_err err = { 0 };
    dz_status status;

    p->said = (struct said){ 0 };
    status = dz_restore(&supply, kept_root(k), &p->how, &p->got, &err);
    if (status != DZ_OK)
        print_message("%s (%d)\n", err.what, err.sys_errno);
    assert_int_equal(status, DZ_OK);
    assert_int_equal(p->got.left_out, p->said.left_out);
    assert_int_equal(p->got.partial, p->said.partial);
}

static void restore_clean(struct place *p, struct kept_tree *k) {
    restore_ok(p, k);
    if (p->said.left_out + p->said.partial > 0)
        print_message("%s: %s (%d)\n", p->said.last, p->said.what, p->said.sys_errno);
    assert_int_equal(p->said.left_out, 0);
    assert_int_equal(p->said.partial, 0);
}

static const char *at(struct place *p, const char *path) {
    static char text[4][PATH_MAX];
    static unsigned n;
    char *to = text[n++ % 4];

    (void) snprintf(to, PATH_MAX, "%s/%s", p->to, path);
    return to;
}

static void assert_text(struct place *p, const char *path, const char *text) {
    char got[4096];
    int fd = open(at(p, path), O_RDONLY | O_NOFOLLOW);
    ssize_t n;

    assert_true(fd >= 0);
    n = read(fd, got, sizeof got - 1);
    (void) close(fd);
    assert_true(n >= 0);
    got[n] = '\0';
    assert_string_equal(got, text);
}

static void put_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t) strlen(text));
    (void) close(fd);
}

static bool is_there(struct place *p, const char *path) {
    struct stat st;

    return lstat(at(p, path), &st) == 0;
}

static void assert_mode(struct place *p, const char *path, unsigned mode) {
    struct stat st;

    assert_int_equal(lstat(at(p, path), &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

/* A directory with one file: what most rows need. */
static struct kept_tree *small_tree(void) {
    struct kept_tree *k = kept_new();

    (void) kept_add(k, "srv", DZ_ENTRY_DIR, 0755);
    (void) kept_add(k, "srv/ward", DZ_ENTRY_DIR, 0750);
    kept_text(k, kept_add(k, "srv/ward/chart", DZ_ENTRY_FILE, 0640), "chart\n");
    kept_text(k, kept_add(k, "srv/ward/meals", DZ_ENTRY_FILE, 0444), "meals\n");
    kept_text(k, kept_add(k, "srv/orders", DZ_ENTRY_FILE, 0600), "orders\n");
    return k;
}

/* --- Rows ------------------------------------------------------------------------------------- */

static void every_type_comes_back_with_its_attributes(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = small_tree();
    bool root = geteuid() == 0;
    struct kept_row *row;
    struct stat st;
    char text[64];

    row = kept_add(k, "srv/before", DZ_ENTRY_FILE, 0644);
    row->e.mtime_s = -86400;
    row->e.mtime_ns = 999999999;
    kept_target(kept_add(k, "srv/link", DZ_ENTRY_SYMLINK, 0777), "../../nowhere");
    (void) kept_add(k, "srv/pipe", DZ_ENTRY_FIFO, 0620);
    (void) kept_add(k, "srv/socket", DZ_ENTRY_SOCKET, 0755);
    (void) kept_add(k, "srv/sealed", DZ_ENTRY_DIR, 0500);
    kept_text(k, kept_add(k, "srv/sealed/in", DZ_ENTRY_FILE, 04555), "x");
    if (root) {
        kept_rdev(kept_add(k, "srv/null", DZ_ENTRY_CHAR, 0666), 1, 3);
        kept_rdev(kept_add(k, "srv/disk", DZ_ENTRY_BLOCK, 0660), 259, 70000);
        row = kept_add(k, "srv/theirs", DZ_ENTRY_FILE, 06755);
        row->e.uid = 70001;
        row->e.gid = 70002;
        row = kept_add(k, "srv/theirs.link", DZ_ENTRY_SYMLINK, 0777);
        kept_target(row, "theirs");
        row->e.uid = 70003;
    }
    restore_clean(p, k);
    assert_int_equal(p->got.dirs, 3);
    assert_int_equal(p->got.sockets, 1);
    assert_int_equal(p->said.notes, 1);
    assert_false(is_there(p, "srv/socket"));
    assert_text(p, "srv/ward/chart", "chart\n");

    assert_int_equal(lstat(at(p, "srv/ward/meals"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0444);
    assert_int_equal(st.st_mtim.tv_sec, 1000000000);
    assert_int_equal(st.st_mtim.tv_nsec, 123456789);
    assert_int_equal(lstat(at(p, "srv/ward"), &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0750);
    assert_int_equal(st.st_mtim.tv_sec, 1000000000);
    assert_int_equal(lstat(at(p, "srv/before"), &st), 0);
    assert_int_equal(st.st_mtim.tv_sec, -86400);
    assert_int_equal(st.st_mtim.tv_nsec, 999999999);
    assert_int_equal(readlink(at(p, "srv/link"), text, sizeof text), 13);
    assert_int_equal(lstat(at(p, "srv/link"), &st), 0);
    assert_int_equal(st.st_mtim.tv_nsec, 123456789);
    assert_int_equal(lstat(at(p, "srv/pipe"), &st), 0);
    assert_int_equal(st.st_mode, S_IFIFO | 0620);
    assert_int_equal(lstat(at(p, "srv/sealed"), &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0500);
    assert_int_equal(lstat(at(p, "srv/sealed/in"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 04555);
    if (root) {
        assert_int_equal(lstat(at(p, "srv/null"), &st), 0);
        assert_int_equal(st.st_mode, S_IFCHR | 0666);
        assert_int_equal(st.st_rdev, makedev(1, 3));
        assert_int_equal(lstat(at(p, "srv/disk"), &st), 0);
        assert_int_equal(st.st_rdev, makedev(259, 70000));
        assert_int_equal(lstat(at(p, "srv/theirs"), &st), 0);
        assert_int_equal(st.st_mode, S_IFREG | 06755);
        assert_int_equal(st.st_uid, 70001);
        assert_int_equal(st.st_gid, 70002);
        assert_int_equal(lstat(at(p, "srv/theirs.link"), &st), 0);
        assert_int_equal(st.st_uid, 70003);
    }
}

static void a_second_run_finds_everything_present(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = small_tree();

    kept_target(kept_add(k, "srv/link", DZ_ENTRY_SYMLINK, 0777), "x");
    restore_clean(p, k);
    assert_int_equal(p->got.files, 3);
    restore_clean(p, k);
    assert_int_equal(p->got.files, 0);
    assert_int_equal(p->got.present, 4);
}

static void a_planted_link_is_never_followed(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = small_tree();
    char outside[100], file[120];
    struct stat st;

    (void) snprintf(outside, sizeof outside, "%s/outside", p->dir);
    (void) snprintf(file, sizeof file, "%s/victim", outside);
    assert_int_equal(mkdir(outside, 0755), 0);
    put_text(file, "untouched");
    assert_int_equal(mkdir(p->to, 0755), 0);
    assert_int_equal(mkdir(at(p, "srv"), 0755), 0);
    assert_int_equal(symlink(outside, at(p, "srv/ward")), 0);
    assert_int_equal(symlink(file, at(p, "srv/orders")), 0);

    for (int overwrite = 0; overwrite < 2; overwrite++) {
        p->how.overwrite = overwrite;
        restore_ok(p, k);
        assert_int_equal(p->said.left_out, overwrite ? 1 : 2); /* ward, and orders */
        assert_int_equal(lstat(at(p, "srv/ward"), &st), 0);
        assert_true(S_ISLNK(st.st_mode));
        (void) snprintf(file, sizeof file, "%s/chart", outside);
        assert_int_not_equal(lstat(file, &st), 0);
    }
    assert_text(p, "srv/orders", "orders\n"); /* the link was replaced, not written through */
    (void) snprintf(file, sizeof file, "%s/victim", outside);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, 9);
}

static void nothing_is_overwritten_unless_told(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = small_tree();
    struct stat before, after;
    int fd;

    assert_int_equal(mkdir(p->to, 0755), 0);
    assert_int_equal(mkdir(at(p, "srv"), 0711), 0);
    put_text(at(p, "srv/orders"), "newer");
    restore_ok(p, k);
    assert_int_equal(p->said.left_out, 1);
    assert_string_equal(p->said.last, "srv/orders");
    assert_text(p, "srv/orders", "newer");
    assert_int_equal(stat(at(p, "srv"), &before), 0);
    assert_int_equal(before.st_mode & 07777, 0711); /* a directory of somebody else keeps its own */

    fd = open(at(p, "srv/orders"), O_RDONLY); /* a reader keeps what it has open */
    assert_true(fd >= 0);
    p->how.overwrite = true;
    restore_clean(p, k);
    assert_text(p, "srv/orders", "orders\n");
    assert_int_equal(fstat(fd, &after), 0);
    assert_int_equal(after.st_size, 5);
    assert_int_equal(after.st_nlink, 0);
    (void) close(fd);
    assert_int_equal(stat(at(p, "srv"), &after), 0);
    assert_int_equal(after.st_mode & 07777, 0755);
}

static void a_directory_in_the_way_of_a_file_is_named(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = small_tree();

    assert_int_equal(mkdir(p->to, 0755), 0);
    assert_int_equal(mkdir(at(p, "srv"), 0755), 0);
    assert_int_equal(mkdir(at(p, "srv/orders"), 0755), 0);
    p->how.overwrite = true;
    restore_ok(p, k);
    assert_int_equal(p->said.left_out, 1);
    assert_int_equal(p->said.sys_errno, EISDIR);
    assert_text(p, "srv/ward/chart", "chart\n");
}

static void an_interrupted_restore_is_completed(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = small_tree();
    struct stat st;

    assert_int_equal(mkdir(p->to, 01700), 0);
    assert_int_equal(mkdir(at(p, "srv"), 01700), 0);
    assert_int_equal(mkdir(at(p, "srv/ward"), 01700), 0);
    put_text(at(p, "srv/ward/chart"), "cha"); /* half of it */
    (void) usleep(20000);                     /* so that it is from before this run */
    restore_clean(p, k);
    assert_text(p, "srv/ward/chart", "chart\n");
    assert_int_equal(stat(at(p, "srv/ward"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(st.st_mtim.tv_sec, 1000000000);
}

static void data_lost_in_a_power_cut_is_written_again(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = small_tree();
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { 1000000000, 123456789 } };

    restore_clean(p, k);
    assert_int_equal(truncate(at(p, "srv/ward/chart"), 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, at(p, "srv/ward/chart"), times, 0), 0);
    (void) usleep(20000);
    restore_clean(p, k);
    assert_text(p, "srv/ward/chart", "chart\n");
    assert_int_equal(p->got.present, 2);
}

static void selected_paths_come_with_the_directories_above(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = small_tree();
    const dz_slice paths[] = { DZ_SLICE_LIT("srv/ward/meals"), DZ_SLICE_LIT("srv/orders"),
                               DZ_SLICE_LIT("srv/nothing") };
    struct stat st;

    p->how.paths = paths;
    p->how.n_paths = 3;
    restore_ok(p, k);
    assert_int_equal(p->said.left_out, 1);
    assert_string_equal(p->said.last, "srv/nothing");
    assert_true(is_there(p, "srv/ward/meals"));
    assert_true(is_there(p, "srv/orders"));
    assert_false(is_there(p, "srv/ward/chart"));
    assert_int_equal(stat(at(p, "srv/ward"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(st.st_mtim.tv_sec, 1000000000);
}

static void strip_drops_leading_components(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = small_tree();

    kept_text(k, kept_add(k, "top", DZ_ENTRY_FILE, 0644), "too short");
    kept_link(kept_add(k, "srv/ward/one", DZ_ENTRY_FILE, 0644), 1);
    kept_link(kept_add(k, "srv/ward/two", DZ_ENTRY_FILE, 0644), 1);
    p->how.strip = 1;
    restore_ok(p, k);
    assert_int_equal(p->said.left_out, 1);
    assert_string_equal(p->said.last, "top");
    assert_text(p, "ward/chart", "chart\n");
    assert_text(p, "orders", "orders\n");
    assert_false(is_there(p, "srv"));
    assert_true(is_there(p, "ward/two"));
}

static void strip_never_lets_one_file_replace_another(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();

    (void) kept_add(k, "a", DZ_ENTRY_DIR, 0755);
    (void) kept_add(k, "a/d", DZ_ENTRY_DIR, 0755);
    kept_text(k, kept_add(k, "a/d/x", DZ_ENTRY_FILE, 0644), "of a");
    (void) kept_add(k, "b", DZ_ENTRY_DIR, 0755);
    (void) kept_add(k, "b/d", DZ_ENTRY_DIR, 0755);
    kept_text(k, kept_add(k, "b/d/x", DZ_ENTRY_FILE, 0644), "of b, longer");
    p->how.strip = 1;
    p->how.threads = 1;
    restore_ok(p, k);
    assert_int_equal(p->said.left_out, 1);
    assert_string_equal(p->said.last, "b/d/x");
    assert_text(p, "d/x", "of a");
}

static void names_of_one_inode_stay_one(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();
    struct stat first, st;
    char path[32];

    for (int run = 0; run < 3; run++) { /* fresh, present, over what is there */
        if (run == 0) {
            for (unsigned i = 0; i < 600; i++) {
                struct kept_row *row;

                (void) snprintf(path, sizeof path, "d%u", i % 7);
                if (i < 7)
                    (void) kept_add(k, path, DZ_ENTRY_DIR, 0755);
                (void) snprintf(path, sizeof path, "d%u/f%u", i % 7, i);
                row = kept_add(k, path, DZ_ENTRY_FILE, 0644);
                kept_text(k, row, "same");
                kept_link(row, 9);
            }
            for (unsigned i = 0; i < 2; i++) { /* symlinks have several names too */
                struct kept_row *row =
                    kept_add(k, i ? "d2/link" : "d1/link", DZ_ENTRY_SYMLINK, 0777);

                kept_target(row, "x");
                kept_link(row, 10);
            }
        }
        p->how.overwrite = run == 2;
        p->how.threads = 4;
        restore_clean(p, k);
        assert_int_equal(lstat(at(p, "d0/f0"), &first), 0);
        assert_int_equal(first.st_nlink, 600);
        assert_int_equal(lstat(at(p, "d4/f599"), &st), 0);
        assert_int_equal(st.st_ino, first.st_ino);
        assert_int_equal(lstat(at(p, "d1/link"), &st), 0);
        assert_int_equal(st.st_nlink, 2);
        if (run == 0)
            assert_int_equal(p->got.bytes, 4);
    }
}

static void holes_stay_holes(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();
    static char data[40000];
    const uint64_t pairs[] = { 1 << 20, 30000, 5ULL << 30, 10000 };
    struct kept_row *row = kept_add(k, "sparse", DZ_ENTRY_FILE, 0644);
    struct stat st;
    char got[10000];
    int fd;

    memset(data, 'a', 30000);
    memset(data + 30000, 'b', 10000);
    kept_extents(row, 8ULL << 30, pairs, 2);
    kept_content(k, row, data, sizeof data);
    kept_extents(kept_add(k, "empty", DZ_ENTRY_FILE, 0644), 1 << 30, (const uint64_t[]){ 1, 0 }, 1);
    restore_clean(p, k);
    assert_int_equal(stat(at(p, "sparse"), &st), 0);
    assert_int_equal(st.st_size, 8LL << 30);
    assert_true(st.st_blocks < 1000);
    fd = open(at(p, "sparse"), O_RDONLY);
    assert_int_equal(pread(fd, got, 10000, (1 << 20) + 30000 + (5LL << 30)), 10000);
    assert_memory_equal(got, data + 30000, 10000);
    assert_int_equal(lseek(fd, 0, SEEK_DATA), 1 << 20);
    (void) close(fd);
    assert_int_equal(stat(at(p, "empty"), &st), 0);
    assert_int_equal(st.st_size, 1 << 30);
    assert_int_equal(st.st_blocks, 0);
}

static void damage_is_left_out_and_named(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = small_tree();
    static char data[50000];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char) (i * i >> 7);
    kept_content(k, kept_add(k, "srv/big", DZ_ENTRY_FILE, 0644), data, sizeof data);
    kept_add(k, "srv/unread", DZ_ENTRY_FILE, 0644)->e.flags = DZ_ENTRY_UNREADABLE;
    (void) kept_supply(k);
    kept_damage(k, data + 2 * 16384, 16384); /* its third chunk: it was begun */
    kept_damage(k, "meals\n", 6);
    restore_ok(p, k);
    assert_int_equal(p->said.left_out, 3);
    assert_false(is_there(p, "srv/big"));
    assert_false(is_there(p, "srv/ward/meals"));
    assert_false(is_there(p, "srv/unread"));
    assert_int_equal(p->got.files, 2);
    assert_text(p, "srv/ward/chart", "chart\n");
}

static void damage_does_not_take_what_was_there(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();
    static char data[50000];

    memset(data, 1, 16384);
    memset(data + 16384, 2, sizeof data - 16384);
    kept_content(k, kept_add(k, "big", DZ_ENTRY_FILE, 0644), data, sizeof data);
    (void) kept_supply(k);
    kept_damage(k, data + 16384, 16384);
    assert_int_equal(mkdir(p->to, 0755), 0);
    put_text(at(p, "big"), "old");
    p->how.overwrite = true;
    restore_ok(p, k);
    assert_int_equal(p->said.left_out, 1);
    assert_text(p, "big", "old");
    assert_int_equal(unlink(at(p, "big")), 0);
    assert_int_equal(rmdir(p->to), 0); /* and no temporary file */
}

static void odd_names_come_back(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();
    char name[256], all[256];
    size_t n = 0;

    for (int c = 1; c < 256; c++)
        if (c != '/')
            all[n++] = (char) c;
    all[n] = '\0';
    memset(name, 'n', 255);
    name[255] = '\0';
    kept_text(k, kept_add(k, all, DZ_ENTRY_FILE, 0644), "all");
    kept_text(k, kept_add(k, name, DZ_ENTRY_FILE, 0644), "long");
    (void) kept_add(k, "new\nline", DZ_ENTRY_DIR, 0755);
    kept_text(k, kept_add(k, "new\nline/-rf \\*", DZ_ENTRY_FILE, 0644), "x");
    kept_text(k, kept_add(k, "...", DZ_ENTRY_FILE, 0644), "dots");
    restore_clean(p, k);
    assert_text(p, all, "all");
    assert_text(p, name, "long");
    assert_text(p, "new\nline/-rf \\*", "x");
    assert_text(p, "...", "dots");
}

static void a_path_longer_than_the_kernel_takes_comes_back(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();
    char path[3 * PATH_MAX];
    const struct rlimit few = { 128, 128 };
    size_t n = 0;
    int fd;

    for (int i = 0; i < 1500; i++) { /* deep and long */
        n += (size_t) snprintf(path + n, sizeof path - n, "%sd%04d", i ? "/" : "", i);
        (void) kept_add(k, path, DZ_ENTRY_DIR, 0755);
    }
    (void) snprintf(path + n, sizeof path - n, "/f");
    kept_text(k, kept_add(k, path, DZ_ENTRY_FILE, 0644), "deep");
    restore_clean(p, k); /* with as many descriptors as we may have */
    assert_int_equal(p->got.dirs, 1500);
    remove_tree(p->to);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0); /* for good: this is the last row */
    restore_clean(p, k);
    assert_int_equal(p->got.dirs, 1500);
    restore_clean(p, k);
    assert_int_equal(p->got.present, 1);

    fd = open(p->to, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 1500; i++) {
        char name[16];
        struct stat st;
        int next;

        (void) snprintf(name, sizeof name, "d%04d", i);
        next = openat(fd, name, O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        assert_int_equal(fstat(next, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0755);
        assert_int_equal(st.st_mtim.tv_sec, 1000000000);
        (void) close(fd);
        fd = next;
    }
    assert_int_equal(faccessat(fd, "f", R_OK, 0), 0);
    (void) close(fd);
}

static void extended_attributes_come_back(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();
    struct kept_row *row = kept_add(k, "f", DZ_ENTRY_FILE, 0444);
    /* v2 capability record: cap_net_raw=ep */
    static const uint8_t capability[20] = { 1, 0, 0, 2, 0, 0x20 };
    char got[64];

    if (geteuid() == 0) {
        kept_xattr(row, "security.capability", capability, sizeof capability);
        kept_xattr(row, "trusted.t", "t", 1);
        row->e.uid = 70001; /* giving away must not lose them */
    }
    kept_xattr(row, "user.colour", "blue", 4);
    kept_text(k, row, "x");
    row = kept_add(k, "d", DZ_ENTRY_DIR, 0555);
    kept_xattr(row, "user.d", "", 0);
    restore_ok(p, k);
    if (p->said.sys_errno == EOPNOTSUPP)
        skip();
    assert_int_equal(p->said.partial, 0);
    assert_int_equal(getxattr(at(p, "f"), "user.colour", got, sizeof got), 4);
    assert_int_equal(getxattr(at(p, "d"), "user.d", got, sizeof got), 0);
    if (geteuid() == 0) {
        assert_int_equal(getxattr(at(p, "f"), "security.capability", got, sizeof got), 20);
        assert_memory_equal(got, capability, 20);
        assert_int_equal(getxattr(at(p, "f"), "trusted.t", got, sizeof got), 1);
    }
}

/* A kernel ACL: version 2, then tag, permissions, id: user:rwx, user 70001:rw-, group:r-x,
 * mask:rwx, other:--- */
static const uint8_t acl[] = {
    2,    0, 0, 0,                                                             /* version */
    1,    0, 7, 0, 0xff, 0xff, 0xff, 0xff, 2,    0, 6, 0, 0x71, 0x11, 1,    0, /* owner; 70001 */
    4,    0, 5, 0, 0xff, 0xff, 0xff, 0xff, 0x10, 0, 7, 0, 0xff, 0xff, 0xff, 0xff,
    0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
};

static void access_lists_come_back_and_are_not_inherited(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();
    struct kept_row *row;
    char got[128];

    assert_int_equal(mkdir(p->to, 0755), 0);
    if (setxattr(p->to, "system.posix_acl_default", acl, sizeof acl, 0) != 0)
        skip();
    row = kept_add(k, "d", DZ_ENTRY_DIR, 0770);
    kept_xattr(row, "system.posix_acl_access", acl, sizeof acl);
    kept_xattr(row, "system.posix_acl_default", acl, sizeof acl);
    (void) kept_add(k, "d/plain", DZ_ENTRY_FILE, 0640);
    row = kept_add(k, "d/listed", DZ_ENTRY_FILE, 0670);
    kept_xattr(row, "system.posix_acl_access", acl, sizeof acl);
    (void) kept_add(k, "plain", DZ_ENTRY_FILE, 0604);
    (void) kept_add(k, "e", DZ_ENTRY_DIR, 0705);
    restore_clean(p, k);
    assert_int_equal(getxattr(at(p, "d"), "system.posix_acl_default", got, sizeof got), sizeof acl);
    assert_int_equal(getxattr(at(p, "d"), "system.posix_acl_access", got, sizeof got), sizeof acl);
    assert_int_equal(getxattr(at(p, "d/listed"), "system.posix_acl_access", got, sizeof got),
                     sizeof acl);
    assert_true(getxattr(at(p, "d/plain"), "system.posix_acl_access", got, sizeof got) < 0);
    assert_true(getxattr(at(p, "plain"), "system.posix_acl_access", got, sizeof got) < 0);
    assert_true(getxattr(at(p, "e"), "system.posix_acl_default", got, sizeof got) < 0);
    assert_mode(p, "d/plain", 0640);
    assert_mode(p, "plain", 0604);
    assert_mode(p, "e", 0705);
    assert_mode(p, "d/listed", 0670);
}

static void lost_nodes_are_named_and_counted(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();
    struct dz_supply supply;
    char path[64];

    for (int i = 0; i < 20000; i++) {
        (void) snprintf(path, sizeof path, "file-%05d", i);
        (void) kept_add(k, path, DZ_ENTRY_FIFO, 0600);
    }
    supply = kept_supply(k);
    assert_true(kept_root(k)->depth > 0);
    kept_lose_nodes(k);
    assert_int_equal(dz_restore(&supply, kept_root(k), &p->how, &p->got, NULL), DZ_OK);
    assert_int_equal(p->got.left_out, 20000);
    assert_true(p->said.left_out < 2000);
}

/* --- System calls that fail ------------------------------------------------------------------- */

static struct dz_os failing;
static _Atomic int countdown;
static int fail_errno;

static bool due(void) {
    if (atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    errno = fail_errno;
    return true;
}

static int f_openat(int d, const char *n, int fl, mode_t m) {
    return due() ? -1 : dz_os_real.openat(d, n, fl, m);
}
static ssize_t f_pwrite(int fd, const void *b, size_t n, off_t o) {
    return due() ? -1 : dz_os_real.pwrite(fd, b, n, o);
}
static int f_mkdirat(int d, const char *n, mode_t m) {
    return due() ? -1 : dz_os_real.mkdirat(d, n, m);
}
static int f_open_beneath(int d, const char *n, int fl) {
    return due() ? -1 : dz_os_real.open_beneath(d, n, fl);
}
static int f_fstat(int fd, struct stat *st) {
    return due() ? -1 : dz_os_real.fstat(fd, st);
}
static int f_futimens(int fd, const struct timespec t[2]) {
    return due() ? -1 : dz_os_real.futimens(fd, t);
}
static int f_fchmod(int fd, mode_t m) {
    return due() ? -1 : dz_os_real.fchmod(fd, m);
}
static int f_linkat(int a, const char *b, int c, const char *d, int e) {
    return due() ? -1 : dz_os_real.linkat(a, b, c, d, e);
}
static int f_symlinkat(const char *a, int b, const char *c) {
    return due() ? -1 : dz_os_real.symlinkat(a, b, c);
}
static int f_syncfs(int fd) {
    return due() ? -1 : dz_os_real.syncfs(fd);
}

/* Whatever fails: it is said, nothing crashes, and the next run completes the tree. */
static void each_call_may_fail_once(void **state) {
    struct place *p = *state;
    const int errnos[] = { EIO, ENOSPC };

    failing = dz_os_real;
    failing.openat = f_openat;
    failing.pwrite = f_pwrite;
    failing.mkdirat = f_mkdirat;
    failing.open_beneath = f_open_beneath;
    failing.fstat = f_fstat;
    failing.futimens = f_futimens;
    failing.fchmod = f_fchmod;
    failing.linkat = f_linkat;
    failing.symlinkat = f_symlinkat;
    failing.syncfs = f_syncfs;
    for (size_t e = 0; e < 2; e++) {
        bool reached = true;

        for (int n = 1; reached; n++) {
            DZ_AUTO(kept_tree) k = small_tree();
            struct dz_supply supply;
            dz_status status;

            kept_target(kept_add(k, "srv/link", DZ_ENTRY_SYMLINK, 0777), "x");
            kept_link(kept_add(k, "srv/one", DZ_ENTRY_FILE, 0644), 1);
            kept_link(kept_add(k, "srv/two", DZ_ENTRY_FILE, 0644), 1);
            supply = kept_supply(k);
            fail_errno = errnos[e];
            atomic_store(&countdown, n);
            dz_os = &failing;
            p->said = (struct said){ 0 };
            status = dz_restore(&supply, kept_root(k), &p->how, &p->got, NULL);
            dz_os = &dz_os_real;
            reached = atomic_load(&countdown) <= 0;
            if (!reached) {
                assert_int_equal(status, DZ_OK);
                assert_int_equal(p->said.left_out + p->said.partial, 0);
            }
            (void) usleep(10000);
            p->how.overwrite = p->said.partial > 0; /* without its time a file is not known again */
            restore_clean(p, k);
            p->how.overwrite = false;
            assert_text(p, "srv/ward/chart", "chart\n");
            assert_true(is_there(p, "srv/two"));
            remove_tree(p->to);
        }
    }
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest rows[] = {
        ROW(every_type_comes_back_with_its_attributes),
        ROW(a_second_run_finds_everything_present),
        ROW(a_planted_link_is_never_followed),
        ROW(nothing_is_overwritten_unless_told),
        ROW(a_directory_in_the_way_of_a_file_is_named),
        ROW(an_interrupted_restore_is_completed),
        ROW(data_lost_in_a_power_cut_is_written_again),
        ROW(selected_paths_come_with_the_directories_above),
        ROW(strip_drops_leading_components),
        ROW(strip_never_lets_one_file_replace_another),
        ROW(names_of_one_inode_stay_one),
        ROW(holes_stay_holes),
        ROW(damage_is_left_out_and_named),
        ROW(damage_does_not_take_what_was_there),
        ROW(odd_names_come_back),
        ROW(extended_attributes_come_back),
        ROW(access_lists_come_back_and_are_not_inherited),
        ROW(lost_nodes_are_named_and_counted),
        ROW(each_call_may_fail_once),
        ROW(a_path_longer_than_the_kernel_takes_comes_back),
    };

    return cmocka_run_group_tests(rows, NULL, NULL);
}
