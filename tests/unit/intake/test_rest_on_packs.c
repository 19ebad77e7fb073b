/* A snapshot rests on packs that other runs gave: they must be there when it is acknowledged, and
 * whoever reads must not take what is not indexed yet for lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>

#include "core/cleanup.h"
#include "store/fetch.h"
#include "store/session.h"
#include "tests/unit/intake/scratch.h"

static const char text[] = "a chunk that two runs share";

static void keep(struct dz_session *s, dz_id *ret_id) {
    struct dz_lane *lane;

    assert_int_equal(dz_session_lane(s, &lane, NULL), DZ_OK);
    assert_int_equal(dz_lane_put(lane, DZ_KIND_DATA, DZ_SLICE_LIT(text), false, ret_id, NULL, NULL),
                     DZ_OK);
}

static dz_status commit(struct dz_session *s) {
    struct dz_commit c = { .source = "s" };
    dz_status status = dz_session_commit(s, &c, NULL);

    dz_commit_release(&c);
    return status;
}

static void empty(int dirfd) {
    int twin = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fdopendir(twin);
    struct dirent *e;

    assert_non_null(d);
    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd, e->d_name, 0), 0);
    (void) closedir(d);
}

static void test_a_pack_that_goes_while_it_is_relied_on_fails_the_run(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_session) first = NULL;
    DZ_AUTO(dz_session) second = NULL;
    DZ_AUTO(dz_session) third = NULL;
    dz_id id;

    scratch_vault(s);
    v = scratch_open(s, false);
    assert_int_equal(dz_session_begin(v, &first, NULL), DZ_OK);
    keep(first, &id);
    assert_int_equal(commit(first), DZ_OK);

    assert_int_equal(dz_session_begin(v, &second, NULL), DZ_OK);
    keep(second, &id); /* known: nothing is stored */
    empty(v->packsfd);
    assert_int_equal(commit(second), DZ_E_CORRUPT);

    assert_int_equal(dz_session_begin(v, &third, NULL), DZ_OK);
    keep(third, &id);
    assert_int_equal(commit(third), DZ_OK);
}

enum { READERS = 8, ROUNDS = 20 };
static pthread_barrier_t start;
static struct dz_fetch *shared;
static dz_id wanted;

static void *read_one(void *arg) {
    struct dz_held held = { 0 };
    dz_status *status = arg;

    (void) pthread_barrier_wait(&start);
    *status = dz_fetch_hold(shared, DZ_KIND_DATA, &wanted, &held, NULL);
    dz_fetch_drop(shared, &held);
    return NULL;
}

static void test_readers_wait_for_an_index_that_is_being_renewed(void **state) {
    struct scratch *s = *state;
    DZ_AUTO(dz_vault) v = NULL;
    DZ_AUTO(dz_session) first = NULL;

    scratch_vault(s);
    v = scratch_open(s, true);
    assert_int_equal(dz_session_begin(v, &first, NULL), DZ_OK);
    keep(first, &wanted);
    assert_int_equal(commit(first), DZ_OK);
    assert_int_equal(pthread_barrier_init(&start, NULL, READERS), 0);
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t threads[READERS];
        dz_status status[READERS];

        empty(v->indexfd);
        assert_int_equal(dz_fetch_new(v, 1 << 20, &shared, NULL), DZ_OK);
        for (size_t i = 0; i < READERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, read_one, &status[i]), 0);
        for (size_t i = 0; i < READERS; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        for (size_t i = 0; i < READERS; i++)
            assert_int_equal(status[i], DZ_OK);
        dz_fetch_free(shared);
    }
    (void) pthread_barrier_destroy(&start);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_pack_that_goes_while_it_is_relied_on_fails_the_run,
                                        scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_readers_wait_for_an_index_that_is_being_renewed,
                                        scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
