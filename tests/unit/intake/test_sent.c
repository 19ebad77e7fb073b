/* What a source has sent is known to that source, for as long as its last snapshot has it. */
#include "intake/sent.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/durable.h"
#include "tests/unit/intake/scratch.h"

static dz_id nth(uint32_t n) {
    dz_id id = { { 1 } };

    dz_store_le(id.b + 4, 4, n);
    return id;
}

static struct dz_sent *open_sent(struct dz_vault *v, const char *source) {
    struct dz_sent *s = NULL;
    dz_err err = { 0 };

    if (dz_sent_open(v, source, v->tmpfd, &s, &err) != DZ_OK)
        fail_msg("%s", err.what);
    return s;
}

static uint32_t length(struct dz_sent *s, uint32_t n) {
    dz_id id = nth(n);
    uint32_t got = 0;

    assert_int_equal(dz_sent_length(s, &id, &got, NULL), DZ_OK);
    return got;
}

static void add(struct dz_sent *s, uint32_t n, uint32_t len) {
    dz_id id = nth(n);

    assert_int_equal(dz_sent_add(s, &id, len, NULL), DZ_OK);
}

enum end { ABANDONED, CUT, KEPT };

/* One run that sends the chunks [from, to), n + 1 bytes each. */
static void run(struct dz_vault *v, const char *source, uint32_t from, uint32_t to, enum end end) {
    DZ_AUTO(dz_sent) s = open_sent(v, source);

    for (uint32_t n = from; n < to; n++)
        add(s, n, n + 1);
    if (end != ABANDONED)
        assert_int_equal(dz_sent_keep(s, end == KEPT, NULL), DZ_OK);
}

static void assert_known(struct dz_vault *v, const char *source, uint32_t from, uint32_t to,
                         bool known) {
    DZ_AUTO(dz_sent) s = open_sent(v, source);

    for (uint32_t n = from; n < to; n++)
        assert_int_equal(length(s, n), known ? n + 1 : 0);
}

static void a_run_knows_what_it_added_itself(void **state) {
    struct scratch *scratch = *state;
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_sent) s = NULL;

    scratch_vault(scratch);
    v = scratch_open(scratch, false);
    s = open_sent(v, "emr");
    assert_int_equal(length(s, 0), 0);
    add(s, 0, 77);
    add(s, 0, 77);
    assert_int_equal(length(s, 0), 77);
    assert_int_equal(length(s, 1), 0);
}

static void what_the_last_snapshot_has_is_known(void **state) {
    struct scratch *scratch = *state;
    DZ_AUTO(dz_vault) v = NULL;

    scratch_vault(scratch);
    v = scratch_open(scratch, false);
    run(v, "emr", 0, 10, KEPT);
    assert_known(v, "emr", 0, 10, true);
    run(v, "emr", 5, 20, KEPT);
    assert_known(v, "emr", 0, 5, false); /* the one before the last */
    assert_known(v, "emr", 5, 20, true);
}

static void what_broke_off_is_known_until_the_snapshot_after_the_next(void **state) {
    struct scratch *scratch = *state;
    DZ_AUTO(dz_vault) v = NULL;

    scratch_vault(scratch);
    v = scratch_open(scratch, false);
    run(v, "emr", 0, 10, KEPT);
    run(v, "emr", 10, 20, CUT);
    run(v, "emr", 20, 30, CUT);
    assert_known(v, "emr", 0, 30, true);
    run(v, "emr", 30, 40, KEPT);
    assert_known(v, "emr", 0, 10, false);
    assert_known(v, "emr", 10, 40, true);
    run(v, "emr", 40, 50, KEPT);
    assert_known(v, "emr", 0, 40, false);
    assert_known(v, "emr", 40, 50, true);
}

static void what_was_abandoned_is_not_known(void **state) {
    struct scratch *scratch = *state;
    DZ_AUTO(dz_vault) v = NULL;

    scratch_vault(scratch);
    v = scratch_open(scratch, false);
    run(v, "emr", 0, 10, ABANDONED);
    assert_known(v, "emr", 0, 10, false);
}

static void another_source_knows_nothing_of_it(void **state) {
    struct scratch *scratch = *state;
    DZ_AUTO(dz_vault) v = NULL;

    scratch_vault(scratch);
    v = scratch_open(scratch, false);
    run(v, "emr", 0, 10, KEPT);
    assert_known(v, "lab", 0, 10, false);
    run(v, "lab", 5, 10, KEPT);
    assert_known(v, "emr", 0, 10, true);
    assert_known(v, "lab", 0, 5, false);
}

static void more_than_memory_holds_goes_to_files_and_is_known_at_once(void **state) {
    struct scratch *scratch = *state;
    const uint32_t many = 3 * (128 << 10) + 100;
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_sent *s;

    scratch_vault(scratch);
    v = scratch_open(scratch, false);
    s = open_sent(v, "emr");
    for (uint32_t n = 0; n < many; n++)
        add(s, n, n + 1);
    for (uint32_t n = 0; n < many; n += 1000)
        assert_int_equal(length(s, n), n + 1);
    dz_sent_free(s); /* as when the vault stops: what went to files stays */
    assert_known(v, "emr", 0, 100, true);
    assert_known(v, "emr", many - 100, many, false);
    run(v, "emr", many - 100, many, KEPT);
    assert_known(v, "emr", many - 200, many, true);
}

static void one_run_of_a_source_at_a_time(void **state) {
    struct scratch *scratch = *state;
    DZ_AUTO(dz_vault) v = NULL;
    struct dz_sent *first, *second = NULL, *other;

    scratch_vault(scratch);
    v = scratch_open(scratch, false);
    first = open_sent(v, "emr");
    assert_int_equal(dz_sent_open(v, "emr", v->tmpfd, &second, NULL), DZ_E_BUSY);
    other = open_sent(v, "lab");
    dz_sent_free(first);
    second = open_sent(v, "emr");
    dz_sent_free(second);
    dz_sent_free(other);
}

/* Calls it for each run of each source. */
static unsigned each_file(struct dz_vault *v, void (*harm)(int dirfd, const char *name)) {
    static const char *const ages[] = { "now", "last" };
    int twin = openat(v->cachefd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fdopendir(twin);
    unsigned n = 0;
    struct dirent *e;

    assert_non_null(d);
    while ((e = readdir(d))) {
        char path[300];

        for (int i = 0; strncmp(e->d_name, "sent-", 5) == 0 && i < 2; i++) {
            DIR *runs;
            struct dirent *f;

            (void) snprintf(path, sizeof path, "%s/%s", e->d_name, ages[i]);
            twin = openat(v->cachefd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            runs = twin >= 0 ? fdopendir(twin) : NULL;
            while (runs && (f = readdir(runs)))
                if (f->d_name[0] != '.') {
                    harm(dirfd(runs), f->d_name);
                    n++;
                }
            if (runs)
                (void) closedir(runs);
        }
    }
    (void) closedir(d);
    return n;
}

static void overwrite(int dirfd, const char *name) {
    dz_autoclose int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC);
    static const uint8_t noise[256] = "noise";

    for (off_t at = 0; at < 16384; at += 256)
        assert_int_equal(pwrite(fd, noise, sizeof noise, at), sizeof noise);
}

static void cut_short(int dirfd, const char *name) {
    dz_autoclose int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC);

    assert_int_equal(ftruncate(fd, 100), 0);
}

static void flip(int dirfd, const char *name) {
    dz_autoclose int fd = openat(dirfd, name, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    for (off_t at = 4096; pread(fd, &byte, 1, at) == 1; at += 61) {
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
}

static void a_damaged_file_knows_nothing_and_fails_nobody(void **state) {
    struct scratch *scratch = *state;
    void (*const harms[])(int, const char *) = { overwrite, cut_short, flip };
    DZ_AUTO(dz_vault) v = NULL;

    scratch_vault(scratch);
    v = scratch_open(scratch, false);
    for (size_t i = 0; i < sizeof harms / sizeof *harms; i++) {
        run(v, "emr", 0, 10, KEPT);
        run(v, "emr", 10, 20, CUT);
        assert_int_equal(each_file(v, harms[i]), 2);
        assert_known(v, "emr", 0, 20, false);
        run(v, "emr", 0, 10, KEPT);
        assert_known(v, "emr", 0, 10, true);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_run_knows_what_it_added_itself),
        TEST(what_the_last_snapshot_has_is_known),
        TEST(what_broke_off_is_known_until_the_snapshot_after_the_next),
        TEST(what_was_abandoned_is_not_known),
        TEST(another_source_knows_nothing_of_it),
        TEST(more_than_memory_holds_goes_to_files_and_is_known_at_once),
        TEST(one_run_of_a_source_at_a_time),
        TEST(a_damaged_file_knows_nothing_and_fails_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
