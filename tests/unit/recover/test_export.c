/* The tar stream, read by other people's programs. */
#include "recover/export.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/buf.h"
#include "recover/pax.h"
#include "recover/restore.h"
#include "tests/unit/recover/kept_tree.h"

enum { MISSING = 127 };

struct place {
    char dir[64];
    char tar[80];
    unsigned problems;
    struct dz_export_result got;
};

static void count(void *ctx, dz_slice path, const char *what) {
    (void) path;
    (void) what;
    ((struct place *) ctx)->problems++;
}

static int run(const char *const argv[]) {
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        execvp(argv[0], (char *const *) (uintptr_t) argv);
        _exit(MISSING);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int setup(void **state) {
    struct place *p = calloc(1, sizeof *p);
    const char *tmp = getenv("TMPDIR");

    (void) snprintf(p->dir, sizeof p->dir, "%s/dozo-export-XXXXXX", tmp ? tmp : "/var/tmp");
    if (!mkdtemp(p->dir))
        return -1;
    (void) snprintf(p->tar, sizeof p->tar, "%s/x.tar", p->dir);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    struct place *p = *state;

    (void) run((const char *const[]){ "rm", "-rf", "--", p->dir, NULL });
    free(p);
    return 0;
}

static void export_ok(struct place *p, struct kept_tree *k) {
    struct dz_supply supply = kept_supply(k);
    int fd = open(p->tar, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    struct dz_export_how how = { .fd = fd, .problem = count, .ctx = p };
    dz_err err = { 0 };

    assert_true(fd >= 0);
    assert_int_equal(dz_export(&supply, kept_root(k), &how, &p->got, &err), DZ_OK);
    assert_int_equal(close(fd), 0);
}

/* Everything a snapshot may hold, but what needs root when root is not at hand. */
static struct kept_tree *full_tree(void) {
    struct kept_tree *k = kept_new();
    const uint64_t pairs[] = { 1 << 20, 30000, 5000000, 10000 };
    static char data[40000], longer[200], deep[600];
    struct kept_row *row;
    size_t n = 0;

    (void) kept_add(k, "d", DZ_ENTRY_DIR, 0750);
    kept_text(k, kept_add(k, "d/plain", DZ_ENTRY_FILE, 0644), "plain\n");
    (void) kept_add(k, "d/empty", DZ_ENTRY_FILE, 0600);
    kept_text(k, kept_add(k, "d/\xff\xfe\n\"", DZ_ENTRY_FILE, 0600), "odd");
    kept_target(kept_add(k, "d/link", DZ_ENTRY_SYMLINK, 0777), "../x");
    memset(longer, 't', sizeof longer - 1);
    kept_target(kept_add(k, "d/long-link", DZ_ENTRY_SYMLINK, 0777), longer);
    (void) kept_add(k, "d/pipe", DZ_ENTRY_FIFO, 0622);
    row = kept_add(k, "d/before", DZ_ENTRY_FILE, 0644);
    row->e.mtime_s = -2;
    row->e.mtime_ns = 499999999;
    row = kept_add(k, "d/later", DZ_ENTRY_FILE, 0644);
    row->e.mtime_s = 9999999999;
    for (int i = 0; i < 2; i++) {
        row = kept_add(k, i ? "d/two" : "d/one", DZ_ENTRY_FILE, 0644);
        kept_text(k, row, "linked");
        kept_link(row, 3);
    }
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char) (i >> 5);
    row = kept_add(k, "d/sparse", DZ_ENTRY_FILE, 0644);
    kept_extents(row, 9000000, pairs, 2);
    kept_content(k, row, data, sizeof data);
    kept_extents(kept_add(k, "d/hole", DZ_ENTRY_FILE, 0644), 1 << 20, (const uint64_t[]){ 1, 0 },
                 1);
    for (int i = 0; i < 4; i++) {
        n += (size_t) snprintf(deep + n, sizeof deep - n, "%s%.120s", i ? "/" : "", longer);
        (void) kept_add(k, deep, DZ_ENTRY_DIR, 0755);
    }
    (void) snprintf(deep + n, sizeof deep - n, "/\xe8\xaa\xad\xff");
    kept_text(k, kept_add(k, deep, DZ_ENTRY_FILE, 0644), "deep");
    if (geteuid() == 0) {
        row = kept_add(k, "d/theirs", DZ_ENTRY_FILE, 06755);
        row->e.uid = 3000000;
        row->e.gid = 70002;
        kept_xattr(row, "user.a=b%", "x\ny", 3);
        kept_rdev(kept_add(k, "d/null", DZ_ENTRY_CHAR, 0666), 1, 3);
    }
    return k;
}

/* Two ways to the same tree: restored by us, and by somebody else from our stream. */
static void gnu_tar_makes_the_tree_that_restore_makes(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = full_tree();
    struct dz_supply supply = kept_supply(k);
    char ours[80], theirs[80], top[200];
    struct dz_restore_how how = { .to = ours, .threads = 2 };
    struct dz_restore_result got;
    int rc;

    (void) snprintf(ours, sizeof ours, "%s/ours", p->dir);
    (void) snprintf(theirs, sizeof theirs, "%s/theirs", p->dir);
    export_ok(p, k);
    assert_int_equal(p->problems, 0);
    assert_int_equal(mkdir(theirs, 0755), 0);
    rc = run((const char *const[]){ "tar", "--warning=none", "--xattrs", "--xattrs-include=*",
                                    "-xpf", p->tar, "-C", theirs, NULL });
    if (rc == MISSING)
        skip();
    assert_int_equal(rc, 0);
    assert_int_equal(dz_restore(&supply, kept_root(k), &how, &got, NULL), DZ_OK);
    assert_int_equal(got.left_out + got.partial, 0);
    assert_int_equal(chmod(theirs, 0700), 0); /* the targets themselves are in no snapshot */
    assert_int_equal(chmod(ours, 0700), 0);
    assert_int_equal(run((const char *const[]){ "touch", "-d", "@1", ours, theirs, NULL }), 0);
    (void) snprintf(top, sizeof top, "%s/tools/compare-trees.py", getenv("DOZO_TOP"));
    rc = run((const char *const[]){ "python3", top, ours, theirs, NULL });
    assert_int_equal(rc, 0);
}

static void bsdtar_reads_it_too(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = NULL;
    char list[80];

    /* before anything is made: skip() jumps, and nothing would be released */
    if (run((const char *const[]){ "bsdtar", "--version", NULL }) == MISSING)
        skip();
    k = full_tree();
    (void) snprintf(list, sizeof list, "%s/theirs", p->dir);
    assert_int_equal(mkdir(list, 0755), 0);
    export_ok(p, k);
    assert_int_equal(run((const char *const[]){ "bsdtar", "-xf", p->tar, "-C", list, NULL }), 0);
}

static void a_damaged_file_does_not_break_the_stream(void **state) {
    struct place *p = *state;
    DZ_AUTO(kept_tree) k = kept_new();
    static char data[50000];
    int rc;

    memset(data, 1, 16384);
    memset(data + 16384, 2, sizeof data - 16384);
    kept_content(k, kept_add(k, "a", DZ_ENTRY_FILE, 0644), data, sizeof data);
    kept_text(k, kept_add(k, "b", DZ_ENTRY_FILE, 0644), "gone");
    kept_text(k, kept_add(k, "c", DZ_ENTRY_FILE, 0644), "here");
    (void) kept_supply(k);
    kept_damage(k, data + 16384, 16384);
    kept_damage(k, "gone", 4);
    export_ok(p, k);
    assert_int_equal(p->problems, 2);
    assert_int_equal(p->got.left_out, 2);
    assert_int_equal(p->got.files, 2);
    rc = run((const char *const[]){ "tar", "-xf", p->tar, "-C", p->dir, NULL });
    if (rc == MISSING)
        skip();
    assert_int_equal(rc, 0);
}

static void sizes_beyond_the_header_stand_in_a_record(void **state) {
    const dz_entry e = { .path = DZ_SLICE_LIT("big"), .type = DZ_ENTRY_FILE, .mtime_s = 1 };
    const struct dz_pax_entry p = { .e = &e, .size = 9ULL << 30, .data = 9ULL << 30 };
    dz_autobuf dz_buf out = { 0 };
    size_t padding;

    (void) state;
    dz_pax_header(&p, &out, &padding);
    assert_int_equal(out.len, 3 * DZ_TAR_BLOCK);
    assert_int_equal(padding, 0);
    assert_memory_equal(out.data + DZ_TAR_BLOCK, "19 size=9663676416\n", 19);
    assert_int_equal(out.data[2 * DZ_TAR_BLOCK + 156], '0');
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest rows[] = {
        ROW(gnu_tar_makes_the_tree_that_restore_makes),
        ROW(bsdtar_reads_it_too),
        ROW(a_damaged_file_does_not_break_the_stream),
        cmocka_unit_test(sizes_beyond_the_header_stand_in_a_record),
    };

    return cmocka_run_group_tests(rows, NULL, NULL);
}
