/* Each system call and each allocation of the index fails once: what follows is an error, or the
 * right answer, and the next attempt works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/os.h"
#include "core/slice.h"
#include "store/index.h"

/* ---- the failing seam; the linker sends allocations here (--wrap) ---- */

enum kind { CALLS, INTERRUPTED, SHORT, ALLOCATIONS, KINDS };
static const char *const kind_names[KINDS] = { "fails", "is interrupted", "is short",
                                               "finds no memory" };

static struct {
    enum kind kind;
    long countdown; /* 0: it is this one */
    bool armed, hit;
} fault;

static bool now_fails(enum kind kind) {
    if (!fault.armed || fault.kind != kind || fault.countdown-- != 0)
        return false;
    fault.hit = true;
    errno = kind == ALLOCATIONS ? ENOMEM : kind == INTERRUPTED ? EINTR : EIO;
    return true;
}

static int f_openat(int dirfd, const char *name, int flags, mode_t mode) {
    return now_fails(CALLS) ? -1 : dz_os_real.openat(dirfd, name, flags, mode);
}
static int f_close(int fd) {
    int r = dz_os_real.close(fd);
    return now_fails(CALLS) ? -1 : r;
}
static ssize_t f_pread(int fd, void *data, size_t len, off_t at) {
    if (now_fails(CALLS) || now_fails(INTERRUPTED))
        return -1;
    return dz_os_real.pread(fd, data, now_fails(SHORT) && len > 1 ? len / 2 : len, at);
}
static ssize_t f_pwrite(int fd, const void *data, size_t len, off_t at) {
    if (now_fails(CALLS) || now_fails(INTERRUPTED))
        return -1;
    return dz_os_real.pwrite(fd, data, now_fails(SHORT) && len > 1 ? len / 2 : len, at);
}
static int f_fsync(int fd) {
    return now_fails(CALLS) ? -1 : dz_os_real.fsync(fd);
}
static int f_fstat(int fd, struct stat *st) {
    return now_fails(CALLS) ? -1 : dz_os_real.fstat(fd, st);
}
static int f_publish(int fromfd, const char *from, int tofd, const char *to) {
    return now_fails(CALLS) ? -1 : dz_os_real.publish(fromfd, from, tofd, to);
}
static int f_unlinkat(int dirfd, const char *name, int flags) {
    return now_fails(CALLS) ? -1 : dz_os_real.unlinkat(dirfd, name, flags);
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t n);

void *__wrap_malloc(size_t n) {
    return now_fails(ALLOCATIONS) ? NULL : __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size) {
    return now_fails(ALLOCATIONS) ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n) {
    return now_fails(ALLOCATIONS) ? NULL : __real_realloc(p, n);
}
void *__wrap_reallocarray(void *p, size_t n, size_t size) {
    return now_fails(ALLOCATIONS) ? NULL : __real_reallocarray(p, n, size);
}
void *__wrap_aligned_alloc(size_t align, size_t n) {
    return now_fails(ALLOCATIONS) ? NULL : __real_aligned_alloc(align, n);
}

static void arm(enum kind kind, long nth) {
    static struct dz_os os;

    os = dz_os_real;
    os.openat = f_openat;
    os.close = f_close;
    os.pread = f_pread;
    os.pwrite = f_pwrite;
    os.fsync = f_fsync;
    os.fstat = f_fstat;
    os.publish = f_publish;
    os.unlinkat = f_unlinkat;
    dz_os = &os;
    fault.kind = kind;
    fault.countdown = nth;
    fault.hit = false;
    fault.armed = true;
}

/* True when the fault was reached. */
static bool disarm(void) {
    fault.armed = false;
    dz_os = &dz_os_real;
    return fault.hit;
}

/* ---- a small world ---- */

static const uint8_t vault[DZ_INDEX_ID_LEN] = "fault vault id";
static char path[] = "/tmp/dozo-index-fault-XXXXXX";
static int topfd, indexfd, tmpfd;

static void empty(int dirfd) {
    DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct dirent *d;

    assert_non_null(dir);
    while ((d = readdir(dir)) != NULL)
        if (d->d_name[0] != '.')
            (void) unlinkat(dirfd, d->d_name, 0);
    (void) closedir(dir);
}

static int setup(void **state) {
    (void) state;
    if (!mkdtemp(path))
        return -1;
    topfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mkdirat(topfd, "index", 0700) < 0 || mkdirat(topfd, "tmp", 0700) < 0)
        return -1;
    indexfd = openat(topfd, "index", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tmpfd = openat(topfd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return indexfd < 0 || tmpfd < 0 ? -1 : 0;
}

static int teardown(void **state) {
    (void) state;
    empty(indexfd);
    empty(tmpfd);
    (void) unlinkat(topfd, "index", AT_REMOVEDIR);
    (void) unlinkat(topfd, "tmp", AT_REMOVEDIR);
    (void) close(indexfd);
    (void) close(tmpfd);
    (void) close(topfd);
    return rmdir(path);
}

static void name_of(uint32_t i, uint8_t ret[DZ_CHUNK_NAME_LEN]) {
    uint64_t x = i;
    for (unsigned k = 0; k < DZ_CHUNK_NAME_LEN; k++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        ret[k] = (uint8_t) (x >> 56);
    }
}

/* Entries first .. end-1; the least builder memory is 32,768 entries. */
static dz_status build(uint32_t first, uint32_t end) {
    DZ_AUTO(dz_index_builder) b = NULL;
    uint8_t id[DZ_INDEX_ID_LEN];

    DZ_TRY(dz_index_builder_new(tmpfd, vault, 1, &b, NULL));
    for (uint32_t i = first; i < end; i++) {
        uint8_t name[DZ_CHUNK_NAME_LEN];
        dz_place at = { .pack = { (uint8_t) (1 + i / 30 % 200) }, .seg_offset = i };

        name_of(i, name);
        DZ_TRY(dz_index_builder_add(b, name, &at, NULL));
    }
    return dz_index_builder_finish(b, indexfd, id, NULL);
}

/* Every answer is right; with `covered`, all below `end` must be found. */
static dz_status ask(uint32_t end, uint32_t step, bool covered) {
    DZ_AUTO(dz_index) idx = NULL;
    dz_status worst = DZ_OK;

    DZ_TRY(dz_index_open(indexfd, vault, &idx, NULL));
    for (uint32_t i = 0; i < end + 100; i += step) {
        uint8_t name[DZ_CHUNK_NAME_LEN];
        bool found = false;
        dz_place got;
        dz_status s;

        name_of(i, name);
        s = dz_index_find(idx, name, NULL, NULL, &got, &found, NULL);
        if (s != DZ_OK) {
            worst = s;
            continue;
        }
        if (found)
            assert_true(i < end && got.seg_offset == i);
        /* A run that did not open covers nothing: only then may a name be missing. */
        if (!found && i < end && covered)
            assert_true(dz_index_stats_of(idx).damaged_runs > 0);
    }
    return worst;
}

static void sound(uint32_t end, uint32_t step, bool covered) {
    DZ_AUTO(dz_index) idx = NULL;

    assert_int_equal(ask(end, step, covered), DZ_OK);
    assert_int_equal(dz_index_open(indexfd, vault, &idx, NULL), DZ_OK);
    assert_int_equal(dz_index_stats_of(idx).damaged_runs, 0);
    assert_int_equal(dz_index_check(idx, NULL), DZ_OK);
}

/* EINTR and short transfers must not even be noticed. */
static bool harmless(enum kind kind) {
    return kind == INTERRUPTED || kind == SHORT;
}

static void building_fails_whole_or_not_at_all(void **state) {
    enum { N = 70000 };
    (void) state;

    for (enum kind kind = CALLS; kind < KINDS; kind++) {
        long nth = 0;

        for (bool hit = true; hit; nth++) {
            dz_status s;

            arm(kind, nth);
            s = build(0, N);
            hit = disarm();
            if (harmless(kind))
                assert_int_equal(s, DZ_OK);
            sound(N, 97, s == DZ_OK); /* a failure leaves nothing, or, at the last sync, all */
            empty(indexfd);
            empty(tmpfd); /* what the sweep would do: an unlink may have been what failed */
        }
        print_message("  %ld places where it %s\n", nth - 1, kind_names[kind]);
    }
}

static void asking_is_right_or_an_error(void **state) {
    enum { N = 3000 };
    (void) state;

    assert_int_equal(build(0, 2000), DZ_OK);
    assert_int_equal(build(2000, N), DZ_OK);
    for (enum kind kind = CALLS; kind < KINDS; kind++) {
        long nth = 0;

        for (bool hit = true; hit; nth++) {
            dz_status s;

            arm(kind, nth);
            s = ask(N, 53, true);
            hit = disarm();
            if (harmless(kind))
                assert_int_equal(s, DZ_OK);
        }
        print_message("  %ld places where it %s\n", nth - 1, kind_names[kind]);
    }
    sound(N, 1, true);
    empty(indexfd);
}

static void a_merge_that_fails_loses_nothing(void **state) {
    enum { N = 400 };
    (void) state;

    for (enum kind kind = CALLS; kind < KINDS; kind++) {
        long nth = 0;

        for (bool hit = true; hit; nth++) {
            size_t merged = 0;
            dz_status s;

            for (uint32_t i = 0; i < 4; i++)
                assert_int_equal(build(i * (N / 4), (i + 1) * (N / 4)), DZ_OK);
            arm(kind, nth);
            s = dz_index_merge(indexfd, tmpfd, vault, &(dz_index_merge_how){ 0 }, &merged, NULL);
            hit = disarm();
            if (harmless(kind))
                assert_int_equal(s, DZ_OK);
            sound(N, 1, true);
            assert_int_equal(dz_index_merge(indexfd, tmpfd, vault,
                                            &(dz_index_merge_how){ .all = true }, &merged, NULL),
                             DZ_OK);
            sound(N, 1, true);
            empty(indexfd);
            empty(tmpfd);
        }
        print_message("  %ld places where it %s\n", nth - 1, kind_names[kind]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(building_fails_whole_or_not_at_all),
        cmocka_unit_test(asking_is_right_or_an_error),
        cmocka_unit_test(a_merge_that_fails_loses_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
