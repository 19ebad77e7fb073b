/* A run that is tried again is found, with the cache and without it. */
#include "intake/last_runs.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/intake/peer.h"

/* One run of "emr" with this number; says what DONE said. */
static struct dz_wire_done keep(struct dz_vault *v, uint8_t run) {
    struct dz_wire_done done;
    struct peer p;

    peer_open(&p, v, NULL);
    peer_begin(&p, "emr", run);
    (void) peer_must_hear(&p, DZ_WIRE_READY);
    peer_file(&p, "file", DZ_SLICE_LIT("content"));
    peer_commit(&p, 1, 7);
    peer_send(&p, 4096);
    done = peer_must_hear(&p, DZ_WIRE_DONE).done;
    peer_close(&p);
    return done;
}

static bool found(struct dz_vault *v, const char *source, const struct dz_wire_done *run) {
    struct dz_wire_done done;
    bool there = false;

    assert_int_equal(dz_last_runs_find(v, v->tmpfd, source, run->snapshot, &there, &done, NULL),
                     DZ_OK);
    if (there) {
        assert_memory_equal(done.snapshot, run->snapshot, sizeof done.snapshot);
        assert_int_equal(done.arrived_us, run->arrived_us);
        assert_int_equal(done.entries, run->entries);
        assert_int_equal(done.bytes, run->bytes);
        assert_int_equal(done.sent, run->sent);
    }
    return there;
}

/* The cache's files are removed, or each byte of them is changed. */
static size_t spoil(struct dz_vault *v, bool remove) {
    int fd = openat(v->cachefd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fdopendir(fd);
    const struct dirent *e;
    size_t n = 0;

    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        int file;
        if (strncmp(e->d_name, "last-runs-", 10) != 0)
            continue;
        n++;
        if (remove) {
            assert_int_equal(unlinkat(v->cachefd, e->d_name, 0), 0);
            continue;
        }
        file = openat(v->cachefd, e->d_name, O_RDWR | O_CLOEXEC);
        assert_true(file >= 0);
        for (off_t at = 0;; at++) {
            uint8_t byte;
            if (pread(file, &byte, 1, at) != 1)
                break;
            byte ^= 1;
            assert_int_equal(pwrite(file, &byte, 1, at), 1);
        }
        (void) close(file);
    }
    (void) closedir(d);
    return n;
}

static void the_last_runs_are_found_by_the_cache_alone(void **state) {
    struct scratch *s = *state;
    struct dz_wire_done runs[3], no_run = { .snapshot = { 1 } };
    DZ_AUTO(dz_vault) v = NULL;

    scratch_vault(s);
    v = scratch_open(s, false);
    for (size_t i = 0; i < 3; i++)
        runs[i] = keep(v, (uint8_t) (1 + i));
    for (size_t i = 0; i < 3; i++)
        assert_true(found(v, "emr", &runs[i]));
    assert_false(found(v, "emr", &no_run));
}

static void without_a_sound_cache_the_log_tells(void **state) {
    struct scratch *s = *state;
    struct dz_wire_done first, second;
    DZ_AUTO(dz_vault) v = NULL;

    scratch_vault(s);
    v = scratch_open(s, false);
    first = keep(v, 1);
    second = keep(v, 2);
    for (int remove = 0; remove < 2; remove++) {
        assert_int_equal(spoil(v, remove), 1);
        assert_true(found(v, "emr", &first));
        assert_true(found(v, "emr", &second));
    }
    assert_true(found(v, "lab", &second)); /* the id alone names a snapshot, whoever asks */
}

static void what_came_after_the_cache_was_written_is_found(void **state) {
    struct scratch *s = *state;
    char kept[8192], name[64] = "";
    struct dz_wire_done second;
    const struct dirent *e;
    DZ_AUTO(dz_vault) v = NULL;
    ssize_t len;
    int fd;
    DIR *d;

    scratch_vault(s);
    v = scratch_open(s, false);
    (void) keep(v, 1);
    fd = openat(v->cachefd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d = fdopendir(fd);
    while ((e = readdir(d)) != NULL)
        if (strncmp(e->d_name, "last-runs-", 10) == 0)
            (void) snprintf(name, sizeof name, "%.60s", e->d_name);
    (void) closedir(d);
    fd = openat(v->cachefd, name, O_RDONLY | O_CLOEXEC);
    len = read(fd, kept, sizeof kept);
    (void) close(fd);
    assert_true(len > 0 && len < (ssize_t) sizeof kept);
    second = keep(v, 2);
    /* as if the power had gone before the cache was written */
    fd = openat(v->cachefd, name, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, kept, (size_t) len), len);
    (void) close(fd);
    assert_true(found(v, "emr", &second));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_runs_are_found_by_the_cache_alone, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(without_a_sound_cache_the_log_tells, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(what_came_after_the_cache_was_written_is_found,
                                        scratch_setup, scratch_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
