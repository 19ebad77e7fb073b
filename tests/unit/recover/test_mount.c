/* A snapshot mounted, and looked at through the kernel. */
#include "recover/mount.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "recover/restore.h"
#include "tests/unit/recover/kept_tree.h"

enum { SKIPPED = 77 };

struct place {
    char dir[64];
    char at[80];
    pid_t server; /* 0: none */
};

static int setup(void **state) {
    struct place *p = calloc(1, sizeof *p);
    const char *tmp = getenv("TMPDIR");

    (void) snprintf(p->dir, sizeof p->dir, "%s/dozo-mount-XXXXXX", tmp ? tmp : "/var/tmp");
    if (!mkdtemp(p->dir))
        return -1;
    (void) snprintf(p->at, sizeof p->at, "%s/at", p->dir);
    *state = p;
    return mkdir(p->at, 0755);
}

static void run(const char *const argv[], int *ret_code) {
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        execvp(argv[0], (char *const *) (uintptr_t) argv);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    *ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void stop(struct place *p) {
    int status;

    if (p->server == 0)
        return;
    (void) kill(p->server, SIGTERM);
    (void) waitpid(p->server, &status, 0);
    p->server = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int teardown(void **state) {
    struct place *p = *state;
    int code;

    stop(p);
    run((const char *const[]){ "rm", "-rf", "--one-file-system", "--", p->dir, NULL }, &code);
    free(p);
    return 0;
}

static void tell(void *ctx) {
    (void) !write(*(int *) ctx, "r", 1);
}

/* Serves from a process of its own, as the command line does. */
static void mount_tree(struct place *p, struct kept_tree *k) {
    struct dz_supply supply = kept_supply(k);
    int ends[2];
    char got;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    p->server = fork();
    assert_true(p->server >= 0);
    if (p->server == 0) {
        struct dz_mount_how how = { .at = p->at, .name = "test", .ready = tell, .ctx = &ends[1] };
        dz_err err = { 0 };

        (void) close(ends[0]);
        if (dz_mount(&supply, kept_root(k), &how, &err) != DZ_OK) {
            (void) fprintf(stderr, "%s (%d)\n", err.what, err.sys_errno);
            _exit(1);
        }
        _exit(0);
    }
    (void) close(ends[1]);
    assert_int_equal(read(ends[0], &got, 1), 1);
    (void) close(ends[0]);
}

static const char *in(struct place *p, const char *path) {
    static char text[4][PATH_MAX];
    static unsigned n;
    char *to = text[n++ % 4];

    (void) snprintf(to, PATH_MAX, "%s/%s", p->at, path);
    return to;
}

static struct kept_tree *full_tree(void) {
    struct kept_tree *k = kept_new();
    const uint64_t pairs[] = { 1 << 20, 28672, 8 << 20, 12288 };
    static char data[40960];
    struct kept_row *row;

    (void) kept_add(k, "d", DZ_ENTRY_DIR, 0750);
    kept_text(k, kept_add(k, "d/plain", DZ_ENTRY_FILE, 0644), "plain\n");
    kept_text(k, kept_add(k, "d/\xff\xfe\n\"", DZ_ENTRY_FILE, 0600), "odd");
    kept_target(kept_add(k, "d/link", DZ_ENTRY_SYMLINK, 0777), "../x");
    (void) kept_add(k, "d/pipe", DZ_ENTRY_FIFO, 0622);
    kept_add(k, "d/before", DZ_ENTRY_FILE, 0644)->e.mtime_s = -2;
    for (int i = 0; i < 3; i++) {
        char path[16];

        (void) snprintf(path, sizeof path, "d/name%d", i);
        row = kept_add(k, path, DZ_ENTRY_FILE, 0644);
        kept_text(k, row, "linked");
        kept_link(row, 3);
    }
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char) (i >> 5);
    row = kept_add(k, "d/sparse", DZ_ENTRY_FILE, 0644);
    kept_extents(row, 16 << 20, pairs, 2);
    kept_content(k, row, data, sizeof data);
    row = kept_add(k, "d/coloured", DZ_ENTRY_FILE, 0644);
    kept_xattr(row, "user.colour", "blue", 4);
    if (geteuid() == 0) {
        row = kept_add(k, "d/theirs", DZ_ENTRY_FILE, 06755);
        row->e.uid = 70001;
        row->e.gid = 70002;
        kept_rdev(kept_add(k, "d/disk", DZ_ENTRY_BLOCK, 0660), 259, 70000);
    }
    return k;
}

static void what_is_mounted_is_what_is_restored(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = full_tree();
    struct dz_supply supply = kept_supply(k);
    char to[80], tool[300], a[90], b[90];
    struct dz_restore_how how = { .to = to };
    struct dz_restore_result got;
    int code;

    (void) snprintf(to, sizeof to, "%s/to", p->dir);
    assert_int_equal(dz_restore(&supply, kept_root(k), &how, &got, NULL), DZ_OK);
    assert_int_equal(got.left_out + got.partial, 0);
    mount_tree(p, k);
    (void) snprintf(tool, sizeof tool, "%s/tools/compare-trees.py", getenv("DOZO_TOP"));
    (void) snprintf(a, sizeof a, "%s/d", to);
    (void) snprintf(b, sizeof b, "%s/d", p->at);
    run((const char *const[]){ "python3", tool, a, b, NULL }, &code);
    assert_int_equal(code, 0);
}

static void links_are_counted_and_share_a_number(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = full_tree();
    struct stat a, b;

    mount_tree(p, k);
    assert_int_equal(stat(in(p, "d/name0"), &a), 0);
    assert_int_equal(stat(in(p, "d/name2"), &b), 0);
    assert_int_equal(a.st_nlink, 3);
    assert_int_equal(a.st_ino, b.st_ino);
    assert_int_equal(stat(in(p, "d/plain"), &a), 0);
    assert_int_equal(a.st_nlink, 1);
}

static void data_and_holes_can_be_sought(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = full_tree();
    int fd;

    mount_tree(p, k);
    fd = open(in(p, "d/sparse"), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(lseek(fd, 0, SEEK_DATA), 1 << 20);
    assert_int_equal(lseek(fd, 1 << 20, SEEK_HOLE), (1 << 20) + 28672);
    assert_int_equal(lseek(fd, (1 << 20) + 28672, SEEK_HOLE), (1 << 20) + 28672);
    assert_int_equal(lseek(fd, (9 << 20) + 28672 + 12288, SEEK_DATA), -1);
    assert_int_equal(lseek(fd, (9 << 20) + 28672 + 12288, SEEK_HOLE), (9 << 20) + 28672 + 12288);
    (void) close(fd);
}

static void nothing_can_be_written(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = full_tree();

    mount_tree(p, k);
    assert_int_equal(open(in(p, "d/plain"), O_RDWR), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(open(in(p, "new"), O_WRONLY | O_CREAT, 0600), -1);
    assert_int_equal(unlink(in(p, "d/plain")), -1);
}

static void a_damaged_chunk_is_an_error_for_its_bytes_only(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();
    static char data[1 << 20];
    char got[16384];
    int fd;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char) (i >> 14);
    kept_content(k, kept_add(k, "big", DZ_ENTRY_FILE, 0644), data, sizeof data);
    (void) kept_supply(k);
    kept_damage(k, data + 40 * 16384, 16384);
    mount_tree(p, k);
    fd = open(in(p, "big"), O_RDONLY | O_DIRECT); /* the kernel reads nothing ahead */
    if (fd < 0)
        fd = open(in(p, "big"), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0);
    assert_int_equal(pread(fd, got, sizeof got, 0), sizeof got);
    assert_int_equal(pread(fd, got, sizeof got, 40 * 16384), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(pread(fd, got, sizeof got, 50 * 16384), sizeof got);
    assert_memory_equal(got, data + 50 * 16384, sizeof got);
    (void) close(fd);
}

static void a_long_directory_is_listed_whole_and_again(void **state) {
    enum { FILES = 30000 };
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();
    char path[64];
    const struct dirent *entry;
    DIR *dir;
    long middle = 0;
    char name[256] = "";

    (void) kept_add(k, "many", DZ_ENTRY_DIR, 0755);
    for (unsigned i = 0; i < FILES; i++) {
        (void) snprintf(path, sizeof path, "many/%s%05u", i % 100 ? "file" : "dir", i);
        (void) kept_add(k, path, i % 100 ? DZ_ENTRY_FILE : DZ_ENTRY_DIR, 0755);
        if (i % 100 == 0) {
            (void) snprintf(path, sizeof path, "many/dir%05u/below", i);
            (void) kept_add(k, path, DZ_ENTRY_FILE, 0644);
        }
    }
    mount_tree(p, k);
    dir = opendir(in(p, "many"));
    assert_non_null(dir);
    for (int round = 0; round < 2; round++) {
        unsigned n = 0;

        while ((entry = readdir(dir)) != NULL) {
            n++;
            if (n == FILES / 2)
                middle = telldir(dir);
            if (n == FILES / 2 + 1)
                (void) snprintf(name, sizeof name, "%s", entry->d_name);
        }
        assert_int_equal(n, FILES + 2);
        rewinddir(dir);
    }
    seekdir(dir, middle);
    entry = readdir(dir);
    assert_non_null(entry);
    assert_string_equal(entry->d_name, name);
    (void) closedir(dir);
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest rows[] = {
        ROW(what_is_mounted_is_what_is_restored),
        ROW(links_are_counted_and_share_a_number),
        ROW(data_and_holes_can_be_sought),
        ROW(nothing_can_be_written),
        ROW(a_damaged_chunk_is_an_error_for_its_bytes_only),
        ROW(a_long_directory_is_listed_whole_and_again),
    };

    if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) != 0)
        return SKIPPED;
    return cmocka_run_group_tests(rows, NULL, NULL);
}
